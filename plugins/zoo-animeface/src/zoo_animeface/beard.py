"""Beards, which networks take for shade and leave out: dark, rough skin on both sides of the jaw and on the chin.

N photographs of S by S pixels, faces cut out as they are drawn. Points and ``unit`` are those of `zoo_animeface.pen`.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo_animeface.colours import closed, smoothed
from zoo_animeface.edges import luma
from zoo_animeface.pen import colour_of, unit_of
from zoo_animeface.skin import surely

SIDE = 256
"""Pixels of the side at which a beard is looked for: how rough it is depends on that."""

DARK = 0.72, 0.47
"""How light skin is beside the cheeks up to which it is no beard, and from which it is all of one."""

SMOOTH = 0.012
"""How far around a pixel is looked at, in units."""

AREA, EVEN, CHIN, ROUGH = (0.04, 0.055), (0.32, 0.4), (0.1, 0.15), (0.027, 0.033)
"""What a beard has at least: its area, in squares of units; of the side of the face where it is smaller beside the other; its share of the
chin; and how much neighbouring pixels of it differ, in shares of how light cheeks are. Up to the first number there is none, from the
second on there is one: of 735 portraits of celebrities 33 get one that is seen, of whom two have none; all are men."""

GAPS, BELOW = 0.025, 1.2
"""Half the width of gaps in it that are closed, in units; how far below the chin it ends, in tenths of one."""

SHAPE = 0.3, 0.55
"""Of what is dark, how much there is around a pixel up to which it is left out, and from which it is of the beard."""

TONE = 0.4, 0.85
"""A beard is so many times as light as skin, in each colour, at least and at most."""


@torch.no_grad()
def bearded(drawing: Tensor, photo: Tensor, landmarks: Tensor, parts: Tensor) -> Tensor:
    """Drawings (N,3,S,S) in [-1,1] with the beards that photographs like them show, whose ``landmarks`` (N,68,2) are in pixels and whose
    ``parts`` are those of `parts_of`."""
    seen = (F.interpolate(photo, (SIDE, SIDE), mode="bilinear", antialias=True) + 1) / 2
    landmarks = landmarks * (SIDE / photo.shape[-1])
    skin, face = (
        F.interpolate(surely(parts, *names), (SIDE, SIDE), mode="bilinear") for names in (("skin",), ("skin", "nose"))
    )
    x = torch.arange(SIDE, device=photo.device) + 0.5
    y = x[:, None]

    def at(points: slice | int, axis: int) -> Tensor:
        found = landmarks[:, points, axis]
        return (found if found.ndim == 1 else found.mean(1))[:, None, None, None]

    unit = unit_of(landmarks)[:, None, None, None]
    nose, middle = at(33, 1), (at(27, 0) + at(33, 0) + at(57, 0) + at(8, 0)) / 4
    cheeks = face * ((y > at(slice(36, 48), 1) + 0.02 * unit) & (y < nose))
    cheek, light = colour_of(seen, cheeks), luma(seen)
    own = luma(cheek).clamp(min=0.02)
    radius = max(1, round(SMOOTH * float(unit.mean())))
    dark = ((DARK[0] - light / own) / (DARK[0] - DARK[1])).clamp(0, 1) * ((y - nose) / (0.03 * unit)).clamp(0, 1) * skin
    beard = smoothed(dark, radius)

    def total(where: Tensor) -> Tensor:
        return (beard * where).sum((1, 2, 3), keepdim=True)

    right, left = total((x < middle).float()), total((x > middle).float())
    chin = ((y > at(57, 1) + 0.02 * unit) & (y < at(8, 1) - 0.01 * unit) & ((x - middle).abs() < 0.1 * unit)).float()
    of_chin = total(chin) / (skin * chin).sum((1, 2, 3), keepdim=True).clamp(min=1)
    rough = total((light - smoothed(light, 2)).abs()) / (right + left).clamp(min=1) / own
    signs = (
        ((right + left) / unit.square(), AREA),
        (torch.minimum(right, left) / torch.maximum(right, left).clamp(min=1), EVEN),
        (of_chin, CHIN),
        (rough, ROUGH),
    )
    sure = torch.stack([((value - none) / (some - none)).clamp(0, 1) for value, (none, some) in signs]).prod(0)
    whole = closed(beard, round(GAPS * float(unit.mean()))) * skin
    whole = whole * ((at(8, 1) - y) / (0.1 * unit) + BELOW).clamp(0, 1)
    whole = F.interpolate(smoothed(whole, radius), drawing.shape[2:], mode="bicubic")
    shape = ((whole - SHAPE[0]) / (SHAPE[1] - SHAPE[0])).clamp(0, 1) * sure
    tone = (colour_of(seen, beard) / cheek.clamp(min=0.02)).clamp(*TONE)
    return 2 * torch.lerp((drawing + 1) / 2, (drawing + 1) / 2 * tone, shape) - 1
