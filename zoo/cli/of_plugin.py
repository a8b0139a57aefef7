"""Commands that plugins bring: a function with type hints that returns data; parsing and printing are done here."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, get_type_hints

import typer

from zoo.catalogue.host import host
from zoo.cli.bars import Bars
from zoo.cli.list import JsonOption
from zoo.cli.output import as_json, table
from zoo.errors import PartialFailure
from zoo.progress import listening


def command(name: str) -> Callable[..., None]:
    """The plugin's function as a command: the same options and ``--json``, progress on stderr, what it returns on stdout.

    It returns a mapping: ``rows`` (mappings with the same keys) are printed as a table and ``lines`` below it, or
    with --json all of it. ``failed`` says what of a batch could not be done, for exit code 6."""
    function = host().part("command", name)

    @functools.wraps(function)
    def run(*args: Any, json: bool, **options: Any) -> None:
        with Bars() as bars, listening(bars):
            made: Mapping[str, Any] = function(*args, **options)
        if json:
            as_json(made)
        else:
            _print(made)
        if told := made.get("failed"):
            raise PartialFailure(str(told), "the others are done")

    hints = {**get_type_hints(function, include_extras=True), "json": JsonOption}
    last = inspect.Parameter("json", inspect.Parameter.KEYWORD_ONLY, default=False)
    given = [*inspect.signature(function).parameters.values(), last]
    named = [one.replace(annotation=hints.get(one.name, str)) for one in given]
    run.__signature__ = inspect.Signature(named)  # type: ignore[attr-defined]
    run.__annotations__ = hints
    return run


def _print(made: Mapping[str, Any]) -> None:
    if rows := made.get("rows"):
        table([head.upper() for head in rows[0]], [[str(cell) for cell in row.values()] for row in rows])
    for line in made.get("lines", ()):
        typer.echo(line)
