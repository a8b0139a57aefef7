"""Pictures in the sizes that a network takes."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.generator import SizeRule
from zoo.pictures.image import Box


def fit(rgb: Tensor, rule: SizeRule, working: int, size: int | None) -> tuple[Tensor, tuple[slice, slice]]:
    """(3, h, w) -> scaled and padded to the size rule (3, H, W), and where the picture lies in it.

    Scaled to the long side ``size``, 0 for not at all; unless given down to ``working`` where that is not 0.
    """
    height, width = rgb.shape[-2:]
    if rule.fixed:
        scale = min(rule.fixed[0] / height, rule.fixed[1] / width)
    elif size is None:
        scale = min(1.0, working / max(height, width)) if working else 1.0
    else:
        scale = size / max(height, width) if size else 1.0
    height, width = max(1, round(height * scale)), max(1, round(width * scale))
    full = rule.fixed or (rule.above(height), rule.above(width))
    top, left = (full[0] - height) // 2, (full[1] - width) // 2
    padded = _pad(_pad(resize(rgb, (height, width)), -2, top, full[0]), -1, left, full[1])
    return padded, (slice(top, top + height), slice(left, left + width))


def within(focus: Box, rule: SizeRule, size: torch.Size, box: tuple[slice, slice]) -> tuple[slice, slice] | None:
    """Rows and columns of a fitted picture (3, H, W), ``size``, in whole multiples of the size rule's, that hold the part ``focus`` of the
    picture that lies in ``box``; None where they are all of them."""
    left, top, right, bottom = focus
    spans, unit = [], rule.multiple_of
    for low, high, inside, length in zip((top, left), (bottom, right), box, size):
        side = inside.stop - inside.start
        start = math.floor((inside.start + low * side) / unit) * unit
        stop = max(math.ceil((inside.start + high * side) / unit) * unit, start + rule.above(rule.minimum))
        start = max(0, min(start, length - (stop - start)))
        spans.append(slice(start, min(stop, length)))
    rows, columns = spans
    return None if all(span == slice(0, length) for span, length in zip(spans, size)) else (rows, columns)


def resize(image: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    """(3, H, W) -> (3, *size), bicubic with antialiasing, in [-1, 1]; the same tensor if it has the size."""
    if image.shape[-2:] == tuple(size):
        return image
    return F.interpolate(image[None], tuple(size), mode="bicubic", antialias=True)[0].clamp_(-1, 1)


def _pad(image: Tensor, axis: Literal[-2, -1], before: int, length: int) -> Tensor:
    """(3, H, W) reflected to ``length`` along one axis; its edge repeated where there is too little to reflect."""
    if image.shape[axis] == length:
        return image
    after = length - before - image.shape[axis]
    padding = (before, after, 0, 0) if axis == -1 else (0, 0, before, after)
    mode = "reflect" if max(before, after) < image.shape[axis] else "replicate"
    return F.pad(image[None], padding, mode)[0]


def warped(image: Tensor, flow: Tensor) -> Tensor:
    """Pictures (N,C,H,W) whose every pixel comes from ``flow`` (N,2,H,W) beside it: right and down, in shares of the sides."""
    height, width = image.shape[2:]
    x = (torch.arange(width, device=image.device) + 0.5) / width
    y = (torch.arange(height, device=image.device) + 0.5) / height
    source = torch.stack([x + flow[:, 0], y[:, None] + flow[:, 1]], dim=-1)
    return F.grid_sample(image, 2 * source - 1, padding_mode="border", align_corners=False)
