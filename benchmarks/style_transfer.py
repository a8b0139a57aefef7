"""Style transfer against the plain way (benchmarks/plain_style.py): the time to one total loss.

usage: python benchmarks/style_transfer.py [--photo FILE] [--style FILE] [--only WORD] [--iterations N] [--levels N]

Ours is `gatys` with its own settings, from the photograph, called like any translator. What it arrives at is evaluated
by the plain way's objective: full size, fp32, the whole network. The plain way begins with the same photograph and goes
on until its own loss is no larger, or for --cap seconds. A row is one process with both sides after a warm-up of each.
Where the machine is busy with other work, seconds are those that the process had of one core, not those of the clock.

Prints a table and, unless --only, --iterations or --levels is given, writes it into benchmarks/RESULTS.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import zoo  # isort: skip  (in front of torch: it tells OpenMP how to wait)

import torch
from plain_style import VGG19, Plain, Weights
from speed import RESULTS, SAMPLE, machine
from torch import Tensor

from zoo.blocks.vgg import VGG19 as OurVGG19
from zoo.catalogue.registry import registry
from zoo.pictures.fit import resize
from zoo.pictures.image import read
from zoo.recipe import load_recipe
from zoo.weights.sources import locate

MARKS = ("<!-- style: written by style_transfer.py -->", "<!-- end of style -->")
QUIET = 1.2
"""A machine with a larger load has other work."""


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    size: int
    dtype: str = "fp32"
    device: str = "cpu"

    def __str__(self) -> str:
        return f"{self.size} px, {self.dtype}" + (", CUDA" if self.device == "cuda" else "")


CPU = [Row(384), Row(384, "bf16"), Row(512), Row(512, "bf16")]
CUDA = [Row(size, dtype, "cuda") for size in (512, 1024) for dtype in ("fp32", "bf16")]


def timed(row: Row, given: argparse.Namespace) -> dict[str, Any]:
    """Both sides, one after the other."""
    clock = time.process_time if given.busy else time.perf_counter
    if given.busy:
        torch.set_num_threads(1)
    photo = scaled(read(given.photo).rgb, row.size)
    style = scaled(read(given.style).rgb if given.style else pattern(), row.size)
    plain = Plain(plain_network().to(row.device), photo[None].to(row.device), style[None].to(row.device), weights())
    translator = zoo.load("gatys", device=row.device, dtype=row.dtype)
    iterations = given.iterations or load_recipe("gatys").network()["generator"]["iterations"]

    def ours(iterations: int) -> Tensor:
        settings: dict[str, Any] = {"iterations": iterations, "levels": given.levels}
        made: Tensor = translator.translate((photo + 1) / 2, style=(style + 1) / 2, size=0, **settings)
        return made[None].to(row.device) * 2 - 1

    ours(2)
    plain.until(0, 0, clock)
    started = clock()
    made = ours(iterations)
    seconds = clock() - started
    with torch.no_grad():
        before, goal = float(plain.total(plain.photo)), float(plain.total(made))
    reached = plain.until(goal, given.cap, clock)
    ours_facts = {"loss": goal, "evaluations": iterations, "seconds": seconds}
    return {"height": photo.shape[1], "width": photo.shape[2], "before": before, "ours": ours_facts} | {
        "plain": asdict(reached)
    }


def weights() -> Weights:
    """Those of the recipe gatys."""
    terms = load_recipe("gatys").network()["generator"]["losses"]
    content, style = terms["content"], terms["style"]
    return Weights(
        content["weight"], content["layers"], style["weight"], style["layers"], terms["total-variation"]["weight"]
    )


def plain_network() -> VGG19:
    torch.manual_seed(0)
    network = VGG19()
    network.take(OurVGG19(locate(registry().card("vgg19")[0])).state_dict())
    return network


def scaled(rgb: Tensor, side: int) -> Tensor:
    """(3,H,W) with this long side."""
    scale = side / max(rgb.shape[-2:])
    return resize(rgb, (round(rgb.shape[-2] * scale), round(rgb.shape[-1] * scale)))


def pattern() -> Tensor:
    """A style where no painting is given: coloured waves that bend (3,512,512)."""
    y, x = torch.meshgrid(torch.linspace(0, 12, 512), torch.linspace(0, 12, 512), indexing="ij")
    bent = 4 * (x + (y + (2 * x).sin()).sin()) + 3 * (y * 0.7).cos()
    return torch.stack([(bent * k).sin() for k in (1.0, 1.1, 0.6)]) * 0.8


# -- the table ----------------------------------------------------------------------------------------------------------


def line(row: Row, facts: dict[str, Any]) -> str:
    ours, plain = facts["ours"], facts["plain"]
    quotient = f"{plain['seconds'] / ours['seconds']:.1f}×"
    cells = [f"{row}, {facts['width']}×{facts['height']}", f"{facts['before']:.3f}"]
    for side in (plain, ours):
        cells += [f"{side['loss']:.4f}", str(side["evaluations"]), f"{side['seconds']:.1f}"]
    cells.append(quotient if plain["there"] else f"over {quotient}")
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photo", type=Path, default=SAMPLE, help="else the sample photograph")
    parser.add_argument("--style", type=Path, help="a painting; else a pattern of waves")
    parser.add_argument("--only", default="", metavar="WORD", help="rows that contain it, as: 384, bf16, CUDA")
    parser.add_argument("--iterations", type=int, help="of ours; else the recipe's")
    parser.add_argument("--levels", type=int, help="of ours; else the recipe's")
    parser.add_argument("--cap", type=float, default=3600, metavar="SECONDS", help="for the plain way")
    parser.add_argument("--row", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--busy", action="store_true", help="count seconds of one core; by itself if others work here")
    given = parser.parse_args()
    rows = CPU + (CUDA if torch.cuda.is_available() else [])
    if given.row is not None:
        print(json.dumps(timed(rows[given.row], given)))  # noqa: T201
        return
    given.busy = given.busy or os.getloadavg()[0] > QUIET
    if given.busy:
        torch.set_num_threads(1)
    seconds = "seconds of one core, since the machine had other work, too" if given.busy else "seconds by the clock"
    table = [
        f"Photograph {given.photo.name}, style {given.style.name if given.style else 'a pattern of waves'};"
        f" {seconds}. {machine()}",
        "",
        "| | loss at the start | plain: loss | evaluations | s | ours: loss | evaluations | s | ratio |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    sys.stdout.write("\n".join(table) + "\n")
    for i, row in enumerate(rows):
        if given.only in str(row):
            words = [sys.executable, __file__, *sys.argv[1:], "--row", str(i)] + ["--busy"] * given.busy
            done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
            table.append(line(row, json.loads(done.stdout.splitlines()[-1])))
            sys.stdout.write(table[-1] + "\n")
            sys.stdout.flush()
    if not (given.only or given.iterations or given.levels):
        before, _, rest = RESULTS.read_text(encoding="utf-8").partition(MARKS[0])
        text = "\n".join([MARKS[0], "", *table, "", MARKS[1]])
        RESULTS.write_text(before + text + rest.partition(MARKS[1])[2], encoding="utf-8")


if __name__ == "__main__":
    main()
