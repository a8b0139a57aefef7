"""`zoo fusion-strip`: pictures on the way from one person to another (figure 4). `zoo fusion-grid`: everyone with everyone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from zoo.errors import UsageError, close_match
from zoo.faces.portrait import Around
from zoo.helpers.inputs import Inputs
from zoo.loading import load
from zoo.pictures.image import writable, write
from zoo.pictures.morph import ready
from zoo_facefusion.regions import REGIONS
from zoo_facefusion.translator import FusionTranslator

Name = Annotated[str, typer.Argument(metavar="MODEL", help="A model of fusion, or its file.")]
Framing = Annotated[
    Around, typer.Option(metavar="face|portrait|whole", help="The square, or the fused face in the first photograph.")
]
Detail = Annotated[float, typer.Option(min=0, max=1, help="How much of the photographs' detail comes back.")]
Device = Annotated[str | None, typer.Option(help="cuda, cuda:1, mps or cpu; else the best there is.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a result that is there already.")]


def fusion_strip(
    name: Name,
    a: Annotated[Path, typer.Argument(metavar="A", help="A photograph of one person.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="A photograph of another.")],
    out: Annotated[Path, typer.Option("--out", "-o", help=".gif, .webp, a film (.mp4), or a picture: a strip.")],
    steps: Annotated[int, typer.Option(min=2, max=200, help="How many pictures.")] = 6,
    seconds: Annotated[float, typer.Option(min=0.1, help="From one person to the other.")] = 2.0,
    region: Annotated[
        list[str] | None, typer.Option(metavar="EYES=1", help="A region that keeps a share of A; again for more.")
    ] = None,
    face: Annotated[int | None, typer.Option(min=0, help="Which face of A; 0: both are aligned portraits.")] = None,
    framing: Framing = "face",
    detail: Detail = 1.0,
    device: Device = None,
    overwrite: Overwrite = False,
) -> dict[str, Any]:
    """Go from one person to another in steps: a moving picture there and back, or a strip.

    Example: zoo fusion-strip facefusion anna.jpg ben.jpg -o between.gif
    """
    ready(out, [name, a, b], overwrite)
    regions = dict(map(_share, region or ()))
    way = fused(name, device).strip(a, b, steps=steps, face=face, framing=framing, detail=detail, **regions)
    return way.report(out, seconds, overwrite)


def fusion_grid(
    name: Name,
    people: Annotated[list[Path], typer.Argument(metavar="A B …", help="Photographs of two people or more.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="A picture.")],
    mix: Annotated[float, typer.Option(min=0, max=1, help="Share of the row's person.")] = 0.5,
    height: Annotated[int, typer.Option(min=32, max=2048, help="Pixels of a cell, at most.")] = 256,
    framing: Framing = "whole",
    detail: Detail = 1.0,
    device: Device = None,
    overwrite: Overwrite = False,
) -> dict[str, Any]:
    """Fuse everyone with everyone: the people along the left side and the top, their fusions between.

    Each row's person is the first of its fusions: the row is that person's photograph, unless --framing says otherwise.

    Example: zoo fusion-grid facefusion anna.jpg ben.jpg cleo.jpg -o family.png
    """
    writable(out)
    Inputs(name, *people).ready(out, replace=overwrite)
    sheet = fused(name, device).grid(people, height=height, mix=mix, framing=framing, detail=detail)
    write(sheet, out, overwrite)
    return {"lines": [f"{len(people)} × {len(people)} people: {out}"], "out": str(out), "people": len(people)}


def fused(name: str, device: Any) -> FusionTranslator:
    """The model. UsageError for one of another kind."""
    translator = load(name, device=device)
    if not isinstance(translator, FusionTranslator):
        raise UsageError(f"{name} is no model of fusion", "zoo list --task face-fusion names them")
    return translator


def _share(word: str) -> tuple[str, float]:
    name, _, text = word.partition("=")
    if name not in REGIONS:
        raise UsageError(f"no region is called {name!r}", close_match(name, REGIONS))
    try:
        return name, float(text)
    except ValueError:
        raise UsageError(f"cannot read --region {word!r}", "write --region eyes=1") from None
