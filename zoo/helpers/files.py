"""Writing files so that a reader sees the old one or the new one, never half of one. No torch here."""

from __future__ import annotations

import functools
import math
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PART = re.compile(r"\.[0-9a-f]{16}\.part")
_DAY = 24 * 3600.0


@contextmanager
def atomic(path: Path | str) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place when the block ends well, and goes when it does not.

    The folder is made where there is none. The bytes are on the disk before the name is: after a power loss, too, it
    is the old file or the new one. What a killed process left in the folder is removed when it is a day old.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _tidy(path.parent)
    part = path.parent / f".{secrets.token_hex(8)}.part"
    try:
        yield part
        sync(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Wait until a file's bytes, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_part(path: Path) -> bool:
    """Is it a temporary file of ``atomic``?"""
    return _PART.fullmatch(path.name) is not None


def clean(folder: Path, before: float = math.inf) -> None:
    """Remove the temporary files in ``folder`` that were last written before this time.

    By default all: right only where no other process writes.
    """
    for path in filter(is_part, folder.glob(".*.part")):
        with suppress(OSError):  # gone by now, or not ours to remove
            if path.stat().st_mtime < before:
                path.unlink()


@functools.cache
def _tidy(folder: Path) -> None:
    """Once for each folder. A day: whoever still writes a file has touched it since."""
    clean(folder, time.time() - _DAY)
