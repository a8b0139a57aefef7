"""Modules under the names that they had before, so that plugins written for those go on working."""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

MOVED = {
    "zoo.crops": "zoo.faces.folders",
    "zoo.evaluate.files": "zoo.weights.networks",
    "zoo.files": "zoo.helpers.files",
    "zoo.fit": "zoo.pictures.fit",
    "zoo.hookspecs": "zoo.catalogue.hooks",
    "zoo.hub": "zoo.weights.sources",
    "zoo.image": "zoo.pictures.image",
    "zoo.memory": "zoo.machine.memory",
    "zoo.morph": "zoo.pictures.morph",
    "zoo.plugins": "zoo.catalogue.host",
    "zoo.portrait": "zoo.faces.portrait",
    "zoo.registry": "zoo.catalogue.registry",
    "zoo.track": "zoo.faces.track",
    "zoo.video": "zoo.pictures.video",
}


class _Finder(MetaPathFinder, Loader):
    """The module of an old name asks that of the new one for everything."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname in MOVED else None

    def exec_module(self, module: ModuleType) -> None:
        there = importlib.import_module(MOVED[module.__name__])
        module.__doc__ = there.__doc__
        module.__getattr__ = functools.partial(getattr, there)  # type: ignore[method-assign]


def install() -> None:
    """From here on the old names can be imported."""
    sys.meta_path.append(_Finder())
