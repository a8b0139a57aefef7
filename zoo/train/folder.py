"""The folder of a run says in ``run.yaml`` whose it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from zoo.errors import ConfigError, NotFoundError, UsageError
from zoo.files import atomic
from zoo.plugins import describe
from zoo.recipe import Recipe
from zoo.train.checkpoint import checkpoints


def claim(out: Path, recipe: Recipe, facts: dict[str, Any]) -> None:
    """Make ``out`` the folder of this run, or check that it already is: going on with another recipe is an error.

    A run that has not come to a checkpoint yet may still be changed.
    """
    path = out / "run.yaml"
    mine = {"recipe": recipe.model_dump(mode="json"), **facts}
    if not path.exists() and out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise UsageError(f"{out} is not empty and holds no run", "give --out a new folder")
    if not checkpoints(out / "checkpoints"):
        with atomic(path) as part:
            part.write_text(yaml.safe_dump(mine, sort_keys=False, allow_unicode=True), encoding="utf-8")
        return
    if different := sorted(_differences(_learned(settings(out)), _learned(mine))):
        raise UsageError(
            f"{out} holds a run with other settings: {', '.join(different)}",
            "repeat its command to go on (only the budget may change), or give --out a new folder",
        )


def _learned(facts: dict[str, Any]) -> dict[str, Any]:
    """What a run's weights depend on: a plugin's update may change how a recipe is described, or its model used."""
    recipe = {key: value for key, value in facts["recipe"].items() if key != "summary"}
    return {**facts, "recipe": {**recipe, "data": {**recipe["data"], "working": None}}}


def _differences(one: Any, other: Any, path: str = "") -> Iterator[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        for key in {*one, *other}:
            yield from _differences(one.get(key), other.get(key), f"{path}.{key}" if path else str(key))
    elif one != other:
        yield path


def settings(run: Path) -> dict[str, Any]:
    """What ``run.yaml`` in the folder of a run holds: the recipe and the facts that it was claimed with."""
    path = run / "run.yaml"
    if not path.is_file():
        raise NotFoundError(f"{run} is not the folder of a training run", "give what zoo train had as --out")
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
        found["recipe"] = Recipe.model_validate(found["recipe"]).model_dump(mode="json")
    except (yaml.YAMLError, ValidationError, UnicodeDecodeError, TypeError, KeyError) as exc:
        raise ConfigError(f"{path} is damaged: {describe(exc)}", "restore it; it holds the run's recipe") from exc
    return found
