"""Tables and JSON on stdout, alike in a terminal and in a pipe; progress on stderr."""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Any
from unicodedata import east_asian_width

import typer

from zoo.errors import one_line
from zoo.helpers.terminal import Guarded, plain

if TYPE_CHECKING:
    from zoo.evaluate.compare import Sitter

_PIECES = 10_000  # of JSON, that are written together


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Aligned columns with a head; in a terminal the last one is cut to fit, in a pipe nothing is."""
    lines = [[one_line(cell) if not cell.isspace() else cell for cell in line] for line in (heads, *rows)]
    widths = [max(_width(line[column]) for line in lines) for column in range(len(heads) - 1)]
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    for line in lines:
        cells = [cell + " " * (width - _width(cell)) for cell, width in zip(line, widths)]
        text = "  ".join([*cells, line[-1]]).rstrip()
        typer.echo(text if not room or _width(text) <= room else text[: room - 1] + "…")


def notes(lines: Iterable[str]) -> None:
    """What a command has to say beside its data, on stderr."""
    for line in lines:
        typer.echo(f"zoo: {one_line(line)}", err=True)


class Listed(list[Any]):
    """A list for JSON whose items are made while they are written: a million are never there together."""

    def __init__(self, items: Iterable[Any]) -> None:
        super().__init__()
        self._items = iter(items)
        self._first = [*islice(self._items, 1)]

    def __bool__(self) -> bool:
        return bool(self._first)

    def __iter__(self) -> Iterator[Any]:
        return chain(self._first, self._items)


def as_json(data: Any) -> None:
    """``data`` as indented JSON. What is not for a terminal, or not UTF-8, is escaped, and read back as it was."""
    pieces = json.JSONEncoder(indent=2, ensure_ascii=False).iterencode(data)
    while some := "".join(islice(pieces, _PIECES)):
        safe = (c if c == "\n" or c.isprintable() else json.dumps(c)[1:-1] for c in some)
        typer.echo("".join(safe), nl=False)
    typer.echo()


def megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def unpaired(sitters: Sequence[Sitter]) -> None:
    """Say on stderr which photographs have no drawing, and which drawings no photograph."""
    alone = {
        "photographs without a drawing": [sitter.name for sitter in sitters if not sitter.drawing],
        "drawings without a photograph": [sitter.name for sitter in sitters if not sitter.photo],
    }
    for what, names in alone.items():
        if names:
            more = ", …" if len(names) > 5 else ""
            typer.echo(f"{len(names)} {what}: {', '.join(names[:5])}{more}", err=True)


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """What Pillow logs and C libraries say on stderr goes nowhere: they name no file, and the error that follows does.

    Python's stderr is as before.
    """
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    before, kept, nowhere = sys.stderr, os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        if plain(before) is sys.__stderr__:
            free = open(  # noqa: SIM115
                kept, "w", buffering=1, encoding=before.encoding, errors="backslashreplace", closefd=False
            )
            sys.stderr = Guarded(free)  # type: ignore[assignment]
        yield
    finally:
        sys.stderr.flush()
        sys.stderr = before
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


@contextmanager
def progress(doing: str, total: int) -> Iterator[Callable[[], None]]:
    """A bar on stderr, in a terminal only; what it gives moves it by one."""
    from zoo.cli.bars import Bars

    with Bars() as bars:
        yield partial(bars.advance, bars.add_task(doing, total=total))


def _width(text: str) -> int:
    return sum(2 if east_asian_width(sign) in "WF" else 1 for sign in text)
