"""What a phase of training minimises: the recipe's losses, checked against what the trainer provides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from zoo.errors import ConfigError, ZooError
from zoo.generator import build_part
from zoo.loss import Loss
from zoo.plugins import host
from zoo.recipe import Recipe
from zoo.trainer import PAIRED, Trainer


@dataclass
class Terms:
    """The configured losses of one phase: term name -> (weight, loss)."""

    terms: dict[str, tuple[float, Loss]] = field(default_factory=dict)

    def needs(self) -> frozenset[str]:
        return frozenset().union(*(loss.needs for _, loss in self.terms.values()))

    def __call__(self, step: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum, and each term without its weight."""
        values = {name: loss(step).float() for name, (_, loss) in self.terms.items()}
        total = torch.stack([self.terms[name][0] * value for name, value in values.items()]).sum()
        return total, {name: value.detach() for name, value in values.items()}


def build_losses(recipe: Recipe, trainer: Trainer) -> dict[str, Terms]:
    """The recipe's losses by phase. A weight of 0 leaves a term out; a name that is not provided is an error."""
    if strange := sorted(recipe.losses.keys() - trainer.phases.keys()):
        raise ConfigError(
            f"losses.{strange[0]} is not a phase of the trainer {recipe.trainer['name']!r}",
            f"its phases are: {', '.join(trainer.phases)}",
        )
    losses = {phase: Terms() for phase in trainer.phases}
    for phase, terms in recipe.losses.items():
        provided = {name for name in trainer.provides[phase] if recipe.data.pairs or not name.startswith(PAIRED)}
        for term, spec in terms.items():
            options = {"name": term, **spec}
            weight = options.pop("weight", 1.0)
            if not weight:
                continue
            loss = build_part("loss", options)
            if missing := loss.needs - provided:
                raise ConfigError(
                    f"loss {term!r} needs {', '.join(sorted(missing))}, which the trainer "
                    f"{recipe.trainer['name']!r} does not provide in its phase {phase!r}",
                    "it looks at two pictures of one sitter: train with --pairs"
                    if missing <= trainer.provides[phase]
                    else _who(missing),
                )
            losses[phase].terms[term] = (weight, loss)
    if idle := [phase for phase, terms in losses.items() if not terms.terms]:
        raise ConfigError(f"no loss is configured for {', '.join(idle)}", f"give losses.{idle[0]}")
    return losses


def _who(missing: frozenset[str]) -> str:
    """The phases of installed trainers that provide all of ``missing``."""
    having = []
    for part in host().parts():
        if part.kind != "trainer":
            continue
        try:
            provides: Mapping[str, frozenset[str]] = host().part("trainer", part.name).provides
        except (ZooError, AttributeError):  # a broken plugin cannot help here
            continue
        having += [f"{part.name} ({phase})" for phase, names in provides.items() if missing <= names]
    return f"trainers that have it: {', '.join(having)}" if having else "no installed trainer has it"
