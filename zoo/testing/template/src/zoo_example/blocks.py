"""The block of the paper."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo.blocks.residual import ResidualBlock


class SpatialGate(nn.Module):
    """Positions weighted by what lies around them: 7×7 convolution to one map (N,1,H,W), sigmoid, scale."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.look = nn.Conv2d(channels, 1, 7, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.look(x))


class GatedBlock(ResidualBlock):
    """A residual block whose branch is gated, (N,C,H,W) -> (N,C,H,W)."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, tail=SpatialGate(channels))
