"""``zoo pack``: a training run made into weights to use and share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Bits(StrEnum):
    full = "32"
    half = "16"
    quarter = "8"


def command(
    run: Annotated[Path, typer.Argument(help="Folder of a run (--out of zoo train).")],
    out: Annotated[Path | None, typer.Option(help="Folder to write; default RUN/packed.")] = None,
    bits: Annotated[Bits, typer.Option(help="Of a number: 32 as trained, 16 half the size, 8 a quarter.")] = Bits.half,
    last: Annotated[bool, typer.Option("--last", help="The last weights, not the best on held-out sitters.")] = False,
    licence: Annotated[str, typer.Option(help="Licence of the weights, for the card.")] = "unknown",
) -> None:
    """Write model.safetensors, config.json and a model card (README.md) of RUN: of its best weights."""
    from zoo.train.pack import pack
    from zoo.weights.file import PACKED

    folder = pack(run, out, bits=int(bits), licence=licence, last=last)
    typer.echo(str(folder / PACKED))
