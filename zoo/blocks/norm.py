"""Instance norm at the speed of the memory."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class InstanceNorm2d(nn.InstanceNorm2d):
    """x (N,C,H,W) -> (x − mean) / √(variance + ε) by sample and channel; nothing learned, nothing remembered.

    On the CPU it is a group norm with one channel a group: the same formula, the same result but for rounding. Torch's
    instance norm copies pictures that are channels last into the other layout and back, and walks over the others
    more often. Of pictures that are channels last torch's way back takes thirty times as long as its way forth; there
    it is our own.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels)

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu" or torch.compiler.is_compiling() or torch.onnx.is_in_onnx_export():
            return super().forward(x)
        if torch.is_grad_enabled() and x.requires_grad and not x.is_contiguous() and _is_last(x):
            return _ChannelsLast.apply(x, self.eps)
        return F.group_norm(x, x.shape[1], eps=self.eps)


def heal_instance_norms(network: nn.Module) -> None:
    """Make torch's own instance norms right where a gradient comes channels last: of one picture it would be shuffled.

    Seen with torch 2.14 on the CPU, at a batch of 1, whatever the layout of the picture.
    """

    def heal(_: nn.Module, __: Any, made: Tensor) -> None:
        if made.requires_grad:
            made.register_hook(lambda grad: grad.contiguous())

    for module in network.modules():
        if isinstance(module, nn.InstanceNorm2d) and not isinstance(module, InstanceNorm2d):
            module.register_forward_hook(heal)


def _is_last(x: Tensor) -> bool:
    return x.is_contiguous(memory_format=torch.channels_last)


class _ChannelsLast(torch.autograd.Function):
    """Statistics in fp32 also of shorter numbers. The input is kept, not the result: a ReLU may change that in its place."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float) -> Tensor:
        channels, wide = x.shape[1], torch.promote_types(x.dtype, torch.float32)
        ones = x.new_ones(channels, dtype=wide)  # weights of that precision make torch keep the statistics in it
        made, mean, scale = torch.native_group_norm(
            x, ones, torch.zeros_like(ones), len(x), channels, x.shape[2] * x.shape[3], channels, eps
        )
        ctx.save_for_backward(x, mean, scale)
        ctx.eps = eps
        return made

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        """With y the result and means over the P positions: scale · (grad − mean(grad) − y · mean(grad · y))."""
        x, mean, scale = ctx.saved_tensors  # (N,C,H,W), (N,C), (N,C)
        if torch.is_grad_enabled():  # a gradient penalty goes back through this, too: then the statistics depend on x
            variance, mean = torch.var_mean(x.to(mean.dtype), (2, 3), correction=0)
            scale = (variance + ctx.eps).rsqrt()
        flat, back = (t.permute(0, 2, 3, 1).flatten(1, 2) for t in (x, grad))  # (N,P,C)
        wide, count = mean.dtype, flat.shape[1]
        sums, products = back.sum(1, dtype=wide), (back * flat).sum(1, dtype=wide)
        slope = -scale.pow(3) * (products - mean * sums) / count  # (N,C)
        shift = -scale * sums / count - slope * mean
        shift, slope, scale = (t.to(x.dtype)[:, None] for t in (shift, slope, scale))
        made = torch.addcmul(torch.addcmul(shift, flat, slope), back, scale)
        return made.unflatten(1, x.shape[2:]).permute(0, 3, 1, 2), None
