"""Faces are found where they are, cut out exactly, and put back without a trace."""

from __future__ import annotations

import importlib.util
import math
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from zoo import faces
from zoo.errors import UsageError
from zoo.faces import detect
from zoo.faces.geometry import averaged
from zoo.pictures.image import read

SAMPLE = Path(__file__).parents[1] / "docs/sample/eileen-collins.jpg"
LEFT, TOP, SIDE = 60, 20, 300  # the part of the sample that is used mostly: head and shoulders


@pytest.fixture(scope="module")
def image() -> Tensor:
    return read(SAMPLE).rgb[:, TOP : TOP + SIDE, LEFT : LEFT + SIDE].contiguous()


@pytest.fixture(scope="module")
def face(image: Tensor) -> faces.Face:
    (found,) = faces.find(image)
    return found


def scaled(image: Tensor, side: int) -> Tensor:
    return F.interpolate(image[None], size=(side, side), mode="bicubic", antialias=True)[0].clamp(-1, 1)


def apart(face: faces.Face, landmarks: Tensor) -> float:
    """Mean distance of the landmarks, in heights of the face."""
    return float((face.landmarks - landmarks).norm(dim=1).mean()) / face.height


def in_crop(crop: faces.Crop, image: Tensor) -> Tensor:
    """(H, W, 2): where the middles of the picture's pixels lie in the crop."""
    rows, columns = (torch.arange(length, dtype=torch.float64) + 0.5 for length in image.shape[-2:])
    places = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), -1)
    return (places - crop.matrix[:, 2]) @ torch.linalg.inv(crop.matrix[:, :2]).T


def beyond(crop: faces.Crop, image: Tensor) -> Tensor:
    """(H, W): the picture's pixels outside the crop's mask."""
    size = crop.image.shape[-1]
    places = in_crop(crop, image).floor().long()
    reached = F.max_pool2d(crop.mask[None], 2 * 4 + 1, 1, 4)[0]  # the filters reach that far
    outside = ((places < 0) | (places >= size)).any(-1)
    places = places.clamp(0, size - 1)
    return outside | (reached[places[..., 1], places[..., 0]] == 0)


def test_the_face_of_the_sample(face: faces.Face) -> None:
    eyes, chin = face.landmarks[36:48].mean(0), face.landmarks[8]
    assert torch.allclose(eyes, torch.tensor([225.3 - LEFT, 102.5 - TOP]), atol=2)  # as seen in the picture
    assert torch.allclose(chin, torch.tensor([221.0 - LEFT, 177.8 - TOP]), atol=3)
    assert face.landmarks.shape == (68, 2) and 80 < face.height < 100
    assert abs(face.angle) < 0.1 and face.turned < 0.15
    left, top, right, bottom = face.box
    assert left < eyes[0] < right and top < eyes[1] < bottom and 75 < right - left < 110


def test_there_may_be_other_things_in_a_picture() -> None:
    assert len(faces.find(read(SAMPLE).rgb)) == 1


@pytest.mark.parametrize("degrees", [20, -20])
def test_a_tilted_face(image: Tensor, face: faces.Face, degrees: int) -> None:
    with Image.open(SAMPLE) as whole:
        part = whole.crop((LEFT, TOP, LEFT + SIDE, TOP + SIDE))
    (tilted,) = faces.find(read(part.rotate(-degrees, Image.Resampling.BICUBIC)).rgb)  # Pillow turns anticlockwise
    assert math.degrees(tilted.angle - face.angle) == pytest.approx(degrees, abs=3)
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    rotation = torch.tensor([[cos, -sin], [sin, cos]])
    assert apart(tilted, (face.landmarks - SIDE / 2) @ rotation.T + SIDE / 2) < 0.03
    upright = faces.crop(image, tilted).landmarks
    assert abs(upright[36:42, 1].mean() - upright[42:48, 1].mean()) < 0.01


@pytest.mark.parametrize("side", [3 * SIDE, SIDE * 60 // 90, SIDE * 45 // 90])
def test_large_and_small_faces_lie_exactly(image: Tensor, face: faces.Face, side: int) -> None:
    (found,) = faces.find(scaled(image, side))
    assert apart(found, face.landmarks * side / SIDE) < 0.025


def test_two_faces_the_largest_first(image: Tensor, face: faces.Face) -> None:
    small = F.pad(scaled(image, 200), (0, 0, 50, 50), mode="replicate")
    noise = torch.rand(image.shape, generator=torch.Generator().manual_seed(1)) * 2 - 1
    large = (image + 0.3 * noise).clamp(-1, 1)  # the detector is less sure of it
    first, second = faces.find(torch.cat([small, large], 2))
    assert apart(first, face.landmarks + torch.tensor([200, 0])) < 0.025
    assert apart(second, face.landmarks * (200 / SIDE) + torch.tensor([0, 50])) < 0.025


def test_no_face(image: Tensor) -> None:
    noise = torch.rand(1, 200, 160, generator=torch.Generator().manual_seed(1)) * 2 - 1
    assert faces.find(noise.expand(3, -1, -1)) == []
    assert faces.find(torch.zeros(3, 1, 1)) == []
    assert faces.find(image[:, :70]) == []  # hair and forehead


def test_a_face_that_fills_the_picture(image: Tensor, face: faces.Face) -> None:
    for frame in (faces.FACE, faces.Frame(0.9, 0.45)):  # the second without forehead
        crop = faces.crop(image, face, frame=frame)
        (found,) = faces.find(crop.image)
        assert apart(found, crop.landmarks) < 0.04


def test_small_faces_of_a_large_picture(image: Tensor) -> None:
    """One large face in front, small ones behind, at the edges of the parts that are looked at, too."""
    whole = torch.zeros(3, 1500, 2000)
    whole[:, 600:1500, 550:1450] = scaled(image, 900)
    small = scaled(image, 150)  # the face is 45 pixels high
    places = [(20, 30), (20, 1200), (330, 1800), (900, 120), (1340, 1700)]
    for top, left in places:
        whole[:, top : top + 150, left : left + 150] = small
    found = faces.find(whole)
    assert len(found) == 6 and found[0].height > 200 and all(40 < one.height < 50 for one in found[1:])
    middles = [one.landmarks.mean(0).tolist() for one in found[1:]]
    assert all(any(0 < x - left < 150 and 0 < y - top < 150 for x, y in middles) for top, left in places)
    assert len(faces.find(whole, thorough=False)) == 1


@pytest.mark.parametrize(("turns", "way"), [(1, "right"), (3, "left")])
def test_a_picture_on_its_side(
    image: Tensor, face: faces.Face, turns: int, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    (lying,) = faces.find(image.rot90(turns, (1, 2)))
    assert [record.getMessage() for record in caplog.records] == [
        f"the picture lies on its side: turn it a quarter to the {way}; its faces are taken as they lie"
    ]
    x, y = face.landmarks.unbind(1)
    there = torch.stack([y, SIDE - x] if turns == 1 else [SIDE - y, x], 1)
    assert apart(lying, there) < 0.02
    upright = faces.crop(image, face, 64).image
    assert (faces.crop(image.rot90(turns, (1, 2)), lying, 64).image - upright).abs().mean() < 0.05


def test_threads_find_the_same(image: Tensor, face: faces.Face) -> None:
    with ThreadPoolExecutor(3) as pool:
        for (found,) in pool.map(faces.find, [image] * 3):
            assert torch.equal(found.landmarks, face.landmarks)


@pytest.mark.parametrize("frame", [faces.FACE, faces.PORTRAIT])
def test_where_the_face_lies_in_the_crop(image: Tensor, face: faces.Face, frame: faces.Frame) -> None:
    crop = faces.crop(image, face, 96, frame)
    assert crop.image.shape == (3, 96, 96)
    low, high = crop.landmarks.amin(0), crop.landmarks.amax(0)
    assert 96 / float(high[1] - low[1]) == pytest.approx(frame.scale, rel=1e-4)
    middle = ((low + high) / 2 / 96).tolist()
    assert middle == pytest.approx([0.5, frame.middle], abs=1e-4)
    back = crop.landmarks.double() @ crop.matrix[:, :2].T + crop.matrix[:, 2]
    assert torch.allclose(back.float(), face.landmarks, atol=1e-3)


@pytest.mark.parametrize("size", [32, 128, 400])
def test_every_pixel_of_a_crop_comes_from_its_place(face: faces.Face, size: int) -> None:
    """A picture whose red is x and whose green is y, in thousands of pixels."""
    ramp = (torch.arange(SIDE) + 0.5) / 1000
    image = torch.stack([ramp.expand(SIDE, SIDE), ramp[:, None].expand(SIDE, SIDE), torch.zeros(SIDE, SIDE)])
    tilted = faces.Face(face.box, face.landmarks @ torch.tensor([[0.9, 0.3], [-0.3, 0.9]]) + torch.tensor([30, -10]))
    crop = faces.crop(image, tilted, size)
    at = torch.arange(size, dtype=torch.float64) + 0.5
    places = torch.stack(torch.meshgrid(at, at, indexing="xy"), -1) @ crop.matrix[:, :2].T + crop.matrix[:, 2]
    coarser = max(1.0, float(crop.matrix[:, 0].norm()))  # of the pixels
    assert torch.allclose(crop.image[:2].permute(1, 2, 0) * 1000, places.float(), atol=0.05 * coarser)


def test_what_is_too_fine_for_the_crop_leaves_no_pattern(face: faces.Face) -> None:
    board = (torch.arange(SIDE)[:, None] + torch.arange(SIDE)) % 2 * 2.0 - 1
    crop = faces.crop(board.expand(3, -1, -1), face, 37)
    assert crop.image.abs().max() < 0.05


def test_a_crop_beyond_the_border_repeats_it(image: Tensor, face: faces.Face) -> None:
    low = face.landmarks.amin(0).int().tolist()
    cut = image[:, low[1] :, low[0] :]
    crop = faces.crop(cut, faces.Face(face.box, face.landmarks - torch.tensor(low)), 64, faces.PORTRAIT)
    assert torch.allclose(crop.image[:, 0, 0], cut[:, 0, 0], atol=0.05)


def test_a_calmed_crop_has_no_stripes_beyond_the_border_and_all_within(image: Tensor, face: faces.Face) -> None:
    noise = torch.rand(image.shape, generator=torch.Generator().manual_seed(0)) - 0.5
    height, width = image.shape[1:]
    crop = faces.crop(noise, face, 256, faces.Frame(4.0, 0.5))
    calm = faces.calmed(crop, width, height)
    at = torch.arange(256) + 0.5
    x, y = (row[0] * at + row[1] * at[:, None] + row[2] for row in crop.matrix.float())
    within = (x > 0) & (x < width) & (y > 0) & (y < height)
    assert within.any() and not within.all()
    assert torch.equal(calm.image[:, within], crop.image[:, within])
    step = float(crop.matrix[:, 0].norm())
    far = torch.maximum(torch.maximum(-x, x - width), torch.maximum(-y, y - height)) > 24 * step
    assert calm.image[:, far].std() < 0.35 * crop.image[:, far].std()
    assert torch.equal(calm.landmarks, crop.landmarks) and torch.equal(calm.matrix, crop.matrix)


def test_a_crop_within_a_picture_is_calm_already(image: Tensor, face: faces.Face) -> None:
    crop = faces.crop(image, face, 96)
    assert faces.calmed(crop, image.shape[2], image.shape[1]) is crop


@pytest.mark.parametrize("frame", [faces.FACE, faces.PORTRAIT])
@pytest.mark.parametrize("size", [32, 128, 400])
def test_a_crop_put_back_is_the_picture(image: Tensor, face: faces.Face, size: int, frame: faces.Frame) -> None:
    before = image.clone()
    crop = faces.crop(image, face, size, frame)
    assert torch.allclose(faces.paste(image, crop, crop.image), image, atol=1e-5)
    assert torch.equal(image, before)


def test_the_mask(image: Tensor, face: faces.Face) -> None:
    crop = faces.crop(image, face)
    mask = crop.mask
    assert mask.shape == (128, 128) and mask.min() == 0 and mask.max() == 1
    assert not torch.stack([mask[0], mask[-1], mask[:, 0], mask[:, -1]]).any()
    inner = crop.landmarks[17:].long()  # brows, nose, eyes, mouth
    assert (mask[inner[:, 1], inner[:, 0]] > 0.9).all()
    forehead = (crop.landmarks[[19, 24]].mean(0) - torch.tensor([0, 12])).long()
    assert mask[forehead[1], forehead[0]] > 0.9
    assert mask[110, 12] == 0 and mask[110, 115] == 0  # beside the chin


@pytest.mark.parametrize("size", [48, 200])
def test_outside_the_mask_every_bit_stays(image: Tensor, face: faces.Face, size: int) -> None:
    crop = faces.crop(image, face, size, faces.PORTRAIT)
    noise = torch.rand(3, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1
    pasted = faces.paste(image, crop, noise)
    outside = beyond(crop, image)
    assert torch.equal(pasted[:, outside], image[:, outside])
    changed = (pasted != image).any(0)
    assert 0.5 < (changed.sum() / (~outside).sum()) < 1
    assert pasted.abs().max() <= 1


@pytest.mark.parametrize("frame", [faces.FACE, faces.PORTRAIT])
def test_no_seam(face: faces.Face, frame: faces.Frame) -> None:
    flat = torch.full((3, SIDE, SIDE), 0.2)
    crop = faces.crop(flat, face, frame=frame)
    change = faces.paste(flat, crop, crop.image + 0.1) - flat
    nose = face.landmarks[30].long()
    assert torch.allclose(change[:, nose[1], nose[0]], torch.tensor(0.1), atol=1e-3)
    assert change.min() >= 0 and change.max() < 0.101
    assert max(change.diff(dim=1).abs().max(), change.diff(dim=2).abs().max()) < 0.03


def test_detail_stays_where_little_changed_and_goes_where_much_did(image: Tensor, face: faces.Face) -> None:
    large = scaled(image, 3 * SIDE)
    grain = (torch.arange(3 * SIDE)[:, None] + torch.arange(3 * SIDE)) % 2 * 0.2 - 0.1
    large = large * 0.6 - 0.1 + grain
    crop = faces.crop(large, faces.Face(face.box, face.landmarks * 3), 64)
    mouth = crop.landmarks[60:68].mean(0)
    at = torch.arange(64) + 0.5
    hole = ((at - mouth[0]) / 8) ** 2 + ((at[:, None] - mouth[1]) / 6) ** 2 < 1
    result = torch.where(hole, -0.8, crop.image + 0.25)  # the light changed, and the mouth
    pasted = faces.paste(large, crop, result)

    def grain_at(landmark: Tensor) -> float:
        x, y = (landmark * 3).long().tolist()
        part = pasted[:, y - 8 : y + 8, x - 8 : x + 8]
        return float((part * grain[y - 8 : y + 8, x - 8 : x + 8]).mean()) / 0.1**2

    assert grain_at(face.landmarks[27]) > 0.9  # between the eyes
    assert abs(grain_at(face.landmarks[60:68].mean(0))) < 0.05


@pytest.mark.parametrize("frame", [faces.FACE, faces.PORTRAIT])
def test_a_face_is_moved_in_the_picture_and_in_its_crop(image: Tensor, face: faces.Face, frame: faces.Frame) -> None:
    crop = faces.crop(image, face, 64, frame)
    across = torch.linalg.inv(crop.matrix[:, :2]) @ torch.tensor([3.0, -2.0]).double()  # of the picture's pixels
    flow = (across / 64).float()[:, None, None].expand(2, 64, 64)
    moved, there = faces.move(image, crop, flow)
    x, y = face.landmarks[30].long().tolist()
    nose, came_from = moved[:, y - 9 : y + 9, x - 9 : x + 9], image[:, y - 11 : y + 7, x - 6 : x + 12]
    assert torch.allclose(nose, came_from, atol=0.02)
    assert torch.allclose(faces.paste(moved, there, there.image), moved, atol=1e-5)
    changed = image.clone()
    assert faces.move(changed, crop, flow, in_place=True)[0] is changed and torch.equal(changed, moved)
    again = faces.crop(moved, face, 64, frame).image  # the crop shows what the picture does
    assert (again - there.image).abs().mean() < 0.03 < 2 * (again - crop.image).abs().mean()
    outside = beyond(crop, image)
    assert outside.any() and torch.equal(moved[:, outside], image[:, outside])


def test_nothing_lies_between_two_pixels_that_come_from_two_sides() -> None:
    """Red above, blue below, white between them; where both are moved over the white, none of it is left."""
    picture = torch.full((3, 300, 300), -1.0)
    picture[0, :130], picture[2, 170:], picture[:, 130:170] = 1, 1, 1
    points = torch.full((68, 2), 150.0)
    points[0], points[1], points[36:42, 0], points[42:48, 0] = 75.0, 225.0, 120.0, 180.0  # an upright face
    crop = faces.crop(picture, faces.Face((75, 75, 225, 225), points), 64, faces.Frame(1.4, 0.5))
    flow = torch.zeros(2, 64, 64)
    flow[1, :32], flow[1, 32:] = -0.15, 0.15
    moved, there = faces.move(picture, crop, flow)
    inside = moved[:, 100:200, 140:160]
    assert inside.amin(0).max() < -0.5 and there.image[:, :, 29:35].amin(0).max() < -0.5


def test_a_second_look_says_what_is_guessed(image: Tensor, face: faces.Face) -> None:
    crop = faces.crop(image, face, 200)
    points, doubt = faces.second_look(crop.image)
    assert points.shape == (68, 2) and doubt.shape == (68,) and doubt.mean() < 0.02
    assert (points - crop.landmarks).norm(dim=1).mean() < 4
    hidden = crop.image.clone()
    hidden[:, 115:, 30:170] = torch.rand(3, 85, 140, generator=torch.Generator().manual_seed(0)) * 2 - 1
    _, doubt = faces.second_look(hidden)
    assert doubt[48:].mean() > 0.045 > doubt[36:48].mean()


def test_a_picture_without_the_crop_is_not_moved(image: Tensor, face: faces.Face) -> None:
    crop = faces.crop(image, face)
    corner = image[:, :20, :20]
    assert torch.equal(faces.move(corner, crop, torch.full((2, 128, 128), 0.1))[0], corner)


def test_a_picture_without_the_crop_stays(image: Tensor, face: faces.Face) -> None:
    crop = faces.crop(image, face)
    corner = image[:, :20, :20]
    assert torch.equal(faces.paste(corner, crop, -crop.image), corner)


def test_a_person_stays_the_same(image: Tensor, face: faces.Face) -> None:
    who = faces.descriptor(image, face)
    assert who.shape == (128,) and who.norm() == pytest.approx(1, abs=0.5)
    (mirrored,) = faces.find(image.flip(2))
    assert (who - faces.descriptor(image.flip(2), mirrored)).norm() < faces.SAME
    assert (who - faces.descriptor((image * 0.8 + 0.2).clamp(-1, 1), face)).norm() < 0.3
    large = faces.Face(face.box, face.landmarks * 3)
    assert (who - faces.descriptor(scaled(image, 3 * SIDE), large)).norm() < 0.2
    crop = faces.crop(image, face, frame=faces.PORTRAIT)
    assert (who - faces.descriptor(crop.image, faces.Face(face.box, crop.landmarks))).norm() < 0.2
    assert (who - faces.descriptor(image.flip(1), face)).norm() > faces.SAME  # the landmarks are on a shoulder


def test_dlib_is_missing(image: Tensor, face: faces.Face, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dlib", None)
    for call in (lambda: faces.find(image), lambda: faces.descriptor(image, face)):
        with pytest.raises(UsageError, match="finding faces needs dlib, which is not installed") as caught:
            call()
        assert caught.value.hint == "pip install 'zoo-core[faces]'"


def test_the_models_are_missing(image: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    detect._predictor.cache_clear()  # they are read once
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="which is not installed"):
        faces.find(image)


@pytest.mark.parametrize(("size", "radius"), [((9, 14), 0), ((9, 14), 3), ((5, 64), 8), ((1, 1), 2)], ids=str)
def test_means_over_squares_are_those_of_what_is_there(size: tuple[int, int], radius: int) -> None:
    planes = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    made = averaged(planes, radius)
    for row, column in ((0, 0), (size[0] // 2, size[1] // 2), (size[0] - 1, size[1] - 1)):
        near = planes[..., max(0, row - radius) : row + radius + 1, max(0, column - radius) : column + radius + 1]
        assert torch.allclose(made[..., row, column], near.mean((2, 3)), atol=1e-6)
    assert made.shape == planes.shape
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(averaged(planes, radius), made)  # as exact in there
