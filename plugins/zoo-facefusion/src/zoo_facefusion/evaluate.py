"""``zoo fusion-eval``: reconstruction, fusions as a set, elements and paths of models of fusion, on faces kept out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import torch
import typer
from PIL import Image
from torch import Tensor

from zoo.errors import UsageError
from zoo.evaluate.album import strip
from zoo.evaluate.metric import Metric, Tools, View
from zoo.evaluate.models import labelled
from zoo.evaluate.pairs import LpipsMetric, SsimMetric
from zoo.evaluate.sets import KidMetric
from zoo.helpers.files import atomic
from zoo.helpers.inputs import Inputs
from zoo.machine.device import pick_device
from zoo.pictures.fit import resize
from zoo.pictures.image import find_pictures, read, to_pil, write
from zoo.progress import tell
from zoo.weights.networks import find as find_file
from zoo_facefusion.commands import fused
from zoo_facefusion.measure import DEAD, STEPS, Elements, alone, followed, likeness, path, profiles, stays, unevenness
from zoo_facefusion.parts import PARTS, by_network, by_people
from zoo_facefusion.regions import GROWN
from zoo_facefusion.translator import FusionTranslator

BATCH = 8
KINDS = ("fusions", "reconstructions")
PROFILED = 40
"""So many pairs tell what elements move."""

SHOWN = 8
"""So many pairs are rows of the strips that are kept."""

PROTOCOL = (
    "pairs: each of the faces drawn by the seed beside another one of the folder, both aligned portraits",
    "L1, SSIM, LPIPS: reconstructions at all λ = 1 and at all λ = 0 against the two faces; L1 with colours in 0 … 1",
    "KID: fusions at all λ = 0.5, and reconstructions at all λ = 1, against all faces of the folder; ratio: the former"
    " over the latter",
    f"least: how far the element that does least moves the picture, in equal shares of the way between the faces, or its own part"
    f" of the face, in the way there; dead: share of the elements that move it by less than {DEAD:g} of one",
    "alike: the largest cosine between the profiles of two elements, which are the shares of the change that fall into each"
    f" part of the two faces, the mean over up to {PROFILED} pairs",
    f"in the region: of the change by an element that is one, the share in that part of either face; near: within {GROWN:g}"
    " of the side",
    "the way: how far landmarks, and the mean and deviation of colours, go to the other face's when one element alone is its",
    f"uneven: largest over mean step of a path of {STEPS} pictures, the mean over pairs",
)
COLUMNS = {
    "L1": ("l1", ".4f"),
    "SSIM": ("ssim", ".3f"),
    "LPIPS": ("lpips", ".3f"),
    "KID": ("kid_fusions", ".4f"),
    "KID rec.": ("kid_reconstructions", ".4f"),
    "ratio": ("kid_ratio", ".2f"),
    "least": ("least", ".2f"),
    "dead": ("dead", ".0%"),
    "alike": ("alike", ".2f"),
    "uneven": ("unevenness", ".2f"),
}


def fusion_eval(
    names: Annotated[list[str], typer.Argument(metavar="MODEL", help="Models of fusion, or their files.")],
    faces: Annotated[
        Path, typer.Option(metavar="DIR", help="Aligned portraits of zoo fusion-crops; best of new people.")
    ],
    count: Annotated[int, typer.Option(min=2, help="So many of the faces, drawn by the seed.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="The same for all models.")] = 0,
    kid: Annotated[bool, typer.Option(help="Measure fusions as a set, which takes longest.")] = True,
    inception: Annotated[Path | None, typer.Option(metavar="FILE", help="For KID, as zoo eval's --features.")] = None,
    lpips: Annotated[Path | None, typer.Option(metavar="FILE", help="LPIPS' weights; measured if given.")] = None,
    parts: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Photographs, images/, and masks of parts, masks/: what elements move."),
    ] = None,
    save: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep results.json and two strips: paths and elements.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cuda, cuda:1, mps or cpu; else the best there is.")] = None,
) -> dict[str, Any]:
    """Measure models of fusion: are both faces given back, are fusions faces, does each element do something of its own.

    What elements move is told by the parts that a small network sees, or by people's: --parts takes a folder as
    CelebAMask-HQ has it, with values from 0 to 18 in masks/NAME.png for images/NAME.jpg. Numbers are comparable under one
    protocol, faces and seed only, which are printed with them.

    Example: zoo fusion-eval facefusion --faces faces/test --save report
    """
    place = pick_device(device)
    models = {label: fused(name, place) for label, name in labelled(names).items()}
    if save:
        kept = [save / f"{model}{end}.png" for model in models for end in ("", "-elements")]
        Inputs().ready(save / "results.json", *kept)
    pictures = find_pictures([faces]) if faces.is_dir() else []
    if len(pictures) < 2:
        raise UsageError(f"there are {len(pictures)} pictures in {faces}", "give a folder of zoo fusion-crops")
    files = {"inception": find_file("inception", inception, "--inception")} if kid else {}
    tools = Tools({**files, "lpips": lpips}, seed=seed, device=place)
    data = {"faces": _fingerprint(pictures), "seed": seed, "pairs": min(count, len(pictures))}
    data |= {"parts": _fingerprint(find_pictures([parts]))} if parts else {}
    results = [
        {"model": name, **Measurement(name, model, pictures, tools, kid, lpips is not None).run(count, save, parts)}
        for name, model in models.items()
    ]
    lines = [*PROTOCOL, "; ".join(f"{name}: {value}" for name, value in data.items())]
    for one in results:
        lines.append(f"{one['model']}: elements move {', '.join(f'{m:.2f}' for m in one['moved'])}")
        elements = one["elements"]
        lines += [f"{one['model']}: {name} moves {_told(shares)}" for name, shares in zip(elements, one["profiles"])]
        for name, (inside, near) in one["stays"].items():
            lines.append(
                f"{one['model']}: {name}: {inside:.0%} of the change is in the region, {near:.0%} in it or near"
            )
        for what, ways in one["followed"].items():
            lines.append(f"{one['model']}: of the way of {what}, elements go {', '.join(f'{way:.2f}' for way in ways)}")
    if save:
        with atomic(save / "results.json", replace=False) as part:
            part.write_text(json.dumps({**data, "lines": lines, "models": results}, indent=2) + "\n", encoding="utf-8")
    return {"rows": [_row(one) for one in results], **data, "lines": lines, "models": results}


class Measurement:
    """One model on the pictures of a folder."""

    def __init__(
        self, name: str, model: FusionTranslator, pictures: Sequence[Path], tools: Tools, kid: bool, lpips: bool
    ) -> None:
        self.name, self.pictures, self.tools = name, pictures, tools
        self.generator, self.side = model.generator.eval(), model.size.above(model.working)
        numbers = range(1, self.generator.elements + 1)
        self.called = self.generator.names or tuple(f"element {n}" for n in numbers)
        self.near: list[Metric] = [SsimMetric(tools), *([LpipsMetric(tools)] if lpips else [])]
        self.sets: dict[str, Metric] = {kind: KidMetric(tools) for kind in KINDS} if kid else {}
        self.elements, self.l1, self.uneven = Elements(), list[float](), list[float]()
        self.rows: list[list[Image.Image]] = []
        self.apart: list[list[Image.Image]] = []  # one element at a time

    @torch.inference_mode()
    def run(self, count: int, save: Path | None, parts: Path | None) -> dict[str, Any]:
        order = torch.randperm(len(self.pictures), generator=torch.Generator().manual_seed(self.tools.seed))
        drawn, others = order[:count], order.roll(-1)[:count]
        profile = self._profiles(drawn[:PROFILED], parts)  # first, since a folder of masks may be wrong
        for batch in torch.arange(len(drawn)).split(BATCH):
            tell(f"fusing by {self.name}", int(batch[0]), len(drawn))
            self._add(self._read(drawn[batch]), self._read(others[batch]))
        for number in range(len(self.pictures)) if self.sets else ():
            tell("KID: the faces", number, len(self.pictures))
            view = View(self._read(torch.tensor([number])))
            for metric in self.sets.values():
                metric.update(None, view)
        if save:
            heads = ("A", *(f"{share:g}" for share in torch.linspace(1, 0, STEPS).tolist()), "B")
            write(strip(heads, self.rows), save / f"{self.name}.png", replace=False)
            heads = ("A", "1", *self.called, "0", "B")
            write(strip(heads, self.apart), save / f"{self.name}-elements.png", replace=False)
        found = {metric.name: result.value for metric in self.near if (result := metric.result())}
        found |= {f"kid_{kind}": result.value for kind, one in self.sets.items() if (result := one.result())}
        if found.get("kid_reconstructions", 0) > 0:
            found["kid_ratio"] = found["kid_fusions"] / found["kid_reconstructions"]
        facts = {**found, **self.elements.facts(), **profile, "unevenness": fmean(self.uneven)}
        return {"n": len(drawn), "l1": fmean(self.l1), **facts}

    def _add(self, a: Tensor, b: Tensor) -> None:
        latents = [self.generator.encode(a), self.generator.encode(b)]
        frames = list(path(self.generator, latents))
        apart = self.elements.add(self.generator, latents, (frames[0], frames[-1]))
        self.uneven += unevenness(frames)
        for made, faces in ((frames[0], a), (frames[-1], b)):
            self.l1 += ((made - faces).abs().mean((1, 2, 3)) / 2).tolist()
            for one, face in zip(_as_files(made), faces):
                for metric in self.near:
                    metric.update(View(one[None]), View(face[None]))
        if self.sets:
            half = self.generator.shares(a.new_full((len(a), 1), 0.5), None, 1)
            made = self.generator.decode(self.generator.fuse(latents, half))
            for kind, images in zip(KINDS, (made, frames[0])):
                for one in _as_files(images):
                    self.sets[kind].update(View(one[None]), None)
        more = max(0, SHOWN - len(self.rows))
        self.rows += _cells(a, *frames, b)[:more]
        self.apart += _cells(a, frames[0], *apart, frames[-1], b)[:more]

    def _profiles(self, drawn: Tensor, parts: Path | None) -> dict[str, Any]:
        """What elements move, by the masks of ``parts`` or by the network of parts."""
        if parts:
            images, planes = by_people(parts, PROFILED, self.tools.seed, self.side)
        else:
            images = self._read(drawn)
            planes = by_network(images)
        made = alone(self.generator, images.to(self.tools.device))
        planes = planes.to(self.tools.device)
        profile = profiles(made, planes).mean(0)
        facts: dict[str, Any] = {"profiles": [dict(zip(PARTS, shares)) for shares in profile.tolist()]}
        facts |= {"elements": self.called, "stays": stays(made, planes, self.generator.names)}
        return facts | {"alike": likeness(profile), "followed": followed(made)}

    def _read(self, which: Tensor) -> Tensor:
        """(N,3,side,side) in [-1,1]."""
        faces = [resize(read(self.pictures[int(i)]).on_white().rgb, (self.side, self.side)) for i in which]
        return torch.stack(faces).to(self.tools.device)


def _cells(*columns: Tensor) -> list[list[Image.Image]]:
    """Columns (N,3,H,W) -> rows of pictures."""
    return [[to_pil(one.cpu()) for one in row] for row in zip(*columns)]


def _as_files(images: Tensor) -> Tensor:
    """In 8 bits, as files would hold them."""
    return images.add(1).mul(127.5).round().clamp(0, 255) / 127.5 - 1


def _fingerprint(pictures: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for one in pictures:
        digest.update(one.read_bytes())
    return f"{len(pictures)} pictures, sha256 {digest.hexdigest()[:16]}"


def _told(shares: dict[str, float]) -> str:
    """The shares of a profile, the largest first."""
    return ", ".join(f"{name} {share:.0%}" for name, share in sorted(shares.items(), key=lambda one: -one[1]))


def _row(facts: dict[str, Any]) -> dict[str, str]:
    cells = {"model": facts["model"], "n": str(facts["n"])}
    return cells | {head: format(facts[name], form) if name in facts else "" for head, (name, form) in COLUMNS.items()}
