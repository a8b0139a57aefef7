"""What a run begins with: the weights of another."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from zoo.errors import UsageError
from zoo.train import checkpoint
from zoo.weights.file import check_finite, read_tensors

log = logging.getLogger("zoo.train")
NEARLY = 0.9  # of a network's tensors


def start_from(networks: nn.ModuleDict, exported: str, path: Path) -> frozenset[str]:
    """Begin with the weights of a run's folder (all networks) or of a weights file (the exported network); gives the
    networks of which all or nearly all is trained now.

    Tensors whose name and shape fit are taken, so a plain CycleGAN can start one with attention; none that fits is
    an error. Of a network that knows fewer hands all of them are taken: they are the first ones.
    """
    if path.is_dir():
        if (newest := checkpoint.newest(path / "checkpoints")) is None:
            raise UsageError(f"{path} holds no checkpoint to start from", "give a run folder or a .safetensors file")
        given = checkpoint.select("networks", newest[0])
    else:
        given = {f"{exported}.{name}": tensor for name, tensor in read_tensors(path).items()}
    target = {name: tensor for name, tensor in networks.state_dict().items() if path.is_dir() or _is_of(name, exported)}
    fitting = {name: given[name] for name in target if name in given and given[name].shape == target[name].shape}
    if not fitting:
        raise UsageError(f"nothing in {path} fits this recipe", "start from a model with the same generator and width")
    check_finite(path, fitting)
    for name, tensor in fitting.items():
        target[name].copy_(tensor)
    log.info("started with %d of %d tensors of %s", len(fitting), len(target), path)
    for name in _tables(target, given):
        known = len(given[name])
        target[name][:known].copy_(given[name])
        target[name][known:].add_(given[name].mean(0))  # the mean of the known, and what tells new ones apart
        log.info("%s: the first %d of %d hands are known", name, known, len(target[name]))
    return frozenset(
        network
        for network in networks
        if (all_ := [name for name in target if _is_of(name, network)])
        and sum(name in fitting for name in all_) >= NEARLY * len(all_)
    )


def _is_of(name: str, network: str) -> bool:
    return name.startswith(network + ".")


def _tables(target: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> list[str]:
    """Tables with a row for each label (`zoo.blocks.label`) of which ``given`` knows the first ones."""
    return [
        name
        for name, tensor in target.items()
        if name.endswith("table.weight")
        and name in given
        and len(given[name]) < len(tensor)
        and given[name].shape[1:] == tensor.shape[1:]
    ]
