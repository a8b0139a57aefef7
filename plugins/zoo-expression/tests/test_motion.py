"""Expressions by motion: where landmarks go, what stays, each side by itself, tables of motion and the loss, videos."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from moving import mover_in, sample_head
from PIL import Image
from shared import SAMPLE
from torch import Tensor

from zoo import faces
from zoo.errors import ConfigError, ControlError, ImageError, UsageError
from zoo.pictures.image import read, to_pil
from zoo_expression.losses import MotionLoss
from zoo_expression.motion import TABLE, Motion, distance, read_motion
from zoo_expression.motion_table import motion_table
from zoo_expression.table import COLUMNS, Labels, read_table, write_table
from zoo_expression.translator import ExpressionTranslator, Found
from zoo_expression.units import MOST, NAMES, ROW, pattern

REST = dict.fromkeys(NAMES, 0.0)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def mover(tmp_path_factory: pytest.TempPathFactory) -> ExpressionTranslator:
    return mover_in(tmp_path_factory.mktemp("models"), "ganimation-convnext-small")


@pytest.fixture(scope="module")
def head() -> Image.Image:
    return sample_head()


@pytest.fixture(scope="module")
def masked(head: Image.Image, face: faces.Face) -> Image.Image:
    """The head cut out as a crop, something colourful before its mouth."""
    crop = faces.crop(read(head).rgb, face, 256).image
    crop[:, 150:, 40:216] = torch.rand(3, 106, 176, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return to_pil(crop)


@pytest.fixture(scope="module")
def face(head: Image.Image) -> faces.Face:
    return faces.find(read(head).rgb)[0]


def points(face: faces.Face, picture: Any) -> Tensor:
    """Landmarks (68,2) of an edit, looked for where the face was before, in distances of the eyes."""
    crop = faces.crop(read(picture).rgb, face, 256)
    return faces.landmarks(crop.image) / distance(crop.landmarks).float()


def change(before: Any, after: Any) -> np.ndarray:
    return np.abs(np.asarray(after).astype(int) - np.asarray(before).astype(int)).max(2)


# -- what moves -----------------------------------------------------------------------------------------------------------


def test_what_a_face_has_leaves_it_as_it_is(mover: ExpressionTranslator, head: Image.Image) -> None:
    assert not change(head, mover.translate(head)).any()
    assert not change(head, mover.translate(head, natural=0, AU12=0, AU25_left=0)).any()


def test_landmarks_go_where_units_say(mover: ExpressionTranslator, head: Image.Image, face: faces.Face) -> None:
    before = points(face, head)

    def moved(**units: float) -> Tensor:
        return points(face, mover.translate(head, **units)) - before

    assert moved(AU2=2)[[18, 25], 1].mean() < -0.03  # brows go up
    assert moved(AU4=2)[[20, 23], 1].mean() > 0.015
    corners = moved(AU12=2)[[48, 54]]
    assert corners[:, 1].max() < -0.05 and corners[0, 0] < -0.02 < 0.02 < corners[1, 0]  # up and apart
    assert moved(AU15=2)[[48, 54], 1].min() > 0.01
    drop = moved(AU26=2)
    assert drop[57, 1] > 0.04 and drop[54, 0] - drop[48, 0] < -0.05  # a jaw that drops makes a mouth narrower


def test_a_blink_closes_the_eyes(mover: ExpressionTranslator, head: Image.Image, face: faces.Face) -> None:
    def opening(picture: Any) -> Tensor:
        at = points(face, picture)
        return (at[[41, 40, 47, 46], 1] - at[[37, 38, 43, 44], 1]).view(2, 2).mean(1)

    before = opening(head)
    assert (opening(mover.translate(head, AU45=2)) < 0.8 * before).all()  # dlib sees little of it
    winked = opening(mover.translate(head, AU45_left=2))  # her left eye is on the right
    right, left = (winked / before).tolist()
    assert left < right - 0.05


def test_a_mouth_opens_and_shuts(mover: ExpressionTranslator, head: Image.Image, face: faces.Face) -> None:
    with torch.inference_mode():
        crop = faces.crop(read(head).rgb, face, 256)  # she laughs
        shut = Motion()(crop.image, crop.landmarks, torch.full((2, 17), 1.0), torch.zeros(2, 17))
        wide = Motion()(crop.image, crop.landmarks, torch.zeros(2, 17), 2 * torch.eye(17)[14].expand(2, -1))
    teeth = (
        slice(None),
        *(
            slice(int(a), int(b))
            for a, b in zip(crop.landmarks[61:65].amin(0).flip(0) + 4, crop.landmarks[[63, 65, 66]].amax(0).flip(0) - 2)
        ),
    )
    assert shut["image"][teeth].mean() < crop.image[teeth].mean() and shut["paint"].abs().mean() < 0.02  # a line
    assert wide["paint"].any() and wide["image"].isfinite().all()
    outside = crop.landmarks[48:].amin(0)[1] - 10
    assert not wide["paint"][:, : int(outside)].any()  # only a mouth is painted


def test_one_side_by_itself(mover: ExpressionTranslator, head: Image.Image, face: faces.Face) -> None:
    middle = int(face.landmarks[27:31, 0].mean())
    by_side = {side: change(head, mover.translate(head, **{f"AU2_{side}": 2})) for side in ("left", "right")}
    far = 25
    assert by_side["left"][:, middle:].sum() > 20 * by_side["left"][:, : middle - far].sum()
    assert by_side["right"][:, :middle].sum() > 20 * by_side["right"][:, middle + far :].sum()
    both = mover.translate(head, AU2_left=2, AU2_right=2)
    assert not change(both, mover.translate(head, AU2=2)).any()
    assert not change(both, mover.translate(head, AU2=0.5, AU2_left=2, AU2_right=2)).any()


def test_what_is_hidden_stays(
    mover: ExpressionTranslator, masked: Image.Image, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "zoo"):
        smiling = mover.translate(masked, face=0, **{**REST, "AU12": 2.0, "AU26": 2.0})
    assert caplog.messages == ["the face: mouth cannot be seen well, hidden or turned away, and stays as it is"]
    assert np.array_equal(smiling, masked)
    assert change(masked, mover.translate(masked, face=0, **{**REST, "AU2": 2.0}))[:110].max() > 20


def test_lips_that_shut_show_no_teeth(head: Image.Image, face: faces.Face) -> None:
    """Also where landmarks miss the lips' edges, and in a picture that is finer than the crop."""
    large = read(head.resize((520, 520), Image.Resampling.BICUBIC)).rgb
    crop = faces.crop(large, faces.Face(face.box, 2 * face.landmarks), 256)
    missed = crop.landmarks + torch.zeros(68, 2).index_fill_(0, torch.tensor([65, 66, 67]), 1.0) * torch.tensor(
        [0.0, -4.0]
    )
    with torch.inference_mode():
        made = Motion()(crop.image, missed, torch.full((2, 17), 1.0), torch.zeros(2, 17))
        shut = Found(crop.image, crop).paste(large.clone(), made)
    was, now = (teeth(picture, 2 * face.landmarks) for picture in (large, shut))
    assert was > 0.3 and now < 0.01


def teeth(picture: Tensor, landmarks: Tensor) -> Tensor:
    """Share of what is between a picture's inner lips that is light and not red."""
    left, top = landmarks[[61, 62, 63]].amin(0).int().tolist()
    right, bottom = landmarks[[65, 66, 67]].amax(0).int().tolist()
    mouth = picture[:, top:bottom, left:right]
    return ((mouth.amin(0) > 0.4) & (mouth[0] - mouth[1] < 0.25)).float().mean()


def test_who_laughs_is_surprised_without_a_rest_of_teeth_on_the_lips(head: Image.Image, face: faces.Face) -> None:
    """In fear lips are drawn apart, and teeth stay."""
    picture = read(head).rgb
    crop = faces.crop(picture, face, 128)
    laughs = torch.zeros(2, 17).index_fill_(1, torch.tensor([ROW[6], ROW[12], ROW[25]]), 2.0)
    shown, motion = {}, Motion()
    with torch.inference_mode():
        for expression in ("surprise", "fear"):
            asked = torch.tensor([pattern(expression)] * 2)
            made = motion(crop.image, crop.landmarks, laughs, asked)
            there = crop.landmarks + motion.shifts(crop.landmarks.double(), laughs.double(), asked.double())
            shown[expression] = teeth(made["image"], there)
    assert shown["surprise"] < 0.02 and shown["fear"] > 0.2, shown


def test_a_picture_that_somebody_has_stays(mover: ExpressionTranslator, head: Image.Image) -> None:
    picture = read(head)
    before = picture.rgb.clone()
    assert change(head, mover.translate(picture, AU12=2.0)).any()
    assert torch.equal(picture.rgb, before)


def test_a_crop_and_a_morph_move_too(mover: ExpressionTranslator, head: Image.Image, face: faces.Face) -> None:
    crop = to_pil(faces.crop(read(head).rgb, face, 96).image)
    assert change(crop, mover.translate(crop, face=0, AU12=2)).any()
    frames = mover.morph(head, steps=3, AU12=2).frames
    assert not change(head, frames[0]).any() and not change(frames[-1], mover.translate(head, AU12=2)).any()


@pytest.mark.parametrize(
    ("controls", "told"),
    [({"happiness": 1.3}, "happiness 1.3"), ({"AU12": 2.5}, "AU12 2.5"), ({"AU2_right": 2.1}, "AU2_right 2.1")],
)
def test_what_is_too_strong_is_said(
    mover: ExpressionTranslator, head: Image.Image, controls: dict[str, float], told: str,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    with caplog.at_level(logging.WARNING, "zoo"):
        assert change(head, mover.translate(head, **controls)).any()
    assert [record.getMessage() for record in caplog.records] == [
        f"{told} is stronger than faces were tried with: the face may break"
    ]
    with pytest.raises(ControlError, match="is not a number from 0 to 1"):
        mover.translate(head, happiness=1.6)


# -- tables of motion ---------------------------------------------------------------------------------------------------


def labelled(folder: Path, people: int = 30, column: bool = True) -> Tensor:
    """A table of faces that move as the one that comes along says, people unlike each other; their mean face."""
    dice = torch.Generator().manual_seed(0)
    with Image.open(SAMPLE) as whole:
        mean = faces.find(read(whole).rgb)[0].upright.float()
    table, rows = read_motion(), []
    still = [0, 16, 27, 28, 29, 30, 36, 39, 42, 45]
    table[:, still] = 0
    for person in range(people):
        shape = mean + torch.randn(68, 2, generator=dice)
        for picture in range(6):
            units = torch.rand(17, generator=dice) * 2
            at = shape + distance(mean) * torch.einsum("u,upc->pc", units, table)
            at = at + torch.randn(68, 2, generator=dice) * torch.tensor([0.02])
            rows.append((f"{person}-{picture}.png", person, *units.tolist(), *at.T.flatten().tolist()))
    folder.mkdir()
    heads = ["file", "person" if column else "note", *COLUMNS, *(f"{axis}{i}" for axis in "xy" for i in range(68))]
    write_table(folder / "aus.csv", heads, rows)
    return table


def test_a_table_is_learned_from_labelled_faces(tmp_path: Path) -> None:
    truth = labelled(tmp_path / "faces")
    facts = motion_table(tmp_path / "faces", tmp_path / "motion.csv")
    learned = read_motion(tmp_path / "motion.csv")
    moved = [*range(17, 27), *range(48, 68)]
    error = (learned - truth)[:, moved].norm() / truth[:, moved].norm()
    assert error < 0.15 and facts["faces"] == 180 and facts["explained"] > 0.9
    with pytest.raises(UsageError, match="there already"):
        motion_table(tmp_path / "faces", tmp_path / "motion.csv")


def test_people_who_are_seen_once_teach_nothing(tmp_path: Path) -> None:
    labelled(tmp_path / "faces", people=3)
    with pytest.raises(UsageError, match=r"18 faces of people that are seen twice or more: too few"):
        motion_table(tmp_path / "faces", tmp_path / "motion.csv")


@pytest.mark.parametrize("content", ["", "unit,point,dx,dy\nAU1,0,0.1,0.2\n", "unit,point,dx,dy\nAU3,0,0.1,0.2\n"])
def test_what_is_no_table(tmp_path: Path, content: str) -> None:
    (tmp_path / "motion.csv").write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"motion\.csv.*"):
        read_motion(tmp_path / "motion.csv")
    assert read_motion(TABLE).shape == (17, 68, 2)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    looks: list[Callable[[Path], object]] = [read_motion, lambda path: [*read_table(path)], Labels]
    for look in looks:
        with pytest.raises(ConfigError, match=r"pipe\.csv.*it is not a file"):
            look(tmp_path / "pipe.csv")
    with pytest.raises(ConfigError, match=r"pipe\.csv.*it is not a file"):
        Labels(tmp_path)


# -- the loss -------------------------------------------------------------------------------------------------------------


def test_a_flow_is_taught_by_landmarks(face: faces.Face, head: Image.Image) -> None:
    crop = faces.crop(read(head).rgb, face, 64)
    own, units = torch.zeros(1, 17), torch.eye(17)[8:9] * 2 / MOST
    step = {"landmarks": crop.landmarks[None] / 64, "own": own, "units": units}
    loss = MotionLoss()
    still = torch.zeros(1, 2, 64, 64, requires_grad=True)
    assert loss({**step, "flow": still, "units": own}) == 0
    wrong = loss({**step, "flow": still})
    wrong.backward()
    assert wrong > 0 and still.grad is not None and still.grad.abs().sum() > 0
    right = Motion()(crop.image, crop.landmarks, MOST * own.expand(2, -1), MOST * units.expand(2, -1))["flow"]
    assert loss({**step, "flow": right[None]}) < 0.2 * wrong
    unknown = torch.full((1, 68, 2), torch.nan)
    assert loss({**step, "flow": still, "landmarks": unknown}) == 0


# -- videos ---------------------------------------------------------------------------------------------------------------


def film(path: Path, pictures: list[Image.Image]) -> Path:
    video = pytest.importorskip("zoo.pictures.video")
    video.write([np.asarray(picture) for picture in pictures], path, 10)
    return path


def frames(path: Path) -> list[np.ndarray]:
    from zoo.pictures import video

    return [image for _, image in video.probe(path).frames("")]


def test_a_video_is_edited_alike(mover: ExpressionTranslator, head: Image.Image, tmp_path: Path) -> None:
    pytest.importorskip("av")
    source = film(tmp_path / "talk.mp4", [head.rotate(angle) for angle in range(4)])
    mover.translate_video(source, tmp_path / "up.mp4", AU2=2)
    before, after = frames(source), frames(tmp_path / "up.mp4")
    assert len(after) == 4 and all(change(a, b).max() > 60 for a, b in zip(before, after))
    mover.translate_video(source, tmp_path / "driven.mp4", like=str(source))
    away = max(change(a, b).mean() for a, b in zip(before, frames(tmp_path / "driven.mp4")))
    assert away < 2.5, away  # what the codec loses
    empty = film(tmp_path / "empty.mp4", [Image.new("RGB", (64, 64), "grey")] * 2)
    with pytest.raises(ImageError, match="no face found in any frame"):
        mover.translate_video(empty, tmp_path / "none.mp4", AU2=2)
    with pytest.raises(ImageError, match="no face 3 in any frame"):
        mover.translate_video(source, tmp_path / "none.mp4", AU2=2, face=3)
    assert not (tmp_path / "none.mp4").exists()
