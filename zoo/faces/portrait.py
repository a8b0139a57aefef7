"""Whole photographs for models of portraits: the face is found, cut out with its hair, and a square of it is drawn."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, ClassVar

from zoo import faces
from zoo.faces import track
from zoo.pictures.image import Picture, Source
from zoo.translator import Translator

log = logging.getLogger("zoo")


class PortraitTranslator(Translator):
    """Draws the portrait of a face that it finds in a photograph: a square, as large as the photograph has it.

    The control ``face`` says which: 1 is the largest, which is drawn unless given; 0 for a picture that is a portrait
    already, and is drawn whole. A subclass says where the face lies in its ``frame``, how many pixels along its side
    are the ``largest`` portrait, and how to ``call`` what it does and what it takes as it is. It may replace `placed`.
    """

    framing = frozenset({"face"})
    frame: ClassVar[faces.Frame]
    largest: ClassVar[int] = 1024
    call: ClassVar[tuple[str, str, str]] = ("draw", "drawn", "a portrait")

    def placed(self, face: faces.Face) -> faces.Face:
        """The face that is cut out instead of ``face``: the same, until a subclass moves its landmarks."""
        return face

    def framed(self, picture: Picture, face: int | None = None, **_: Any) -> Picture:
        return picture if face == 0 else self.cut(picture, self.chosen(picture, face))

    def follow(
        self, frames: Iterable[Source], rate: float, face: int | None = None, **_: Any
    ) -> Iterable[Callable[[Picture], Picture]]:
        return super().follow(frames, rate, face=0) if face == 0 else self.way(frames, rate, face)

    def chosen(self, picture: Picture, number: int | None) -> faces.Face:
        """The face with this number, the largest that can be drawn unless given. ImageError if there is none."""
        verb, done, whole = self.call
        found = faces.find(picture.rgb, thorough=False)
        if len(found) < (number or 1):  # small ones, or on their side
            found = faces.find(picture.rgb)
        face = faces.usable(found, number, verb, whole)[0]
        if number is None and len(found) > 1:
            log.warning("%d faces found: the largest is %s; face 2 is the next", len(found), done)
        return face

    def cut(self, picture: Picture, face: faces.Face, side: int | None = None) -> Picture:
        """The square around a face, upright, ``side`` pixels wide, or as the picture has it."""
        pixels = side or self.side(face)
        return picture.cut(lambda planes: faces.crop(planes, self.placed(face), pixels, self.frame).image)

    def side(self, face: faces.Face) -> int:
        """Pixels of a portrait's side: as the picture has it, at least what the network sees."""
        return max(min(round(face.height * self.frame.scale), self.largest), self.size.above(self.working))

    def way(self, frames: Iterable[Source], rate: float, number: int | None) -> list[Callable[[Picture], Picture]]:
        """What cuts out one face, frame by frame, all of one size: that which it mostly has."""
        seen: Sequence[faces.Face] = track.follow(frames, rate, number or 1)
        usual = sorted(seen, key=lambda one: one.height)[len(seen) // 2]
        verb, _, whole = self.call
        side = self.side(faces.usable([usual], 1, verb, whole)[0])
        return [partial(self.cut, face=one, side=side) for one in seen]
