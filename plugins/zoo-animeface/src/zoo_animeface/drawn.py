"""Brows, eyes and mouths that are drawn by a photograph's landmarks: what results of a training are compared with, and what portraits get.

Drawn features are a few pixels each, so that a critic is pleased with them anywhere, and what it has seen most are frowns: people
who look calmly were drawn angry, those who smile with their lips shut, sad, and all with grey eyes, the mean of those that are drawn.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.faces.geometry import averaged
from zoo.loss import Loss, view
from zoo_animeface.beard import bearded
from zoo_animeface.colours import continued
from zoo_animeface.glasses import Glasses
from zoo_animeface.pen import BROWS, Face, box, colour_of, unit_of
from zoo_animeface.skin import likely, parts_of, surely

FIELD = 0.25
"""How far around a face's features a drawing is looked at, in units of `zoo_animeface.pen`."""

GRID, ALIKE = 128, 0.12
"""Pixels of the side in which skin is continued where features are drawn, and by how much of what is light in it it differs at most."""


class DrawnFeaturesLoss(Loss):
    """Brows, eyes and mouth of results against ones that are drawn by the photograph's landmarks: mean absolute difference of colours
    there, strokes counting three times.

    Brows and the line between shut lips are strokes that get thinner to their ends. Eyes are larger than a photograph's, downwards,
    as `zoo_animeface.points.of_68` has them, with lashes, two lights and the person's own colour. Open mouths show the teeth that the
    photograph shows. Glasses are those of `zoo_animeface.glasses`. Where hair is in front nothing is asked; ``landmarks`` are those
    that the core's provider of that name finds, and faces without any count nothing.
    """

    needs = frozenset({"output", "source", "landmarks"})

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        image, photo, parts = step["output"].float(), step["source"].float(), view(step, "source", parts_of)
        with torch.autocast(image.device.type, enabled=False):  # pixels are counted in fractions
            wanted, where = drawn_features(photo, image.detach(), step["landmarks"].float(), parts.float())
        return ((image - wanted).abs().mean(1, keepdim=True) * where).sum() / where.sum().clamp(min=1)


@torch.no_grad()
def drawn_features(photo: Tensor, drawing: Tensor, landmarks: Tensor, parts: Tensor) -> tuple[Tensor, Tensor]:
    """The features of faces in photographs (N,3,H,W) in [-1,1], with ``landmarks`` (N,68,2) in shares of the sides, NaN for none, and
    ``parts`` of `parts_of`, drawn on the skin that their ``drawing`` has: (N,3,H,W) in [-1,1], and how much a pixel counts, (N,1,H,W)."""
    known = landmarks.isfinite().flatten(1).all(1)
    wanted, where = drawing.clone(), torch.zeros_like(drawing[:, :1])
    if not known.any():
        return wanted, where
    height, width = drawing.shape[2:]
    points = landmarks.nan_to_num(0.5) * landmarks.new_tensor([width, height])
    unit = unit_of(points)
    rows, columns = box(points[known, 17:], FIELD * float(unit[known].max()), height, width)

    def whole(mask: Tensor) -> Tensor:
        return F.interpolate(mask, (height, width), mode="bilinear")[:, :, rows, columns]

    def large(*names: str) -> Tensor:
        return whole(surely(parts, *names))

    seen = (photo[:, :, rows, columns] + 1) / 2
    cheek = colour_of(seen, large("skin"))
    points = points - points.new_tensor([columns.start, rows.start])
    face = Face(points, unit, (rows.stop - rows.start, columns.stop - columns.start))
    worn, eyes = (whole(likely(parts, name)) for name in ("glasses", "eyes"))
    glasses = Glasses(points, unit, face.places, worn, eyes, seen, cheek)
    face.where = torch.maximum(face.where, glasses.room)
    room = F.pad(face.where, (columns.start, width - columns.stop, rows.start, height - rows.stop))
    face.picture = face.paper = _skin_continued((drawing + 1) / 2, parts, room)[:, :, rows, columns]
    for brow in BROWS:
        face.brow(brow)
    face.nose()
    colour = face.iris(seen, cheek)
    for eye in face.eyes:
        face.eye(eye, colour)
    face.mouth(seen, cheek, large("mouth"))
    face.put(face.paper, torch.stack([eye.room for eye in face.eyes]).any(0) * glasses.hiding)
    for paint, there in glasses.painted():
        face.over(paint, there)
    hidden = large("hair", "hat", "background")
    counts = face.where * (1 - hidden)
    found = known[:, None, None, None]
    wanted[:, :, rows, columns] = torch.where(found, 2 * face.picture - 1, wanted[:, :, rows, columns])
    where[:, :, rows, columns] = torch.where(found, counts, 0.0)
    return wanted, where


@torch.no_grad()
def with_features(photo: Tensor, drawing: Tensor, landmarks: Tensor, parts: Tensor) -> Tensor:
    """Drawings (N,3,S,S) in [-1,1] of photographs like them, faces cut out as they are drawn, with their features drawn by their
    ``landmarks`` (N,68,2) in pixels; ``parts`` of `parts_of`."""
    side = drawing.shape[-1]
    wanted, where = drawn_features(photo, drawing, landmarks / side, parts)
    radius = max(1, round(side / 100))
    soft = averaged(where.clamp(0, 1), radius)
    made = torch.lerp(drawing, wanted, torch.maximum(soft, (where - 1).clamp(0, 1)))
    return bearded(made, photo, landmarks, parts)


def _skin_continued(drawing: Tensor, parts: Tensor, room: Tensor) -> Tensor:
    """A drawing (N,3,H,W) in [0,1] whose skin goes on where there is ``room`` (N,1,H,W) for features."""
    small, taken = (F.interpolate(x, (GRID, GRID), mode="area") for x in (drawing, room))
    skin = F.interpolate(surely(parts, "skin"), (GRID, GRID), mode="bilinear") * (1 - taken)
    usual = colour_of(small, skin)
    skin = skin * ((small - usual).abs().amax(1, keepdim=True) < ALIKE * usual.amax(1, keepdim=True))
    return F.interpolate(continued(small, skin), drawing.shape[2:], mode="bilinear")
