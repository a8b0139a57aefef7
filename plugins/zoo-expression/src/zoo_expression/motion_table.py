"""``zoo motion-table``: where landmarks go for one unit of each action unit, learned from labelled faces by least squares.

Faces of one person are compared with each other: what differs between people is not motion. Each face is laid upon the
mean one by what no muscle moves, eye corners, bridge of the nose and ends of the jaw; five terms of the head's pose stand
beside the 17 units. E is the distance of the eyes' middles.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from zoo import faces
from zoo.errors import ImageError, NotFoundError, UsageError
from zoo.pictures.image import read
from zoo.progress import tell
from zoo_expression.table import TABLE, Row, read_table, write_table
from zoo_expression.units import NAMES

STILL = (0, 16, 27, 28, 29, 30, 36, 39, 42, 45)
"""Landmarks that no unit moves: ends of the jaw, bridge of the nose, corners of the eyes."""

LEAST = 100
"""Faces of people that have two or more, below which 22 numbers for each landmark are a guess."""

Array = np.ndarray[Any, np.dtype[Any]]


Labelled = Annotated[
    Path, typer.Argument(metavar="FOLDER", help=f"Faces with their {TABLE}; of people seen twice or more.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a table that is there already.")]


def motion_table(
    folder: Labelled,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The table, a CSV file.")],
    overwrite: Overwrite = False,
) -> dict[str, Any]:
    """Learn from labelled faces how far each landmark moves for one unit of each action unit: a table of motion.

    aus.csv says whose face each is in a column person or identity; else people are the folders that pictures lie in.
    Landmarks are its columns x0 … y67, or are found. Least squares within persons; pose does not count as motion.

    Example: zoo motion-table faces -o motion.csv
    """
    check_free(out, overwrite)
    rows, points, people, lost = labelled(folder, "motion")
    units = np.array([row.units for row in rows])
    table, explained = fitted(points, units, people)
    lines = [(unit, point, *np.round(table[i, point], 5)) for i, unit in enumerate(NAMES) for point in range(68)]
    write_table(out, ("unit", "point", "dx", "dy"), lines)
    told = f"{len(rows)} faces of {people.max() + 1} people; {explained:.0%} of what differs within persons explained: {out}"
    failed = f"{lost} pictures left out: no face found, or unreadable" if lost else ""
    return {"lines": [*[failed] * bool(lost), told], "out": str(out), "faces": len(rows), "explained": explained}


def check_free(out: Path, overwrite: bool) -> None:
    """UsageError if a table is there that is not to be replaced."""
    if out.is_dir() or (out.exists() and not overwrite):
        raise UsageError(f"{out} is there already", "give another --out, or --overwrite")


def labelled(folder: Path, what: str) -> tuple[list[Row], Array, Array, int]:
    """The labelled faces of people that are seen twice or more: their rows, landmarks (N,68,2) in pixels, the people's numbers
    (N,), and how many pictures have no face. UsageError if there are too few to learn ``what`` from."""
    rows = [row for row in read_table(folder / TABLE) if row.usable]
    seen = Counter(row.person for row in rows)
    rows = [row for row in rows if seen[row.person] > 1]
    known, lost = [], 0
    for number, row in enumerate(rows):
        tell("landmarks", number, len(rows))
        points = _landmarks(folder, row)
        if points is None:
            lost += 1
        else:
            known.append((row, points))
    tell("landmarks", len(rows), len(rows))
    seen = Counter(row.person for row, _ in known)
    known = [(row, points) for row, points in known if seen[row.person] > 1]
    if len(known) < LEAST:
        raise UsageError(
            f"{len(known)} faces of people that are seen twice or more: too few to learn {what} from",
            f"give {LEAST} or more; people are told apart by a column person, or by the folders of their pictures",
        )
    people = np.unique([row.person for row, _ in known], return_inverse=True)[1]
    return [row for row, _ in known], np.stack([points for _, points in known]), people, lost


def fitted(points: Array, units: Array, people: Array) -> tuple[Array, float]:
    """Landmarks (N,68,2), intensities (N,17) and numbers of people (N,) -> the table (17,68,2), and the share of the
    variance within persons that units and pose explain."""
    laid = laid_upon_mean(points)
    terms = within(np.concatenate([units, pose(laid)], 1), people)
    shifts = within(laid.reshape(len(laid), -1), people)
    weights = np.linalg.lstsq(terms, shifts, rcond=None)[0]
    left = np.square(shifts - terms @ weights).sum() / np.square(shifts).sum()
    return weights[: units.shape[1]].reshape(-1, 68, 2), float(1 - left)


def laid_upon_mean(points: Array) -> Array:
    """Turned, scaled and moved so that `STILL` lie as near as they can to where they lie in the mean face, E = 1."""
    still = points[:, STILL]
    eyes = points[:, 42:48].mean(1) - points[:, 36:42].mean(1)
    mean = ((still - still.mean(1, keepdims=True)) / np.linalg.norm(eyes, axis=1)[:, None, None]).mean(0)
    for _ in range(3):  # the mean of the laid ones is a better mean
        centred = still - still.mean(1, keepdims=True)
        # complex numbers: a turn and a scale are one factor
        z, aim = centred[..., 0] + 1j * centred[..., 1], mean[:, 0] + 1j * mean[:, 1]
        factor = (z.conj() * aim).sum(1) / np.square(abs(z)).sum(1)
        whole = points - still.mean(1, keepdims=True)
        turned = (whole[..., 0] + 1j * whole[..., 1]) * factor[:, None]
        laid = np.stack([turned.real, turned.imag], -1)
        level = laid[:, 42:48].mean((0, 1)) - laid[:, 36:42].mean((0, 1))
        laid = laid * (1, 1) / np.linalg.norm(level)
        mean = laid[:, STILL].mean(0)
    tilt = np.arctan2(level[1], level[0])
    turn = np.array([[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]])
    return laid @ turn


def pose(laid: Array) -> Array:
    """(N,5): how far the head is turned and raised, by the tip of the nose between the ends of the jaw, squares, product."""
    turned = 2 * laid[:, 30, 0] - laid[:, 0, 0] - laid[:, 16, 0]
    raised = laid[:, 30, 1] - laid[:, (0, 16), 1].mean(1)
    turned, raised = turned - turned.mean(), raised - raised.mean()
    return np.stack([turned, raised, turned**2, raised**2, turned * raised], 1)


def within(values: Array, people: Array) -> Array:
    """Less the mean of each person."""
    sums = np.zeros((people.max() + 1, values.shape[1]))
    np.add.at(sums, people, values)
    return values - (sums / np.bincount(people)[:, None])[people]


def _landmarks(folder: Path, row: Row) -> Array | None:
    """(68,2), of the table or found; None where no face is."""
    if row.landmarks:
        return np.array(row.landmarks).reshape(2, 68).T
    try:
        seen = faces.find(read(folder / row.file).rgb)
    except (ImageError, NotFoundError):
        return None
    return seen[0].landmarks.double().numpy() if seen else None
