"""Expressions by motion: where a face's landmarks go when its action units change. Nothing is learned here but the table
(``motion.csv``, made by `zoo motion-table`): how far each landmark moves for one unit of each action unit.

E is the distance of the eyes' middles, in pixels of a crop. Landmarks are those of iBUG 300-W; a face lies upright.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from zoo.errors import ConfigError
from zoo.faces import MIRRORED
from zoo.helpers.reading import open_table
from zoo_expression.openings import LOWER_LIP, POINTS, moved, parted
from zoo_expression.shade import Shade
from zoo_expression.units import NAMES, ROW, UNITS

TABLE = Path(__file__).parent / "motion.csv"
BROWS, MOUTH = range(17, 27), range(48, 68)
REGIONS: dict[int, Sequence[int]] = {
    **dict.fromkeys((2, 4), BROWS),
    6: (31, 35, 48, 54),
    9: (21, 22, *range(31, 36), 50, 51, 52, 61, 62, 63),
    **dict.fromkeys((10, 12, 14, 17, 25, 26), MOUTH),
}
"""What a unit moves by the table. Elsewhere it carries what comes with a unit: the head, others, noise. Lids (5, 7, 45) go
by how far an eye is open, see `Motion.lids`; of 1, 15, 20 and 23 the table knows little, `ANATOMY` does."""

ANATOMY: dict[int, dict[int, tuple[float, float]]] = {
    1: {19: (0, -0.008), 20: (0, -0.015), 21: (0.002, -0.03)},
    15: {
        48: (0.007, 0.041),
        49: (0.004, 0.010),
        59: (0.005, 0.014),
        60: (0.006, 0.034),
        **dict.fromkeys((51, 57), (0, -0.007)),
    },
    20: {48: (-0.03, 0.004), 49: (-0.012, 0.002), 59: (-0.012, 0.002), 60: (-0.026, 0.004)},
    23: {48: (0.015, 0), 50: (0, 0.006), 51: (0, 0.006), 57: (0, -0.006), 58: (0, -0.006), 60: (0.012, 0)},
    26: {
        48: (0.03, 0.015),
        60: (0.03, 0.015),
        49: (0.012, 0.003),
        59: (0.015, 0.012),
        **dict.fromkeys((57, 58, 66, 67), (0, 0.017)),
    },
}
"""Beside the table, by what a muscle does (Ekman and Friesen 1978), 20 and 26 by mouths in fear and surprise as well: E right and
down for one unit, for one side of the face; the other is its mirror image."""

GAIN = dict.fromkeys(UNITS, 1.4) | {4: 1.7, 26: 0.85}
"""The table is too small: noise in the intensities that it was fitted to brings slopes down, most in units that are read
least surely."""

SHUT, NARROW, WIDE = 0.5, 0.13, 0.16
"""Shares of its opening by which an eye closes for one unit of 45 and of 7, and opens for one of 5."""

WIDEST = 1.4
"""An eye opens at most by this much of what it is."""

PARTED = 0.1
"""E by which lips are apart for one unit of 25."""

TENSE = {20: 0.15, 23: 0.5}
"""Shares of their opening by which lips part less for one unit of those that stretch them and press them together."""

JAW = [math.sin(math.pi * point / 16) ** 2 for point in range(17)]
"""How far each point of the jaw, from one ear to the other, goes with the chin, as a share."""


class Motion(nn.Module):
    """Moves a face from the units that it has to those that are asked for; ``gain`` multiplies how far, and
    ``shade`` how strong the folds and shades are that come with them, 0 for none."""

    table: Tensor

    def __init__(self, gain: float = 1.0, shade: float = 0.0) -> None:
        super().__init__()
        self.shade = Shade(shade) if shade else None
        self.register_buffer("table", gain * complete(read_motion()).double(), persistent=False)

    def forward(self, image: Tensor, landmarks: Tensor, own: Tensor, asked: Tensor) -> dict[str, Tensor]:
        """A crop (3,S,S), its landmarks (68,2), and intensities (2,17), of the face's left half and of its right one
        -> the crop moved: ``image``, ``flow`` and ``paint``, see `moved`."""
        points = parted(image, landmarks.float()).double()
        there = points + self.shifts(points, own.double(), asked.double())
        made = moved(image, points, there)
        if self.shade is not None:
            light = self.shade(made["image"], there, asked - own)
            made |= {"image": made["image"] + light, "paint": made["paint"] + light}
        return made

    def shifts(self, points: Tensor, own: Tensor, asked: Tensor) -> Tensor:
        """By how many pixels each landmark (68,2) moves."""
        scale = distance(points)
        left, right = scale * torch.einsum("su,upc->spc", asked - own, self.table.to(points))
        shift = torch.lerp(right, left, _leftness(points, scale)[:, None])
        self.lids(points, shift, asked - own)
        self.lips(points, shift, own.mean(0), asked.mean(0), scale)
        return shift

    @staticmethod
    def lids(points: Tensor, shift: Tensor, change: Tensor) -> None:
        """The lids' shifts: an eye is open by a share of what it was."""
        for side, pairs in ((1, ((37, 41), (38, 40))), (0, ((43, 47), (44, 46)))):
            by = change[side]
            shut, squint = SHUT * by[ROW[45]], NARROW * (by[ROW[7]] + by[ROW[6]] / 2)
            upper, lower = 0.85 * shut + squint / 2 - WIDE * by[ROW[5]], 0.15 * shut + squint / 2
            most = (upper + lower).clamp(1 - WIDEST, 1) / (upper + lower) if upper + lower else 1.0
            for top, bottom in pairs:
                opening = points[bottom] - points[top]
                shift[top] += most * upper * opening
                shift[bottom] -= most * lower * opening

    @staticmethod
    def lips(points: Tensor, shift: Tensor, own: Tensor, asked: Tensor, scale: Tensor) -> None:
        """The lips' shifts so that they never cross, and meet where nothing is asked to part them."""
        top, bottom = [61, 62, 63], [67, 66, 65]
        was = (points[bottom, 1] - points[top, 1]).clamp(min=0)
        now = (points[bottom, 1] + shift[bottom, 1]) - (points[top, 1] + shift[top, 1])
        has, wanted = (units[ROW[25]] + units[ROW[26]] for units in (own, asked))
        if wanted < has:
            has = torch.maximum(has, was.mean() / (PARTED * scale))  # a meter does not see all of how open a mouth is
            share = (wanted / has).clamp(max=1)
            opening = was * share
        else:
            opening = torch.maximum(now, was)
        tense = (asked - own)[[ROW[unit] for unit in TENSE]].clamp(0, 2) @ asked.new_tensor([*TENSE.values()])
        opening = opening * (1 - tense).clamp(min=0)
        more = opening - now  # (3,) at the inner lips; the upper lip takes a quarter of it
        shift[top, 1] -= more / 4
        shift[bottom, 1] += 3 * more / 4
        more = more.clamp(min=0)  # lips that shut get thicker: their outer edges stay
        shift[[50, 51, 52], 1] -= more / 4
        shift[[58, 57, 56], 1] += 3 * more / 4
        shift[[49, 53], 1] -= more.mean() / 8
        shift[[59, 55], 1] += 3 * more.mean() / 8
        if (shift[bottom, 1] > 0).all():  # a lip that goes down is not drawn out
            shift[[58, 57, 56], 1] = torch.minimum(shift[[58, 57, 56], 1], shift[bottom, 1])
        chin = shift[LOWER_LIP[2], 1]  # the chin follows, and the jaw with it: jaw points of the table carry the head
        jaw = shift.new_tensor(JAW)
        shift[: len(JAW), 1] = torch.where(chin > 0, 0.8 * chin, 0.3 * chin) * jaw


def read_motion(path: Path = TABLE) -> Tensor:
    """The table (17,68,2): landmarks' shifts right and down, in E, for one unit of each. ConfigError if it is none."""
    table = torch.full((len(NAMES), POINTS, 2), torch.nan)
    try:
        with open_table(path) as file:
            for row in csv.DictReader(file):
                table[NAMES.index(row["unit"]), int(row["point"])] = torch.tensor([float(row["dx"]), float(row["dy"])])
    except (OSError, ValueError, KeyError, IndexError, TypeError, csv.Error) as error:
        raise ConfigError(f"{path} is no table of motion: {error}", "zoo motion-table makes one") from error
    if not table.isfinite().all():
        raise ConfigError(f"{path} does not have every unit and landmark", "zoo motion-table makes one")
    return table


def complete(table: Tensor) -> Tensor:
    """The table as it moves a face: halves alike, each unit in its region, and what the table does not know."""
    mirror = table[:, list(MIRRORED)] * torch.tensor([-1.0, 1.0])
    table = torch.tensor([*GAIN.values()])[:, None, None] * (table + mirror) / 2
    kept = torch.zeros(len(NAMES), POINTS, 1)
    for number, points in REGIONS.items():
        kept[ROW[number], list(points)] = 1
    table = table * kept
    for number, known in ANATOMY.items():
        for point, (x, y) in known.items():
            table[ROW[number], point] += torch.tensor([x, y])
            if (other := MIRRORED[point]) != point:
                table[ROW[number], other] += torch.tensor([-x, y])
    return table


def distance(points: Tensor) -> Tensor:
    """E of landmarks (…,68,2)."""
    return (points[..., 42:48, :].mean(-2) - points[..., 36:42, :].mean(-2)).norm(dim=-1)


def _leftness(points: Tensor, scale: Tensor) -> Tensor:
    """(68,) from 0, on the face's right half, to 1, on its left one, which a picture shows on the right; no step."""
    middle = points[[27, 28, 51, 62, 8], 0].mean()
    return ((points[:, 0] - middle) / (0.3 * scale) + 0.5).clamp(0, 1)
