"""The folder of a run says in ``run.yaml`` whose it is."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from zoo.errors import ConfigError, NotFoundError, UsageError, ZooError, describe
from zoo.helpers.files import atomic, clean, is_part
from zoo.helpers.reading import read_yaml
from zoo.recipe import Recipe
from zoo.train.checkpoint import checkpoints, set_aside, tidy

log = logging.getLogger("zoo.train")
LOCK = ".lock"
RUN = "run.yaml"
OF_A_RUN = ("checkpoints", "previews", "tensorboard")
"""The folders in that of a run."""


class _Facts(BaseModel):
    """What ``run.yaml`` holds beside the recipe."""

    photos: list[str]
    drawings: dict[str, str]
    seed: int
    precision: str
    samples_per_step: int
    start_from: str | None


DIVERGED = "diverged"
CURES = ("recipe.optimiser.lr", "recipe.optimiser.rates", "precision")  # what may change after a loss that is no number


class Diverged(ZooError):
    """A loss that is not a number after ``step`` steps. The run may go on with another rate or precision."""

    def __init__(self, message: str, hint: str, step: int) -> None:
        super().__init__(message, hint)
        self.step = step


@contextmanager
def claimed(out: Path, recipe: Recipe, facts: dict[str, Any]) -> Iterator[None]:
    """Make ``out`` the folder of this run, or check that it already is, and keep other processes out for the block.

    Going on with another recipe is an error, but a run that has not come to a checkpoint yet may still be changed, and
    after a loss that was not a number so may what cures that.
    """
    if not (out / RUN).exists() and out.exists() and not (out.is_dir() and all(map(_is_ours, out.iterdir()))):
        raise UsageError(f"{out} is not empty and holds no run", "give --out a new folder")
    out.mkdir(parents=True, exist_ok=True)
    with _locked(out):
        clean(out)  # what a killed process left half written
        clean(out / "previews")
        tidy(out / "checkpoints")
        mine = {"recipe": recipe.model_dump(mode="json"), **facts}
        _write_or_compare(out, mine)
        try:
            yield
        except Diverged as exc:
            set_aside(out / "checkpoints", exc.step)
            _write(out, {**mine, DIVERGED: True})
            raise


def _is_ours(path: Path) -> bool:
    """Is it what remains of a run that was killed before it wrote ``run.yaml``?"""
    return path.name == LOCK or is_part(path)


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    """UsageError if another process trains in ``out``. A lock goes with its process, however that ends.

    It is of the kind that forked processes do not share: the workers that prepare pictures outlive a killed run by
    some seconds.
    """
    with (out / LOCK).open("ab") as file:
        try:
            import fcntl

            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as exc:
            raise UsageError(
                f"another process is training in {out}", "wait for it, or give --out a new folder"
            ) from exc
        except (ImportError, OSError) as exc:  # Windows; network drives without locks
            log.warning("%s cannot be locked (%s): start only one process there", out, exc)
        yield


def _write_or_compare(out: Path, mine: dict[str, Any]) -> None:
    if not checkpoints(out / "checkpoints"):
        _write(out, mine)
        return
    before = settings(out)
    diverged = before.pop(DIVERGED, False)
    different = sorted(_differences(_learned(before), _learned(mine)))
    cures = [path for path in different if diverged and path.startswith(CURES)]
    if refused := [path for path in different if path not in cures]:
        raise UsageError(
            f"{out} holds a run with other settings: {', '.join(refused)}",
            "repeat its command to go on (only the budget may change), or give --out a new folder",
        )
    if cures:
        log.info("going on with other settings than before the loss was no number: %s", ", ".join(cures))
        _write(out, mine)


def _write(out: Path, mine: dict[str, Any]) -> None:
    with atomic(out / RUN) as part:
        part.write_text(yaml.safe_dump(mine, sort_keys=False, allow_unicode=True), encoding="utf-8")


def _learned(facts: dict[str, Any]) -> dict[str, Any]:
    """What a run's weights depend on: a plugin's update may change how a recipe is described, or its model used. That drawings are
    in colours shows in what it changes."""
    recipe = {key: value for key, value in facts["recipe"].items() if key != "summary"}
    return {**facts, "recipe": {**recipe, "data": {**recipe["data"], "working": None, "colours": None}}}


def _differences(one: Any, other: Any, path: str = "") -> Iterator[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        for key in {*one, *other}:
            yield from _differences(one.get(key), other.get(key), f"{path}.{key}" if path else str(key))
    elif one != other:
        yield path


def settings(run: Path) -> dict[str, Any]:
    """What ``run.yaml`` in the folder of a run holds: the recipe and the facts that it was claimed with."""
    path = run / RUN
    if not path.is_file():
        raise NotFoundError(f"{run} is not the folder of a training run", "give what zoo train had as --out")
    try:
        found = read_yaml(path)
        found["recipe"] = Recipe.model_validate(found["recipe"]).model_dump(mode="json")
        _Facts.model_validate(found)
    except (ConfigError, ValidationError, ValueError, TypeError, KeyError) as exc:
        raise ConfigError(f"{path} is damaged: {describe(exc)}", "restore it; it holds the run's recipe") from exc
    return found
