"""The residual block of Johnson et al. 2016 as CycleGAN uses it."""

from __future__ import annotations

from torch import Tensor, nn

from zoo.blocks.conv import Conv2d
from zoo.blocks.norm import InstanceNorm2d


class ResidualBlock(nn.Module):
    """x + tail(norm(conv(relu(norm(conv(x)))))), (N,C,H,W) -> (N,C,H,W); H and W at least 2.

    Reflection padding, instance norm without affine parameters (so the convolutions need no bias). ``tail`` works
    on the residual branch before the skip is added: the place where attention goes.
    """

    def __init__(self, channels: int, tail: nn.Module | None = None) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.ReflectionPad2d(1),
            Conv2d(channels, channels, 3, bias=False),
            InstanceNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.ReflectionPad2d(1),
            Conv2d(channels, channels, 3, bias=False),
            InstanceNorm2d(channels),
        )
        self.tail = nn.Identity() if tail is None else tail

    def forward(self, x: Tensor) -> Tensor:
        return x + self.tail(self.branch(x))
