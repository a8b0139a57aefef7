"""Where eyes, nose, mouth, hair and skin lie in an aligned face: what is mixed apart (Suzuki et al. 2018)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from zoo_facefusion.align import average

REGIONS = ("eyes", "nose", "mouth", "hair", "skin")
"""Eyes have their brows with them, hair all that is around the face; skin is what is left of it, with the forehead."""

GROWN = 0.03
"""Shares of the side by which eyes, nose and mouth reach beyond the average landmarks: those of faces differ."""

SOFT = 0.07
"""Shares of the side over which a region fades out."""


def region_maps(size: tuple[int, int]) -> Tensor:
    """(5,H,W) in [0,1], in the order of `REGIONS`: soft, and 1 in all at every pixel.

    By the average face's landmarks: aligned faces have theirs there."""
    points = average().float()
    brows = points[17:27]
    forehead = brows - torch.tensor([0.0, 0.25 * float(points[:, 1].max() - points[:, 1].min())])
    left, right = (torch.cat([points[brow], points[eye]]) for brow, eye in _EYES)
    eyes = torch.maximum(hull(left, size, GROWN), hull(right, size, GROWN))
    nose = hull(points[27:36], size, GROWN) * (1 - eyes)
    mouth = hull(points[48:68], size, GROWN) * (1 - eyes - nose)
    rest = 1 - eyes - nose - mouth
    face = hull(torch.cat([points[:17], brows, forehead]), size)
    return torch.stack([eyes, nose, mouth, rest * (1 - face), rest * face])


_EYES = ((slice(17, 22), slice(36, 42)), (slice(22, 27), slice(42, 48)))


def hull(points: Tensor, size: tuple[int, int], grown: float = 0.0) -> Tensor:
    """(H,W): 1 inside the convex hull of points (P,2) in shares of the sides, 0 outside, found by its tangents."""
    y, x = ((torch.arange(side) + 0.5) / side for side in size)
    inside = torch.full(size, torch.inf)
    for turn in torch.arange(0, 2 * math.pi, math.pi / 24).tolist():
        across, down = math.cos(turn), math.sin(turn)
        reach = (points[:, 0] * across + points[:, 1] * down).max() + grown
        inside = torch.minimum(inside, reach - (x * across + (y * down)[:, None]))
    share = (inside / SOFT + 0.5).clamp(0, 1)
    return share * share * (3 - 2 * share)
