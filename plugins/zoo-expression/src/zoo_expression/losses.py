"""What the thesis trains with beside the adversarial and the cycle loss, which are the core's (chapter 4)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.loss import Loss
from zoo_expression.motion import Motion, distance
from zoo_expression.units import MOST


class ActionUnitLoss(Loss):
    """Units read off a picture against those it shall show: mean squared error (Pumarola et al., eq. 5); a picture without
    a face counts nothing."""

    needs = frozenset({"units", "read"})

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        read, units = _seen(step["read"].float(), step["units"].float())
        return F.mse_loss(read, units) if len(read) else step["read"].nan_to_num().sum() * 0


class ExpressionClassLoss(Loss):
    """StarGAN's domain classification: cross entropy of the scores read off a picture and its label (eq. 2 and 3)."""

    needs = frozenset({"label", "scores"})

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        scores, label = _seen(step["scores"].float(), step["label"].float())
        return F.cross_entropy(scores, label) if len(scores) else step["scores"].nan_to_num().sum() * 0


def _seen(read: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Both of the pictures in which there was a face to read."""
    known = read.isfinite().all(1) & wanted.isfinite().all(1)
    return (read, wanted) if bool(known.all()) else (read[known], wanted[known])


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


class MotionLoss(Loss):
    """A generator's ``flow`` (N,2,H,W), where each pixel comes from, against where landmarks go by the table of motion, when
    the units change from ``own`` to ``units`` (N,17), in shares of the most: mean square in inter-ocular distances. For any
    generator that makes a flow; ``landmarks`` (N,68,2) are those of the source, in shares of the picture's side, NaN where
    they are not known. A landmark that goes to another place is found there, so that the flow is read there."""

    needs = frozenset({"flow", "landmarks", "own", "units"})

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        self.motion = Motion(gain)

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        flow, landmarks = step["flow"].float(), step["landmarks"].double()
        known = landmarks.isfinite().flatten(1).all(1)
        if not known.any():
            return flow.sum() * 0
        points, own, units = (x[known] for x in (landmarks, MOST * step["own"], MOST * step["units"]))
        self.motion.to(points.device)
        shifts = torch.stack(
            [
                self.motion.shifts(point, has.expand(2, -1).double(), wanted.expand(2, -1).double())
                for point, has, wanted in zip(points, own, units)
            ]
        )
        there = (points + shifts).to(flow)
        read = F.grid_sample(flow[known], 2 * there[:, None] - 1, padding_mode="border", align_corners=False)
        away = read[:, :, 0].transpose(1, 2) + shifts.to(flow)  # what lies there came from where the landmark was
        inner = away[:, 17:] / distance(points).to(flow)[:, None, None]  # the jaw's ends do not move
        return inner.square().mean()
