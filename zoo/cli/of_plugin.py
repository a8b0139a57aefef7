"""Commands that plugins bring: a function with type hints that returns data; parsing and printing are done here."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, get_type_hints

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from zoo.cli.list import JsonOption
from zoo.cli.output import as_json, table
from zoo.plugins import host
from zoo.progress import listening

if TYPE_CHECKING:
    from torch import Tensor


def command(name: str) -> Callable[..., None]:
    """The plugin's function as a command: the same options and ``--json``, progress on stderr, what it returns on stdout.

    It returns a mapping: ``rows`` (mappings with the same keys) are printed as a table and ``lines`` below it, or
    with --json all of it."""
    function = host().part("command", name)

    @functools.wraps(function)
    def run(*args: Any, json: bool, **options: Any) -> None:
        with Bar() as bar, listening(bar):
            made: Mapping[str, Any] = function(*args, **options)
        if json:
            as_json(made)
            return
        if rows := made.get("rows"):
            table([head.upper() for head in rows[0]], [[str(cell) for cell in row.values()] for row in rows])
        for line in made.get("lines", ()):
            typer.echo(line)

    hints = {**get_type_hints(function, include_extras=True), "json": JsonOption}
    last = inspect.Parameter("json", inspect.Parameter.KEYWORD_ONLY, default=False)
    given = [*inspect.signature(function).parameters.values(), last]
    named = [one.replace(annotation=hints.get(one.name, str)) for one in given]
    run.__signature__ = inspect.Signature(named)  # type: ignore[attr-defined]
    run.__annotations__ = hints
    return run


class Bar(Progress):
    """What is told (`zoo.progress`) as a bar on stderr, in a terminal only."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        super().__init__(*columns, console=console, disable=not console.is_terminal)
        self._task = self.add_task("", visible=False)

    def __call__(self, what: str, done: int, total: int, image: Tensor | None = None) -> None:
        self.update(self._task, description=what, completed=done, total=total, visible=True)
