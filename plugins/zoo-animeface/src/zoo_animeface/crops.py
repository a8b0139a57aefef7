"""``zoo anime-crops``: photographs to train on, their faces cut out as drawn faces lie."""

from __future__ import annotations

from typing import Any

from zoo import faces
from zoo.faces.folders import Out, Photos, Size, cut_out
from zoo_animeface.photos import remember
from zoo_animeface.points import Row, of_68
from zoo_animeface.translator import FRAME


def anime_crops(photos: Photos, out: Out, size: Size = 256) -> dict[str, Any]:
    """Cut the largest face out of each photograph, upright, with hair and chin, as it is drawn later.

    What the translators learn from beside drawn faces; their points are kept there, too, as points.csv. A run that was
    stopped goes on when it is started again. Exit code 6: some pictures could not be read.

    Example: zoo anime-crops photos --out faces
    """
    rows: list[Row] = []
    try:
        return cut_out(
            photos,
            out,
            size,
            lambda image, face, side: faces.crop(image, face, side, FRAME),
            "anime-crops",
            "zoo train animegan-landmark-small --drawings anime",
            lambda name, crop: rows.append(Row(name, size, size, of_68(crop.landmarks / size))),
        )
    finally:  # after Ctrl-C as well
        remember(out, rows)
