"""``zoo face-crops``: pictures to train on out of a folder of photographs, faces cut out alike with their action units.

``FOLDER/face-crops.jsonl`` keeps the settings and, line by line, what became of each photograph; a run that was killed
goes on behind its last whole line. ``aus.csv`` and ``skipped.csv`` are made of it at the end of every run.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

from zoo import faces
from zoo.errors import ImageError, NotFoundError, UsageError
from zoo.faces.folders import UNREADABLE, Photos, Size, fit, list_skipped, photographs, report
from zoo.helpers.files import atomic
from zoo.loading import load
from zoo.pictures.image import read, to_pil, write
from zoo.progress import tell
from zoo_expression.networks import StarGANGenerator
from zoo_expression.table import COLUMNS, TABLE, Labels, Row, write_table
from zoo_expression.units import MOST

SMALLEST = 40.0
"""Pixels from the brows to the chin below which a face is left out."""

TURNED = 0.9
"""`faces.Face.turned` above which a face is left out: about three quarters, up to where both eyes are seen whole. One in
a hundred portraits of celebrities is beyond."""

UNLABELLED = "no row in the labels"
UNSURE = "the labels are not sure of it"
SEVERAL = "several rows in the labels"

JOURNAL = "face-crops.jsonl"
LABELS_HELP = "OpenFace's intensities: the folder that FaceLandmarkImg wrote, or a table with a column file."


def face_crops(
    photos: Photos,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help=f"For crops and {TABLE}: a new one, or one to go on.")],
    labels: Annotated[Path | None, typer.Option(metavar="CSV", help=LABELS_HELP)] = None,
    meter: Annotated[str | None, typer.Option(metavar="MODEL", help="Let a model of this plugin read them.")] = None,
    size: Size = 128,
    device: Annotated[str | None, typer.Option(help="For --meter: cuda, cuda:1, mps or cpu; else the best.")] = None,
) -> dict[str, Any]:
    """Cut the faces out of photographs, upright and all alike, with their action units: what a training learns from.

    With --labels the largest face of a photograph is taken, with --meter each. A run that was stopped goes on when it
    is started again. Photographs left out are counted by reason and listed in FOLDER/skipped.csv.

    Example: zoo face-crops photos --out faces --labels openface
    """
    if (labels is None) == (meter is None):
        raise UsageError(
            "the intensities come from either --labels or --meter",
            "give one of them: --labels with OpenFace's tables, or --meter with a model of zoo-expression",
        )
    found = photographs(photos, out)
    known = Labels(labels).find([*found]) if labels else {}
    if labels and not known:
        raise UsageError(f"{labels} names no picture of {photos}", "it has to name them as they lie below PHOTOS")
    skipped = {name: fault for name in found if (fault := _unlabelled(known.get(name)))} if labels else {}
    reader = Reader(meter, device) if meter else None
    source = {"meter": reader.identity} if reader else {"labels": True}
    journal = Journal(out, {"photos": str(photos.resolve()), "size": size, **source}, [*found])
    try:
        for number, (name, path) in enumerate(found.items()):
            tell("cutting out faces", number, len(found))
            if name in skipped or name in journal.crops or name in journal.skipped:
                continue
            try:
                image = read(path).on_white().rgb
            except (ImageError, NotFoundError):  # not found: a link that leads nowhere
                skipped[name] = UNREADABLE  # not kept: the file may be mended by the next run
                continue
            seen = faces.find(image)
            chosen, fault = fit(seen if reader else seen[:1], SMALLEST, TURNED)
            crops = [faces.crop(image, face, size).image for face in chosen]
            if fault:
                journal.skip(name, fault)
            else:
                journal.keep(name, crops, reader(crops) if reader else [known[name][0].units])
        tell("cutting out faces", len(found), len(found))
    finally:  # after Ctrl-C as well
        skipped |= {name: fault for name, fault in journal.skipped.items() if name in found and name not in skipped}
        rows = [
            (crop, *(known[name][0].units if labels else units))  # labels may have been corrected since
            for name in found
            if name not in skipped
            for crop, units in journal.crops.get(name, {}).items()
        ]
        write_table(out / TABLE, ("file", *COLUMNS), rows)
        list_skipped(out, skipped)
    lines = [f"{out}: {len(rows)} crops of {len(found) - len(skipped)} photographs, with {TABLE}"]
    told = report(out, lines, "zoo train ganimation-convnext-small" if rows else "", skipped)
    return {**told, "pictures": len(found), "crops": len(rows)}


def _unlabelled(rows: Sequence[Row] | None) -> str:
    """Why a photograph with these rows is left out, "" if it is not."""
    if not rows:
        return UNLABELLED
    if len(rows) > 1:  # which face is which they do not say
        return SEVERAL
    return "" if rows[0].usable else UNSURE


class Reader:
    """A model's own meter: crops, each (3, size, size) in [-1, 1], -> 17 intensities from 0 to 5 for each.

    UsageError if it is a model of another kind."""

    def __init__(self, model: str, device: str | None) -> None:
        translator = load(model, device=device)
        generator = translator.generator
        if not isinstance(generator, StarGANGenerator) or generator.labels:
            raise UsageError(f"{model} does not read action units", "give a model of zoo-expression, not stargan's")
        self.meter, self.device = generator.meter, translator.device
        digest = hashlib.sha256()
        for tensor in self.meter.state_dict().values():
            digest.update(tensor.cpu().numpy().tobytes())
        self.identity = digest.hexdigest()[:16]

    @torch.inference_mode()
    def __call__(self, crops: Sequence[Tensor]) -> list[tuple[float, ...]]:
        units = (MOST * self.meter(torch.stack([*crops]).to(self.device))).clamp(0, MOST)
        return [tuple(round(unit, 2) for unit in row) for row in units.cpu().tolist()]


class Journal:
    """What became of each photograph: its crops' names with their intensities, or why it was left out.

    ``names`` are where all photographs lie below their folder. UsageError if ``folder`` holds something else, or was
    made with other settings."""

    def __init__(self, folder: Path, settings: Mapping[str, Any], names: Sequence[str]) -> None:
        self.folder, self.path, self.settings = folder, folder / JOURNAL, settings
        self.crops: dict[str, dict[str, Sequence[float]]] = {}
        self.skipped: dict[str, str] = {}
        if self.path.is_file():
            self._go_on()
        elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UsageError(f"{folder} is there already, and zoo face-crops did not make it", "give another --out")
        if not self.crops and not self.skipped:
            with atomic(self.path) as part:
                part.write_text(json.dumps(settings) + "\n", encoding="utf-8")
        self.taken = {crop.casefold() for crops in self.crops.values() for crop in crops}
        self.wanted = {_crop(name, 1).casefold() for name in names}

    def keep(self, name: str, crops: Sequence[Tensor], units: Sequence[Sequence[float]]) -> None:
        """Write the crops (3, size, size) in [-1, 1] of a photograph."""
        named = dict(zip([self._free(name) for _ in crops], units))
        for crop, image in zip(named, crops):
            write(to_pil(image), self.folder / crop)
        self._add({"file": name, "crops": named})

    def skip(self, name: str, reason: str) -> None:
        self._add({"file": name, "reason": reason})

    def _free(self, name: str) -> str:
        """The first name of a crop that no other has, nor any other photograph's first crop."""
        for number in itertools.count(1):
            crop = _crop(name, number)
            key = crop.casefold()  # as folders do that ignore case
            if key not in self.taken and (number == 1 or key not in self.wanted):
                self.taken.add(key)
                return crop
        raise AssertionError

    def _add(self, entry: Mapping[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
        self._take(entry)

    def _take(self, entry: Mapping[str, Any]) -> None:
        if "crops" in entry:
            self.crops[entry["file"]] = dict(entry["crops"])
        else:
            self.skipped[entry["file"]] = entry["reason"]

    def _go_on(self) -> None:
        """Read what there is, and drop a last line that is not whole."""
        whole = self.path.read_bytes().rpartition(b"\n")[0].splitlines(keepends=True)
        try:
            first, *entries = [json.loads(line) for line in whole] or [{}]
            for entry in entries:
                self._take(entry)
        except (ValueError, TypeError, KeyError) as error:
            raise UsageError(f"{self.path} is damaged", "give another --out") from error
        if entries and first != self.settings:
            others = ", ".join(f"{name} {value}" for name, value in first.items() if self.settings.get(name) != value)
            raise UsageError(f"{self.folder} was made with other settings: {others}", "give another --out")
        with self.path.open("r+b") as file:
            file.truncate(sum(map(len, whole)) + 1)


def _crop(name: str, number: int) -> str:
    """``NAME.jpg``, ``NAME-2.jpg``, … beside each other as the photographs are."""
    path = PurePosixPath(name.encode(errors="replace").decode())
    return str(path.with_name(f"{path.stem}-{number}.jpg" if number > 1 else f"{path.stem}.jpg"))
