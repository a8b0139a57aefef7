"""The sweep: every unit, or every label, asked of every face, and what becomes of the face."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from zoo.errors import UsageError
from zoo.pictures.fit import resize
from zoo.progress import tell
from zoo.translator import Translator
from zoo_expression.album import Album
from zoo_expression.judge import Judge, Labelled
from zoo_expression.measure import VALUES, Geometry, Identity, Spread, followed, headline
from zoo_expression.trainer import labels
from zoo_expression.translator import ExpressionTranslator, enlarged
from zoo_expression.units import LABELS, MOST, NAMES

BATCH = 16
COMPARED = 5
"""The identity of every so many-th edit is measured: dlib is slow."""


class Editor:
    """A model under measurement. UsageError if it does not edit expressions."""

    def __init__(self, label: str, translator: Translator) -> None:
        if not isinstance(translator, ExpressionTranslator):
            raise UsageError(f"{label} is no model of expression", "zoo list shows what each is for")
        self.label, self.translator, self.generator = label, translator, translator.generator
        self.side = translator.side
        self.kinds = LABELS if self.generator.labels else NAMES

    def edit(self, images: Tensor, condition: Tensor) -> dict[str, Tensor]:
        """Pictures (N,3,S,S) in [-1,1], a condition (N,U) -> the generator's parts in float32, its ``image`` (N,3,S,S).

        The generator sees them at the size that its translator cuts faces out in."""
        if self.generator.motion is not None:
            found = [self.translator.crop(image) for image in images.cpu()]
            made = self.translator.edited(
                found, images, self.read(images).clamp(0, MOST) / MOST, condition.expand(2, -1, -1)
            )
            return {"image": torch.stack([one["image"] for one in made])}
        where, dtype = self.translator.device, self.translator.dtype
        with torch.autocast(where.type, dtype) if dtype != torch.float32 else nullcontext():
            images = images.to(where)
            seen = torch.stack([resize(image, (self.side, self.side)) for image in images])
            parts = self.generator.parts(seen, units=condition.to(where))
        parts = {name: part.float() for name, part in parts.items()}
        return {**parts, "image": enlarged(images, seen, parts)}

    def read(self, images: Tensor) -> Tensor:
        """(N,17) intensities, or (N,5) scores of labels, by the model's own meter."""
        found = self.generator.meter(images.to(self.translator.device)).float().cpu()
        return found if self.generator.labels else MOST * found

    def asked(self, images: Tensor) -> list[Tensor]:
        """The conditions (N,U) of the sweep: each unit at each of ``VALUES``, or each label."""
        if self.generator.labels:
            return list(torch.eye(len(LABELS))[:, None].expand(-1, len(images), -1))
        own, conditions = self.read(images).clamp(min=0), []
        for unit in range(len(NAMES)):
            for value in VALUES:
                condition = own.clone()
                condition[:, unit] = value
                conditions.append(condition / MOST)
        return conditions


@torch.inference_mode()
def measure(
    editor: Editor,
    faces: Labelled,
    judge: Judge,
    seed: int,
    identity: Identity,
    album: Album | None,
    geometry: Geometry | None = None,
) -> dict[str, Any]:
    """Sweep one model over the faces. Everything it found: judge, own, units, geometry, identity, own_edit …"""
    device, with_labels = editor.translator.device, editor.generator.labels
    number = len(editor.kinds) * (1 if with_labels else len(VALUES))
    dice = torch.Generator().manual_seed(seed)
    drawn = torch.randperm(number * len(faces), generator=dice)[: -(-number * len(faces) // COMPARED)]
    compared = torch.zeros(number * len(faces), dtype=torch.bool).index_fill_(0, drawn, True).view(number, -1)
    found: dict[str, list[Tensor]] = {"judge": [], "own": []}  # (E,n,17) and (E,n,U) of each batch
    attention, changes, done = Spread(), [], 0
    for batch in torch.arange(len(faces)).split(BATCH):
        images = faces.floats(batch)
        for i, image in zip(batch.tolist(), images):
            identity.learn(i, image)
            if geometry:
                geometry.learn(i, image)
        if not with_labels:
            same = editor.edit(images, editor.read(images).clamp(min=0) / MOST)["image"].cpu()
            changes.append((same - images).abs().mean(dim=(1, 2, 3)) / 2)
        judged, read = [], []
        for which, condition in enumerate(editor.asked(images)):
            tell(f"measuring {editor.label}", done, number * len(faces))
            parts = editor.edit(images, condition)
            edited = parts["image"].cpu()
            judged.append(judge(parts["image"].to(device)).cpu())
            read.append(editor.read(parts["image"]))
            if "attention" in parts and (with_labels or which % len(VALUES) == len(VALUES) - 1):
                attention.add(parts["attention"])
            unit, step = divmod(which, len(VALUES))
            for i, image in zip(batch.tolist(), edited):
                if geometry and not with_labels:
                    geometry.compare(i, NAMES[unit], VALUES[step], image)
                if compared[which, i]:
                    identity.compare(i, image)
            if album:
                album.add(editor.label, which, batch.tolist(), images, edited)
            done += len(batch)
        found["judge"].append(torch.stack(judged))
        found["own"].append(torch.stack(read))
    tell(f"measuring {editor.label}", done, done)
    facts = {"identity": identity.facts(), "attention": attention.facts()}
    by = {who: torch.cat(of, 1) for who, of in found.items()}
    if with_labels:
        shown = {"judge": labels(by["judge"].flatten(0, 1)).argmax(1).view(number, -1), "own": by["own"].argmax(2)}
        asked = torch.arange(number)[:, None]
        return {**facts, "agreement": {who: float((label == asked).float().mean()) for who, label in shown.items()}}
    units = {who: followed(of.unflatten(0, (len(NAMES), len(VALUES)))) for who, of in by.items()}
    means = {who: headline(of) for who, of in units.items()}
    if geometry:
        facts["geometry"] = geometry.facts()
    return {**means, **facts, "own_edit": {"l1": float(torch.cat(changes).mean())}, "units": units}
