"""Numbers on landmarks and on sets of results (thesis, section 4.4 and chapter 5)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zoo_animeface.points import GROUPS, SIDE

FAR = 5.0
"""Pixels of 112 from which the thesis counts a point as an outlier."""


@dataclass(frozen=True)
class Accuracy:
    """How well shapes were found, in pixels of 112 (table 4.1)."""

    rmse: float  # eq. 4.2 of each face, mean over faces
    outliers: float  # share of points off by more than FAR
    faces: float  # share of faces with such a point
    n: int  # faces
    groups: dict[str, float]  # mean distance of each group's points

    @classmethod
    def of(cls, found: Tensor, true: Tensor) -> Accuracy:
        """``found`` and ``true`` (n,40,2) in shares of the side, n at least 1."""
        distance = SIDE * (found - true).norm(dim=-1)  # (n,40)
        far = distance > FAR
        rmse = distance.square().mean(1).sqrt().mean()
        groups = {name: float(distance[:, part].mean()) for name, (part, _) in GROUPS.items()}
        return cls(float(rmse), float(far.float().mean()), float(far.any(1).float().mean()), len(found), groups)


class Variety:
    """How much pictures (3,H,W) of one size differ from each other: their standard deviation over the set, mean over
    pixels and colours. Streaming."""

    def __init__(self) -> None:
        self.n, self.sum, self.squares = 0, torch.zeros(()).double(), torch.zeros(()).double()

    def add(self, picture: Tensor) -> None:
        picture = picture.double().cpu()
        self.n, self.sum, self.squares = self.n + 1, self.sum + picture, self.squares + picture.square()

    @property
    def value(self) -> float:
        mean = self.sum / max(self.n, 1)
        return float((self.squares / max(self.n, 1) - mean.square()).clamp(min=0).sqrt().mean())
