"""What sets a face apart from the average one is exaggerated before it is drawn."""

from __future__ import annotations

import logging
import math
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from shared import SAMPLE
from test_photograph import FRAMING, Same
from torch import Tensor

from zoo import faces
from zoo.errors import ControlError, UsageError
from zoo.faces.caricature import FRONT, MEAN, SIDEWAYS, exaggerated, peculiar
from zoo.faces.detect import MIRRORED, Face
from zoo.faces.geometry import rotation
from zoo.faces.photograph import PhotographTranslator
from zoo.pictures.image import Picture, read

EXAGGERATE = {"type": "number", "name": "exaggerate", "minimum": 0.0, "maximum": 2.0, "help": "how much"}
KEPT = {**FRAMING, "default": "whole"}


@pytest.fixture(scope="module")
def person() -> Picture:
    """A woman (3,260,260)."""
    with Image.open(SAMPLE) as sample:
        return read(sample.convert("RGB").crop((90, 0, 350, 260)))


@pytest.fixture(scope="module")
def face(person: Picture) -> Face:
    return faces.find(person.rgb)[0]


def translator(*controls: dict[str, object]) -> PhotographTranslator:
    return PhotographTranslator(Same().eval(), {"controls": [*controls], "working": 512}, device="cpu")


def average(yaw: float = 0, pitch: float = 0, roll: float = 0, eyes: float = 50) -> Tensor:
    """The landmarks (68, 2) of the average face, turned by these radians, ``eyes`` pixels apart."""
    x, y, z = MEAN.double()
    x, z = x * math.cos(yaw) + z * math.sin(yaw), z * math.cos(yaw) - x * math.sin(yaw)
    y = y * math.cos(pitch) + z * math.sin(pitch)
    return (torch.stack([x, y], 1) @ rotation(-roll) * eyes + 130).float()


def test_the_average_face_is_one() -> None:
    x, y, _ = MEAN
    mirror = list(MIRRORED)
    assert (x[mirror] + x).abs().max() < 0.003 and (MEAN[1:, mirror] - MEAN[1:]).abs().max() < 0.003
    middles = [torch.stack([x[one], y[one]]).mean(1) for one in (slice(36, 42), slice(42, 48))]
    assert abs(float((middles[0] - middles[1]).norm()) - 1) < 0.01
    assert MEAN[2].argmax() == 30  # the tip of the nose is nearest to the camera


@pytest.mark.parametrize("pose", [{}, {"yaw": 0.3}, {"pitch": 0.2}, {"roll": 0.5}, {"yaw": -0.2, "pitch": -0.1, "roll": -0.3}])  # fmt: skip
def test_nothing_sets_the_average_face_apart_however_it_is_turned(pose: dict[str, float]) -> None:
    assert peculiar(average(**pose)).abs().max() < 1.5  # of 100 pixels from brow to chin


def test_what_is_peculiar_is_found_in_any_tilt_and_size() -> None:
    points = average()
    points[27:36, 1] += torch.linspace(0, 10, 9)  # a nose that hangs
    apart = peculiar(points)
    assert apart[33, 1] > 3 and apart[33, 1] > apart[8, 1].abs()
    turn = rotation(-0.4).float()
    for scale in (1.0, 3.0):
        assert (peculiar((points @ turn) * scale + 40) - apart @ turn * scale).abs().max() < 0.05 * scale


def test_both_halves_change_alike_and_turned_faces_less() -> None:
    points = average()
    points[0:6, 0] -= 8  # a broad cheek, on one side
    apart = peculiar(points)
    mirrored = apart[list(MIRRORED)] * torch.tensor([-1.0, 1.0])
    assert (apart - mirrored).abs().max() < 0.05 and apart[2, 0] < -1 and apart[14, 0] > 1
    sizes = []
    for sine in (0.0, (FRONT + SIDEWAYS) / 2, SIDEWAYS + 0.1):
        turned = average(yaw=math.asin(sine))
        turned[6:11, 1] += 10  # a long chin
        sizes.append(float(peculiar(turned)[8, 1]))
    assert sizes[0] > sizes[1] > 0.2 * sizes[0] and abs(sizes[2]) < 0.01


def test_a_drawn_face_is_farther_from_the_average(person: Picture, face: Face) -> None:
    drawn = translator(KEPT, EXAGGERATE).translate(person, exaggerate=1)
    (after,) = faces.find(read(drawn).rgb)
    was, now = (peculiar(one.landmarks) / one.height for one in (face, after))
    assert 1.4 < float((was * now).sum() / (was * was).sum()) < 2.6
    assert (faces.find(person.rgb)[0].landmarks - after.landmarks).abs().max() < 0.15 * face.height


def test_none_is_the_picture_itself(person: Picture) -> None:
    kept = translator(KEPT, EXAGGERATE)
    assert torch.equal(read(kept.translate(person, exaggerate=0)).rgb, read(translator(KEPT).translate(person)).rgb)


def test_it_is_smooth_and_leaves_what_is_far_away(person: Picture, face: Face) -> None:
    wide = replace(person, rgb=torch.nn.functional.pad(person.rgb, (400, 400, 300, 300), mode="constant"))
    there = Face(face.box, face.landmarks + torch.tensor([400.0, 300.0]))
    made = exaggerated(wide, [there], 2.0)
    changed = (made.rgb != wide.rgb).any(0).nonzero().float()
    low, high = changed.amin(0), changed.amax(0)
    assert changed.numel() and ((high - low) < 3.5 * face.height).all()
    ramp = torch.linspace(-1, 1, 260).expand(3, 260, 260)
    moved = exaggerated(replace(person, rgb=ramp.clone()), [face], 2.0).rgb
    assert moved[:, 2:-2, 2:-2].diff(dim=2).min() > -1e-5  # nothing is folded over


def test_a_picture_that_a_face_fills_and_large_ones(person: Picture, face: Face) -> None:
    left, top = (int(x) for x in face.landmarks.amin(0))
    close = person.cut(lambda planes: planes[:, top : top + 120, left : left + 120])
    inside = Face(face.box, face.landmarks - torch.tensor([float(left), float(top)]))
    assert exaggerated(close, [inside], 1.0).rgb.shape == (3, 120, 120)
    once = torch.nn.functional.interpolate(person.rgb[None], (1600, 1600), mode="bilinear")[0]
    large = exaggerated(replace(person, rgb=once), [Face(face.box, face.landmarks * (1600 / 260))], 1.0)
    small = exaggerated(person, [face], 1.0)
    scaled = torch.nn.functional.interpolate(large.rgb[None], (260, 260), mode="area")[0]
    assert (scaled - small.rgb).abs().mean() < 0.02


def test_other_people_stay(person: Picture, face: Face) -> None:
    both = replace(person, rgb=torch.cat([person.rgb, person.rgb], 2))
    other = Face(face.box, face.landmarks + torch.tensor([260.0, 0.0]))
    alone = exaggerated(both, [face], 2.0)
    together = exaggerated(both, [face, other], 2.0)
    right = faces.find(together.rgb[:, :, 260:])[0]
    lone = faces.find(exaggerated(person, [face], 2.0).rgb)[0]
    assert (right.landmarks - lone.landmarks).abs().mean() < 0.03 * face.height
    assert not torch.equal(alone.rgb, together.rgb)


def test_what_is_transparent_moves_along(person: Picture, face: Face) -> None:
    alpha = (person.rgb.mean(0) > -0.5).float()
    made = exaggerated(replace(person, alpha=alpha), [face], 2.0)
    assert made.alpha is not None and made.alpha.min() >= 0 and made.alpha.max() <= 1
    assert not torch.equal(made.alpha, alpha)
    again = exaggerated(replace(person, rgb=(alpha * 2 - 1).expand(3, -1, -1)), [face], 2.0).rgb
    assert ((made.alpha * 2 - 1) - again[0]).abs().max() < 1e-3


def test_small_faces_of_a_group_as_well() -> None:
    with Image.open(SAMPLE) as sample:
        small = sample.convert("RGB").crop((60, 20, 360, 320)).resize((120, 120), Image.Resampling.LANCZOS)
    group = Image.new("RGB", (640, 320), "grey")
    for left in (60, 420):
        group.paste(small, (left, 100))
    plain, drawn = (
        PhotographTranslator(
            Same().eval(), {"controls": [FRAMING, EXAGGERATE], "working": 256}, device="cpu"
        ).translate(group, exaggerate=by)
        for by in (0, 1)
    )
    was, now = (sorted(faces.find(read(one).rgb), key=lambda face: face.box[0]) for one in (plain, drawn))
    assert len(was) == len(now) == 2
    for one, other in zip(was, now):
        before, after = (peculiar(face.landmarks) / face.height for face in (one, other))
        assert float((before * after).sum() / (before * before).sum()) > 1.2


def test_nobody_to_exaggerate(caplog: pytest.LogCaptureFixture) -> None:
    nobody = Image.new("RGB", (96, 96), "navy")
    with caplog.at_level(logging.WARNING):
        drawn = translator(KEPT, EXAGGERATE).translate(nobody, exaggerate=1)
    assert drawn.size == (96, 96) and "no face is found" in caplog.text


def test_without_dlib_it_is_refused(person: Picture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dlib", None)
    with pytest.raises(UsageError, match="needs dlib"):
        translator(KEPT, EXAGGERATE).translate(person, exaggerate=1)


def test_bad_numbers_and_videos_are_refused(person: Picture, tmp_path: Path) -> None:
    for bad in (-0.1, 2.1, math.nan, "much", None):
        with pytest.raises(ControlError, match="exaggerate"):
            translator(KEPT, EXAGGERATE).translate(person, exaggerate=bad)
    with pytest.raises(UsageError, match="videos are not exaggerated"):
        translator(KEPT, EXAGGERATE).translate_video(tmp_path / "a.mp4", tmp_path / "b.mp4", exaggerate=1)
