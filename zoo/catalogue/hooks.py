"""What a plugin may implement, and what it is handed."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pluggy

from zoo.catalogue.manifest import KINDS
from zoo.errors import ConfigError

hookspec = pluggy.HookspecMarker("zoo")
hookimpl = pluggy.HookimplMarker("zoo")


class Registrar:
    """Collects what one plugin registers; nothing reaches the host before all of it proved right."""

    block: Callable[[str, Any], None]
    loss: Callable[[str, Any], None]
    provider: Callable[[str, Any], None]
    generator: Callable[[str, Any], None]
    discriminator: Callable[[str, Any], None]
    trainer: Callable[[str, Any], None]
    translator: Callable[[str, Any], None]
    metric: Callable[[str, Any], None]
    command: Callable[[str, Any], None]

    def __init__(self) -> None:
        self.staged: dict[tuple[str, str], Any] = {}
        for kind in KINDS:
            setattr(self, kind, functools.partial(self._add, kind))

    def _add(self, kind: str, name: str, part: Any) -> None:
        if (kind, name) in self.staged:
            raise ConfigError(f"{kind} {name!r} is registered twice")
        if not callable(part):
            raise ConfigError(f"{kind} {name!r} is not a class or function")
        self.staged[kind, name] = part


@hookspec
def zoo_register(register: Registrar) -> None:
    """Hand the plugin's parts to the core: ``register.block("dual-attention", DualAttention)`` and so on.

    Called once, when a part of the plugin is first needed. What is registered must be what ``zoo.yaml`` declares.
    """
