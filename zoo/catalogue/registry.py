"""The catalogue: the cards of ``registry.yaml`` and of installed plugins, by name."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path

from zoo.card import Card, parse_cards
from zoo.catalogue.host import host
from zoo.catalogue.manifest import CORE
from zoo.errors import ConfigError, NotFoundError, PluginError, UsageError, close_match
from zoo.helpers.reading import read_yaml


class Registry:
    """Cards by name. ``problems`` says what is wrong with others: one bad card never takes the rest away."""

    def __init__(self, cards: Iterable[Card], problems: Iterable[ConfigError] = ()) -> None:
        self.cards: dict[str, Card] = {}
        self.problems = [problem.message for problem in problems]
        self._claims: dict[str, list[str]] = {}
        for card in cards:
            self.cards.setdefault(card.name, card)
            self._claims.setdefault(card.name, []).append(card.plugin)
        twice = [name for name, owners in self._claims.items() if len(owners) > 1]
        self.problems += [self._conflict(name).message for name in twice]

    def card(self, name: str) -> tuple[Card, str | None]:
        """``model`` or ``model.tag`` -> its card and tag: the default unless given, None without weights."""
        model, _, tag = name.partition(".")
        if model.startswith("hub:"):
            raise UsageError(
                f"{name} is a name of the Hub, which has no card", "zoo info tells of it, zoo.published too"
            )
        if model not in self.cards:
            raise NotFoundError(f"there is no model {model!r}", close_match(model, self.cards) + host().perhaps())
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
    """The catalogue of this process: first-party cards, installed or not, then those that plugins bring.

    A plugin that is out of use takes no name from another.
    """
    cards, problems = parse_cards(read_yaml(catalogue(), "registry.yaml"), "registry.yaml")
    for plugin in sorted(host().plugins.values(), key=lambda plugin: bool(plugin.error)):
        if plugin.manifest and plugin.name != CORE:
            theirs, wrong = parse_cards(plugin.manifest.cards, f"zoo.yaml of {plugin.name}", plugin.name)
            taken = {card.name for card in cards} if plugin.error else set()
            cards += [card for card in theirs if card.name not in taken]
            problems += wrong
    return Registry(cards, problems)


def catalogue() -> Path:
    """``registry.yaml`` beside this module in a wheel, one folder up in a checkout."""
    here = Path(__file__).resolve().parents[1]
    return next(path for path in (here / "registry.yaml", here.parent / "registry.yaml") if path.is_file())


def list_models(task: str | None = None) -> list[str]:
    """Names of all models, or of those for one task, installed or not."""
    return [card.name for card in registry().cards.values() if task in (None, card.task)]


def info(name: str) -> Card:
    """The card of a model. NotFoundError with the names near to it if there is none."""
    return registry().card(name)[0]
