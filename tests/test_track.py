"""One face through a video: the same person, without shaking, over gaps and cuts."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from zoo import faces
from zoo.errors import ImageError
from zoo.faces import track
from zoo.pictures.image import read

SAMPLE = Path(__file__).parents[1] / "docs/sample/eileen-collins.jpg"
RATE = 20.0
Heads = Sequence[tuple[float, float, float]]
"""The faces of a frame: x and y of the middle, and the height, in pixels."""


def face(x: float, y: float, height: float) -> faces.Face:
    """Eyes, the tip of the nose and a jaw where they may be."""
    landmarks = torch.zeros(68, 2)
    landmarks[:, 0] = torch.linspace(-0.4, 0.4, 68)
    landmarks[:, 1] = torch.linspace(-0.5, 0.5, 68)
    landmarks[36:42], landmarks[42:48] = torch.tensor([-0.2, -0.2]), torch.tensor([0.2, -0.2])
    landmarks = landmarks * height + torch.tensor([x, y])
    return faces.Face((x - height / 2, y - height / 2, x + height / 2, y + height / 2), landmarks)


def middle(one: faces.Face) -> float:
    return float(one.landmarks[[36, 42], 0].mean())


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> list[Heads]:
    """Frames in words: the detector sees in the frame of number n what ``script[n]`` says, and no picture."""
    told: list[Heads] = []

    def seen(image: Tensor, known: Sequence[faces.Face]) -> list[faces.Face]:
        number = round(float(image[0, 0, 0] + 1) * 127.5)
        return [face(*head) for head in sorted(told[number], key=lambda head: -head[2])]

    monkeypatch.setattr(track, "_look", seen)
    return told


def frames(script: Sequence[Heads]) -> list[np.ndarray]:
    return [np.full((4, 4, 3), number, np.uint8) for number in range(len(script))]


def test_what_shakes_becomes_smooth_and_stays_where_it_is(script: list[Heads]) -> None:
    shaking = np.random.default_rng(0).normal(0, 3, 100)
    script += [[(100 + number + shake, 90, 50)] for number, shake in enumerate(shaking)]
    way = np.array([middle(one) for one in track.follow(frames(script), RATE)])
    assert len(way) == 100
    assert np.abs(np.diff(way, 2)).mean() < 0.05 * np.abs(np.diff(100 + np.arange(100) + shaking, 2)).mean()
    inner = slice(20, 80)
    assert np.abs(way - 100 - np.arange(100))[inner].max() < 4  # goes along, does not lag behind


def test_where_a_face_is_lost_for_a_while_it_moves_on(script: list[Heads]) -> None:
    script += [[] if 40 <= number < 54 else [(100 + 2.0 * number, 90, 50)] for number in range(100)]
    way = [middle(one) for one in track.follow(frames(script), RATE)]
    assert way[47] == pytest.approx(100 + 2 * 47, abs=1)


def test_the_same_person_is_followed_among_several(script: list[Heads]) -> None:
    for number in range(60):  # the one at the right leans forward for a moment, and is larger then
        script.append([(100, 90, 50), (300, 90, 60 if 20 <= number < 30 else 40)])
    assert {round(middle(one)) for one in track.follow(frames(script), RATE)} == {100}
    assert {round(middle(one)) for one in track.follow(frames(script), RATE, 2)} == {300}
    with pytest.raises(ImageError, match="there is no face 3 in any frame"):
        track.follow(frames(script), RATE, 3)


def test_a_cut_is_a_jump_and_not_a_pan(script: list[Heads]) -> None:
    script += [[(100, 90, 50)]] * 30 + [[(300, 90, 50)]] * 30
    way = [round(middle(one)) for one in track.follow(frames(script), RATE)]
    assert set(way) == {100, 300}
    assert way == sorted(way)
    assert 28 <= way.count(100) <= 32


def test_before_after_and_between_it_stays_where_it_was_or_will_be(script: list[Heads]) -> None:
    script += [[]] * 10 + [[(100, 90, 50)]] * 20 + [[]] * 60 + [[(300, 90, 50)]] * 10 + [[]] * 5
    way = [round(middle(one)) for one in track.follow(frames(script), RATE)]
    assert len(way) == 105
    assert way[0] == way[40] == 100
    assert way[80] == way[-1] == 300


def test_what_is_seen_once_is_no_face_unless_there_is_no_other(script: list[Heads]) -> None:
    script += [[(100, 90, 50)]] * 20 + [[]] * 40
    script[50] = [(300, 90, 200)]
    assert {round(middle(one)) for one in track.follow(frames(script), RATE)} == {100}
    script[:] = [[]] * 20 + [[(300, 90, 200)]] + [[]] * 5
    assert {round(middle(one)) for one in track.follow(frames(script), RATE)} == {300}
    script[:] = [[]] * 10
    with pytest.raises(ImageError, match="no face found in any frame"):
        track.follow(frames(script), RATE)


# -- with the detector -------------------------------------------------------------------------------------------------

needs_dlib = pytest.mark.skipif(importlib.util.find_spec("dlib") is None, reason="dlib is not installed")


def moving(count: int, side: int = 160) -> list[np.ndarray]:
    """A head that sways from left to right in a wider picture, with a little noise in every frame."""
    with Image.open(SAMPLE) as whole:
        photo = whole.convert("RGB")
    noise = np.random.default_rng(0)
    shown = []
    for number in range(count):
        left = 40 + 25 * math.sin(number / 5)
        head = photo.transform(
            (240, side), Image.Transform.AFFINE, (2, 0, left - 60, 0, 2, 20), Image.Resampling.BICUBIC
        )
        shown.append((np.asarray(head) + noise.normal(0, 4, (side, 240, 3))).clip(0, 255).astype(np.uint8))
    return shown


@needs_dlib
def test_a_moving_face_is_followed_without_the_shaking_of_single_detections() -> None:
    shown = moving(24)
    alone = [faces.find(read(frame).rgb)[0] for frame in shown]
    followed = track.follow(iter(shown), 10)
    heights = [np.array([one.height for one in way]) for way in (alone, followed)]
    middles = [np.array([float(one.landmarks[:, 1].mean()) for one in way]) for way in (alone, followed)]
    for single, smooth in (heights, middles):
        assert np.abs(np.diff(smooth, 2)).mean() < 0.3 * np.abs(np.diff(single, 2)).mean()
    sway = [np.array([float(one.landmarks[:, 0].mean()) for one in way]) for way in (alone, followed)]
    assert np.corrcoef(sway[0], sway[1])[0, 1] > 0.9


@needs_dlib
def test_a_known_face_is_looked_for_around_it_and_a_lost_one_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[tuple[int, ...]] = []
    find = faces.find

    def counting(image: Tensor, seen: int = faces.SEEN, **options: bool) -> list[faces.Face]:
        sizes.append(tuple(image.shape[1:]))
        return find(image, seen, **options)

    monkeypatch.setattr(faces, "find", counting)
    shown = moving(6)
    shown[3] = np.full_like(shown[3], 90)
    whole = shown[0].shape[:2]
    followed = track.follow(shown, 10)
    assert [size == whole for size in sizes] == [True, False, False, False, True, True, False]
    alone = find(read(shown[1]).rgb)[0]
    assert float((followed[1].landmarks - alone.landmarks).norm(dim=1).mean()) < 0.2 * alone.height
