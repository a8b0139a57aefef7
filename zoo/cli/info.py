"""``zoo info``"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from zoo.card import Card
from zoo.catalogue.host import host
from zoo.catalogue.registry import registry
from zoo.cli.list import JsonOption, facts
from zoo.cli.output import as_json, megabytes, notes
from zoo.control import parse_controls
from zoo.errors import ZooError
from zoo.recipe import load_recipe
from zoo.weights.sources import where


def command(
    name: Annotated[str, typer.Argument(metavar="MODEL", help="A name of `zoo list`.")],
    json: JsonOption = False,
) -> None:
    """All about one model: paper, licences, weights with metrics and how they were trained, controls."""
    card, _ = registry().card(name)
    if json:
        try:
            controls = _controls(card)
        except ZooError as exc:
            controls = None
            notes([f"its controls are unknown: {exc}"])
        as_json({**facts(card), "controls": controls})
        return
    typer.echo(f"{card.name}: {card.summary}")
    for head, text in _lines(card):
        typer.echo(f"{head:<12}{text}".rstrip())


def _controls(card: Card) -> list[dict[str, Any]] | None:
    """What the recipe lets a user turn; None while the plugin is not here to tell."""
    if card.recipe is None:
        return []
    return load_recipe(card.recipe).controls if card.plugin in host().plugins else None


def _lines(card: Card) -> Iterator[tuple[str, str]]:
    yield "task", card.task
    year = f", {card.paper.year}" if card.paper.year else ""
    yield "paper", f"{', '.join(card.paper.authors)}: {card.paper.title}{year}"
    if card.paper.url:
        yield "", card.paper.url
    yield "licence", f"code {card.licence.code}; weights: {card.licence.weights}; data: {card.licence.data}"
    if plugin := host().plugins.get(card.plugin):
        fault = host().faults.get(card.plugin)
        state = f"cannot be used: {fault}" if fault else "installed"
        use = f"recipe {card.recipe}" if card.recipe else "for others: it draws nothing itself"
        yield "plugin", f"{card.plugin} {plugin.version}, {state}; {use}"
    else:
        yield "plugin", f"{card.plugin}, not installed; to use the model: pip install {card.plugin}"
    yield from _weights(card)
    if plugin:
        try:
            for control in parse_controls(_controls(card) or []):
                yield "control", f"{control.name}: {control.takes}. {control.help}".rstrip(". ")
        except ZooError as exc:
            yield "controls", f"unknown: {exc}"


def _weights(card: Card) -> Iterator[tuple[str, str]]:
    if not card.weights:
        yield "weights", "none published yet"
    for tag, weights in card.weights.items():
        size, origin = megabytes(weights.bytes), where(weights, card.plugin)
        yield "weights", f"{card.tagged(tag)}: {tag}, {size}, {origin}"
        yield "", f"{weights.file}, SHA-256 {weights.sha256}"
        if weights.hub:
            yield "", f"Hub: {weights.hub.repo} at {weights.hub.revision}"
        if trained := weights.trained:
            given = trained.model_dump(exclude_none=True, exclude={"data"})
            how = ", ".join(f"{key} {value}" for key, value in given.items())
            yield "", f"trained on {trained.data}: {how}"
        for metric in weights.metrics:
            seed = f", seed {metric.seed}" if metric.seed is not None else ""
            yield "", f"{metric.name} {metric.value:.4g} ({metric.protocol}; n = {metric.n}{seed})"
