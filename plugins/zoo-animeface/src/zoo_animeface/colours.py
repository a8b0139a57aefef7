"""Hair, clothes and what is behind people keep the photograph's colours, as far as a network takes them away: its norms divide by how
light and how colourful a picture is as a whole, so that a red wall is drawn in a dull one, and fair hair brown.

N pictures, H and W their size; skin has a module of its own, `zoo_animeface.skin`.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo_animeface.skin import SIDE, likely

HAIR, BEHIND, CLOTHES = ("hair", "hat"), ("background",), ("clothes",)

FACTORS = (0.6, 1.7)
"""A colour gets so many times as light, at least and at most."""

LEAST = 0.005
"""Share of the picture below which a part's mean colour says nothing."""


def own_colours(drawing: Tensor, photo: Tensor, parts: Tensor, hair: bool = True) -> Tensor:
    """A drawing (N,3,H,W) in [-1,1] of a photograph with these ``parts`` (N,12,SIDE,SIDE), in which each of them has the photograph's
    mean colour; ``hair`` only if asked."""
    with torch.autocast(drawing.device.type, enabled=False):
        seen, drawn = ((F.interpolate(x.float(), (SIDE, SIDE), mode="bilinear") + 1) / 2 for x in (photo, drawing))
        factor = torch.ones_like(drawn)
        for names in (HAIR, BEHIND, CLOTHES) if hair else (BEHIND, CLOTHES):
            where = likely(parts, *names)
            own, now = ((x * where).sum((2, 3)) for x in (seen, drawn))
            times = (own / now.clamp(min=0.02)).clamp(*FACTORS)
            times = torch.where(where.mean((2, 3)) > LEAST, times, 1.0)
            factor = factor + (times[:, :, None, None] - 1) * where
        factor = F.interpolate(factor, drawing.shape[2:], mode="bilinear").to(drawing)
    return (((drawing + 1) / 2 * factor).clamp(0, 1)) * 2 - 1
