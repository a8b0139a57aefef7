"""``zoo train`` from Python: a recipe, folders of pictures and a folder for the run."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import torch

from zoo.catalogue.host import host
from zoo.errors import ConfigError, UsageError
from zoo.helpers.console import Console
from zoo.machine.device import pick_device
from zoo.machine.kernels import short, slow
from zoo.machine.memory import allowed
from zoo.recipe import Recipe, load_recipe
from zoo.train.checkpoint import checkpoints
from zoo.train.data import Pictures, drawn_in_colours
from zoo.train.engine import Engine, Options
from zoo.train.folder import claimed
from zoo.train.heldout import held_out
from zoo.train.index import Index, remembering
from zoo.train.plan import tell
from zoo.train.report import NoReport, Report
from zoo.train.split import given
from zoo.trainer import Trainer

log = logging.getLogger("zoo.train")
PICTURES = "pictures.json"  # in the folder of the run

KERNELS = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "200", "LRU_CACHE_CAPACITY": "200"}
"""As many as the largest step needs; what ``import zoo`` lets pictures have is less."""


def train(
    recipe: str | Path,
    photos: Sequence[Path],
    drawings: Sequence[tuple[str, Path]],
    options: Options,
    *,
    overrides: Sequence[str] = (),
    pairs: bool = False,
    test: tuple[Sequence[Path], Sequence[Path]] = ((), ()),
    console: Console | None = None,
) -> str:
    """Train ``recipe`` into the folder ``options.out``, or go on with the run that is there.

    ``photos`` are folders, ``drawings`` (name, folder), one for each hand, or none for a
    trainer that learns from photographs alone. ``test`` are folders of photographs, and of the drawings of the same
    sitters, that it is measured on instead of sitters that are held out of the others. Gives "" when the budget is used up, or
    the name of the signal that stopped the run; it is saved in both cases. Raises ``ZooError`` for bad input.
    """
    os.environ.update({name: most for name, most in KERNELS.items() if os.environ.get(name) == "64"})
    implied = [*(["data.pairs=true"] if pairs else []), *(["data.held_out=0"] if test[0] else [])]
    settings = load_recipe(recipe, [*overrides, *implied])
    if settings.data.colours is None and drawn_in_colours([path for _, path in drawings]):
        settings = load_recipe(recipe, [*overrides, *implied, "data.colours=true"])
    settings = with_hands(settings, drawings)
    if not settings.trainer:
        raise UsageError(
            f"recipe {settings.name!r} names no trainer: there is nothing to train", "zoo translate runs it"
        )
    _check(options)
    _check_room(settings)
    kind, index = _learns_from(settings, drawings), Index(options.out / PICTURES)
    with remembering(index):
        data = kind.pictures(photos, drawings, settings.data, options.seed, console)
    settings = settings.for_drawings(data.paper)
    engine = Engine(settings, data, options)
    first = engine.accelerator.is_main_process
    sitters = given(*test, [*photos, *(path for _, path in drawings)]) or data.held_out
    if first:
        tell(settings, data, [*((path.name, path) for path in photos), *drawings], sitters)
        if short(engine.device.type) and not options.bf16 and not checkpoints(options.out / "checkpoints"):
            log.info("steps are shorter here with --bf16, at a little less precision")
        if slow(engine.device.type) and options.bf16:
            log.warning(
                "steps are longer here with --bf16: the same command without it is faster, and goes on if it has begun"
            )
        engine.hold(held_out(sitters, data, engine.generator.size, engine.device))

    def report() -> Report:
        return Report(options.out, engine.step, engine.untold, options.log_every, console) if first else NoReport()

    with claimed(options.out, settings, _facts(photos, drawings, test, options, engine)) if first else nullcontext():
        if first and checkpoints(options.out / "checkpoints") and (changes := index.changes()):
            log.warning("the pictures are not those of the run so far, it goes on with what is there: %s", changes)
        engine.accelerator.wait_for_everyone()
        with _kept(data, options.out / PICTURES) if first else nullcontext():
            return engine.run(report)


@contextmanager
def _kept(data: Pictures, path: Path) -> Iterator[None]:
    """What is known of the picture files is there for the next call, however this one ends."""
    data.remember().save(path)
    try:
        yield
    finally:
        data.remember().save(path)


def _learns_from(recipe: Recipe, drawings: Sequence[tuple[str, Path]]) -> type[Trainer]:
    """The recipe's trainer. UsageError if it learns from drawings and there are none, or the other way round."""
    kind: type[Trainer] = host().part("trainer", str(recipe.trainer.get("name")))
    if kind.domains > 1 and not drawings:
        raise UsageError(f"recipe {recipe.name!r} learns from photographs and drawings", "give --drawings, too")
    if kind.domains == 1 and drawings:
        raise UsageError(f"recipe {recipe.name!r} learns from photographs alone", "leave out --drawings")
    return kind


def with_hands(recipe: Recipe, drawings: Sequence[tuple[str, Path]]) -> Recipe:
    """A recipe with a ``hand`` control gets the names of the drawings' folders for its choices."""
    names = [name for name, _ in drawings]
    hand = next((control for control in recipe.controls if control.get("name") == "hand"), None)
    if hand is None:
        if len(names) > 1:
            raise UsageError(
                f"recipe {recipe.name!r} draws in one hand, but {len(names)} folders of drawings are given",
                "use a conditional recipe (zoo parts recipe), or one folder",
            )
        return recipe
    if len(names) < 2 or len(set(names)) < len(names):
        raise UsageError(
            f"recipe {recipe.name!r} needs two or more folders of drawings with different names, got {', '.join(names)}",
            "give --drawings NAME=DIR for each hand",
        )
    controls = [{**c, "choices": names, "default": names[0]} if c is hand else c for c in recipe.controls]
    return recipe.model_copy(
        update={
            "controls": controls,
            "generator": {**recipe.generator, "labels": len(names)},
            "discriminator": {**recipe.discriminator, "labels": len(names)},
        }
    )


def _check(options: Options) -> None:
    if sum(value is not None for value in (options.steps, options.epochs, options.minutes)) > 1:
        raise UsageError("--steps, --epochs and --minutes exclude each other", "give one of them")
    for name in (
        "steps",
        "epochs",
        "minutes",
        "accumulate",
        "save_every",
        "preview_every",
        "measure_every",
        "log_every",
    ):
        value = getattr(options, name)
        if value is not None and not 0 < value < math.inf:
            raise ConfigError(f"--{name.replace('_', '-')} {value} is not a positive number", "give a number above 0")
    for name in ("seed", "workers"):
        if not 0 <= getattr(options, name) < 2**63:
            raise ConfigError(f"--{name} {getattr(options, name)} is out of range", "give 0 or more")
    if options.device is not None and pick_device(options.device).index:
        raise UsageError(
            f"--device {options.device} is not for training, which takes the first GPU that it sees",
            f"CUDA_VISIBLE_DEVICES={pick_device(options.device).index} zoo train … shows it that one only",
        )


def _check_room(recipe: Recipe) -> None:
    """ConfigError if the pictures of one step alone take more memory than there is."""
    height, width = recipe.data.size
    need = 2 * 3 * 4 * recipe.data.batch * height * width  # two domains, three colours, four bytes
    if need > (there := allowed(torch.device("cpu"), share=1.0)):
        raise ConfigError(
            f"data.batch {recipe.data.batch} of data.size {height}×{width} takes {need / 1e9:.1f} GB for pictures alone, "
            f"of {there / 1e9:.1f} GB that are free",
            "set data.batch or data.size lower, and --accumulate higher",
        )


def _facts(
    photos: Sequence[Path],
    drawings: Sequence[tuple[str, Path]],
    test: tuple[Sequence[Path], Sequence[Path]],
    options: Options,
    engine: Engine,
) -> dict[str, object]:
    """What must stay the same for a run to go on exactly, beside the recipe."""
    tests = {"tests": [[str(path.resolve()) for path in side] for side in test]} if test[0] else {}
    return {
        **tests,
        "photos": [str(path.resolve()) for path in photos],
        "drawings": {name: str(path.resolve()) for name, path in drawings},
        "seed": options.seed,
        "precision": "bf16" if options.bf16 else "fp32",
        "samples_per_step": engine.samples_per_step,
        "start_from": None if options.start_from is None else str(options.start_from.resolve()),
    }
