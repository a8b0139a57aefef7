"""Whole photographs for models of portraits: the face is found, cut out with its hair, and a square of it is drawn."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import repeat
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from zoo import faces
from zoo.errors import UsageError
from zoo.faces import apart, detect, track
from zoo.pictures import video
from zoo.pictures.batches import Batches
from zoo.pictures.image import Picture, Source
from zoo.translator import Translator

log = logging.getLogger("zoo")


AROUND = faces.Frame(3.4, 0.5)
"""What `PortraitTranslator` takes for a portrait: head and shoulders."""

Around = Literal["face", "portrait", "whole"]


class PortraitTranslator(Translator):
    """Draws the portrait of a face that it finds in a photograph: a square.

    The control ``face`` says which: 1 is the largest, which is drawn unless given; 0 for a picture that is a portrait
    already, and is drawn whole. The control ``framing``, where the recipe declares it, is ``face`` for the square alone,
    as large as the photograph has it, but not below the ``smallest``; ``whole`` for the photograph, in which the squares
    of all faces, or of the one that ``face`` says, are put back; or ``portrait`` for the part of it that shows head and
    shoulders. A subclass says where the face lies in its ``frame``, how many pixels along its side are the ``largest``
    portrait, and how to ``call`` what it does and what it takes as it is. It may replace `placed`, `finish`, `put_back`
    and `smallest`.
    """

    framing = frozenset({"face", "framing"})
    frame: ClassVar[faces.Frame]
    largest: ClassVar[int] = 1024
    call: ClassVar[tuple[str, str, str]] = ("draw", "drawn", "a portrait")

    def placed(self, face: faces.Face) -> faces.Face:
        """The face that is cut out instead of ``face``: the same, until a subclass moves its landmarks."""
        return face

    def crop(self, planes: Tensor, face: faces.Face, side: int) -> faces.Crop:
        """The square of ``side`` pixels around a face of a picture's ``planes`` (C, H, W), which are repeated beyond their border, but calmly."""
        height, width = planes.shape[-2:]
        return faces.calmed(faces.crop(planes, self.placed(face), side, self.frame), width, height)

    def finish(self, crop: faces.Crop, drawn: Tensor, **_: Any) -> Tensor:
        """What becomes of the drawing (3, S, S) of a crop of that size: itself, until a subclass draws on. The rest is what ``framing``
        gives."""
        return drawn

    def part(self) -> dict[str, Any]:
        return {
            "find": "the largest face, by dlib's frontal detector, in the picture scaled by magnified, or by seen / longer"
            " side if that is less, with margin times the longer side around it, edge",
            "seen": detect.SEEN,
            "magnified": detect.MAGNIFIED,
            "margin": detect.MARGIN,
            "landmarks": "68, by dlib's shape_predictor_68_face_landmarks in a square in which the face's box is 300"
            " pixels wide",
            "average": None,
            "fitted": None,
            "moved": None,
            "turn": "the line through the middles of landmarks 36 to 41 and 42 to 47, counted from 0, is level",
            "scale": self.frame.scale,
            "middle": self.frame.middle,
            "cut": "a square of scale times the height of the landmarks' box; the middle of the box is half-way across it,"
            " and at middle from its top; bicubic, antialiased, edge",
            "least": self.smallest,
            "most": self.largest,
        }

    def framed(self, picture: Picture, face: int | None = None, framing: Around = "face", **_: Any) -> Picture:
        if face == 0 or framing == "whole":
            return picture
        chosen = self.chosen(picture, face)
        return self.cut(picture, chosen) if framing == "face" else around(picture, chosen)

    def results(self, images: Iterable[Source], batches: Batches, framing: dict[str, Any]) -> Iterator[Any]:
        if framing.get("face") == 0:
            return super().results(images, batches, framing)
        return apart.results(images, batches, repeat(partial(self.parts, **framing)))

    def parts(self, picture: Picture, face: int | None = None, framing: Around = "face", **how: Any) -> apart.Parts:
        """The square around a face; or the faces of a photograph, or of its part around one of them, that are drawn and put back."""
        if framing == "face":
            return self.square(picture, self.chosen(picture, face), **how)
        if framing == "portrait":
            picture, face = around(picture, self.chosen(picture, face)), None
        verb, whole = self.call[0], self.call[2]
        return self.of_faces(picture, faces.all_usable(faces.find(picture.rgb), face, verb, whole), **how)

    def square(self, picture: Picture, face: faces.Face, side: int | None = None, **how: Any) -> apart.Parts:
        """The square around a face of a photograph, as `cut` has it."""
        shown = self.cut(picture, face, side)
        crop = self.crop(picture.rgb, face, shown.rgb.shape[-1])
        return apart.Parts(shown, [crop.image], lambda made: self.finish(crop, made[0], **how))

    def of_faces(self, picture: Picture, known: Iterable[faces.Face], **how: Any) -> apart.Parts:
        """These faces of a photograph."""
        crops = [self.crop(picture.rgb, one, self.side(one)) for one in known]

        def join(made: Sequence[Tensor]) -> Tensor:
            finished = [self.finish(crop, drawn, **how) for crop, drawn in zip(crops, made)]
            return self.put_back(picture.rgb, crops, finished)

        return apart.Parts(picture, [crop.image for crop in crops], join)

    def put_back(self, photograph: Tensor, crops: Sequence[faces.Crop], made: Sequence[Tensor]) -> Tensor:
        """The photograph (3, H, W) with what was ``made`` of its ``crops``."""
        return apart.joined(photograph, crops, made, self.frame, heads=True)

    def filmed(
        self, controls: dict[str, Any], *, size: int | None, batch: int | None, tile: int | None
    ) -> Callable[[video.Film], Callable[[Iterable[np.ndarray]], Iterable[Any]]]:
        batches, framing = self.prepared(size, batch, tile, None, controls)
        number, how = framing.pop("face", None), framing.pop("framing", "face")
        if number == 0:
            return super().filmed(controls, size=size, batch=batch, tile=tile)
        if how == "portrait":
            raise UsageError("videos have no framing portrait", "give framing face, or whole")

        def looked_through(film: video.Film) -> Callable[[Iterable[np.ndarray]], Iterable[Any]]:
            frames = (image for _, image in film.frames("looking through"))
            cuts: Iterable[apart.Cut]
            if how == "face":
                followed, side = self.followed(frames, float(film.rate), number)
                cuts = [partial(self.square, face=face, side=side, **framing) for face in followed]
            else:
                seen = track.everyone(frames, float(film.rate))
                cuts = (self._shown(there, number, **framing) for there in seen)
            return lambda images: apart.results(images, batches, cuts)

        return looked_through

    def _shown(self, seen: Mapping[int, faces.Face], number: int | None, **how: Any) -> apart.Cut:
        """What draws the faces that a frame of a video shows; those that cannot be drawn stay."""
        wanted = [face for i, face in seen.items() if number in (None, i) and not faces.fault(face, self.call[0])]
        return partial(self.of_faces, known=wanted, **how) if wanted else apart.untouched

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
        pixels = side or max(self.side(face), self.smallest)
        return picture.cut(lambda planes: self.crop(planes, face, pixels).image)

    @property
    def smallest(self) -> int:
        """Pixels of the side of a portrait that is drawn by itself, at least: what the network sees, until a subclass draws finer."""
        return self.size.above(self.working)

    def side(self, face: faces.Face) -> int:
        """Pixels of a portrait's side: as the picture has it, at least what the network sees."""
        return max(min(round(face.height * self.frame.scale), self.largest), self.size.above(self.working))

    def followed(self, frames: Iterable[Source], rate: float, number: int | None) -> tuple[Sequence[faces.Face], int]:
        """Where one face is, frame by frame, and the side of its portraits: that which it mostly has."""
        seen = track.follow(frames, rate, number or 1)
        usual = sorted(seen, key=lambda one: one.height)[len(seen) // 2]
        verb, _, whole = self.call
        return seen, self.side(faces.usable([usual], 1, verb, whole)[0])


def around(picture: Picture, face: faces.Face) -> Picture:
    """The part of a photograph that shows a face as `AROUND` has it, as far as the photograph goes."""
    low, high = face.landmarks.amin(0), face.landmarks.amax(0)
    side = face.height * AROUND.scale
    left, top = ((low + high) / 2 - side * torch.tensor([0.5, AROUND.middle])).round().int().tolist()
    right, bottom = left + round(side), top + round(side)
    return picture.cut(lambda planes: planes[:, max(top, 0) : bottom, max(left, 0) : right])
