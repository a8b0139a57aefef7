"""Faces in the light that networks of portraits know. Artists leave skin as light as their paper, and most sitters that such a network
learned from have light skin: where a face is darker, it draws shadows that are none."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.faces.detect import Face

SKIN = 0.66
"""How light a face's skin is made, from 0 to 1, where it is darker: half of the sitters of CelebA-HQ have as much."""

LEAST = 0.3
"""The smallest power to which light is raised: what is darker than that is a photograph of nothing."""

LUMA = (0.299, 0.587, 0.114)
GLANCE = 320
"""Pixels along the longer side in which faces are looked for that are as large as in a portrait."""

REACH = 64
"""Pixels along a side in which powers are blended, where people have different ones."""


def power(image: Tensor, landmarks: Tensor) -> float:
    """To which power the light of a picture (3, H, W) in [-1, 1] is raised so that the skin between eyes and mouth of a face with these
    ``landmarks`` (68, 2), in pixels, is light; 1 where it is."""
    left, right = landmarks[[36, 45], 0].int().tolist()
    top, bottom = landmarks[[28, 33], 1].int().tolist()
    seen = image[:, max(top, 0) : max(bottom + 1, 0), max(left, 0) : max(right + 1, 0)]
    if not seen.numel():
        return 1.0
    light = ((seen.float() + 1) / 2 * seen.new_tensor(LUMA)[:, None, None]).sum(0).median().clamp(1e-3, 1 - 1e-3)
    return min(1.0, max(LEAST, math.log(SKIN) / math.log(float(light))))


def lit(image: Tensor, power: float | Tensor) -> Tensor:
    """A picture (3, H, W) in [-1, 1] whose light is raised to a power, or in each pixel to one (H, W)."""
    if isinstance(power, float) and power == 1:
        return image
    return (image + 1).div_(2).clamp_(0, 1).pow_(power).mul_(2).sub_(1)


def evened(image: Tensor, found: Sequence[Face]) -> Tensor:
    """A picture (3, H, W) in [-1, 1] in which the skin of all ``found`` faces is light; between two it goes smoothly from the light of one to
    that of the other."""
    powers = [power(image, face.landmarks) for face in found]
    if all(one == powers[0] for one in powers):
        return lit(image, powers[0]) if powers else image
    height, width = image.shape[-2:]
    y, x = ((torch.arange(REACH) + 0.5) / REACH * side for side in (height, width))
    near = []
    for face in found:
        low, high = face.landmarks.amin(0), face.landmarks.amax(0)
        middle, size = (low + high) / 2, (high - low).max()
        away = torch.hypot(x - middle[0], y[:, None] - middle[1]) / size
        near.append(1 / (0.1 + away**4))  # about 1 to 0 within a face's height
    shares = torch.stack(near) / torch.stack(near).sum(0)
    blended = torch.einsum("n,nhw->hw", torch.tensor(powers), shares)
    return lit(image, F.interpolate(blended[None, None], (height, width), mode="bilinear")[0, 0])
