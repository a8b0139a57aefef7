"""What is kept of an evaluation of expressions for the eye: strips, faces from top to bottom, edits from left to right."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from zoo.evaluate.album import strip
from zoo.helpers.files import atomic
from zoo.helpers.inputs import Inputs
from zoo.pictures.image import to_pil, write
from zoo_expression.measure import JUDGED, VALUES
from zoo_expression.units import NAMES

SHOWN = 8
"""So many faces are rows of a strip."""


class Album:
    """Writes ``folder/MODEL/AU12.png`` for each of ``JUDGED``, or ``labels.png``, and ``results.json``.

    ``models`` are the units or labels of each model's sweep. UsageError if one of the files is there already.
    """

    def __init__(self, folder: Path, models: Mapping[str, Sequence[str]]) -> None:
        self.folder, self.models = folder, models
        self.edits: dict[tuple[str, int], list[Image.Image]] = {}  # of a model: the which-th of its sweep
        self.photos: dict[str, list[Image.Image]] = {label: [] for label in models}
        files = [path for label in models for path in self._strips(label)]
        Inputs().ready(*files, folder / "results.json")

    def add(self, label: str, which: int, faces: Sequence[int], images: Tensor, edited: Tensor) -> None:
        """The which-th edit of the sweep of some faces (N,3,H,W) in [-1,1], of which the first ``SHOWN`` are kept."""
        shown = [i for i, face in enumerate(faces) if face < SHOWN]
        if which == 0:
            self.photos[label] += [to_pil(images[i]) for i in shown]
        self.edits.setdefault((label, which), []).extend(to_pil(edited[i]) for i in shown)

    def finish(self, results: Mapping[str, Any]) -> None:
        with atomic(self.folder / "results.json", replace=False) as part:
            part.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        for label in self.models:
            for path, edits in self._strips(label).items():
                columns = [self.photos[label], *(self.edits[label, which] for which in edits.values())]
                write(strip(("photograph", *edits), list(zip(*columns))), path, replace=False)

    def _strips(self, label: str) -> dict[Path, dict[str, int]]:
        """The files of a model, and which edits are in each, under their heads."""
        kinds = self.models[label]
        if kinds != NAMES:
            return {self.folder / label / "labels.png": {kind: i for i, kind in enumerate(kinds)}}
        at = {unit: NAMES.index(unit) * len(VALUES) for unit in JUDGED}
        return {
            self.folder / label / f"{unit}.png": {f"{unit} {value}": at[unit] + i for i, value in enumerate(VALUES)}
            for unit in JUDGED
        }
