"""Adversarial losses over logits, for the generator and for the discriminator."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.loss import Loss


def _logistic(logits: Tensor, real: bool) -> Tensor:
    return F.softplus(-logits if real else logits).mean()


def _least_squares(logits: Tensor, real: bool) -> Tensor:
    return ((logits - float(real)) ** 2).mean()


def _wasserstein(logits: Tensor, real: bool) -> Tensor:
    return -logits.mean() if real else logits.mean()


OBJECTIVES = {"least-squares": _least_squares, "logistic": _logistic, "wasserstein": _wasserstein}


class _Adversarial(Loss):
    def __init__(self, objective: str = "least-squares") -> None:
        """``objective``: ``least-squares`` (Mao et al. 2017), ``logistic`` (Goodfellow et al. 2014) or ``wasserstein``
        (Arjovsky et al. 2017; its critic needs the gradient penalty)."""
        super().__init__()
        if objective not in OBJECTIVES:
            raise ValueError(f"objective {objective!r} is not one of {', '.join(OBJECTIVES)}")
        self.score = OBJECTIVES[objective]


class AdversarialLoss(_Adversarial):
    """The generator's side: its results shall be taken for real. Both directions of a cycle are added."""

    needs = frozenset({"logits"})

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        return sum((self.score(step[k], True) for k in ("logits", "reverse_logits") if k in step), start=_zero(step))


class CriticLoss(_Adversarial):
    """The discriminator's side: half of the mean of real-taken-for-real and fake-taken-for-fake, by direction."""

    needs = frozenset({"real_logits", "fake_logits"})

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        total = _zero(step)
        for way in ("", "reverse_"):
            if way + "real_logits" in step:
                total = total + 0.5 * self.score(step[way + "real_logits"], True)
                total = total + 0.5 * self.score(step[way + "fake_logits"], False)
        return total


class GradientPenalty(Loss):
    """The critic's slope is held near 1: the mean squared distance of its length to 1 (Gulrajani et al. 2017, eq. 3).
    Both directions of a cycle are added."""

    needs = frozenset({"gradient_norm"})

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        norms = (step[name] for name in ("gradient_norm", "reverse_gradient_norm") if name in step)
        return sum(((norm.float() - 1).square().mean() for norm in norms), start=_zero(step))


def gradient_norm(judge: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, seeds: Tensor) -> Tensor:
    """What the gradient penalty looks at: pictures (N,3,H,W) -> the length (N,) of the gradient of ``judge``'s logits.

    At a place between real and fake that ``seeds`` (N,) decide; in fp32, since its own gradient is taken.
    """
    parts = [torch.rand((), generator=torch.Generator().manual_seed(seed + 1)) for seed in seeds.tolist()]
    part = torch.stack(parts[: len(real)]).to(real.device)[:, None, None, None]
    between = torch.lerp(real, fake.float(), part).requires_grad_(True)
    with torch.autocast(real.device.type, enabled=False):
        logits = judge(between)
        (slope,) = torch.autograd.grad(logits.flatten(1).mean(1).sum(), between, create_graph=True)
        return slope.flatten(1).norm(dim=1)


def _zero(step: Mapping[str, Tensor]) -> Tensor:
    return next(iter(step.values())).new_zeros(())
