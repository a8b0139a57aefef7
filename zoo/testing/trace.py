"""What a library must not change behind its user's back: random numbers, torch's flags, the process's settings."""

from __future__ import annotations

import hashlib
import logging
import os
import random
import signal
from pathlib import Path

import numpy as np
import torch


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


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
