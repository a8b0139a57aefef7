"""How much memory a network takes for a picture, and how much there is."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from zoo.errors import UsageError

WITHOUT_COUNT = 8 * 2**30
"""What counts as free on systems that do not say it."""

HIDDEN = 3
"""Memory in all, for each byte in tensors: 2.6 where convolutions of a CPU go through NNPACK."""

TRIALS = 128, 256
"""Sides of the pictures by which the need is measured."""


def needs(run: Callable[[int], object]) -> Callable[[int], int]:
    """Bytes that a run takes at its peak, as a function of its pixels, by two trials: run(n) with n×n pixels.

    A part may grow with the square of the pixels, as attention does. What kernels take inside is not seen, and is
    reckoned with by ``HIDDEN``.
    """
    (few, low), (many, high) = ((side**2, _peak(run, side)) for side in TRIALS)
    square = max(0.0, (high / many - low / few) / (many - few))
    linear = high / many - square * many
    return lambda pixels: int(HIDDEN * (linear * pixels + square * pixels**2))


def _peak(run: Callable[[int], object], side: int) -> int:
    with _Peak() as peak:
        run(side)
    return peak.bytes


class _Peak(TorchDispatchMode):
    """Counts the bytes of the tensors that are alive together."""

    def __init__(self) -> None:
        super().__init__()
        self.alive: WeakSet[Any] = WeakSet()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.alive.update(leaf.untyped_storage() for leaf in tree_leaves(result) if isinstance(leaf, Tensor))
        self.bytes = max(self.bytes, sum(storage.nbytes() for storage in self.alive))
        return result


def allowed(device: torch.device, share: float = 0.5) -> int:
    """Bytes that a picture may take on ``device``: ``ZOO_MEMORY`` (``3G``, ``500M``), else a share of what is free."""
    if given := os.environ.get("ZOO_MEMORY"):
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)i?B?", given.strip(), re.IGNORECASE)
        if not found:
            raise UsageError(f"ZOO_MEMORY={given} is not an amount of memory", "write for example ZOO_MEMORY=3G")
        return int(float(found[1]) * 1024 ** " KMGT".index(found[2].upper() or " "))
    return int(free(device) * share)


def free(device: torch.device) -> int:
    """Bytes that are free on ``device``; the least of what machine, container and process have left."""
    if device.type == "cuda":
        idle = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + idle
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory()
    return min([*_machine(), *_container(), *_process()], default=WITHOUT_COUNT)


def _machine() -> list[int]:
    with suppress(OSError, AttributeError):
        found = re.search(r"MemAvailable:\s*(\d+) kB", Path("/proc/meminfo").read_text())
        return [int(found[1]) * 1024] if found else []
    return []


def _container() -> list[int]:
    """What the control group leaves, version 2."""
    with suppress(OSError, ValueError):  # ValueError: "max", no limit
        folder = Path("/sys/fs/cgroup")
        limit, used = (int((folder / name).read_text()) for name in ("memory.max", "memory.current"))
        files = re.search(r"^inactive_file (\d+)$", (folder / "memory.stat").read_text(), re.M)  # given up when needed
        return [max(0, limit - used + (int(files[1]) if files else 0))]
    return []


def _process() -> list[int]:
    """What ``ulimit -v`` leaves."""
    with suppress(ImportError, OSError):
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            return [max(0, limit - used)]
    return []


def is_shortage(error: BaseException) -> bool:
    """Is it a lack of memory that ``error`` tells of?"""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
