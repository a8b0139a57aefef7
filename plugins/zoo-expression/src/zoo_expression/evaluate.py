"""``zoo expression-eval``: does a model do what it is asked, and nothing else, measured by a judge it never saw."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from zoo.catalogue.registry import registry
from zoo.evaluate.metric import Metric, Tools, View
from zoo.evaluate.models import labelled
from zoo.evaluate.sets import FidMetric, KidMetric
from zoo.loading import load
from zoo.machine.device import pick_device
from zoo.progress import tell
from zoo.weights.networks import find as find_file
from zoo.weights.sources import locate
from zoo_expression.album import Album
from zoo_expression.judge import load_judge, read_faces
from zoo_expression.measure import JUDGED, VALUES, Geometry, Identity
from zoo_expression.motion import TABLE, read_motion
from zoo_expression.sweep import BATCH, COMPARED, Editor, measure
from zoo_expression.trainer import labels
from zoo_expression.units import MOST

PROTOCOL = (
    f"sweep: each of the 17 units alone is asked to be {', '.join(map(str, VALUES))}, the others stay as the model's"
    " own meter reads them. r: correlation of asked and measured over all pictures and values; slope: by least squares;"
    " else: slope of the other unit that moves most with it, in absolute",
    f"r, slope, else: means over {', '.join(JUDGED)}, measured by the judge; own: by the model's own meter",
    "geometry: r and slope of dlib's landmarks along a table of motion, means over AU 2, 4, 12, 15, 25, 26 asked for 0, 1"
    " and 2; blink: how far eyes are open at AU45 2, as a share of before",
    "agrees: share of a label model's edits that show the label asked for, by the judge's units",
    f"distance: of dlib's face descriptors before and after, of every {COMPARED}th edit, drawn by the seed; same: share"
    " below 0.6, one person by dlib",
    "own L1: mean change, colours in 0 … 1, when asked for what the model's own meter reads",
    f"A: mean of the attention over edits at {VALUES[-1]} and their pixels, 1 is the picture as it was",
)
COLUMNS = {
    "r": ("judge", "correlation", ".3f"),
    "slope": ("judge", "slope", ".3f"),
    "else": ("judge", "other_slope", ".3f"),
    "geometry": ("geometry", "correlation", ".3f"),
    "its slope": ("geometry", "slope", ".3f"),
    "blink": ("geometry", "open", ".2f"),
    "own r": ("own", "correlation", ".3f"),
    "own slope": ("own", "slope", ".3f"),
    "agrees": ("agreement", "judge", ".3f"),
    "distance": ("identity", "distance", ".3f"),
    "same": ("identity", "same", ".3f"),
    "own L1": ("own_edit", "l1", ".4f"),
    "A": ("attention", "mean", ".3f"),
    "FID": ("fid", "value", ".1f"),
    "KID": ("kid", "value", ".4f"),
}


def expression_eval(
    names: Annotated[list[str], typer.Argument(metavar="MODEL", help="Models of expression, or their files.")],
    faces: Annotated[Path, typer.Option(metavar="DIR", help="Face crops with their aus.csv; best of new people.")],
    judge: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Measures the edits: one of zoo au-judge; else the one that comes along."),
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="So many of the faces, drawn by the seed.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="The same for all models.")] = 0,
    motion: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="For the geometry: one of zoo motion-table; else the one that comes along."),
    ] = None,
    fid: Annotated[int, typer.Option(min=0, metavar="N", help="FID and KID of N edits against all faces.")] = 0,
    inception: Annotated[Path | None, typer.Option(metavar="FILE", help="For --fid, as zoo eval's --features.")] = None,
    size: Annotated[int, typer.Option(min=1, help="Side in pixels at which edited faces are measured.")] = 128,
    save: Annotated[Path | None, typer.Option(metavar="DIR", help="Keep results.json and strips of edits.")] = None,
    device: Annotated[str | None, typer.Option(help="cuda, cuda:1, mps or cpu; else the best there is.")] = None,
) -> dict[str, Any]:
    """Measure models of expression: action units asked for and shown, what else moved, identity, FID.

    Numbers are comparable under one protocol, faces, seed and judge only, which are printed with them. Exit code 6:
    some pictures were left out.

    Example: zoo expression-eval ganimation --faces crops/test --save report
    """
    place = pick_device(device)
    judge = judge or locate(registry().card("au-judge")[0])
    reader = load_judge(judge).to(place)
    table = read_motion(motion or TABLE)
    editors = [Editor(label, load(name, device=place)) for label, name in labelled(names).items()]
    album = Album(save, {editor.label: editor.kinds for editor in editors}) if save else None
    known = read_faces(faces, size, count, seed)
    sets = Sets(faces, size, fid, seed, inception, editors) if fid else None
    data = {"faces": known.fingerprint, "seed": seed, "size": size, "judge": _identity(judge)}
    faults = sets.faces.faults if sets else known.faults
    lines = [*faults, *PROTOCOL, "; ".join(f"{name}: {value}" for name, value in data.items())]
    models = []
    for editor in editors:
        facts = {
            "model": editor.label,
            "n": len(known),
            **measure(editor, known, reader, seed, Identity(), album, Geometry(table)),
        }
        if sets:
            facts |= sets.measure(editor)
        models.append(facts)
        lines += ["", *_lines(facts)]
    if sets:
        lines += ["", *sets.lines]
    if album:
        album.finish({**data, "lines": lines, "models": models})
    failed = f"{len(faults)} pictures were left out" if faults else ""
    return {"rows": [_row(facts) for facts in models], **data, "lines": lines, "models": models, "failed": failed}


# -- sets of pictures -------------------------------------------------------------------------------------------------


class Sets:
    """FID and KID of ``count`` edits to a random other face's units, as in training, against all faces of the folder.

    NotFoundError if there is no file for ``inception``.
    """

    def __init__(
        self, folder: Path, size: int, count: int, seed: int, inception: Path | None, editors: Sequence[Editor]
    ) -> None:
        self.device = editors[0].translator.device
        tools = Tools({"inception": find_file("inception", inception, "--inception")}, seed=seed, device=self.device)
        self.metrics: dict[str, list[Metric]] = {one.label: [FidMetric(tools), KidMetric(tools)] for one in editors}
        self.faces = read_faces(folder, size)
        number, dice = len(self.faces), torch.Generator().manual_seed(seed)
        self.drawn = torch.randperm(number, generator=dice)[:count]
        further = torch.randint(1, max(2, number), (len(self.drawn),), generator=dice)
        self.units = self.faces.units[(self.drawn + further) % number]
        self.lines = ["IS is left out: this Inception gives 2048 features, no scores of classes"]
        with torch.inference_mode():
            for i in range(number):
                tell("FID: the faces", i, number)
                view = View(self.faces.floats(slice(i, i + 1)).to(self.device))
                for metric in chain(*self.metrics.values()):
                    metric.update(None, view)

    @torch.inference_mode()
    def measure(self, editor: Editor) -> dict[str, Any]:
        conditions = labels(self.units) if editor.generator.labels else self.units / MOST
        for batch in torch.arange(len(self.drawn)).split(BATCH):
            tell(f"FID: edits of {editor.label}", int(batch[0]), len(self.drawn))
            made = editor.edit(self.faces.floats(self.drawn[batch]), conditions[batch])["image"]
            levels = made.add(1).mul(127.5).round().clamp(0, 255)  # as a file would hold them
            for one in (levels / 127.5 - 1).split(1):
                view = View(one)
                for metric in self.metrics[editor.label]:
                    metric.update(view, None)
        results = [result for metric in self.metrics[editor.label] if (result := metric.result())]
        told = [f"{one.name}: n {one.n}; " + "; ".join(map(": ".join, one.protocol.items())) for one in results]
        self.lines[1:] = told  # alike for all models
        return {result.name: result.model_dump(exclude_none=True) for result in results}


# -- telling ----------------------------------------------------------------------------------------------------------


def _identity(path: Path) -> str:
    with path.open("rb") as file:
        return f"sha256 {hashlib.file_digest(file, 'sha256').hexdigest()[:16]}"


def _row(facts: dict[str, Any]) -> dict[str, str]:
    cells = {"model": facts["model"], "n": str(facts["n"])}
    for head, (group, name, form) in COLUMNS.items():
        value = (facts.get(group) or {}).get(name)
        cells[head] = "" if value is None else f"{value:{form}}"
    return cells


def _lines(facts: dict[str, Any]) -> list[str]:
    """What of one model does not fit a row: each unit, where the attention lies, whom dlib could not find."""
    identity, attention = facts["identity"], facts["attention"]
    lines = [
        f"{facts['model']}: identity of {identity['edits']} edits;"
        f" {identity['faces_not_found']} of {facts['n']} faces not found by dlib and left out"
    ]
    if attention:
        lines.append(
            f"attention: mean {attention['mean']:.3f}, 5th percentile {attention['p5']:.3f}, 95th {attention['p95']:.3f};"
            f" below 0.05: {attention['below_0.05']:.1%} of the pixels, above 0.95: {attention['above_0.95']:.1%}"
        )
    if "units" not in facts:
        return lines
    for unit in facts["geometry"]["units"]:
        lines.append(f"{unit['unit']:<6} by landmarks: r {unit['correlation']:.3f}, slope {unit['slope']:.3f}")
    lines.append(
        f"correlation over all 17: {facts['judge']['correlation_of_all']:.3f} by the judge,"
        f" {facts['own']['correlation_of_all']:.3f} by its own meter"
    )
    lines.append("unit   judge: r  slope  moves most     own: r  slope  moves most")
    for judged, own in zip(facts["units"]["judge"], facts["units"]["own"]):
        sides = [
            f"{u['correlation']:8.3f} {u['slope']:6.3f}  {u['other']:<4} {u['other_slope']:+.3f}" for u in (judged, own)
        ]
        lines.append(f"{judged['unit']:<6} {sides[0]}  {sides[1]}")
    return lines
