"""The contract kit on this plugin."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch

from zoo.testing import PluginContract
from zoo_animeface.points import FRONTAL, TABLE, Row, write_points

NO_FACE = "the pictures of the kit show no face, whose skin and features would be drawn, and only 0 is for such"
MODELS = [
    f"{gan}{loss}{size}" for gan in ("cartoongan", "animegan") for loss in ("", "-landmark") for size in ("", "-small")
]


class TestAnimeface(PluginContract):
    plugin = "zoo-animeface"
    always: ClassVar = {"face": 0}
    waive: ClassVar = {
        f"test_control_has_an_effect[{model}-face]": NO_FACE for model in (*MODELS, "dan-anime", "dan-anime-small")
    } | {f"test_control_has_an_effect[{model}-{name}]": NO_FACE for model in MODELS for name in ("skin", "features")}

    @staticmethod
    def label(folder: Path) -> None:
        dice = torch.Generator().manual_seed(0)
        shapes = [torch.tensor(FRONTAL) + 0.04 * torch.randn(1, 2, generator=dice) for _ in folder.glob("*.png")]
        names = sorted(path.name for path in folder.glob("*.png"))
        write_points(folder / TABLE, [Row(name, 100, 100, shape) for name, shape in zip(names, shapes)])
