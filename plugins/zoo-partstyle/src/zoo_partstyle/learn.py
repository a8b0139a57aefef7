"""Learning what tells an object's positions from the others, by sums over positions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass
class Sums:
    """Weighted sums over positions: all that ridge regression needs of them."""

    count: float
    first: Tensor  # (D,)
    second: Tensor | None  # (D, D)

    @classmethod
    def empty(cls, size: int, square: bool = True) -> Sums:
        return cls(0.0, torch.zeros(size).double(), torch.zeros(size, size).double() if square else None)

    def add(self, columns: Tensor, weight: Tensor) -> None:
        """``columns`` (P, D) with ``weight`` (P,)."""
        weighted = columns * weight[:, None]
        self.count += float(weight.sum())
        self.first += weighted.sum(0)
        if self.second is not None:
            self.second += weighted.T @ columns

    def plus(self, other: Sums, weight: float) -> Sums:
        second = None if self.second is None or other.second is None else self.second + weight * other.second
        return Sums(self.count + weight * other.count, self.first + weight * other.first, second)

    def means(self) -> tuple[Tensor, Tensor]:
        assert self.second is not None
        return self.first / self.count, self.second / self.count


def columns_of(features: Sequence[Tensor], root: bool = True) -> Tensor:
    """Features (1, C, h, w) of several layers -> their roots at the positions of the coarsest, (P, ΣC)."""
    size = min((x.shape[-2], x.shape[-1]) for x in features)
    columns = torch.cat([F.adaptive_avg_pool2d(x, size)[0].flatten(1) for x in features]).T
    return columns.sqrt() if root else columns


def told_apart(figure: Sums, ground: Sums, damping: float = 2.0) -> tuple[Tensor, float]:
    """Weights and bias of the linear function that is 1 in the mean of ``figure`` and 0 in that of ``ground``."""
    (one, one_square), (zero, zero_square) = figure.means(), ground.means()
    mean = (one + zero) / 2
    spread = (one_square + zero_square) / 2 - torch.outer(mean, mean)
    spread += damping * spread.diagonal().mean().clamp_min(1e-9) * torch.eye(len(mean), dtype=mean.dtype)
    weights = torch.linalg.solve(spread, one - zero)
    height = float(weights @ (one - zero))
    if height <= 0:  # the same in both
        return torch.zeros_like(weights), 0.0
    return weights / height, -float(weights @ zero) / height
