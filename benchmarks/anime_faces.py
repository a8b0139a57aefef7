"""Train and measure what finds drawn faces (`zoo_animeface.finder`).

    python benchmarks/anime_faces.py train DRAWINGS DETECTIONS --out anime-faces.safetensors --behind FOLDER …
    python benchmarks/anime_faces.py test DRAWINGS DETECTIONS --weights anime-faces.safetensors --behind FOLDER …

DRAWINGS are pictures of one face each, DETECTIONS the table of `zoo anime-points`; every eighth by number is for the test. They
are pasted onto the pictures of --behind, which show no drawn faces.
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.pictures.image import read
from zoo.weights.file import read_tensors, save_weights
from zoo_animeface.detections import Detection, read_detections
from zoo_animeface.finder import STRIDE, UNIT, FaceFinder, Square, seen

PAGE = 256
BATCH = 12
FACE = 1.65
"""Sides of the square around a face, in sides of the box that detectors give."""

Face = tuple[Path, tuple[float, float, float]]
"""A drawing, and x, y and side of the square in its pixels."""


def faces(drawings: Path, table: Path, test: bool) -> list[Face]:
    found = []
    known = {name for name, what in read_detections(table) if isinstance(what, Detection)}
    with table.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            name = row["file"]
            if name not in known or (int(Path(name).stem) % 8 == 0) != test or float(row["likelihood"] or 0) < 0.9:
                continue
            x, y, w, h = (float(row[key]) for key in ("fx", "fy", "fw", "fh"))
            found.append((drawings / name, (x + w / 2, y + h / 2, FACE * (w + h) / 2)))
    return found


class Pages:
    """Pages with up to six drawings, cut out and turned a little, each with its hair, on other pictures."""

    def __init__(self, drawn: Sequence[Face], behind: Sequence[Path]) -> None:
        self.drawn = [(read(path).on_white().rgb, square) for path, square in drawn]
        self.behind = [
            F.interpolate(read(path).on_white().rgb[None], (320, 320), mode="bilinear")[0] for path in behind
        ]

    def page(self, rng: torch.Generator) -> tuple[Tensor, list[Square]]:

        def draw(low: float, high: float) -> float:
            return low + (high - low) * float(torch.rand(1, generator=rng))

        def pick(n: int) -> int:
            return int(torch.randint(n, (1,), generator=rng))

        back = self.behind[pick(len(self.behind))]
        zoom = round(draw(PAGE, 640))
        back = F.interpolate(back[None], (zoom, zoom), mode="bilinear")[0]
        top, left = (round(draw(0, zoom - PAGE)) for _ in range(2))
        page = back[:, top : top + PAGE, left : left + PAGE].clone()
        if draw(0, 1) < 0.2:
            page = (
                torch.full_like(page, draw(-1, 1))
                if draw(0, 1) < 0.5
                else page.mean(0, keepdim=True).expand(3, -1, -1).clone()
            )
        for _ in range(pick(4)):  # edges are no faces
            patch, wide, high = self.behind[pick(len(self.behind))], round(draw(16, 120)), round(draw(16, 120))
            row, column, i, j = (round(draw(0, most)) for most in (PAGE - high, PAGE - wide, 320 - high, 320 - wide))
            page[:, row : row + high, column : column + wide] = patch[:, i : i + high, j : j + wide]
        placed: list[Square] = []
        taken: list[tuple[float, float, float]] = []
        for _ in range(pick(7)):
            picture, (x, y, side) = self.drawn[pick(len(self.drawn))]
            size = picture.shape[-1]
            wanted = math.exp(draw(math.log(24), math.log(200)))  # pixels of the square
            scale = wanted / side
            angle, mirrored = math.radians(draw(-20, 20)), draw(0, 1) < 0.5
            # what is cut out of the drawing: the square and some of what is around it
            reach = 0.5 * side * draw(0.75, 1.3)
            cx, cy = draw(0, PAGE), draw(0, PAGE)
            if any(
                abs(cx - ox) < (wanted + o) / 2 * 1.05 and abs(cy - oy) < (wanted + o) / 2 * 1.05 for ox, oy, o in taken
            ):
                continue
            at = torch.arange(PAGE) + 0.5
            dx, dy = (at - cx).expand(PAGE, PAGE) / scale, (at[:, None] - cy).expand(PAGE, PAGE) / scale
            round_ = draw(0, 1) < 0.4
            inside = (
                dx.square() + dy.square() < (1.1 * reach) ** 2 if round_ else (dx.abs() < reach) & (dy.abs() < reach)
            )
            u = math.cos(angle) * dx + math.sin(angle) * dy
            v = -math.sin(angle) * dx + math.cos(angle) * dy
            u = -u if mirrored else u
            grid = torch.stack([2 * (x + u) / size - 1, 2 * (y + v) / size - 1], -1)
            inside &= grid.abs().amax(-1) < 1.02
            shrunk = F.avg_pool2d(picture[None], 2) if scale < 0.6 else picture[None]
            shrunk = F.avg_pool2d(shrunk, 2) if scale < 0.3 else shrunk
            pasted = F.grid_sample(shrunk, grid[None], padding_mode="border", align_corners=False)[0]
            pasted = ((pasted + 1) * draw(0.7, 1.2) - 1).clamp(-1, 1)
            if draw(0, 1) < 0.15:
                pasted = pasted.mean(0, keepdim=True).expand(3, -1, -1)
            page = torch.where(inside, pasted, page)
            taken.append((cx, cy, wanted))
            if wanted / 6 < cx < PAGE - wanted / 6 and wanted / 6 < cy < PAGE - wanted / 6:
                placed.append(Square(cx, cy, wanted, 1.0))
        return page + 0.02 * draw(0, 1) * torch.randn(page.shape, generator=rng), placed

    def batch(self, seed: int) -> tuple[Tensor, list[list[Square]]]:
        rng = torch.Generator().manual_seed(seed)
        pages = [self.page(rng) for _ in range(BATCH)]
        return torch.stack([page for page, _ in pages]), [squares for _, squares in pages]


def loss(found: Tensor, squares: list[list[Square]]) -> Tensor:
    """Focal loss of the middles, softer near them (Zhou et al., eq. 1), and the distance of place and size there."""
    n, _, rows, columns = found.shape
    wanted, known, values = (
        torch.zeros(n, rows, columns),
        torch.zeros(n, rows, columns),
        torch.zeros(n, 3, rows, columns),
    )
    y, x = torch.meshgrid(torch.arange(rows) + 0.5, torch.arange(columns) + 0.5, indexing="ij")
    for i, ones in enumerate(squares):
        for one in ones:
            cx, cy, sigma = one.x / STRIDE, one.y / STRIDE, max(0.6, 0.06 * one.side / STRIDE)
            wanted[i] = torch.maximum(wanted[i], torch.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * sigma**2)))
            row, column = min(int(cy), rows - 1), min(int(cx), columns - 1)
            wanted[i, row, column] = 1
            near = ((x - cx).abs() < 1.5) & ((y - cy).abs() < 1.5)
            known[i][near] = 1
            values[i, 0][near], values[i, 1][near] = (cx - x)[near], (cy - y)[near]
            values[i, 2][near] = math.log(one.side / UNIT)
    logit = found[:, 0].float()
    p = logit.sigmoid().clamp(1e-4, 1 - 1e-4)
    hit = wanted == 1
    focal = torch.where(hit, (1 - p) ** 2 * p.log(), (1 - wanted) ** 4 * p**2 * (1 - p).log())
    places = F.smooth_l1_loss(found[:, 1:].float(), values, reduction="none") * known[:, None]
    return -focal.sum() / hit.sum().clamp(min=1) + 2 * places.sum() / known.sum().clamp(min=1)


def train(pages: Pages, steps: int, out: Path, minutes: float) -> None:
    torch.manual_seed(0)
    finder, began = FaceFinder(), time.monotonic()
    nn.init.zeros_(finder.head.bias)
    nn.init.constant_(finder.head.bias[:1], -4.0)  # faces are rare
    optimiser = torch.optim.AdamW(finder.parameters(), 2e-3, weight_decay=1e-2)
    mean = {name: value.clone() for name, value in finder.state_dict().items()}
    for step in range(steps):
        share = max(step / steps, (time.monotonic() - began) / 60 / minutes)
        if share >= 1:
            break
        for group in optimiser.param_groups:
            group["lr"] = 2e-3 * min(1, (step + 1) / 50) * (0.5 + 0.5 * math.cos(math.pi * share))
        images, squares = pages.batch(step)
        found = finder(images)
        value = loss(found, squares)
        optimiser.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(finder.parameters(), 5.0)
        optimiser.step()
        for name, now in finder.state_dict().items():
            mean[name] = torch.lerp(mean[name], now, 0.01) if now.is_floating_point() else now.clone()
        if step % 25 == 0:
            sys.stdout.write(f"{step} {float(value):.3f}\n")
    save_weights(out, mean, {})
    sys.stdout.write(f"{step + 1} steps, {(time.monotonic() - began) / 3600:.2f} hours: {out}\n")


def test(pages: Pages, finder: FaceFinder, count: int) -> None:
    hits = wanted = told = 0
    rng = torch.Generator().manual_seed(10**6)
    for _ in range(count):
        page, squares = pages.page(rng)
        found = seen(finder, page)
        right = [one for one in squares if any(one.overlap(other) >= 0.5 for other in found)]
        hits, wanted, told = hits + len(right), wanted + len(squares), told + len(found)
    sys.stdout.write(f"{count} pages: {hits} of {wanted} faces found, {told - hits} of {told} finds are none\n")
    empty = sum(len(seen(finder, picture)) for picture in pages.behind)
    sys.stdout.write(f"{len(pages.behind)} pictures without: {empty} finds\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["train", "test"])
    parser.add_argument("drawings", type=Path)
    parser.add_argument("detections", type=Path)
    parser.add_argument("--behind", type=Path, action="append", required=True)
    parser.add_argument("--out", type=Path, default=Path("anime-faces.safetensors"))
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--count", type=int, default=100)
    options = parser.parse_args()
    torch.set_num_threads(1)
    behind = [path for folder in options.behind for path in sorted(folder.iterdir()) if path.suffix in (".jpg", ".png")]
    if options.what == "train":
        drawn = faces(options.drawings, options.detections, test=False)
        train(Pages(drawn, [p for i, p in enumerate(behind) if i % 8]), options.steps, options.out, options.minutes)
    else:
        drawn = faces(options.drawings, options.detections, test=True)
        finder = FaceFinder()
        finder.load_state_dict(read_tensors(options.weights))
        test(Pages(drawn, behind[::8]), finder.eval(), options.count)


if __name__ == "__main__":
    main()
