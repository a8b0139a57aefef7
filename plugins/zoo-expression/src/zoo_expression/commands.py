"""`zoo morph` and `zoo expression-grid`: pictures on the way to an expression, and many expressions of one face."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from PIL import Image

from zoo import faces
from zoo.errors import ControlError, UsageError, ZooError, close_match, one_line
from zoo.evaluate.album import strip
from zoo.loading import load
from zoo.pictures.image import find_pictures, read, to_pil, writable, write
from zoo.pictures.morph import ready
from zoo.progress import tell
from zoo_expression.translator import ExpressionTranslator
from zoo_expression.units import EXPRESSIONS, LABELS, NAMES

CLOSE = 192
"""Side in pixels of a face in a grid."""

Name = Annotated[str, typer.Argument(metavar="MODEL", help="A model of expressions, or its file.")]
Face = Annotated[int, typer.Option(min=0, help="Which face, 1 is the largest; 0: the picture is a face crop.")]
Device = Annotated[str | None, typer.Option(help="cuda, cuda:1, mps or cpu; else the best there is.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a result that is there already.")]


def morph(
    name: Name,
    image: Annotated[Path, typer.Argument(metavar="IN", help="A photograph.")],
    out: Annotated[Path, typer.Option("--out", "-o", help=".gif, .webp, a film (.mp4), or a picture: a strip.")],
    to: Annotated[
        list[str], typer.Option(metavar="CONTROL=VALUE", help="Where it goes, such as happiness=1; again for more.")
    ],
    steps: Annotated[int, typer.Option(min=2, max=200, help="How many pictures.")] = 8,
    seconds: Annotated[float, typer.Option(min=0.1, help="From one end to the other.")] = 2.0,
    face: Face = 1,
    device: Device = None,
    overwrite: Overwrite = False,
) -> dict[str, Any]:
    """Go from the expression that a face has to another, in steps: a moving picture there and back, or a strip.

    Example: zoo morph ganimation-convnext portrait.jpg -o smile.gif --to happiness=1
    """
    ready(out, [name, image], overwrite)
    translator = _translator(name, device)
    made = translator.morph(image, steps=steps, face=face, **_controls(translator, to))
    return made.report(out, seconds, overwrite)


def grid(
    name: Name,
    images: Annotated[list[Path], typer.Argument(metavar="IN…", help="Photographs, or folders of them: the rows.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The grid, a picture.")],
    unit: Annotated[
        list[str] | None, typer.Option(metavar="AU12", help="Columns are values of this unit; again: of them together.")
    ] = None,
    values: Annotated[str, typer.Option(metavar="0,1,2", help="The values of --unit.")] = "0,0.5,1,1.5,2",
    face: Face = 1,
    device: Device = None,
    overwrite: Overwrite = False,
) -> dict[str, Any]:
    """Show faces with many expressions: the thesis's figures. Columns are all expressions, or the values of a unit.

    Example: zoo expression-grid ganimation-convnext portraits -o grid.png --unit AU12
    """
    paths = find_pictures(images)
    if not paths:
        raise UsageError(f"there are no pictures in {', '.join(map(str, images))}", "give photographs")
    writable(out)
    ready(out, [name, paths], overwrite)
    translator = _translator(name, device)
    columns = _columns(translator, unit or (), values)
    photographs, failed = {}, []
    for path in paths:
        try:
            photographs[path] = to_pil(read(path).rgb)
        except ZooError as error:
            failed.append(one_line(f"{path}: {error}"))
    drawn = []
    for number, (title, controls) in enumerate(columns.items()):
        tell(title, number, len(columns))
        drawn.append(list(translator.stream(photographs.values(), face=face, **controls)))
    rows = []
    for (path, photograph), *row in zip(photographs.items(), *drawn):
        if fault := next((made for made in row if isinstance(made, ZooError)), None):
            failed.append(one_line(f"{path}: {fault}"))
        else:
            rows.append(_close([photograph, *row], face))
    if not rows:
        raise UsageError(failed[0], "give a photograph of a face seen from the front")
    write(strip(("photograph", *columns), rows), out, overwrite)
    told = f"{len(failed)} of {len(paths)} pictures left out" if failed else ""
    lines = [*failed, f"{len(rows)} × {len(columns)} pictures: {out}"]
    return {"lines": lines, "out": str(out), "failed": told}


def _close(row: Sequence[Image.Image], number: int) -> list[Image.Image]:
    """The same face of pictures that show the same scene: nothing of a large photograph would be seen in a grid. Of a picture that
    has less around it there is less."""
    if not number:
        return list(row)
    photograph = read(row[0]).rgb
    matrix = faces.crop(photograph, faces.find(photograph)[number - 1], CLOSE, faces.PORTRAIT).matrix
    side = min(CLOSE * float(matrix[:, 0].norm()), *row[0].size)
    middle = (matrix[:, :2].sum(1) * CLOSE / 2 + matrix[:, 2]).tolist()
    left, top = (min(max(at - side / 2, 0.0), whole - side) for at, whole in zip(middle, row[0].size))
    box = (left, top, left + side, top + side)
    return [image.resize((CLOSE, CLOSE), Image.Resampling.LANCZOS, box) for image in row]


def _translator(name: str, device: str | None) -> ExpressionTranslator:
    translator = load(name, device=device)
    if not isinstance(translator, ExpressionTranslator):
        raise UsageError(f"{name} is no model of expressions", "zoo list --task facial-expression names them")
    return translator


def _controls(translator: ExpressionTranslator, words: Sequence[str]) -> dict[str, Any]:
    known = {control.name: control for control in translator.controls}
    values = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or name not in known:
            raise UsageError(f"cannot read --to {word!r}", close_match(name, known) if equals else "write --to AU12=2")
        if name == "face":
            raise UsageError("--to takes no face", "write --face")
        values[name] = known[name].text(text)
    return values


def _columns(translator: ExpressionTranslator, units: Sequence[str], values: str) -> Mapping[str, dict[str, Any]]:
    if translator.generator.labels:
        if units:
            raise UsageError("this model knows five expressions and no units", "leave out --unit")
        return {label: {"expression": label} for label in LABELS}
    if not units:
        return {name: {name: 1.0} for name in EXPRESSIONS}
    if wrong := [unit for unit in units if unit not in NAMES]:
        raise ControlError(f"no unit is called {wrong[0]}", close_match(wrong[0], NAMES))
    try:
        numbers = [float(value) for value in values.split(",")]
    except ValueError:
        raise UsageError(f"--values {values} is not numbers", "write --values 0,1,2") from None
    title = " ".join(units)
    return {f"{title} {number:g}": dict.fromkeys(units, number) for number in numbers}
