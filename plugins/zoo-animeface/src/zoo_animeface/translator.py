"""Whole photographs: a square portrait of the face that is found in them is drawn."""

from __future__ import annotations

from zoo import faces
from zoo.faces.portrait import PortraitTranslator

FRAME = faces.Frame(2.09, 0.57)
"""Where a face lies in the photographs of the training, and nearly so in drawn faces, whose jaws are as wide and whose eyes
lie as high."""


class AnimeTranslator(PortraitTranslator):
    """Draws portraits as anime."""

    frame = FRAME
