"""Find plugins without importing them; import one when a part of it is needed; keep a fault inside its plugin."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pluggy
import yaml
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from zoo import hookspecs
from zoo.errors import ConfigError, NotFoundError, PluginError, ZooError, close_match

GROUP = "zoo"
CORE = "zoo-core"
KINDS = ("block", "loss", "generator", "discriminator", "trainer", "translator", "metric")


@dataclass(frozen=True)
class Part:
    """A named part and the distribution that owns it."""

    kind: str
    name: str
    owner: str


class Manifest(BaseModel):
    """``zoo.yaml`` in a plugin's package: what can be known of it without running its code."""

    model_config = ConfigDict(extra="forbid")

    requires_core: str = ""
    parts: dict[str, list[str]] = Field(default_factory=dict)
    cards: dict[str, Any] = Field(default_factory=dict)

    @field_validator("parts")
    @classmethod
    def _known_kinds(cls, parts: dict[str, list[str]]) -> dict[str, list[str]]:
        for kind in parts:
            if kind not in KINDS:
                raise ValueError(f"unknown kind of part {kind!r}: {close_match(kind, KINDS)}")
        return parts

    @field_validator("requires_core")
    @classmethod
    def _a_specifier(cls, text: str) -> str:
        try:
            SpecifierSet(text)
        except InvalidSpecifier as exc:
            raise ValueError(f"{text!r} is not a version range such as '>=0.1,<1'") from exc
        return text


@dataclass(frozen=True)
class Plugin:
    """An installed plugin as seen from outside; ``error`` says why it cannot be used, if so."""

    name: str
    version: str
    entry: importlib.metadata.EntryPoint
    package: str
    folder: Path | None = None
    manifest: Manifest | None = None
    error: str = ""

    def recipes(self) -> dict[str, Path]:
        if self.folder is None or not (self.folder / "recipes").is_dir():
            return {}
        return {path.stem: path for path in sorted((self.folder / "recipes").glob("*.yaml"))}


def describe(exc: BaseException) -> str:
    """One line for any exception."""
    if isinstance(exc, ValidationError):
        first = exc.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg'].removeprefix('Value error, ')}"
    if isinstance(exc, ZooError):
        return str(exc)
    text = str(exc).strip()
    return f"{type(exc).__name__}: {text.splitlines()[0]}" if text else type(exc).__name__


def discover(distributions: Iterable[importlib.metadata.Distribution] | None = None) -> dict[str, Plugin]:
    """All installed plugins by distribution name. Imports nothing and never raises: a bad plugin has an ``error``."""
    found: dict[str, Plugin] = {}
    for distribution in importlib.metadata.distributions() if distributions is None else distributions:
        for entry in distribution.entry_points.select(group=GROUP):
            if "Name" not in distribution.metadata:  # a ruin of an uninstall
                continue
            name = distribution.metadata["Name"]
            if name in found:  # twice on the path: Python imports the first
                continue
            found[name] = _read(name, distribution.version, entry)
    return dict(sorted(found.items()))


def _read(name: str, version: str, entry: importlib.metadata.EntryPoint) -> Plugin:
    package = entry.value.partition(":")[0].partition(".")[0]
    try:
        spec = importlib.util.find_spec(package)  # of a top-level package: runs no code
        if spec is None or not spec.submodule_search_locations:
            raise ImportError(f"{package} is not an importable package")
        folder = Path(next(iter(spec.submodule_search_locations)))
        path = folder / "zoo.yaml"
        if not path.is_file():
            raise FileNotFoundError(f"{package} has no zoo.yaml")
        manifest = Manifest.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    except Exception as exc:  # any defect of somebody's wheel is data here
        return Plugin(name, version, entry, package, error=describe(exc))
    core = importlib.metadata.version(CORE)
    if not SpecifierSet(manifest.requires_core).contains(core, prereleases=True):
        error = f"needs {CORE} {manifest.requires_core}, but {core} is installed; update one of the two"
        return Plugin(name, version, entry, package, folder, manifest, error)
    return Plugin(name, version, entry, package, folder, manifest)


class Registrar:
    """Collects what one plugin registers; nothing reaches the host before all of it proved right."""

    block: Callable[[str, Any], None]
    loss: Callable[[str, Any], None]
    generator: Callable[[str, Any], None]
    discriminator: Callable[[str, Any], None]
    trainer: Callable[[str, Any], None]
    translator: Callable[[str, Any], None]
    metric: Callable[[str, Any], None]

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


class PluginHost:
    """The installed plugins, their faults, and their parts by kind and name."""

    def __init__(self, plugins: dict[str, Plugin], allow: frozenset[str] | None = None) -> None:
        self.plugins = {n: p for n, p in plugins.items() if allow is None or n in allow or n == CORE}
        self.faults = {p.name: p.error for p in self.plugins.values() if p.error}
        self._owners: dict[tuple[str, str], list[str]] = {}
        self._objects: dict[tuple[str, str], Any] = {}
        self._loaded: set[str] = set()
        for plugin in self.plugins.values():
            for kind, names in plugin.manifest.parts.items() if plugin.manifest else ():
                for name in names:
                    self._owners.setdefault((kind, name), []).append(plugin.name)
            for name in plugin.recipes():
                self._owners.setdefault(("recipe", name), []).append(plugin.name)

    def parts(self) -> list[Part]:
        """Every declared part with its owner, without importing anything."""
        return [Part(kind, name, owner) for (kind, name), owners in sorted(self._owners.items()) for owner in owners]

    def owner(self, kind: str, name: str) -> str:
        """The one distribution that brings a part."""
        owners = self._owners.get((kind, name), [])
        if not owners:
            known = [n for k, n in self._owners if k == kind]
            hint = close_match(name, known)
            if unread := [plugin.name for plugin in self.plugins.values() if plugin.manifest is None]:
                hint += f"; or it is of {' or '.join(unread)}, which cannot be read (zoo plugins)"
            raise NotFoundError(f"no installed plugin brings the {kind} {name!r}", hint)
        if len(owners) > 1:
            raise PluginError(
                f"{kind} {name!r} is owned by both {owners[0]} and {owners[1]}",
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
        return self.plugins[owner].recipes()[name], owner

    def load(self, name: str) -> None:
        """Import one plugin and take its parts. On any fault nothing of it is taken and ``PluginError`` says why."""
        if name in self._loaded:
            return
        if name not in self.plugins:
            raise NotFoundError(f"plugin {name!r} is not installed", f"pip install {name}")
        plugin = self.plugins[name]
        if name not in self.faults:
            try:
                self._objects.update(self._collect(plugin))
                self._loaded.add(name)
                return
            except (Exception, SystemExit) as exc:
                self.faults[name] = describe(exc)
                raise self._broken(plugin) from exc
        raise self._broken(plugin)

    def _broken(self, plugin: Plugin) -> PluginError:
        return PluginError(
            f"plugin {plugin.name} {plugin.version} cannot be used: {self.faults[plugin.name]}",
            f"pip install -U {plugin.name}, or leave it out with ZOO_PLUGINS; the others keep working",
        )

    def _collect(self, plugin: Plugin) -> dict[tuple[str, str], Any]:
        manager = pluggy.PluginManager("zoo")  # one for each plugin: an unknown hook is blamed on the right one
        manager.add_hookspecs(hookspecs)
        manager.register(plugin.entry.load(), name=plugin.name)
        manager.check_pending()
        registrar = Registrar()
        manager.hook.zoo_register(register=registrar)
        assert plugin.manifest is not None
        declared = {(kind, name) for kind, names in plugin.manifest.parts.items() for name in names}
        for kind, name in sorted(declared ^ registrar.staged.keys()):
            state = "declared in zoo.yaml but not registered" if (kind, name) in declared else "not in zoo.yaml"
            raise PluginError(f"{kind} {name!r} is {state}")
        return registrar.staged


@functools.cache
def host() -> PluginHost:
    """The plugins of this process. ``ZOO_PLUGINS=a,b`` is an allow-list of distribution names; "" means none."""
    listed = os.environ.get("ZOO_PLUGINS")
    allow = None if listed is None else frozenset(filter(None, (name.strip() for name in listed.split(","))))
    return PluginHost(discover(), allow)
