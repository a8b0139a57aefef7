"""Whole photographs: a square portrait of the face that is found in them is drawn."""

from __future__ import annotations

import logging
from typing import Any

from torch import Tensor

from zoo import faces
from zoo.faces.portrait import PortraitTranslator
from zoo.pictures.batches import Batches
from zoo.pictures.image import Source, read
from zoo.progress import Progress
from zoo_animeface.cel import painted
from zoo_animeface.colours import nose_shaded, own_colours, own_lips, painted_wall, teeth_shown
from zoo_animeface.drawn import with_features
from zoo_animeface.finder import find, within
from zoo_animeface.like import recoloured
from zoo_animeface.networks import FineCartoonGenerator
from zoo_animeface.skin import lightened, own_tone, pale, parts_of, skin_of

FRAME = faces.Frame(2.09, 0.57)
"""Where a face lies in the photographs of the training, and nearly so in drawn faces, whose jaws are as wide and whose eyes
lie as high."""

log = logging.getLogger("zoo")


class AnimeTranslator(PortraitTranslator):
    """Draws portraits as anime. The control ``like``, where the recipe declares it, is a drawing whose colours they get, ``skin`` how
    far people keep their own, and ``features`` whether brows, eyes and mouths are ``drawn`` by landmarks, and hair and shades
    painted, or the ``network``'s."""

    frame = FRAME
    framing = PortraitTranslator.framing | {"features"}
    finishing = frozenset({"like", "skin"})

    def check(self, controls: dict[str, Any]) -> dict[str, Any]:
        """The face of ``like`` is found here, before any picture is read. ImageError."""
        like = controls.get("like")
        return controls if like is None else {**controls, "like": (drawn_face(like) + 1) / 2}

    def draw(self, image: Tensor, skin: Tensor | None = None, like: Tensor | None = None, **controls: Any) -> Tensor:
        if skin is None:
            drawn = super().draw(image, **controls)
            return drawn if like is None else recoloured(drawn, image, like)
        parts = parts_of(image)
        drawn = super().draw(lightened(image, parts), **controls)
        where = skin_of(drawn, parts)
        drawn = own_colours(pale(drawn, parts, where), image, parts, hair=like is None)
        drawn = painted_wall(drawn, image, parts)
        if like is not None:
            drawn = recoloured(drawn, image, like)
        drawn = own_lips(own_tone(drawn, image, parts, where, skin), image, parts)
        return teeth_shown(nose_shaded(drawn, parts), image, parts)

    def prepared(
        self, size: int | None, batch: int | None, tile: int | None, progress: Progress | None, controls: dict[str, Any]
    ) -> tuple[Batches, dict[str, Any]]:
        batches, framing = super().prepared(size, batch, tile, progress, controls)
        return batches, {**framing, "own_hair": controls.get("like") is None}

    def finish(
        self, crop: faces.Crop, drawn: Tensor, features: str = "network", own_hair: bool = True, **_: Any
    ) -> Tensor:
        if features == "network":
            return drawn
        photo, points = crop.image[None], crop.landmarks[None].to(drawn)
        parts = parts_of(photo)
        return with_features(photo, painted(drawn[None], photo, points, parts, own_hair), points, parts)[0]

    def finer(self, drawn: Tensor) -> Tensor:
        """Redrawn once more, in twice the size, by a generator that redraws what it draws first."""
        return self.generator.redrawn(drawn) if isinstance(self.generator, FineCartoonGenerator) else drawn

    @property
    def smallest(self) -> int:
        """Twice what a network sees whose drawings are `finer`: lines have no pixels that they would have to come from."""
        seen = super().smallest
        return 2 * seen if isinstance(self.generator, FineCartoonGenerator) else seen


def drawn_face(source: Source) -> Tensor:
    """The largest face of a drawing, (3,S,S), or all of it where none is found. ImageError for what cannot be read."""
    rgb = read(source).on_white().rgb
    found = find(rgb)
    if not found:
        log.warning("like: no drawn face found, the whole picture is taken for one")
    return within(rgb, found[0]) if found else rgb
