"""What the tests of the zoo and of its plugins share; shipped, so that a plugin elsewhere can use it.

>>> from zoo.testing import PluginContract                                # the checks of a plugin: needs pytest
>>> from zoo.testing.hub import LoopbackHub                               # a Hub on this machine
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    if name == "PluginContract":  # not before it is asked for: it imports pytest and torch
        from zoo.testing.contract import PluginContract

        return PluginContract
    raise AttributeError(f"module 'zoo.testing' has no attribute {name!r}")
