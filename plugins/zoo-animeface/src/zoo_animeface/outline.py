"""Where the outline of a drawn face runs: a search for edges along the normals of a first guess.

The thesis (section 4.1) smooths and thresholds a picture and looks for the outline from the middles between known
points; what that missed was drawn by hand. Here all of the outline is looked for at once: each point of the first guess
may move along its normal to where skin ends, and the cheapest smooth line through these places is found exactly, by
dynamic programming. Coordinates are pixels, (0.5, 0.5) in the middle of the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zoo_animeface.detections import Array, Box

NODES = 65
"""Points of the first guess; every fourth becomes one of 17."""

PLACES = 61
"""Places that are looked at along each normal."""

STIFF = 0.27
"""Cost of a step of a pixel between neighbours; it grows with the square."""

SHY = 0.35
"""Cost of a place at the end of the reach: the first guess is kept where there is nothing to see."""

STRANGE = 0.04
"""Cost of a pixel that is not skin, within the outline."""

EDGE, BLUR = 3.3, 1.25
"""Pixels on each side of an edge that are compared; those that the picture is smoothed by before."""

TOLERANCE = 16.0
"""Distance in Lab within which a colour is the face's; lightness counts half, for shadows."""


@dataclass(frozen=True, eq=False)
class Outline:
    """A line that was found."""

    points: Array  # (NODES,2)
    strength: Array  # (NODES,) how much of an edge there is, about 0 to 1


def search(
    image: NDArray[np.uint8],
    guess: Array,
    reach: float,
    skin: Box,
    features: Sequence[Box],
    pinned: Sequence[int] = (),
) -> Outline:
    """The outline of the face in an RGB picture (H,W,3).

    It is meant to be of a size in which a face has about a hundred pixels from the eyes to the chin.
    ``guess`` (NODES,2) runs from ear to ear with the face to its left-hand side as it goes from the picture's left to
    its right. ``reach``: how far the outline may lie from it. ``skin``: a box of the face's colour.
    ``features``: boxes of eyes and mouth, which are seen as skin. ``pinned``: points of the guess that are known.
    """
    import cv2  # here, since it changes the environment

    lab = cv2.cvtColor(cv2.GaussianBlur(image, (0, 0), BLUR), cv2.COLOR_RGB2LAB).astype(np.float32)
    colour = _colour(lab, skin, features)
    for box in features:
        top, bottom, left, right = _inside(lab, box)
        lab[top:bottom, left:right] = colour
    offsets = np.linspace(-reach, reach, PLACES)
    normals = _normals(guess)
    places = guess[:, None] + offsets[None, :, None] * normals[:, None]  # (NODES,PLACES,2)
    x, y = (places - 0.5).astype(np.float32).transpose(2, 0, 1)
    profile = cv2.remap(lab, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).astype(np.float64)
    away = (profile - colour) * (0.5, 1.0, 1.0)
    alike = np.exp(-(away**2).sum(-1) / TOLERANCE**2)  # (NODES,PLACES): 1 on skin
    step = offsets[1] - offsets[0]
    strength = _edges(alike, profile[..., 0], max(1, round(EDGE / step)))
    strange = np.cumsum(1 - alike, 1) * step
    cost = -strength + SHY * (offsets / reach) ** 2 + STRANGE * strange
    cost[list(pinned)] = np.where(np.abs(offsets) < 1e-9, 0, np.inf)
    chosen = _cheapest(cost, STIFF * step**2)
    smooth = _smoothed(offsets[chosen])
    smooth[list(pinned)] = 0
    return Outline(guess + smooth[:, None] * normals, strength[np.arange(len(guess)), chosen])


def _colour(lab: NDArray[np.float32], skin: Box, features: Sequence[Box]) -> NDArray[np.float32]:
    """The median colour of a box but for the features in it."""
    free = np.zeros(lab.shape[:2], bool)
    top, bottom, left, right = _inside(lab, skin)
    free[top:bottom, left:right] = True
    for box in features:
        top, bottom, left, right = _inside(lab, box)
        free[top:bottom, left:right] = False
    return np.median(lab[free], 0) if free.any() else np.median(lab.reshape(-1, 3), 0)


def _inside(lab: NDArray[np.float32], box: Box) -> tuple[int, int, int, int]:
    """Rows and columns of a box: top, bottom, left, right."""
    left, top, width, height = box
    rows, columns = lab.shape[:2]
    y = np.clip(np.round([top, top + height]), 0, rows).astype(int)
    x = np.clip(np.round([left, left + width]), 0, columns).astype(int)
    return int(y[0]), int(y[1]), int(x[0]), int(x[1])


def _normals(line: Array) -> Array:
    """Unit vectors across a line, to the outside of the face."""
    along = np.gradient(line, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True) + 1e-9
    return np.stack([-along[:, 1], along[:, 0]], 1)


def _edges(alike: Array, light: Array, width: int) -> Array:
    """(NODES,PLACES): skin within, something else beyond, and perhaps a dark line there."""
    padded = np.pad(alike, ((0, 0), (width, width)), mode="edge")
    sums = np.cumsum(np.pad(padded, ((0, 0), (1, 0))), 1)
    before = (sums[:, width:-width] - sums[:, : -2 * width])[:, :PLACES] / width
    after = (sums[:, 2 * width :] - sums[:, width:-width])[:, :PLACES] / width
    lines = np.pad(light, ((0, 0), (width, width)), mode="edge")
    dark = np.minimum(lines[:, : -2 * width], lines[:, 2 * width :]) - light
    return 0.7 * np.clip(before - after, 0, 1) + 0.3 * np.clip(dark / 30, 0, 1) * before


def _cheapest(cost: Array, stiff: float) -> NDArray[np.intp]:
    """(NODES,): the places of the line whose costs and steps sum to the least."""
    step = stiff * (np.arange(PLACES)[:, None] - np.arange(PLACES)[None, :]) ** 2.0
    total, back = cost[0], []
    for row in cost[1:]:
        ways = total[None, :] + step
        back.append(ways.argmin(1))
        total = ways.min(1) + row
    chosen = [int(total.argmin())]
    for came_from in reversed(back):
        chosen.append(int(came_from[chosen[-1]]))
    return np.array(chosen[::-1])


def _smoothed(offsets: Array) -> Array:
    radius = 6
    weights = np.exp(-((np.arange(-radius, radius + 1) / 2.5) ** 2) / 2)
    return np.convolve(np.pad(offsets, radius, mode="edge"), weights / weights.sum(), mode="valid")
