"""Convolutions of stride 1 with fewer multiplications, on the CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.backends import nnpack

from zoo.machine.kernels import kernels_for

# Asking also initialises it. The call is torch's own business: one that has it no longer convolves the ordinary way.
_HAVE = nnpack.is_available() and hasattr(torch, "_nnpack_spatial_convolution")


class Conv2d(nn.Conv2d):
    """nn.Conv2d of stride 1: the same weights, and the same result but for rounding.

    Where `zoo.machine.kernels` says so it goes through NNPACK, which torch carries and which convolves in fp32, in
    Winograd's form for 3×3 kernels (Lavin and Gray 2016, F(6×6, 3×3): a fifth of the multiplications) and by FFT for
    larger ones. Rounding errors are about eight times those of the ordinary convolution. The way back to the input is
    again a convolution.
    """

    def __init__(self, inner: int, outer: int, kernel: int, padding: int = 0, bias: bool = True) -> None:
        super().__init__(inner, outer, kernel, padding=padding, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        if not _HAVE or torch.compiler.is_compiling() or torch.onnx.is_in_onnx_export():
            return super().forward(x)
        kernels = kernels_for(x)
        channels, pixels = kernels.winograd
        small = min(self.in_channels, self.out_channels) < channels or x.shape[-2] * x.shape[-1] < pixels
        if kernels.convolution == "torch" or (small and self.kernel_size[0] <= 3):
            return super().forward(x)
        assert isinstance(self.padding, tuple)
        return _Convolution.apply(x.float(), self.weight, self.bias, int(self.padding[0]))


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, padding: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.padding, ctx.sizes = padding, None if bias is None else [len(bias)]
        ctx.kind = torch.bfloat16 if torch.is_autocast_enabled("cpu") else torch.float32
        made = [torch._nnpack_spatial_convolution(sample, weight, bias, padding) for sample in x.split(1)]
        return made[0] if len(made) == 1 else torch.cat(made)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        grad_x = None
        if ctx.needs_input_grad[0]:
            mirrored = weight.flip(2, 3).transpose(0, 1).contiguous()
            grad_x = _Convolution.apply(grad, mirrored, None, weight.shape[-1] - 1 - ctx.padding)
        kind = ctx.kind
        of_weight_and_bias = torch.ops.aten.convolution_backward(
            grad.to(kind), x.to(kind), weight.to(kind), ctx.sizes,
            [1, 1], [ctx.padding] * 2, [1, 1], False, [0, 0], 1, [False, *ctx.needs_input_grad[1:3]],
        )[1:]  # fmt: skip
        return grad_x, *(g if g is None else g.float() for g in of_weight_and_bias), None
