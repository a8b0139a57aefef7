"""What a fusion by parts of the face is to look like: the parts of both people put together, in the light of one.

Both faces are shape-free (`zoo_facefusion.align`), so that parts lie upon each other.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from zoo.faces.geometry import averaged
from zoo.faces.parsing import PARTS
from zoo_facefusion.regions import REGIONS, region_maps

AROUND = ("background", "hair", "hat", "neck", "clothes")
"""What goes with the hair."""

LIT = 0.08
"""Shares of the side over which the light and the colour of skin are averaged."""

RANGE = (0.4, 2.5)
"""How much darker or lighter a part becomes in another's skin."""

GUESSED = 0.8
"""How much less is sure where hair was taken away: nobody knows what was behind."""

MIXED = 0.6
"""How much less is sure where both have a half."""

ALIKE = 0.33
"""Correlation of what is fine in two shape-free faces: of 100 pairs."""

FINE = 0.025
"""Shares of the side over which that is smooth which is not fine."""


def composite(a: Tensor, b: Tensor, parts: Tensor, others: Tensor, mix: Tensor, names: Sequence[str]) -> Tensor:
    """Two faces (N,3,H,W), what their parts (N,P,H,W) are, see `zoo.faces.parsing`, and Λ (N,E), whose elements have
    ``names`` -> (N,4,H,W). A part without an element of its own goes with the shape, or with the mean of all elements, colours
    without one with the skin."""
    share = {name: column[:, None, None, None] for name, column in zip(names, mix.T)}
    whole = share.get("shape", mix.mean(1)[:, None, None, None])
    hair, skin, eyes, nose, mouth = (share.get(name, whole) for name in ("hair", "skin", "eyes", "nose", "mouth"))
    colours = share.get("colours", skin)
    maps = dict(zip(REGIONS, region_maps((a.shape[2], a.shape[3]), close=True).to(a).split(1)))
    around_a, around_b = (_of(seen, *AROUND) for seen in (parts, others))
    light_a, light_b = _light(a, _of(parts, "skin", "nose")), _light(b, _of(others, "skin", "nose"))
    light = torch.lerp(light_b, light_a, colours)
    lit_a, lit_b = ((one + 1) * (light / own).clamp(*RANGE) - 1 for one, own in ((a, light_a), (b, light_b)))
    face = _mixed(lit_a, lit_b, skin)
    # where hair is taken away: the other's skin, in the same light
    lost_a, lost_b = (1 - hair) * around_a, hair * around_b
    face = torch.lerp(torch.lerp(face, lit_b, lost_a), lit_a, lost_b)
    for one, name in ((eyes, "eyes"), (nose, "nose"), (mouth, "mouth")):
        face = torch.lerp(face, _mixed(lit_a, lit_b, one), maps[name])
    if "colours" in share:
        a, b = (
            _coloured(a, b, around_a, around_b, colours),
            _coloured(b, a, around_b, around_a, 1 - colours),
        )
    over = torch.lerp(around_b, around_a, hair)
    made = torch.lerp(face, torch.lerp(b, a, hair), over)
    mixed = skin * (1 - skin) * 4 * (1 - over)  # there are other faces between two
    sure = (1 - GUESSED * (skin * lost_a + (1 - skin) * lost_b) * (1 - over)) * (1 - MIXED * mixed)
    return torch.cat([made.clamp(-1, 1), sure], 1)


def _mixed(a: Tensor, b: Tensor, share: Tensor) -> Tensor:
    """The mean of two faces by ``share``, whose fine detail is as strong as their own: that of a mean is weaker, and skin too
    smooth (variance-preserving blending, Heitz and Neyret 2018, eq. 4, for detail that is correlated)."""
    mean, rest = torch.lerp(b, a, share), 1 - share
    radius = max(1, round(FINE * a.shape[-1]))
    smooth = averaged(averaged(mean, radius), radius)
    return smooth + (mean - smooth) / (share.square() + rest.square() + 2 * ALIKE * share * rest).sqrt()


def _coloured(own: Tensor, other: Tensor, around: Tensor, others: Tensor, share: Tensor) -> Tensor:
    """``own`` with the mean and the deviation of the colours around the face as in ``other``, but for its ``share`` (Reinhard et
    al. 2001)."""
    mean, spread = _moments(own, around)
    wanted, as_wide = _moments(other, others)
    toned = (own - mean) * (as_wide / spread).clamp(*RANGE) + wanted
    return torch.lerp(toned, own, share)


def _moments(image: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
    """(N,3,1,1) each: mean and deviation of the colours ``where`` (N,1,H,W)."""
    weight = where / where.mean((2, 3), keepdim=True).clamp(min=1e-4)
    mean = (image * weight).mean((2, 3), keepdim=True)
    return mean, ((image - mean).square() * weight).mean((2, 3), keepdim=True).sqrt().clamp(min=0.02)


def _of(seen: Tensor, *names: str) -> Tensor:
    """(N,1,H,W): what belongs to the parts of these names."""
    return seen[:, [PARTS.index(name) for name in names]].sum(1, keepdim=True)


def _light(face: Tensor, skin: Tensor) -> Tensor:
    """(N,3,H,W), above 0: the smooth colours of a face's skin, from 0 to 2; where there is none, of the nearest."""
    radius, light, weight = max(1, round(LIT * face.shape[-1])), (face + 1) * skin, skin
    for _ in range(3):
        light, weight = (averaged(plane, radius) for plane in (light, weight))
    mean = ((face + 1) * skin).mean((2, 3), keepdim=True) / skin.mean((2, 3), keepdim=True).clamp(min=1e-4)
    return ((light + 0.02 * mean) / (weight + 0.02)).clamp(min=0.05)
