"""A loss, and a step of a trainer that provides what it reads."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from zoo.catalogue.host import PluginHost, host
from zoo.errors import NotFoundError, ZooError
from zoo.generator import build_part
from zoo.loss import Loss
from zoo.recipe import Recipe
from zoo.testing.face import Frontal
from zoo.testing.subject import Model, batch, yielded
from zoo.trainer import Trainer
from zoo.vocabulary import PAIRED


@dataclass
class Lesson:
    """A loss, and a step of a trainer that provides what it reads."""

    name: str
    loss: Loss
    step: Mapping[str, Tensor]
    recipe: Recipe
    trainer: Trainer
    phase: str
    options: Mapping[str, Any]


def lesson(plugin: str, name: str, pictures: Path, out: Path) -> Lesson:
    """The loss ``name`` in a recipe that configures it, else in one whose trainer provides what it needs.

    Recipes of the plugin come first, then those of others. Skips if there is none."""
    pytest.importorskip("accelerate", reason="training needs pip install 'zoo-core[train]'")
    from zoo.train.objective import terms_of
    from zoo.train.supply import supply

    kind = host().part("loss", name)
    if not (isinstance(kind, type) and issubclass(kind, Loss)):
        pytest.skip(f"loss {name!r} is no zoo.Loss")
    try:
        alone = build_part("loss", name)
    except NotFoundError as error:
        pytest.skip(f"loss {name!r}: {error}")
    except ZooError:
        alone = None  # it has options without defaults: a recipe gives them
    found = sorted(_recipes(host()), key=lambda known: known[0] != plugin)
    for strict, (_, model) in itertools.product((True, False), found):
        try:
            places = list(_places(model.recipe, name, strict))
            if not places:  # most are out of the question, and need no trainer
                continue
            trainer = model.trainer()
            for phase, options in places:
                loss = build_part("loss", {"name": name, **options}) if options or alone is None else alone
                paired = any(need.startswith(PAIRED) for need in loss.needs)
                if not paired and supply(loss.needs, trainer.provided(phase), type(trainer), phase).missing:
                    continue
                engine = model.engine(pictures, out, *(["data.pairs=true"] if paired else []))
                try:
                    terms = terms_of(engine.recipe, engine.trainer, phase, {name: options}, {"landmarks": Frontal()})
                except ZooError:  # another phase may have what it needs
                    continue
                engine.trainer.wanted = terms.needs()
                for reached, made in yielded(engine.trainer, batch(engine), {phase: terms}):
                    if reached == phase:
                        step = {key: _leaf(tensor) for key, tensor in terms.supplied(made).items()}
                        return Lesson(name, loss, step, engine.recipe, engine.trainer, phase, options)
        except ZooError:
            continue
    needs = ", ".join(sorted(alone.needs)) if alone else "?"
    pytest.skip(f"loss {name!r}: no installed recipe configures it or provides what it needs ({needs})")


@functools.lru_cache(1)
def _recipes(plugins: PluginHost) -> list[tuple[str, Model]]:
    """All that are installed and whose they are, read once for all losses."""
    return [(part.owner, Model(part.name)) for part in plugins.parts() if part.kind == "recipe"]


def _places(recipe: Recipe, name: str, configured: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """Phases of a recipe, with the options of the loss: where it is configured, or all of them."""
    for phase, terms in recipe.losses.items():
        if not configured:
            yield phase, {}
        for term, spec in terms.items():
            if configured and spec.get("name", term) == name:
                yield phase, {key: value for key, value in spec.items() if key not in ("name", "weight")}


def _leaf(tensor: Tensor) -> Tensor:
    """A copy that gathers a gradient if the networks have made it."""
    copy = tensor.detach().clone()
    return (copy.float() if copy.is_floating_point() else copy).requires_grad_(tensor.requires_grad)
