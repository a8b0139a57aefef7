"""The core is a plugin by the same road as any other, and keeps the same contract."""

from zoo.testing import PluginContract


class TestCore(PluginContract):
    plugin = "zoo-core"
