"""Where pixels lie: turned, scaled, moved, and pictures resampled there."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

P = ParamSpec("P")
R = TypeVar("R")

GRID = 48
"""Points along a side where splines are computed: they are smooth."""


def exactly(function: Callable[P, R]) -> Callable[P, R]:
    """Also where a network computes in bf16: pixels are counted in fractions."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with torch.autocast("cpu", enabled=False):
            return function(*args, **kwargs)

    return run


def resampled(planes: Tensor, matrix: Tensor, size: Sequence[int]) -> Tensor:
    """planes (C, H, W) -> (C, *size). ``matrix`` (2, 3) says where in ``planes`` each pixel lies; their border is
    repeated. What is too fine for the new pixels is filtered out; only the part that is needed is looked at."""
    step = math.sqrt(abs(float(torch.linalg.det(matrix[:, :2]))))
    rows, columns = size
    corners = torch.tensor([[0, 0, 1], [0, rows, 1], [columns, 0, 1], [columns, rows, 1]]).double() @ matrix.T
    reach = 2 * max(step, 1) + 2  # of the filters
    limits = torch.tensor([planes.shape[-1], planes.shape[-2]])
    low = (corners.amin(0) - reach).floor().long().clamp(min=0).minimum(limits - 1)
    high = (corners.amax(0) + reach).ceil().long().clamp(min=1).minimum(limits).maximum(low + 1)
    part = planes[None, :, low[1] : high[1], low[0] : high[0]]
    if step > 1:
        coarse = [math.ceil(length / step) for length in part.shape[-2:]]
        part = F.interpolate(part, size=coarse, mode="bicubic", antialias=True)
    # affine_grid counts from -1 to 1, from edge to edge, on both sides
    half, whole = torch.tensor([columns / 2, rows / 2]).double(), (high - low).double()
    linear, middle = matrix[:, :2], matrix[:, :2] @ half + matrix[:, 2] - low
    theta = torch.cat([linear * half * 2 / whole[:, None], (middle * 2 / whole - 1)[:, None]], 1)
    grid = F.affine_grid(theta[None].to(planes), [1, 1, rows, columns], align_corners=False)
    return F.grid_sample(part, grid, mode="bicubic", padding_mode="border", align_corners=False)[0]


def averaged(planes: Tensor, radius: int) -> Tensor:
    """Means of planes (…, H, W) over squares of 2 · ``radius`` + 1 pixels, of what is there of them at the borders; fp32.

    By products with band matrices: they take the same time for any radius, and at 256 pixels a tenth of a pooling's for 16."""
    with torch.autocast(planes.device.type, enabled=False):
        rows, columns = (_band(side, radius).to(planes.device) for side in planes.shape[-2:])
        return rows @ planes.float() @ columns.T


def _band(side: int, radius: int) -> Tensor:
    """(side, side): the weights of a mean of the neighbours within ``radius``, in each row."""
    at = torch.arange(side)
    near = ((at[:, None] - at).abs() <= radius).float()
    return near / near.sum(1, keepdim=True)


def rotation(angle: float) -> Tensor:
    """(2, 2) turns columns by ``angle`` radians, clockwise as seen; rows, multiplied from the left, back."""
    return torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]], dtype=torch.float64)


def placed(angle: float, scale: float, x: float, y: float) -> Tensor:
    """(2, 3) scales, turns, then moves."""
    return torch.cat([rotation(angle) * scale, torch.tensor([[x], [y]], dtype=torch.float64)], 1)


def spline(points: Tensor, values: Tensor, size: int) -> Tensor:
    """The thin-plate spline (2, S, S), in shares of S, that has ``values`` at ``points``, both (N, 2) in pixels of S, and
    nothing along the border (Bookstein 1989): a flow as `zoo.pictures.fit.warped` takes it."""
    points, values = points.double(), values.double()
    edge = torch.linspace(0, size, 9, dtype=torch.float64)
    frame = torch.stack([torch.stack(pair, 1) for v in (0.0, float(size)) for pair in _sides(edge, v)]).flatten(0, 1)
    known = torch.cat([points, frame.unique(dim=0)]) / size
    n, ones = len(known), torch.ones(len(known), 1, dtype=torch.float64)
    plane = torch.cat([ones, known], 1)
    system = torch.zeros(n + 3, n + 3, dtype=torch.float64)
    system[:n, :n] = _bending(known, known) + 1e-4 * torch.eye(n, dtype=torch.float64)  # landmarks are not exact
    system[:n, n:], system[n:, :n] = plane, plane.T
    weights = torch.linalg.solve(system, F.pad(values / size, (0, 0, 0, n + 3 - len(values))))
    at = (torch.arange(GRID, dtype=torch.float64) + 0.5) / GRID
    grid = torch.cartesian_prod(at, at).flip(1)
    coarse = torch.cat([_bending(grid, known), torch.ones(len(grid), 1, dtype=torch.float64), grid], 1) @ weights
    coarse = coarse.T.reshape(1, 2, GRID, GRID).float()
    return F.interpolate(coarse, (size, size), mode="bicubic", align_corners=False)[0]


def _sides(edge: Tensor, at: float) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    level = torch.full_like(edge, at)
    return (edge, level), (level, edge)


def _bending(one: Tensor, other: Tensor) -> Tensor:
    """r² log r of all distances."""
    squares = torch.cdist(one, other).square().clamp(min=1e-24)
    return squares * squares.log() / 2
