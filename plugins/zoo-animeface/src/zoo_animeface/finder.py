"""Where faces are in a drawing of any size: a small network looks for their middles (Zhou et al. 2019, Objects as Points).

dlib and its peers know photographs. This one has seen drawn faces pasted onto other pictures (benchmarks/anime_faces.py).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.catalogue.registry import registry
from zoo.weights.file import load_weights
from zoo.weights.sources import locate

CARD = "anime-faces"
STRIDE = 8
"""Pixels of a cell: each says whether the middle of a face is in it."""

UNIT = 48.0
"""Pixels of a side whose logarithm is 0."""

SIDES = (160, 320, 640)
"""The longer side, in pixels, of what is looked at: in the first are faces that fill the picture, in the last small ones."""

SURE = 0.5
ROOM, FILLS = 1 / 3, 0.6
"""Where no face is seen, how much empty room is put around the picture for another look, in shares of its longer side; and the side of what is taken
for a face in that, in such shares, at least: where hair is cut off on all sides nothing looks like a head."""

APART = 0.3
"""Squares whose intersection is a larger share of their union are one face."""


@dataclass(frozen=True)
class Square:
    """A face with its hair, as `zoo_animeface.dan` wants it: the middle and the side, in the picture's pixels."""

    x: float
    y: float
    side: float
    score: float  # 0 to 1

    def overlap(self, other: Square) -> float:
        """Intersection over union."""
        across, down = (
            min(a + self.side / 2, b + other.side / 2) - max(a - self.side / 2, b - other.side / 2)
            for a, b in ((self.x, other.x), (self.y, other.y))
        )
        shared = max(across, 0.0) * max(down, 0.0)
        return shared / (self.side**2 + other.side**2 - shared)

    def part_of(self, other: Square) -> bool:
        """Whether it is an eye of the other face, say: four times smaller and in its middle half."""
        away = max(abs(self.x - other.x), abs(self.y - other.y))
        return 4 * self.side < other.side and away < other.side / 4


class FaceFinder(nn.Module):
    """(N,3,H,W) in [-1,1], sides multiples of ``STRIDE`` -> (N,4,H/8,W/8): the logit that a face's middle is in the cell, where
    in it, right and down in cells from its middle, and the logarithm of the face's side over ``UNIT``."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        wide = 3 * width
        self.body = nn.Sequential(
            *(_convolution(3, width, 2), _convolution(width, 2 * width, 2), _convolution(2 * width, 2 * width)),
            *(_convolution(2 * width, wide, 2), *(_Dilated(wide, far) for far in (1, 2, 4, 2, 1))),
        )
        self.head = nn.Conv2d(wide, 4, 1)

    def forward(self, image: Tensor) -> Tensor:
        found: Tensor = self.head(self.body(image))
        return found


class _Dilated(nn.Module):
    """A residual block of one convolution that looks ``far``."""

    def __init__(self, channels: int, far: int) -> None:
        super().__init__()
        self.convolution = _convolution(channels, channels, far=far)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.convolution(x)


def _convolution(inputs: int, outputs: int, stride: int = 1, far: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 3, stride, far, dilation=far, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


@functools.cache
def load_finder() -> FaceFinder:
    """The network of the card `anime-faces`. NotFoundError without weights."""
    finder = FaceFinder()
    load_weights(locate(*registry().card(CARD)), finder)
    return finder.eval().requires_grad_(False)


def find(picture: Tensor) -> list[Square]:
    """The drawn faces in a picture (3,H,W) in [-1,1], the largest first."""
    return seen(load_finder(), picture)


@torch.no_grad()
def seen(finder: FaceFinder, picture: Tensor, sure: float = SURE) -> list[Square]:
    """What ``finder`` sees in a picture (3,H,W), the largest first; if nothing, whether a face fills it."""
    if found := _seen(finder, picture, sure):
        return found
    longer = max(picture.shape[1:])
    room = round(ROOM * longer)
    roomy = _seen(finder, F.pad(picture, (room, room, room, room)), sure)
    return [replace(one, x=one.x - room, y=one.y - room) for one in roomy if one.side > FILLS * longer]


def _seen(finder: FaceFinder, picture: Tensor, sure: float) -> list[Square]:
    longer = max(picture.shape[1:])
    found: list[Square] = []
    for side in SIDES:
        if side > 2 * longer and found:
            break
        found += _at(finder, picture, side / longer, sure)
    kept: list[Square] = []
    for square in sorted(found, key=lambda one: -one.score):
        if all(square.overlap(other) <= APART for other in kept):
            kept.append(square)
    whole = [one for one in kept if not any(one.part_of(other) for other in kept)]
    return sorted(whole, key=lambda one: -one.side)


def _at(finder: FaceFinder, picture: Tensor, scale: float, sure: float) -> list[Square]:
    """What is seen of a picture that is scaled; its right and lower border are repeated up to whole cells."""
    size = [max(1, round(side * scale)) for side in picture.shape[1:]]
    image = F.interpolate(picture[None].float(), size, mode="bilinear", antialias=True)
    image = F.pad(image, (0, -size[1] % STRIDE, 0, -size[0] % STRIDE), mode="replicate")
    with torch.autocast(image.device.type, enabled=False):
        logit, right, down, size_ = finder(image)[0].float()
    score = logit.sigmoid()
    highest = (score == F.max_pool2d(score[None], 3, 1, 1)[0]) & (score >= sure)
    found = []
    for row, column in highest.nonzero().tolist():
        side = UNIT * float(size_[row, column].exp()) / scale
        x = (column + 0.5 + float(right[row, column])) * STRIDE / scale
        y = (row + 0.5 + float(down[row, column])) * STRIDE / scale
        found.append(Square(x, y, side, float(score[row, column])))
    return found


def place(square: Square) -> tuple[int, int, int]:
    """The row and the column where a square begins, which may be outside of the picture, and its side, in whole pixels."""
    return round(square.y - square.side / 2), round(square.x - square.side / 2), max(1, round(square.side))


def within(rgb: Tensor, square: Square) -> Tensor:
    """What of a picture (3,H,W) lies in a square (3,S,S); beyond its border that is repeated."""
    top, left, side = place(square)
    rows, columns = (
        torch.arange(start, start + side).clamp(0, most - 1) for start, most in zip((top, left), rgb.shape[1:])
    )
    return rgb[:, rows[:, None], columns]
