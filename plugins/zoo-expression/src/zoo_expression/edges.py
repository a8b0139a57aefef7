"""An eye or a mouth is an opening in a face: an edge above, an edge below.

S side of a crop; at: where the pixels of a row or a column lie, (S,).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Chain = Sequence[int]
EYES: Sequence[tuple[Chain, Chain]] = (((36, 37, 38, 39), (36, 41, 40, 39)), ((42, 43, 44, 45), (42, 47, 46, 45)))
LIPS: tuple[Chain, Chain] = (60, 61, 62, 63, 64), (60, 67, 66, 65, 64)
"""The upper and the lower edge of each opening, from the left in a picture to the right."""


@dataclass(frozen=True)
class Opening:
    """An eye or the inside of the lips, in a picture of S columns."""

    top: Tensor  # (S,) the height of its upper edge in each column, level beyond its corners
    bottom: Tensor  # (S,)
    left: float
    right: float

    @classmethod
    def of(cls, points: Tensor, chains: tuple[Chain, Chain], at: Tensor) -> Opening:
        top, bottom = (along(points[list(chain)], at) for chain in chains)
        left, right = points[[chains[0][0], chains[0][-1]], 0].tolist()
        return cls(top, torch.maximum(top, bottom), left, right)

    def mask(self, at: Tensor, soft: float) -> Tensor:
        """(S,S): 1 in it, 0 outside, over ``soft`` pixels."""
        y = at[:, None]
        inside = ((y - self.top) / soft).clamp(0, 1) * ((self.bottom - y) / soft).clamp(0, 1)
        return inside * ((at > self.left) & (at < self.right))

    def below(self, at: Tensor, soft: float) -> Tensor:
        """(S,S) from 0 above to 1 below its middle: sharp between its corners, ever softer beyond."""
        beyond = torch.maximum(self.left - at, at - self.right).clamp(min=0)
        return ((at[:, None] - (self.top + self.bottom) / 2) / (soft + beyond) + 0.5).clamp(0, 1)


def along(points: Tensor, at: Tensor) -> Tensor:
    """(S,): the height of a line through points (K,2), rounded (Catmull and Rom 1974), level beyond its ends."""
    x, y = points.unbind(1)
    x = torch.cummax(x, 0).values + 1e-3 * torch.arange(len(x))  # where a face is turned far, some lie on each other
    i = torch.searchsorted(x, at.contiguous()).clamp(1, len(x) - 1)
    step = (y[1:] - y[:-1]) / (x[1:] - x[:-1])
    slope = torch.cat([step[:1], (y[2:] - y[:-2]) / (x[2:] - x[:-2]), step[-1:]])
    wide = x[i] - x[i - 1]
    t = ((at - x[i - 1]) / wide).clamp(0, 1)
    rise = t * t * (3 - 2 * t)
    bends = (t * (1 - t) ** 2) * slope[i - 1] - (t * t * (1 - t)) * slope[i]
    return torch.lerp(y[i - 1], y[i], rise) + wide * bends


def smooth(x: Tensor) -> Tensor:
    """From 0 at 0 to 1 at 1 without a bend."""
    x = x.clamp(0, 1)
    return x * x * (3 - 2 * x)
