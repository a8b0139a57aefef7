"""The page of a run, ``index.html``: how it goes and what to do next, one file that asks nothing of a network."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from zoo.helpers.files import atomic
from zoo.pictures.image import encode, read, to_pil
from zoo.recipe import Recipe
from zoo.train.heldout import Watch

WIDTH = 150  # pixels of a picture on the page
COLUMNS = 10  # looks that it shows at most
COLOURS = ("#1668b8", "#b8500f", "#2d8540", "#8a4bb0", "#a8323f", "#5e6b73", "#8a7400")


@dataclass(frozen=True)
class Course:
    """A run so far."""

    out: Path
    recipe: Recipe
    step: int
    total: int | None
    seconds: float
    rate: float
    watch: Watch | None

    @property
    def done(self) -> bool:
        return self.step == self.total


def column(images: Sequence[Tensor]) -> Tensor:
    """Pictures (3,H,W) of any sizes below each other, white where one is smaller: (3,ΣH,W)."""
    height, width = (max(image.shape[side] for image in images) for side in (1, 2))
    padded = [F.pad(i, (0, width - i.shape[2], 0, height - i.shape[1]), value=1.0) for i in images]
    return torch.cat(padded, dim=1)


def place(out: Path, name: str) -> Path:
    """Where a column of held-out pictures lies: ``photo``, ``artist``, or a step."""
    return out / "previews" / f"held-out-{name}.png"


def advice(course: Course) -> Iterator[str]:
    """What helps, most of all first."""
    watch, name, out = course.watch, course.recipe.name, course.out
    if watch is not None and watch.worse:
        yield (
            f"Nothing that was learned beats the beginning. Try half the rate (--set optimiser.lr={course.rate / 2:.1e}) into "
            "a new --out, and more drawings by the same hand."
        )
    elif watch is not None and watch.best is not None and course.done and watch.best.step == watch.looks[-1].step:
        yield "It was still getting better: the same command with more --minutes, --steps or --epochs goes on."
    elif watch is not None and watch.best is not None and len(watch.looks) > 2 and course.done:
        yield f"It was best at step {watch.best.step}; what came behind learned the pictures by heart. More drawings help."
    if not course.recipe.data.pairs:
        yield "If each drawing shows the sitter of a photograph: one name for both files, and --pairs. It learns far more."
    if not course.done:
        yield "Stopped, the same command goes on."
    yield f"zoo pack {out}"
    yield f"zoo translate {out}/packed/model.safetensors me.jpg -o drawing.png"
    if name:
        yield "More: docs/training.md."


def write_page(course: Course) -> None:
    with atomic(course.out / "index.html") as part:
        part.write_text("".join(_page(course)), encoding="utf-8")


def _page(course: Course) -> Iterator[str]:
    title = html.escape(f"{course.out.name}: {course.recipe.summary or course.recipe.name}")
    yield f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>{_STYLE}<h1>{title}</h1>'
    of = f" of {course.total:,}" if course.total else ""
    yield f"<p>Step {course.step:,}{of}, {course.seconds / 60:.0f} minutes.</p>"
    if course.watch is not None and course.watch.best is not None:
        yield from _held_out(course, course.watch)
    else:
        yield "<p>No sitters were held out, or VGG-19 is not installed: look at the previews, which are of pictures learned from.</p>"
    newest = max((course.out / "previews").glob("step-*.png"), default=None)
    if newest is not None:
        yield f"<h2>Pictures that were learned from, step {int(newest.stem[5:]):,}</h2>{_picture(to_pil(read(newest).rgb), 'previews')}"
    yield from _losses(course.out / "log.jsonl")
    yield "<h2>What to do next</h2><ul>"
    for line in advice(course):
        text = html.escape(line)
        yield f"<li>{f'<code>{text}</code>' if line.startswith('zoo ') else text}</li>"
    yield "</ul></html>\n"


def _held_out(course: Course, watch: Watch) -> Iterator[str]:
    assert watch.best is not None
    now = watch.looks[-1]
    yield (
        f"<h2>{len(watch.held.photos)} sitters that no step saw</h2><p>{html.escape(watch.held.measure.capitalize())}, less is better: "
        f"<b>{now.distance:.3f}</b> now, {watch.began:.3f} at the beginning, <b>{watch.best.distance:.3f}</b> at its best, "
        f"at step {watch.best.step:,}, whose weights <code>zoo pack</code> packs. The bare photographs have {watch.nothing:.3f}.</p>"
    )
    yield _curve("held out", [[(look.step, look.distance) for look in watch.looks]], watch.began, watch.best.step)
    yield '<div class="row">'
    for name, label in _shown(watch):
        if (path := place(course.out, name)).is_file():
            yield f"<figure><figcaption>{label}</figcaption>{_picture(to_pil(read(path).rgb), label)}</figure>"
    yield "</div>"


def _shown(watch: Watch) -> Iterator[tuple[str, str]]:
    """Columns by name: the photographs, some looks from first to last and the best among them, the artist's drawings."""
    assert watch.best is not None
    every = max(1, -(-len(watch.looks) // COLUMNS))
    steps = sorted({*(look.step for look in watch.looks[::every]), watch.looks[-1].step, watch.best.step})
    yield "photo", "photograph"
    for step in steps:
        yield f"{step:08d}", "beginning" if not step else f"step {step:,}{' · best' if step == watch.best.step else ''}"
    if watch.held.paired:
        yield "artist", "artist"


def _picture(image: Image.Image, label: str) -> str:
    if "previews" not in label:
        image = image.resize((WIDTH, max(1, round(image.height * WIDTH / image.width))), Image.Resampling.LANCZOS)
    data = base64.b64encode(encode(image, ".jpg")).decode()
    return f'<img alt="{html.escape(label)}" src="data:image/jpeg;base64,{data}">'


def _losses(path: Path) -> Iterator[str]:
    """A curve for each loss, by phase and name."""
    found: dict[str, list[tuple[float, float]]] = {}
    for text in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        line = json.loads(text)
        for name, value in line["losses"].items():
            found.setdefault(name, []).append((line["step"], value))
    if found:
        yield '<h2>Losses</h2><div class="row">'
        for i, (name, points) in enumerate(found.items()):
            yield _curve(name, [points[:: max(1, len(points) // 300)]], colour=COLOURS[i % len(COLOURS)])
        yield "</div>"


def _curve(
    name: str,
    lines: Sequence[Sequence[tuple[float, float]]],
    began: float | None = None,
    best: float | None = None,
    colour: str = COLOURS[0],
) -> str:
    """An SVG of 300×130: the values over the steps, a dashed line at ``began``, a dot at the step ``best``."""
    values = [y for line in lines for _, y in line] + ([] if began is None else [began])
    low, high, last = min(values), max(values), max(1.0, *(x for line in lines for x, _ in line))
    span = high - low or 1.0

    def at(x: float, y: float) -> tuple[float, float]:
        return round(10 + 280 * x / last, 1), round(105 - 80 * (y - low) / span, 1)

    drawn = [f'<text x="10" y="14">{html.escape(name)}</text>']
    drawn += [
        f'<text x="290" y="14" class="end">{low:.3g} … {high:.3g}</text>',
        f'<text x="290" y="125" class="end">{last:,.0f} steps</text>',
    ]
    if began is not None:
        y = at(0, began)[1]
        drawn.append(f'<line x1="10" x2="290" y1="{y}" y2="{y}" class="began"/>')
    for line in lines:
        path = " ".join("{},{}".format(*at(*point)) for point in line)
        drawn.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        drawn += ['<circle cx="{}" cy="{}" r="3.5"/>'.format(*at(*point)) for point in line if point[0] == best]
    return f'<svg viewBox="0 0 300 130" width="300" height="130">{"".join(drawn)}</svg>'


_STYLE = """<meta name="viewport" content="width=device-width"><style>
:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;margin:2em auto;max-width:75em;padding:0 1em}
h1{font-size:1.4em}h2{font-size:1.1em;margin-top:2em}.row{display:flex;gap:.5em;overflow-x:auto;flex-wrap:wrap}
figure{margin:0}figcaption{font-size:.8em}img{max-width:100%}code{overflow-wrap:anywhere}
svg text{font-size:11px;fill:currentColor}.end{text-anchor:end}.began{stroke:currentColor;stroke-dasharray:4;opacity:.6}
</style>"""
