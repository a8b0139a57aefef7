"""`zoo train`, killed."""

from __future__ import annotations

import hashlib
import json
import random
import re
from pathlib import Path
from typing import Any

import torch._dynamo  # noqa: F401  (before forking: the first optimiser imports it)
import yaml
from PIL import Image
from safetensors import safe_open
from training import EVEN, RICH, arguments, pictures

import zoo.cli.train
import zoo.train.run  # noqa: F401  (before forking: it brings torch)
from crashing.scene import Moment, Scene, appeared, need

SIZES: dict[str, tuple[int, int, list[str]]] = {  # steps, steps between checkpoints, network
    "small": (18, 2, []),
    "large": (6, 1, ["generator.width=24", "discriminator.width=24"]),
}


class Training(Scene):
    """Two sizes: a tiny network of many steps, and a larger one, whose checkpoints take time to write."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.data = pictures(folder / "photos", 3, 1), pictures(folder / "drawings", 3, 2)
        self.seconds: dict[str, float] = {}
        self.reference: dict[str, Path] = {}

    def begin(self, folder: Path, rng: random.Random) -> None:
        size = folder.name if (undisturbed := folder.name in SIZES) else rng.choice([*SIZES])
        if not undisturbed and size not in self.reference:
            self.seconds[size] = self.time(self.home / size, random.Random(0))
            self.reference[size] = self.out
        folder.mkdir()
        self.folder, self.out, self.newest, self.size = folder, folder / "run", 0, size
        self.workers = int(rng.random() < 0.2)  # they outlive a killed run by some seconds

    def words(self) -> list[str]:
        steps, every, overrides = SIZES[self.size]
        budget = ["--steps", str(steps), "--save-every", str(every), "--preview-every", "4", "--log-every", "3"]
        sides = [*budget, "--workers", str(self.workers)]
        return arguments(self.out, *self.data, *sides, overrides=[*RICH, *overrides, EVEN])[1:]

    def moment(self, rng: random.Random) -> Moment:
        whole = self.seconds[self.size]
        kind = rng.choice(("starting", "at any time", "at any time", "writing a checkpoint", "writing a checkpoint",
                           "writing log, preview or run.yaml"))  # fmt: skip
        if kind == "starting":
            return kind, lambda: True, rng.uniform(0, whole / 4)
        if kind == "at any time":
            return kind, lambda: True, rng.uniform(0, 0.8 * whole)
        folders = [self.out / "checkpoints"] if "checkpoint" in kind else [self.out, self.out / "previews"]
        return kind, appeared(folders, rng.randint(1, 4)), 0.03 * rng.random() ** 3

    def check(self) -> tuple[str, int]:
        """Each checkpoint is whole, the log is the undisturbed one up to the newest, and the last one was gone on from."""
        self._went_on()
        steps = [read(path)[0] for path in sorted((self.out / "checkpoints").glob("step-*"))]
        for path in self.out.glob("previews/step-*"):
            Image.open(path).load()
        if (self.out / "run.yaml").exists():
            need("recipe" in yaml.safe_load((self.out / "run.yaml").read_text()), "run.yaml is half")
        need(not steps or (self.out / "run.yaml").exists(), "there are checkpoints and no run.yaml")
        if not steps:
            return "nothing", 0
        need(
            log(self.out, steps[-1]) == log(self.reference[self.size], steps[-1]), f"the log up to {steps[-1]} differs"
        )
        self.newest = steps[-1]
        return "a checkpoint", steps[-1]

    def _went_on(self) -> str:
        said = (self.folder / "said.txt").read_text()
        for step in re.findall(r"going on at step (\d+)", said):
            need(int(step) == self.newest, f"it went on at step {step} instead of {self.newest}")
        return said

    def compare(self) -> None:
        steps, ours, theirs = SIZES[self.size][0], self.out, self.reference[self.size]
        need(self.newest == 0 or "going on at step" in self._went_on(), "it began again")
        name = f"checkpoints/step-{steps:08d}.safetensors"
        need(read(ours / name) == read(theirs / name), "the weights differ")
        need(log(ours, steps) == log(theirs, steps), "the logs differ")
        for path in theirs.glob("previews/*"):
            need((ours / "previews" / path.name).read_bytes() == path.read_bytes(), f"{path.name} differs")
        need(not self.traces(), f"left behind: {self.traces()}")


def read(path: Path) -> tuple[int, dict[str, tuple[str, tuple[int, ...], str]]]:
    """Step and tensors of a checkpoint, these as type, shape and hash."""
    with safe_open(path, framework="np") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        step = json.loads(file.metadata()["zoo-checkpoint-2"])["step"]
    need(f"{step:08d}" in path.name, f"{path.name} holds step {step}")
    return step, {n: (str(t.dtype), t.shape, hashlib.sha256(t.tobytes()).hexdigest()) for n, t in tensors.items()}


def log(run: Path, to: int) -> list[dict[str, Any]]:
    """The lines of log.jsonl up to a step, without the times. Only the last line of all may be half."""
    texts = (run / "log.jsonl").read_text().splitlines(keepends=True)
    lines = [json.loads(text) for text in texts if text.endswith("\n")]
    return [{key: line[key] for key in line if key != "seconds"} for line in lines if line["step"] <= to]
