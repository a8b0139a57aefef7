"""``zoo anime-eval`` and ``zoo landmark-eval``: what chapters 4 and 5 of the thesis measure, and whether it failed as there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, cast

import torch
import typer
from PIL import Image
from torch import Tensor

from zoo.errors import ImageError, NotFoundError, UsageError, one_line
from zoo.evaluate.album import Album
from zoo.evaluate.compare import Sitter, by_name
from zoo.evaluate.metric import Tools, View
from zoo.evaluate.models import labelled
from zoo.evaluate.sets import KidMetric
from zoo.loading import load
from zoo.machine.device import pick_device
from zoo.pictures.fit import resize
from zoo.pictures.image import read, to_pil
from zoo.progress import tell
from zoo.translator import Translator
from zoo.weights.networks import find
from zoo_animeface.dan import Dan, load_dan
from zoo_animeface.measure import Accuracy, Variety
from zoo_animeface.photos import photo_points
from zoo_animeface.points import SIDE, TABLE, read_points

PHOTOGRAPHS = "photographs"
BATCH = 64
PROTOCOL = (
    "KID: against the drawings, in Inception's features; of photographs: their own",
    f"variety: standard deviation over the set, mean over pixels at {SIDE}×{SIDE}, beside that of the drawings: near 0"
    " one picture is made of every photograph",
    "changed: mean change of colours in 0 … 1: near 0 the result is the photograph",
    f"landmarks: root of the mean squared distance in pixels of {SIDE} between the photograph's points by dlib, lower lids"
    " moved down, and those that the detector finds in the result, mean over faces",
)


@dataclass
class Score:
    """What is known of one model's results so far."""

    kid: KidMetric
    variety: Variety = field(default_factory=Variety)
    changes: list[float] = field(default_factory=list)
    small: list[Tensor] = field(default_factory=list)  # results (3,112,112) whose photograph has a face
    points: list[Tensor] = field(default_factory=list)  # of those photographs

    def add(self, result: Tensor, photo: Tensor, points: Tensor) -> None:
        """``result`` and ``photo`` (3,H,W) in [-1,1], ``points`` (40,2) of the photograph, NaN without a face."""
        self.kid.update(View(result[None].to(self.kid.tools.device)), None)
        small = resize(result, (SIDE, SIDE)).clamp(-1, 1)
        self.variety.add(small)
        self.changes.append(float((small - resize(photo, (SIDE, SIDE))).abs().mean() / 2))
        if points.isfinite().all():
            self.small.append(small)
            self.points.append(points)

    def landmarks(self, dan: Dan, device: torch.device) -> Accuracy | None:
        if not self.small:
            return None
        found = [
            dan.points(torch.stack(self.small[i : i + BATCH]).to(device)).cpu()
            for i in range(0, len(self.small), BATCH)
        ]
        return Accuracy.of(torch.cat(found), torch.stack(self.points))


def anime_eval(
    names: Annotated[list[str], typer.Argument(metavar="MODEL", help="Models, or weights files (.safetensors).")],
    photos: Annotated[Path, typer.Option(metavar="DIR", help="Photographs of faces that training did not see.")],
    drawings: Annotated[Path, typer.Option(metavar="DIR", help="Anime faces that training did not see.")],
    face: Annotated[
        int, typer.Option(min=0, help="For models that ask for it; 0: the photographs are portraits already.")
    ] = 0,
    dan: Annotated[Path | None, typer.Option(metavar="FILE", help="The detector; else dan-anime.")] = None,
    features: Annotated[Path | None, typer.Option(metavar="FILE", help="For KID, as that of zoo eval.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of KID's subsets.")] = 0,
    save: Annotated[Path | None, typer.Option(metavar="DIR", help="Keep pictures, results.json and strip.png.")] = None,
    device: Annotated[str | None, typer.Option(help="cuda, cuda:1, mps or cpu; else the best there is.")] = None,
) -> dict[str, Any]:
    """Measure translators from photographs to anime faces: KID, collapse, change, landmarks.

    Exit code 6: some pictures were left out.

    Example: zoo anime-eval animegan-landmark --photos test/photo --drawings test/anime --save report
    """
    place = pick_device(device)
    detector = load_dan(dan).to(place)
    tools = Tools({"inception": find("inception", features, "--features")}, seed=seed, device=place)
    models = {label: load(name, device=place) for label, name in labelled(names).items()}
    sitters, drawn = by_name(photos), by_name(drawings)
    album = Album(save, [*models], list(sitters)[:8], sitters) if save else None
    points = dict(zip(sitters, photo_points(list(sitters.values()), photos)))
    scores = {label: Score(KidMetric(tools)) for label in (PHOTOGRAPHS, *models)}
    faults: list[str] = []
    real = Variety()
    with torch.inference_mode():
        for drawing in _readable(drawn, "reading drawings", faults):
            real.add(resize(drawing.picture, (SIDE, SIDE)))
            view = View(drawing.picture[None].to(place))
            for score in scores.values():
                score.kid.update(None, view)
        for photo in _readable(sitters, "translating", faults):
            made: dict[str, Image.Image] = {}
            try:
                results = {label: _drawn(model, photo.picture, face) for label, model in models.items()}
            except ImageError as error:
                faults.append(f"left out: {photo.path}: {one_line(str(error))}")
                continue
            for label, result in ((PHOTOGRAPHS, photo.picture), *results.items()):
                scores[label].add(result, photo.picture, points[photo.name])
            if album:
                made = {label: to_pil(result) for label, result in results.items()}
                album.add(Sitter(photo.name, photo.path, None), made)
        facts = [_facts(label, score, real, detector, place) for label, score in scores.items()]
    told = {"photographs": len(sitters), "drawings": len(drawn), "seed": seed, "face": face}
    lines = [*faults, *PROTOCOL, "; ".join(f"{name}: {value}" for name, value in told.items())]
    if album:
        album.finish({**told, "models": facts, "lines": lines})
    failed = f"{len(faults)} pictures were left out" if faults else ""
    return {"rows": [_row(one) for one in facts], **told, "models": facts, "lines": lines, "failed": failed}


def _facts(label: str, score: Score, real: Variety, dan: Dan, device: torch.device) -> dict[str, Any]:
    kid, found = score.kid.result(), score.landmarks(dan, device)
    return {
        "model": label,
        "n": len(score.changes),
        "kid": None if kid is None else kid.value,
        "variety": score.variety.value / max(real.value, 1e-9),
        "changed": sum(score.changes) / max(len(score.changes), 1),
        "landmarks": None if found is None else found.rmse,
        "faces": 0 if found is None else found.n,
    }


def _row(facts: dict[str, Any]) -> dict[str, str]:
    return {
        key: "" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value)
        for key, value in facts.items()
    }


def _drawn(model: Translator, photo: Tensor, face: int) -> Tensor:
    """``photo`` and its result (3,H,W) in [-1,1]."""
    asked: dict[str, Any] = {"face": face} if any(control.name == "face" for control in model.controls) else {}
    return 2 * cast(Tensor, model.translate((photo + 1) / 2, **asked)).cpu() - 1


# -- the detector -----------------------------------------------------------------------------------------------------


def landmark_eval(
    names: Annotated[list[str], typer.Argument(metavar="MODEL", help="Detectors, or their files.")],
    faces: Annotated[Path, typer.Option(metavar="DIR", help="Anime faces and their points.csv, not seen in training.")],
    device: Annotated[str | None, typer.Option(help="cuda, cuda:1, mps or cpu; else the best there is.")] = None,
) -> dict[str, Any]:
    """Measure detectors of landmarks as table 4.1 of the thesis: RMSE and outliers, in pixels of 112.

    Exit code 6: some pictures were left out.

    Example: zoo landmark-eval dan-anime --faces labelled/test
    """
    place = pick_device(device)
    table = {name: row.shape for name, row in read_points(faces / TABLE).items() if row.shape is not None}
    faults: list[str] = []
    paths = {name: faces / name for name in sorted(table)}
    seen = list(_readable(paths, "reading faces", faults))
    if not seen:
        raise UsageError(f"no face of {faces} can be used", f"{TABLE} names its pictures and their points")
    pictures = torch.stack([resize(one.picture, (SIDE, SIDE)) for one in seen])
    true = torch.stack([cast(Tensor, table[one.name]) for one in seen])
    rows, models, where = [], [], list[str]()
    for label, name in labelled(names).items():
        detector = load(name, device=place).generator
        if not isinstance(detector, Dan):
            raise UsageError(f"{name} finds no landmarks", "dan-anime does")
        with torch.inference_mode():
            found = torch.cat([detector.points(batch.to(place)).cpu() for batch in pictures.split(BATCH)])
        score = Accuracy.of(found, true)
        models.append({"model": label, **vars(score)})
        parts = ", ".join(f"{part} {distance:.1f}" for part, distance in score.groups.items())
        where.append(f"{label}: mean distance of points: {parts}")
        rows.append({
            "model": label, "n": str(score.n), "RMSE": f"{score.rmse:.2f}",
            "outliers": f"{score.outliers:.2%}", "faces with one": f"{score.faces:.1%}",
        })  # fmt: skip
    failed = f"{len(faults)} pictures were left out" if faults else ""
    return {"rows": rows, "models": models, "lines": [*where, *faults], "failed": failed}


@dataclass(frozen=True)
class _Read:
    name: str
    path: Path
    picture: Tensor  # (3,H,W) in [-1,1]


def _readable(paths: dict[str, Path], what: str, faults: list[str]) -> Iterator[_Read]:
    """The pictures that can be read; the others' faults go into ``faults``."""
    for i, (name, path) in enumerate(paths.items()):
        tell(what, i, len(paths))
        try:
            picture = read(path).on_white().rgb
        except (ImageError, NotFoundError) as error:
            faults.append(f"left out: {one_line(str(error))}")
            continue
        yield _Read(name, path, picture)
    tell(what, len(paths), len(paths))
