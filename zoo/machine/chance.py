"""Random numbers belong to the whole process: what a picture's drawing takes of them is put back, and nothing else."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class _Watch(TorchDispatchMode):
    """Notes whether its own thread draws random numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.drew = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.drew = self.drew or torch.Tag.nondeterministic_seeded in func.tags
        return func(*args, **(kwargs or {}))


@contextmanager
def numbers_kept(devices: Sequence[int] = (), watch: bool = True) -> Iterator[None]:
    """Afterwards torch's random numbers, those of the CPU and of these CUDA ``devices``, are as before.

    Where other threads run, only if this one drew any: to put back what another has drawn would give it the same
    numbers again. ``watch=False`` where each operation cannot be looked at, as in a compiled network.
    """
    if threading.active_count() == 1 or not watch:
        with torch.random.fork_rng(devices):
            yield
        return
    before = torch.get_rng_state(), [torch.cuda.get_rng_state(device) for device in devices]
    watching = _Watch()
    try:
        with watching:
            yield
    finally:
        if watching.drew:
            torch.set_rng_state(before[0])
            for device, state in zip(devices, before[1]):
                torch.cuda.set_rng_state(state, device)
