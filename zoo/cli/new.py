"""``zoo new``: a plugin to begin with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    name: Annotated[str, typer.Argument(help="Lower case with hyphens: my-plugin makes zoo-my-plugin.")],
    out: Annotated[Path | None, typer.Option(help="Folder to write, which must not exist; default zoo-NAME.")] = None,
) -> None:
    """Write a plugin that trains and passes the contract tests: block, loss, generator, trainer, recipe, tests.

    Example: zoo new my-plugin
    """
    from zoo.testing.scaffold import make

    folder = make(name, out)
    typer.echo(str(folder))
    typer.echo(f"next: pip install -e '{folder}[test]' && python -m pytest {folder}", err=True)
