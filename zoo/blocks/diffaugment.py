"""Differentiable augmentation in front of a discriminator (Zhao et al. 2020): the remedy for few pictures."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional as F


def diff_augment(image: Tensor, policy: Iterable[str], seeds: Tensor, salt: int = 0) -> Tensor:
    """Image (N,3,H,W) in [-1,1] -> the same, changed at random by sample; gradients flow through.

    ``policy`` names of: ``colour`` (brightness, saturation, contrast), ``translation`` (up to 1/8 of the size, what
    enters is 0), ``cutout`` (a square of half the size becomes 0). ``seeds`` (N,) int64 decide alone what happens to
    each sample, so the result does not depend on the batch or process it is in; ``salt`` tells calls apart.
    """
    policy = tuple(policy)
    if not policy:
        return image
    draws = torch.stack([_draw(int(seed), salt) for seed in seeds.tolist()]).to(image.device)  # (N,7) in [0,1)
    for name in policy:
        image = _STEPS[name](image, draws)
    return image


def _draw(seed: int, salt: int) -> Tensor:
    return torch.rand(7, generator=torch.Generator().manual_seed((seed * 1000003 + salt) % 2**63))


def _colour(image: Tensor, draws: Tensor) -> Tensor:
    brightness, saturation, contrast = (draws[:, i, None, None, None].to(image.dtype) for i in range(3))
    image = image + (brightness - 0.5)
    grey = image.mean(1, keepdim=True)
    image = grey + (image - grey) * (2 * saturation)
    mean = image.mean((1, 2, 3), keepdim=True)
    return mean + (image - mean) * (0.5 + contrast)


def _translation(image: Tensor, draws: Tensor) -> Tensor:
    height, width = image.shape[2:]
    most = (height // 8, width // 8)
    padded = F.pad(image, (most[1], most[1], most[0], most[0]))
    rows = (draws[:, 3] * (2 * most[0] + 1)).long().tolist()
    columns = (draws[:, 4] * (2 * most[1] + 1)).long().tolist()
    moved = [padded[i : i + 1, :, r : r + height, c : c + width] for i, (r, c) in enumerate(zip(rows, columns))]
    return torch.cat(moved)


def _cutout(image: Tensor, draws: Tensor) -> Tensor:
    height, width = image.shape[2:]
    rows = torch.arange(height, device=image.device)[None, :, None]
    columns = torch.arange(width, device=image.device)[None, None, :]
    inside = ((rows - (draws[:, 5] * height).long()[:, None, None]).abs() < height // 4) & (
        (columns - (draws[:, 6] * width).long()[:, None, None]).abs() < width // 4
    )  # (N,H,W)
    return image.masked_fill(inside[:, None], 0.0)


_STEPS = {"colour": _colour, "translation": _translation, "cutout": _cutout}
