"""What is in a mouth that opens: painted by a small network that has learned from people who laugh.

It sees the mouth cut out, lips and all, and where nothing is known; it was taught by photographs of open mouths, of whose inside a
part or all was hidden from it (`zoo mouth-painter`). One mouth opens in one way: chance is no part of it, so films do not flicker.
"""

from __future__ import annotations

import functools
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.faces.geometry import exactly, resampled
from zoo.weights.file import load_weights

WEIGHTS = Path(__file__).parent / "mouth.safetensors"

HEIGHT, WIDTH = 80, 96
"""Pixels of a mouth that is cut out."""

EYES = 64.0
"""Pixels there from eye to eye: teeth of all people are about as large, mouths are not."""

RIM = 3
"""Pixels around what is hidden that are painted anew as well: lips there were stretched."""

UPPER, MIDDLE = 28.0, 48.0
"""How far down the upper lip's inner edge lies there, and how far right the middle of the mouth's corners."""


class MouthPainter(nn.Module):
    """A U-Net (Ronneberger et al. 2015): mouths (N,3,HEIGHT,WIDTH) in [-1,1], ``hidden`` and ``inside`` (N,1,HEIGHT,WIDTH) from 0
    to 1, what is not known and where the mouth is open -> mouths with all of it, (N,3,HEIGHT,WIDTH)."""

    def __init__(self, widths: tuple[int, ...] = (32, 48, 72, 96, 128)) -> None:
        super().__init__()
        self.stem = _Layer(5, widths[0])
        self.down = nn.ModuleList(
            nn.Sequential(_Layer(before, after, 2), _Layer(after, after)) for before, after in pairwise(widths)
        )
        self.up = nn.ModuleList(_Layer(deep + flat, flat) for flat, deep in reversed([*pairwise(widths)]))
        self.last = nn.Conv2d(widths[0], 3, 3, padding=1)

    def forward(self, mouth: Tensor, hidden: Tensor, inside: Tensor) -> Tensor:
        features = [self.stem(torch.cat([mouth * (1 - hidden), hidden, inside], 1))]
        for level in self.down:
            features.append(level(features[-1]))
        x = features.pop()
        for level in self.up:
            flat = features.pop()
            x = level(torch.cat([F.interpolate(x, flat.shape[-2:]), flat], 1))
        return torch.lerp(mouth, torch.tanh(self.last(x).float()), hidden)


class _Layer(nn.Sequential):
    """3×3, LeakyReLU. There is no norm: it would lose how light a face is."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        convolution = nn.Conv2d(inputs, outputs, 3, stride, 1)
        nn.init.kaiming_normal_(convolution.weight, a=0.2)
        super().__init__(convolution, nn.LeakyReLU(0.2, inplace=True))


def place(points: Tensor) -> Tensor:
    """(2,3) from the pixels of a mouth that is cut out to those in which a face's landmarks (68,2) are; faces are upright."""
    points = points.double()
    scale = (points[42:48].mean(0) - points[36:42].mean(0)).norm() / EYES
    right = points[[48, 54], 0].mean() - MIDDLE * scale
    down = points[[61, 62, 63], 1].mean() - UPPER * scale
    return torch.cat([torch.eye(2).double() * scale, torch.stack([right, down])[:, None]], 1)


@torch.no_grad()
@exactly
def painted(image: Tensor, points: Tensor, hidden: Tensor, inside: Tensor) -> Tensor:
    """A face (3,S,S) with landmarks (68,2) and with what was ``hidden`` (S,S) in its mouth, whose ``inside`` (S,S) is."""
    matrix = place(points)
    planes = resampled(torch.cat([image, hidden[None], inside[None]]), matrix, (HEIGHT, WIDTH))
    mouth, hidden, inside = planes[None].split([3, 1, 1], 1)
    made = painter()(mouth.clamp(-1, 1), widened(hidden.clamp(0, 1), RIM), inside.clamp(0, 1))[0]
    back = torch.cat([torch.eye(2).double() / matrix[0, 0], -matrix[:, 2:] / matrix[0, 0]], 1)
    return resampled(made, back, image.shape[1:]).clamp(-1, 1)


def widened(mask: Tensor, by: int) -> Tensor:
    """A mask (…,1,H,W) and so many pixels around it."""
    return F.max_pool2d(mask, 2 * by + 1, 1, by)


@functools.cache
def painter() -> MouthPainter:
    """The trained network."""
    network = MouthPainter()
    load_weights(WEIGHTS, network)
    return network.eval().requires_grad_(False)
