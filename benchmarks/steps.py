"""A training step of a recipe, for benchmarks/speed.py: plain, as the project was at a git revision, and as it is.

Each side is a process of its own that waits for a line, takes a step, and prints its seconds, so that sides of different
code take turns. The plain way is that of benchmarks/plain.py for the recipes of CycleGAN's size; for others it is the same
step in fp32, eager, channels first, with torch's own layers in the place of the zoo's (portraits.plainly) and attention
with its map. All sides begin with the same weights and see the same noise, past the first phase of a training.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import zoo  # isort: skip  (in front of torch: it tells OpenMP how to wait)

import plain
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from zoo.generator import initialise
from zoo.recipe import load_recipe
from zoo.train.engine import Engine, Options

HERE = Path(__file__).parent
PAST = {  # the first phase of a training, which is another step
    "animegan-landmark-small": ["trainer.warm_up=0"],
    "cycleda-small": ["trainer.head_start=0"],
    "facefusion-small": ["trainer.first=0"],
    "ganimation-convnext-small": ["trainer.head_start=0"],
}
Step = Callable[[], dict[str, float]]


def step(recipe_name: str, dtype: str, device: str, compile: bool, side: str) -> Step:
    """A call takes one step and gives its losses by name."""
    known = load_recipe(recipe_name).trainer  # at an older revision it may be another one
    past = [words for words in PAST.get(recipe_name, ()) if words.split("=")[0].partition(".")[2] in known]
    recipe = load_recipe(recipe_name, past)
    bf16 = dtype == "bf16" and side != "plain"
    extra = {"compile": True} if compile and side == "ours" else {}
    engine = Engine(recipe, None, Options(Path(tempfile.gettempdir()), steps=1000, device=device, bf16=bf16, **extra))  # type: ignore[arg-type]
    if recipe_name.startswith("cycle"):
        first = torch.contiguous_format  # numbers are drawn in the order of the memory
        stirred(engine.networks.to(memory_format=first)).to(memory_format=getattr(engine, "layout", first))
    if extra:
        engine._compile()
    batch = noise(recipe.data.batch, *recipe.data.size)
    if side == "plain" and recipe_name in ("cyclegan", "cycleda"):
        plainly = plain.Step(attention=recipe_name == "cycleda")
        plainly.networks.load_state_dict(engine.networks.state_dict())
        plainly.networks.to(device)
        x, y = batch["source"].to(device), batch["target"].to(device)
        return lambda: plainly(x, y)
    if side == "plain":
        make_plain(engine)

    def take() -> dict[str, float]:
        made = engine._step(iter([batch]))
        return {name.partition(".")[2]: float(value) for name, value in made.items()}

    return take


def noise(n: int, height: int, width: int) -> dict[str, Tensor]:
    """A batch for any trainer of the zoo."""
    rng = torch.Generator().manual_seed(0)
    names = ("source", "sitter", "target", "other", "blurred")
    pictures = {name: torch.rand(n, 3, height, width, generator=rng) * 2 - 1 for name in names}
    units = {name: torch.rand(n, 17, generator=rng) * 2 for name in ("units", "target_units")}
    points = torch.rand(n, 40, 2, generator=rng)
    return {**pictures, **units, "points": points, "seed": torch.arange(n), "hand": torch.zeros(n, dtype=torch.int64)}


def stirred(network: torch.nn.Module) -> torch.nn.Module:
    """The same weights whoever asks; attention, which begins at 0, takes part."""
    torch.manual_seed(0)
    initialise(network)
    for name, parameter in network.named_parameters():
        if name.endswith(("alpha", "beta")):
            torch.nn.init.constant_(parameter, 0.5)
    return network


def make_plain(engine: Engine) -> None:
    from portraits import plainly

    from zoo.blocks.attention import attend

    def with_map(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return torch.softmax(query @ key.transpose(1, 2), -1) @ value

    for module in list(sys.modules.values()):
        if getattr(module, "attend", None) is attend:
            module.attend = with_map  # type: ignore[attr-defined]
    for network in (engine.networks, *(loss for terms in engine.losses.values() for _, loss in terms.terms.values())):
        plainly(network).to(engine.device).to(memory_format=torch.contiguous_format)
    engine.layout = torch.contiguous_format
    engine.optimisers = {phase: engine._optimiser(names) for phase, names in engine.trainer.phases.items()}


# -- a side in its own process -------------------------------------------------------------------------------------------


def serve(recipe: str, dtype: str, device: str, compile: str, clock: str, side: str) -> None:
    """Say what the first step was, then take one for each line that comes."""
    take = step(recipe, dtype, device, compile == "True", side)
    built = peak()
    counter = FlopCounterMode(display=False)
    with counter if side == "plain" else nullcontext():  # which counts torch's own layers only
        losses = take()
    found = {"losses": losses, "bytes": peak() - built, "zoo": zoo.__file__}
    answer({**found, "work": counter.get_total_flops()})
    for line in sys.stdin:
        answer(convolution(device, dtype, clock) if line.strip() == "convolution" else seconds(take, device, clock))


def answer(value: Any) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def seconds(call: Callable[[], Any], device: str, clock: str) -> float:
    """By the clock on the wall, or those of all cores together, which other work on the machine does not change much."""
    now = time.process_time if clock == "cores" else time.perf_counter
    started = now()
    call()
    if device == "cuda":
        torch.cuda.synchronize()
    return now() - started


def convolution(device: str, dtype: str, clock: str) -> float:
    """Operations a second of torch's 3×3 convolution of 256 channels at 64×64, in the better layout."""
    kind = torch.bfloat16 if dtype == "bf16" else torch.float32
    best = 0.0
    for layout in (torch.contiguous_format, torch.channels_last):
        x, weight = (t.to(device, kind).contiguous(memory_format=layout) for t in (torch.rand(1, 256, 64, 64), torch.rand(256, 256, 3, 3)))  # fmt: skip
        with torch.no_grad():
            took = min(seconds(lambda x=x, w=weight: F.conv2d(x, w, padding=1), device, clock) for _ in range(10))  # type: ignore[misc]
        best = max(best, 2 * 256 * 256 * 9 * 64 * 64 / took)
    return best


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


# -- the sides, from outside ---------------------------------------------------------------------------------------------


class Side:
    """A process that takes steps; ``root`` is the checkout whose code it runs."""

    def __init__(self, root: Path, *words: str) -> None:
        path = os.pathsep.join(map(str, [root, *sorted(root.glob("plugins/*/src"))]))
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "steps.py"), *words],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path},
        )  # fmt: skip
        self.first = self._answer()
        if not Path(self.first["zoo"]).is_relative_to(root):
            raise SystemExit(f"the code of {root} is not what is run, but {self.first['zoo']}")

    def ask(self, what: str = "step") -> float:
        assert self.process.stdin is not None
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        return float(self._answer())

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        if not (line := self.process.stdout.readline()):
            raise SystemExit(f"{' '.join(map(str, self.process.args))} ended with {self.process.wait()}")  # type: ignore[arg-type]
        return json.loads(line)

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


@contextmanager
def checkout(revision: str) -> Iterator[Path]:
    """The project at a git revision, in a folder that goes again."""
    with tempfile.TemporaryDirectory() as folder:
        there = Path(folder).resolve() / "then"
        git = ["git", "-C", str(HERE.parent), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", str(there), revision], check=True)
        try:
            yield there
        finally:
            subprocess.run([*git, "remove", "--force", str(there)], check=True)


if __name__ == "__main__":
    serve(*sys.argv[1:])
