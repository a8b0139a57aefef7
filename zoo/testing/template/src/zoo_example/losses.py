"""The losses of the paper."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor
from torch.nn import functional as F

from zoo.loss import Loss


class EdgesLoss(Loss):
    """Lines where the photograph has edges: L1 between the strengths of the gradients."""

    needs = frozenset({"source", "output"})

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        return F.l1_loss(edges(step["output"]), edges(step["source"]))


def edges(image: Tensor) -> Tensor:
    """(N,3,H,W) -> (N,1,H-1,W-1)."""
    grey = image.mean(1, keepdim=True)
    across, down = grey.diff(dim=3)[:, :, 1:], grey.diff(dim=2)[..., 1:]
    return (across**2 + down**2 + 1e-6).sqrt()
