"""The models that a page shows, and what is known of each before its weights are loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zoo.card import Card
from zoo.catalogue.host import host
from zoo.catalogue.registry import registry
from zoo.control import Control, parse_controls
from zoo.control import Image as ImageControl
from zoo.errors import NotFoundError, ZooError
from zoo.loading import load, need_plugin, weights_file
from zoo.recipe import network_of
from zoo.weights.file import read_header


@dataclass(frozen=True)
class Shown:
    """One model. ``name`` is what `zoo.load` takes."""

    name: str
    network: Mapping[str, Any]
    card: Card | None = None
    tag: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)  # what the header of a file of one's own says beside it

    @property
    def controls(self) -> list[Control]:
        return parse_controls(self.network.get("controls", ()))

    @property
    def task(self) -> str:
        return self.card.task if self.card else "one of your own"

    @property
    def title(self) -> str:
        """As it is called where there is little room."""
        return self.name if self.card else Path(self.name).stem

    @property
    def summary(self) -> str:
        return self.card.summary if self.card else str(self.network.get("recipe", ""))

    @property
    def goes(self) -> bool:
        """Can it show the way to a result in steps, by a verb ``morph`` of its translator?"""
        part = self.network.get("translator")
        return bool(part) and hasattr(host().part("translator", str(part)), "morph")

    @property
    def preview(self) -> Path | None:
        """A photograph and beside it what the model makes of it, where the plugin brings such a picture."""
        return self._brought(self.card.name) if self.card else None

    def example(self, control: ImageControl) -> Path | None:
        """A picture for this control, where the plugin brings one."""
        return self._brought(f"{self.card.name}.{control.name}") if self.card else None

    def _brought(self, name: str) -> Path | None:
        plugin = host().plugins.get(str(self.network.get("plugin")))
        path = plugin.folder / "previews" / f"{name}.jpg" if plugin and plugin.folder else None
        return path if path and path.is_file() else None


def installed() -> tuple[list[Shown], list[str]]:
    """Every model that can draw here, and a line for what is left out. NotFoundError if there is none."""
    shown, untrained, faults = [], [], []
    for card in registry().cards.values():
        if card.recipe is None or card.plugin not in host().plugins:
            continue
        if not card.weights:
            untrained.append(card.name)
            continue
        try:
            need_plugin(card.plugin, card.name)
            network = network_of(card)
            shown += [Shown(card.tagged(tag), network, card, tag) for tag in card.weights]
        except ZooError as error:
            faults.append(f"{card.name} is left out: {error}")
    if untrained:
        faults.append(f"without weights, and not on the page: {', '.join(untrained)}")
    if not shown:
        raise NotFoundError("no model that is installed has weights", "zoo list names the plugins to install")
    return shown, faults


def one(name: str) -> Shown:
    """The model of this name, or the weights file at this path. Errors as of `zoo.load`."""
    if Path(name).suffix == ".safetensors" and Path(name).is_file():
        header = read_header(Path(name))
        if not header.network:
            load(name)  # or it says why it cannot
        return Shown(name, header.network, facts=header.facts)
    if name.partition(".")[0] in registry().cards:
        card, tag = registry().card(name)
        card.get(tag)
        need_plugin(card.plugin, card.name)
        return Shown(name, network_of(card), card, tag)
    translator, path = load(name), weights_file(name)
    facts = read_header(path).facts if path and not translator.card else {}
    return Shown(name, translator.network, translator.card, facts=facts)
