"""A face for pictures that show none: those of the kit are smooth colours."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from zoo.provider import Provider


def frontal() -> Tensor:
    """iBUG's 68 landmarks of a face that fills the picture, in shares of its sides."""
    return torch.tensor([*_points()])


class Frontal(Provider):
    """``landmarks``: such a face in every source."""

    needs = frozenset({"source"})

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        return frontal().to(step["source"]).expand(len(step["source"]), -1, -1)


def _points() -> Iterator[tuple[float, float]]:
    yield from _arc(17, 0.5, 0.4, 0.36, 0.5, 180, 0)  # the jaw
    yield from _arc(5, 0.33, 0.33, 0.12, 0.05, 180, 360)  # the brows
    yield from _arc(5, 0.67, 0.33, 0.12, 0.05, 180, 360)
    yield from ((0.5, 0.4 + 0.06 * i) for i in range(4))  # the nose
    yield from _arc(5, 0.5, 0.61, 0.07, 0.03, 180, 0)
    for x in (0.34, 0.66):  # the eyes
        yield from _arc(6, x, 0.42, 0.06, 0.025, 180, 480)
    yield from _arc(12, 0.5, 0.74, 0.14, 0.06, 180, 510)  # the lips
    yield from _arc(8, 0.5, 0.74, 0.11, 0.02, 180, 495)


def _arc(
    count: int, x: float, y: float, wide: float, high: float, start: float, end: float
) -> Iterator[tuple[float, float]]:
    """Points on an ellipse, by degrees clockwise as seen from the right end."""
    for i in range(count):
        turn = math.radians(start + (end - start) * i / (count - 1))
        yield x + wide * math.cos(turn), y + high * math.sin(turn)
