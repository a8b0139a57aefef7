"""Exact attention whose memory grows linearly with the positions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

ROWS = 256
"""Queries that look at the keys together on the CPU: as many as make good use of a core's cache at 4096 positions."""


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """query (N,P,d), key (N,M,d), value (N,M,C) -> softmax(query · keyᵀ) · value, (N,P,C); not divided by √d.

    The P×M map is never whole. On CUDA it is torch's fused attention. On the CPU, where that wants d = C and takes
    longer than the map would, a few queries at a time look at all keys; the way back makes their rows again.
    """
    if query.device.type != "cpu" or torch.compiler.is_compiling() or torch.onnx.is_in_onnx_export():
        missing = value.shape[-1] - query.shape[-1]  # the fused kernels want equal depths; zeros change no product
        query, key = F.pad(query, (0, missing)), F.pad(key, (0, missing))
        query, key, value = (t.unsqueeze(1) for t in (query, key, value))  # one head
        return F.scaled_dot_product_attention(query, key, value, scale=1.0).squeeze(1)
    with torch.autocast("cpu", enabled=False):  # products of half precision are too coarse for exp
        return _Attention.apply(query.float(), key.float(), value.float()).to(value.dtype)


class _Map:
    """Some rows of softmax(query · keyᵀ) at a time, always in the same memory: the heap does not hand it out again."""

    def __init__(self, query: Tensor, key: Tensor) -> None:
        self.keys = key.transpose(1, 2)  # (N,d,M)
        self.memory = key.new_empty((len(key), min(ROWS, query.shape[1]), key.shape[1]))

    def rows(self, query: Tensor) -> Tensor:
        """query (N,p,d) -> (N,p,M)."""
        rows = torch.matmul(query, self.keys, out=self.memory[:, : query.shape[1]])
        return torch.softmax(rows, -1, out=rows)


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        ctx.save_for_backward(query, key, value)
        made, whole = value.new_empty((*query.shape[:2], value.shape[2])), _Map(query, key)
        for part, place in zip(query.split(ROWS, 1), made.split(ROWS, 1)):
            torch.matmul(whole.rows(part), value, out=place)
        return made

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value = ctx.saved_tensors
        of_query, of_key, of_value = (torch.zeros_like(t) for t in ctx.saved_tensors)
        whole = _Map(query, key)
        memory, product = torch.empty_like(whole.memory), torch.empty_like(whole.memory)
        for part, back, place in zip(*(t.split(ROWS, 1) for t in (query, grad, of_query))):
            rows = whole.rows(part)  # (N,p,M)
            of_value += rows.transpose(1, 2) @ back
            of_rows = torch.matmul(back, value.transpose(1, 2), out=memory[:, : part.shape[1]])
            mean = torch.mul(rows, of_rows, out=product[:, : part.shape[1]]).sum(-1, keepdim=True)
            of_rows.sub_(mean).mul_(rows)  # the softmax's way back
            torch.matmul(of_rows, key, out=place)
            of_key += of_rows.transpose(1, 2) @ part
        return of_query, of_key, of_value
