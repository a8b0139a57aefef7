"""``zoo new``: a plugin to begin with."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

KINDS = "block, loss, provider, generator, trainer, or a whole model"


def command(
    name: Annotated[str, typer.Argument(help="Lower case with hyphens: my-plugin makes zoo-my-plugin.")],
    brings: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND", help=f"{KINDS}; several times for several. Asked for in a terminal; else model."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder to write, which must not exist; default zoo-NAME.")] = None,
) -> None:
    """Write a plugin that passes the contract tests: a whole model that trains, or single parts for the models of others.

    Example: zoo new my-plugin --brings loss
    """
    from zoo.testing.scaffold import MODEL, make

    if not brings and sys.stdin.isatty() and sys.stderr.isatty():
        asked = typer.prompt(f"What does it bring ({KINDS})", default=MODEL, err=True)
        brings = asked.replace(",", " ").split()
    folder = make(name, out, brings or [MODEL])
    typer.echo(str(folder))
    typer.echo(f"next: pip install -e '{folder}[test]' && python -m pytest {folder}", err=True)
