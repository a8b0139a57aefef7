"""Colours of a drawing of the user's own: hair gets its tones, skin its own as far as it may, and nothing else changes."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from shared import SAMPLE
from torch import Tensor

from zoo import faces
from zoo.errors import ImageError
from zoo.faces.parsing import parsed_crop
from zoo.generator import Generator, SizeRule
from zoo.pictures.image import read, to_pil
from zoo_animeface.translator import FRAME, AnimeTranslator

SIDE = 192
NETWORK = {
    "working": SIDE,
    "controls": [
        {"type": "integer", "name": "face", "minimum": 0},
        {"type": "image", "name": "like", "required": False},
        {"type": "number", "name": "skin", "default": 1, "minimum": 0, "maximum": 1},
    ],
}
LIGHT, SHADE, SKIN = (250, 140, 60), (160, 60, 20), (190, 140, 130)


class Same(Generator):
    """A photograph is its own drawing."""

    size = SizeRule(multiple_of=4, minimum=16)

    def parts(self, image: Tensor) -> dict[str, Tensor]:
        return {"image": image}


@pytest.fixture(scope="module")
def crop() -> faces.Crop:
    picture = read(SAMPLE).rgb
    return faces.crop(picture, faces.find(picture)[0], SIDE, FRAME)


def orange() -> Image.Image:
    """A drawn face with orange hair, light and shade."""
    drawing = Image.new("RGB", (SIDE, SIDE), (90, 160, 90))
    pen = ImageDraw.Draw(drawing)
    pen.ellipse((30, 10, 162, 180), fill=LIGHT, outline=(20, 10, 10), width=3)
    pen.ellipse((45, 66, 147, 176), fill=SKIN, outline=(20, 10, 10), width=2)
    pen.rectangle((96, 20, 140, 66), fill=SHADE)
    for x in (72, 120):
        pen.ellipse((x - 10, 88, x + 10, 112), fill=(60, 60, 200), outline=(20, 10, 10))
    return drawing


def drawn(crop: faces.Crop, **controls: Any) -> np.ndarray:
    made = AnimeTranslator(Same(), NETWORK, device="cpu").translate(to_pil(crop.image), face=0, **controls)
    return np.asarray(made.convert("RGB")).astype(float)


def part(crop: faces.Crop, *names: str) -> np.ndarray:
    seen = parsed_crop(crop)
    return (seen.over(crop.image, seen.crop.matrix, *names, outside=0.0) > 0.95).numpy()


def test_hair_has_the_tones_of_the_drawing(crop: faces.Crop, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        plain, made = drawn(crop), drawn(crop, like=orange())
    hair = part(crop, "hair")
    assert hair.mean() > 0.05
    red, green, blue = made[hair].mean(0)
    assert red > green + 40 > blue + 60  # brown hair before
    rise = np.corrcoef(plain[hair].mean(1), made[hair].mean(1))[0, 1]
    assert rise > 0.6  # what was light is light
    below = np.indices(hair.shape)[0] > 0.5 * SIDE
    assert np.abs(made - plain)[part(crop, "background", "clothes") & below].mean() < 3


def test_skin_is_the_drawings(crop: faces.Crop) -> None:
    cheek = (slice(round(0.63 * SIDE), round(0.66 * SIDE)), slice(round(0.35 * SIDE), round(0.38 * SIDE)))
    as_drawn = drawn(crop, like=orange(), skin=0.0)[cheek].mean((0, 1))
    plain = drawn(crop, skin=0.0)[cheek].mean((0, 1))
    assert np.abs(as_drawn - SKIN).mean() < 0.5 * np.abs(plain - SKIN).mean()


def test_another_drawing_other_colours(crop: faces.Crop) -> None:
    blue = Image.fromarray(np.asarray(orange())[:, :, ::-1].copy())
    hair = part(crop, "hair")
    assert drawn(crop, like=blue)[hair].mean(0).argmax() == 2 != drawn(crop, like=orange())[hair].mean(0).argmax()
    several = AnimeTranslator(Same(), NETWORK, device="cpu").translate(
        [to_pil(crop.image), to_pil(crop.image.flip(-1))], face=0, like=orange()
    )
    mirrored = np.asarray(several[1].convert("RGB")).astype(float)[:, ::-1]
    assert np.abs(mirrored - np.asarray(several[0].convert("RGB")).astype(float)).mean() < 3


def test_what_is_no_drawing_is_said(crop: faces.Crop, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        drawn(crop, like=Image.new("RGB", (64, 64), "grey"))
    assert "like: no drawn face found" in caplog.text
    with pytest.raises(ImageError):
        drawn(crop, like=b"no picture")
    assert torch.isfinite(torch.from_numpy(drawn(crop, like=Image.new("RGB", (40, 80), "black")))).all()
