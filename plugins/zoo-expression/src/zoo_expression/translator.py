"""Expressions in photographs: every face is found, cut out, edited and put back."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo import faces
from zoo.control import check
from zoo.errors import ControlError, ImageError
from zoo.generator import SizeRule
from zoo.machine.compiler import compiled
from zoo.pictures import image as pictures
from zoo.pictures.batches import Batches
from zoo.pictures.fit import warped
from zoo.pictures.image import Picture, Source
from zoo.pictures.morph import Morph, shares
from zoo.translator import Translator
from zoo_expression.networks import StarGANGenerator
from zoo_expression.units import COMPETING, EXPRESSIONS, FULL, HALVES, LABELS, NAMES, ROW, STRONGEST, UNITS

VERB = "edit"

STRONG = 0.5
"""The intensity from which units compete: below it nobody sees them."""

HALF_SEEN: dict[str, tuple[Sequence[int], float, Sequence[int]]] = {
    "brows and eyes": ([*range(17, 27), *range(36, 48)], 0.075, (1, 2, 4, 5, 6, 7, 45)),
    "mouth": (range(48, 68), 0.045, (9, 10, 12, 14, 15, 17, 20, 23, 25, 26)),
}
"""Of each half of a face its landmarks, by how much a second look at them may differ, see `zoo.faces.second_look`, and the
units that stay as they are where it differs more: what is hidden, or turned away, is not where it seems to be."""

log = logging.getLogger("zoo")


FINE = 512
"""Pixels of a crop's side where a face is moved, at most; larger faces are moved by the same flow."""

Parts = dict[str, Tensor]
"""What was made of one face, or (N,…) of several."""


@dataclass(frozen=True)
class Found:
    """A face in a picture: what the network sees of it (3,size,size), and the crop that is moved or put back."""

    image: Tensor
    crop: faces.Crop
    whole: bool = False  # the picture is a crop itself: the square of it
    stays: Sequence[int] = ()  # units that nothing moves

    def paste(self, picture: Tensor, made: Parts) -> Tensor:
        """The picture (3,H,W), changed by what was made of this face in it."""
        if self.whole:
            square, (top, left) = squared(picture)
            edited = enlarged(square, self.image[None], {name: part[None] for name, part in made.items()})[0]
            return picture.copy_(edited[:, top : top + picture.shape[1], left : left + picture.shape[2]])
        crop, result = self.crop, made["image"]
        if "flow" in made:  # what is finer than the crop is moved, too
            if not made["flow"].any() and not made["paint"].any():
                return picture
            _, crop = faces.move(picture, crop, made["flow"], in_place=True)
            if self.image is not self.crop.image:  # moved at the crop's own pixels: nothing else is new
                if not made["paint"].any():
                    return picture
                result = crop.image + made["paint"]
        return faces.paste(picture, crop, result, in_place=True)


def unsure(doubt: Tensor, name: str) -> Sequence[int]:
    """The units that shall stay as they are in a face of this ``doubt`` (68,), see `zoo.faces.second_look`; says so."""
    halves = [half for half, (known, most, _) in HALF_SEEN.items() if doubt[list(known)].mean() > most]
    if halves:
        stay = "stays as it is" if halves == ["mouth"] else "stay as they are"
        log.warning("%s: %s cannot be seen well, hidden or turned away, and %s", name, " and ".join(halves), stay)
    return [unit for half in halves for unit in HALF_SEEN[half][2]]


def squared(picture: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """(3,H,W) as a square (1,3,S,S), its border repeated, and the row and column where it begins."""
    height, width = picture.shape[1:]
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    return F.pad(picture[None], (left, side - width - left, top, side - height - top), "replicate"), (top, left)


def enlarged(images: Tensor, seen: Tensor, made: Parts) -> Tensor:
    """Pictures (N,3,S,S) edited as the generator has edited them in another size (N,3,s,s): what is finer stays."""
    side, result = images.shape[-1], made["image"]
    if side == result.shape[-1]:
        return result
    if "flow" in made:
        images = warped(images, F.interpolate(made["flow"], (side, side), mode="bicubic"))
        seen = warped(seen, made["flow"])
    return (images + F.interpolate(result - seen, (side, side), mode="bicubic")).clamp(-1, 1)


class ExpressionTranslator(Translator):
    """Edits the faces of a photograph; what is not face stays as it is.

    ``translate`` as any translator; `measure` says what a face shows, `morph` goes there in steps.
    """

    generator: StarGANGenerator
    unexported = "it edits faces after landmarks that dlib finds, which is no part of the network"

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        parts = self.generator.parts
        self._parts = compiled(parts, self.device.type) if settings.get("compile") else parts
        self.side = self.generator.size.above(self.working)  # of a face crop, in pixels
        self.working, self.size = 0, SizeRule()  # pictures stay as they are: only the faces in them are scaled

    def check(self, controls: dict[str, Any]) -> dict[str, Any]:
        shares = {name: controls[name] for name in EXPRESSIONS if controls.get(name)}
        told = " + ".join(f"{name} {share:g}" for name, share in shares.items())
        if sum(shares.values()) > (STRONGEST if len(shares) == 1 else 1) + 1e-6:
            raise ControlError(f"{told} is more than 1", "expressions share one face: together at most 1")
        names = [*NAMES, *(f"{name}_{half}" for name in NAMES for half in HALVES)]
        strong = [f"{name} {controls[name]:g}" for name in names if (controls.get(name) or 0) > FULL]
        if strong or sum(shares.values()) > 1 + 1e-6:
            log.warning("%s is stronger than faces were tried with: the face may break", ", ".join(strong) or told)
        if shares.get("disgust"):
            log.warning("disgust is drawn without unit 16, lower lip depressor, which is not among the 17")
        asked = {
            number
            for number in UNITS
            if any((controls.get(f"AU{number}{half}") or 0) >= STRONG for half in ("", *(f"_{h}" for h in HALVES)))
        }
        for one, other in COMPETING:
            if {one, other} <= asked:
                log.warning(
                    "AU%d (%s) and AU%d (%s) pull one place two ways: the face may break",
                    one, UNITS[one], other, UNITS[other],
                )  # fmt: skip
        return controls

    def results(self, images: Iterable[Source], batches: Batches, framing: dict[str, Any]) -> Iterator[Any]:
        """As `Translator.results`. `draw` changes the very picture that was read, since a copy of a large photograph takes
        longer than its face; pictures that somebody else has, too, are copied."""
        own = (replace(one, rgb=one.rgb.clone()) if isinstance(one, Picture) else one for one in images)
        return super().results(own, batches, framing)

    def draw(self, image: Tensor, face: Tensor | None = None, like: Tensor | None = None, **controls: Tensor) -> Tensor:
        number = None if face is None else int(face[0])
        found = [self._faces(picture.float().cpu(), number) for picture in image]
        every = [one for ones in found for one in ones]
        batch = self._batch(every)
        given = {name: value[:1].expand(len(batch), *value.shape[1:]) for name, value in controls.items()}
        if like is not None:
            given["like"] = self._batch([self._shown(like[0].float().cpu(), number)]).expand_as(batch)
        made = self.edited(every, batch, self.generator.own(batch), self.generator.halves(batch, **given))
        drawn = image.float().cpu().contiguous()
        for picture, ones in zip(drawn, found):
            for one in ones:
                one.paste(picture, next(made))
        return drawn.to(image.device)

    # -- verbs of its own ---------------------------------------------------------------------------------------------

    def measure(self, image: Source, *, face: int = 1) -> dict[str, float]:
        """What a face shows: intensities of ``AU1`` … ``AU45`` from 0 to 5, or StarGAN's labels with probabilities.

        ``face`` is as the control: 1 for the largest, 0 for a picture that is a face crop already. ImageError if there
        is no such face.
        """
        (found,) = self._faces(pictures.read(image).rgb, self._face(face))
        with self.inference():
            read = self.generator.meter(self._batch([found]))[0]
            values = read.softmax(0) if self.generator.labels else read.mul(5).clamp(0, 5)
        return dict(zip(LABELS if self.generator.labels else NAMES, values.tolist()))

    def morph(self, image: Source, *, steps: int = 8, face: int = 1, **controls: Any) -> Morph:
        """From the expression that a face has to the one that ``controls`` ask for, in ``steps`` pictures.

        ControlError, ImageError. UsageError for fewer than two steps.
        """
        way = shares(steps)
        values = self.check(check(self.controls, {**controls, "face": self._face(face)}))
        picture = pictures.read(image)
        (found,) = self._faces(picture.rgb, face)
        like = values.pop("like", None)
        given = self.tensors({**values, "face": None}, 1)
        if like is not None:
            given["like"] = self._batch([self._shown(pictures.read(like).rgb, face)])
        with self.inference():
            crop = self._batch([found])
            own, asked = self.generator.own(crop), self.generator.halves(crop, **given)
            edited = [
                next(self.edited([found], crop, own, torch.lerp(own.expand_as(asked), asked, share))) for share in way
            ]
        return Morph([picture.like(found.paste(picture.rgb.clone(), made)) for made in edited])

    # -- faces --------------------------------------------------------------------------------------------------------

    def _face(self, number: Any) -> int:
        if isinstance(number, bool) or not isinstance(number, int) or number < 0:
            raise ControlError(f"face = {number!r} is not a whole number of at least 0", "1 is the largest face")
        return number

    def _faces(self, picture: Tensor, number: int | None) -> list[Found]:
        """All faces that can be edited, or the one with this number. ImageError if there is none."""
        if number == 0:
            return [self._surely(self.crop(picture), "the face")]
        found = faces.find(picture, thorough=number is None)
        if number is not None and len(found) < number:  # a small one, or on its side
            found = faces.find(picture)
        usable = faces.all_usable(found, number, VERB, "a face crop")
        return [self._surely(self.seen(picture, face), f"face {found.index(face) + 1}") for face in usable]

    def seen(self, picture: Tensor, face: faces.Face) -> Found:
        """A face of a picture, cut out."""
        crop = faces.crop(picture, face, self.side)
        if self.generator.motion is None:
            return Found(crop.image, crop)
        fine = min(FINE, max(self.side, round(face.height * faces.FACE.scale)))
        return Found(crop.image, faces.crop(picture, face, fine))

    def _surely(self, found: Found, name: str) -> Found:
        """The face with the landmarks of two looks at it; where those do not agree it will stay as it is."""
        if self.generator.motion is None:
            return found
        points, doubt = faces.second_look(found.crop.image)
        return replace(found, crop=replace(found.crop, landmarks=points), stays=unsure(doubt, name))

    def crop(self, picture: Tensor) -> Found:
        """A picture that is a face crop already."""
        square, _ = squared(picture)
        seen = F.interpolate(square, (self.side, self.side), mode="bicubic", antialias=True)[0].clamp(-1, 1)
        if self.generator.motion is None:
            return Found(seen, faces.Crop(seen, torch.zeros(68, 2), torch.eye(2, 3).double()), True)
        return Found(seen, faces.Crop(square[0], faces.landmarks(square[0]), torch.eye(2, 3).double()), True)

    def _shown(self, picture: Tensor, number: int | None) -> Found:
        """The face of the control ``like``: the largest, or the whole picture where what is edited is a crop, too."""
        try:
            return self._faces(picture, 0 if number == 0 else 1)[0]
        except ImageError as error:
            raise ImageError(f"like: {error.message}", error.hint) from error

    def _batch(self, found: list[Found]) -> Tensor:
        return self.on_device(torch.stack([one.image for one in found]))

    def edited(self, found: Sequence[Found], batch: Tensor, own: Tensor, asked: Tensor) -> Iterator[Parts]:
        """What becomes of each face: ``batch`` are their pictures, ``own`` (N,U) and ``asked`` (2,N,U) conditions, of
        the left half of the face and of its right one."""
        if (motion := self.generator.motion) is not None:
            has, wanted = (self.generator.intensities(one.float().cpu()) for one in (own, asked))
            for i, one in enumerate(found):
                rows = [ROW[unit] for unit in one.stays]
                wanted[:, i, rows] = has[i, rows]
            return (
                motion(one.crop.image, one.crop.landmarks, has[i].expand(2, -1), wanted[:, i])
                for i, one in enumerate(found)
            )
        left = {name: part.float().cpu() for name, part in self._parts(batch, units=asked[0]).items()}
        if (asked[0] != asked[1]).any():
            right = {name: part.float().cpu() for name, part in self._parts(batch, units=asked[1]).items()}
            across = torch.linspace(-2, 3, batch.shape[-1]).clamp(0, 1)  # an owner's left is on the right
            left = {name: torch.lerp(right[name], part, across) for name, part in left.items()}
        return (dict(zip(left, one)) for one in zip(*left.values()))
