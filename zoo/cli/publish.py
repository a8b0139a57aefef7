"""``zoo publish``: packed weights onto the Hub."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from zoo.cli.list import JsonOption
from zoo.cli.output import as_json, megabytes
from zoo.errors import UsageError
from zoo.helpers.words import masked


def command(
    name: Annotated[str, typer.Argument(help="MODEL or MODEL.TAG of a card, or a folder that zoo pack wrote.")],
    repo: Annotated[
        str | None, typer.Option(metavar="USER/REPO", help="Where on the Hub; made if it is not there.")
    ] = None,
    space: Annotated[
        str | None,
        typer.Option(metavar="USER/NAME", help="A Space with the page of zoo page; made if it is not there."),
    ] = None,
    folder: Annotated[Path | None, typer.Option(help="Packed folder with new weights for the card.")] = None,
    private: Annotated[bool, typer.Option("--private", help="If the repository is made: for you alone.")] = False,
    message: Annotated[str, typer.Option(help="Message of the commit.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check, say what would happen, and ask nobody.")] = False,
    json: JsonOption = False,
) -> None:
    """Upload weights with their model card to the Hub, and write where they are into their card.

    Needs a token that may write: `hf auth login`, or HF_TOKEN. What the Hub has already is not uploaded again.
    Prints the entry of the card; for weights without a card it is there to be pasted.
    """
    import yaml

    from zoo.publish.publish import publish
    from zoo.weights.remote import endpoint

    if repo is None:
        if space is None:
            raise UsageError(
                "it is not said where to", "give --repo USER/REPO for the weights, --space USER/NAME, or both"
            )
        return _space(name, space, private, message, dry_run, json)
    done = publish(name, repo, folder=folder, private=private, message=message, dry_run=dry_run)
    state = "would upload to" if dry_run else "uploaded to" if done.new else "already at"
    files = ", ".join(done.sizes())
    typer.echo(f"{state} {masked(endpoint())}/{done.repo}: {files} ({megabytes(sum(done.sizes().values()))})", err=True)
    if dry_run:
        for file, sha256 in done.hashes().items():
            typer.echo(f"  {file}, {done.sizes()[file]} bytes, SHA-256 {sha256}", err=True)
    if done.card is None:
        typer.echo(f"for everybody: zoo translate hub:{done.repo} photo.jpg -o drawing.png", err=True)
        typer.echo("no card was changed: the entry is to be pasted under the `weights` of one", err=True)
    else:
        typer.echo(f"{'would write' if dry_run else 'wrote'} {'.'.join(done.keys)} in {done.card}", err=True)
    entry = {done.tag: done.entry()}
    if dry_run:
        entry[done.tag]["hub"]["revision"] = None
    if json:
        card = None if done.card is None else str(done.card)
        as_json({"state": state.partition(" ")[0], "files": done.sizes(), "card": card, "entry": entry})
    else:
        typer.echo(yaml.safe_dump(entry, sort_keys=False, allow_unicode=True), nl=False)
    if space is not None:
        _space(name, space, private, message, dry_run, False)


def _space(name: str, space: str, private: bool, message: str, dry_run: bool, json: bool) -> None:
    """Upload the page of a model, or of the weights in a packed folder."""
    from zoo.page.space import space_files
    from zoo.publish.upload import upload_space
    from zoo.weights.remote import endpoint

    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", space):
        raise UsageError(f"{space!r} is not a Space's name", "give --space USER/NAME")
    files = space_files(name)
    where, state = f"{masked(endpoint())}/spaces/{space}", "would upload to"
    if not dry_run:
        new = upload_space(space, files, message or "The page, by zoo publish", private=private)[1]
        state = "uploaded to" if new else "already at"
    typer.echo(f"{state} {where}: {', '.join(files)}", err=True)
    if json:
        as_json({"state": state.partition(" ")[0], "files": sorted(files), "space": where})
