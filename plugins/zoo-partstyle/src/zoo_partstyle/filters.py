"""``zoo filters``: choose the filters of an object by a folder of labelled pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from zoo.blocks.vgg import VGG19
from zoo.errors import NotFoundError, UsageError
from zoo.helpers.inputs import Inputs
from zoo.machine.device import pick_device
from zoo.pictures.image import find_pictures, writable, write
from zoo.weights.networks import find
from zoo_partstyle.choose import LAYERS, Criterion, choose
from zoo_partstyle.objects import Labels, read_labels, width
from zoo_partstyle.sheet import contact_sheet

OUT_HELP = "The set, JSON; translate takes it as object=FILE.json."
CLASSES_HELP = "Labels that mean the object: names, patterns with * and ?, ranges of ids A..B, separated by commas."


def command(
    images: Annotated[Path, typer.Option(metavar="DIR", help="Pictures, some of which show the object.")],
    object: Annotated[str, typer.Option(metavar="NAME", help="What the set is for.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help=OUT_HELP)],
    labels: Annotated[Path | None, typer.Option(metavar="CSV", help="Lines picture,label; else by file names.")] = None,
    classes: Annotated[str, typer.Option(help=CLASSES_HELP + " Else the object's name.")] = "",
    near: Annotated[str, typer.Option(help="Labels of kindred things: they help to find the place.")] = "",
    layers: Annotated[str, typer.Option(help="Layers of VGG-19.")] = ",".join(LAYERS),
    threshold: Annotated[
        str, typer.Option(help="Least purity (or what --by says), 0.8 or conv4_1=0.6,conv5_1=0.8.")
    ] = "",
    top: Annotated[int, typer.Option(min=1, max=100, help="How many pictures purity looks at.")] = 9,
    by: Annotated[Criterion, typer.Option(help="What a filter is chosen by; contrast needs --masks.")] = "purity",
    masks: Annotated[Path | None, typer.Option(metavar="DIR", help="Masks of the object, named like pictures.")] = None,
    sheet: Annotated[Path | None, typer.Option(metavar="FILE", help="A contact sheet, to judge by eye.")] = None,
    vgg_weights: Annotated[Path | None, typer.Option(metavar="FILE", help="VGG-19, else the one that ships.")] = None,
    device: Annotated[str | None, typer.Option(help="cuda, cuda:1, mps or cpu; else the best there is.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")] = False,
) -> dict[str, Any]:
    """Choose the filters of VGG-19 that respond to a kind of object, by a folder of labelled pictures.

    For each filter the pictures that excite it most are found; its purity is the share that shows the object.

    Example: zoo filters --images DIR --object dog --classes 'n02085620..n02113978' --out dog.json --sheet dog.png
    """
    chosen_layers, limits = _words(layers), _limits(threshold)
    try:
        _ = [width(layer) for layer in (*chosen_layers, *(limits if isinstance(limits, dict) else ()))]
    except ValueError as error:
        raise UsageError(str(error), "name some of them, separated by commas") from None
    if not chosen_layers or len(set(chosen_layers)) < len(chosen_layers):
        raise UsageError(f"--layers {layers!r} does not name layers, each once", f"e.g. {','.join(LAYERS)}")
    if (by == "contrast") != (masks is not None):
        raise UsageError("--by contrast and --masks go together", "give both or neither")
    _check_files(images, masks, out, sheet)
    read = [labels, vgg_weights, *(find_pictures([folder]) for folder in (images, masks) if folder)]
    Inputs(*read).ready(out, *([sheet] if sheet else []), replace=overwrite)
    listed = read_labels(labels) if labels else None
    words = _words(classes) or [object]
    network = VGG19(find("vgg", vgg_weights), last=max(chosen_layers)).to(chosen_device := pick_device(device))
    made = choose(
        network,
        find_pictures([images]),
        Labels(words, listed),
        object,
        near=Labels(_words(near), listed),
        layers=chosen_layers,
        threshold=limits,
        top=top,
        by=by,
        masks=masks,
        device=chosen_device,
    )
    assert made.set.made is not None
    facts = made.set.made.model_copy(update={"classes": tuple(words), "near": tuple(_words(near))})
    made.set.model_copy(update={"made": facts}).save(out, overwrite)
    rows = [
        (layer, number, purity, None if chosen.score is None else chosen.score[i])
        for layer, chosen in made.set.layers.items()
        for i, (number, purity) in enumerate(zip(chosen.filters, chosen.purity))
    ]
    title = f"{object}: {len(rows)} filters by {facts.by}; {facts.showing} of {facts.pictures} pictures show it"
    if sheet:
        write(contact_sheet(title, made.set, made.tops, made.pictures), sheet, overwrite)
    measure = [f"purity {p:.2f}" + ("" if c is None else f", {by} {c:.2f}") for _, _, p, c in rows]
    return {
        "object": object,
        "set": str(out),
        "sheet": str(sheet) if sheet else None,
        "pictures": facts.pictures,
        "showing": facts.showing,
        "filters": [{"layer": row[0], "filter": row[1], "purity": row[2], "score": row[3]} for row in rows],
        "left_out": made.left_out,
        "failed": f"{len(made.left_out)} pictures were left out" if made.left_out else "",
        "lines": [
            title,
            *(f"{layer} {number}: {told}" for (layer, number, _, _), told in zip(rows, measure)),
            *(f"left out: {fault}" for fault in made.left_out),
            f"the set is {out}" + (f", the contact sheet {sheet}" if sheet else ""),
        ],
    }


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _limits(text: str) -> float | dict[str, float] | None:
    """``0.8`` or ``conv4_1=0.6,conv5_1=0.8``. UsageError for anything else."""
    try:
        if "=" not in text:
            return _positive(text) if text else None
        return {layer.strip(): _positive(value) for layer, value in (part.split("=") for part in _words(text))}
    except ValueError:
        raise UsageError(
            f"--threshold {text!r} is no number from 0 on", "e.g. 0.8 or conv4_1=0.6,conv5_1=0.8"
        ) from None


def _positive(text: str) -> float:
    value = float(text)
    if not 0 <= value < float("inf"):
        raise ValueError
    return value


def _check_files(images: Path, masks: Path | None, out: Path, sheet: Path | None) -> None:
    """Before hours of work: are the folders there, and are these names of results."""
    for folder in (images, *([masks] if masks else [])):
        if not folder.is_dir():
            raise NotFoundError(f"there is no folder {folder}", "give a folder of pictures")
    if out.suffix != ".json":
        raise UsageError(f"{out} does not end in .json", "translate knows a set by it")
    if sheet:
        writable(sheet)
