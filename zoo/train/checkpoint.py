"""Checkpoints: everything a run needs to go on, as one safetensors file that is whole or not there."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from zoo.errors import IntegrityError, ZooError
from zoo.helpers.files import atomic, sync

log = logging.getLogger("zoo.train")
_NAME = re.compile(r"step-(\d{8})\.safetensors")


def save(folder: Path, step: int, tensors: Mapping[str, Tensor], facts: Mapping[str, Any], keep: int = 2) -> Path:
    """Write ``folder/step-NNNNNNNN.safetensors`` in one move and drop all but the newest ``keep``."""
    path = folder / f"step-{step:08d}.safetensors"
    # A copy of each: safetensors refuses tensors that share memory, and views would save their whole storage.
    whole = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    try:
        with atomic(path) as part:
            save_file(whole, part, metadata={"zoo-checkpoint": json.dumps({"step": step, **facts})})
        sync(folder)  # the new name is on the disk before an old one goes
    except (SafetensorError, OSError) as exc:
        raise ZooError(f"{path} cannot be written: {exc}", "make room; the same command goes on from the last") from exc
    for old in sorted(checkpoints(folder))[:-keep]:
        old.unlink()
    return path


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a run, oldest first."""
    return sorted(path for path in folder.glob("step-*.safetensors") if _NAME.fullmatch(path.name))


def tidy(folder: Path) -> None:
    """Remove what a killed process left half written, by us or by safetensors. Right only while no other one saves."""
    for path in folder.glob(".*"):
        path.unlink()


def set_aside(folder: Path, step: int) -> None:
    """The checkpoint of ``step``, if there is one, is no good: it keeps its name with ``.diverged`` behind it."""
    path = folder / f"step-{step:08d}.safetensors"
    if path.is_file():
        aside = path.rename(path.with_name(f"{path.name}.diverged"))
        log.warning("the step after %s fails: it is kept as %s, and the one before goes on", path, aside.name)


def newest(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Tensors and facts of the newest whole checkpoint; None where there is none at all.

    A damaged one is passed over with a warning; ``IntegrityError`` if all are.
    """
    found = checkpoints(folder)
    for path in reversed(found):
        try:
            return load(path)
        except IntegrityError as exc:
            log.warning("%s; the one before it is used", exc.message)
    if found:
        raise IntegrityError(f"no checkpoint in {folder} is whole", "move the folder away to begin again")
    return None


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and facts of a checkpoint; a damaged file raises ``IntegrityError``."""
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {})["zoo-checkpoint"])
            return {name: file.get_tensor(name) for name in file.keys()}, facts  # noqa: SIM118
    except PermissionError as exc:
        raise ZooError(f"{path} may not be read", "check its permissions") from exc
    except (SafetensorError, KeyError, ValueError, OSError) as exc:
        raise IntegrityError(f"{path} is not a whole checkpoint: {exc}", "delete it") from exc


def flatten(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}/{name}": tensor for name, tensor in state.items()}


def select(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name[len(prefix) + 1 :]: tensor for name, tensor in tensors.items() if name.startswith(prefix + "/")}


def optimiser_state(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The tensors of Adam's state by ``parameter number/name``; rates and betas are the recipe's."""
    state = optimiser.state_dict()["state"]
    return {f"{i}/{name}": torch.as_tensor(value) for i, entry in state.items() for name, value in entry.items()}


def load_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        number, _, name = key.partition("/")
        state.setdefault(int(number), {})[name] = tensor
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
