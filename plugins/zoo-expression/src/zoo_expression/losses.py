"""What the thesis trains with beside the adversarial and the cycle loss, which are the core's (chapter 4)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor
from torch.nn import functional as F

from zoo.loss import Loss


class ActionUnitLoss(Loss):
    """Units read off a picture against those it shall show: mean squared error (Pumarola et al., eq. 5)."""

    needs = frozenset({"units", "read"})

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        return F.mse_loss(step["read"].float(), step["units"].float())


class ExpressionClassLoss(Loss):
    """StarGAN's domain classification: cross entropy of the scores read off a picture and its label (eq. 2 and 3)."""

    needs = frozenset({"units", "read"})

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        return F.cross_entropy(step["read"].float(), step["units"].float())


class AttentionAreaLoss(Loss):
    """The mean square of A: it must not saturate at 1, where a generator has nothing to do (Pumarola et al., eq. 4)."""

    needs = frozenset({"attention"})

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        return step["attention"].float().square().mean()


class AttentionVariationLoss(Loss):
    """The mean squared difference of neighbours in A: smooth, no speckles (Pumarola et al., eq. 4)."""

    needs = frozenset({"attention"})

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        attention = step["attention"].float()
        return attention.diff(dim=-1).square().mean() + attention.diff(dim=-2).square().mean()


class PaintLoss(Loss):
    """The mean square of what was painted on the picture after it was moved: a reader is fooled by dark paint where brows
    were, as if hair had fallen over them, and such hair looks real. For generators that make ``paint``, with ``warp``."""

    needs = frozenset({"paint"})

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        return step["paint"].float().square().mean()
