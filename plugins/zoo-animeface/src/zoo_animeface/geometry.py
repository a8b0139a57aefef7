"""Similarity transforms of shapes, and pictures under them. Everything has gradients."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

LEAST = 1e-6
"""A spread below which a shape is one point, which has no size or direction."""


@dataclass(frozen=True, eq=False)
class Similarity:
    """x -> linear · (x - start) + end: turns and scales a shape. One for each of N shapes."""

    linear: Tensor  # (N,2,2), [[p, -q], [q, p]]
    start: Tensor  # (N,1,2)
    end: Tensor  # (N,1,2)

    def __call__(self, points: Tensor) -> Tensor:
        """(N,K,2) -> (N,K,2)."""
        return (points - self.start) @ self.linear.mT + self.end

    def back(self, points: Tensor) -> Tensor:
        """The inverse."""
        return (points - self.end) @ self._inverse().mT + self.start

    def warped(self, image: Tensor) -> Tensor:
        """The picture (N,C,H,W) as the transform moves it, bilinear; its border is repeated. Points are in shares."""
        inverse = self._inverse()
        # grid_sample counts from -1 to 1: v = 2 y - 1; where (v + 1) / 2 comes from, in the same count
        shift = 2 * (inverse @ (0.5 - self.end).mT + self.start.mT) - 1  # (N,2,1)
        grid = F.affine_grid(torch.cat([inverse, shift], 2), list(image.shape), align_corners=False)
        return F.grid_sample(image, grid, mode="bilinear", padding_mode="border", align_corners=False)

    def _inverse(self) -> Tensor:
        determinant = (self.linear[:, :1, :1].square() + self.linear[:, 1:, :1].square()).clamp_min(LEAST)
        return self.linear.mT / determinant


def similarity(shape: Tensor, onto: Tensor) -> Similarity:
    """The transform that brings shapes (N,K,2) nearest to ``onto`` (K,2) or (N,K,2) by least squares.

    In closed form (S. Umeyama, PAMI 1991, in two dimensions without mirroring): with both centred, p and q are the
    sums of the inner and the outer products over the square of the shape's spread.
    """
    start, end = shape.mean(-2, keepdim=True), onto.mean(-2, keepdim=True).expand(shape.shape[0], 1, 2)
    a, b = shape - start, onto - end
    spread = a.square().sum((-2, -1)).clamp_min(LEAST)
    p = (a * b).sum((-2, -1)) / spread
    q = (a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]).sum(-1) / spread
    linear = torch.stack([torch.stack([p, -q], -1), torch.stack([q, p], -1)], -2)
    return Similarity(linear, start, end)
