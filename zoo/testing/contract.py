"""The contract kit: a plugin's test file names the plugin, and these are its tests.

>>> from zoo.testing import PluginContract
>>> class TestSketch(PluginContract):
...     plugin = "zoo-sketch"
"""

from __future__ import annotations

from zoo.testing.drawing import DrawingChecks
from zoo.testing.networks import NetworkChecks
from zoo.testing.package import PackageChecks
from zoo.testing.parts import PartChecks
from zoo.testing.training import TrainingChecks


class PluginContract(PackageChecks, NetworkChecks, DrawingChecks, PartChecks, TrainingChecks):
    """Every check that applies to what ``plugin`` brings; what does not apply is skipped and says why.

    ``waive`` holds checks that the plugin fails for a good reason, by name (``"test_sizes"``, or one of its tests,
    ``"test_sizes[gatys]"``): they must fail, and the reason is printed. A check cannot be overridden. ``beside`` gives
    for a control values of others that it needs to have an effect: ``{"seed": {"noise": 0.5}}``; of those, each model
    gets what it has. ``always`` are such values for every picture, where a control says what pictures there may be:
    those of the kit show nothing. ``label(folder)`` writes labels beside pictures, for trainers that read some.
    """
