"""``zoo download``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoo.card import Weights
from zoo.catalogue.registry import registry
from zoo.cli.list import JsonOption
from zoo.cli.output import as_json, megabytes, table
from zoo.errors import PartialFailure, UsageError, ZooError
from zoo.weights.hub_name import is_hub, parse
from zoo.weights.resolve import resolve
from zoo.weights.sources import download, where


def command(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="MODEL", help="Models, MODEL.TAG, or hub:USER/REPO.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All weights of all models.")] = False,
    to: Annotated[Path | None, typer.Option(metavar="DIR", help="Copy the files into this folder.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would come from where.")] = False,
    json: JsonOption = False,
) -> None:
    """Bring weights to this machine and print where they are.

    Each file is checked against the SHA-256 of its card, or that which the Hub says. A folder made with --to serves machines without
    a connection: set ZOO_MIRRORS to it there, or give a file of it in place of a model's name.
    """
    done, failed = [], []
    wanted = _wanted(names or [], every)
    for name, weights, plugin in wanted:
        origin = where(weights, plugin)
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


def _wanted(names: list[str], every: bool) -> list[tuple[str, Weights, str]]:
    """Which weights, and whose plugin may hold them; a wrong name stops before anything is downloaded."""
    if every == bool(names):
        raise UsageError("say either which models, or --all", "zoo download MODEL…, see: zoo list")
    if every:
        return [
            (card.tagged(tag), weights, card.plugin)
            for card in registry().cards.values()
            for tag, weights in card.weights.items()
        ]
    return [_meant(name) for name in dict.fromkeys(names)]


def _meant(name: str) -> tuple[str, Weights, str]:
    if is_hub(name):
        asked = parse(name)
        weights = resolve(asked)
        return str(asked.at(weights)), weights, ""
    card, tag = registry().card(name)
    weights = card.get(tag)
    return card.tagged(tag or ""), weights, card.plugin
