"""A fused face put back into the photograph where the first person's was."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from zoo import faces
from zoo.faces.geometry import exactly
from zoo.faces.parsing import Parsed, parsed_crop
from zoo_facefusion.detail import Portrait
from zoo_facefusion.regions import hull

BROWS = slice(17, 27)

FOREHEAD = 0.2
"""Heights of the face that are taken above the brows: hair begins soon after."""

INSIDE = -0.035
"""Shares of the side by which the outline lies inside: it fades from the jaw inwards, and nothing behind it is put back."""

OUTLIER = 0.2
"""Differences of colours, in [-1, 1], at the seam that are not those of the light."""

STEPS = 6
"""Of the least squares."""

LEVEL = 0.1
"""How much the slopes of the light cost there, as a share of all weights: steep ones, which are not its own, burn faces out."""


@exactly
def put_back(photograph: Tensor, face: Portrait, made: Tensor, points: Tensor) -> Tensor:
    """The photograph (3,H,W) with the fusion ``made`` (3,S,S) of its ``face``; ``points`` (68,2) are the landmarks of the
    fusion in pixels of S, its jaw that of the photograph.

    Its colours at the seam become those of the photograph, and what is finer there than the crop stays where
    both show the same. Hair in front of the face stays there, and none of the fusion's is put there; outside of the face the
    photograph is as it was, bit by bit."""
    side, crop = made.shape[-1], face.crop
    fusion = replace(crop, image=made, landmarks=points)
    bare, skin = bare_and_skin(crop, face.seen)
    its_bare, its_skin = bare_and_skin(fusion, parsed_crop(fusion))
    inside = outline(crop.landmarks / side, side)[0]
    within = crop.masked(inside * torch.minimum(bare, its_bare))  # the core's reaches over the jaw
    seam = 4 * inside * (1 - inside) * torch.minimum(skin, its_skin)
    return faces.paste(photograph, within, recoloured(made, crop.image, seam))


def bare_and_skin(crop: faces.Crop, seen: Parsed) -> tuple[Tensor, Tensor]:
    """(S,S) from 0 to 1: where no hair is in front of the face, and where its skin is seen."""
    hair, skin = (
        seen.over(crop.image, seen.crop.matrix, *parts, outside=0.0) for parts in (("hair", "hat"), ("skin", "neck"))
    )
    return 1 - hair, skin


def outline(points: Tensor, side: int) -> Tensor:
    """(1,side,side): 1 in a face with landmarks (68,2) in shares of the side, 0 outside, soft between."""
    height = float(points[:, 1].max() - points[:, 1].min())
    forehead = points[BROWS] - points.new_tensor([0, FOREHEAD * height])
    return hull(torch.cat([points, forehead]), (side, side), INSIDE)[None]


def recoloured(made: Tensor, photograph: Tensor, seam: Tensor) -> Tensor:
    """``made`` (3,S,S) in the light of the ``photograph``: a plane in each colour, the difference along the ``seam`` (S,S), by
    least squares in which what differs by far more than the rest counts little. What is darker than the seam, as brows are,
    is changed less."""
    side = made.shape[-1]
    at = torch.linspace(-1, 1, side)
    columns = torch.stack([torch.ones(side, side), at.expand(side, side), at[:, None].expand(side, side)], -1)
    where = seam > 0.1
    known, apart, weight = columns[where], (photograph - made)[:, where].T, seam[where]
    plane = torch.zeros(3, 3)
    for _ in range(STEPS):
        far = (apart - known @ plane).square().mean(1)
        counts = weight / (1 + far / OUTLIER**2)
        weighted = counts[:, None] * known
        costs = 1e-3 + LEVEL * counts.sum() * torch.tensor([0.0, 1.0, 1.0])
        plane = torch.linalg.solve(weighted.T @ known + torch.diag(costs), weighted.T @ apart)
    bright = (made + 1).mean(0)
    amount = bright / ((seam * bright).sum() / seam.sum().clamp(min=1e-6)).clamp(min=1e-2)
    return (made + amount.clamp(max=1) * (columns @ plane).permute(2, 0, 1)).clamp(-1, 1)
