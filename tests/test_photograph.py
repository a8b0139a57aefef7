"""Whole photographs: small faces are drawn by themselves, the rest around them."""

from __future__ import annotations

import logging
import sys

import pytest
import torch
from PIL import Image
from shared import SAMPLE
from torch import Tensor
from torch.nn import functional

from zoo import faces
from zoo.errors import ImageError
from zoo.faces import apart
from zoo.faces.photograph import FRAME, PhotographTranslator
from zoo.generator import Generator, SizeRule
from zoo.pictures.image import read

FRAMING = {
    "type": "choice",
    "name": "framing",
    "choices": ["portrait", "whole"],
    "default": "portrait",
    "help": "which",
}


class Same(Generator):
    """Draws what it sees, and remembers how large that was."""

    size = SizeRule(multiple_of=4)

    def __init__(self) -> None:
        super().__init__()
        self.saw: list[tuple[int, ...]] = []

    def parts(self, image: Tensor, **controls: Tensor) -> dict[str, Tensor]:
        self.saw += [tuple(one.shape[1:]) for one in image]
        return {"image": image}


@pytest.fixture
def translator() -> PhotographTranslator:
    return PhotographTranslator(Same().eval(), {"controls": [FRAMING], "working": 256}, device="cpu")


@pytest.fixture(scope="module")
def group() -> Image.Image:
    """The same person twice, heads of a tenth of the picture."""
    picture = Image.new("RGB", (640, 320), (120, 130, 125))
    with Image.open(SAMPLE) as sample:
        person = sample.convert("RGB").crop((60, 20, 360, 320)).resize((120, 120), Image.Resampling.LANCZOS)
    for left in (60, 420):
        picture.paste(person, (left, 100))
    return picture


def off(one: Image.Image, other: Image.Image, box: tuple[int, int, int, int]) -> float:
    return float((read(one.crop(box)).rgb - read(other.crop(box)).rgb).abs().mean())


def test_small_faces_are_seen_as_large_as_in_a_portrait(translator: PhotographTranslator, group: Image.Image) -> None:
    whole = translator.translate(group, framing="whole")
    assert translator.generator.saw == [(128, 256)]
    drawn = translator.translate(group)
    assert translator.generator.saw[1:] == [(128, 256), (256, 256), (256, 256)]
    assert drawn.size == group.size and drawn.mode == "RGB"
    for left in (60, 420):  # features come back, and far from them the picture is drawn as ever
        face = (left + 35, 120, left + 90, 190)
        assert off(drawn, group, face) < off(whole, group, face) / 2
    assert off(drawn, whole, (260, 0, 340, 320)) < 1e-4


@pytest.mark.parametrize("share", [0.4, 0.36])
def test_who_is_small_beside_someone_large_is_drawn_by_themselves(
    translator: PhotographTranslator, share: float
) -> None:
    with Image.open(SAMPLE) as sample:
        near = sample.convert("RGB").crop((125, 35, 295, 205)).resize((400, 400))
    side = round(400 * share)
    both = Image.new("RGB", (400 + side, 400), (190, 180, 175))
    both.paste(near, (0, 0))
    both.paste(near.resize((side, side), Image.Resampling.LANCZOS), (400, 200))
    whole, drawn = translator.translate(both, framing="whole"), translator.translate(both)
    assert translator.generator.saw[1:] == [translator.generator.saw[0], (256, 256)]
    face = (400 + side // 3, 200 + side // 5, 400 + 2 * side // 3, 200 + side // 2)
    assert off(drawn, both, face) < off(whole, both, face) / 1.5
    assert off(drawn, whole, (100, 50, 300, 300)) < 1e-4


def test_the_size_that_was_asked_for_is_what_the_network_sees(
    translator: PhotographTranslator, group: Image.Image
) -> None:
    translator.translate(group, size=64)
    assert translator.generator.saw == [(32, 64)]


def test_without_small_faces_nothing_is_new(translator: PhotographTranslator) -> None:
    with Image.open(SAMPLE) as sample:
        portrait = sample.convert("RGB").crop((120, 30, 300, 210)).resize((240, 240))
        empty = Image.new("RGB", (200, 160), "grey")
        drawn = translator.translate([portrait, empty, group_of_alpha()])
        whole = translator.translate([portrait, empty, group_of_alpha()], framing="whole")
    assert [one.tobytes() for one in drawn] == [one.tobytes() for one in whole]
    assert len(translator.generator.saw) == 6


class Normed(Generator):
    """Light against the spread of the picture."""

    size = SizeRule(multiple_of=4)

    def parts(self, image: Tensor, **controls: Tensor) -> dict[str, Tensor]:
        return {"image": (functional.instance_norm(image) / 4).clamp(-1, 1)}


def test_a_portrait_is_drawn_by_its_face_however_much_is_empty_around_it() -> None:
    """In photographs and films; and by all of it where the network shall see the whole, or nobody is found."""
    translator = PhotographTranslator(Normed().eval(), {"controls": [FRAMING]}, device="cpu")
    with Image.open(SAMPLE) as sample:
        near = sample.convert("RGB").crop((120, 30, 300, 210)).resize((240, 240))
    far = Image.new("RGB", (480, 400), "white")
    far.paste(near, (120, 160))
    drawn, whole = (translator.translate(far, framing=framing) for framing in ("portrait", "whole"))
    alone = Image.new("RGB", far.size)
    alone.paste(translator.translate(near), (120, 160))
    face = (180, 220, 300, 370)
    assert off(drawn, alone, face) < off(whole, alone, face) / 2
    steps = translator.follow([far] * 3, 1.0, framing="portrait")
    assert next(iter(steps))(read(far)).focus == pytest.approx((0.35, 0.5, 0.65, 0.9), abs=0.2)
    assert next(iter(translator.follow([far], 1.0, framing="whole")))(read(far)).focus is None


def group_of_alpha() -> Image.Image:
    return Image.new("RGBA", (40, 30), (10, 20, 30, 100))


def test_a_picture_that_cannot_be_read_is_an_error_in_its_place(
    translator: PhotographTranslator, group: Image.Image
) -> None:
    first, second = translator.stream([torch.zeros(3, 0, 4), group])
    assert isinstance(first, ImageError) and second.size == group.size


def test_without_dlib_a_line_says_so(
    translator: PhotographTranslator,
    group: Image.Image,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setitem(sys.modules, "dlib", None)
    with caplog.at_level(logging.WARNING, "zoo"):
        assert translator.translate(group).size == group.size
    assert translator.generator.saw == [(128, 256)]
    assert "zoo-core[faces]" in caplog.text


def test_where_portraits_overlap_the_nearest_counts() -> None:
    around, matrix = torch.zeros(3, 100, 200), torch.eye(2, 3).double()
    moved = matrix.clone()
    moved[0, 2] = 60
    crops = [faces.Crop(torch.zeros(3, 100, 100), torch.zeros(68, 2), one) for one in (matrix, moved)]
    drawn = apart.joined(around, crops, [torch.full((3, 100, 100), level) for level in (-1.0, 1.0)], FRAME)
    row = drawn[0, 56]
    assert row[50] < -0.95 and row[110] > 0.95 and row[199] == 0
    assert (row[50:110].diff() >= -1e-6).all()
