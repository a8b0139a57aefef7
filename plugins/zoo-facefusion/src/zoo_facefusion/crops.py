"""``zoo fusion-crops``: pictures to train on out of a folder of photographs, faces aligned with their hair."""

from __future__ import annotations

from typing import Any

from zoo.faces.folders import Out, Photos, Size, cut_out
from zoo_facefusion.align import align


def fusion_crops(photos: Photos, out: Out, size: Size = 128) -> dict[str, Any]:
    """Cut the largest face out of each photograph, upright, aligned by its landmarks, with hair and chin.

    What facefusion learns from and is measured on. A run that was stopped goes on when it is started again. Exit code 6:
    some pictures could not be read.

    Example: zoo fusion-crops photos --out faces
    """
    return cut_out(
        photos,
        out,
        size,
        align,
        "fusion-crops",
        "zoo train facefusion-small",
    )
