"""What is kept of an evaluation for the eye: every result as a file, and a strip photo · artist · models."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont, ImageOps

from zoo.errors import ImageError
from zoo.evaluate.compare import Sitter
from zoo.helpers.files import atomic
from zoo.helpers.inputs import Inputs
from zoo.pictures.image import read, to_pil, write

GAP, HEAD = 8, 24  # pixels


class Album:
    """Writes ``folder/MODEL/SITTER.png`` as pictures come in; at the end ``strip.png`` of those in ``shown``.

    ExistsError, before anything is written, if one of these for ``sitters`` or ``results.json`` is there already and not
    to be replaced; ``inputs`` never are."""

    def __init__(
        self,
        folder: Path,
        models: Sequence[str],
        shown: Collection[str],
        sitters: Iterable[str],
        inputs: Inputs | None = None,
        replace: bool | None = None,
    ) -> None:
        self.folder, self.models, self.shown, self.replace = folder, models, shown, bool(replace)
        made = [self._picture(model, sitter) for sitter in sitters for model in models]
        (inputs or Inputs()).ready(folder / "results.json", folder / "strip.png", *made, replace=replace)
        self.rows: list[list[Image.Image | None]] = []

    def _picture(self, model: str, sitter: str) -> Path:
        return self.folder / model / f"{sitter}.png"

    def add(self, sitter: Sitter, made: Mapping[str, Image.Image]) -> None:
        for model, image in made.items():
            write(image, self._picture(model, sitter.name), self.replace)
        if sitter.name in self.shown:
            row = [_open(sitter.photo), _open(sitter.drawing), *map(made.get, self.models)]
            self.rows += [row] if any(row) else []

    def finish(self, results: Any) -> None:
        """Write ``folder/results.json`` and the strip."""
        with atomic(self.folder / "results.json", self.replace) as part:
            part.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        if self.rows:
            write(strip(("photo", "artist", *self.models), self.rows), self.folder / "strip.png", self.replace)


def strip(heads: Sequence[str], rows: Sequence[Sequence[Image.Image | None]]) -> Image.Image:
    """Pictures under their heads, each fitted into a cell of the first picture's size; None leaves the cell empty."""
    width, height = next(image.size for row in rows for image in row if image)
    sheet = Image.new("RGB", (len(heads) * (width + GAP) + GAP, HEAD + len(rows) * (height + GAP)), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for column, head in enumerate(heads):
        x = GAP + column * (width + GAP)
        pen.text((x + width / 2, HEAD / 2), head, "black", font, anchor="mm")
        for line, row in enumerate(rows):
            if image := row[column]:
                cell = ImageOps.pad(image.convert("RGB"), (width, height), Image.Resampling.LANCZOS, color="white")
                sheet.paste(cell, (x, HEAD + line * (height + GAP)))
    return sheet


def _open(path: Path | None) -> Image.Image | None:
    try:
        return to_pil(read(path).on_white().rgb) if path else None
    except ImageError:  # the evaluation reports it
        return None
