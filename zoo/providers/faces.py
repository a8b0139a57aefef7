"""Where the face lies in a photograph: its landmarks, and the pixels that belong to it."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from zoo import faces
from zoo.provider import Provider

FADES = 0.06
"""Shares of a face's height over which what belongs to it fades out."""

FOREHEAD = 0.25
"""Of a face's height by which it reaches above the brows."""

PARTS = ([*range(17, 22), *range(36, 42)], [*range(22, 27), *range(42, 48)], range(27, 36), range(48, 68))
"""The landmarks of each eye with its brow, of the nose and of the mouth."""

CLEAR = 0.05
"""Shares of a face's height by which skin keeps away from these, and from the contour."""


class Landmarks(Provider):
    """``landmarks`` (N,68,2) of the largest face of each source, in shares of the sides, found by dlib; NaN without one."""

    needs = frozenset({"source"})
    of_batch = True

    def __init__(self) -> None:
        super().__init__()
        faces.dlib_module()  # before the first step, where it is not installed

    @torch.no_grad()
    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        source = step["source"]
        sides = torch.tensor([source.shape[-1], source.shape[-2]])
        nothing = torch.full((68, 2), torch.nan)
        seen = [faces.find(picture, thorough=False) for picture in source.float().cpu()]
        return torch.stack([found[0].landmarks / sides if found else nothing for found in seen]).to(source.device)


class FaceObject(Provider):
    """``object`` (N,1,H,W): 1 on the source's face and its forehead, 0 elsewhere; 1 everywhere without a face."""

    needs = frozenset({"source", "landmarks"})
    of_batch = True

    @torch.no_grad()
    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        source = step["source"]
        return torch.stack([face_map(points, *source.shape[-2:]) for points in step["landmarks"].float()])


class Skin(Provider):
    """``skin`` (N,1,H,W): 1 on the source's face where there is no brow, eye, nose, mouth or contour; 0 without a face."""

    needs = frozenset({"source", "landmarks"})
    of_batch = True

    @torch.no_grad()
    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        source = step["source"]
        return torch.stack([skin_map(points, *source.shape[-2:]) for points in step["landmarks"].float()])


def face_map(landmarks: Tensor, height: int, width: int) -> Tensor:
    """(68,2) in shares of the sides -> (1,H,W): the inside of their convex hull with the forehead; 1 without a face."""
    if not landmarks.isfinite().all():
        return landmarks.new_ones(1, height, width)
    points, tall = _pixels(landmarks, height, width)
    points = torch.cat([points, points[17:27] - points.new_tensor([0.0, FOREHEAD * tall])])
    return (_inside(points, height, width) / (FADES * tall) + 0.5).clamp(0, 1)[None]


def skin_map(landmarks: Tensor, height: int, width: int) -> Tensor:
    """The same of what is left of the face without its parts and its contour; 0 without a face."""
    if not landmarks.isfinite().all():
        return landmarks.new_zeros(1, height, width)
    points, tall = _pixels(landmarks, height, width)
    points = torch.cat([points, points[17:27] - points.new_tensor([0.0, FOREHEAD * tall])])
    free = _inside(points, height, width) - CLEAR * tall
    for part in PARTS:
        free = torch.minimum(free, -_inside(points[list(part)], height, width) - CLEAR * tall)
    return (free / (FADES * tall) + 0.5).clamp(0, 1)[None]


def _pixels(landmarks: Tensor, height: int, width: int) -> tuple[Tensor, float]:
    """The landmarks in pixels, and the face's height."""
    points = landmarks * landmarks.new_tensor([width, height])
    return points, float(points[:, 1].max() - points[:, 1].min())


def _inside(points: Tensor, height: int, width: int) -> Tensor:
    """(H,W): how many pixels each lies inside the convex hull of points (P,2), found by its tangents; below 0 outside."""
    x, y = (torch.arange(side, device=points.device) + 0.5 for side in (width, height))
    inside = points.new_full((height, width), torch.inf)
    for turn in torch.arange(0, 2 * math.pi, math.pi / 24).tolist():
        across, down = math.cos(turn), math.sin(turn)
        reach = (points[:, 0] * across + points[:, 1] * down).max()
        inside = torch.minimum(inside, reach - (x * across + (y * down)[:, None]))
    return inside
