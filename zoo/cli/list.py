"""``zoo list``"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer

from zoo.card import Card
from zoo.catalogue.host import host
from zoo.catalogue.registry import registry
from zoo.cli.output import as_json, megabytes, notes, table
from zoo.weights.sources import where

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def command(
    task: Annotated[str | None, typer.Option(help="Only models for this, e.g. photo-to-drawing.")] = None,
    json: JsonOption = False,
) -> None:
    """The models, one line each: every one of the catalogue, whether its plugin is installed or not.

    Weights are bundled (in the installed plugin), cached, on a mirror or the Hub (downloaded at first use),
    or there are none yet.
    """
    catalogue = registry()
    cards = [card for card in catalogue.cards.values() if task in (None, card.task)]
    if json:
        as_json([facts(card) for card in cards])
    else:
        heads = ("MODEL", "TASK", "WEIGHTS", "PLUGIN", "SUMMARY")
        table(heads, [row for card in cards for row in _rows(card)])
    notes([*host().problems(), *catalogue.problems])


def facts(card: Card) -> dict[str, object]:
    """The card as plain data, with where the weights are, and whether the plugin is here and what is wrong with it."""
    data = card.model_dump(mode="json", exclude_none=True)
    for tag, weights in card.weights.items():
        data["weights"][tag]["where"] = where(weights, card.plugin)
    fault = {"fault": host().faults[card.plugin]} if card.plugin in host().faults else {}
    return {**data, "default": card.default, "installed": card.plugin in host().plugins, **fault}


def _rows(card: Card) -> Iterator[tuple[str, ...]]:
    state = "" if card.plugin in host().plugins else " (not installed)"
    plugin = card.plugin + (" (broken)" if card.plugin in host().faults else state)
    if not card.weights:
        yield card.name, card.task, "none yet", plugin, card.summary
    for tag, weights in card.weights.items():
        found = f"{tag}, {megabytes(weights.bytes)}, {where(weights, card.plugin)}"
        yield card.tagged(tag), card.task, found, plugin, card.summary
