"""What fits what among the installed parts: blocks in generators, losses, generators and discriminators in trainers.

Known of classes alone: nothing is built or trained here. The tests train every pair that is said to work.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from zoo.catalogue.host import host
from zoo.errors import ZooError
from zoo.generator import Generator, build_part
from zoo.loss import Loss
from zoo.train.supply import lack, supply
from zoo.train.takes import discriminator_fault, generator_fault, side_option
from zoo.trainer import Trainer
from zoo.vocabulary import PAIRED, WORDS, told

State = Literal["works", "needs", "cannot"]
TABLES = (("block", "generator"), ("loss", "trainer"), ("generator", "trainer"), ("discriminator", "trainer"))
CONTRACTS: Mapping[str, type] = {"loss": Loss, "generator": Generator, "trainer": Trainer}
SIGNS: Mapping[State, str] = {"works": "✓", "needs": "+", "cannot": "–"}


@dataclass(frozen=True)
class Cell:
    """One pair. ``what`` is which option it needs, or why it cannot be, in the words of the error; ``short`` the same in a
    few; ``phase`` where a loss is at home."""

    row: str
    column: str
    state: State = "works"
    what: str = ""
    short: str = ""
    phase: str = ""


def cells(row: str, column: str) -> Iterator[Cell]:
    """All pairs of two kinds of parts, one of ``TABLES``, without those of plugins that cannot be used."""
    judged = {
        ("block", "generator"): _block,
        ("loss", "trainer"): _loss,
        ("generator", "trainer"): _generator,
        ("discriminator", "trainer"): _discriminator,
    }[row, column]
    for name in _names(row):
        for other in _names(column):
            yield judged(name, other)


def _block(block: str, generator: str) -> Cell:
    if "block" in inspect.signature(host().part("generator", generator)).parameters:
        return Cell(block, generator)
    why = f"generator {generator!r} has no option 'block'"
    return Cell(block, generator, "cannot", why, "has no blocks")


def _generator(generator: str, trainer: str) -> Cell:
    why = generator_fault(trainer, generator)
    return Cell(generator, trainer, "cannot", why, why) if why else Cell(generator, trainer)


def _discriminator(discriminator: str, trainer: str) -> Cell:
    if why := discriminator_fault(trainer, discriminator):
        return Cell(discriminator, trainer, "cannot", why, why)
    if option := side_option(discriminator):
        what = f"discriminator.{option}, the side of data.size"
        return Cell(discriminator, trainer, "needs", what, what)
    return Cell(discriminator, trainer)


def _loss(loss: str, trainer: str) -> Cell:
    """Is there a phase in which the loss has all that it needs: as it is, with pairs, or with an option of a generator?"""
    kind = host().part("trainer", trainer)
    try:
        needs = _needs(loss)
    except ZooError as error:  # it says what it needs when it is built, and cannot be
        return Cell(loss, trainer, "cannot", error.message, error.message)
    fitting = [
        name for name in _names("generator", host().owner("trainer", trainer)) if not generator_fault(trainer, name)
    ]
    phases = sorted(kind.phases, key=lambda phase: kind.exported in kind.phases[phase])[::-1]
    least: dict[str, str] = {}
    where = phases[0]
    for phase in phases:
        given = frozenset(name for name in kind.provides[phase] if not name.startswith(PAIRED))
        missing = supply(needs, given | _makes(kind, phase, next(iter(fitting), "")), kind, phase).missing
        if not missing:
            return Cell(loss, trainer, phase=phase)
        if not least or len(missing) < len(least):
            least, where = missing, phase
    for phase in phases:
        given = kind.provides[phase] | _makes(kind, phase, next(iter(fitting), ""))
        if not supply(needs, given, kind, phase).missing:
            return Cell(loss, trainer, "needs", "--pairs", "--pairs", phase)
        for generator in fitting:
            options = _options(kind, phase, generator)
            given = kind.provides[phase] | _makes(kind, phase, generator) | options.keys()
            if not supply(needs, given, kind, phase).missing:
                asked = sorted({options[name] for name in needs & options.keys() - _makes(kind, phase, generator)})
                words = [*([f"generator.name={generator}"] if generator != fitting[0] else []), *asked]
                what = " ".join(f"--set {word}" for word in words)
                return Cell(loss, trainer, "needs", what, what, phase)
    short = (
        f"no {', '.join(told(name) for name in sorted(least))}" if kind.teaches == "image" else "it makes no pictures"
    )
    return Cell(loss, trainer, "cannot", lack(least, trainer, next(iter(fitting), "None"), where), short, where)


def _needs(loss: str) -> frozenset[str]:
    kind = host().part("loss", loss)
    needs: frozenset[str] = kind.needs or build_part("loss", loss).needs
    return needs


def _makes(trainer: type[Trainer], phase: str, generator: str) -> frozenset[str]:
    """What the trainer passes on of a generator as it is unless told otherwise."""
    if not generator or phase not in trainer.passes_on:
        return frozenset()
    kind: type[Generator] = host().part("generator", generator)
    return frozenset(before + name for before in trainer.passes_on[phase] for name in kind.makes)


def _options(trainer: type[Trainer], phase: str, generator: str) -> dict[str, str]:
    """What it would pass on with an option, and the option."""
    kind: type[Generator] = host().part("generator", generator)
    fronts = trainer.passes_on.get(phase, {})
    return {front + name: f"generator.{option}" for front in fronts for name, option in kind.can_make.items()}


def _names(kind: str, first: str = "") -> list[str]:
    """The usable parts of a kind, those of the plugin ``first`` in front."""
    found = []
    for part in sorted(host().parts(), key=lambda part: part.owner != first):
        if part.kind == kind:
            try:
                there = host().part(kind, part.name)
            except ZooError:
                continue
            if kind not in CONTRACTS or (isinstance(there, type) and issubclass(there, CONTRACTS[kind])):
                found.append(part.name)
    return found


# -- written down -------------------------------------------------------------------------------------------------


def as_data() -> list[dict[str, str]]:
    """Every pair, for a program."""
    return [
        {row: cell.row, column: cell.column, "state": cell.state, "what": cell.what}
        for row, column in TABLES
        for cell in cells(row, column)
    ]


def grid(found: Iterable[Cell]) -> tuple[list[str], list[list[str]]]:
    """The columns' names, and for each row its name and signs."""
    rows: dict[str, dict[str, Cell]] = {}
    for cell in found:
        rows.setdefault(cell.row, {})[cell.column] = cell
    columns = list(next(iter(rows.values()), {}))
    return columns, [[row, *(SIGNS[by[column].state] for column in columns)] for row, by in rows.items()]


def notes(found: Iterable[Cell]) -> Iterator[tuple[State, str, str, list[str]]]:
    """What is to be said of pairs that do not work as they are: state, row, in a few words, and of which columns."""
    grouped: dict[tuple[State, str, str], list[str]] = {}
    for cell in found:
        if cell.state != "works":
            grouped.setdefault((cell.state, cell.row, cell.short), []).append(cell.column)
    for (state, row, short), columns in grouped.items():
        yield state, row, short, columns


def page() -> str:
    """docs/matrix.md."""
    lines = [HEAD]
    for row, column in TABLES:
        found = list(cells(row, column))
        heads, rows = grid(found)
        lines += [
            f"## {row.capitalize()}{'es' if row.endswith('s') else 's'} in {column}s",
            "",
            _row([row, *(f"`{head}`" for head in heads)]),
        ]
        lines += [_row(["---", *([":-:"] * len(heads))]), *(_row([f"`{name}`", *signs]) for name, *signs in rows), ""]
        lines += [
            f"- `{name}` in {', '.join(f'`{one}`' for one in columns)}{' needs' if state == 'needs' else ':'} {_marked(short)}"
            for state, name, short, columns in notes(found)
        ] + [""]
    lines += [WORDS_HEAD, _row(["name", "form", "range", "what it is"]), _row(["---"] * 4)]
    lines += [_row([f"`{name}`", word.shape.replace("|", "\\|"), word.span, word.what]) for name, word in WORDS.items()]
    return "\n".join(lines).replace("\n\n\n", "\n\n") + "\n"


def _row(found: Iterable[str]) -> str:
    return f"| {' | '.join(found)} |"


def _marked(short: str) -> str:
    return f"`{short}`" if short.startswith("--") else short


def counts(found: Iterable[Cell]) -> dict[State, int]:
    """How many pairs are in each state."""
    states = [cell.state for cell in found]
    return {state: states.count(state) for state in SIGNS}


HEAD = """\
# What fits what

Written by `zoo parts --matrix --markdown`. ✓ works as it is, + needs an option, – cannot be, and is refused before the first
step with the reason. A loss works where the trainer, its generator or a [provider](plugins.md#provider) has what it reads; which
words there are says [the vocabulary](#the-vocabulary). The tests train every pair that works for two steps.
"""
WORDS_HEAD = """\
## The vocabulary

What a training step holds, under which name. N pictures, H and W their size, U action units, E elements of a latent, T stages, C
channels, h and w another size, `…` any more. `reverse_` in front of a name is the same on the way back, from target to
source; what begins with `paired_` is there with pairs only.
"""
