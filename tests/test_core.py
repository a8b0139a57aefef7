"""The core is a plugin by the same road as any other, and keeps the same contract."""

from typing import ClassVar

from zoo.testing import PluginContract


class TestCore(PluginContract):
    plugin = "zoo-core"
    waive: ClassVar = {
        "test_loss_has_a_gradient[tone]": "the kit's pictures are no negatives, and of others it says nothing"
    }
