"""How the losses of a phase come by what they need: from the trainer, from providers, or not at all, and why.

All of it is asked of classes, so that the catalogue knows it without building a network.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from zoo.catalogue.host import host
from zoo.errors import ZooError
from zoo.provider import Provider
from zoo.train.takes import generator_fault
from zoo.trainer import Trainer
from zoo.vocabulary import told


@dataclass
class Supply:
    """What is made beside what a phase has: ``providers`` in the order in which they are called. ``missing`` is what
    nobody makes, with what is told of it; ``held`` is what they read of the batch."""

    providers: list[str] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    held: frozenset[str] = frozenset()


def supply(
    needs: Iterable[str],
    given: frozenset[str],
    trainer: type[Trainer],
    phase: str,
    chosen: Mapping[str, Mapping[str, Any]] = {},
) -> Supply:
    """Who makes ``needs`` in a phase that has ``given``; ``chosen`` are the recipe's ``providers``."""
    made, held = Supply(), trainer.held()
    there = given | held if trainer.exported in trainer.phases[phase] else given
    for name in sorted(needs):
        if why := _want(name, there, made, trainer, phase, chosen, ()):
            made.missing[name] = why
    read = frozenset(needs).union(*(_kind(name, chosen).needs for name in made.providers))
    made.held = (held if made.providers else read & held) - given
    return made


def _want(
    name: str,
    there: frozenset[str],
    made: Supply,
    trainer: type[Trainer],
    phase: str,
    chosen: Mapping[str, Mapping[str, Any]],
    asking: tuple[str, ...],
) -> str:
    """Put ``name`` and what it is made of among the providers, unless it is there; "" or why that cannot be."""
    if name in there or name in made.providers:
        return ""
    if name in asking or not (_provided(name) or name in chosen):
        return told(name)
    kind = _kind(name, chosen)
    if why := kind.misfit(trainer, phase):
        return f"{told(name)}; {why}"
    for need in sorted(kind.needs):
        if _want(need, there | trainer.held(), made, trainer, phase, chosen, (*asking, name)):
            return f"{told(name)}, made of {told(need)}"
    made.providers.append(name)
    return ""


def provider_of(name: str, chosen: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The recipe's provider of a name with its options, else the one that is called like it."""
    return {"name": name.replace("_", "-"), **chosen.get(name, {})}


def _provided(name: str) -> bool:
    return any(part.kind == "provider" and part.name == name.replace("_", "-") for part in host().parts())


def _kind(name: str, chosen: Mapping[str, Mapping[str, Any]]) -> type[Provider]:
    kind: type[Provider] = host().part("provider", str(provider_of(name, chosen)["name"]))
    return kind


def lack(missing: Iterable[str], trainer: str, generator: str, phase: str) -> str:
    """What a loss is told that cannot be had: what it needs, and who has not got it."""
    return (
        f"needs {', '.join(sorted(missing))}, which the trainer {trainer!r} with the generator {generator!r} does not "
        f"provide in its phase {phase!r}"
    )


def who(missing: Iterable[str], name: str, phase: str) -> str:
    """Installed trainers that provide all of ``missing``, and generators that make it for the trainer ``name``."""
    trainer: type[Trainer] = host().part("trainer", name)
    wanted, found = _roots(missing, trainer, phase), dict[str, list[str]](trainer=[], generator=[])
    for part in host().parts():
        if part.kind not in found:
            continue
        try:
            kind = host().part(part.kind, part.name)
            if part.kind == "trainer":
                having = [f"{part.name} ({one})" for one, names in kind.provides.items() if wanted <= names]
            elif phase not in trainer.passes_on or generator_fault(name, part.name):
                having = []
            elif wanted <= kind.makes:
                having = [part.name]
            elif wanted <= kind.makes | kind.can_make.keys():
                options = sorted({kind.can_make[name] for name in wanted & kind.can_make.keys()})
                having = [f"{part.name} with {' '.join(f'--set generator.{option}' for option in options)}"]
            else:
                having = []
        except (ZooError, AttributeError):  # a broken plugin cannot help here
            continue
        found[part.kind] += having
    hints = [f"{kind}s that have it: {', '.join(names)}" for kind, names in found.items() if names]
    return "; ".join(hints) or "no installed trainer, generator or provider has it"


def _roots(missing: Iterable[str], trainer: type[Trainer], phase: str) -> frozenset[str]:
    """What is missing; in the place of what a provider makes that which it lacks itself."""
    names = frozenset(missing)
    there = frozenset(trainer.provides.get(phase, ())) | trainer.held()
    lacking = {
        need for name in names if _provided(name) for need in _kind(name, {}).needs - there if not _provided(need)
    }
    return frozenset(name for name in names if not _provided(name)) | lacking or names
