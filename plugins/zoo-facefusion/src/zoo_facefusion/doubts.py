"""What faces do not fuse: said before they become ghosts."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from torch import Tensor

from zoo import faces
from zoo.errors import ImageError
from zoo_facefusion.align import misfit

MISFIT = 0.08
"""`misfit` from which a face is refused. Of 191 aligned faces the most is 0.062; of their landmarks found in boxes shifted by
0.3 or 0.5 of the width, or in pictures turned by 60 or 90 degrees, 83 to 100 % are above."""

HIDDEN: dict[str, tuple[Sequence[int], float]] = {
    "eyes": ([*range(17, 27), *range(36, 48)], 0.075),
    "mouth": (range(48, 68), 0.06),
}
"""Landmarks, and by how much `zoo.faces.second_look` may doubt them."""

APART = 0.5
"""Difference of two faces' `yaw` from which they are turned so differently that one hides much of what the other shows."""

SIDE = 300
"""Pixels of the square in which a face is looked at again."""

log = logging.getLogger("zoo")


def seen_well(image: Tensor, face: faces.Face) -> faces.Face:
    """``face`` of a picture (3,H,W); says so where a part of it is not seen well. ImageError if it cannot be aligned."""
    if misfit(image, face) > MISFIT:
        raise ImageError(
            "the face cannot be aligned: eyes, nose and mouth are not where they were found",
            "give a photograph in which they are seen, more from the front; if another face is meant, say which",
        )
    _, doubt = faces.second_look(faces.crop(image, face, SIDE).image)
    hidden = [part for part, (which, most) in HIDDEN.items() if doubt[list(which)].mean() > most]
    if hidden:
        log.warning(
            "%s cannot be seen well, hidden or turned away: shadows of both faces may show there", " and ".join(hidden)
        )
    return face


def turned(mine: float, others: Sequence[float]) -> None:
    """Says so where faces look, see `zoo_facefusion.align.yaw`, to very different sides."""
    other = max(others, key=lambda one: abs(one - mine), default=mine)
    if abs(other - mine) > APART:
        log.warning(
            "the faces look %+.2f and %+.2f to the side (-1 left, 0 into the camera, 1 right): turned so"
            " differently, what one of them hides is guessed", mine, other,
        )  # fmt: skip
