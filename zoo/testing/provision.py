"""A provider, and a step of a trainer that does not give what it makes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from torch import Tensor

from zoo.catalogue.host import host
from zoo.errors import NotFoundError, ZooError
from zoo.loss import Loss
from zoo.provider import Provider
from zoo.testing.face import Frontal
from zoo.testing.subject import Model, batch, yielded


def provision(name: str, pictures: Path, out: Path) -> tuple[str, Mapping[str, Tensor], Provider, tuple[int, int]]:
    """The word that the provider ``name`` makes, a step with all that it needs, itself, and the pictures' size.

    Skips if no installed recipe's trainer can do with it, or its weights are not on this machine."""
    pytest.importorskip("accelerate", reason="training needs pip install 'zoo-core[train]'")
    from zoo.train.objective import Terms
    from zoo.train.supply import provider_of, supply

    word = name.replace("-", "_")
    for model, phase in _places(word):
        try:
            engine = model.engine(pictures, out)
        except ZooError:
            continue
        trainer = engine.trainer
        given = trainer.provided(phase)
        made = supply([word], given, type(trainer), phase)
        if made.missing or word not in made.providers:
            continue
        try:
            built = {
                one: Frontal()
                if one == "landmarks" != word
                else host().part("provider", provider_of(one, {})["name"])()
                for one in made.providers
            }
        except NotFoundError as error:
            pytest.skip(f"provider {name!r}: {error}")
        for provider in built.values():
            provider.trainer = trainer
            provider.requires_grad_(False)
        asks = Loss()
        asks.needs = frozenset({word})
        terms = Terms({word: (1.0, asks)}, built, made.held)
        trainer.wanted = terms.needs()
        for reached, step in yielded(trainer, batch(engine), {phase: terms}):
            if reached == phase:
                return word, terms.supplied(step), built[word], engine.recipe.data.size
    pytest.skip(f"provider {name!r}: no installed recipe is of a trainer that it fits")


def _places(word: str) -> Iterator[tuple[Model, str]]:
    """Recipes, and phases of their trainers, that do not give the word but could have it; those of its owner first."""
    from zoo.train.supply import supply

    owner = host().owner("provider", word.replace("_", "-"))
    for part in sorted(host().parts(), key=lambda part: part.owner != owner):
        if part.kind != "recipe":
            continue
        try:
            model = Model(part.name)
            kind = host().part("trainer", str(model.recipe.trainer.get("name")))
        except ZooError:
            continue
        for phase, given in kind.provides.items():
            if word in supply([word], given, kind, phase).providers:
                yield model, phase
