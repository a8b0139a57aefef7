"""``zoo photo-points``: the 40 points of the faces in photographs, found by dlib once and kept beside them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

from zoo import faces
from zoo.errors import ImageError, NotFoundError, UsageError
from zoo.pictures.image import find_pictures, read
from zoo.progress import tell
from zoo_animeface.points import NAMES, TABLE, Row, of_68, read_points, write_points

log = logging.getLogger("zoo.train")


def photo_points_of(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Photographs; also those below it.")],
) -> dict[str, Any]:
    """Find the 40 points of the largest face in each photograph and keep them as FOLDER/points.csv.

    A training does that by itself; this shows beforehand which photographs have no face. Those that the table has are
    not looked at again: remove it to begin anew.

    Example: zoo photo-points selfies
    """
    if not folder.is_dir():
        raise NotFoundError(f"there is no folder {folder}", "give a folder of photographs")
    if not (paths := find_pictures([folder])):
        raise UsageError(f"there is no picture in {folder}", "give a folder of photographs")
    rows, unreadable = known_points(paths, folder)
    faceless = [row.file for row in rows.values() if row.shape is None]
    counts = {"one or more": len(rows) - len(faceless), "none": len(faceless), "not readable": len(unreadable)}
    return {
        "rows": [{"faces": what, "photographs": count} for what, count in counts.items() if count],
        "lines": [f"{folder / TABLE}: {counts['one or more']} of {len(paths)} photographs with 40 points each"],
        "table": str(folder / TABLE),
        "photographs": len(paths),
        "faceless": faceless,
        "unreadable": unreadable,
        "failed": f"{len(unreadable)} photographs could not be read" if unreadable else "",
    }


def photo_points(paths: Sequence[Path], folder: Path) -> Tensor:
    """The shapes (n,40,2) of photographs in or below ``folder``, in shares of their sides; NaN where there is no face.

    What its ``points.csv`` does not have is looked for and added to it. UsageError without dlib; ConfigError for a table
    that is damaged."""
    rows, _ = known_points(paths, folder)
    nothing = torch.full((len(NAMES), 2), torch.nan)
    found = [rows.get(_name(path, folder)) for path in paths]
    shapes = [nothing if row is None or row.shape is None else row.shape for row in found]
    if missing := sum(shape is nothing for shape in shapes):
        log.warning("no face found in %d of %d photographs of %s", missing, len(paths), folder)
    return torch.stack(shapes)


def known_points(paths: Iterable[Path], folder: Path) -> tuple[dict[str, Row], list[str]]:
    """The rows of these photographs by name, from the table or looked for; and the names of those that cannot be read."""
    table = folder / TABLE
    known = read_points(table) if table.is_file() else {}
    wanted = {_name(path, folder): path for path in paths}
    missing = [name for name in wanted if name not in known]
    unreadable = []
    try:
        for number, name in enumerate(missing):
            tell("finding faces", number, len(missing))
            try:
                known[name] = _row(name, wanted[name])
            except (ImageError, NotFoundError):  # not found: a link that leads nowhere
                unreadable.append(name)
    finally:  # after Ctrl-C as well
        if not known.keys().isdisjoint(missing):
            _keep(table, known)
    return {name: known[name] for name in wanted if name in known}, unreadable


def remember(folder: Path, rows: Sequence[Row]) -> None:
    """Add these rows to the table of the folder."""
    if rows:
        table = folder / TABLE
        known = read_points(table) if table.is_file() else {}
        _keep(table, known | {row.file: row for row in rows})


def _name(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _row(name: str, path: Path) -> Row:
    image = read(path).on_white().rgb
    height, width = image.shape[-2:]
    found = faces.find(image)
    return Row(name, width, height, of_68(found[0].landmarks / torch.tensor([width, height])) if found else None)


def _keep(table: Path, rows: dict[str, Row]) -> None:
    try:
        write_points(table, [rows[name] for name in sorted(rows)])
    except OSError as error:
        log.warning("%s cannot be written (%s): faces are looked for again each time", table, error.strerror)
