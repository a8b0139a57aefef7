"""``zoo page``: the models as a web page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoo.cli.output import notes
from zoo.errors import UsageError


def command(
    name: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", help="One model, or a .safetensors file; else all installed.")
    ] = None,
    host: Annotated[str, typer.Option(help="Where to listen; 0.0.0.0 lets others in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 7860,
    auth: Annotated[
        str | None, typer.Option(metavar="NAME:PASSWORD", help="Who may in; or a file with a line of it for each.")
    ] = None,
    megabytes: Annotated[float, typer.Option(min=0.1, max=1000, help="What one uploaded picture may have.")] = 32,
    megapixels: Annotated[float, typer.Option(min=0.1, max=1000, help="What one uploaded picture may have.")] = 50,
    space: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write a Hugging Face Space of MODEL instead, into a new folder.")
    ] = None,
) -> None:
    """Serve a web page on which pictures become what the models make of them. Ctrl-C ends it.

    It listens on this machine alone unless --host says otherwise, opens no tunnel and asks no other host for anything.
    What is uploaded lies in a temporary folder, and is removed at the end. Its address goes to stdout.
    """
    if space is not None:
        if name is None:
            raise UsageError("a Space is of one model", f"zoo page MODEL --space {space}")
        from zoo.page.space import write_space

        for path in write_space(name, space):
            typer.echo(str(path))
        return
    from zoo.page.serve import is_loopback, serve

    def ready(address: str, told: list[str]) -> None:
        notes(told)
        if not is_loopback(host) and not auth:
            notes(["whoever reaches this machine may use the page: --auth NAME:PASSWORD asks who they are"])
        typer.echo(address)

    serve([name] if name else [], host=host, port=port, auth=auth, megabytes=megabytes, megapixels=megapixels, ready=ready)  # fmt: skip
