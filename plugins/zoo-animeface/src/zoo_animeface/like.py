"""Colours of a drawing that is given: hair in the colours of its hair, with their shades and lights, and its skin.

Hair of a drawing has few colours: light ones, shades, a highlight. By their order from dark to light each tone of one hair
becomes that of the other. A drawing has hair where the photograph has it, and where a fringe was drawn on a bare forehead.

N pictures, H and W their size; drawings and photographs are cut out as `AnimeTranslator` does.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo_animeface.edges import LUMA
from zoo_animeface.skin import BARE, SIDE, cheeks, likely, parts_of, skin, skin_coloured, to_edges

TONES = 32
"""Of a palette, from dark to light."""

FRINGE = (0.12, 0.36, 0.28, 0.72)
"""From the top down and from the left to the right, in shares of the side: where a drawn face has hair, nearly always."""

FOREHEAD = (0.38, 0.46)
"""From the top down: so far a fringe may be drawn on a photograph's skin, and from there less."""

BESIDE = ((0.36, 0.64), (0.64, 0.64))
"""Cheeks where no open mouth is: of a drawing's the lighter is its skin."""

EVEN = 1e-3
"""By which differences of colour the photograph's hair finds the edges of the drawing's."""

NEARLY = 0.05
"""How far a colour's shares of red, green and blue may be from those of skin, not to be hair."""

FEWEST = 50
"""Pixels of hair from which its tones are known."""


def recoloured(drawing: Tensor, photo: Tensor, like: Tensor) -> Tensor:
    """A drawing (N,3,H,W) in [-1,1] of a photograph with the colours of hair and skin of another, ``like``, (N,3,h,w) or
    (1,3,h,w)."""
    with torch.autocast(drawing.device.type, enabled=False):
        rgb, given = (drawing.float() + 1) / 2, _small((like.float() + 1) / 2)
        small = _small(rgb)
        now = cheeks(small)
        sides = torch.stack([cheeks(given, [spot]) for spot in BESIDE])  # (2,N,3)
        wanted = torch.where((sides[0].sum(1) > sides[1].sum(1))[:, None], sides[0], sides[1])
        parts = parts_of(photo)
        own = skin_coloured(small, now, NEARLY)[:, None] * likely(parts, *BARE)
        joined = skin(small, now) * (1 - likely(parts, "background", "clothes"))
        bare = F.interpolate(torch.maximum(joined, own), rgb.shape[2:], mode="bilinear")
        hair = _hair(rgb, parts) * (1 - bare)
        made = torch.lerp(rgb, rgb * (wanted / now)[:, :, None, None], bare)
        palettes = [_palette(one, alike) for one, alike in zip(given, skin_coloured(given, wanted, NEARLY))]
        each = [
            _toned(one, where[0], palettes[min(i, len(palettes) - 1)]) for i, (one, where) in enumerate(zip(made, hair))
        ]
    return 2 * torch.stack(each).clamp(0, 1) - 1


def _small(rgb: Tensor) -> Tensor:
    return F.interpolate(rgb, (SIDE, SIDE), mode="bilinear", antialias=True)


def _hair(rgb: Tensor, parts: Tensor) -> Tensor:
    """(N,1,H,W) from 0 to 1: where drawings ``rgb`` (N,3,H,W) in [0,1] have hair, or have none but could."""
    hair, face = (
        F.interpolate(likely(parts, *names), rgb.shape[2:], mode="bilinear")
        for names in (("hair", "hat"), ("skin", "brows"))
    )
    hair = torch.stack([to_edges(one, mask[0], EVEN) for one, mask in zip(rgb, hair)])
    down = (torch.arange(rgb.shape[2], device=rgb.device) + 0.5) / rgb.shape[2]
    above = ((FOREHEAD[1] - down) / (FOREHEAD[1] - FOREHEAD[0])).clamp(0, 1)[:, None]
    return torch.maximum(hair, (2 * face - 0.5).clamp(0, 1) * above)


def _palette(rgb: Tensor, bare: Tensor) -> Tensor:
    """(TONES,3): the colours of the hair of a drawing (3,SIDE,SIDE), from dark to light; ``bare`` (SIDE,SIDE) says where it has the
    colour of skin."""
    top, low, left, right = (round(SIDE * share) for share in FRINGE)
    fringe = torch.zeros_like(bare)
    fringe[top:low, left:right] = True
    where = fringe & ~bare
    if where.sum() < FEWEST:  # hair as light as skin
        where = fringe
    pixels = rgb[:, where].T
    pixels = pixels[(pixels @ rgb.new_tensor(LUMA)).argsort()]
    return torch.stack([part.median(0).values for part in pixels.tensor_split(TONES)])


def _toned(rgb: Tensor, mask: Tensor, palette: Tensor) -> Tensor:
    """A picture (3,H,W) in which what lies under the ``mask`` (H,W) has the tones of the ``palette``; lines stay dark."""
    luma = (rgb * rgb.new_tensor(LUMA)[:, None, None]).sum(0)
    own = luma[mask > 0.5].sort().values
    if len(own) < FEWEST:
        return rgb
    place = torch.searchsorted(own, luma.flatten()).view_as(luma) * ((TONES - 1) / len(own))
    low = place.floor().long().clamp(max=TONES - 2)
    tones = torch.lerp(palette[low], palette[low + 1], (place - low)[..., None]).permute(2, 0, 1)
    tones = tones * (luma / own[0].clamp(min=0.02)).clamp(max=1)  # darker than all hair
    return torch.lerp(rgb, tones, mask)
