"""Fusions of photographs: alignment, what is fused and what is refused, strips, latents, the command line.

The networks are tiny and untrained: what they make depends on both faces and on what is asked for.
"""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from shared import SAMPLE, Cli, head
from torch import Tensor

from zoo import faces
from zoo.errors import ControlError, ImageError, UsageError, ZooError
from zoo.faces.portrait import around
from zoo.generator import build_generator
from zoo.loading import load
from zoo.pictures import image as pictures
from zoo.pictures.image import read
from zoo.recipe import load_recipe
from zoo.weights.file import save_weights
from zoo_facefusion.align import FITTED, align, average, shape_free, shaped, square, yaw
from zoo_facefusion.detail import People, Portrait, carried
from zoo_facefusion.measure import alone, followed
from zoo_facefusion.parts import PARTS
from zoo_facefusion.regions import own_maps, region_maps
from zoo_facefusion.translator import FusionTranslator


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny network, whose elements are parts of the face."""
    return weights(tmp_path_factory.mktemp("models") / "tiny.safetensors", "facefusion-small")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> FusionTranslator:
    """The paper's, whose elements have no names."""
    made = load(str(weights(tmp_path_factory.mktemp("models") / "plain.safetensors", "facefusion")), device="cpu")
    assert isinstance(made, FusionTranslator)
    return made


def weights(path: Path, recipe: str) -> Path:
    """A weights file of a tiny network with statistics as after some training."""
    network = load_recipe(recipe, tiny=True).network()
    torch.manual_seed(1)
    generator = build_generator(network)
    for module in generator.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_var.uniform_(0.05, 0.2)  # type: ignore[union-attr]
    save_weights(path, generator.state_dict(), network)
    return path


@pytest.fixture(scope="module")
def translator(model: Path) -> FusionTranslator:
    made = load(str(model), device="cpu")
    assert isinstance(made, FusionTranslator)
    return made


def portrait(seed: int) -> Image.Image:
    """What is taken for an aligned portrait: smooth colours."""
    coarse = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8))
    return coarse.resize((64, 64), Image.Resampling.BICUBIC)


def array(picture: Any) -> np.ndarray:
    return np.asarray(picture).astype(int)


def looking(side: float, angle: float = 0.0, size: float = 100, at: tuple[float, float] = (120, 120)) -> faces.Face:
    """A face of average shape that looks to the side: the nose's tip is moved by so many half widths."""
    points = average() - average().mean(0)
    points[30, 0] += side * float(points[16, 0] - points[0, 0]) / 2
    turn = torch.tensor([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    points = points @ turn * size / float(points[:, 1].max() - points[:, 1].min()) + torch.tensor(at)
    return faces.Face((0, 0, 1, 1), points.float())


# -- alignment ----------------------------------------------------------------------------------------------------------


def test_a_similarity_of_the_average_face_is_undone() -> None:
    rows, columns = torch.meshgrid(torch.arange(300.0), torch.arange(300.0), indexing="ij")
    image = torch.stack([columns, rows, rows]) / 150 - 1
    face = looking(0.0, angle=0.4, size=80, at=(150, 140))
    crop = align(image, face, 96)
    assert torch.allclose(crop.landmarks[FITTED], (96 * average()).float()[FITTED], atol=0.05)
    points = torch.cat([crop.landmarks.double(), torch.ones(68, 1)], 1) @ crop.matrix.T
    assert torch.allclose(points.float(), face.landmarks, atol=0.05)
    x, y = crop.landmarks[33].round().int().tolist()  # the picture's colours say where a pixel was
    shown = (crop.image[:2, y, x] + 1) * 150
    assert torch.allclose(shown, face.landmarks[33], atol=1.5)


def test_hair_and_chin_are_inside() -> None:
    low, high = average().amin(0), average().amax(0)
    assert low[0] > 0.2 and high[0] < 0.8 and high[1] < 0.9 and low[1] > 0.3
    crop = align(read(SAMPLE).rgb, faces.find(read(SAMPLE).rgb)[0], 128)
    again = faces.find(crop.image)
    assert again and (again[0].landmarks / 128 - average())[FITTED].norm(dim=1).mean() < 0.03


@pytest.mark.parametrize("side", [-0.4, 0.3])
def test_shape_free_and_back_again(side: float) -> None:
    rows, columns = torch.meshgrid(torch.linspace(-1, 1, 200), torch.linspace(-1, 1, 200), indexing="ij")
    crop = square(torch.stack([columns, rows, columns * rows]), looking(side, angle=0.2), 128)
    even = shape_free(crop.image, crop.landmarks)
    nose, (x, y) = (128 * average()[30]).long(), crop.landmarks[30].long()
    assert torch.allclose(even[:, nose[1], nose[0]], crop.image[:, y, x], atol=0.04)
    assert (even - crop.image).abs().max() > 0.04  # it was elsewhere
    assert (shaped(even, crop.landmarks) - crop.image).abs().mean() < 0.004
    assert torch.allclose(even[:, 0], crop.image[:, 0], atol=0.02)  # the border stays


@pytest.mark.parametrize("side", [-0.6, 0.0, 0.4])
def test_where_a_face_looks(side: float) -> None:
    assert yaw(looking(side, angle=0.3)) == pytest.approx(side, abs=0.02)


# -- what is fused ------------------------------------------------------------------------------------------------------


def test_a_portrait_of_both(translator: FusionTranslator) -> None:
    a, b = head(200), head(300).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    made = translator.translate(a, other=b, framing="face")
    assert made.mode == "RGB" and made.width == made.height and 64 <= made.width <= 200
    ends = [translator.translate(a, other=b, mix=share, framing="face") for share in (1.0, 0.0)]
    swapped = [translator.translate(b, other=a, mix=share, framing="face").resize(made.size) for share in (0.0, 1.0)]
    for end, other in zip(ends, swapped):
        assert np.abs(array(end) - array(other)).mean() < 2  # it does not matter which of the two is named first
    assert np.abs(array(ends[0]) - array(ends[1])).mean() > 1
    with_alpha = a.convert("RGBA")
    assert translator.translate(with_alpha, other=b, framing="face").size == made.size


def test_mix_is_a_number_or_one_for_each_element(translator: FusionTranslator) -> None:
    a, b = portrait(1), portrait(2)

    def fuse(mix: Any) -> np.ndarray:
        return array(translator.translate(a, other=b, face=0, mix=mix))

    assert np.array_equal(fuse(0.25), fuse([0, *[0.25] * 4]))  # hair is one person's, unless each element has a number
    assert np.array_equal(fuse(0.5), fuse([1, *[0.5] * 4])) and np.array_equal(fuse(1), fuse([1.0]))
    single = [fuse([float(i == one) for i in range(5)]) for one in range(5)]
    assert all(not np.array_equal(one, fuse(0)) for one in single)
    assert np.array_equal(array(translator.translate(a, other=b, face=0)), fuse(0.5))
    for wrong in ([0.5, 0.5], [1, 0, 0, 0, 2], "half", [True] * 5, True):
        with pytest.raises(ControlError, match="mix"):
            fuse(wrong)


def test_more_than_two_people(translator: FusionTranslator) -> None:
    a, b, c = (portrait(seed) for seed in (1, 2, 3))

    def fuse(other: Any, **controls: Any) -> np.ndarray:
        return array(translator.translate(a, other=other, face=0, mix=0.2, **controls))

    assert np.array_equal(fuse([b, c], portions=[1, 0]), fuse(b)) and np.array_equal(
        fuse([b, c], portions=[0, 1]), fuse(c)
    )
    assert np.array_equal(fuse([b, c]), fuse([b, c], portions=[0.5, 0.5]))
    assert not np.array_equal(fuse([b, c]), fuse(b))
    for portions in ([1.0], [0, 0], [1, 1, 1]):
        with pytest.raises(ControlError, match="portions"):
            fuse([b, c], portions=portions)


def test_a_photograph_keeps_its_hair_and_says_so(
    translator: FusionTranslator, caplog: pytest.LogCaptureFixture
) -> None:
    a, b = head(200), head(300)
    own = array(translator.translate(a, other=b, mix=0.5, hair=1.0))
    assert not caplog.records
    for asked in ({"mix": 0.5, "hair": 0.0}, {"mix": [0.0, 0.5, 0.5, 0.5, 0.5]}):
        assert np.array_equal(array(translator.translate(a, other=b, **asked)), own)
        assert "framing face" in caplog.text
        caplog.clear()
        translator.translate(a, other=b, framing="face", **asked)
        assert not caplog.records


def test_regions(translator: FusionTranslator, plain: FusionTranslator) -> None:
    a, b = portrait(1), portrait(2)

    def fuse(of: FusionTranslator = plain, **controls: Any) -> np.ndarray:
        return array(of.translate(a, other=b, face=0, **{"mix": 1, **controls}))

    assert np.array_equal(fuse(region={"eyes": 0.0}), fuse(eyes=0.0))
    assert np.array_equal(fuse(translator, nose=0.25), fuse(translator, mix=[1, 1, 1, 0.25, 1]))  # an element
    change = np.abs(fuse(eyes=0.0) - fuse()).mean((1, 2))  # by row of 64
    assert change[28:36].mean() > 5 * change[50:].mean() and change.max() > 0
    everywhere = fuse(region=dict.fromkeys(("eyes", "nose", "mouth", "hair", "skin"), 0.0))
    assert np.abs(everywhere - fuse(mix=0)).max() <= 1
    for region, told in (({"ears": 1}, "no region is called 'ears'"), (0.5, "not a mapping")):
        with pytest.raises(ControlError, match=told):
            fuse(region=region)
    with pytest.raises(ControlError, match="eyes is given twice"):
        fuse(region={"eyes": 0.0}, eyes=1.0)


def test_texture_and_detail_go_with_the_shape(tmp_path: Path) -> None:
    """The other's shape in one's own colours: fine detail is the other's."""
    made = load(str(weights(tmp_path / "s3.safetensors", "facefusion-s3-small")), device="cpu")
    assert isinstance(made, FusionTranslator)
    a, b = head(200), head(300).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    options = {"other": b, "framing": "face"}
    bare, drawn = (array(made.translate(a, mix=[0, 1], detail=detail, **options)) for detail in (0, 1))
    alone, whole = (array(made.translate(a, mix=[0, 0], detail=detail, **options)) for detail in (0, 1))
    first = array(made.translate(a, mix=[1, 1], **options)) - array(made.translate(a, mix=[1, 1], detail=0, **options))
    added, others = drawn - bare, whole - alone
    near = np.corrcoef(added.flatten(), others.flatten())[0, 1]
    assert near > 0.3 and near > np.corrcoef(added.flatten(), first.flatten())[0, 1] + 0.2


# -- detail, and whole photographs ---------------------------------------------------------------------------------------


def test_regions_are_where_both_people_have_them(plain: FusionTranslator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mouth that is seen, not an average face's, changes, and what is around it does not."""
    side, places = 128, {"eyes": (50, 30), "brows": (44, 30), "nose": (72, 12), "mouth": (86, 20)}

    def drawn(down: int) -> Tensor:
        planes = dict.fromkeys(PARTS, torch.zeros(side, side)) | {"skin": torch.ones(side, side)}
        for name, (y, half) in places.items():
            planes[name] = torch.zeros(side, side)
            planes[name][y - 4 + down : y + 4 + down, 64 - half : 64 + half] = 1
            planes["skin"] = planes["skin"] - planes[name]
        return torch.stack(list(planes.values()))

    a, b = head(), head().transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    options = {"other": b, "mix": 1, "detail": 0, "framing": "face"}
    monkeypatch.setattr("zoo_facefusion.detail.shape_free", lambda planes, _: planes)
    monkeypatch.setattr("zoo_facefusion.detail.shaped", lambda planes, _: planes)
    change, stays = {}, plain.translate(a, **options)
    for down in (0, 6, 40):
        monkeypatch.setattr("zoo_facefusion.detail.planes_of", lambda *_, down=down: drawn(down))
        made = plain.translate(a, mouth=0, **options)
        moved = np.abs(array(made) - array(stays)).mean(2)
        change[down] = (moved.sum(1) * np.arange(len(moved))).sum() / moved.sum() / len(moved)
        rows = np.nonzero(moved.max(1) > 1)[0] / len(moved)
        if down < 40:
            assert (78 + down - 12) / side < rows.min() < rows.max() < (94 + down + 12) / side
    assert 0.03 < change[6] - change[0] < 0.06
    maps = own_maps(torch.stack([drawn(0), drawn(6)]))
    assert maps is not None and torch.allclose(maps.sum(0), torch.ones(side, side), atol=1e-5)
    assert own_maps(drawn(40)[None]) is None  # not sure: those of an average face
    usual = region_maps((side, side))[2]
    assert abs(change[40] - float((usual.sum(1) * torch.arange(side)).sum() / usual.sum() / side)) < 0.04


def test_one_person_alone_is_the_photograph_again(translator: FusionTranslator) -> None:
    a, b = head(), head().transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    options = {"other": b, "mix": 1, "framing": "face"}
    portrait = array(pictures.to_pil(translator.framed(read(a), framing="face").rgb))
    alone = array(translator.translate(a, **options))
    assert np.abs(alone - portrait).max() <= 2
    bare = array(translator.translate(a, detail=0, **options))
    assert np.abs(bare - portrait).mean() > 10  # an untrained network
    less = array(translator.translate(a, detail=0.5, **options))
    assert np.abs(less - (bare + portrait) / 2).max() <= 2


def test_detail_lies_where_the_fusion_has_its_features() -> None:
    """Of two faces, one of which has eyes that are further apart, every landmark goes half-way, and its detail with it."""
    points = (100 * average()).float()
    wide = points.clone()
    wide[36:42, 0] -= 6
    wide[42:48, 0] += 6
    dots = []
    for own in (points, wide):
        image = torch.full((3, 100, 100), -1.0)
        for x, y in own[36:48].tolist():
            image[:, int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2] = 1
        crop = faces.Crop(image, own, torch.eye(2, 3).double())
        dots.append(Portrait(crop, shape_free(image, own), 0.0, torch.zeros(3, 100, 100)))
    half = People([dots[1]], torch.tensor([0.5, 0.5])).points(dots[0]) * 100
    assert torch.allclose(half, (points + wide) / 2, atol=1e-3)
    fused = carried(torch.zeros(3, 100, 100), half, dots, torch.full((2, 100, 100), 0.5))
    for x, y in half[36:48].tolist():
        assert fused[0, int(y), int(x)] > 0.3


def test_each_part_has_the_shape_of_whose_it_is() -> None:
    one, other = ((100 * average()).float() + torch.tensor([shift, 0.0]) for shift in (0, 3))
    mine, theirs = (
        Portrait(faces.Crop(torch.zeros(3, 100, 100), own, torch.eye(2, 3).double()), torch.zeros(3, 100, 100), 0.0)
        for own in (one, other)
    )
    regions = {"eyes": torch.tensor([0.0, 1.0]), "mouth": torch.tensor([0.5, 0.5]), "hair": torch.tensor([0.0, 1.0])}
    moved = (People([theirs], torch.tensor([1.0, 0.0]), regions).points(mine) * 100 - one)[:, 0]
    assert torch.allclose(moved[[0, 8, 30]], torch.zeros(3), atol=1e-4)  # jaw and nose
    assert torch.allclose(moved[[17, 40, 47]], torch.full((3,), 3.0), atol=1e-4)  # brow and eyes
    assert torch.allclose(moved[48:], torch.full((20,), 1.5), atol=1e-4)
    all_of_them = People([theirs], torch.tensor([1.0, 0.0]), regions, torch.tensor([0.0, 1.0])).points(mine)
    assert torch.allclose(all_of_them * 100, other, atol=1e-4)


def test_a_fused_face_is_put_back_where_it_was(translator: FusionTranslator) -> None:
    whole = Image.effect_noise((300, 280), 60).convert("RGB")
    whole.paste(head(200), (60, 40))
    whole = whole.rotate(12, Image.Resampling.BICUBIC)
    other = head().transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    made = translator.translate(whole, other=other, mix=0.3)
    assert made.size == whole.size
    change = np.abs(array(made) - array(whole)).max(2)
    face = faces.find(read(whole).rgb)[0]
    y, x = np.nonzero(change)
    near = np.hypot(x - float(face.landmarks[:, 0].mean()), y - float(face.landmarks[:, 1].mean())) / face.height
    assert near.max() < 0.9 and change[near.min() < 1].max() > 0  # all else bit for bit
    same = translator.translate(whole, other=other, mix=1, framing="whole")
    assert np.abs(array(same) - array(whole)).max() <= 4
    part = translator.translate(whole, other=other, mix=0.3, framing="portrait")
    shown = around(read(whole), face)
    assert part.size == shown.rgb.shape[:0:-1]
    assert np.abs(array(part)[:4] - array(pictures.to_pil(shown.rgb))[:4]).max() == 0


# -- what is refused, and what is said ----------------------------------------------------------------------------------


def test_pictures_without_a_usable_face(translator: FusionTranslator, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ImageError, match=r"^no face found"):
        translator.translate(portrait(1), other=head())
    with pytest.raises(ImageError, match=r"^other: no face found"):
        translator.translate(head(), other=portrait(1))
    with pytest.raises(ImageError, match=r"^other 2: no face found"):
        translator.translate(head(), other=[head(), portrait(1)])
    with pytest.raises(ImageError, match="there is no face 2: 1 face was found"):
        translator.translate(head(), other=head(), face=2)
    with pytest.raises(ControlError, match="other is missing"):
        translator.translate(head())
    for face, told in ((looking(0, size=20), "20 pixels high: too small"), (looking(0.9), "turned too far")):
        monkeypatch.setattr(faces, "find", lambda image, face=face, **_: [face])
        with pytest.raises(ImageError, match=told):
            translator.translate(head(), other=portrait(1))


def test_a_face_that_cannot_be_aligned_is_no_ghost(
    translator: FusionTranslator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    find, wrong = faces.find, list[tuple[float, float]]()

    def misled(image: Tensor, *args: Any, **how: Any) -> list[faces.Face]:
        found = find(image, *args, **how)
        shift = wrong.pop(0) if wrong else (0.0, 0.0)
        return [faces.Face(one.box, one.landmarks + one.height * torch.tensor(shift)) for one in found]

    monkeypatch.setattr(faces, "find", misled)
    head().save(tmp_path / "ben.png")
    wrong[:] = [(0.3, 0.2)]  # the other is looked at first
    with pytest.raises(ImageError, match=r"^other \(.*ben.png\): the face cannot be aligned"):
        translator.translate(head(), other=tmp_path / "ben.png")
    wrong[:] = [(0, 0), (0, 0), (-0.4, 0)]  # found, found again once it is aligned, and then the first person
    with pytest.raises(ImageError, match=r"^the face cannot be aligned") as raised:
        translator.translate(head(), other=tmp_path / "ben.png")
    assert "more from the front" in str(raised.value.hint)


def test_what_hides_a_face_is_told(
    translator: FusionTranslator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    doubt = torch.zeros(68)
    monkeypatch.setattr(faces, "second_look", lambda image: (torch.zeros(68, 2), doubt))
    for hidden, told in (((), ""), ((36, 48), "eyes cannot be seen well"), ((48, 68), "mouth cannot be seen well")):
        doubt.zero_()[slice(*hidden) if hidden else slice(0)] = 0.2
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            translator.encode(head())
        assert told in caplog.text and bool(told) == bool(caplog.text)


def test_faces_turned_differently_are_told(
    translator: FusionTranslator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    found: Iterator[list[faces.Face]] = iter([])
    monkeypatch.setattr(faces, "find", lambda image, **_: next(found))
    monkeypatch.setattr("zoo_facefusion.translator.seen_well", lambda image, face: face)

    def told(*sides: float) -> str:
        """``other`` is looked at first."""
        nonlocal found
        found = iter([[looking(side)] for side in sides])
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            translator.translate(head(), other=[portrait(1)] * (len(sides) - 1))
        return caplog.text

    assert not told(0.1, -0.2) and not told(0.5, 0.4)
    assert "look -0.40 and +0.30 to the side" in told(0.3, -0.4)
    assert "look -0.10 and -0.69 to the side" in told(0.1, -0.69, -0.1)
    found = iter([[looking(0)], [looking(0), looking(0, size=50)]])
    translator.translate(head(), other=portrait(1))
    assert "2 faces found: the largest is fused" in caplog.text


# -- strips and latents -------------------------------------------------------------------------------------------------


def test_a_strip_goes_from_one_to_the_other(translator: FusionTranslator, tmp_path: Path) -> None:
    a, b = head(), head().transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    strip = translator.strip(a, b, steps=4)
    assert len(strip.frames) == 4 and strip.strip().size == (4 * strip.frames[0].width, strip.frames[0].height)
    alone = translator.translate(a, other=b, mix=1.0, framing="face")
    assert np.abs(array(strip.frames[0]) - array(alone)).max() <= 2
    way = [np.abs(array(frame) - array(strip.frames[0])).mean() for frame in strip.frames]
    assert way[0] == 0 and way[3] == max(way) > way[1] > 0
    for name, frames in (("way.gif", 6), ("way.webp", 6), ("way.png", 1)):
        strip.save(tmp_path / name)
        with Image.open(tmp_path / name) as kept:
            assert getattr(kept, "n_frames", 1) == frames
    with pytest.raises(UsageError, match="steps = 1"):
        translator.strip(a, b, steps=1)
    with pytest.raises(ControlError, match="a strip takes no mix"):
        translator.strip(a, b, mix=0.5)
    with pytest.raises(UsageError, match="seconds = 0"):
        strip.save(tmp_path / "still.gif", seconds=0)
    with pytest.raises(ImageError, match="cannot be written"):
        strip.save(tmp_path / "way.png" / "way.gif")


def test_everyone_with_everyone(translator: FusionTranslator) -> None:
    a, b = head(), head().transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    sheet = array(translator.grid([a, b], height=64, framing="face", mix=0.3))
    assert sheet.shape == (3 * 64 + 8, 3 * 64 + 8, 3)
    cell = {(i, j): sheet[68 * i : 68 * i + 64, 68 * j : 68 * j + 64] for i in range(3) for j in range(3)}
    assert (
        (cell[0, 0] == 255).all() and np.array_equal(cell[0, 1], cell[1, 0]) and np.array_equal(cell[0, 2], cell[2, 0])
    )
    made = translator.translate(a, other=b, mix=0.3, framing="face").resize((64, 64), Image.Resampling.LANCZOS)
    assert np.abs(cell[1, 2] - array(made)).max() <= 2 < np.abs(cell[2, 1] - array(made)).max()
    for people, options, told in (
        ([a], {}, "a grid of 1 people"),
        ([a, b], {"face": 2}, "a grid takes no face"),
        ([a, portrait(1)], {}, "photograph 2: no face found"),
    ):
        with pytest.raises(ZooError, match=told):
            translator.grid(people, **options)


def test_latents_there_and_back(translator: FusionTranslator) -> None:
    a, b = portrait(1), portrait(2)
    first, second = (translator.encode(one, face=0) for one in (a, b))
    assert first.shape == (32, 8, 8) and first.dtype == torch.float32
    half: Tensor = (first + second) / 2
    wanted = translator.translate(a, other=b, face=0, mix=[0.5] * 5)
    assert np.abs(array(translator.decode(half)) - array(wanted)).max() <= 1
    first.mul_(1)  # in place as any tensor
    both = translator.decode(torch.stack([first, second]))
    assert isinstance(both, list) and len(both) == 2 and np.array_equal(array(both[0]), array(translator.decode(first)))
    assert translator.encode(head()).shape == (32, 8, 8)
    for wrong in (torch.zeros(3, 8, 8), torch.zeros(32, 8), torch.zeros(32, 8, 8, dtype=torch.int64)):
        with pytest.raises(UsageError, match="is no latent"):
            translator.decode(wrong)


# -- the command line ---------------------------------------------------------------------------------------------------


def test_strip_command(cli: Cli, model: Path, tmp_path: Path) -> None:
    a, b, out = tmp_path / "a.png", tmp_path / "b.png", tmp_path / "way.gif"
    head().save(a), head().transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(b)
    code, told, _ = cli("fusion-strip", model, a, b, "-o", out, "--steps", 3, "--region", "eyes=1", "--device", "cpu")
    assert code == 0 and "3 pictures" in told
    with Image.open(out) as moving:
        assert getattr(moving, "n_frames", 1) == 4
    for words, reason in (
        (["-o", out], "is there already"),
        (["-o", a], "would overwrite the input"),
        (["-o", tmp_path / "x.gif", "--region", "ears=1"], "no region is called 'ears'"),
        (["-o", tmp_path / "x.gif", "--region", "eyes=much"], "cannot read --region"),
    ):
        code, _, told = cli("fusion-strip", model, a, b, *words)
        assert code == 2 and reason in told and len(told.splitlines()) <= 2
    code, _, _ = cli("translate", model, a, "--other", b, "--mix", "0.5", "--eyes", 0, "-o", tmp_path / "both.png")
    assert code == 0 and (tmp_path / "both.png").is_file()


def test_grid_command(cli: Cli, model: Path, tmp_path: Path) -> None:
    a, out = tmp_path / "a.png", tmp_path / "family.png"
    head().save(a)
    code, told, _ = cli("fusion-grid", model, a, a, "-o", out, "--framing", "whole", "--detail", 0, "--device", "cpu")
    assert code == 0 and "2 × 2 people" in told
    with Image.open(out) as sheet:
        assert sheet.size == (3 * 160 + 8, 3 * 160 + 8)  # no larger than the photographs
    for words, reason in (
        ([a, a, "-o", out], "is there already"),
        ([a, a, "-o", a], "would overwrite the input"),
        ([a, "-o", tmp_path / "one.png"], "a grid of 1 people"),
        ([a, a, "-o", tmp_path / "other.png", "--framing", "square"], "framing"),
        ([a, a, "-o", tmp_path / "way.mp4"], "cannot write .mp4"),
    ):
        code, _, told = cli("fusion-grid", model, *words)
        assert code == 2 and reason in told and len(told.splitlines()) <= 2, told


def test_crops_command(cli: Cli, tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "faces"
    (photos / "below").mkdir(parents=True)
    head(200).save(photos / "below/one.png")
    portrait(1).save(photos / "none.jpg")
    (photos / "broken.png").write_bytes(b"no picture")
    code, told, _ = cli("fusion-crops", photos, "--out", out, "--size", 96)
    assert code == 6 and "1 faces of 3" in told and "no face found" in told
    crop = out / "below/one.jpg"
    with Image.open(crop) as made:
        assert made.size == (96, 96)
    written = crop.stat().st_mtime_ns
    code, _, _ = cli("fusion-crops", photos, "--out", out, "--size", 96)
    assert code == 6 and crop.stat().st_mtime_ns == written  # goes on
    for words, reason in (
        ([photos, "--out", out, "--size", 64], "other settings"),
        ([photos, "--out", photos / "faces"], "lies in"),
        ([photos, "--out", tmp_path], "did not make it"),
        ([tmp_path / "nowhere", "--out", out], "there is no folder"),
    ):
        code, _, told = cli("fusion-crops", *words)
        assert code in (2, 3) and reason in told


def test_a_video_is_fused_with_a_photograph(translator: FusionTranslator, tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    with Image.open(SAMPLE) as whole:
        frames = [whole.convert("RGB").crop((x, 20, x + 240, 260)) for x in (88, 90, 92, 94)]
    with av.open(str(tmp_path / "in.mp4"), "w") as out:
        stream = out.add_stream("libx264", rate=5, options={"crf": "12"})
        stream.height, stream.width, stream.pix_fmt = 240, 240, "yuv420p"
        for frame in frames:
            out.mux(stream.encode(av.VideoFrame.from_image(frame)))
        out.mux(stream.encode(None))
    other = head().transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    made = {}
    for mix in (1, 0.2):
        people = {"other": other, "mix": mix, "framing": "face"}
        translator.translate_video(tmp_path / "in.mp4", tmp_path / "out.mp4", **people)
        with av.open(str(tmp_path / "out.mp4")) as film:
            made[mix] = [frame.to_ndarray(format="rgb24").astype(int) for frame in film.decode(video=0)]
    portraits = made[1]
    assert len(portraits) == 4 and portraits[0].shape[0] == portraits[0].shape[1] >= 64
    assert np.abs(portraits[0] - made[0.2][0]).mean() > 1
    still = array(translator.translate(frames[0], other=other, mix=1, framing="face").resize(portraits[0].shape[1::-1]))
    alike = np.corrcoef([portraits[0].ravel(), still.ravel(), made[0.2][0].ravel()])[0]
    assert alike[1] > alike[2] + 0.05, alike  # compressed, and its landmarks smoothed in time
    people = {"other": [other, head()], "portions": [0.7, 0.3], "mix": 0.2}
    translator.translate_video(tmp_path / "in.mp4", tmp_path / "out.mp4", **people)
    with av.open(str(tmp_path / "out.mp4")) as film:
        whole = [frame.to_ndarray(format="rgb24").astype(int) for frame in film.decode(video=0)]
    assert len(whole) == 4
    for made_frame, frame in zip(whole, frames):
        changed = np.abs(made_frame - array(frame)).mean(2)
        assert changed.shape == (240, 240) and changed[:20].mean() < 4 < changed.max()  # the corner is only compressed


def test_fusions_as_a_set(cli: Cli, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """KID with coarse colours in the place of Inception's features."""
    pytest.importorskip("torchmetrics")
    from zoo.evaluate import sets

    class Pooled(torch.nn.Module):
        def __init__(self, _: Path) -> None:
            super().__init__()

        def forward(self, image: Tensor) -> Tensor:
            return torch.nn.functional.adaptive_avg_pool2d(image, 4).flatten(1)

    monkeypatch.setattr(sets, "Inception", Pooled)
    folder = tmp_path / "faces"
    folder.mkdir()
    for seed in range(6):
        portrait(seed).save(folder / f"{seed}.png")
    (tmp_path / "features.pt").write_bytes(b"")
    words = ["fusion-eval", model, "--faces", folder, "--count", 4, "--device", "cpu"]
    code, told, _ = cli(*words, "--inception", tmp_path / "features.pt", "--json")
    facts = json.loads(told)["models"][0]
    assert code == 0 and facts["kid_fusions"] != facts["kid_reconstructions"]
    assert facts["kid_ratio"] == pytest.approx(facts["kid_fusions"] / facts["kid_reconstructions"])
    code, _, told = cli(*words, "--inception", tmp_path / "none.pt")
    assert code == 3 and "none.pt" in told


def test_eval_command(cli: Cli, model: Path, tmp_path: Path) -> None:
    pytest.importorskip("torchmetrics")
    folder, report = tmp_path / "faces", tmp_path / "report"
    folder.mkdir()
    for seed in range(5):
        portrait(seed).save(folder / f"{seed}.png")
    words = ["fusion-eval", model, "--faces", folder, "--count", 4, "--no-kid", "--device", "cpu"]
    code, told, _ = cli(*words, "--save", report, "--json")
    facts = json.loads(told)["models"][0]
    assert code == 0 and facts["n"] == 4 and len(facts["moved"]) == 5
    assert 0 < facts["l1"] < 1 and -1 <= facts["ssim"] <= 1 and facts["unevenness"] >= 1
    assert facts["dead"] == sum(moved < 0.2 for moved in facts["moved"]) / 5 and facts["least"] == min(facts["moved"])
    assert json.loads((report / "results.json").read_text())["models"][0]["l1"] == facts["l1"]
    for name, columns in (("tiny.png", 8), ("tiny-elements.png", 9)):
        with Image.open(report / name) as sheet:
            assert columns * 64 < sheet.width < (columns + 1) * 64 + 8 * columns
    code, again, _ = cli(*words, "--json")
    assert json.loads(again)["models"] == json.loads(told)["models"]
    assert len(facts["profiles"]) == 5 and 0 <= facts["alike"] <= 1
    assert all(len(ways) == 5 for ways in facts["followed"].values())
    assert all(sum(one.values()) == pytest.approx(1, abs=1e-4) for one in facts["profiles"])
    code, _, told = cli(*words, "--save", report)
    assert code == 2 and "is there already" in told
    (tmp_path / "empty").mkdir()
    for nothing in ("empty", "not-there"):
        code, _, told = cli("fusion-eval", model, "--faces", tmp_path / nothing)
        assert code == 2 and "there are 0 pictures" in told


def test_what_elements_move_by_masks_of_people(cli: Cli, model: Path, tmp_path: Path) -> None:
    pytest.importorskip("torchmetrics")
    folder, parts = tmp_path / "faces", tmp_path / "parts"
    for new in (folder, parts / "images", parts / "masks"):
        new.mkdir(parents=True)
    for seed in range(2):
        portrait(seed).save(folder / f"{seed}.png")
        head(angle=3 * seed).save(parts / "images" / f"{seed}.png")
        Image.new("L", (160, 160), 13).save(parts / "masks" / f"{seed}.png")
    words = ["fusion-eval", model, "--faces", folder, "--no-kid", "--device", "cpu", "--parts", parts]
    code, told, _ = cli(*words, "--json")
    facts = json.loads(told)["models"][0]
    assert code == 0 and facts["alike"] == pytest.approx(1)
    assert all(one["hair"] == pytest.approx(1) and one["skin"] == 0 for one in facts["profiles"])
    Image.new("L", (160, 160), 40).save(parts / "masks" / "0.png")
    for reason in ("is no mask of parts", "there is no mask"):
        code, _, told = cli(*words)
        assert code == 2 and reason in told
        (parts / "masks" / "0.png").unlink(missing_ok=True)
    code, _, told = cli(*words[:-1], tmp_path)
    assert code == 2 and "has 0 faces with masks" in told


def test_what_follows_an_element_is_measured() -> None:
    """Of two elements one is the picture, the other does nothing: landmarks and colours go all the way with the first."""

    class Straight:
        elements = 2
        names = ()
        by_parts = False
        encode = staticmethod(lambda images: images)
        shares = staticmethod(lambda mix, *_: mix)
        decode = staticmethod(lambda images: images)

        @staticmethod
        def fuse(pair: list[torch.Tensor], mix: torch.Tensor) -> torch.Tensor:
            return torch.lerp(pair[1], pair[0], mix[:, :1, None, None])

    images = torch.stack([read(head(angle=angle)).rgb * tone for angle, tone in ((0, 1.0), (12, 0.7))])
    found = followed(alone(Straight(), images))  # type: ignore[arg-type]
    assert found.keys() == {"shape", "colours"}
    for ways in found.values():
        assert ways == pytest.approx([1, 0], abs=1e-5)


def test_a_stranger_fuses_as_the_zoo_does(model: Path, cli: Cli, tmp_path: Path) -> None:
    """By an exported network and the program of docs/export.md, which has neither torch nor the zoo."""
    pytest.importorskip("onnxruntime")
    page = (SAMPLE.parents[1] / "export.md").read_text(encoding="utf-8")
    program = re.search(r"^`draw.py`:\n\n```python\n(.*?)^```$", page, re.M | re.S)
    assert program
    (tmp_path / "draw.py").write_text(program[1], encoding="utf-8")
    assert cli("export", model, "-o", tmp_path / "model.onnx")[0] == 0
    a, b = tmp_path / "a.png", tmp_path / "b.png"
    head(200).save(a), head(300).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(b)
    alone = "import sys; sys.modules.update(torch=None, zoo=None); import runpy; runpy.run_path('draw.py')"
    command = [sys.executable, "-c", alone, "model.onnx", "a.png", "b.png", "both.png"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    translator = load(str(model), device="cpu")
    wanted = array(translator.translate(a, other=b, mix=[1, *[0.5] * 4], framing="face", detail=0))
    drawn = Image.open(tmp_path / "both.png")
    assert abs(drawn.width - len(wanted)) <= 1
    off = np.abs(array(drawn.resize(wanted.shape[:2])) - wanted)
    apart = np.abs(np.roll(wanted, 4, axis=1) - wanted)
    assert off.mean() < 2 and apart.mean() > 2 * off.mean()
