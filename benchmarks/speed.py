"""The zoo against the plain way (benchmarks/plain.py): time, memory and largest difference, from one run.

usage: python benchmarks/speed.py [--quick] [--only WORD] [--against REVISION] [--clock cores]

Prints two tables and, unless --quick or --only, writes them into benchmarks/RESULTS.md. What this machine cannot show,
it says. Inference: both sides have the same weights (CycleGAN's initialisation, attention at work) and the same picture.
They are timed in one process, by turns, after one warm-up each. Memory is measured in a process for each side: by how much
its peak grows over the one with the networks built. On CUDA memory is what torch has allocated at most.

Training steps (benchmarks/steps.py): also against the project at a git REVISION, and as a share of what torch's 3×3
convolution of 256 channels at 64×64 reaches in the same process and precision. A step's operations are those of the
plain way; a convolution that multiplies less can have a share above 1.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import zoo  # noqa: F401  # isort: skip  (in front of torch: it tells OpenMP how to wait)

import numpy as np
import plain
import torch
from PIL import Image
from steps import Side, checkout, peak, stirred
from torch import Tensor

from zoo.doctor.machine import processor
from zoo.generator import build_generator
from zoo.machine.kernels import kernels, told
from zoo.recipe import load_recipe
from zoo.translator import Translator

HERE = Path(__file__).parent
RESULTS = HERE / "RESULTS.md"
SAMPLE = HERE.parent / "docs" / "sample" / "eileen-collins.jpg"
MARKS = ("<!-- speed: written by speed.py -->", "<!-- end of speed -->")
LIMIT = 16 * 2**30
"""A side that asks for more memory than this is stopped."""


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    model: str
    size: int
    dtype: str = "fp32"
    compile: bool = False
    device: str = "cpu"
    turns: int = 7
    too_large: bool = False  # the plain way is not timed

    def __str__(self) -> str:
        return f"{self.model} inference {self.size} px, {how(self)}"


CPU = [
    Row("cyclegan", 256),
    Row("cyclegan", 256, "bf16"),
    Row("cyclegan", 256, compile=True),
    Row("cyclegan", 512),
    Row("cyclegan", 512, "bf16"),
    Row("cycleda", 256),
    Row("cycleda", 512, turns=3),
    Row("cycleda", 1024, turns=1, too_large=True),
]
CUDA = [
    Row(model, size, "bf16", compile=True, device="cuda", turns=20)
    for model in ("cyclegan", "cycleda")
    for size in (256, 512)
]


@dataclass(frozen=True)
class Lesson:
    """One line of the table of training steps."""

    recipe: str
    dtype: str
    device: str = "cpu"
    compile: bool = False
    turns: int = 3

    def __str__(self) -> str:
        return f"{self.recipe} training step, {how(self)}"


def how(row: Row | Lesson) -> str:
    return f"{row.dtype} + compile" * row.compile + row.dtype * (not row.compile) + ", CUDA" * (row.device == "cuda")


TRAINED = (
    "cyclegan", "cycleda", "cycleda-small", "animegan-landmark-small", "facefusion-small", "ganimation-convnext-small",
)  # fmt: skip
FAST_BF16 = "AMX bf16" in processor() or "AVX-512 bf16" in processor()
LESSONS = [Lesson(recipe, "bf16" if FAST_BF16 else "fp32") for recipe in TRAINED]
LESSONS += [Lesson(recipe, "bf16", compile=True) for recipe in TRAINED] if kernels("cpu", True).compiled else []
LESSONS_CUDA = [Lesson(recipe, "bf16", "cuda", compile, 10) for recipe in TRAINED for compile in (False, True)]


# -- the two sides ------------------------------------------------------------------------------------------------------


def picture(size: int) -> Tensor:
    """The sample photograph (3,size,size) in [0,1]."""
    image = Image.open(SAMPLE).convert("RGB").resize((size, size), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float().div(255).contiguous()


def inference(row: Row, side: str) -> Callable[[], Tensor]:
    """A call gives the drawing (3,H,W) in [-1,1]."""
    generator = build_generator(load_recipe(row.model).network())
    stirred(generator)
    if side == "ours":
        translator = Translator(generator, device=row.device, dtype=row.dtype, compile=row.compile)
        given = picture(row.size)
        return lambda: translator.translate(given, size=0, tile=row.size) * 2 - 1
    network = plain.Generator(attention=row.model == "cycleda").eval()
    network.load_state_dict(generator.state_dict())
    network.to(row.device)
    given = picture(row.size)[None]

    def draw() -> Tensor:
        with torch.inference_mode():
            return network((given * 2 - 1).to(row.device))[0].cpu()

    return draw


# -- measuring, in a process of its own ---------------------------------------------------------------------------------


def timed(row: Row, quick: bool) -> dict[str, Any]:
    sides = {side: inference(row, side) for side in (["ours"] if row.too_large else ["plain", "ours"])}
    first = {} if row.too_large else {side: call() for side, call in sides.items()}
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(min(row.turns, 2) if quick else row.turns):
        for side, call in sides.items():
            started = time.perf_counter()
            call()
            seconds[side].append(time.perf_counter() - started)
    found: dict[str, Any] = {side: [min(values), statistics.median(values)] for side, values in seconds.items()}
    if first:
        found["difference"] = float((first["ours"] - first["plain"]).abs().max())
    return found


def remembered(row: Row, side: str) -> dict[str, Any]:
    call = inference(row, side)
    if row.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        call()
        return {"bytes": torch.cuda.max_memory_allocated()}
    before = peak()
    if row.too_large:
        now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + LIMIT, now + LIMIT))
    try:
        call()
    except RuntimeError as error:
        return {"failed": str(error).splitlines()[0]}
    return {"bytes": peak() - before}


def child(*words: str) -> dict[str, Any]:
    done = subprocess.run([sys.executable, __file__, *words], stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


# -- the table ----------------------------------------------------------------------------------------------------------


def line(row: Row, place: str, quick: bool) -> str:
    times = child("--time", place, *(["--quick"] if quick else []))
    memory = {side: child("--memory", place, side) for side in ("plain", "ours")}
    cells = [str(row)]
    cells += [
        " / ".join(f"{value:.3f}" for value in times[side]) if side in times else "–" for side in ("plain", "ours")
    ]
    cells += [f"{times['plain'][0] / times['ours'][0]:.2f}×" if "plain" in times else "–"]
    cells += [f"{times['difference']:.1e}" if "plain" in times else "–"]
    for side in ("plain", "ours"):
        found = memory[side]
        cells.append(f"{found['bytes'] / 2**20:.0f}" if "bytes" in found else f"over {LIMIT / 2**20:.0f}")
    return f"| {' | '.join(cells)} |"


def taught(row: Lesson, root: Path, then: Path | None, clock: str, quick: bool) -> str:
    words = (row.recipe, row.dtype, row.device, str(row.compile), clock)
    sides = {"plain": Side(root, *words, "plain"), "ours": Side(root, *words, "ours")}
    if then is not None:
        sides["before"] = Side(then, *words, "before")
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(1 if quick else row.turns):
        for name, side in sides.items():
            times[name].append(side.ask())
    best = {name: min(values) for name, values in times.items()}
    rate = sides["ours"].ask("convolution")
    first = {name: side.first["losses"] for name, side in sides.items()}
    off = max(abs(first["ours"][name] - value) for name, value in first["plain"].items() if name in first["ours"])
    reached = sides["plain"].first["work"] / best["ours"]
    for side in sides.values():
        side.end()
    cells = [str(row)]
    for name in ("plain", "before", "ours"):
        cells.append(f"{best[name]:.2f} / {statistics.median(times[name]):.2f}" if name in times else "–")
    cells += [f"{best[name] / best['ours']:.2f}×" if name in best else "–" for name in ("plain", "before")]
    cells += [f"{off:.1e}", f"{reached / 1e12:.3f}", f"{reached / rate:.2f}"]
    cells += [f"{sides[name].first['bytes'] / 2**20:.0f}" for name in ("plain", "ours")]
    return f"| {' | '.join(cells)} |"


def machine() -> str:
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no CUDA"
    return (
        f"{processor()}, {torch.get_num_threads()} threads; {gpu}. Python {platform.python_version()}, "
        f"torch {torch.__version__}, zoo-core {version('zoo-core')}, {platform.system()}. Kernels: {told('cpu')}."
    )


def skipped() -> list[str]:
    """What this machine cannot show, and why."""
    found = []
    if not torch.cuda.is_available():
        found.append(
            f"Not measured: {len(CUDA)} rows of inference and {len(LESSONS_CUDA)} of training on CUDA: there is none here."
        )
    if not FAST_BF16:
        found.append(
            "Not measured: training in bf16: this processor has neither AMX nor AVX-512 bf16; it is measured in fp32."
        )
    if not kernels("cpu", True).compiled:
        found.append("Not measured: training in bf16 with generated code: there is no AMX here.")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    hidden = argparse.SUPPRESS
    parser.add_argument("--quick", action="store_true", help="two turns a row, one of training, no largest pictures")
    parser.add_argument("--only", default="", metavar="WORD", help="rows that contain it, as: bf16, 'training step'")
    parser.add_argument("--against", metavar="REVISION", help="also training steps of the project at a git revision")
    parser.add_argument("--clock", choices=("wall", "cores"), default="wall", help="of training: seconds of all cores")
    parser.add_argument("--time", type=int, help=hidden)
    parser.add_argument("--memory", nargs=2, help=hidden)
    given = parser.parse_args()
    gpu = torch.cuda.is_available()
    rows, lessons = CPU + CUDA * gpu, LESSONS + LESSONS_CUDA * gpu
    if given.time is not None:
        say(json.dumps(timed(rows[given.time], given.quick)))
        return
    if given.memory:
        say(json.dumps(remembered(rows[int(given.memory[0])], given.memory[1])))
        return
    table = say(machine(), "", *skipped(), *INFERENCE)
    for i, row in enumerate(rows):
        if given.only in str(row) and not (given.quick and row.size > 512):
            table += say(line(row, str(i), given.quick))
    table += say(*TRAINING)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the checkout goes then, too
    with checkout(given.against) if given.against else nullcontext() as then:
        for lesson in lessons:
            if given.only in str(lesson):
                table += say(taught(lesson, HERE.parent.resolve(), then, given.clock, given.quick))
    if given.against:
        table += say("", f"“Before” is the project at {given.against}.")
    if not given.quick and not given.only:
        before, _, rest = RESULTS.read_text(encoding="utf-8").partition(MARKS[0])
        text = "\n".join([MARKS[0], "", *table, "", MARKS[1]])
        RESULTS.write_text(before + text + rest.partition(MARKS[1])[2], encoding="utf-8")


INFERENCE = (
    "",
    "| | plain, s (best / median) | ours, s (best / median) | ratio | largest difference | plain, MB | ours, MB |",
    "| --- | --- | --- | --- | --- | --- | --- |",
)
TRAINING = (
    "",
    "| | plain, s (best / median) | before, s | ours, s | × plain | × before | losses differ by | TFLOP/s | share | plain, MB | ours, MB |",
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
)


def say(*lines: str) -> list[str]:
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()
    return list(lines)


if __name__ == "__main__":
    main()
