"""The zoo against the plain way (benchmarks/plain.py): time, memory and largest difference, from one run.

usage: python benchmarks/speed.py [--quick] [--only WORD]

Prints a table and, unless --quick or --only, writes it into benchmarks/RESULTS.md. Both sides have the same weights
(CycleGAN's initialisation, attention at work) and the same picture, noise for a training step. They are timed in one
process, by turns, after one warm-up each. Memory is measured in a process for each side: by how much its peak grows
over the one with the networks built. On CUDA memory is what torch has allocated at most.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import zoo  # noqa: F401  # isort: skip  (in front of torch: it tells OpenMP how to wait)

import numpy as np
import plain
import torch
from PIL import Image
from torch import Tensor

from zoo.generator import build_generator, initialise
from zoo.recipe import load_recipe
from zoo.train.engine import Engine, Options
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
    what: str  # inference or training
    size: int
    dtype: str = "fp32"
    compile: bool = False
    device: str = "cpu"
    turns: int = 7
    too_large: bool = False  # the plain way is not timed

    def __str__(self) -> str:
        how = f"{self.dtype} + compile" if self.compile else self.dtype
        return f"{self.model} {self.what} {self.size} px, {how}" + (", CUDA" if self.device == "cuda" else "")


CPU = [
    Row("cyclegan", "inference", 256),
    Row("cyclegan", "inference", 256, "bf16"),
    Row("cyclegan", "inference", 256, compile=True),
    Row("cyclegan", "inference", 512),
    Row("cyclegan", "inference", 512, "bf16"),
    Row("cycleda", "inference", 256),
    Row("cycleda", "inference", 512, turns=3),
    Row("cyclegan", "training", 256, turns=3),
    Row("cyclegan", "training", 256, "bf16", turns=3),
    Row("cycleda", "training", 256, turns=2),
    Row("cycleda", "inference", 1024, turns=1, too_large=True),
]
CUDA = [
    Row(model, what, size, "bf16", compile=what == "inference", device="cuda", turns=20)
    for model in ("cyclegan", "cycleda")
    for what, size in (("inference", 256), ("inference", 512), ("training", 256))
]


# -- the two sides ------------------------------------------------------------------------------------------------------


def picture(size: int) -> Tensor:
    """The sample photograph (3,size,size) in [0,1]."""
    image = Image.open(SAMPLE).convert("RGB").resize((size, size), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float().div(255).contiguous()


def stirred(network: torch.nn.Module) -> torch.nn.Module:
    """The same weights whoever asks; attention, which begins at 0, takes part."""
    torch.manual_seed(0)
    initialise(network)
    for name, parameter in network.named_parameters():
        if name.endswith(("alpha", "beta")):
            torch.nn.init.constant_(parameter, 0.5)
    return network


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


def training(row: Row, side: str) -> Callable[[], Tensor]:
    """A call takes one step and gives its losses (4,)."""
    recipe = load_recipe(row.model)
    options = Options(Path(tempfile.gettempdir()), steps=1000, device=row.device, bf16=row.dtype == "bf16")
    engine = Engine(recipe, None, options)  # type: ignore[arg-type]  # its batches are given to it
    stirred(engine.networks)
    noise = torch.Generator().manual_seed(0)
    x, y = (torch.rand(1, 3, row.size, row.size, generator=noise) * 2 - 1 for _ in range(2))
    names = ("identity", "adversarial", "cycle", "critic")
    if side == "ours":
        number = torch.zeros(1, dtype=torch.int64)
        batch = {"source": x, "target": y, "hand": number, "seed": number}

        def step() -> Tensor:
            terms = {name.partition(".")[2]: value for name, value in engine._step(iter([batch])).items()}
            return torch.stack([terms[name] for name in names]).cpu()

        return step
    plainly = plain.Step(attention=row.model == "cycleda")
    plainly.networks.load_state_dict(engine.networks.state_dict())
    plainly.networks.to(row.device)
    given = x.to(row.device), y.to(row.device)

    def step_plainly() -> Tensor:
        terms = plainly(*given)
        return torch.tensor([terms[name] for name in names])

    return step_plainly


SIDES = {"inference": inference, "training": training}


# -- measuring, in a process of its own ---------------------------------------------------------------------------------


def timed(row: Row, quick: bool) -> dict[str, Any]:
    sides = {side: SIDES[row.what](row, side) for side in (["ours"] if row.too_large else ["plain", "ours"])}
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
    call = SIDES[row.what](row, side)
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


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


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


def machine() -> str:
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if "model name" in line] if info.exists() else []
    cpu = names[0].partition(":")[2].strip() if names else platform.processor()
    cpu += f", {torch.get_num_threads()} threads"
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no CUDA here, so no CUDA rows"
    return (
        f"{cpu}, {torch.backends.cpu.get_cpu_capability()}; {gpu}. Python {platform.python_version()}, "
        f"torch {torch.__version__}, zoo-core {version('zoo-core')}, {platform.system()}."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    hidden = argparse.SUPPRESS
    parser.add_argument("--quick", action="store_true", help="two turns a row, without the largest pictures")
    parser.add_argument("--only", default="", metavar="WORD", help="rows that contain it, as: bf16, 'training 256'")
    parser.add_argument("--time", type=int, help=hidden)
    parser.add_argument("--memory", nargs=2, help=hidden)
    given = parser.parse_args()
    rows = CPU + (CUDA if torch.cuda.is_available() else [])
    if given.time is not None:
        print(json.dumps(timed(rows[given.time], given.quick)))  # noqa: T201
        return
    if given.memory:
        print(json.dumps(remembered(rows[int(given.memory[0])], given.memory[1])))  # noqa: T201
        return
    table = [
        machine(),
        "",
        "| | plain, s (best / median) | ours, s (best / median) | ratio | largest difference | plain, MB | ours, MB |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    sys.stdout.write("\n".join(table) + "\n")
    for i, row in enumerate(rows):
        if given.only in str(row) and not (given.quick and row.size > 512):
            table.append(line(row, str(i), given.quick))
            sys.stdout.write(table[-1] + "\n")
            sys.stdout.flush()
    if not given.quick and not given.only:
        before, _, rest = RESULTS.read_text(encoding="utf-8").partition(MARKS[0])
        text = "\n".join([MARKS[0], "", *table, "", MARKS[1]])
        RESULTS.write_text(before + text + rest.partition(MARKS[1])[2], encoding="utf-8")


if __name__ == "__main__":
    main()
