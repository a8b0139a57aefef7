"""Writing files so that a reader sees the old one or the new one, never half of one. No torch here.

What is not to be replaced is not, also if it came while the new file was made: the disk is asked to give a name only if
it is free, in one step.
"""

from __future__ import annotations

import ctypes
import functools
import math
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from zoo.errors import ExistsError

_PART = re.compile(r"\.[0-9a-f]{16}\.part")
_DAY = 24 * 3600.0
_AT_FDCWD, _RENAME_NOREPLACE = -100, 1  # Linux's numbers


@contextmanager
def atomic(path: Path | str, replace: bool = True) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place when the block ends well, and goes when it does not.

    Unless it may ``replace`` what has the name by then: that stays, links that lead nowhere included, and ExistsError
    says so. The folder is made where there is none. The bytes are on the disk before the name is: after a power loss, too, it
    is the old file or the new one. What a killed process left in the folder is removed when it is a day old.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _tidy(path.parent)
    part = path.parent / f".{secrets.token_hex(8)}.part"
    try:
        yield part
        sync(part)
        if replace:
            part.replace(path)
        else:
            place(part, path)
    finally:
        part.unlink(missing_ok=True)


def place(part: Path, path: Path) -> None:
    """Give a file or folder the name ``path`` if nothing has it; else ExistsError, and both stay as they are."""
    try:
        try:
            os.link(part, path)
        except FileExistsError:
            raise
        except OSError:  # a folder; or a disk without hard links, as FAT
            _rename(part, path)
        else:
            part.unlink()
    except FileExistsError:
        raise ExistsError(path) from None


def _rename(part: Path, path: Path) -> None:
    """By the system's own call; where there is none, the name is taken first and then given up for ``part``."""
    call = getattr(ctypes.CDLL(None), "renameat2", None) if os.name == "posix" else None
    if call and not call(_AT_FDCWD, os.fsencode(part), _AT_FDCWD, os.fsencode(path), _RENAME_NOREPLACE):
        return
    if os.name == "nt":  # where a rename replaces nothing
        return os.rename(part, path)  # noqa: PTH104
    if part.is_dir():
        path.mkdir()
    else:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    part.replace(path)


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
