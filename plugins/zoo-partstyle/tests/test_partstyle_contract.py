import torch

from zoo.testing import PluginContract

WHITE = torch.ones(3, 40, 48)  # weights that nobody trained find no object
TURNED = ("style", "blend", "strength", "start", "noise", "seed", "iterations", "levels", "optimiser")


class TestPartStyle(PluginContract):
    plugin = "zoo-partstyle"
    beside = {name: {"mask": WHITE} for name in TURNED} | {
        "seed": {"mask": WHITE, "noise": 0.5},
        "blend": {"mask": WHITE, "style": [WHITE, 0 * WHITE]},
    }
