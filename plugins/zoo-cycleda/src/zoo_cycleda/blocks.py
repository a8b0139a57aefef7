"""Residual blocks with attention (Takeoka & He, sections 3.1 and 3.2, figures 5 and 7).

N batch, C channels, H and W size, P = H·W positions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo.blocks.attention import attend, felt, heeded
from zoo.blocks.residual import ResidualBlock
from zoo.blocks.whole import everywhere, gram


class SqueezeExcitation(nn.Module):
    """Channels weighted by what the whole picture shows (Hu et al. 2018): pool, C -> C/16 -> C, sigmoid, scale."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        narrow = max(1, channels // reduction)
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, narrow, 1),
            nn.ReLU(),
            nn.Conv2d(narrow, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        """x (N,C,H,W), weighted by the means of ``seen`` (N,C,H,W)."""
        return x * self.gate(seen)  # (N,C,H,W) · (N,C,1,1)


class PositionAttention(nn.Module):
    """Every position looks at every other (DANet, Fu et al. 2019, eq. 1 and 2): α · softmax(qᵀk) v + x.

    The P×P map is never materialised: memory grows linearly with the pixel count. As in DANet the product is not
    divided by √d, and α starts at 0. In a picture drawn in tiles the positions are a sample of the whole picture's.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow = max(1, channels // 8)
        self.query = nn.Conv2d(channels, narrow, 1)
        self.key = nn.Conv2d(channels, narrow, 1, bias=False)  # it would add the same to all products of a query
        self.value = nn.Conv2d(channels, channels, 1)
        self.alpha = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.query(x).flatten(2), everywhere(self.key(x)), everywhere(self.value(x))
        attended = attend(*(rows.transpose(1, 2).contiguous() for rows in (query, key, value)))  # (N,P,C)
        return self.alpha * attended.transpose(1, 2).reshape_as(x) + x


class ChannelAttention(nn.Module):
    """Every channel looks at every other (DANet, eq. 3 and 4): β · softmax(rowmax − XXᵀ) X + x, β from 0."""

    def __init__(self) -> None:
        super().__init__()
        self.beta = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):  # sums over P do not fit a short mantissa
            energy = felt(gram(x.float()))  # (N,C,C)
            attention = heeded(torch.softmax(energy.amax(-1, keepdim=True) - energy, dim=-1))
            flat = x.flatten(2).float()
            if flat.is_contiguous():
                attended = (attention @ flat).reshape_as(x)
            else:  # channels last, as the result shall be
                attended = (flat.transpose(1, 2) @ attention.transpose(1, 2)).transpose(1, 2).reshape_as(x)
        return self.beta * attended.to(x.dtype) + x


class DualAttention(nn.Module):
    """Position and channel attention side by side, added (figure 6)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.position = PositionAttention(channels)
        self.channel = ChannelAttention()

    def forward(self, x: Tensor) -> Tensor:
        return self.position(x) + self.channel(x)


class SqueezeExcitationBlock(ResidualBlock):
    """SE-Residual block, figure 5.

    Deviation: the squeeze sees the branch in front of its second norm. Behind an instance norm every channel's mean
    is 0, whatever the picture, and the gate would be a constant; behind the batch norm of SE-ResNet it is not.
    """

    tail: SqueezeExcitation

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__(channels, tail=SqueezeExcitation(channels, reduction))

    def forward(self, x: Tensor) -> Tensor:
        seen = self.branch[:-1](x)
        return x + self.tail(self.branch[-1](seen), seen)


class DualAttentionBlock(ResidualBlock):
    """DA-Residual block, figure 7."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, tail=DualAttention(channels))
