"""Where networks compute, and in which numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TypeVar

import torch

from zoo.errors import UsageError, close_match

T = TypeVar("T")

DTYPES = {None: None, "fp32": None, torch.float32: None, "bf16": torch.bfloat16, torch.bfloat16: torch.bfloat16}


def pick_device(device: str | torch.device | None = None) -> torch.device:
    """``device``, or the best there is: CUDA, MPS, CPU. UsageError if this machine does not have it."""
    available = {
        "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
        "cpu": 1,
    }
    there_are = [kind for kind, count in available.items() if count]
    if device is None:
        return torch.device(there_are[0])
    try:
        wanted = torch.device(device)
    except (RuntimeError, TypeError):
        raise UsageError(f"no device is called {device!r}", close_match(str(device), available)) from None
    if (wanted.index or 0) >= available.get(wanted.type, 0):
        raise UsageError(f"device {device} is not available here", f"there are: {', '.join(there_are)}")
    return wanted


@contextmanager
def plain_torch() -> Iterator[None]:
    """Torch as networks expect it, whatever the program around them has set: float32, the CPU unless a device is named,
    gradients where they are asked for. Afterwards it is as before."""
    dtype = torch.get_default_dtype()
    with ExitStack() as stack:
        if dtype != torch.float32:
            stack.callback(torch.set_default_dtype, dtype)
            torch.set_default_dtype(torch.float32)
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        yield


def in_plain_torch(results: Iterable[T]) -> Iterator[T]:
    """``results``, each made in `plain_torch`; between them torch is as the program around has it."""
    iterator = iter(results)
    while True:
        with plain_torch():
            try:
                result = next(iterator)
            except StopIteration:
                return
        yield result
