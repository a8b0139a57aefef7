"""Whole photographs for networks of portraits: faces that are small in them are drawn by themselves, the rest around them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import repeat
from typing import Any

import torch
from torch import Tensor

from zoo import faces
from zoo.errors import UsageError
from zoo.faces import apart
from zoo.faces.backdrop import emptied, on_white, people
from zoo.faces.light import GLANCE, evened, lit, of_film, power
from zoo.pictures.batches import Batches
from zoo.pictures.image import Picture, Source
from zoo.translator import Translator

FRAME = faces.Frame(2.4, 0.56)
"""Where a face lies in a portrait: with hair, neck and shoulders."""

SIDE = 256
"""Pixels of a portrait's side, as such networks know them."""

SMALL = 0.88
"""Times the height of a face in such a portrait: what the network sees smaller loses its eyes."""

log = logging.getLogger("zoo")


class PhotographTranslator(Translator):
    """Draws photographs of one person or of many with a network that learned from portraits.

    The control ``framing``, a choice that the recipe declares, is ``portrait`` or ``whole``: the network sees the whole
    picture alone. So it does in videos, where faces drawn one by one would flicker, and where ``size`` says how large it
    sees the picture. The control ``backdrop`` is ``white`` or ``keep``: a portrait is drawn as if it had been taken in
    front of a white wall, which stays empty paper, or of what is there. In videos it is kept. The control ``light`` is ``even`` or
    ``keep``: who has dark skin, or stands in the dark, is drawn as if there were more light, see `zoo.faces.light`; all
    frames of a video are drawn in the same.
    """

    framing = frozenset({"framing", "backdrop", "light"})

    def framed(self, picture: Picture, backdrop: str = "keep", light: str = "keep", **_: Any) -> Picture:
        return replace(picture, rgb=self._seen(picture, backdrop, light)[0])

    def _seen(self, picture: Picture, backdrop: str, light: str) -> tuple[Tensor, Tensor | None]:
        """What the network sees of a picture, and what of it was made white, see `on_white`."""
        cut_out = picture.alpha is not None and picture.alpha.min() < 1  # someone has told the person from it already
        empty = backdrop == "white" and not cut_out
        if not empty and light == "keep":
            return picture.rgb, None
        try:
            found = people(picture.rgb)
        except UsageError as error:
            log.warning("what is behind people stays, and the light on them: %s; %s", error.message, error.hint)
            return picture.rgb, None
        seen = evened(picture.rgb, found) if light == "even" else picture.rgb
        return on_white(seen, found) if found and empty else (seen, None)

    def follow(
        self, frames: Iterable[Source], rate: float, light: str = "keep", **controls: Any
    ) -> Iterable[Callable[[Picture], Picture]]:
        to = 1.0
        if light == "even":
            try:
                to = of_film(frames, rate)
            except UsageError as error:
                log.warning("light stays: %s; %s", error.message, error.hint)
        controls |= {"backdrop": "keep"}
        return repeat(lambda picture: self.framed(replace(picture, rgb=lit(picture.rgb, to)), **controls))

    def results(self, images: Iterable[Source], batches: Batches, framing: dict[str, Any]) -> Iterator[Any]:
        closer = framing.get("framing") == "portrait" and batches.size is None
        chosen = {name: framing.get(name, "keep") for name in ("backdrop", "light")}
        cut = partial(self._parts, closer=closer, **chosen)
        return apart.results(images, batches, repeat(cut))

    def _parts(self, picture: Picture, closer: bool, backdrop: str, light: str) -> apart.Parts | Picture:
        """The picture and, to be drawn ``closer``, the portraits of its small faces."""
        seen, white = self._seen(picture, backdrop, light)
        crops = self._crops(seen) if closer else []
        if light == "even":
            crops = [replace(crop, image=lit(crop.image, power(crop.image, crop.landmarks))) for crop in crops]
        if white is None and not crops:
            return replace(picture, rgb=seen)

        def join(made: Sequence[Tensor]) -> Tensor:
            drawn = apart.joined(made[0], crops, made[1:], FRAME) if crops else made[0]
            return drawn if white is None else emptied(drawn, white)

        return apart.Parts(replace(picture, rgb=torch.empty(3, 0, 0)), [seen, *(crop.image for crop in crops)], join)

    def _crops(self, image: Tensor) -> list[faces.Crop]:
        """Portraits of the faces that the network would see too small, as large as it knows them."""
        seen = min(1.0, (self.working or torch.inf) / max(image.shape[-2:]))
        side = min(SIDE, self.working or SIDE)
        least = SMALL * side / FRAME.scale / seen
        try:
            near = faces.find(image, GLANCE)
            if any(face.height >= least for face in near):
                return []
            found = [face for face in faces.find(image) if face.height < least]
        except UsageError as error:
            log.warning("small faces are drawn as the rest is: %s; %s", error.message, error.hint)
            return []
        large = [face for face in found if face.height >= faces.SMALLEST]
        if len(large) < len(found):
            less = len(found) - len(large)
            log.warning(
                "%d of %d faces are smaller than %d pixels: they are drawn as the rest is",
                less,
                len(found),
                faces.SMALLEST,
            )
        return [faces.crop(image, face, side, FRAME) for face in large]
