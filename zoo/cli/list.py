"""``zoo list``"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer

from zoo.card import Card
from zoo.catalogue.host import host
from zoo.catalogue.registry import registry
from zoo.cli.output import as_json, megabytes, notes, table
from zoo.errors import UsageError
from zoo.weights.hub import search
from zoo.weights.sources import where

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def command(
    word: Annotated[str | None, typer.Argument(metavar="[WORD]", help="With --hub: what their names hold.")] = None,
    task: Annotated[str | None, typer.Option(help="Only models for this, e.g. photo-to-drawing.")] = None,
    hub: Annotated[bool, typer.Option("--hub", help="What people published on the Hub, by this library.")] = False,
    json: JsonOption = False,
) -> None:
    """The models, one line each: every one of the catalogue, whether its plugin is installed or not.

    Weights are bundled (in the installed plugin), cached, on a mirror or the Hub (downloaded at first use),
    or there are none yet. --hub lists others' repositories, to be used by these names.
    """
    if hub:
        if task:
            raise UsageError("--task is for the catalogue, not for --hub", "give a WORD: zoo list --hub WORD")
        return _of_hub(word or "", json)
    if word:
        raise UsageError(f"{word}: the catalogue is listed whole", "zoo list --hub WORD searches the Hub; or --task")
    catalogue = registry()
    cards = [card for card in catalogue.cards.values() if task in (None, card.task)]
    if json:
        as_json([facts(card) for card in cards])
    else:
        heads = ("MODEL", "TASK", "WEIGHTS", "PLUGIN", "SUMMARY")
        table(heads, [row for card in cards for row in _rows(card)])
    notes([*host().problems(), *catalogue.problems])


def _of_hub(word: str, json: bool) -> None:
    found = search(word)
    if json:
        return as_json(found)
    table(
        ("MODEL", "LICENCE", "RECIPE", "CHANGED", "DOWNLOADS", ""),
        [
            (
                str(one["name"]),
                str(one["licence"]),
                ", ".join(one["recipes"]),
                str(one["changed"] or ""),
                str(one["downloads"]),
                "gated" if one["gated"] else "",
            )
            for one in found
        ],
    )
    notes([] if found else [f"nobody published a model of the zoo{f' called {word}' if word else ''} there yet"])


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
