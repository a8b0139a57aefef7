"""Glasses: two lenses, what is between them and what holds them, where a photograph has them.

Frames are a pixel or two wide, and a network draws pieces of them. So lenses are drawn that are as large as what the parser of faces takes for
glasses on either side, by its mean and its spread, with the photograph's frames as to colour and width; dark ones hide the eyes.

N faces in pictures of H by W pixels; points are iBUG's 68, counted from 0, in pixels, and ``unit`` that of `zoo_animeface.pen`.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo_animeface.edges import luma
from zoo_animeface.pen import colour_of, each, inside, quantile

WORN = (0.32, 0.38)
"""How likely there are glasses around the eyes, in the mean, up to which nobody wears any, and from which somebody does: of 711 people of CelebA-HQ without
one has 0.31, the others less than 0.16; of 43 with them 37 have more than 0.43."""

WINDOW, FARTHEST, NOSE = (0.13, 0.11), (0.21, 0.2), -0.147
"""Half the width and the height, in units around an eye, of where that is measured, and of where all lies that belongs to one lens; and how far
from it towards the nose."""

LIKELY = 0.3
"""How likely there are glasses where nothing else is drawn."""

SPREAD, ROUND, WIDE = 1.87, (2.1, 2.9), (1.2, 1.4)
"""Half of what is as wide as a lens, in standard deviations; the power of its outline, between an ellipse's, 2, and a rectangle's; and how
many times as wide as high it is up to which that is the one, and from which the other."""

THICK, RING = (0.0045, 0.010), 0.03
"""Half the width of frames, at least and at most, and how far around a lens's outline their colour is looked for, in units."""

BINS, STEP, FAINT = 7, 0.006, (0.06, 0.15)
"""How far to either side of an outline frames are looked for, in steps of so many units; and by how much of what cheeks are light they are
darker than skin and lens up to which they are drawn thin where the outline is, and from which as wide as they are where they are."""

DARKEST, BLACK = 0.3, 0.45
"""Which share of what is around an outline has the frame's colour; and how light, beside cheeks, that is at most."""

DARK = (0.53, 0.62)
"""How light lenses are beside the cheeks up to which nothing is seen through them, and from which all is."""

SHINE, STREAK = 0.22, 2.0
"""By how much a dark lens gets lighter towards its lower edge and where light falls on it; and how wide that is."""

BRIDGE, BOW, TEMPLE = 0.3, 0.12, 0.35
"""How high above the middles of lenses the bridge and the temples are, and by how much it is bent, in halves of their height."""


class Glasses:
    """The glasses that faces wear: ``worn`` (N,1,1,1), from 0, by nobody, to 1; ``room`` (N,1,H,W), where there is nothing else; ``hiding``
    (N,1,1,1), how far eyes are not seen through them."""

    def __init__(
        self, points: Tensor, unit: Tensor, places: Tensor, likely: Tensor, eyes: Tensor, seen: Tensor, cheek: Tensor
    ) -> None:
        """``likely`` and ``eyes`` (N,1,H,W) are how likely there are glasses and eyes in the photograph ``seen`` (N,3,H,W) in [0,1], whose skin is
        ``cheek`` (N,3,1,1); ``places`` (H,W,2) are the pixels' own."""
        self.unit = each(unit)
        middles = [points[:, 36:42].mean(1), points[:, 42:48].mean(1)]
        along = F.normalize(middles[1] - middles[0], dim=1)
        axes = torch.stack([along, torch.stack([-along[:, 1], along[:, 0]], 1)], 1) / unit[:, None, None]
        left, right = self.lenses = [
            Lens(sign, axes, middle, points[:, ear], places, likely, eyes)
            for sign, middle, ear in zip((-1, 1), middles, (0, 16))
        ]
        self.worn = _ramp((left.covered + right.covered) / 2, WORN)
        high = (left.high + right.high) / 2
        power = ROUND[0] + (ROUND[1] - ROUND[0]) * _ramp((left.wide + right.wide) / 2 / high, WIDE)
        for lens in self.lenses:
            lens.place(high, (left.low + right.low) / 2, power)
        deep = torch.maximum(left.deep, right.deep)  # inside of a lens, in units; less than 0 beside it
        self.room = ((likely > LIKELY) | (deep > -RING)) * self.worn
        light, level = luma(cheek).clamp(min=0.05), luma(seen)
        within = deep > RING
        shown = (quantile(level, within, 0.6) / light).nan_to_num(1.0)
        self.hiding = self.worn * (1 - _ramp(shown, DARK))
        self.glass = colour_of(seen, within)
        moved, self.half = _frame(deep, 1 - level / light)
        self.deep = deep - moved
        ring = self.deep.abs() < RING
        frame = colour_of(seen, ring & (level <= quantile(level, ring, DARKEST)))
        self.frame = frame * (BLACK * light / luma(frame).clamp(min=0.05)).clamp(max=1)

    def painted(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Colours, and where they are (N,1,H,W): dark lenses, then frames."""
        shine = torch.maximum(*(lens.shine() for lens in self.lenses))
        glass = torch.lerp(self.glass, torch.ones_like(self.glass), SHINE * shine)
        yield glass, inside(self.deep * self.unit) * self.hiding
        yield self.frame, self._frames() * self.worn

    def _frames(self) -> Tensor:
        """(N,1,H,W) from 0 to 1: rims, the bridge and the temples."""
        left, right = self.lenses
        inner, beyond = (
            left.x - left.wide,
            right.x + right.wide,
        )  # 0 where the one lens ends, and where the other begins
        between = inner / (inner - beyond).clamp(min=1e-3)
        bow = left.y + left.high * (BRIDGE + BOW * (1 - (2 * between - 1).square()))
        bridge = (bow.abs(), (left.x > 0.9 * left.wide) & (right.x < -0.9 * right.wide))
        temples = [((lens.y + TEMPLE * lens.high).abs(), lens.beside()) for lens in self.lenses]
        lines = [self.deep.abs(), *(torch.where(there, far, 1.0) for far, there in (bridge, *temples))]
        return ((self.half - torch.stack(lines).amin(0)) * self.unit + 0.5).clamp(0, 1)


class Lens:
    """Where a lens lies: ``x`` and ``y`` (N,1,H,W) are the places of pixels beside its middle, along the eyes and down, ``wide`` and ``high``
    (N,1,1,1) half of what it measures, ``low`` how far below the eye it is, all in units; and how much of where it would be is ``covered``."""

    def __init__(
        self, sign: int, axes: Tensor, eye: Tensor, ear: Tensor, places: Tensor, likely: Tensor, eyes: Tensor
    ) -> None:
        """``axes`` (N,2,2) are along the eyes and down, in units; ``sign`` is -1 for the left lens of a picture, 1 for the right one."""
        self.sign = sign
        self.x, self.y = torch.einsum("nij,nhwj->inhw", axes, places - eye[:, None, None])[:, :, None]
        self.ear = each((axes[:, 0] * (ear - eye)).sum(1)) * sign
        window = torch.hypot(self.x / WINDOW[0], self.y / WINDOW[1]) < 1
        self.covered = _mean(likely, window)
        own = (likely + eyes).clamp(max=1) * (self.x.abs() < FARTHEST[0]) * (self.y.abs() < FARTHEST[1])
        own = own * (sign * self.x > NOSE)
        middle, self.low = _mean(self.x, own), _mean(self.y, own)
        self.wide, self.high = (
            SPREAD * _mean((at - mean).square(), own).sqrt().clamp(min=0.02)
            for at, mean in ((self.x, middle), (self.y, self.low))
        )
        self.x, self.ear = self.x - middle, self.ear - sign * middle

    def place(self, high: Tensor, low: Tensor, power: Tensor) -> None:
        """Both lenses are as ``high``, as ``low`` and as round: what hangs over one is left out there alone."""
        self.y, self.high = self.y - low, high
        far = ((self.x / self.wide).abs() ** power + (self.y / high).abs() ** power).clamp(min=1e-6) ** (1 / power)
        self.deep = (1 - far) * torch.minimum(self.wide, high)

    def beside(self) -> Tensor:
        """(N,1,H,W): from the lens to the ear."""
        out = self.sign * self.x
        return (out > 0.93 * self.wide) & (out < self.ear + RING)

    def shine(self) -> Tensor:
        """(N,1,H,W) from 0 to 1: where a dark lens is lighter, towards its lower edge and in a streak."""
        across, down = self.x / self.wide, self.y / self.high
        streak = (STREAK - (across + 0.6 * down + 0.1).abs() * 12).clamp(0, 1)
        return torch.maximum(((down + 0.2) * 0.7).clamp(0, 1), streak) * (across.abs() < 1.2)


def _frame(deep: Tensor, dark: Tensor) -> tuple[Tensor, Tensor]:
    """How far inside of the outlines of lenses frames lie, and half their width, (N,1,1,1) each, in units: where pixels that are so ``deep`` in a
    lens are the most ``dark`` ones."""
    steps = torch.arange(-BINS, BINS + 1, device=dark.device, dtype=dark.dtype)[:, None, None] * STEP
    near = (1 - (deep - steps).abs() / STEP).clamp(min=0)
    level = (dark * near).sum((2, 3), keepdim=True) / near.sum((2, 3), keepdim=True).clamp(min=1)  # (N,K,1,1)
    beside = torch.maximum(*(ends.mean(1, keepdim=True) for ends in (level[:, :2], level[:, -2:])))
    line = (level - beside).clamp(min=0)
    most = line.amax(1, keepdim=True)
    sure = _ramp(most, FAINT)
    moved = ((20 * line).softmax(1) * steps).sum(1, keepdim=True)
    half = (line.sum(1, keepdim=True) / most.clamp(min=0.02) * STEP / 2).clamp(*THICK)
    return sure * moved, THICK[0] + sure * (half - THICK[0])


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    """(N,1,1,1)."""
    return (values * weights).sum((2, 3), keepdim=True) / weights.sum((2, 3), keepdim=True).clamp(min=1)


def _ramp(value: Tensor, ends: tuple[float, float]) -> Tensor:
    """From 0 to 1 between them."""
    return ((value - ends[0]) / (ends[1] - ends[0])).clamp(0, 1)
