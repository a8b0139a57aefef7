"""``zoo fusion-crops``: pictures to train on out of a folder of photographs, faces aligned with their hair."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from zoo.crops import cut_out
from zoo_facefusion.align import align


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
    return cut_out(
        photos,
        out,
        size,
        lambda image, face, side: align(image, face, side).image,
        "fusion-crops",
        "zoo train facefusion-small",
    )
