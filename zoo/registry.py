"""The catalogue: the cards of ``registry.yaml`` and of installed plugins, by name."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from zoo.card import Card, parse_cards
from zoo.errors import ConfigError, NotFoundError, PluginError, close_match
from zoo.plugins import CORE, host


class Registry:
    """Cards by name. ``problems`` says what is wrong with others: one bad card never takes the rest away."""

    def __init__(self, cards: Iterable[Card], problems: Iterable[ConfigError] = ()) -> None:
        self.cards: dict[str, Card] = {}
        self.problems = [str(problem) for problem in problems]
        self._claims: dict[str, list[str]] = {}
        for card in cards:
            self.cards.setdefault(card.name, card)
            self._claims.setdefault(card.name, []).append(card.plugin)
        twice = [name for name, owners in self._claims.items() if len(owners) > 1]
        self.problems += [str(self._conflict(name)) for name in twice]

    def card(self, name: str) -> tuple[Card, str | None]:
        """``model`` or ``model.tag`` -> its card and tag: the default unless given, None without weights."""
        model, _, tag = name.partition(".")
        if model not in self.cards:
            raise NotFoundError(f"there is no model {model!r}", close_match(model, self.cards))
        if len(self._claims[model]) > 1:
            raise self._conflict(model)
        card = self.cards[model]
        if tag:
            card.get(tag)
        return card, tag or card.default

    def _conflict(self, name: str) -> PluginError:
        owners = self._claims[name]
        return PluginError(
            f"the model {name!r} is claimed by both {owners[0]} and {owners[1]}",
            "uninstall one of them, or set ZOO_PLUGINS to the plugins you need",
        )


@functools.cache
def registry() -> Registry:
    """The catalogue of this process: first-party cards, installed or not, then those that plugins bring."""
    cards, problems = parse_cards(_first_party(), "registry.yaml")
    for plugin in host().plugins.values():
        if plugin.manifest and plugin.name != CORE:
            theirs, wrong = parse_cards(plugin.manifest.cards, f"zoo.yaml of {plugin.name}", plugin.name)
            cards += theirs
            problems += wrong
    return Registry(cards, problems)


def _first_party() -> Any:
    """``registry.yaml`` beside this module in a wheel, one folder up in a checkout."""
    here = Path(__file__).resolve().parent
    path = next(path for path in (here / "registry.yaml", here.parent / "registry.yaml") if path.is_file())
    return yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeys)


class _UniqueKeys(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Safe YAML in which a second entry of one name is an error, not a silent replacement."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if twice := next((key for key in keys if keys.count(key) > 1), None):
            line = node.start_mark.line + 1
            raise ConfigError(f"registry.yaml, from line {line}: {twice!r} is there twice", "remove one")
        return super().construct_mapping(node, deep)


def list_models(task: str | None = None) -> list[str]:
    """Names of all models, or of those for one task, installed or not."""
    return [card.name for card in registry().cards.values() if task in (None, card.task)]


def info(name: str) -> Card:
    """The card of a model. NotFoundError with the names near to it if there is none."""
    return registry().card(name)[0]
