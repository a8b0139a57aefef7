"""Points drawn on pictures, and sheets of many pictures to look at."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo_animeface.points import GROUPS

LINE = (-0.4, 0.8, -0.4)
DOT = (1.0, -0.6, -0.6)
"""Colours of lines and points: green and red."""

STROKE, RADIUS = 0.004, 0.008
"""Half the width of a line and the radius of a point, in shares of the picture's shorter side; at least of a pixel's size."""


def drawn(image: Tensor, shape: Tensor, line: Sequence[float] = LINE, dot: Sequence[float] = DOT) -> Tensor:
    """Pictures (N,3,H,W) in [-1,1] with their shapes (N,40,2) on them, smooth at the edges and differentiable by both."""
    height, width = image.shape[-2:]
    unit = torch.sym_min(height, width)
    rows = (torch.arange(height, device=image.device) + 0.5)[:, None]
    columns = (torch.arange(width, device=image.device) + 0.5)[None]
    at = shape.float() * torch.tensor([width, height], device=image.device)  # (N,40,2) in pixels
    canvas = image.float()
    for distance, radius, colour in (
        (_to_lines(at, columns, rows), torch.sym_max(0.6, STROKE * unit), line),
        (_to_points(at, columns, rows), torch.sym_max(1.0, RADIUS * unit), dot),
    ):
        cover = torch.sigmoid(cast(Tensor, 4 * (radius - distance)))[:, None]  # (N,1,H,W)
        ink = torch.tensor(colour, device=image.device)[:, None, None]
        canvas = torch.lerp(canvas, ink.expand_as(canvas), cover)
    return canvas


def sheet(pictures: Sequence[tuple[Tensor, Tensor]], columns: int = 6, side: int = 256) -> Tensor:
    """Pictures (3,H,W) with their shapes (40,2), each ``side`` pixels wide and high -> one picture (3,H',W')."""
    tiles = []
    for image, shape in pictures:
        large = F.interpolate(image[None], (side, side), mode="bicubic", antialias=True).clamp(-1, 1)
        tiles.append(drawn(large, shape[None])[0])
    rows = -(-len(tiles) // columns)
    whole = torch.ones(3, rows * side, columns * side)
    for i, tile in enumerate(tiles):
        top, left = i // columns * side, i % columns * side
        whole[:, top : top + side, left : left + side] = tile
    return whole


def _segments() -> Iterator[tuple[int, int]]:
    """The pairs of points that are joined."""
    for part, closed in GROUPS.values():
        numbers = range(part.start, part.stop)
        yield from itertools.pairwise(numbers)
        if closed:
            yield numbers[-1], numbers[0]


def _to_points(at: Tensor, columns: Tensor, rows: Tensor) -> Tensor:
    """(N,H,W): distances of pixels to the nearest point."""
    square = torch.full((), torch.inf, device=at.device)
    for x, y in (point.unbind(-1) for point in at.unbind(1)):
        square = torch.minimum(square, (columns - x[:, None, None]) ** 2 + (rows - y[:, None, None]) ** 2)
    return (square + 1e-6).sqrt()


def _to_lines(at: Tensor, columns: Tensor, rows: Tensor) -> Tensor:
    """(N,H,W): distances of pixels to the nearest line."""
    square = torch.full((), torch.inf, device=at.device)
    for start, end in _segments():
        (x, y), (dx, dy) = (
            tuple(value[:, None, None] for value in point.unbind(-1))
            for point in (at[:, start], at[:, end] - at[:, start])
        )
        along = (((columns - x) * dx + (rows - y) * dy) / (dx**2 + dy**2 + 1e-6)).clamp(0, 1)
        square = torch.minimum(square, (columns - x - along * dx) ** 2 + (rows - y - along * dy) ** 2)
    return (square + 1e-6).sqrt()
