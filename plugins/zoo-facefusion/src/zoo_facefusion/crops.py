"""``zoo fusion-crops``: pictures to train on out of a folder of photographs, faces aligned with their hair."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from zoo import faces
from zoo.errors import ImageError, NotFoundError, UsageError
from zoo.files import atomic
from zoo.image import find_pictures, read, to_pil, write
from zoo.progress import tell
from zoo_facefusion.align import align

SETTINGS = "fusion-crops.json"
FACELESS = "no face found"
UNREADABLE = "not a picture that can be read"


def fusion_crops(
    photos: Annotated[Path, typer.Argument(metavar="PHOTOS", help="A folder of photographs; also those below it.")],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="For the crops: a new one, or one to go on.")],
    size: Annotated[int, typer.Option(min=32, max=1024, help="Pixels of a crop's side.")] = 128,
) -> dict[str, Any]:
    """Cut the largest face out of each photograph, upright, aligned by its landmarks, with hair and chin.

    What facefusion learns from and is measured on. A run that was stopped goes on when it is started again. Exit code 6:
    some pictures could not be read.

    Example: zoo fusion-crops photos --out faces
    """
    found = _photographs(photos, out)
    _settle(out, {"photos": str(photos.resolve()), "size": size})
    skipped: dict[str, str] = {}
    for number, (name, path) in enumerate(found.items()):
        tell("cutting out faces", number, len(found))
        crop = out / f"{name}.jpg"
        if crop.exists():
            continue
        try:
            image = read(path).rgb
        except (ImageError, NotFoundError):  # not found: a link that leads nowhere
            skipped[name] = UNREADABLE
            continue
        seen = faces.find(image)
        if told := faces.fault(seen[0], "fuse") if seen else FACELESS:
            skipped[name] = told
        else:
            write(to_pil(align(image, seen[0], size).image), crop)
    tell("cutting out faces", len(found), len(found))
    counts = Counter(skipped.values())
    lines = [f"{out}: {len(found) - len(skipped)} faces of {len(found)} photographs"]
    if len(skipped) < len(found):
        lines.append(f"next: zoo train facefusion-small --photos {shlex.quote(str(out))}")
    return {
        "rows": [{"reason": reason, "pictures": count} for reason, count in counts.most_common()],
        "lines": lines,
        "out": str(out),
        "skipped": skipped,
        "failed": f"{counts[UNREADABLE]} pictures could not be read" if counts[UNREADABLE] else "",
    }


def _photographs(photos: Path, out: Path) -> dict[str, Path]:
    """The pictures by where they lie below ``photos``, without suffix. NotFoundError, UsageError."""
    if not photos.is_dir():
        raise NotFoundError(f"there is no folder {photos}", "give a folder of photographs")
    if out.resolve().is_relative_to(photos.resolve()):
        raise UsageError(f"{out} lies in {photos}: crops would be taken for photographs", "give another --out")
    named: dict[str, Path] = {}
    for path in find_pictures([photos]):
        name = path.relative_to(photos).as_posix()
        stem = path.relative_to(photos).with_suffix("").as_posix()
        named[name if stem in named else stem] = path  # a.png beside a.jpg becomes a.png.jpg
    if not named:
        raise UsageError(f"there is no picture in {photos}", "give a folder of photographs")
    return named


def _settle(out: Path, settings: dict[str, Any]) -> None:
    """Note what the crops of a new folder are made of. UsageError if it holds something else."""
    path = out / SETTINGS
    if path.is_file():
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UsageError(f"{path} is damaged", "give another --out") from error
        if known != settings:
            raise UsageError(f"{out} was made with other settings: {known}", "give another --out")
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is there already, and zoo fusion-crops did not make it", "give another --out")
    else:
        with atomic(path) as part:
            part.write_text(json.dumps(settings) + "\n", encoding="utf-8")
