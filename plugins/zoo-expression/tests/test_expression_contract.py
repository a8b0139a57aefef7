"""The contract kit on this plugin."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import ClassVar

from zoo.testing import PluginContract
from zoo_expression.table import COLUMNS, TABLE

NO_FACE = "the pictures of the kit show no face, and only 0 is for such"
MODELS = ["stargan", "ganimation", *(f"ganimation-convnext{kind}" for kind in ("", "-x4", "-x6", "-more"))]
MODELS += [f"{model}-small" for model in MODELS]


class TestExpression(PluginContract):
    plugin = "zoo-expression"
    always: ClassVar = {"face": 0}
    waive: ClassVar = {f"test_control_has_an_effect[{model}-face]": NO_FACE for model in MODELS}

    @staticmethod
    def label(folder: Path) -> None:
        with (folder / TABLE).open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(("file", *COLUMNS))
            for i, picture in enumerate(sorted(folder.glob("*.png"))):
                rows.writerow((picture.name, *(round((7 * i + 3 * k) % 5 / 2, 1) for k in range(17))))
