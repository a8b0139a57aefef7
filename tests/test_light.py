"""Who has dark skin, or stands in the dark, is drawn as if there were more light."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from shared import SAMPLE
from test_backdrop import BACKDROP
from test_photograph import FRAMING, Same
from torch import Tensor

from zoo import faces
from zoo.faces.light import LEAST, SKIN, evened, lit, power
from zoo.faces.photograph import PhotographTranslator
from zoo.pictures.image import read, to_pil

LIGHT = {"type": "choice", "name": "light", "choices": ["even", "keep"], "default": "even", "help": "which"}
KEPT = {**FRAMING, "default": "whole"}


@pytest.fixture(scope="module")
def person() -> Tensor:
    """A woman (3,260,260) whose skin is light."""
    with Image.open(SAMPLE) as sample:
        return read(sample.convert("RGB").crop((90, 0, 350, 260))).rgb


def darker(image: Tensor, by: float) -> Tensor:
    return ((image + 1) / 2) ** by * 2 - 1


def skin(image: Tensor, landmarks: Tensor) -> float:
    """How light it is on the cheeks beside the nose, 0 to 1."""
    x, y = landmarks[[36, 45], 0], landmarks[[28, 33], 1]
    seen = image[:, int(y[0]) : int(y[1]), int(x[0]) : int(x[1])]
    return float((seen.mean(0).median() + 1) / 2)


def translator(*controls: dict[str, object]) -> PhotographTranslator:
    return PhotographTranslator(Same().eval(), {"controls": [KEPT, *controls], "working": 512}, device="cpu")


@pytest.mark.parametrize("by", [2.2, 3.0])
def test_a_dark_face_is_drawn_in_more_light_and_a_light_one_as_it_is(person: Tensor, by: float) -> None:
    (face,) = faces.find(person)
    dark = darker(person, by)
    even, kept = translator(LIGHT), translator({**LIGHT, "default": "keep"})
    drawn = read(even.translate(to_pil(dark))).rgb
    assert skin(dark, face.landmarks) < SKIN - 0.1
    assert abs(skin(drawn, face.landmarks) - SKIN) < 0.05
    assert (read(kept.translate(to_pil(dark))).rgb - dark).abs().max() < 0.01
    assert (read(even.translate(to_pil(dark), light="keep")).rgb - dark).abs().max() < 0.01
    bright = lit(person, 0.8)
    assert power(bright, face.landmarks) == 1 and torch.equal(evened(bright, [face]), bright)


def test_what_is_nearly_black_is_not_made_of_noise(person: Tensor) -> None:
    (face,) = faces.find(person)
    assert power(torch.full_like(person, -1), face.landmarks) == LEAST
    for away in (1000, -1000):  # its skin is outside
        assert power(torch.full_like(person, -1), face.landmarks + away) == 1


def test_two_people_each_get_their_own_light(person: Tensor) -> None:
    (face,) = faces.find(person)
    both = torch.cat([darker(person, 1.2), darker(person, 3.0)], 2)
    found = [face, faces.Face(face.box, face.landmarks + torch.tensor([260.0, 0.0]))]
    made = evened(both, found)
    for one in found:
        assert abs(skin(made, one.landmarks) - SKIN) < 0.06
    assert (made.diff(dim=2).abs().mean((0, 1))[255:265] < both.diff(dim=2).abs().mean((0, 1))[255:265] + 0.1).all()


def test_small_faces_that_are_drawn_by_themselves_get_their_own(person: Tensor) -> None:
    small = to_pil(person).resize((120, 120), Image.Resampling.LANCZOS)
    group = Image.new("RGB", (640, 320), "grey")
    group.paste(small, (60, 100))
    group.paste(to_pil(darker(read(small).rgb, 2.5)), (420, 100))
    closer = PhotographTranslator(
        Same().eval(), {"controls": [FRAMING, LIGHT], "working": 256}, device="cpu"
    ).translate(group)
    (left, right) = sorted(faces.find(read(group).rgb), key=lambda face: face.box[0])
    drawn = read(closer).rgb
    assert abs(skin(drawn, right.landmarks) - SKIN) < 0.07
    assert abs(skin(drawn, left.landmarks) - max(SKIN, skin(read(group).rgb, left.landmarks))) < 0.07


def test_with_white_behind_them(person: Tensor) -> None:
    (face,) = faces.find(person)
    drawn = read(translator(LIGHT, {**BACKDROP, "default": "white"}).translate(to_pil(darker(person, 2.0)))).rgb
    assert drawn[:, :20, :20].min() > 0.95 and abs(skin(drawn, face.landmarks) - SKIN) < 0.05


def test_all_frames_of_a_film_get_the_same(person: Tensor) -> None:
    frames = [to_pil(darker(person, by)) for by in (2.0, 2.2, 2.4, 2.6)]
    steps = iter(translator(LIGHT).follow(frames, 1.0, light="even"))
    made = [next(steps)(read(frame)).rgb for frame in frames]
    powers = {round(float(torch.log((m[0, 130, 130] + 1) / 2) / torch.log((read(f).rgb[0, 130, 130] + 1) / 2)), 2) for m, f in zip(made, frames)}  # fmt: skip
    assert len(powers) == 1 and 0.3 < powers.pop() < 0.9
    nobody = Image.new("RGB", (64, 64), "navy")
    assert torch.equal(
        next(iter(translator(LIGHT).follow([nobody], 25.0, light="even")))(read(nobody)).rgb, read(nobody).rgb
    )
    kept = next(iter(translator(LIGHT).follow(frames, 1.0, light="keep")))
    assert torch.equal(kept(read(frames[0])).rgb, read(frames[0]).rgb)


def test_without_dlib_a_line_says_that_light_stays(
    person: Tensor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "dlib", None)
    dark = to_pil(darker(person, 2.0))
    with caplog.at_level(logging.WARNING):
        assert (read(translator(LIGHT).translate(dark)).rgb - read(dark).rgb).abs().max() < 0.01
        assert "the light on them: " in caplog.text and "zoo-core[faces]" in caplog.text
        step = next(iter(translator(LIGHT).follow([dark], 1.0, light="even")))
        assert torch.equal(step(read(dark)).rgb, read(dark).rgb)
    assert "light stays: " in caplog.text
