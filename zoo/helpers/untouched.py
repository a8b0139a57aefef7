"""Somebody else's code may run in this process, and leave its settings as they were."""

from __future__ import annotations

import logging
import os
import random
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

log = logging.getLogger(__name__)

_SETTINGS: dict[str, tuple[Callable[[], Any], Callable[[Any], object]]] = {
    "the working folder": (os.getcwd, os.chdir),
    "torch's default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "torch's default device": (torch.get_default_device, torch.set_default_device),
    "torch's number of threads": (torch.get_num_threads, torch.set_num_threads),
    "whether torch records gradients": (torch.is_grad_enabled, torch.set_grad_enabled),
    "torch's precision of matrix products": (
        torch.get_float32_matmul_precision,
        torch.set_float32_matmul_precision,
    ),
    "torch's deterministic algorithms": (
        torch.are_deterministic_algorithms_enabled,
        torch.use_deterministic_algorithms,
    ),
}


_ALONE = threading.RLock()  # settings are of the whole process: one at a time


@contextmanager
def untouched(who: str) -> Iterator[None]:
    """Afterwards random numbers and settings are as before, and a warning says what ``who`` had changed.

    What it prints goes to stderr: stdout is for data, and stays what it is for other threads.
    """
    with _ALONE:
        before = {name: get() for name, (get, _) in _SETTINGS.items()}
        numbers = random.getstate(), np.random.get_state(), torch.get_rng_state()
        try:
            with _elsewhere():
                yield
        finally:
            if random.getstate() != numbers[0]:
                random.setstate(numbers[0])
            if repr(np.random.get_state()) != repr(numbers[1]):  # it tells the place, and some of 624 numbers
                np.random.set_state(numbers[1])
            if not torch.equal(torch.get_rng_state(), numbers[2]):
                torch.set_rng_state(numbers[2])
            changed = [name for name, (get, _) in _SETTINGS.items() if get() != before[name]]
            for name in changed:
                _SETTINGS[name][1](before[name])
            if changed:
                log.warning("%s changes %s when it is imported; that is put back", who, ", ".join(changed))


class _Elsewhere:
    """Standard output, but what one thread writes goes to standard error."""

    def __init__(self, stream: Any) -> None:
        self._stream, self._thread = stream, threading.get_ident()

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr if threading.get_ident() == self._thread else self._stream, name)


@contextmanager
def _elsewhere() -> Iterator[None]:
    before = sys.stdout
    sys.stdout = _Elsewhere(before)  # type: ignore[assignment]
    try:
        yield
    finally:
        sys.stdout = before
