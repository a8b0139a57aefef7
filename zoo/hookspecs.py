"""What a plugin may implement."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from zoo.plugins import Registrar

hookspec = pluggy.HookspecMarker("zoo")
hookimpl = pluggy.HookimplMarker("zoo")


@hookspec
def zoo_register(register: Registrar) -> None:
    """Hand the plugin's parts to the core: ``register.block("dual-attention", DualAttention)`` and so on.

    Called once, when a part of the plugin is first needed. What is registered must be what ``zoo.yaml`` declares.
    """
