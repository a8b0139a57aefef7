"""Tables of what other detectors found in drawn faces: boxes of eyes and mouth, or the 28 points that the thesis had."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zoo.errors import ConfigError, NotFoundError
from zoo.helpers.reading import open_table

Array = NDArray[np.float64]
Box = tuple[float, float, float, float]
"""Left, top, width, height."""

BOXES = (*(f"{box}{side}" for box in ("re", "le", "m") for side in "xywh"), "nx", "ny", "cx", "cy")
"""Columns: boxes of right eye, left eye and mouth, nose and chin."""

POINTS = tuple(f"{axis}{i}" for i in range(28) for axis in "xy")
"""Columns: the points of hysts's anime-face-detector: jaw 5, brows 3 and 3, each eye 3 above and 3 below, nose, mouth 4."""

SURE = 0.9
"""``likelihood`` below which a face is left out."""

UNSURE = "the detector is not sure of it"
SEVERAL = "not one face"


@dataclass(frozen=True, eq=False)
class Detection:
    """A face, in the picture's pixels; right and left are the person's own."""

    right: Box  # eye
    left: Box
    mouth: Box
    nose: Array  # (2,)
    chin: Array  # (2,)
    points: Array | None = None  # (28,2), where there are such

    @property
    def between(self) -> Array:
        """The point (2,) between the eyes."""
        return (middle(self.right) + middle(self.left)) / 2

    @property
    def length(self) -> float:
        """Pixels from between the eyes to the chin."""
        return float(np.linalg.norm(self.chin - self.between))

    @property
    def tilt(self) -> float:
        """Radians by which the line through the eyes is turned, clockwise as seen."""
        x, y = middle(self.left) - middle(self.right)
        return math.atan2(y, x)

    @property
    def plausible(self) -> bool:
        """Do eyes, nose, mouth and chin lie as in a face that is seen more or less from the front?"""
        if min(*self.right[2:], *self.left[2:], *self.mouth[2:], self.length) < 1e-6 or abs(self.tilt) > math.radians(
            40
        ):
            return False
        apart = float(np.linalg.norm(middle(self.left) - middle(self.right)))
        down = (self.chin - self.between) / self.length
        nose, lips = (float((point - self.between) @ down) / self.length for point in (self.nose, middle(self.mouth)))
        across = np.array([math.cos(self.tilt), math.sin(self.tilt)])
        return (
            0.5 < apart / self.length < 2.2
            and all(0.4 < one / other < 2.5 for one, other in zip(self.right[2:], self.left[2:]))
            and max(self.right[2], self.left[2]) < apart
            and 0.1 < nose < lips < 1.0
            and abs(float(down @ across)) < 0.6
        )


def middle(box: Box) -> Array:
    """(2,)"""
    return np.array([box[0] + box[2] / 2, box[1] + box[3] / 2])


def read_detections(path: Path) -> Iterator[tuple[str, Detection | str]]:
    """For each line of a CSV table the picture's name, and the face in it or why it is left out.

    It has a column ``file`` and either ``BOXES`` or ``POINTS``; ``n``, how many faces, and ``likelihood`` are looked at
    where they are there. NotFoundError; ConfigError, which names file and line."""
    if not path.exists():
        raise NotFoundError(f"there is no table {path}", "give a detector's results as a CSV file")
    try:
        with open_table(path) as file:
            rows = csv.DictReader(file, skipinitialspace=True)
            heads = rows.fieldnames or ()
            columns = POINTS if POINTS[0] in heads else BOXES
            if missing := [head for head in ("file", *columns) if head not in heads]:
                needed = f"it needs file and either {', '.join(BOXES[:4])} … or {', '.join(POINTS[:4])} …"
                raise ConfigError(f"{path} has no column {missing[0]}", needed)
            for cells in rows:
                yield _line(cells, columns, f"{path}, line {rows.line_num}")
    except (ValueError, csv.Error) as error:
        raise ConfigError(f"{path} is not a CSV table: {error}", "give a detector's results as a CSV file") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}", "check its permissions") from None


def _line(cells: Mapping[str, str | None], columns: Sequence[str], where: str) -> tuple[str, Detection | str]:
    file = (cells["file"] or "").strip()
    if not file:
        raise ConfigError(f"{where} names no picture", "correct the table")
    if "n" in cells and _number(cells, "n", where) != 1:
        return file, SEVERAL
    if "likelihood" in cells and _number(cells, "likelihood", where) < SURE:
        return file, UNSURE
    values = np.array([_number(cells, name, where) for name in columns])
    if len(values) == len(BOXES):
        right, left, mouth = (_box(corner, corner + size) for corner, size in values[:12].reshape(3, 2, 2))
        return file, Detection(right, left, mouth, values[12:14], values[14:])
    points = values.reshape(28, 2)
    right, left, mouth = (_box(part.min(0), part.max(0)) for part in (points[11:17], points[17:23], points[24:]))
    return file, Detection(right, left, mouth, points[23], points[2], points)


def _box(low: Array, high: Array) -> Box:
    (x, y), (width, height) = low, high - low
    return float(x), float(y), float(width), float(height)


def _number(cells: Mapping[str, str | None], name: str, where: str) -> float:
    try:
        value = float(cells[name] or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ConfigError(f"{where}: {name} is {cells[name]!r}, not a number", "correct the table")
    return value
