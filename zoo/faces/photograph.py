"""Whole photographs for networks of portraits: faces that are small in them are drawn by themselves, the rest around them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice, repeat
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo import faces
from zoo.errors import UsageError
from zoo.faces import apart
from zoo.faces.backdrop import WHITE, emptied, on_paper, people, portrayed
from zoo.faces.caricature import exaggerated
from zoo.faces.light import GLANCE, evened, lit, power
from zoo.pictures.batches import Batches
from zoo.pictures.image import Box, Picture, Source, read
from zoo.pictures.video import Film
from zoo.translator import Translator

FRAME = faces.Frame(2.4, 0.56)
"""Where a face lies in a portrait: with hair, neck and shoulders."""

LOOKS = 8
"""How many frames of a film are looked at, a second apart."""

SIDE = 256
"""Pixels of a portrait's side, as such networks know them."""

FILLED = 0.6
"""Height of a face over the side of the square that a network of portraits is told of (`Picture.focus`). In such portraits it is about
0.55; of more there is less paper, and cleaner skin, and from 0.7 on some artists' paper takes on a colour."""

SMALL = 0.88
"""Times the height of a face in such a portrait: what the network sees smaller loses its eyes."""

log = logging.getLogger("zoo")


def focus(found: Sequence[faces.Face], size: Sequence[int]) -> Box | None:
    """The part of a picture of ``size`` (H, W) by which a portrait of those who were ``found`` is drawn (`Picture.focus`)."""
    if not found:
        return None
    middles = torch.stack([face.landmarks.amin(0) + face.landmarks.amax(0) for face in found]) / 2
    sides = torch.tensor([[face.height / FILLED] for face in found])
    corners = middles - sides * torch.tensor([0.5, FRAME.middle])
    whole = torch.tensor(size).flip(0)
    left, top = (corners.amin(0) / whole).clamp(0, 1).tolist()
    right, bottom = ((corners + sides).amax(0) / whole).clamp(0, 1).tolist()
    return left, top, right, bottom


def _in_frame() -> Box:
    """The same of a portrait in which a face lies as ``FRAME`` says."""
    side = 1 / (FILLED * FRAME.scale)
    left, top = 0.5 * (1 - side), FRAME.middle * (1 - side)
    return left, top, left + side, top + side


def caricatured(picture: Picture, by: float) -> Picture:
    """A picture whose faces are exaggerated, see `exaggerated`; as it is where none is found, with a word. UsageError without dlib."""
    if not by:
        return picture
    found = faces.find(picture.rgb)
    if not found:
        log.warning("no face is found, so nothing is exaggerated")
    return exaggerated(picture, found, by)


class PhotographTranslator(Translator):
    """Draws photographs of one person or of many with a network that learned from portraits.

    The control ``framing``, a choice that the recipe declares, is ``portrait`` or ``whole``: the network sees the whole
    picture alone. So it does in videos, where faces drawn one by one would flicker, and where ``size`` says how large it
    sees the picture. The control ``backdrop`` is ``white`` or ``keep``: a portrait is drawn as if it had been taken in
    front of a white wall, or one in the colour of the paper that the network learned from drawings on (``paper`` in the description of the
    network), which stays empty, or of what is there. In videos it is kept. The control ``light`` is ``even`` or
    ``keep``: who has dark skin, or stands in the dark, is drawn as if there were more light, see `zoo.faces.light`; all
    frames of a video are drawn in the same. The control ``exaggerate``, a number, makes the portrait a caricature, see
    `zoo.faces.caricature`; videos have none.

    Unless it sees the whole alone the network draws a portrait by the statistics of its faces (`Picture.focus`), however
    much empty paper is around them.
    """

    framing = frozenset({"framing", "backdrop", "light", "exaggerate"})

    def framed(
        self,
        picture: Picture,
        framing: str = "whole",
        backdrop: str = "keep",
        light: str = "keep",
        exaggerate: float = 0,
        **_: Any,
    ) -> Picture:
        return self._seen(caricatured(picture, exaggerate), framing == "portrait", backdrop, light)[0]

    def _seen(
        self, picture: Picture, portrait: bool, backdrop: str, light: str
    ) -> tuple[Picture, Tensor | None, Sequence[faces.Face]]:
        """A picture as the network sees it, what of it was made paper, see `on_paper`, and the people of whom it is a portrait."""
        cut_out = picture.alpha is not None and picture.alpha.min() < 1  # someone has told the person from it already
        empty = backdrop == "white" and not cut_out
        if not (portrait or empty or light == "even"):
            return picture, None, []
        try:
            found = people(picture.rgb)
        except UsageError as error:
            log.warning("what is behind people stays, and the light on them: %s; %s", error.message, error.hint)
            return picture, None, []
        seen = evened(picture.rgb, found) if light == "even" else picture.rgb
        seen, made = on_paper(seen, found, self.network.get("paper", WHITE)) if found and empty else (seen, None)
        return replace(picture, rgb=seen, focus=focus(found, seen.shape[-2:]) if portrait else None), made, found

    def follow(
        self, frames: Iterable[Source], rate: float, framing: str = "whole", light: str = "keep", **_: Any
    ) -> Iterable[Callable[[Picture], Picture]]:
        powers: list[float] = []
        boxes: list[Box] = []
        portrait, even = framing == "portrait", light == "even"
        every = max(1, round(rate))
        try:
            for frame in islice(frames, 0, LOOKS * every, every) if portrait or even else ():
                picture = read(frame).rgb
                found = faces.find(picture, GLANCE)
                powers += [power(picture, face.landmarks) for face in found[:1]]
                if box := focus(portrayed(found, picture.shape[-2:]), picture.shape[-2:]):
                    boxes.append(box)
        except UsageError as error:
            log.warning("light stays: %s; %s", error.message, error.hint)
        to = median(powers) if powers and even else 1.0
        left, top, right, bottom = map(median, zip(*boxes or [(0.0, 0.0, 1.0, 1.0)]))
        about = (left, top, right, bottom) if portrait else None
        return repeat(lambda picture: replace(picture, rgb=lit(picture.rgb, to), focus=about))

    def filmed(
        self, controls: dict[str, Any], *, size: int | None, batch: int | None, tile: int | None
    ) -> Callable[[Film], Callable[[Iterable[np.ndarray]], Iterable[Any]]]:
        if self.prepared(size, batch, tile, None, controls)[1].get("exaggerate"):
            raise UsageError("videos are not exaggerated", "leave exaggerate out")
        return super().filmed(controls, size=size, batch=batch, tile=tile)

    def results(self, images: Iterable[Source], batches: Batches, framing: dict[str, Any]) -> Iterator[Any]:
        portrait = framing.get("framing") == "portrait"
        chosen = {name: framing.get(name, "keep") for name in ("backdrop", "light")}
        by = framing.get("exaggerate", 0)
        cut = partial(self._parts, portrait=portrait, closer=portrait and batches.size is None, exaggerate=by, **chosen)
        return apart.results(images, batches, repeat(cut))

    def _parts(
        self, picture: Picture, portrait: bool, closer: bool, backdrop: str, light: str, exaggerate: float
    ) -> apart.Parts | Picture:
        """The picture and, to be drawn ``closer``, the portraits of its small faces."""
        picture = caricatured(picture, exaggerate)
        seen, paper, found = self._seen(picture, portrait, backdrop, light)
        crops = []
        if closer:
            size = seen.rgb.shape[-2:]
            least = self._least(size)
            large = [face for face in found if face.height >= least]
            crops = self._crops(seen.rgb, found if large else None, least)
            seen = replace(seen, focus=focus(large, size) or seen.focus)
        if light == "even":
            crops = [replace(crop, image=lit(crop.image, power(crop.image, crop.landmarks))) for crop in crops]
        if paper is None and not crops:
            return seen

        def join(made: Sequence[Tensor]) -> Tensor:
            drawn = apart.joined(made[0], crops, made[1:], FRAME) if crops else made[0]
            return drawn if paper is None else emptied(drawn, paper)

        parts = [apart.part(seen.rgb, seen.focus), *(apart.part(crop.image, _in_frame()) for crop in crops)]
        return apart.Parts(replace(picture, rgb=torch.empty(3, 0, 0)), parts, join)

    def _least(self, size: Sequence[int]) -> float:
        """Height of a face that the network does not see too small in a picture of ``size`` (H, W)."""
        seen = min(1.0, (self.working or torch.inf) / max(size))
        return SMALL * self._side / FRAME.scale / seen

    @property
    def _side(self) -> int:
        return min(SIDE, self.working or SIDE)

    def _crops(self, image: Tensor, found: Sequence[faces.Face] | None, least: float) -> list[faces.Crop]:
        """Portraits of the faces that the network would see too small, as large as it knows them: of those who were ``found``, someone
        large enough among them, or else of all who are in the picture."""
        try:
            small = [face for face in (faces.find(image) if found is None else found) if face.height < least]
        except UsageError as error:
            log.warning("small faces are drawn as the rest is: %s; %s", error.message, error.hint)
            return []
        drawn = [face for face in small if face.height >= faces.SMALLEST]
        if len(drawn) < len(small):
            less = len(small) - len(drawn)
            log.warning(
                "%d of %d faces are smaller than %d pixels: they are drawn as the rest is",
                less,
                len(small),
                faces.SMALLEST,
            )
        return [faces.crop(image, face, self._side, FRAME) for face in drawn]
