from zoo.testing import PluginContract


class TestExample(PluginContract):
    plugin = "zoo-example"
