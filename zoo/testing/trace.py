"""What a library must not change behind its user's back: random numbers, torch's flags, the process's settings."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import logging
import os
import random
import signal
import socket
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zoo.catalogue.host import host


def snapshot() -> dict[str, str]:
    """The state of this process by what it is called, as text that can be compared."""
    matrix = torch.backends.cuda.matmul
    return {
        "the random numbers of `random`": _digest(repr(random.getstate()).encode()),
        "the random numbers of numpy": _digest(repr(np.random.get_state()).encode()),
        "the random numbers of torch": _digest(torch.get_rng_state().numpy().tobytes()),
        "torch's gradient mode": str(torch.is_grad_enabled()),
        "torch's default dtype": str(torch.get_default_dtype()),
        "torch's default device": str(torch.get_default_device()),
        "torch's deterministic mode": str(torch.are_deterministic_algorithms_enabled()),
        "torch's number of threads": str(torch.get_num_threads()),
        "torch's matmul precision": f"{torch.get_float32_matmul_precision()} {matrix.allow_bf16_reduced_precision_reduction}",
        "torch's cudnn flags": f"{torch.backends.cudnn.benchmark} {torch.backends.cudnn.deterministic}",
        "torch's anomaly mode": str(torch.is_anomaly_enabled()),
        "the working folder": str(Path.cwd()),
        "the environment": repr(sorted(os.environ.items())),
        "the root logger": f"{logging.root.level} {logging.root.handlers}",
        "the signal handlers": f"{signal.getsignal(signal.SIGINT)} {signal.getsignal(signal.SIGTERM)}",
    }


def changes(before: dict[str, str], after: dict[str, str]) -> str:
    """What differs, in words; "" if nothing does."""
    return ", ".join(name for name in before if before[name] != after[name])


def of_import(plugin: str, *others: str) -> dict[str, Any]:
    """What the import of a plugin prints, whom it connects to, and what it changes, beside all that the zoo imports and
    ``others``. For a process of its own (`zoo.doctor.isolated`)."""
    for module in ("accelerate", "zoo.translator", "zoo.parts", *others):
        importlib.import_module(module)
    entry = host().plugins[plugin].entry
    reached: list[str] = []

    def connect(_: socket.socket, address: object) -> None:
        reached.append(str(address))
        raise OSError("no connection is opened here")

    socket.socket.connect = connect  # type: ignore[method-assign,assignment]
    warnings.simplefilter("ignore")
    with _heard() as printed:
        before = snapshot()
        with contextlib.suppress(Exception):  # that it can be imported is another check
            entry.load()
        after = snapshot()
    return {"prints": printed, "connections": reached, "changes": changes(before, after)}


@contextlib.contextmanager
def _heard() -> Iterator[list[str]]:
    """The lines that this process says meanwhile, also those of its libraries and children."""
    said: list[str] = []
    with tempfile.TemporaryFile("w+", errors="replace") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
        yield said
        sys.stdout.flush(), sys.stderr.flush()
        file.seek(0)
        said += file.read().strip().splitlines()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
