from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from zoo.testing import PluginContract

WHITE = torch.ones(3, 40, 48)  # weights that nobody trained find no object


class TestPartStyle(PluginContract):
    plugin = "zoo-partstyle"
    always: ClassVar[Mapping[str, Any]] = {"mask": WHITE, "iterations": 2}
    beside: ClassVar[Mapping[str, Mapping[str, Any]]] = {"seed": {"noise": 0.5}, "blend": {"style": [WHITE, 0 * WHITE]}}
    waive: ClassVar = {"test_control_has_an_effect[gatys-faces]": "the pictures of the kit show no face"}
