"""The contract kit on this plugin."""

from __future__ import annotations

from typing import ClassVar

from zoo.testing import PluginContract
from zoo.testing.subject import photo

NO_FACE = "the pictures of the kit show no face, and only 0 is for such"
MODELS = [f"facefusion{kind}{size}" for kind in ("", "-s3") for size in ("", "-small")]


class TestFaceFusion(PluginContract):
    plugin = "zoo-facefusion"
    always: ClassVar = {"face": 0}
    beside: ClassVar = {"portions": {"other": [photo(40, 40, seed=8), photo(40, 40, seed=9)]}}
    waive: ClassVar = {
        f"test_control_has_an_effect[{model}-{control}]": NO_FACE
        for model in MODELS
        for control in ("face", "framing", "detail")
    }
