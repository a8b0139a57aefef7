"""Beards, which networks take for shade and leave out: moustaches, chins and jaws that are darker and rougher than cheeks.

N photographs of S by S pixels, faces cut out as they are drawn. Points and ``unit`` are those of `zoo_animeface.pen`.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.faces.geometry import averaged
from zoo_animeface.colours import closed
from zoo_animeface.edges import luma
from zoo_animeface.pen import colour_of, height_at, unit_of
from zoo_animeface.skin import surely

SIDE = 256
"""Pixels of the side at which a beard is looked for: how rough it is depends on that."""

NOSE, LIPS = range(31, 36), (range(48, 55), (48, 59, 58, 57, 56, 55, 54))
"""Points, from the right to the left, between which and the first line of lips a moustache is; a chin is below the second one."""

EARS, JAW = (2, 48, 54, 14), range(1, 16)
"""Points below which a jaw is, beside the mouth, and above which it is."""

MIDDLE = [27, 33, 57, 8]
"""Points in the middle of a face."""

LOOKED, DRAWN = ((48, 54), (0.012, 0.008, 0.035, 0.02, 0.012)), ((3, 13), (0.0, 0.0, 0.006, -0.01, -0.02))
"""Where is looked for a beard, and where one is drawn: points to which the upper edge of a moustache comes down from the nose; how far, in units,
below that, above the lips, below them, below the ears' line and above the jaw's one."""

DARKEST, LIGHTEST = 0.15, 0.85
"""Shares of a part's pixels that are darker than what is called dark of it, and light."""

SIGNS = (
    (-5.51, -2.54, -0.74, -2.00, -0.59, 2.50, 11.30, 1.93, 1.56, -4.25, 1.37),
    (-2.27, -5.01, -2.37, -1.44, 0.70, 1.42, 4.35, 6.53, 1.84, -2.46, 1.98),
    (-1.83, -6.06, -3.58, -2.66, -1.98, 2.14, 1.33, 2.32, 8.11, -1.85, 6.17),
)
"""A moustache's, a chin's and a jaw's: by how much each of `signs`, and nothing, speak for it. Below 0 it is not drawn, from 1 on all of it is. Logistic
regression on 725 photographs: of 447 others 23 get one, of whom three have none and get a hint of it."""

SMOOTH, GAPS, ENDS = 0.012, 0.03, 0.025
"""How far around a pixel is looked at, half the width of gaps in a beard that are closed, and over how much of it a chin's beard ends where the jaw has none, in
units."""

EDGE = 0.35, 0.6
"""Where between how light cheeks and a beard are it ends."""

END, HALF = 0.17, (0.35, 0.5)
"""Half the length of an end of a moustache, in shares of it; and the share of both that is dark up to which there is none without a beard on the chin,
and from which there is one."""

SHAPE = 0.3, 0.6
"""Of what is dark, how much there is around a pixel up to which it is left out, and from which it is of the beard."""

TONE, HUE = (0.35, 0.85), 0.4
"""A beard is so many times as light as skin, in each colour, at least and at most; and how far its colour differs from skin's: all the way, beards
beside drawn skin, which is pink, would be green."""


@torch.no_grad()
def bearded(drawing: Tensor, photo: Tensor, landmarks: Tensor, parts: Tensor) -> Tensor:
    """Drawings (N,3,S,S) in [-1,1] with the beards that photographs like them show, whose ``landmarks`` (N,68,2) are in pixels and whose
    ``parts`` are those of `parts_of`."""
    seen = (F.interpolate(photo, (SIDE, SIDE), mode="bilinear", antialias=True) + 1) / 2
    landmarks = landmarks * (SIDE / photo.shape[-1])
    found = torch.addmm(seen.new_tensor(SIGNS)[:, -1], signs(seen, landmarks, parts), seen.new_tensor(SIGNS)[:, :-1].mT)
    moustache, chin, jaw = found.clamp(0, 1)[:, :, None, None].split(1, 1)
    chin = torch.maximum(chin, torch.minimum(moustache, jaw))
    skin, cheek = _skin(landmarks, parts)
    own, level = colour_of(seen, cheek), luma(seen)
    where = places(landmarks, *DRAWN) * skin
    unit = float(unit_of(landmarks).mean())
    around = max(1, round(SMOOTH * unit))
    tone = torch.stack([luma(colour_of(seen, where[:, part : part + 1])) for part in range(3)], 1)[:, :, 0]
    deep = (luma(own) - averaged(level, around)) / (luma(own) - tone).clamp(min=0.05)
    dark = where * ((deep - EDGE[0]) / (EDGE[1] - EDGE[0])).clamp(0, 1)
    moustache = moustache * torch.maximum(chin, _both_ends(dark[:, :1], where[:, :1], landmarks))
    sure = torch.cat([moustache, chin, torch.minimum(chin, jaw)], 1)
    drawn = closed(dark.amax(1, keepdim=True), round(GAPS * unit)) * skin
    dense = torch.cat([(sure * where).amax(1, keepdim=True), where.amax(1, keepdim=True)], 1)
    dense = averaged(averaged(dense, round(ENDS * unit)), round(ENDS * unit))
    dense = dense[:, :1] / dense[:, 1:].clamp(min=1e-3)
    drawn = drawn * (dense > 0)
    mostly = drawn * (level < luma(colour_of(seen, drawn)))  # and not the skin that is seen through it
    tone = colour_of(seen, mostly) / own.clamp(min=0.02)
    tone = torch.lerp(luma(tone), tone, HUE).clamp(*TONE)
    both = torch.cat([averaged(averaged(drawn, around), around), dense], 1)
    shape, dense = F.interpolate(both, drawing.shape[2:], mode="bicubic").split(1, 1)
    shape = ((shape - SHAPE[0]) / (SHAPE[1] - SHAPE[0])).clamp(0, 1) * dense.clamp(0, 1)
    return 2 * torch.lerp((drawing + 1) / 2, (drawing + 1) / 2 * tone, shape) - 1


def signs(seen: Tensor, landmarks: Tensor, parts: Tensor) -> Tensor:
    """What tells beards, (N,10), of pictures (N,3,SIDE,SIDE) in [0,1] with ``landmarks`` in pixels: how light what is dark of a moustache, a
    chin and a jaw is beside cheeks, what is light of them, and how much their neighbouring pixels differ, each on the side of the face on
    which it is less of a beard; and how much the cheeks' do."""
    skin, cheek = _skin(landmarks, parts)
    level = luma(seen) / luma(colour_of(seen, cheek)).clamp(min=0.02)
    rough = 10 * (level - averaged(level, 2)).abs()
    x = torch.arange(SIDE, device=seen.device) + 0.5
    left = x > landmarks[:, MIDDLE, 0].mean(1)[:, None, None, None]
    where = places(landmarks, *LOOKED) * skin
    sides = torch.stack([where * ~left, where * left], 1)  # (N,2,3,SIDE,SIDE)
    beside = level[:, None].masked_fill(sides < 0.5, torch.nan).flatten(3)
    dark, light = (beside.nanquantile(share, dim=3).nan_to_num(1.0).amax(1) for share in (DARKEST, LIGHTEST))

    def roughness(there: Tensor) -> Tensor:
        return (rough[:, None] * there).sum((3, 4)) / there.sum((3, 4)).clamp(min=1)

    return torch.cat([dark, light, roughness(sides).amin(1), roughness(cheek[:, None])[:, 0]], 1)


def places(landmarks: Tensor, ends: tuple[int, int], away: tuple[float, ...]) -> Tensor:
    """Where moustaches, chins and jaws are, (N,3,SIDE,SIDE), as `LOOKED` says."""
    x = (torch.arange(SIDE, device=landmarks.device) + 0.5).expand(len(landmarks), 1, 1, -1)
    y = x.mT
    unit = unit_of(landmarks)[:, None, None, None]
    lines = ((ends[0], *NOSE, ends[1]), *LIPS, EARS, JAW)
    nose, upper, lower, ears, jaw = (height_at(x, landmarks[:, list(line)]) for line in lines)
    right, left = (landmarks[:, corner, 0][:, None, None, None] for corner in (48, 54))
    first, last = (landmarks[:, end, 0][:, None, None, None] for end in (JAW[0], JAW[-1]))
    middle = (x > right) & (x < left)
    above = y < jaw - away[4] * unit
    moustache = middle & (y > nose + away[0] * unit) & (y < upper - away[1] * unit)
    chin = middle & (y > lower + away[2] * unit) & above
    beside = ~middle & (x > first) & (x < last) & (y > ears + away[3] * unit) & above
    return torch.cat([moustache, chin, beside], 1).to(landmarks)


def _both_ends(dark: Tensor, where: Tensor, landmarks: Tensor) -> Tensor:
    """(N,1,1,1) from 0 to 1: whether there is a moustache at both of its ends. In the middle there is the shade of a nose."""
    x = torch.arange(SIDE, device=dark.device) + 0.5
    right, left = (landmarks[:, corner, 0][:, None, None, None] for corner in (48, 54))
    along = (x - right) / (left - right)
    ends = [where * ((along - end).abs() < END) for end in (END, 1 - END)]
    shares = [(dark * end).sum((2, 3), keepdim=True) / end.sum((2, 3), keepdim=True).clamp(min=1) for end in ends]
    return ((torch.minimum(*shares) - HALF[0]) / (HALF[1] - HALF[0])).clamp(0, 1)


def _skin(landmarks: Tensor, parts: Tensor) -> tuple[Tensor, Tensor]:
    """The skin of faces, and what of it is cheeks: (N,1,SIDE,SIDE)."""
    skin, face = (
        F.interpolate(surely(parts, *names), (SIDE, SIDE), mode="bilinear") for names in (("skin",), ("skin", "nose"))
    )
    y = (torch.arange(SIDE, device=parts.device) + 0.5)[:, None]
    eyes, nose = landmarks[:, 36:48, 1].mean(1)[:, None, None, None], landmarks[:, 33, 1][:, None, None, None]
    unit = unit_of(landmarks)[:, None, None, None]
    return skin, face * ((y > eyes + 0.04 * unit) & (y < nose))
