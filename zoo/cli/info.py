"""``zoo info``"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from zoo.card import Card
from zoo.catalogue.host import host
from zoo.catalogue.manifest import CORE
from zoo.catalogue.registry import registry
from zoo.cli.list import JsonOption, facts
from zoo.cli.output import as_json, megabytes, notes
from zoo.control import parse_controls
from zoo.errors import IntegrityError, NotFoundError, ZooError, one_line
from zoo.recipe import load_recipe
from zoo.weights.file import Header, read_header
from zoo.weights.hub_name import is_hub
from zoo.weights.sources import Published, published, where


def command(
    name: Annotated[
        str, typer.Argument(metavar="MODEL", help="A name of `zoo list`, hub:USER/REPO, or a file of weights.")
    ],
    json: JsonOption = False,
) -> None:
    """All about one model: paper, licences, weights with metrics and how they were trained, controls."""
    if is_hub(name):
        return _of_hub(published(name), json)
    if name.partition(".")[0] not in registry().cards and (os.sep in name or Path(name).exists()):
        return _of_file(name, json)
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


def _of_hub(model: Published, json: bool) -> None:
    """The same of what somebody published."""
    weights = model.weights
    assert weights.hub is not None
    place = {**weights.model_dump(include={"file", "bytes", "sha256"}), "where": where(weights)}
    whose = f", published by {weights.hub.repo.partition('/')[0]}"
    _of_weights(model.name, model.header, {**weights.hub.model_dump(), **place}, whose, json)


def _of_file(name: str, json: bool) -> None:
    """The same of weights on this disk."""
    from zoo.loading import weights_file  # brings torch

    path = weights_file(name)
    if path is None:
        raise NotFoundError(f"{name} is a recipe, no weights", "zoo translate and zoo train take recipes")
    header = read_header(path)
    if not header.network:
        raise IntegrityError(f"{path} does not say which network it is for", "zoo pack writes files that do")
    with path.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    place = {"file": str(path), "bytes": path.stat().st_size, "sha256": digest, "where": "on this disk"}
    _of_weights(name, header, place, "", json)


def _of_weights(name: str, header: Header, place: Mapping[str, Any], whose: str, json: bool) -> None:
    """By the file's own word, not by a card."""
    network, facts = header.network, header.facts
    plugin = str(network.get("plugin") or CORE)
    licence, trained = str(facts.get("licence", "unknown")), facts.get("trained")
    if json:
        as_json({
            "name": name,
            **place,
            "recipe": network["recipe"],
            "plugin": plugin,
            "installed": plugin in host().plugins,
            "licence": licence,
            "trained": trained,
            "controls": network.get("controls", []),
        })  # fmt: skip
        return
    typer.echo(f"{name}: recipe {one_line(str(network['recipe']))}{whose}")
    lines = [
        ("licence", f"weights: {licence}"),
        ("plugin", _plugin(plugin, "by the file's own word")),
        ("weights", f"{place['file']}, {megabytes(place['bytes'])}, {place['where']}"),
        ("", f"SHA-256 {place['sha256']}"),
    ]
    if isinstance(trained, dict):
        lines.append(("", "trained: " + ", ".join(f"{key} {value}" for key, value in trained.items() if value)))
    for control in parse_controls(network.get("controls", ())):
        lines.append(("control", f"{control.name}: {control.takes}. {control.help}".rstrip(". ")))
    for head, text in lines:
        typer.echo(f"{head:<12}{one_line(text)}".rstrip())


def _plugin(name: str, use: str) -> str:
    if not (plugin := host().plugins.get(name)):
        return f"{name}, not installed; to use the model: pip install {name}"
    fault = host().faults.get(name)
    return f"{name} {plugin.version}, {f'cannot be used: {fault}' if fault else 'installed'}; {use}"


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
    use = f"recipe {card.recipe}" if card.recipe else "for others: it draws nothing itself"
    yield "plugin", _plugin(card.plugin, use)
    yield from _weights(card)
    if card.plugin in host().plugins:
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
