"""Import a plugin when a part of it is needed, check what it registers, and keep a fault inside it."""

from __future__ import annotations

import functools
import os
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pluggy
from packaging.utils import canonicalize_name

from zoo.catalogue import hooks
from zoo.catalogue.hooks import Registrar
from zoo.catalogue.manifest import CORE, Plugin, discover
from zoo.errors import NotFoundError, PluginError, close_match, describe


@dataclass(frozen=True)
class Part:
    """A named part and the distribution that owns it."""

    kind: str
    name: str
    owner: str


class PluginHost:
    """The installed plugins, their faults, and their parts by kind and name.

    ``allow`` names the plugins that may be used beside the core, ``unknown`` those of them that are not installed.
    ``faults`` says in one line why a plugin cannot be used; those that only an import shows join it then.
    """

    def __init__(self, plugins: dict[str, Plugin], allow: frozenset[str] | None = None) -> None:
        allowed = {n: p for n, p in plugins.items() if allow is None or n in allow or n == CORE}
        self.unknown = {name: close_match(name, plugins) for name in sorted((allow or frozenset()) - plugins.keys())}
        self.plugins = {name: _alone_in_its_package(plugin, allowed) for name, plugin in allowed.items()}
        self.faults = {p.name: p.error for p in self.plugins.values() if p.error}
        self._owners: dict[tuple[str, str], list[str]] = {}
        self._objects: dict[tuple[str, str], Any] = {}
        self._loaded: set[str] = set()
        for plugin in sorted(self.plugins.values(), key=lambda plugin: bool(plugin.error)):
            for part in _claimed(plugin):
                owners = self._owners.setdefault(part, [])
                if not (plugin.error and owners):  # one that is out of use takes no name from another
                    owners.append(plugin.name)

    def parts(self) -> list[Part]:
        """Every declared part with its owner, without importing anything."""
        return [Part(kind, name, owner) for (kind, name), owners in sorted(self._owners.items()) for owner in owners]

    def owner(self, kind: str, name: str) -> str:
        """The one distribution that brings a part."""
        owners = self._owners.get((kind, name), [])
        if not owners:
            known = [n for k, n in self._owners if k == kind]
            hint = close_match(name, known) + self.perhaps()
            raise NotFoundError(f"no installed plugin brings the {kind} {name!r}", hint)
        if len(owners) > 1:
            raise PluginError(
                self._conflict(kind, name),
                f"uninstall one of them, or set ZOO_PLUGINS to the plugins you need, e.g. ZOO_PLUGINS={owners[0]}",
            )
        return owners[0]

    def part(self, kind: str, name: str) -> Any:
        """The registered object; imports its owner, and nothing else, when first asked."""
        self.load(self.owner(kind, name))
        return self._objects[kind, name]

    def recipe_path(self, name: str) -> tuple[Path, str]:
        """Where the recipe ``name`` lies, and whose it is."""
        owner = self.owner("recipe", name)
        if owner in self.faults:
            raise self._broken(owner)
        return self.plugins[owner].recipes[name], owner

    def load(self, name: str) -> None:
        """Import one plugin and take its parts. On any fault nothing of it is taken and ``PluginError`` says why."""
        if name in self._loaded:
            return
        if name not in self.plugins:
            raise NotFoundError(f"plugin {name!r} is not installed", f"pip install {name}")
        if name in self.faults:
            raise self._broken(name)
        from zoo.helpers.untouched import untouched

        plugin = self.plugins[name]
        try:
            with untouched(f"plugin {name}"):
                staged = _collect(plugin)
        except KeyboardInterrupt:  # the user's
            raise
        except BaseException as exc:  # SystemExit, and what other languages' panics become, are faults as any other
            self.faults[name] = describe(exc) + _place(exc, plugin)
            raise self._broken(name) from exc
        self._objects.update(staged)
        self._loaded.add(name)

    def problems(self) -> list[str]:
        """One line for each plugin that cannot be used, and each name in ZOO_PLUGINS that is none; as known by now."""
        return [*(self._broken(name).message for name in self.faults), *self.unlisted()]

    def perhaps(self) -> str:
        """The end of a hint for a name that is not found: whose it might be."""
        unread = [plugin.name for plugin in self.plugins.values() if plugin.manifest is None]
        return f"; or it is of {' or '.join(unread)}, which cannot be read (zoo plugins)" if unread else ""

    def unlisted(self) -> list[str]:
        """One line for each name in ZOO_PLUGINS that is none."""
        return [f"ZOO_PLUGINS names {name}, which is not installed; {hint}" for name, hint in self.unknown.items()]

    def conflicts(self) -> list[str]:
        """One line for each name of a part that two plugins bring."""
        return [self._conflict(kind, name) for (kind, name), owners in sorted(self._owners.items()) if len(owners) > 1]

    def _conflict(self, kind: str, name: str) -> str:
        first, second, *_ = self._owners[kind, name]
        return f"{kind} {name!r} is owned by both {first} and {second}"

    def _broken(self, name: str) -> PluginError:
        return PluginError(
            f"plugin {name} {self.plugins[name].version} cannot be used: {self.faults[name]}",
            f"pip install -U {name}, or leave it out with ZOO_PLUGINS; the others keep working",
        )


def _alone_in_its_package(plugin: Plugin, plugins: dict[str, Plugin]) -> Plugin:
    """Two plugins cannot be one package: neither is believed, but for the core."""
    others = [other.name for other in plugins.values() if other.package == plugin.package and other != plugin]
    if not others or plugin.name == CORE:
        return plugin
    error = f"its entry point names the package {plugin.package}, and so does that of {others[0]}"
    return replace(plugin, folder=None, manifest=None, error=error)


def _claimed(plugin: Plugin) -> Iterator[tuple[str, str]]:
    for kind, names in plugin.manifest.parts.items() if plugin.manifest else ():
        for name in names:
            yield kind, name
    for name in plugin.recipes:
        yield "recipe", name


def _collect(plugin: Plugin) -> dict[tuple[str, str], Any]:
    """What a plugin registers, which must be what it declares."""
    manager = pluggy.PluginManager("zoo")  # one for each plugin: an unknown hook is blamed on the right one
    manager.add_hookspecs(hooks)
    try:
        manager.register(plugin.entry.load(), name=plugin.name)
        manager.check_pending()
    except pluggy.PluginValidationError as exc:  # several lines, and a path
        reason = " ".join(str(exc).partition(" in plugin ")[0].split())
        raise PluginError(f"{reason}; the hook is zoo_register(register)") from exc
    registrar = Registrar()
    manager.hook.zoo_register(register=registrar)
    assert plugin.manifest is not None
    declared = {(kind, name) for kind, names in plugin.manifest.parts.items() for name in names}
    if declared and not manager.hook.zoo_register.get_hookimpls():
        raise PluginError(f"{plugin.entry.value} has no hook zoo_register; is @zoo.hookimpl missing above it?")
    for kind, name in sorted(declared ^ registrar.staged.keys()):
        state = "declared in zoo.yaml but not registered" if (kind, name) in declared else "not in zoo.yaml"
        raise PluginError(f"{kind} {name!r} is {state}")
    return registrar.staged


def _place(exc: BaseException, plugin: Plugin) -> str:
    """Where in the plugin's own files it happened."""
    if isinstance(exc, SyntaxError) or plugin.folder is None:  # that says it itself
        return ""
    files = [(Path(frame.filename), frame.lineno) for frame in traceback.extract_tb(exc.__traceback__)]
    places = [
        f" ({file.relative_to(plugin.folder)}, line {line})"
        for file, line in files
        if file.is_relative_to(plugin.folder)
    ]
    return places[-1] if places else ""


@functools.cache
def host() -> PluginHost:
    """The plugins of this process. ``ZOO_PLUGINS=a,b`` is an allow-list of distribution names; "" means none."""
    listed = os.environ.get("ZOO_PLUGINS")
    if listed is None:
        return PluginHost(discover())
    return PluginHost(
        discover(), frozenset(canonicalize_name(name.strip()) for name in listed.split(",") if name.strip())
    )
