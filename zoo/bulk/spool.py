"""Rows on disk: what grows with the number of pictures is kept there, and not in memory."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from typing import Any

_PIECE = 1 << 16  # bytes that are read at once


class Spool:
    """Rows in the order in which they were added, in a file that is gone with the process. Of names that are not UTF-8,
    too."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  (it is closed with the last reference)
        self._at_end = True
        self.count = 0

    def __del__(self) -> None:
        self._file.close()

    def add(self, *row: Any) -> int:
        """Where the row begins, for ``at``."""
        if not self._at_end:
            self._file.seek(0, os.SEEK_END)
            self._at_end = True
        position = self._file.tell()
        self._file.write(json.dumps(row).encode() + b"\n")
        self.count += 1
        return position

    def at(self, position: int) -> list[Any]:
        self._file.seek(position)
        self._at_end = False
        row: list[Any] = json.loads(self._file.readline())
        return row

    def __iter__(self) -> Iterator[list[Any]]:
        """The rows that are there now; others may be added, and read, meanwhile."""
        position, left = 0, self.count
        while left:
            self._file.seek(position)
            self._at_end = False
            lines = self._file.readlines(_PIECE)
            position = self._file.tell()
            for line in lines[:left]:
                yield json.loads(line)
            left -= min(left, len(lines))

    def first(self) -> list[Any] | None:
        return next(iter(self), None)
