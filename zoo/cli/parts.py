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
    json: JsonOption = False,
) -> None:
    """Blocks, losses, generators … that a recipe may name, with their owners."""
    if kind not in (None, *KINDS, "recipe"):
        raise UsageError(f"there is no kind of part {kind!r}", close_match(str(kind), (*KINDS, "recipe")))
    parts = [part for part in host().parts() if kind in (None, part.kind)]
    if json:
        as_json([{"kind": part.kind, "name": part.name, "owner": part.owner} for part in parts])
    else:
        table(("KIND", "NAME", "OWNER"), [(part.kind, part.name, part.owner) for part in parts])
    notes([*host().problems(), *host().conflicts()])
