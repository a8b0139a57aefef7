"""``zoo download``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoo.card import Card
from zoo.catalogue.registry import registry
from zoo.cli.list import JsonOption
from zoo.cli.output import as_json, megabytes, table
from zoo.errors import PartialFailure, UsageError, ZooError
from zoo.weights.sources import download, where


def command(
    names: Annotated[list[str] | None, typer.Argument(metavar="MODEL", help="Models, or MODEL.TAG.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All weights of all models.")] = False,
    to: Annotated[Path | None, typer.Option(metavar="DIR", help="Copy the files into this folder.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would come from where.")] = False,
    json: JsonOption = False,
) -> None:
    """Bring weights to this machine and print where they are.

    Each file is checked against the SHA-256 of its card. A folder made with --to serves machines without
    a connection: set ZOO_MIRRORS to it there, or give a file of it in place of a model's name.
    """
    done, failed = [], []
    wanted = _wanted(names or [], every)
    for card, tag in wanted:
        weights, name = card.get(tag), card.tagged(tag)
        origin = where(weights, card.plugin)
        try:
            path = None if dry_run else str(download(name, to))
            done.append((name, weights, origin, path))
        except ZooError as exc:
            if len(wanted) == 1:
                raise
            typer.echo(f"{name}: {exc}", err=True)
            failed.append(name)
    if json:
        facts = {"file", "bytes", "sha256"}
        as_json([{"name": n, **w.model_dump(include=facts), "from": o, "path": p} for n, w, o, p in done])
    elif done:
        table(
            ("MODEL", "SIZE", "FROM", "FILE"),
            [(n, megabytes(w.bytes), o, p or w.file) for n, w, o, p in done],
        )
    if failed:
        again = f"zoo download {' '.join(failed)}"
        raise PartialFailure(f"{len(failed)} of {len(wanted)} downloads failed", f"again: {again}")


def _wanted(names: list[str], every: bool) -> list[tuple[Card, str]]:
    """Which weights; a wrong name stops before anything is downloaded."""
    if every == bool(names):
        raise UsageError("say either which models, or --all", "zoo download MODEL…, see: zoo list")
    if every:
        return [(card, tag) for card in registry().cards.values() for tag in card.weights]
    found = [registry().card(name) for name in dict.fromkeys(names)]
    for card, tag in found:
        card.get(tag)
    return [(card, tag) for card, tag in found if tag]
