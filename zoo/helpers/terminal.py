"""The one gate before standard output and standard error: what passes it, a terminal shows and does not obey."""

from __future__ import annotations

import errno
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from zoo.errors import one_line
from zoo.helpers.words import masked, printable


class Guarded:
    """A text stream behind the gate. It has no ``buffer``: nothing goes around."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError("text is written here, no bytes")
        self.stream.write(printable(text))
        return len(text)

    def writelines(self, lines: Iterator[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        if name in ("buffer", "stream"):
            raise AttributeError(name)
        return getattr(self.stream, name)


class _Closed:
    """Standard output that was closed before the program began (``>&-``)."""

    encoding, errors, closed = "utf-8", "backslashreplace", False

    def write(self, text: str) -> int:
        if text:
            raise OSError(errno.EBADF, "standard output is closed")
        return 0

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return False

    def fileno(self) -> int:
        return 1


class OneLine(logging.Formatter):
    """A record of a log is one line, whatever file names it holds."""

    def format(self, record: logging.LogRecord) -> str:
        return one_line(masked(super().format(record)))


def plain(stream: Any) -> Any:
    """What a guarded stream writes to; for those who have cleaned what they write (`zoo.helpers.console`)."""
    while isinstance(stream, Guarded):
        stream = stream.stream
    return stream


def _in_utf_8(stream: Any) -> None:
    """What another program or a file gets is UTF-8, whatever the system's own encoding; a terminal knows only that."""
    if isinstance(stream, TextIOWrapper):
        terminal = not stream.closed and stream.isatty()
        stream.reconfigure(encoding=stream.encoding if terminal else "utf-8", errors="backslashreplace")


@contextmanager
def guarded() -> Iterator[None]:
    """All that is printed within passes the gate. Streams that are closed are told of once, or are nowhere."""
    for number in range(3):  # else the next file that is opened gets the number of a stream, and what is printed
        try:
            os.fstat(number)
        except OSError:
            with suppress(OSError):
                os.open(os.devnull, os.O_RDWR)
    before, last = (sys.stdout, sys.stderr), logging.lastResort
    for stream in before:
        _in_utf_8(stream)
    nowhere = None if before[1] else Path(os.devnull).open("w")  # noqa: SIM115
    sys.stdout = Guarded(before[0] or _Closed())  # type: ignore[assignment]
    sys.stderr = Guarded(before[1] or nowhere)  # type: ignore[assignment]
    formatter = last.formatter if last else None
    if last:
        last.setFormatter(OneLine("zoo: %(message)s"))
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
        if last:
            last.formatter = formatter
        if nowhere:
            nowhere.close()
