"""A face cut out of a picture upright, moved, and put back."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.faces.detect import Face
from zoo.faces.geometry import exactly, placed, resampled, rotation
from zoo.pictures.fit import warped


@dataclass(frozen=True)
class Frame:
    """Where a face lies in a square: upright, the box around its landmarks in the middle from left to right."""

    scale: float  # side of the square / height of the landmarks' box
    middle: float  # where the middle of the box lies, from the top, in shares of the side


FACE = Frame(1.293, 0.585)
"""The face fills the square: half the forehead to the chin, as OpenFace's aligned faces have it."""

PORTRAIT = Frame(2.4, 0.62)
"""With hair and neck."""


CHANGED = 0.2
"""Differences of colours, in [-1, 1], from which a result shows something else than the picture: its detail would be a ghost."""

FAINT = 1e-3
"""Where a crop's mask is less than this in the picture, the picture stays as it is."""

CALM, LAYERS = 4, 6
"""Beyond a picture, so many times as far from it as the radius is over which it is smoothed; and how many radii there are, each twice the last,
from a 256th of the crop's side on."""

STRIP = 2**18
"""Pixels of a picture that are moved at once."""


@dataclass(frozen=True, eq=False)
class Crop:
    """A face cut out of a picture, and where it was."""

    image: Tensor  # (3, size, size) in [-1, 1]
    landmarks: Tensor  # (68, 2), in the crop's pixels
    matrix: Tensor  # (2, 3) float64: from the crop's pixels to the picture's

    @functools.cached_property
    def mask(self) -> Tensor:
        """(size, size) in [0, 1]: the face with its forehead, feathered, 0 along the border of the crop."""
        size = self.image.shape[-1]
        points = self.landmarks.double()
        height = float(points[:, 1].max() - points[:, 1].min())
        points = torch.cat([points, points[17:27] - torch.tensor([0, 0.25 * height])])  # the brows, moved up
        at = torch.arange(size, dtype=torch.float64) + 0.5
        inside = torch.full((size, size), torch.inf, dtype=torch.float64)
        for turn in torch.arange(0, 2 * math.pi, math.pi / 24).tolist():  # the convex hull, by its tangents
            x, y = math.cos(turn), math.sin(turn)
            reach = float((points[:, 0] * x + points[:, 1] * y).max())
            inside = torch.minimum(inside, reach - (at * x + at[:, None] * y))
        edge = torch.minimum(at, size - at)
        border = torch.minimum(edge, edge[:, None]) - max(1.0, 0.015 * size)
        mask = _smooth(inside / (0.12 * height) + 0.5) * _smooth(border / (0.05 * size))
        return mask.to(self.image)

    def masked(self, mask: Tensor) -> Crop:
        """The same crop, whose mask (size, size) is this one."""
        other = replace(self)
        vars(other)["mask"] = mask
        return other


@exactly
def crop(image: Tensor, face: Face, size: int = 128, frame: Frame = FACE) -> Crop:
    """``face`` of a picture (3, H, W), upright in a square of ``size`` pixels; the picture's border is repeated."""
    upright = face.upright
    low, high = upright.amin(0), upright.amax(0)
    side = float(high[1] - low[1]) * frame.scale
    corner = (low + high) / 2 - side * torch.tensor([0.5, frame.middle])
    matrix = placed(face.angle, side / size, *(rotation(face.angle) @ corner).tolist())
    landmarks = ((upright - corner) * (size / side)).float()
    return Crop(resampled(image, matrix, (size, size)).clamp(-1, 1), landmarks, matrix)


@exactly
def calmed(crop: Crop, width: int, height: int) -> Crop:
    """The same crop of a picture with this ``width`` and ``height``, in which what lies beyond the picture is smooth, the more the farther
    away: a border that is only repeated is stripes, and who draws takes them for collars and hair."""
    size = crop.image.shape[-1]
    at = torch.arange(size, dtype=torch.float64) + 0.5
    x, y = (linear[0] * at + linear[1] * at[:, None] + shift for *linear, shift in crop.matrix)
    away = torch.hypot(x - x.clamp(0, width), y - y.clamp(0, height)) / float(crop.matrix[:, 0].norm())
    if not away.any():
        return crop
    image = crop.image
    for doubled in range(LAYERS):
        radius = max(1, round(2**doubled * size / 256))
        share = (away / (CALM * radius)).clamp(0, 1).to(image)
        image = torch.lerp(image, _near(crop.image, radius), share)
    return replace(crop, image=image)


@exactly
def paste(image: Tensor, crop: Crop, result: Tensor, in_place: bool = False) -> Tensor:
    """``result`` (3, size, size), made of ``crop.image``, put back into the picture (3, H, W) that it was cut out of:
    into a copy, or ``in_place``.

    Where the crop's mask is 0 the picture stays as it is, bit by bit. What in the picture is finer than the crop's
    pixels is kept where the result changed little: a large photograph stays sharp, and nothing shines through where
    a mouth has opened.
    """
    pasted = image if in_place else image.clone()
    change = result.to(crop.image) - crop.image
    kept = alike(change, CHANGED)
    planes = torch.cat([change, crop.image, kept, crop.mask[None]])
    where, planes = spread(image, crop, planes, (change != 0).any(0) | (kept[0] < 1))
    if planes.numel():
        window = image[where]
        change, coarse, kept, mask = planes.split([3, 3, 1, 1])
        mask = mask.clamp(0, 1)
        new = window + mask * (change - (1 - kept.clamp(0, 1)) * (window - coarse))
        pasted[where] = torch.where(mask > FAINT, new.clamp(-1, 1), window)
    return pasted


def alike(change: Tensor, far: float) -> Tensor:
    """(1, H, W) from 1 where two pictures, whose difference is ``change`` (3, H, W), show the same to 0 where they do not,
    because they are ``far`` apart and more: detail of the one belongs to the other there, too."""
    same = torch.ones_like(change[:1])
    radius = max(1, round(change.shape[-1] / 80))
    changed = (change != 0).any(0)
    rows, columns = (slice(*_between(changed.any(axis), 3 * radius + 1)) for axis in (1, 0))
    change = change[:, rows, columns]
    if change.numel():  # brighter or darker as a whole counts little: a smile's wrinkles stay in another light
        much = (_near(change.square(), radius) - 0.8 * _near(change, radius).square()).mean(0, keepdim=True)
        same[:, rows, columns] = 1 / (1 + (much / far**2) ** 2)
    return same


@exactly
def move(image: Tensor, crop: Crop, flow: Tensor, in_place: bool = False) -> tuple[Tensor, Crop]:
    """The picture (3, H, W) that ``crop`` was cut out of, or ``in_place`` itself, and the crop, moved: each pixel of the crop
    comes from ``flow`` (2, size, size) beside it, right and down in shares of its side; less and less where the crop's mask
    ends, where it is 0 not at all. Where the flow is torn, as between lips that have shut, the picture's pixels are the
    crop's: between two that come from two sides lies nothing."""
    moved = image if in_place else image.clone()
    flow = flow.to(crop.image) * crop.mask
    there = replace(crop, image=warped(crop.image[None], flow[None])[0]).masked(crop.mask)  # the landmarks are the same
    flow = flow * crop.image.shape[-1]
    where, matrix = _over(image, crop, (flow != 0).any(0))
    window = image[where].clone()
    height, width = window.shape[1:]
    step = max(1, STRIP // max(1, width))
    for top in range(0, height, step):
        rows = slice(top, min(top + step, height))
        here = torch.cat([matrix[:, :2], matrix[:, 1:2] * top + matrix[:, 2:]], 1)
        planes = resampled(torch.cat([flow, crop.mask[None]]), here, (rows.stop - top, width))
        right, down = torch.einsum("ij,jhw->ihw", crop.matrix[:, :2].float(), planes[:2])  # in the picture's pixels
        x = (torch.arange(width) + 0.5 + right) * (2 / width) - 1
        y = (torch.arange(top, rows.stop)[:, None] + 0.5 + down) * (2 / height) - 1
        come = F.grid_sample(window[None], torch.stack([x, y], -1)[None], padding_mode="border", align_corners=False)[0]
        moved[where][:, rows] = torch.where(planes[2] > FAINT, come, window[:, rows])
    torn = _torn(flow)
    where, planes = spread(image, crop, torch.cat([torn, crop.mask[None], there.image]), torn[0] > 0)
    if planes.numel():
        share = planes[0].clamp(0, 1) * (planes[1] > FAINT)
        moved[where] = torch.lerp(moved[where], planes[2:].clamp(-1, 1), share)
    return moved, there


def _torn(flow: Tensor) -> Tensor:
    """(1, S, S): 1 where neighbouring pixels of a flow (2, S, S) in pixels come from places that are no neighbours, and
    around; 0 elsewhere."""
    tears = torch.zeros_like(flow[:1])
    for axis in (1, 2):
        apart = flow.diff(dim=axis).abs().amax(0, keepdim=True)
        rise = (apart - 1.5).clamp(0, 1)
        tears = torch.maximum(tears, F.pad(rise, (0, 1) if axis == 2 else (0, 0, 0, 1)))
    return F.avg_pool2d(F.max_pool2d(tears, 5, 1, 2), 3, 1, 1)


def spread(
    image: Tensor, crop: Crop, planes: Tensor, counts: Tensor | None = None
) -> tuple[tuple[slice, slice, slice], Tensor]:
    """Where in the picture the crop lies, and ``planes`` (C, size, size) of the crop over it: (C, h, w); h or w is 0 if
    it lies outside. Where only a part of the crop ``counts``, (size, size) of truth values, it is that part's surroundings."""
    where, matrix = _over(image, crop, counts)
    rows, columns = image[where].shape[1:]
    if not rows or not columns:
        return where, planes.new_empty(len(planes), 0, 0)
    return where, resampled(planes, matrix, (rows, columns))


def _over(image: Tensor, crop: Crop, counts: Tensor | None) -> tuple[tuple[slice, slice, slice], Tensor]:
    """Where in the picture the crop lies, or the part that ``counts``, and (2, 3): from the pixels there to the crop's."""
    size = crop.image.shape[-1]
    across, down = (0, size), (0, size)
    if counts is not None:
        reach = math.ceil(2 * max(1.0, 1 / float(crop.matrix[:, 0].norm()))) + 2  # of the filters
        across, down = (_between(counts.any(axis), reach) for axis in (0, 1))
        if across == down == (0, 0):
            return (slice(None), slice(0, 0), slice(0, 0)), crop.matrix
    corners = torch.tensor([[x, y, 1] for x in across for y in down]).double() @ crop.matrix.T
    left, top = corners.amin(0).floor().long().clamp(min=0).tolist()
    right, bottom = corners.amax(0).ceil().long().clamp(min=0).tolist()
    linear = torch.linalg.inv(crop.matrix[:, :2])
    shift = linear @ (torch.tensor([left, top]) - crop.matrix[:, 2])
    return (slice(None), slice(top, bottom), slice(left, right)), torch.cat([linear, shift[:, None]], 1)


def _between(counts: Tensor, reach: int) -> tuple[int, int]:
    """From the first of these places that counts to behind the last, and ``reach`` around; 0 and 0 where none does."""
    known = counts.nonzero()[:, 0].tolist()
    return (max(known[0] - reach, 0), min(known[-1] + 1 + reach, len(counts))) if known else (0, 0)


def _near(planes: Tensor, radius: int) -> Tensor:
    """(C, H, W): means over the surroundings of each pixel, twice of a square's, which is smooth."""
    for axis in (1, 2, 1, 2):  # a square's mean is the mean of means of its rows
        at, length = torch.arange(planes.shape[axis]), planes.shape[axis]
        first, behind = (at - radius).clamp(min=0), (at + radius + 1).clamp(max=length)
        # sums up to each place: as fast for any radius, where pooling is not
        sums = F.pad(planes.cumsum(axis), (1, 0) if axis == 2 else (0, 0, 1, 0))
        counts = (behind - first).view(-1, 1) if axis == 1 else behind - first
        planes = (sums.index_select(axis, behind) - sums.index_select(axis, first)) / counts
    return planes


def _smooth(x: Tensor) -> Tensor:
    """From 0 at 0 to 1 at 1 without a bend."""
    x = x.clamp(0, 1)
    return x * x * (3 - 2 * x)
