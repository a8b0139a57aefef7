"""Checkpoints: everything a run needs to go on, as one safetensors file that is whole or not there."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from zoo.errors import IntegrityError

_NAME = re.compile(r"step-(\d{8})\.safetensors")


def save(folder: Path, step: int, tensors: Mapping[str, Tensor], facts: Mapping[str, Any], keep: int = 2) -> Path:
    """Write ``folder/step-NNNNNNNN.safetensors`` in one move and drop all but the newest ``keep``."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"step-{step:08d}.safetensors"
    part = path.with_suffix(".part")
    # A copy of each: safetensors refuses tensors that share memory, and views would save their whole storage.
    whole = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    save_file(whole, part, metadata={"zoo-checkpoint": json.dumps({"step": step, **facts})})
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(path)
    for old in sorted(checkpoints(folder))[:-keep]:
        old.unlink()
    return path


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a run, oldest first."""
    return sorted(path for path in folder.glob("step-*.safetensors") if _NAME.fullmatch(path.name))


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and facts of a checkpoint; a damaged file raises ``IntegrityError``."""
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {})["zoo-checkpoint"])
            return {name: file.get_tensor(name) for name in file.keys()}, facts  # noqa: SIM118
    except (SafetensorError, KeyError, ValueError, OSError) as exc:
        raise IntegrityError(
            f"{path} is not a whole checkpoint: {exc}", "delete it; the one before it is used"
        ) from exc


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
