"""Damaged checkpoints, run.yaml files and videos: what was there, the one before it or one line, never less without a word.

usage: python benchmarks/fuzz_runs.py [--inputs 1000] [--videos 200] [--seed 0] [--kind KIND]

Each damaged run is read as `zoo train` and `zoo pack` read it. A fault is any exception but a `ZooError`, tensors or facts
that are not those of one of its two checkpoints, and the older one without a line. Each damaged video goes through
`Translator.translate_video`; a fault is any exception but a `ZooError`, and fewer frames than it had without a word. Films
that say nothing of their length, and an .flv, are counted by themselves where they end between two of their pieces.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import save_file

from zoo.errors import PartialFailure, ZooError
from zoo.generator import Generator
from zoo.pictures import video
from zoo.recipe import load_recipe
from zoo.train import checkpoint
from zoo.train.folder import settings
from zoo.train.pack import pack
from zoo.translator import Translator

FACTS = {"total": 9, "minutes": None, "seconds": 1.5, "untold": {"sums": {"a": 0.5}, "counts": {"a": 1}}}
ODD = (None, True, -1, 0, 2.5, 10**400, float("nan"), float("-inf"), "", "x\x1b[31m", [], [[1]], {}, {"a": {}}, 2**63)
FRAMES = 40
SEEN, UNSAID = "as it was", "fewer frames, unsaid"  # the latter where a film may end after any piece


class Same(Generator):
    """The picture itself."""

    def parts(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"image": image}


def tensors(step: int) -> dict[str, torch.Tensor]:
    made = torch.Generator().manual_seed(step)
    names = ("networks/w", "average/w", "optimiser/g/0/exp_avg", "memory/count")
    return {name: torch.randn(40, generator=made) for name in names}


def whole_run(folder: Path) -> None:
    for step in (1, 2):
        checkpoint.save(folder / "checkpoints", step, tensors(step), FACTS)
    facts = {"photos": ["a"], "drawings": {"b": "b"}, "seed": 0, "precision": "fp32", "samples_per_step": 1}
    recipe = load_recipe("cycleda-small").model_dump(mode="json")
    about = {"recipe": recipe, **facts, "start_from": None}
    (folder / "run.yaml").write_text(yaml.safe_dump(about, sort_keys=False), encoding="utf-8")


def changed_bytes(data: bytes, rng: random.Random) -> bytes:
    damaged = bytearray(data)
    for _ in range(rng.choice((1, 4, 50))):
        damaged[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


def hole(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + data[at + rng.choice((1, 188, 4096)) :]


def zeros(data: bytes, rng: random.Random) -> bytes:
    at, length = rng.randrange(len(data)), rng.choice((4, 512, 4096))
    return (data[:at] + bytes(length) + data[at + length :])[: len(data)]


DAMAGE: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "bytes changed": changed_bytes,
    "cut": cut,
    "a hole": hole,
    "zeros": zeros,
}


FACTS_DAMAGED = ("other facts", "run.yaml")


def other_facts(path: Path, rng: random.Random) -> None:
    """A fact is another, or missing; tensors are missing. Half of the time the checksum fits, or an older zoo wrote none."""
    with safe_open(path, "pt") as file:
        kept = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        facts: dict[str, Any] = json.loads(file.metadata()["zoo-checkpoint-2"])
    key = rng.choice([*facts])
    if rng.random() < 0.3:
        del facts[key]
    else:
        facts[key] = rng.choice(ODD)
    if rng.random() < 0.3:
        del kept[rng.choice([*kept])]
        facts = {**facts, "sha256": "0" * 64}
    save_file(kept, path, {"zoo-checkpoint-2": json.dumps(facts)})


def spoilt_yaml(path: Path, rng: random.Random) -> None:
    facts = yaml.safe_load(path.read_text(encoding="utf-8"))
    place = facts if rng.random() < 0.6 else facts["recipe"]
    key = rng.choice([*place])
    if rng.random() < 0.3:
        del place[key]
    else:
        place[key] = rng.choice(ODD)
    path.write_text(yaml.safe_dump(facts), encoding="utf-8")


class Said(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def judge_run(folder: Path, said: Said) -> str:
    said.lines = []
    try:
        settings(folder)
        found = checkpoint.newest(folder / "checkpoints")
        assert found is not None
        step = found[1]["step"]
        wanted = tensors(step)
        if found[1] != {"step": step, **FACTS} or found[0].keys() != wanted.keys():
            return f"fault: other facts {found[1]}"
        if not all(torch.equal(found[0][name], wanted[name]) for name in wanted):
            return "fault: other tensors"
        if step == 1 and not any("the one before it is used" in line for line in said.lines):
            return "fault: the one before it, without a word"
        pack(folder, folder / "out")
        return SEEN if step == 2 else "the one before it"
    except ZooError as error:
        return "refused" if "\n" not in error.message else f"fault: {error}"
    except Exception as error:
        return f"fault: {type(error).__name__}: {error}"


def runs(kind: str, count: int, seed: int, place: Path, said: Said) -> Counter[str]:
    results: Counter[str] = Counter()
    whole_run(place / "whole")
    for number in range(count):
        rng, folder = random.Random(f"{seed} {kind} {number}"), place / "run"
        shutil.copytree(place / "whole", folder)
        newest = folder / "checkpoints" / "step-00000002.safetensors"
        if kind == "other facts":
            other_facts(newest, rng)
        elif kind == "run.yaml":
            spoilt_yaml(folder / "run.yaml", rng)
        else:
            newest.write_bytes(DAMAGE[kind](newest.read_bytes(), rng))
        results[judge_run(folder, said)] += 1
        shutil.rmtree(folder)
    return results


def films(place: Path) -> list[Path]:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    frames = [np.roll(noise, 3 * number, 1) for number in range(FRAMES)]
    written = [place / f"film{suffix}" for suffix in (".mp4", ".mkv", ".webm")]
    for path in written:
        video.write(frames, path, 25)
    av = video.installed()
    for name in ("film.ts", "film.avi", "film.flv", "plain.mkv", "live.webm"):
        path = place / name
        codec, options = "libx264", {"bf": "0"}
        about = {"write_crc32": "0"} if name == "plain.mkv" else {}
        if name == "live.webm":  # as browsers record: no length is known
            codec, options, about = "libvpx", {}, {"live": "1"}
        with av.open(str(path), "w", options=about) as out:
            stream = out.add_stream(codec, rate=25, options=options)
            stream.width = stream.height = 64
            stream.pix_fmt = "yuv420p"
            for frame in frames:
                out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            out.mux(stream.encode(None))
        written.append(path)
    return written


def judge_video(path: Path, target: Path, translator: Translator, tells: bool = True) -> str:
    try:
        translator.translate_video(path, target)
    except PartialFailure:
        return "drawn and told" if target.exists() else "fault: told, and nothing written"
    except ZooError as error:
        return "refused" if "\n" not in error.message and not target.exists() else f"fault: {error}"
    except Exception as error:
        return f"fault: {type(error).__name__}: {error}"
    count = sum(1 for _ in video.probe(target).frames("counting"))
    if count >= FRAMES:
        return SEEN
    return f"fault: {count} of {FRAMES} frames of a {path.suffix} without a word" if tells else UNSAID


def videos(kind: str, count: int, seed: int, place: Path) -> Counter[str]:
    results: Counter[str] = Counter()
    translator = Translator(Same(), device="cpu")
    sources = films(place)
    for number in range(count):
        rng = random.Random(f"{seed} video {kind} {number}")
        source = rng.choice(sources)
        path, target = place / f"damaged{source.suffix}", place / "out.mkv"
        path.write_bytes(DAMAGE[kind](source.read_bytes(), rng))
        ends_anywhere = kind == "cut" and source.name in ("live.webm", "film.flv")
        results[judge_video(path, target, translator, not ends_anywhere)] += 1
        target.unlink(missing_ok=True)
    return results


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--inputs", type=int, default=1000, help="of each kind of damage to a run")
    parser.add_argument("--videos", type=int, default=200, help="of each kind of damage to a video")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=(*DAMAGE, *FACTS_DAMAGED), action="append", help="these alone")
    options = parser.parse_args()
    torch.set_num_threads(1)
    said = Said()
    for name in ("zoo", "zoo.train"):
        logging.getLogger(name).addHandler(said)
        logging.getLogger(name).propagate = False
    started, rows = time.monotonic(), []
    kinds = options.kind or (*DAMAGE, *FACTS_DAMAGED)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        for kind in kinds if options.inputs else ():
            place = Path(folder, "runs", kind)
            rows.append((f"run: {kind}", runs(kind, options.inputs, options.seed, place, said)))
        for kind in [kind for kind in DAMAGE if kind in kinds] if options.videos else ():
            place = Path(folder, "videos", kind)
            place.mkdir(parents=True)
            rows.append((f"video: {kind}", videos(kind, options.videos, options.seed, place)))
    sys.stdout.write(table(rows, time.monotonic() - started))
    return int(any(result.startswith("fault") for _, results in rows for result in results))


def table(rows: list[tuple[str, Counter[str]]], seconds: float) -> str:
    heads = (SEEN, "the one before it", "drawn and told", "refused", UNSAID)
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    lines = [
        f"{seconds:.0f} s, largest resident size {largest:.2f} GB",
        "",
        f"| | inputs | {' | '.join(heads)} | faults |",
    ]
    lines.append("|---" * (len(heads) + 3) + "|")
    for kind, results in rows:
        faults = sum(count for result, count in results.items() if result.startswith("fault"))
        cells = [results.total(), *(results[head] for head in heads), faults]
        lines.append(f"| {kind} | {' | '.join(map(str, cells))} |")
    told = [f"{kind}: {count} × {what}" for kind, results in rows for what, count in results.items() if "fault" in what]
    return "\n".join([*lines, "", *told, ""])


if __name__ == "__main__":
    sys.exit(main())
