"""Pictures in rows and columns: people × people."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageOps

GAP = 4
"""Pixels between two cells, white."""


def table(rows: Sequence[Sequence[Image.Image | None]], height: int) -> Image.Image:
    """Pictures in one, each fitted into a cell of the proportions of the first; None leaves a cell empty. Cells are ``height``
    pixels high, or as high as the first picture, if that is lower."""
    first = next(image for row in rows for image in row if image)
    down = min(height, first.height)
    across = max(1, round(first.width * down / first.height))
    sheet = Image.new("RGB", (len(rows[0]) * (across + GAP) - GAP, len(rows) * (down + GAP) - GAP), "white")
    for line, row in enumerate(rows):
        for column, image in enumerate(row):
            if image:
                cell = ImageOps.pad(image.convert("RGB"), (across, down), Image.Resampling.LANCZOS, color="white")
                sheet.paste(cell, (column * (across + GAP), line * (down + GAP)))
    return sheet
