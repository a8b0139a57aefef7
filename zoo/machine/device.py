"""Where networks compute, and in which numbers."""

from __future__ import annotations

import torch

from zoo.errors import UsageError, close_match

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
