"""Losses that compare pictures pixel by pixel (mean absolute difference)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor
from torch.nn import functional as F

from zoo.loss import Loss


class CycleLoss(Loss):
    """There and back again: F(G(x)) = x, and G(F(y)) = y where the trainer goes that way too (Zhu et al. 2017, eq. 2)."""

    needs = frozenset({"source", "reconstruction"})

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        loss = F.l1_loss(step["reconstruction"], step["source"])
        if "reverse_reconstruction" in step:
            loss = loss + F.l1_loss(step["reverse_reconstruction"], step["target"])
        return loss


class IdentityLoss(Loss):
    """A picture that is already of the target domain stays: G(y) = y, and F(x) = x (Zhu et al. 2017, section 5.2)."""

    needs = frozenset({"target", "identity"})

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        loss = F.l1_loss(step["identity"], step["target"])
        if "reverse_identity" in step:
            loss = loss + F.l1_loss(step["reverse_identity"], step["source"])
        return loss


class PixelLoss(Loss):
    """The result against the artist's picture of the same sitter; needs pairs (Cyclepix).

    ``both`` compares the way back with the photograph, too.
    """

    needs = frozenset({"output", "paired_target"})

    def __init__(self, both: bool = False) -> None:
        super().__init__()
        self.both = both
        if both:
            self.needs = self.needs | {"reverse_output", "paired_source"}

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        loss = F.l1_loss(step["output"], step["paired_target"])
        if self.both:
            loss = loss + F.l1_loss(step["reverse_output"], step["paired_source"])
        return loss


def unevenness(image: Tensor, where: Tensor) -> Tensor:
    """The mean absolute difference of neighbouring pixels, one below and one beside the other, of pictures (N,C,H,W) where the
    mask ``where`` (N,1,H,W) from 0 to 1 is; 0 where it is nowhere."""
    across = image.diff(dim=-1).abs().mean(1, keepdim=True) * where[..., 1:]
    down = image.diff(dim=-2).abs().mean(1, keepdim=True) * where[..., 1:, :]
    return (across.sum() + down.sum()) / where.sum().clamp(min=1)
