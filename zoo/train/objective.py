"""What a phase of training minimises: the recipe's losses, checked against what the trainer provides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from zoo.catalogue.host import host
from zoo.errors import ConfigError, PluginError
from zoo.generator import build_part
from zoo.loss import Loss, Views
from zoo.provider import Provider
from zoo.recipe import Recipe
from zoo.train.supply import Supply, lack, provider_of, supply, who
from zoo.trainer import Batch, Step, Trainer
from zoo.vocabulary import PAIRED


@dataclass
class Terms:
    """The configured losses of one phase: term name -> (weight, loss). ``providers`` make what they need beside what the
    trainer gives, in this order; ``held`` is what both read of the batch."""

    terms: dict[str, tuple[float, Loss]] = field(default_factory=dict)
    providers: dict[str, Provider] = field(default_factory=dict)
    held: frozenset[str] = frozenset()

    def needs(self) -> frozenset[str]:
        """What has to be there: the losses' and providers' needs that no provider makes."""
        readers: list[Loss | Provider] = [*(loss for _, loss in self.terms.values()), *self.providers.values()]
        return frozenset().union(*(reader.needs for reader in readers)) - self.providers.keys()

    def supplied(self, step: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The step with what the providers make of it."""
        for name, provider in self.providers.items():
            known = step if isinstance(step, Views) else Views(step)
            step = Views({name: provider.made(known)}, known)
        return step

    def __call__(self, step: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum, and each term without its weight."""
        step = self.supplied(step)
        values = {name: loss(step).float() for name, (_, loss) in self.terms.items()}
        total = torch.stack([self.terms[name][0] * value for name, value in values.items()]).sum()
        return total, {name: value.detach() for name, value in values.items()}


def build_losses(recipe: Recipe, trainer: Trainer) -> dict[str, Terms]:
    """The recipe's losses by phase. A weight of 0 leaves a term out; a name that nobody provides is an error."""
    if strange := sorted(recipe.losses.keys() - trainer.phases.keys()):
        raise ConfigError(
            f"losses.{strange[0]} is not a phase of the trainer {recipe.trainer['name']!r}",
            f"its phases are: {', '.join(trainer.phases)}",
        )
    for name in recipe.providers:
        host().owner("provider", str(provider_of(name, recipe.providers)["name"]))
    built: dict[str, Provider] = {}
    losses = {phase: terms_of(recipe, trainer, phase, recipe.losses.get(phase, {}), built) for phase in trainer.phases}
    if idle := [phase for phase, terms in losses.items() if not terms.terms]:
        raise ConfigError(f"no loss is configured for {', '.join(idle)}", f"give losses.{idle[0]}")
    return losses


def terms_of(
    recipe: Recipe, trainer: Trainer, phase: str, specs: Mapping[str, Mapping[str, Any]], built: dict[str, Provider]
) -> Terms:
    """The losses of one phase, with the providers that they pull in, each of which is ``built`` once."""
    names = trainer.provided(phase)
    given = frozenset(name for name in names if recipe.data.pairs or not name.startswith(PAIRED))
    found, needs = Terms(), set[str]()
    for term, spec in specs.items():
        options = {"name": term, **spec}
        weight = options.pop("weight", 1.0)
        if not weight:
            continue
        loss = build_part("loss", options)
        if missing := supply(loss.needs, given, type(trainer), phase, recipe.providers).missing:
            raise ConfigError(
                f"loss {term!r} "
                + lack(missing, str(recipe.trainer["name"]), str(recipe.generator.get("name")), phase),
                _what_to_do(missing, names, str(recipe.trainer["name"]), phase),
            )
        found.terms[term] = (weight, loss)
        needs |= loss.needs
    made: Supply = supply(needs, given, type(trainer), phase, recipe.providers)
    for name in made.providers:
        if name not in built:
            built[name] = build_part("provider", provider_of(name, recipe.providers))
            built[name].trainer = trainer
        found.providers[name] = built[name]
    found.held = made.held
    return found


def _what_to_do(missing: Mapping[str, str], names: frozenset[str], trainer: str, phase: str) -> str:
    if missing.keys() <= names:
        return "it looks at two pictures of one sitter: train with --pairs"
    return f"{who(missing, trainer, phase)}; {'; '.join(sorted(missing.values()))}"


def phases(trainer: Trainer, losses: Mapping[str, Terms], batch: Batch) -> Iterator[Step]:
    """What ``trainer`` yields for its phases, one after the other. PluginError if it breaks its promise."""

    def broken(what: str) -> PluginError:
        return PluginError(f"the trainer {type(trainer).__name__} {what}", "report this to the plugin's author")

    count, expected = 0, f"has the phases {', '.join(trainer.phases)}"
    steps = trainer.step(batch)
    if not isinstance(steps, Iterator):
        raise broken(f"{expected}, but its step does not yield")
    for phase in trainer.phases:
        if (made := next(steps, None)) is None:
            raise broken(f"{expected}, but a step yields {count} of {len(trainer.phases)} times")
        if made:
            made = {**made, **{name: batch[name] for name in losses[phase].held if name not in made}}
        if made and (missing := losses[phase].needs() - made.keys()):
            raise broken(f"promises {', '.join(sorted(missing))} in its phase {phase}, and does not yield it")
        yield made
        count += 1
    if next(steps, None) is not None:
        raise broken(f"{expected}, but a step yields more than {count} times")
