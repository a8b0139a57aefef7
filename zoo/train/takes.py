"""Which generators and discriminators a trainer takes, asked of their classes before anything is built."""

from __future__ import annotations

import inspect
from typing import Any

from zoo.catalogue.host import host
from zoo.errors import ConfigError, ZooError
from zoo.generator import Generator, build_part
from zoo.recipe import Recipe
from zoo.trainer import Trainer


def build_trainer(recipe: Recipe) -> Trainer:
    """The recipe's trainer with its networks. ConfigError where these do not fit it, and why."""
    name = str(recipe.trainer.get("name"))
    for kind, spec, fault in (
        ("generator", recipe.generator, generator_fault),
        ("discriminator", recipe.discriminator, discriminator_fault),
    ):
        part = spec.get("name")
        if isinstance(part, str) and isinstance(recipe.trainer.get("name"), str) and (why := fault(name, part)):
            raise ConfigError(why, _others(kind, name, part))
    _check_side(recipe)
    trainer: Trainer = build_part("trainer", recipe.trainer, recipe=recipe)
    return trainer


def generator_fault(trainer: str, generator: str) -> str:
    """Why the trainer cannot train the generator; "" if it can."""
    teacher, kind = host().part("trainer", trainer), host().part("generator", generator)
    if not (_is(teacher, Trainer) and _is(kind, Generator)):
        return ""  # another check says so
    if not kind.learns:
        return f"nothing of the generator {generator!r} is trained"
    if kind.learns != teacher.teaches:
        return f"the generator {generator!r} learns {kind.learns!r}, and the trainer {trainer!r} teaches {teacher.teaches!r}"
    if asked := sorted(_asks(kind) - teacher.gives):
        return f"the generator {generator!r} needs {', '.join(asked)}, which the trainer {trainer!r} does not give it"
    if lacking := sorted(name for name in teacher.uses if not _has(kind, name)):
        return f"the trainer {trainer!r} works with {', '.join(lacking)} of its generator, which {generator!r} has not"
    return ""


def discriminator_fault(trainer: str, discriminator: str) -> str:
    """Why the trainer cannot work with the discriminator; "" if it can."""
    teacher, kind = host().part("trainer", trainer), host().part("discriminator", discriminator)
    if not _is(teacher, Trainer):
        return ""
    if teacher.judges is None:
        return f"the trainer {trainer!r} has no discriminator"
    if lacking := sorted(name for name in teacher.judges if not _has(kind, name)):
        return (
            f"the trainer {trainer!r} works with {', '.join(lacking)} of its discriminator, which "
            f"{discriminator!r} has not"
        )
    return ""


def side_option(discriminator: str) -> str:
    """The option that must be the side of the pictures, for a discriminator of pictures of one size; else ""."""
    return str(getattr(host().part("discriminator", discriminator), "side", ""))


def _check_side(recipe: Recipe) -> None:
    name = recipe.discriminator.get("name")
    if not isinstance(name, str) or not (option := side_option(name)):
        return
    default = inspect.signature(host().part("discriminator", name)).parameters[option].default
    side, (height, width) = recipe.discriminator.get(option, default), recipe.data.size
    if not side == height == width:
        raise ConfigError(
            f"the discriminator {name!r} judges pictures of {side}×{side}, and data.size is {height}×{width}",
            f"--set discriminator.{option}={height}" if height == width else "take another discriminator, or a square",
        )


def _others(kind: str, trainer: str, part: str) -> str:
    """What fits instead."""
    fault = generator_fault if kind == "generator" else discriminator_fault
    parts = {wanted: [one.name for one in host().parts() if one.kind == wanted] for wanted in (kind, "trainer")}
    fitting = {
        kind: [name for name in parts[kind] if _fits(fault, trainer, name)],
        "trainer": [name for name in parts["trainer"] if _fits(fault, name, part)],
    }
    hints = [f"{what}s that fit: {', '.join(names)}" for what, names in fitting.items() if names]
    return "; ".join(hints) or f"leave out the {kind}"


def _fits(fault: Any, trainer: str, part: str) -> bool:
    try:
        return not fault(trainer, part)
    except ZooError:  # of a broken plugin
        return False


def _asks(kind: type[Generator]) -> frozenset[str]:
    """Inputs beside the picture that have no default, or are said to be needed."""
    inputs = list(inspect.signature(kind.parts).parameters.values())[2:]  # behind self and the picture
    bare = {
        one.name for one in inputs if one.default is one.empty and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
    }
    return kind.asks | bare


def _is(kind: Any, contract: type) -> bool:
    return isinstance(kind, type) and issubclass(kind, contract)


def _has(kind: Any, name: str) -> bool:
    """Is it an attribute of the class, or one that its annotations promise of its instances?"""
    bases = inspect.getmro(kind) if isinstance(kind, type) else ()
    return hasattr(kind, name) or any(name in inspect.get_annotations(base) for base in bases)
