"""What an installed plugin says of itself, read without running its code."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from zoo.card import Name
from zoo.errors import ConfigError, close_match, describe
from zoo.helpers.reading import read_yaml

GROUP = "zoo"
CORE = "zoo-core"
KINDS = ("block", "loss", "provider", "generator", "discriminator", "trainer", "translator", "metric", "command")


class Manifest(BaseModel):
    """``zoo.yaml`` in a plugin's package."""

    model_config = ConfigDict(extra="forbid")

    requires_core: str = Field("", max_length=200)
    parts: dict[str, Annotated[list[Name], Field(max_length=1000)]] = Field(default_factory=dict)
    cards: dict[str, Any] = Field(default_factory=dict, max_length=1000)

    @field_validator("parts")
    @classmethod
    def _known_kinds(cls, parts: dict[str, list[str]]) -> dict[str, list[str]]:
        for kind, names in parts.items():
            if kind not in KINDS:
                raise ValueError(f"unknown kind of part {kind!r}: {close_match(kind, KINDS)}")
            if twice := next((name for name in names if names.count(name) > 1), None):
                raise ValueError(f"{kind} {twice!r} is declared twice")
        return parts


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

    @cached_property
    def recipes(self) -> dict[str, Path]:
        """Their files by name."""
        if self.folder is None or not (self.folder / "recipes").is_dir():
            return {}
        return {path.stem: path for path in sorted((self.folder / "recipes").glob("*.yaml"))}


def discover(distributions: Iterable[importlib.metadata.Distribution] | None = None) -> dict[str, Plugin]:
    """All installed plugins by distribution name. Imports nothing and never raises: a bad plugin has an ``error``."""
    found: dict[str, Plugin] = {}
    for distribution in importlib.metadata.distributions() if distributions is None else distributions:
        try:
            entries = [*distribution.entry_points.select(group=GROUP)]
            if not entries:
                continue
            metadata = distribution.metadata  # parsed at each look
            name, version = canonicalize_name(metadata["Name"]), str(metadata["Version"])
        except Exception:  # not even a name: the ruin of an uninstall, or somebody else's broken metadata
            continue
        if name not in found:  # twice on the path: Python imports the first
            found[name] = _read(name, version, entries)
    return dict(sorted(found.items()))


def _read(name: str, version: str, entries: list[importlib.metadata.EntryPoint]) -> Plugin:
    entry = entries[0]
    package = entry.value.partition(":")[0].partition(".")[0].strip()
    try:
        if len(entries) > 1:
            names = ", ".join(sorted(one.name for one in entries))
            raise ConfigError(f"it has {len(entries)} entry points in the group {GROUP!r}, not one: {names}")
        spec = importlib.util.find_spec(package)  # of a top-level package: runs no code
        if spec is None or not spec.submodule_search_locations:
            raise ConfigError(f"{package} is not an importable package")
        folder = Path(next(iter(spec.submodule_search_locations)))
        if not (folder / "zoo.yaml").is_file():
            raise ConfigError(f"{package} has no zoo.yaml")
        manifest, misfit = _parse(read_yaml(folder / "zoo.yaml", "zoo.yaml") or {})
    except Exception as exc:  # any defect of somebody's wheel is data here
        error = exc.message if isinstance(exc, ConfigError) else describe(exc)
        return Plugin(name, version, entry, package, error=error)
    return Plugin(name, version, entry, package, folder, manifest, misfit)


@functools.cache
def _core() -> str:
    """The version of this one, which every manifest is compared with."""
    return importlib.metadata.version(CORE)


def _parse(raw: Any) -> tuple[Manifest | None, str]:
    """The manifest, and why its core is not this one. For another core it may say what this one cannot read."""
    core, misfit = _core(), ""
    wanted = raw.get("requires_core", "") if isinstance(raw, dict) else ""
    try:
        if not SpecifierSet(str(wanted)).contains(core, prereleases=True):
            misfit = f"needs {CORE} {wanted}, but {core} is installed; update one of the two"
    except InvalidSpecifier as exc:
        raise ConfigError(f"requires_core: {wanted!r} is not a version range such as '>=0.1,<1'") from exc
    try:
        return Manifest.model_validate(raw), misfit
    except ValidationError as exc:
        if misfit:
            return None, misfit
        raise ConfigError(f"zoo.yaml: {describe(exc)}") from exc
