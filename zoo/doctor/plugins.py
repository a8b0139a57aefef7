"""Is a plugin in order? It is imported in another process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

from zoo.card import Card, parse_cards
from zoo.catalogue.host import host
from zoo.catalogue.manifest import CORE, KINDS, Plugin
from zoo.catalogue.registry import registry
from zoo.doctor import isolated
from zoo.errors import ZooError
from zoo.helpers.forks import Forks
from zoo.recipe import Recipe, load_recipe

TIMEOUT = 60  # seconds for one plugin; most of them go into torch


def check_plugins(timeout: float = TIMEOUT, forks: Forks | None = None) -> dict[str, list[str]]:
    """Every installed plugin with its faults, one line each; none: it works. Those of ``forks`` may look, which have torch.

    One process imports them all. Each that it does not find sound is looked at in a process of its own: what is wrong
    may be another's doing, and who crashes takes the rest along.
    """

    def alone(name: str) -> list[str]:
        try:
            return [
                str(line) for line in isolated.call("zoo.doctor.plugins:faults", name, timeout=timeout, forks=python)
            ]
        except isolated.Lost as exc:
            return [f"when it is imported, {exc}"]

    found = {name: [host().faults[name]] if name in host().faults else [] for name in host().plugins}
    unknown = [name for name in found if not found[name]]
    with nullcontext(forks) if forks else Forks("torch") as python:
        with suppress(isolated.Lost):
            sound = isolated.call("zoo.doctor.plugins:sound", *unknown, timeout=timeout / 2, forks=python)
            unknown = [name for name in unknown if name not in sound]
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            return found | dict(zip(unknown, pool.map(alone, unknown)))


def sound(*names: str) -> list[str]:
    """Those without a fault. Imports them."""
    return [name for name in names if not faults(name)]


def faults(name: str) -> list[str]:
    """What is wrong with one plugin: its code, its recipes, its cards. Imports it."""
    plugin = host().plugins[name]
    try:
        host().load(name)
    except ZooError:
        return [host().faults[name]]
    except KeyboardInterrupt:  # nobody's: this process has no terminal
        return ["KeyboardInterrupt when it is imported"]
    return [*_recipe_faults(plugin), *_card_faults(plugin)]


def _recipe_faults(plugin: Plugin) -> Iterator[str]:
    for name in plugin.recipes:
        try:
            for kind, part in _parts(load_recipe(name)):
                host().owner(kind, part)
        except ZooError as exc:
            yield exc.message if name in exc.message else f"recipe {name}: {exc.message}"


def _parts(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Kind and name of every part that a recipe names."""
    yield from _named("generator", recipe.generator)
    for kind, spec in (("trainer", recipe.trainer), ("discriminator", recipe.discriminator)):
        if spec:
            yield from _named(kind, spec)
    if recipe.translator:
        yield "translator", recipe.translator
    for terms in recipe.losses.values():
        for term, spec in terms.items():
            yield from _named("loss", {"name": term, **spec})
    for word, spec in recipe.providers.items():
        yield from _named("provider", {"name": word.replace("_", "-"), **spec})


def _named(kind: str, spec: Any) -> Iterator[tuple[str, str]]:
    options = spec if isinstance(spec, dict) else {"name": spec}
    yield kind, str(options.get("name"))
    for key in options.keys() & set(KINDS):
        yield from _named(key, options[key])


def _card_faults(plugin: Plugin) -> Iterator[str]:
    assert plugin.folder and plugin.manifest
    if plugin.name != CORE:
        for problem in parse_cards(plugin.manifest.cards, "zoo.yaml", plugin.name)[1]:
            yield problem.message
    for card in registry().cards.values():
        if card.plugin == plugin.name:
            yield from _faults_of(card, plugin.folder / "weights")


def _faults_of(card: Card, folder: Path) -> Iterator[str]:
    if card.recipe is not None:
        try:
            host().owner("recipe", card.recipe)
        except ZooError as exc:
            yield f"card {card.name}: {exc.message}"
    for weights in card.weights.values():
        if not weights.bundled:
            continue
        path = folder / weights.file
        if not path.is_file():
            yield f"card {card.name}: the bundled {weights.file} is not in the plugin's folder weights"
        elif path.stat().st_size != weights.bytes:
            yield f"card {card.name}: {weights.file} has {path.stat().st_size} bytes instead of {weights.bytes}"


def brings(name: str) -> str:
    """``5 models, 2 blocks, 1 loss``; a plugin need not have models, but that is worth to be seen."""
    models = ["model" for card in registry().cards.values() if card.plugin == name]
    kinds = models + [part.kind for part in host().parts() if part.owner == name]
    counts = {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}
    words = [f"{n} {_plural(kind) if n > 1 else kind}" for kind, n in counts.items()]
    return ", ".join(words if models else ["no model", *words])


def _plural(kind: str) -> str:
    return f"{kind}es" if kind.endswith("s") else f"{kind}s"
