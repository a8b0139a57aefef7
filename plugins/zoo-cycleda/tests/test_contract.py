from zoo.testing import PluginContract


class TestCycleDA(PluginContract):
    plugin = "zoo-cycleda"
