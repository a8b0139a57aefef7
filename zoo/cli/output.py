"""Tables and JSON on stdout, alike in a terminal and in a pipe."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable, Sequence
from typing import Any
from unicodedata import east_asian_width

import typer


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Aligned columns with a head; in a terminal the last one is cut to fit, in a pipe nothing is."""
    lines = [list(heads), *map(list, rows)]
    widths = [max(_width(line[column]) for line in lines) for column in range(len(heads) - 1)]
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    for line in lines:
        cells = [cell + " " * (width - _width(cell)) for cell, width in zip(line, widths)]
        text = "  ".join([*cells, line[-1]]).rstrip()
        typer.echo(text if not room or _width(text) <= room else text[: room - 1] + "…")


def as_json(data: Any) -> None:
    """``data`` as indented JSON."""
    typer.echo(json.dumps(data, indent=2, ensure_ascii=False))


def megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _width(text: str) -> int:
    return sum(2 if east_asian_width(sign) in "WF" else 1 for sign in text)
