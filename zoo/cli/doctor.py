"""``zoo doctor``"""

from __future__ import annotations

import textwrap
from typing import Annotated

import typer

from zoo.cli.list import JsonOption
from zoo.cli.output import as_json
from zoo.doctor.page import Fact, examine
from zoo.errors import ZooError

WIDTH, INDENT = 80, 20


def command(
    verify: Annotated[bool, typer.Option("--verify", help="Also read every weights file on this disk.")] = False,
    json: JsonOption = False,
) -> None:
    """All about this installation on one page, for a bug report: versions, devices, caches, network, plugins.

    Tokens and passwords are not in it. What does not work is marked with !; then the exit code is 1.
    """
    page = examine(verify)
    faults = [f"{section}: {fact.name}: {fact.text}" for section, facts in page.items() for fact in facts if fact.bad]
    if json:
        plain = {name: [{"name": f.name, "text": f.text, "bad": f.bad} for f in facts] for name, facts in page.items()}
        as_json({"faults": faults, **plain})
    else:
        for section, facts in page.items():
            typer.echo("\n".join([section, *map(_lines, facts)]) if facts else f"{section}: nothing")
    if faults:
        count = "1 thing does" if len(faults) == 1 else f"{len(faults)} things do"
        raise ZooError(f"{count} not work", "see the lines that begin with !")


def _lines(fact: Fact) -> str:
    head = f"{'!' if fact.bad else ' '} {fact.name}"
    head = f"{head:<{INDENT}}" if len(head) < INDENT else f"{head}  "
    return textwrap.fill(
        fact.text,
        WIDTH,
        initial_indent=head,
        subsequent_indent=" " * INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )
