"""Exact attention whose memory grows linearly with the positions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from zoo.machine.kernels import kernels_for

ROWS = 256
"""Queries that look at the keys together on the CPU: as many as make good use of a core's cache at 4096 positions."""


NOTHING, FAINT = 1e-12, 1e-30
"""What gets less of somebody's attention gets none; gradients below the other are none. Products with numbers that are nearly 0, and have
fewer digits then, take fifty times as long on Intel's processors."""


def heeded(shares: Tensor) -> Tensor:
    """Shares of attention, from 0 to 1, without what is less than `NOTHING`."""
    return shares.masked_fill(shares < NOTHING, 0)


def felt(x: Tensor) -> Tensor:
    """The same numbers, whose gradient is without what is less than `FAINT`."""
    made: Tensor = _Felt.apply(x)
    return made


class _Felt(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad.masked_fill(grad.abs() < FAINT, 0)


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """query (N,P,d), key (N,M,d), value (N,M,C) -> softmax(query · keyᵀ) · value, (N,P,C); not divided by √d.

    The P×M map is never whole. On CUDA it is torch's fused attention. On the CPU, where that wants d = C and takes
    longer than the map would, a few queries at a time look at all keys; the way back makes their rows again.

    Scores and the softmax are in fp32 on the CPU, also under autocast: shorter ones are too coarse for exp. The products
    with what is C deep, nine tenths of the work, are in bf16 where that is many times as fast (`zoo.machine.kernels`).
    """
    precision = kernels_for(query).attention
    if precision == "fused" or torch.compiler.is_exporting() or torch.onnx.is_in_onnx_export():
        missing = value.shape[-1] - query.shape[-1]  # the fused kernels want equal depths; zeros change no product
        query, key = F.pad(query, (0, missing)), F.pad(key, (0, missing))
        query, key, value = (t.unsqueeze(1) for t in (query, key, value))  # one head
        return F.scaled_dot_product_attention(query, key, value, scale=1.0).squeeze(1)
    return _attend(query, key, value, torch.bfloat16 if precision == "bf16" else torch.float32)


@torch.compiler.disable  # what torch generates instead has scores in bf16 under autocast
def _attend(query: Tensor, key: Tensor, value: Tensor, dtype: torch.dtype) -> Tensor:
    with torch.autocast("cpu", enabled=False):
        made: Tensor = _Attention.apply(query.float(), key.float(), value.float(), dtype)
        return made.to(value.dtype)


class _Map:
    """Some rows of softmax(query · keyᵀ) at a time, always in the same memory: the heap does not hand it out again."""

    def __init__(self, query: Tensor, key: Tensor, dtype: torch.dtype) -> None:
        self.keys = key.transpose(1, 2)  # (N,d,M)
        self.memory = key.new_empty((len(key), min(ROWS, query.shape[1]), key.shape[1]))
        self.short = self.memory if dtype == self.memory.dtype else torch.empty_like(self.memory, dtype=dtype)

    def rows(self, query: Tensor) -> Tensor:
        """query (N,p,d) -> (N,p,M)."""
        rows = torch.matmul(query, self.keys, out=self.memory[:, : query.shape[1]])
        return torch.threshold_(torch.softmax(rows, -1, out=rows), NOTHING, 0.0)

    def rounded(self, rows: Tensor) -> Tensor:
        """The same in the precision of the large products."""
        return rows if self.short is self.memory else self.short[:, : rows.shape[1]].copy_(rows)


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, dtype: torch.dtype) -> Tensor:
        ctx.save_for_backward(query, key, value)
        ctx.dtype = dtype
        made = value.new_empty((*query.shape[:2], value.shape[2]))
        whole, values = _Map(query, key, dtype), value.to(dtype)
        memory = values.new_empty(ROWS * value.shape[2])
        for part, place in zip(query.split(ROWS, 1), made.split(ROWS, 1)):
            _multiply(whole.rounded(whole.rows(part)), values, place, memory)
        return made

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        query, key, value = ctx.saved_tensors
        of_query, of_key, of_value = (t.new_zeros(t.shape) for t in (query, key.mT, value.mT))
        whole = _Map(query, key, ctx.dtype)
        queries, grads, keys = (t.to(ctx.dtype) for t in (query, grad, key))
        if ctx.dtype != value.dtype:  # what all values share the softmax's way back takes away: it need not be rounded
            value = (value - value.mean(1, keepdim=True)).to(ctx.dtype)
        scores, product = torch.empty_like(whole.memory), torch.empty_like(whole.memory)
        depth, keys_deep = value.shape[2], key.shape[2]
        added = of_value.new_empty((len(key), max(depth, keys_deep), key.shape[1]))
        memory = keys.new_empty(max(ROWS, depth, keys_deep) * key.shape[1])
        for part, short, back, place in zip(*(t.split(ROWS, 1) for t in (query, queries, grads, of_query))):
            rows = whole.rows(part)  # (N,p,M)
            of_value += _multiply(back.mT, whole.rounded(rows), added[:, :depth], memory)
            of_rows = _multiply(back, value.mT, scores[:, : part.shape[1]], memory)
            mean = torch.mul(rows, of_rows, out=product[:, : part.shape[1]]).sum(-1, keepdim=True)
            of_rows.sub_(mean).mul_(rows)  # the softmax's way back
            rounded = whole.rounded(of_rows)
            _multiply(rounded, keys, place, memory)
            of_key += _multiply(short.mT, rounded, added[:, :keys_deep], memory)
        return of_query, of_key.mT, of_value.mT, None


def _multiply(one: Tensor, other: Tensor, out: Tensor, memory: Tensor) -> Tensor:
    """one (N,p,q) · other (N,q,r) into ``out`` (N,p,r), which is fp32; what is shorter by way of ``memory``.

    One by one: torch's products of batches take up to ten times as long in bf16, where one of the factors is transposed."""
    for each, left, right in zip(out, one, other):
        if left.dtype == out.dtype:
            torch.mm(left, right, out=each)
        else:
            each.copy_(torch.mm(left, right, out=memory[: each.numel()].view(each.shape)))
    return out
