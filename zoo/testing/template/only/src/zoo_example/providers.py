"""What the losses of the paper read of a training step, and no trainer gives."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from zoo.provider import Provider


class LinesProvider(Provider):
    """Where the photograph has edges, (N,1,H,W) in [0,1]: a loss that needs the name of this provider gets it in every
    trainer, once a step."""

    needs = frozenset({"source"})

    @torch.no_grad()
    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        grey = step["source"].mean(1, keepdim=True)
        across, down = grey - grey.roll(1, 3), grey - grey.roll(1, 2)
        return (across**2 + down**2).sqrt().clamp(0, 1)
