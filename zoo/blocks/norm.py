"""Instance norm at the speed of the memory."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class InstanceNorm2d(nn.InstanceNorm2d):
    """x (N,C,H,W) -> (x − mean) / √(variance + ε) by sample and channel; nothing learned, nothing remembered.

    On the CPU it is a group norm with one channel a group: the same formula, the same result but for rounding. Torch's
    instance norm copies pictures that are channels last into the other layout and back, and walks over the others
    more often.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels)

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu" or torch.compiler.is_compiling() or torch.onnx.is_in_onnx_export():
            return super().forward(x)
        return F.group_norm(x, x.shape[1], eps=self.eps)
