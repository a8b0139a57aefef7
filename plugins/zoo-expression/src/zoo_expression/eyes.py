"""Lids slide over the eyeball, which stays, and so does the gaze. What they lay bare of it no photograph shows; but an iris is round,
so that what is as far from its middle, further down, is as what was hidden.

S side of a crop; at: where the pixels of a row or a column lie, (S,).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo_expression.edges import Opening, smooth

LASHES = 0.25
"""How much more than an eye shut lids hide, above and below, as a share of how far it was open."""

RADIUS = 0.2
"""Of an iris, over the distance of an eye's corners: 11.7 mm of iris in 29 mm of eye, in all grown-ups."""

CLEAR = 0.12
"""How much darker than what is beside it an iris must be, in [-1,1], to be known."""

SURE = 0.01
"""Discs that are less dark by this, in [-1,1], count for e times less."""

SHADE = 0.15
"""Of an eye's height: where it lies in the shade of its lashes."""

EDGE = 0.3
"""What is nearer to a lid, as a share of the eye's height there, is no place to take a colour from: lashes, and light on a wet edge."""

SHADED = 0.45
"""How much darker it is there, at the lid."""


@dataclass(frozen=True)
class Iris:
    """Its middle and its radius, in pixels."""

    x: float
    y: float
    radius: float

    @classmethod
    def of(cls, image: Tensor, eye: Opening, at: Tensor) -> Iris | None:
        """The darkest disc in an eye of a face (3,S,S), None where there is no such."""
        wide, high = eye.right - eye.left, float((eye.bottom - eye.top).max())
        inside = (at > eye.left) & (at < eye.right)
        if wide < 8 or high < 2.5 or not inside.any():
            return None
        rows = (at > eye.top[inside].min()) & (at < eye.bottom[inside].max())
        step = max(1, int(wide) // 64)  # of a large crop
        rows, columns = rows.nonzero()[::step, 0], inside.nonzero()[::step, 0]
        y, x = at[rows][:, None], at[columns]
        light = image[:, rows][:, :, columns].mean(0)
        seen = eye.mask(at, 1.0)[rows][:, columns]
        middle = float(((eye.top + eye.bottom) / 2)[inside].mean())
        radius = RADIUS * wide
        down, right = (
            grid.reshape(-1, 1, 1)
            for grid in torch.meshgrid(
                torch.linspace(middle - radius, middle + radius / 2, 13),
                torch.linspace(eye.left + 0.25 * wide, eye.right - 0.25 * wide, 25),
                indexing="ij",
            )
        )
        away = torch.hypot(x - right, y - down) / radius
        disc = ((1 - away) * radius / step + 0.5).clamp(0, 1) * seen
        ring = ((1.5 - away) * radius / step + 0.5).clamp(0, 1) * seen - disc
        darker = _mean(light, ring) - _mean(light, disc)
        if darker.max() < CLEAR:
            return None
        # the mean of the best, so that it does not jump from frame to frame
        share = (darker / SURE).softmax(0)
        return cls(float(share @ right.flatten()), float(share @ down.flatten()), radius)


def _mean(light: Tensor, share: Tensor) -> Tensor:
    return (light * share).sum((1, 2)) / share.sum((1, 2)).clamp(min=1.0)


def lids(was: Opening, now: Opening, at: Tensor, iris: Iris | None) -> Tensor:
    """(S,S): by how many pixels below its place each pixel of an eye and its lids comes from, column by column. Lids are
    stretched up to the brow and down to the cheek; the eyeball stays, but where it is opened wider than it was seen: it is stretched
    below the middle of its ``iris``, and all of it where that is not known."""
    y = at[:, None]
    opening = was.bottom - was.top
    high = opening.max().clamp(min=1.0)
    bottom = torch.maximum(now.top, now.bottom)
    # shut lids hide a little more than the eye: landmarks are not exact, and the eyeball would shine through
    shut = (1 - (now.bottom - now.top) / opening.clamp(min=1e-6)).clamp(0, 1)
    beyond = LASHES * high * shut * (opening / (0.4 * high)).clamp(0, 1)
    ceiling, floor = was.top - 1.3 * high, was.bottom + high
    upper = ceiling + (y - ceiling) * (was.top - beyond - ceiling) / (now.top - ceiling).clamp(min=1.0)
    lower = floor - (floor - y) * (floor - was.bottom - beyond) / (floor - bottom).clamp(min=1.0)
    if iris is None:
        stretched = was.top + (y - now.top) / (bottom - now.top).clamp(min=1e-6) * opening
    else:
        middle = was.bottom.clamp(max=iris.y)
        below = middle + (y - middle) / (bottom - middle).clamp(min=1e-6) * (was.bottom - middle)
        # what touches the lid goes with it, and what is further down stays
        lift = (was.top - now.top).clamp(min=0)
        above = y + lift * (1 - smooth((y - now.top) / (1.5 * lift).clamp(min=1e-6)))
        stretched = torch.where(y > middle, torch.minimum(below, y), torch.minimum(above, middle))
    ball = torch.where(bottom - now.top > opening, stretched, y.clamp(was.top, was.bottom))
    source = torch.where(y < now.top, upper, torch.where(y > bottom, lower, ball))
    touched = (y > ceiling) & (y < floor) & (at > was.left) & (at < was.right)
    return torch.where(touched, source - y, 0)


def bared(image: Tensor, result: Tensor, was: Opening, now: Opening, at: Tensor, soft: float, iris: Iris) -> Tensor:
    """What is added (3,S,S) to the ``result`` above an ``iris`` where an upper lid went up: from the face ``image`` (3,S,S), as far
    from the iris's middle, further down. The shade of the lashes goes with them."""
    y = at[:, None]
    opening = was.bottom - was.top
    shade = SHADE * float(opening.max())
    lifted = smooth((was.top - now.top) / (2 * soft))
    hidden = (y - now.top + 0.5).clamp(0, 1) * lifted * smooth((was.top - y) / shade + 1.2)
    if not hidden.any():
        return torch.zeros_like(result)
    aside, up = at - iris.x, iris.y - y
    rim = EDGE * opening
    down = torch.minimum(up.abs(), (was.bottom - rim - iris.y).clamp(min=0))
    # as far from the middle; the white beside an iris need not be
    far = torch.hypot(aside, up).clamp(max=1.2 * iris.radius)
    beside = torch.maximum(aside.abs(), (far.square() - down.square()).clamp(min=0).sqrt())
    x = iris.x + torch.where(aside < 0, -beside, beside)
    down = torch.maximum(iris.y + down, was.top + rim)
    there = torch.stack([x, down], -1) / len(at) * 2 - 1
    colour = F.grid_sample(image[None], there[None], padding_mode="border", align_corners=False)[0]
    dark = 1 - SHADED * torch.exp(-(y - now.top).clamp(min=0) / shade)
    return hidden * ((colour + 1) * dark - 1 - result)
