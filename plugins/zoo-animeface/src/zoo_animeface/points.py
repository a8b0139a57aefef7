"""The 40 points of a face: their names, their places among iBUG's 68, and the table they are kept in.

A shape is a tensor (…,40,2) of x and y in shares of the picture's sides: 0 at the left or upper edge, 1 at the right or
lower edge, (i + 0.5) / side in the middle of pixel i. Times 112 it is in the thesis's pixels. Right and left are the
person's own: the right eye lies in the left half of a picture.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from zoo.errors import ConfigError, NotFoundError
from zoo.helpers.files import atomic
from zoo.helpers.reading import open_table

SIDE = 112
"""Pixels along a side of the thesis's pictures; its distances are in these."""

GROUPS: dict[str, tuple[slice, bool]] = {
    "jaw": (slice(0, 17), False),
    "brow-right": (slice(17, 20), False),
    "brow-left": (slice(20, 23), False),
    "eye-right": (slice(23, 29), True),
    "eye-left": (slice(29, 35), True),
    "nose": (slice(35, 36), False),
    "mouth": (slice(36, 40), True),
}
"""Which points make a line, and whether it is closed."""

NAMES: tuple[str, ...] = tuple(
    f"{group}{i + 1}" if part.stop - part.start > 1 else group
    for group, (part, _) in GROUPS.items()
    for i in range(part.stop - part.start)
)

_ONE_BASED = [*range(1, 18), 18, 20, 22, 23, 25, 27, *range(37, 49), 31, 60, 67, 56, 58]  # the listing's land_point
OF_68: tuple[int, ...] = tuple(number - 1 for number in _ONE_BASED)
"""Where each point is among iBUG's 68, counted from 0."""

LIDS, CORNERS, LIPS = (40, 41, 46, 47), (36, 39, 42, 45), (55, 57, 59, 66)
LOWERED = {**dict.fromkeys(LIDS, 1.0), **dict.fromkeys(CORNERS, 0.5), **dict.fromkeys(LIPS, 0.15)}
"""How far points of iBUG's 68, counted from 0, are moved down: a drawn eye is larger. The lower lids by all of it, the
corners by half, so that they stay halfway, and the mouth as far as drawn faces have it below the eyes. The thesis leaves the mouth,
and moves of the corners 39 and 45, one of each eye, like the lids, which tilts both eyes the same way and makes a mirrored
face another one."""

DROP = 8.8 / SIDE
"""How far it moves them, in shares of the side (section 3.2: the mean height of drawn eyes)."""

MIRROR: tuple[int, ...] = (
    *range(16, -1, -1),
    *(22, 21, 20, 19, 18, 17),
    *(32, 31, 30, 29, 34, 33),
    *(26, 25, 24, 23, 28, 27),
    *(35, 38, 37, 36, 39),
)
"""Point i of a mirrored face is point MIRROR[i] of the face."""

FRONTAL: tuple[tuple[float, float], ...] = (
    *((0.265, 0.423), (0.268, 0.476), (0.279, 0.527), (0.298, 0.575), (0.325, 0.62), (0.361, 0.658), (0.403, 0.689)),
    *((0.45, 0.712), (0.5, 0.726), (0.55, 0.712)),
    *((0.597, 0.689), (0.639, 0.658), (0.675, 0.62), (0.702, 0.575), (0.721, 0.527), (0.732, 0.476), (0.735, 0.423)),
    *((0.281, 0.324), (0.358, 0.309), (0.434, 0.324), (0.566, 0.324), (0.642, 0.309), (0.719, 0.324)),
    *((0.281, 0.424), (0.33, 0.367), (0.385, 0.367), (0.434, 0.424), (0.385, 0.482), (0.33, 0.482)),
    *((0.566, 0.424), (0.615, 0.367), (0.67, 0.367), (0.719, 0.424), (0.67, 0.482), (0.615, 0.482)),
    *((0.5, 0.534), (0.451, 0.627), (0.5, 0.603), (0.549, 0.627), (0.5, 0.652)),
)
"""A drawn face from the front, in shares: the mean of many."""

TABLE = "points.csv"
COLUMNS = ("file", "width", "height", *(f"{axis}{i}" for i in range(len(NAMES)) for axis in "xy"))


def of_68(landmarks: Tensor, drop: float = DROP) -> Tensor:
    """iBUG's 68 points (…,68,2) in shares of the side -> a shape (…,40,2), the eyes opened downwards by ``drop``."""
    moved = landmarks.clone()
    moved[..., list(LOWERED), 1] += drop * torch.tensor(list(LOWERED.values())).to(moved)
    return moved[..., OF_68, :]


def mirrored(shape: Tensor) -> Tensor:
    """The shape (…,40,2) of the mirrored picture."""
    flipped = shape[..., MIRROR, :]
    return torch.stack([1 - flipped[..., 0], flipped[..., 1]], -1)


@dataclass(frozen=True, eq=False)
class Row:
    """One picture of a table."""

    file: str
    width: int
    height: int
    shape: Tensor | None  # (40,2) float32, in shares; None where no face was found


def write_points(path: Path, rows: Iterable[Row], replace: bool = True) -> None:
    """A table of ``COLUMNS``, in pixels of each picture; a picture without a face has its name and size alone."""
    with atomic(path, replace) as part, part.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for row in rows:
            blank = [""] * (2 * len(NAMES))
            pixels = blank if row.shape is None else _pixels(row.shape, row.width, row.height)
            table.writerow([row.file, row.width, row.height, *pixels])


def read_points(path: Path) -> dict[str, Row]:
    """The rows of a table by the names of their pictures. NotFoundError; ConfigError, which names file and line."""
    if not path.exists():
        raise NotFoundError(f"there is no table {path}", "zoo anime-points or zoo photo-points makes one")
    found: dict[str, Row] = {}
    try:
        with open_table(path) as file:
            rows = csv.DictReader(file)
            if missing := [head for head in COLUMNS if head not in (rows.fieldnames or ())]:
                raise ConfigError(
                    f"{path} has no column {missing[0]}", f"a table of points has {', '.join(COLUMNS[:5])} …"
                )
            for cells in rows:
                row = _row(cells, f"{path}, line {rows.line_num}")
                found[row.file] = row
    except (ValueError, csv.Error) as error:
        raise ConfigError(f"{path} is not a CSV table: {error}", "make it anew") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}", "check its permissions") from None
    return found


def _row(cells: dict[str, str | None], where: str) -> Row:
    """``where`` is the file and the line, for errors."""
    file = cells["file"] or ""
    if not file:
        raise ConfigError(f"{where} names no picture", "correct the table, or make it anew")
    width, height = (_number(cells[name], f"{where}: {name}") for name in ("width", "height"))
    if not (width >= 1 and height >= 1 and width.is_integer() and height.is_integer()):
        raise ConfigError(
            f"{where}: {width:g}×{height:g} is not a picture's size", "correct the table, or make it anew"
        )
    texts = {name: (cells[name] or "").strip() for name in COLUMNS[3:]}
    if not any(texts.values()):
        return Row(file, int(width), int(height), None)
    points = torch.tensor([_number(text, f"{where}: {name}") for name, text in texts.items()]).view(-1, 2)
    return Row(file, int(width), int(height), points / torch.tensor([width, height]))


def _number(text: str | None, what: str) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ConfigError(f"{what} is {text!r}, not a number", "correct the table, or make it anew")
    return value


def _pixels(shape: Tensor, width: int, height: int) -> list[float]:
    return [round(value, 3) for value in (shape.double() * torch.tensor([width, height])).flatten().tolist()]
