"""Limits of what a file may say, far beyond what anybody means: whatever takes memory or time by a number alone."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field

NUMBER = 1e12  # of any kind
ENTRIES = 10_000  # of a list or mapping
TEXT = 10_000  # characters
DEPTH = 32

SIDE = 8192  # pixels of a training picture
WORKING = 16, 65536  # pixels of the long side that a network sees
BATCH = 4096
COUNT = 10**12  # steps, pictures, bytes
SEED = 2**64


def bounded(data: Any, depth: int = 0) -> Any:
    """``data``, which is plain. ValueError for what is too large, too long or too deep in it, or no number at all."""
    if depth > DEPTH:
        raise ValueError(f"it is nested more than {DEPTH} times")
    if isinstance(data, dict | list | tuple):
        if len(data) > ENTRIES:
            raise ValueError(f"a list of {len(data)} entries is too long")
        for key in data if isinstance(data, dict) else ():
            bounded(key, depth + 1)
        for value in data.values() if isinstance(data, dict) else data:
            bounded(value, depth + 1)
    elif isinstance(data, str):
        if len(data) > TEXT:
            raise ValueError(f"a text of {len(data)} characters is too long")
    elif isinstance(data, int | float) and not isinstance(data, bool) and not abs(data) <= NUMBER:  # or NaN
        raise ValueError(f"{data if isinstance(data, float) else 'a number of many digits'} is out of range")
    return data


Mapping = Annotated[dict[str, Any], AfterValidator(bounded)]
"""Options of a part, whose meaning only the part knows."""

Rate = Annotated[float, Field(gt=0, le=1e30, allow_inf_nan=False)]
"""What a learning rate, or a factor of one, may be."""
