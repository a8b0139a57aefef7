"""``zoo parts``"""

from __future__ import annotations

from typing import Annotated

import typer

from zoo.catalogue.host import host
from zoo.catalogue.manifest import KINDS
from zoo.cli.list import JsonOption
from zoo.cli.output import as_json, notes, table
from zoo.errors import UsageError, close_match


def command(
    kind: Annotated[str | None, typer.Argument(help=f"One of: {', '.join((*KINDS, 'recipe'))}.")] = None,
    matrix: Annotated[bool, typer.Option("--matrix", help="What fits what, and why not.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="The matrix as a page, docs/matrix.md.")] = False,
    json: JsonOption = False,
) -> None:
    """Blocks, losses, generators … that a recipe may name, with their owners; with --matrix which of them fit together."""
    if markdown and not matrix:
        raise UsageError("--markdown is the form of a matrix", "zoo parts --matrix --markdown")
    if matrix:
        if kind is not None or (markdown and json):
            raise UsageError("--matrix is of all parts, in one form", "zoo parts --matrix, with --json or --markdown")
        _matrix(markdown, json)
        return
    if kind not in (None, *KINDS, "recipe"):
        raise UsageError(f"there is no kind of part {kind!r}", close_match(str(kind), (*KINDS, "recipe")))
    parts = [part for part in host().parts() if kind in (None, part.kind)]
    if json:
        as_json([{"kind": part.kind, "name": part.name, "owner": part.owner} for part in parts])
    else:
        table(("KIND", "NAME", "OWNER"), [(part.kind, part.name, part.owner) for part in parts])
    notes([*host().problems(), *host().conflicts()])


def _matrix(markdown: bool, json: bool) -> None:
    """Training is imported here only: it takes seconds."""
    from zoo.train import matrix

    if json:
        as_json(matrix.as_data())
    elif markdown:
        typer.echo(matrix.page(), nl=False)
    else:
        for row, column in matrix.TABLES:
            found = list(matrix.cells(row, column))
            heads, rows = matrix.grid(found)
            table((row.upper(), *heads), rows)
            for state, name, short, columns in matrix.notes(found):
                typer.echo(f"{matrix.SIGNS[state]} {name} in {', '.join(columns)}: {short}")
            typer.echo()
        typer.echo("✓ works; + needs what is said; – cannot be, and why")
    notes([*host().problems(), *host().conflicts()])
