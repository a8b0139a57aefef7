"""torch.compile, where this machine has what that needs: a C++ compiler for the CPU, Triton and a C compiler for CUDA."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

log = logging.getLogger("zoo.machine")


def compiled(call: Callable[..., Any], device: str) -> Callable[..., Any]:
    """``call`` with code generated for a kind of device; as it is, with a line that says why, where that cannot be."""
    return torch.compile(call) if can_compile(device) else call


@functools.cache
def can_compile(device: str) -> bool:
    """Something tiny is tried, once a process, which takes some seconds; a line says why if it fails."""
    try:
        torch.compile(_tiny)(torch.ones(8, device=device))
    except Exception as error:  # of dynamo, inductor, a compiler, a driver, each with its own
        text = str(error).strip() or type(error).__name__
        why = "there is no C++ compiler" if "CxxCompiler" in text else text.splitlines()[0]
        log.warning("goes on without --compile: %s", why)
        return False
    return True


def _tiny(x: Tensor) -> Tensor:
    return x.sin() + 1
