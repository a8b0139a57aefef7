"""Checkpoints: everything a run needs to go on, as one safetensors file that is whole or not there.

A checksum over its facts and tensors is among its facts: after four changed bytes it is not whole any more.
"""

from __future__ import annotations

import hashlib
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

from zoo.errors import IntegrityError, ZooError, describe
from zoo.helpers.files import atomic, clean, sync

log = logging.getLogger("zoo.train")
_NAME = re.compile(r"step-(\d{8,})\.safetensors")
_EVER = 1e12  # seconds
_LEFT = re.compile(r"\.tmp[0-9A-Za-z]{6}")  # what safetensors writes into first
_KEY, _OLD = "zoo-checkpoint-2", "zoo-checkpoint"  # under which the facts are; the old ones have no checksum


def save(folder: Path, step: int, tensors: Mapping[str, Tensor], facts: Mapping[str, Any], keep: int = 2) -> Path:
    """Write ``folder/step-NNNNNNNN.safetensors`` in one move and drop all but the newest ``keep``."""
    path = folder / f"step-{step:08d}.safetensors"
    # A copy of each: safetensors refuses tensors that share memory, and views would save their whole storage.
    whole = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    about = {"step": step, **facts}
    about["sha256"] = _digest(whole, about)
    try:
        with atomic(path) as part:
            save_file(whole, part, metadata={_KEY: json.dumps(about)})
        sync(folder)  # the new name is on the disk before an old one goes
    except (SafetensorError, OSError) as exc:
        raise ZooError(f"{path} cannot be written: {exc}", "make room; the same command goes on from the last") from exc
    for old in [one for one in checkpoints(folder) if _step(one) <= step][:-keep]:  # a later one was not whole
        old.unlink()
    return path


def _digest(tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> str:
    """SHA-256 over the facts, and over each tensor's name, type, shape and bytes."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"\n{name} {tensor.dtype} {[*tensor.shape]}\n".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a run, oldest first."""
    found = (path for path in folder.glob("step-*.safetensors") if _NAME.fullmatch(path.name) and path.is_file())
    return sorted(found, key=_step)


def _step(path: Path) -> int:
    return int(path.stem.removeprefix("step-"))


def tidy(folder: Path) -> None:
    """Remove what a killed process left half written, by us or by safetensors, and nothing else that is hidden.

    Right only while no other one saves."""
    clean(folder)
    for path in folder.glob(".tmp*"):
        if _LEFT.fullmatch(path.name) and path.is_file() and not path.is_symlink():
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
            about = file.metadata() or {}
            facts = _checked(json.loads(about[_KEY if _KEY in about else _OLD]), _step(path))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if _KEY not in about:
                log.warning("%s is of an older zoo and has no checksum: it is taken as it is", path)
            elif facts.pop("sha256", None) != _digest(tensors, facts):
                raise ValueError("it has other bytes than its checksum says")
            return tensors, facts
    except PermissionError as exc:
        raise ZooError(f"{path} may not be read", "check its permissions") from exc
    except (SafetensorError, KeyError, ValueError, RecursionError, OSError) as exc:
        raise IntegrityError(f"{path} is not a whole checkpoint: {describe(exc)}", "delete it") from exc


def _checked(facts: Any, step: int) -> dict[str, Any]:
    """``facts`` if they are what the engine writes at this step; ValueError."""
    if not isinstance(facts, dict):
        raise ValueError("its facts are no facts")
    untold = facts.get("untold", {})
    parts = [untold.get(name, {}) if isinstance(untold, dict) else None for name in ("sums", "counts")]
    wrong = {
        "step": type(facts.get("step")) is not int or facts["step"] != step,
        "seconds": not _is_number(facts.get("seconds")) or not 0 <= facts["seconds"] < _EVER,
        "total": "total" not in facts
        or not (facts["total"] is None or (type(facts["total"]) is int and facts["total"] >= 0)),
        "minutes": not (facts.get("minutes") is None or _is_number(facts["minutes"])),
        "untold": not all(isinstance(part, dict) and all(map(_is_number, part.values())) for part in parts),
    }
    for name, is_wrong in wrong.items():
        if is_wrong:
            raise ValueError(f"{name} is {str(facts.get(name, 'missing'))[:60]}")
    return facts


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def flatten(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}/{name}": tensor for name, tensor in state.items()}


def select(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name[len(prefix) + 1 :]: tensor for name, tensor in tensors.items() if name.startswith(prefix + "/")}


def optimiser_state(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The tensors of Adam's state by ``parameter number/name``; rates and betas are the recipe's."""
    state = optimiser.state_dict()["state"]
    return {f"{i}/{name}": torch.as_tensor(value) for i, entry in state.items() for name, value in entry.items()}


def load_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """ValueError for a state that is not of these parameters."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        number, _, name = key.partition("/")
        state.setdefault(int(number), {})[name] = tensor
    parameters = dict(enumerate(p for group in optimiser.param_groups for p in group["params"]))
    for at, entry in state.items():
        if at not in parameters or entry.keys() != {"step", "exp_avg", "exp_avg_sq"}:
            raise ValueError(f"the optimiser's state {at} is not one of Adam")
        if any(tensor.shape not in ((), parameters[at].shape) for tensor in entry.values()):
            raise ValueError(f"the optimiser's state {at} has another shape")
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
