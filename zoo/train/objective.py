"""What a phase of training minimises: the recipe's losses, checked against what the trainer provides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from zoo.catalogue.host import host
from zoo.errors import ConfigError, PluginError, ZooError
from zoo.generator import build_part
from zoo.loss import Loss
from zoo.recipe import Recipe
from zoo.trainer import PAIRED, Batch, Step, Trainer


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
        names = trainer.provided(phase)
        provided = {name for name in names if recipe.data.pairs or not name.startswith(PAIRED)}
        for term, spec in terms.items():
            options = {"name": term, **spec}
            weight = options.pop("weight", 1.0)
            if not weight:
                continue
            loss = build_part("loss", options)
            if missing := loss.needs - provided:
                raise ConfigError(
                    f"loss {term!r} needs {', '.join(sorted(missing))}, which the trainer "
                    f"{recipe.trainer['name']!r} with the generator {recipe.generator.get('name')!r} does not provide in "
                    f"its phase {phase!r}",
                    "it looks at two pictures of one sitter: train with --pairs"
                    if missing <= names
                    else _who(missing, trainer, phase),
                )
            losses[phase].terms[term] = (weight, loss)
    if idle := [phase for phase, terms in losses.items() if not terms.terms]:
        raise ConfigError(f"no loss is configured for {', '.join(idle)}", f"give losses.{idle[0]}")
    return losses


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
        if made and (missing := losses[phase].needs() - made.keys()):
            raise broken(f"promises {', '.join(sorted(missing))} in its phase {phase}, and does not yield it")
        yield made
        count += 1
    if next(steps, None) is not None:
        raise broken(f"{expected}, but a step yields more than {count} times")


def _who(missing: frozenset[str], trainer: Trainer, phase: str) -> str:
    """Installed trainers that provide all of ``missing``, or generators that make it for this trainer."""
    found: dict[str, list[str]] = {"trainer": [], "generator": []}
    for part in host().parts():
        if part.kind not in found:
            continue
        try:
            kind = host().part(part.kind, part.name)
            if part.kind == "trainer":
                having = [f"{part.name} ({name})" for name, names in kind.provides.items() if missing <= names]
            else:
                having = [part.name] if phase in trainer.passes_on and missing <= kind.makes else []
        except (ZooError, AttributeError):  # a broken plugin cannot help here
            continue
        found[part.kind] += having
    hints = [f"{kind}s that have it: {', '.join(names)}" for kind, names in found.items() if names]
    return "; ".join(hints) or "no installed trainer or generator has it"
