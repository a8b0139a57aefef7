"""What is done with gradients between the way back and the optimiser's step."""

from __future__ import annotations

import torch
from accelerate import Accelerator
from torch import Tensor

LONGEST = 4.0
"""Times the usual length of a gradient; what is longer is cut to it."""

SETTLED = 10
"""Steps after which Adam knows what is usual."""


def share(optimiser: torch.optim.Optimizer, accelerator: Accelerator) -> None:
    """Each process gets the mean of all."""
    gradients = [p.grad for group in optimiser.param_groups for p in group["params"] if p.grad is not None]
    flat: Tensor = accelerator.reduce(torch.cat([g.flatten() for g in gradients]), "mean")
    for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients])):
        gradient.copy_(mean.view_as(gradient))


def shorten(optimiser: torch.optim.Optimizer) -> None:
    """A gradient more than `LONGEST` times as long as Adam knows them is cut to that length; others stay bit by bit.

    On a picture on which something blows up, as a norm does on next to nothing or a Gram matrix on a glaring output, a gradient
    may be a hundred million times as long. Adam's mean of squares forgets by a thousandth a step: the network would hardly move
    for ten thousands of them, and nothing would say so. (Compare AutoClip, Seetharaman et al. 2020, which remembers lengths itself.)
    """
    for group in optimiser.param_groups:
        known = [(p.grad, optimiser.state[p]) for p in group["params"] if p.grad is not None and optimiser.state.get(p)]
        if not known or (steps := float(known[0][1]["step"])) < SETTLED:
            continue
        gradients, squares = [gradient for gradient, _ in known], [state["exp_avg_sq"] for _, state in known]
        length = torch.stack(torch._foreach_norm(gradients)).norm()
        usual = torch.stack(torch._foreach_norm(squares, 1)).sum() / (1 - group["betas"][1] ** steps)
        torch._foreach_mul_(gradients, (LONGEST * usual.sqrt() / length.clamp(min=1e-30)).clamp(max=1))
