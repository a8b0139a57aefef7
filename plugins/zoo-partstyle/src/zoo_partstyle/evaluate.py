"""Does the style stay on the object, and does it get there? Models of style transfer, measured by photographs with masks."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from zoo.blocks.vgg import VGG19
from zoo.catalogue.registry import registry
from zoo.control import check
from zoo.errors import ImageError, IntegrityError, NotFoundError, UsageError, ZooError, one_line
from zoo.evaluate.album import strip
from zoo.evaluate.compare import Sitter, match
from zoo.helpers.files import atomic
from zoo.helpers.inputs import Inputs
from zoo.loading import is_recipe, load
from zoo.pictures.image import read, to_pil, write
from zoo.progress import tell
from zoo.translator import Translator
from zoo.weights.sources import locate
from zoo_partstyle.measure import LAYERS, VISIBLE, Scale, Scene, fitted, mean, row, scene

PROTOCOL = (
    "inside, outside: mean absolute colour difference (0 … 1) of result and photograph, on the object and elsewhere;"
    " ratio: of these two means",
    f"style: distance of the Gram matrices of VGG-19's {', '.join(LAYERS)} to the painting's, over that of the"
    " photograph: 1 is as far as before, 0.5 is halved. Frobenius norm over the painting's own, mean over the layers",
    f"changed: share of the object's pixels whose colour changed by more than {VISIBLE}",
)
SHOWN = 12
"""So many photographs are rows of a strip."""


def style_eval(
    names: Annotated[list[str], typer.Argument(metavar="MODEL", help="Models of style transfer, or their files.")],
    photos: Annotated[Path, typer.Option(metavar="DIR", help="The photographs.")],
    masks: Annotated[
        Path, typer.Option(metavar="DIR", help="Masks under the photographs' names: white is the object.")
    ],
    style: Annotated[list[Path], typer.Option(metavar="FILE", help="A painting; may be given several times.")],
    object: Annotated[str, typer.Option(help="For models that look for an object themselves.")] = "dog",
    iterations: Annotated[int | None, typer.Option(min=1, help="The same for all models; else each model's.")] = None,
    size: Annotated[int, typer.Option(min=0, help="Larger pictures are scaled to this long side; 0: none.")] = 512,
    seed: Annotated[int, typer.Option(min=0, help="The same for all models.")] = 0,
    with_mask: Annotated[bool, typer.Option("--with-mask", help="Models that take a mask also with it.")] = False,
    device: Annotated[str | None, typer.Option(help="cuda, cuda:1, mps or cpu; else the best there is.")] = None,
    save: Annotated[Path | None, typer.Option(metavar="DIR", help="Keep results, results.json and strips.")] = None,
) -> dict[str, Any]:
    """Measure style transfer inside and outside of an object: change, style, and how much of the object changed.

    No model is given the masks, but with --with-mask in a row of its own. A photograph that cannot be used is left
    out and named. Numbers are comparable under one protocol only, which is printed with them.

    Example: zoo style-eval gatys partstyle --photos photos --masks masks --style painting.jpg --object dog
    """
    paintings = {name: fitted(read(path).on_white().rgb, size) for name, path in _named(style, "styles").items()}
    sides = _sides(names, device, with_mask, {"object": object, "iterations": iterations, "seed": seed})
    for side in sides.values():  # before any work
        side.translator.check(check(side.translator.controls, {**side.controls, "style": [*style[:1]]}))
    pairs = match(photos, masks)
    scenes, left_out, alone = _scenes(pairs, size)
    album = Album(save, list(sides), list(paintings), scenes) if save else None
    vgg = VGG19(locate(registry().card("vgg19")[0])).to(next(iter(sides.values())).translator.device)
    work = Work(len(scenes) * len(paintings) * len(sides))
    results: list[dict[str, Any]] = []
    for painting, look in paintings.items():
        for one in scenes:
            scale = Scale(vgg, one, look)
            for label, side in sides.items():
                facts = {"model": label, "photo": one.name, "style": painting}
                started = time.perf_counter()
                try:
                    made = work.result(", ".join(facts.values()), side, one, look)
                except (ImageError, IntegrityError) as error:
                    left_out.append(f"left out: {label}, {one.name}: {one_line(str(error))}")
                    continue
                results.append({**facts, **scale.measure(made), "seconds": round(time.perf_counter() - started, 2)})
                if album:
                    album.add(label, one, painting, made)
    if not results:
        raise UsageError("no photograph could be used", left_out[0].removeprefix("left out: "))
    models = [mean(label, [result for result in results if result["model"] == label]) for label in sides]
    conditions = (
        f"{len(scenes)} photographs, {len(style)} styles, {_fingerprint(pairs, style)}; size {size}, seed {seed},"
        f" iterations: {iterations or 'those of each model'}, object: {object}"
    )
    lines = [*left_out, *alone, *PROTOCOL, conditions]
    if album:
        album.finish({"lines": lines, "models": models, "results": results})
    failed = f"{len(left_out)} pictures were left out" if left_out else ""
    rows = [row(model) for model in models]
    return {"rows": rows, "lines": lines, "models": models, "results": results, "failed": failed}


# -- what is compared -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Side:
    """A model and the controls that it has of those that all get."""

    translator: Translator
    controls: Mapping[str, Any]
    given_mask: bool = False


def _sides(names: Sequence[str], device: str | None, with_mask: bool, controls: Mapping[str, Any]) -> dict[str, Side]:
    """The models by name; those that take a mask once more with it."""
    sides: dict[str, Side] = {}
    for label, name in _named(names, "models").items():
        translator = load(name, weights="vgg19" if is_recipe(name) else "default", device=device)
        known = {control.name: control for control in translator.controls}
        if "style" not in known or not getattr(known["style"], "many", False):
            raise UsageError(f"{label} is no model of style transfer", "zoo list --task style-transfer names them")
        own = {key: value for key, value in controls.items() if key in known and value is not None}
        sides[label] = Side(translator, own)
        if with_mask and "mask" in known:
            sides[f"{label} with mask"] = Side(translator, own, True)
    return sides


def _named(given: Sequence[str | Path], what: str) -> dict[str, Any]:
    """Each by a name that a file may have. UsageError if two have one."""
    named: dict[str, Any] = {}
    for one in given:
        is_file = isinstance(one, Path) or Path(one).suffix in (".safetensors", ".yaml", ".yml")
        name = Path(one).stem if is_file else str(one)
        if name in named:
            raise UsageError(f"two {what} are called {name}", "name each once")
        named[name] = one
    return named


def _scenes(pairs: Sequence[Sitter], size: int) -> tuple[list[Scene], list[str], list[str]]:
    """The photographs that can be used, a line on each that cannot, and lines on what has no partner.

    UsageError if none can be used."""
    scenes, left_out, lonely = [], [], []
    for pair in pairs:
        if pair.photo and pair.drawing:
            try:
                scenes.append(scene(pair.name, pair.photo, pair.drawing, size))
            except (ImageError, NotFoundError) as error:
                left_out.append(f"left out: {one_line(str(error))}")
    alone = {
        "photographs without a mask": [pair.name for pair in pairs if not pair.drawing],
        "masks without a photograph": [pair.name for pair in pairs if not pair.photo],
    }
    for what, names in alone.items():
        if names:
            lonely.append(one_line(f"left out: {len(names)} {what}: {', '.join(names[:5])}{', …' * (len(names) > 5)}"))
    if not scenes:
        raise UsageError(
            "no photograph has a mask that can be used", [*left_out, *lonely][0].removeprefix("left out: ")
        )
    return scenes, left_out, lonely


def _fingerprint(pairs: Sequence[Sitter], styles: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in (
        *(path for pair in pairs if pair.photo and pair.drawing for path in (pair.photo, pair.drawing)),
        *styles,
    ):
        digest.update(path.read_bytes())
    return f"sha256 {digest.hexdigest()[:16]}"


# -- translating ------------------------------------------------------------------------------------------------------


class Work:
    """Translates, and tells how far all of it is."""

    def __init__(self, total: int) -> None:
        self.total, self.finished = total, 0
        self._told = 1, 1  # of the present picture: done, total
        self._outside = copy_context()  # with who listens to the command, not to one picture

    def result(self, title: str, side: Side, one: Scene, style: Tensor) -> Tensor:
        """(3,H,W) in [-1,1]. KeyboardInterrupt after Ctrl-C, for which a translator gives its best so far."""

        def progress(what: str, done: int, total: int, image: Tensor | None = None) -> None:
            self._told = done, total
            self._outside.run(tell, title, self.finished * total + done, self.total * total)

        def asked() -> Iterator[Tensor]:
            self._told = 1, 1
            yield (one.photo + 1) / 2
            if self._told[0] < self._told[1]:  # stopped: the translator says so in the place of the next
                yield (one.photo[:, :1, :1] + 1) / 2

        mask = {"mask": [one.object.expand(3, -1, -1).float()]} if side.given_mask else {}
        controls = {**side.controls, **mask, "style": [(style + 1) / 2]}
        made, *_ = side.translator.stream(asked(), size=0, progress=progress, **controls)
        self.finished += 1
        if isinstance(made, ZooError):
            raise made
        result: Tensor = made * 2 - 1
        return result


# -- what is kept -----------------------------------------------------------------------------------------------------


class Album:
    """Writes ``folder/MODEL/PHOTO--STYLE.png``, at the end a strip for each style and ``results.json``.

    UsageError if one of them is there already."""

    def __init__(self, folder: Path, labels: Sequence[str], styles: Sequence[str], scenes: Sequence[Scene]) -> None:
        self.folder, self.labels, self.styles, self.scenes = folder, labels, styles, scenes
        made = [self._path(label, one, style) for label in labels for one in scenes for style in styles]
        Inputs().ready(*made, *map(self._strip, styles), folder / "results.json")

    def _path(self, label: str, one: Scene, style: str) -> Path:
        return self.folder / label / f"{one.name}--{style}.png"

    def _strip(self, style: str) -> Path:
        return self.folder / f"strip-{style}.png"

    def add(self, label: str, one: Scene, style: str, made: Tensor) -> None:
        write(to_pil(made), self._path(label, one, style), replace=False)

    def finish(self, results: Mapping[str, Any]) -> None:
        with atomic(self.folder / "results.json", replace=False) as part:
            part.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        for style in self.styles:
            rows = [self._row(one, style) for one in self.scenes[:SHOWN]]
            write(strip(("photograph", "object", *self.labels), rows), self._strip(style), replace=False)

    def _row(self, one: Scene, style: str) -> list[Image.Image | None]:
        made = [self._path(label, one, style) for label in self.labels]
        kept = [to_pil(read(path).rgb) if path.exists() else None for path in made]
        return [to_pil(one.photo), _outlined(one), *kept]


def _outlined(one: Scene) -> Image.Image:
    """The photograph with a line around the object."""
    area = one.object[None, None].float()
    thick = 1 + 2 * max(1, max(one.object.shape) // 300)
    edge = F.max_pool2d(area, thick, 1, thick // 2) - area
    colour = one.photo.new_tensor([1.0, 0.6, -1.0])[:, None, None]
    return to_pil(one.photo + edge[0] * (colour - one.photo))
