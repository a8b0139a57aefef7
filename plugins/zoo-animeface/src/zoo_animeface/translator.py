"""Whole photographs: the face is found and cut out with its hair, and a square portrait of it is drawn."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from zoo import faces, track
from zoo.errors import ImageError
from zoo.image import Picture, Source
from zoo.translator import Translator

FRAME = faces.Frame(2.09, 0.57)
"""Where a face lies in the photographs of the training, and nearly so in drawn faces, whose jaws are as wide and whose eyes
lie as high."""

LARGEST = 1024
"""Pixels of a portrait's side at most."""

SMALLEST = 32
"""Pixels from brow to chin below which there is too little to draw."""

PROFILE = 0.75
"""``zoo.faces.Face.turned`` above which too little of a face is seen."""

log = logging.getLogger("zoo")


class PortraitTranslator(Translator):
    """Draws the portrait of a face that it finds in a photograph: a square, as large as the photograph has it.

    The control ``face`` says which: 1 is the largest, which is drawn unless given; 0 for a picture that is a portrait
    already, and is drawn whole.
    """

    framing = frozenset({"face"})

    def framed(self, picture: Picture, face: int | None = None, **_: Any) -> Picture:
        if face == 0:
            return picture
        one = chosen(faces.find(picture.rgb), face)
        return cut(picture, one, self._side(one))

    def follow(
        self, frames: Iterable[Source], rate: float, face: int | None = None, **_: Any
    ) -> Iterable[Callable[[Picture], Picture]]:
        if face == 0:
            return super().follow(frames, rate, face=0)
        way = track.follow(frames, rate, face or 1)
        usual = sorted(way, key=lambda one: one.height)[len(way) // 2]
        side = self._side(chosen([usual], 1))
        return [partial(cut, face=one, side=side) for one in way]

    def _side(self, face: faces.Face) -> int:
        """Pixels of a portrait's side: as the picture has it."""
        return max(min(round(face.height * FRAME.scale), LARGEST), self.size.above(self.working))


def cut(picture: Picture, face: faces.Face, side: int) -> Picture:
    """The square around a face, upright."""
    return picture.cut(lambda planes: faces.crop(planes, face, side, FRAME).image)


def chosen(found: Sequence[faces.Face], number: int | None) -> faces.Face:
    """The face with this number, the largest that can be drawn unless given. ImageError if there is none."""
    if not found:
        raise ImageError(
            "no face found",
            "give a photograph of a face seen from the front; for a picture that is a portrait already: face 0",
        )
    if number is not None and number > len(found):
        raise ImageError(f"there is no face {number}: {len(found)} found", "1 is the largest")
    asked = found if number is None else found[number - 1 : number]
    usable = [face for face in asked if not _fault(face)]
    if not usable:
        raise ImageError(_fault(asked[0]), "give a larger or a more frontal photograph")
    if number is None and len(found) > 1:
        log.warning("%d faces found: the largest is drawn; face 2 is the next", len(found))
    return usable[0]


def _fault(face: faces.Face) -> str:
    """Why a face cannot be drawn; "" if it can."""
    if face.height < SMALLEST:
        return f"the face is {face.height:.0f} pixels high: too small to draw, which takes {SMALLEST}"
    return "the face is turned too far to the side" if face.turned > PROFILE else ""
