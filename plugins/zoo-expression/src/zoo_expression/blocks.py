"""The ConvNeXt block (thesis, figure 6.5; Liu et al. 2022).

N batch, C channels, H and W size.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Depthwise(nn.Conv2d):
    """7×7 for each channel alone, (N,C,H,W) -> (N,H,W,C).

    On the CPU in fp32 and channels last also under autocast: torch's kernels for short numbers and for the other
    layout take three times as long there and back.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, 7, padding=3, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type == "cpu":
            with torch.autocast("cpu", enabled=False):
                x = super().forward(x.float().contiguous(memory_format=torch.channels_last))
        else:
            x = super().forward(x)
        return x.permute(0, 2, 3, 1)


class ConvNeXtBlock(nn.Module):
    """x + narrow(GELU(widen(LN(depthwise 7×7 x)))), (N,C,H,W) -> (N,C,H,W); the middle is ``widen`` times as wide.

    ``more`` puts a layer norm and a GELU behind every convolution: the thesis's variant with more of both.
    """

    def __init__(self, channels: int, widen: int = 2, more: bool = False) -> None:
        super().__init__()
        if widen < 1:
            raise ValueError("widen is 1 or more")
        middle = widen * channels
        self.depthwise = Depthwise(channels)
        self.norm = nn.LayerNorm(channels)
        self.widen = nn.Linear(channels, middle)
        self.narrow = nn.Linear(middle, channels)
        self.more = nn.ModuleList([nn.LayerNorm(middle), nn.LayerNorm(channels)]) if more else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.depthwise(x))  # (N,H,W,C)
        if self.more is None:
            y = self.narrow(F.gelu(self.widen(y)))
        else:
            y = F.gelu(self.more[0](self.widen(F.gelu(y))))
            y = F.gelu(self.more[1](self.narrow(y)))
        return x + y.permute(0, 3, 1, 2)
