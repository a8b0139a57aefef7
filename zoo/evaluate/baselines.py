"""What a drawing model must beat: two ways to make a drawing of a photograph that learn nothing."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageFilter, ImageOps

from zoo.evaluate.compare import Model
from zoo.pictures.image import read, to_pil


def grey(photo: Path) -> Image.Image:
    """The photograph without its colour."""
    return to_pil(read(photo).on_white().rgb).convert("L")


def dodge(photo: Path, sigma: float = 8.0) -> Image.Image:
    """The draughtsman's filter: the grey photograph divided by its blurred negative, grey / (1 − blur(1 − grey))."""
    light = grey(photo)
    shade = ImageOps.invert(light).filter(ImageFilter.GaussianBlur(sigma))
    pixels = (min(255, g * 255 // max(1, 255 - s)) for g, s in zip(light.tobytes(), shade.tobytes()))
    return Image.frombytes("L", light.size, bytes(pixels))


BASELINES: dict[str, Model] = {"grey-photo": grey, "dodge-and-burn": dodge}
