"""Whole photographs: a square portrait of the face that is found in them is drawn."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from zoo import faces
from zoo.faces.portrait import PortraitTranslator
from zoo_animeface.skin import own_tone

FRAME = faces.Frame(2.09, 0.57)
"""Where a face lies in the photographs of the training, and nearly so in drawn faces, whose jaws are as wide and whose eyes
lie as high."""


class AnimeTranslator(PortraitTranslator):
    """Draws portraits as anime. The control ``skin``, where the recipe declares it, is how far people keep their own."""

    frame = FRAME
    finishing = frozenset({"skin"})

    def draw(self, image: Tensor, skin: Tensor | None = None, **controls: Any) -> Tensor:
        drawn = super().draw(image, **controls)
        return drawn if skin is None else own_tone(drawn, image, skin)
