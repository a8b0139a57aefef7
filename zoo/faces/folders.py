"""Faces cut out of a folder of photographs: what models of portraits learn from."""

from __future__ import annotations

import csv
import json
import shlex
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from torch import Tensor

from zoo import faces
from zoo.errors import ImageError, NotFoundError, UsageError
from zoo.helpers.files import atomic
from zoo.helpers.reading import read_small
from zoo.pictures.image import find_pictures, read, to_pil, write
from zoo.progress import tell

SKIPPED = "skipped.csv"
"""Beside the crops: which photographs were left out, and why."""

FACELESS = "no face found"
UNREADABLE = "not a picture that can be read"
AWAY = "face turned too far"

Photos = Annotated[Path, typer.Argument(metavar="PHOTOS", help="A folder of photographs; also those below it.")]
Out = Annotated[Path, typer.Option(metavar="FOLDER", help="For the crops: a new one, or one to go on.")]
Size = Annotated[int, typer.Option(min=32, max=1024, help="Pixels of a crop's side.")]


def photographs(photos: Path, out: Path) -> dict[str, Path]:
    """The pictures by where they lie below ``photos``. NotFoundError, UsageError."""
    if not photos.is_dir():
        raise NotFoundError(f"there is no folder {photos}", "give a folder of photographs")
    if out.resolve().is_relative_to(photos.resolve()):
        raise UsageError(f"{out} lies in {photos}: crops would be taken for photographs", "give another --out")
    if not (found := find_pictures([photos])):
        raise UsageError(f"there is no picture in {photos}", "give a folder of photographs")
    return {path.relative_to(photos).as_posix(): path for path in found}


def cut_out(
    photos: Path,
    out: Path,
    size: int,
    cut: Callable[[Tensor, faces.Face, int], faces.Crop],
    command: str,
    then: str,
    kept: Callable[[str, faces.Crop], None] = lambda name, crop: None,
) -> dict[str, Any]:
    """The result of ``command``: the largest face of each photograph, as ``cut(image, face, size)`` has it, a .jpg in ``out``.

    Goes on where it was stopped. ``then`` is what trains on the folder. ``kept`` hears of each crop by its name in ``out``.
    UsageError if ``out`` holds something else.
    """
    found = _named(photographs(photos, out))
    _settle(out, command, {"photos": str(photos.resolve()), "size": size})
    skipped: dict[str, str] = {}
    for number, (name, path) in enumerate(found.items()):
        tell("cutting out faces", number, len(found))
        path_of_crop = out / f"{name}.jpg"
        if path_of_crop.exists():
            continue
        try:
            image = read(path).on_white().rgb
        except (ImageError, NotFoundError):  # not found: a link that leads nowhere
            skipped[name] = UNREADABLE
            continue
        chosen, fault = fit(faces.find(image)[:1], faces.SMALLEST, faces.PROFILE)
        if chosen:
            crop = cut(image, chosen[0], size)
            write(to_pil(crop.image), path_of_crop)
            kept(f"{name}.jpg", crop)
        else:
            skipped[name] = fault
    tell("cutting out faces", len(found), len(found))
    there = len(found) - len(skipped)
    list_skipped(out, skipped)
    return report(out, [f"{out}: {there} faces of {len(found)} photographs"], then if there else "", skipped)


def fit(found: Sequence[faces.Face], smallest: float, turned: float) -> tuple[list[faces.Face], str]:
    """Those of a photograph's faces, the largest first, that can be learned from; or why the largest cannot.

    ``smallest`` pixels high, and `Face.turned` by as much as ``turned``."""
    if not found:
        return [], FACELESS
    small = f"face smaller than {smallest:.0f} pixels"
    faults = [small if face.height < smallest else AWAY if face.turned > turned else "" for face in found]
    chosen = [face for face, fault in zip(found, faults) if not fault]
    return chosen, "" if chosen else faults[0]


def list_skipped(out: Path, skipped: Mapping[str, str]) -> None:
    """Name the photographs that were left out, and why, in a table beside the crops."""
    with atomic(out / SKIPPED) as part, part.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        csv.writer(file).writerows([("file", "reason"), *sorted(skipped.items())])


def report(out: Path, lines: Sequence[str], then: str, skipped: Mapping[str, str]) -> dict[str, Any]:
    """What a command says that has cut faces out: ``lines``, what comes next if ``then`` says so, and by reason how many
    photographs were ``skipped``. It has failed where some could not be read."""
    counts = Counter(skipped.values())
    left_out = [f"{len(skipped)} were left out: {out / SKIPPED} names them"] if skipped else []
    return {
        "rows": [{"reason": reason, "pictures": count} for reason, count in counts.most_common()],
        "lines": [*lines, *left_out, *([f"next: {then} --photos {shlex.quote(str(out))}"] if then else [])],
        "out": str(out),
        "skipped": dict(skipped),
        "failed": f"{counts[UNREADABLE]} pictures could not be read" if counts[UNREADABLE] else "",
    }


def _named(found: dict[str, Path]) -> dict[str, Path]:
    """By name without suffix."""
    named: dict[str, Path] = {}
    for name, path in found.items():
        stem = Path(name).with_suffix("").as_posix()
        named[name if stem in named else stem] = path  # a.png beside a.jpg becomes a.png.jpg
    return named


def _settle(out: Path, command: str, settings: dict[str, Any]) -> None:
    """Note what the crops of a new folder are made of. UsageError if it holds something else."""
    path = out / f"{command}.json"
    if path.is_file():
        try:
            known = json.loads(read_small(path))
        except ValueError as error:
            raise UsageError(f"{path} is damaged", "give another --out") from error
        if known != settings:
            raise UsageError(f"{out} was made with other settings: {known}", "give another --out")
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is there already, and zoo {command} did not make it", "give another --out")
    else:
        with atomic(path) as part:
            part.write_text(json.dumps(settings) + "\n", encoding="utf-8")
