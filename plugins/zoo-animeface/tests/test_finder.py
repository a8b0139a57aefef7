"""Drawings of any size: where the faces are, and the points of each."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import zoo
from zoo.errors import ControlError, ImageError
from zoo.pictures.image import read
from zoo_animeface.detect import LandmarkTranslator
from zoo_animeface.finder import FaceFinder, Square, find, seen
from zoo_animeface.points import NAMES

PAGE = Path(__file__).parents[3] / "docs/anime-faces.jpg"
"""Six photographs, and below each what is drawn of it; 256 pixels each."""


@pytest.fixture(scope="module")
def model() -> LandmarkTranslator:
    made = zoo.load("dan-anime", device="cpu")
    assert isinstance(made, LandmarkTranslator)
    return made


@pytest.fixture(scope="module")
def page() -> Image.Image:
    with Image.open(PAGE) as whole:
        return whole.convert("RGB")


def plain(width: int = 300, height: int = 200) -> Image.Image:
    """A sky."""
    at = torch.linspace(0, 1, height)[:, None, None].expand(height, width, 3) * torch.tensor([60, 40, 20])
    return Image.fromarray((torch.tensor([120, 160, 220]) + at).byte().numpy())


# -- where ----------------------------------------------------------------------------------------------------------------


def test_every_drawn_face_of_a_page_is_found(page: Image.Image) -> None:
    found = [one for one in find(read(page).rgb) if one.y > 256]
    assert sorted(int(one.x // 256) for one in found) == [*range(6)]
    assert all(100 < one.side < 300 and one.score >= 0.5 for one in found)


@pytest.mark.parametrize("scale", [0.4, 2.0])
def test_small_and_large_alike(page: Image.Image, scale: float) -> None:
    drawn = page.crop((0, 256, 768, 512))
    found = find(read(drawn.resize((round(768 * scale), round(256 * scale)))).rgb)
    assert sorted(int(one.x // (256 * scale)) for one in found) == [0, 1, 2]
    assert [one.side for one in found] == sorted((one.side for one in found), reverse=True)


@pytest.mark.parametrize("number", [0, 2, 3])
def test_a_face_that_is_cut_off_on_all_sides_fills_the_picture(page: Image.Image, number: int) -> None:
    left = 256 * number
    (found,) = find(read(page.crop((left + 70, 306, left + 186, 442))).rgb)  # from the middle of the hair to the chin
    assert 116 < found.side < 232 and abs(found.x - 58) < 15 and abs(found.y - 68) < 25


def test_nothing_is_found_where_nothing_is() -> None:
    assert find(read(plain()).rgb) == []


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (7, 3), (40, 1000)])
def test_pictures_of_any_form(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    finder = FaceFinder().eval()
    for one in seen(finder, torch.rand(3, *size) * 2 - 1, sure=0.0):
        assert torch.tensor([one.x, one.y, one.side, one.score]).isfinite().all()


def test_two_finds_of_one_face_are_one() -> None:
    here, shifted, apart = Square(50, 50, 40, 0.9), Square(60, 50, 40, 0.8), Square(95, 50, 40, 0.7)
    assert here.overlap(here) == 1 and here.overlap(apart) == 0
    assert here.overlap(shifted) == pytest.approx(1200 / 2000)


# -- the points of each ---------------------------------------------------------------------------------------------------


def test_an_eye_is_no_face_of_its_own() -> None:
    face = Square(100, 100, 120, 0.8)
    assert Square(80, 90, 20, 0.9).part_of(face) and not face.part_of(Square(80, 90, 20, 0.9))
    assert not Square(160, 90, 20, 0.9).part_of(face)  # beside it
    assert not Square(100, 100, 60, 0.9).part_of(face)  # a face in front of it


def test_all_faces_of_a_page_are_drawn_on(model: LandmarkTranslator, page: Image.Image) -> None:
    made = model.translate(page)
    changed = np.abs(np.asarray(made).astype(int) - np.asarray(page)).max(2) > 40
    assert made.size == page.size
    for i in range(6):
        inside = changed[256:, 256 * i : 256 * i + 256]
        rows, columns = inside.nonzero()
        assert 300 < inside.sum() < 8000 and 60 < columns.mean() < 196 and 80 < rows.mean() < 220
    alone = np.asarray(model.translate(page, face=3)).astype(int)
    assert 0 < (np.abs(alone - np.asarray(page)).max(2) > 40).sum() < changed.sum() / 3


def test_points_lie_in_their_faces(model: LandmarkTranslator, page: Image.Image) -> None:
    every = model.detect_all(page)
    noses = sorted(points["nose"] for points in every if points["nose"][1] > 256)
    assert [int(x // 256) for x, _ in noses] == [*range(6)] and all(tuple(points) == NAMES for points in every)
    assert model.detect(page) == every[0] and model.detect(page, face=2) == every[1]
    drawn = page.crop((0, 256, 256, 512))  # a face that fills the picture is not cut out of it
    assert model.detect(drawn) == model.detect(drawn, face=0)


def test_one_at_the_border_is_drawn_where_it_is(model: LandmarkTranslator, page: Image.Image) -> None:
    cut = page.crop((60, 256, 512, 512))
    (left,) = (points for points in model.detect_all(cut) if points["nose"][0] < 180)
    (whole,) = (points for points in model.detect_all(page.crop((0, 256, 512, 512))) if points["nose"][0] < 240)
    assert left["nose"][0] + 60 == pytest.approx(whole["nose"][0], abs=16)
    assert left["nose"][1] == pytest.approx(whole["nose"][1], abs=16)


def test_a_picture_without_a_face_is_taken_for_one(model: LandmarkTranslator, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "zoo"):
        assert model.detect_all(plain()) == [model.detect(plain(), face=0)]
        assert model.translate(plain()).size == (300, 200)
    assert "no drawn face found" in caplog.text
    caplog.clear()
    model.translate(plain(), face=0)
    assert not caplog.text


def test_a_face_that_is_not_there(model: LandmarkTranslator, page: Image.Image) -> None:
    with pytest.raises(ImageError, match="there is no face 40"):
        model.detect(page, face=40)
    with pytest.raises(ImageError, match="there is no face 40"):
        model.translate(page, face=40)
    with pytest.raises(ControlError, match="not a whole number"):
        model.detect(page, face=-1)
