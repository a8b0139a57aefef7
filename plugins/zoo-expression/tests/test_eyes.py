"""Eyes that open wider and lips that part, in faces drawn for it: irises stay round, and lips part where they met."""

from __future__ import annotations

import pytest
import torch
from moving import sample_head
from torch import Tensor

from zoo import faces
from zoo.pictures.image import read
from zoo_expression.edges import EYES, LIPS, Opening
from zoo_expression.eyes import RADIUS, Iris
from zoo_expression.motion import Motion
from zoo_expression.openings import OUTER_LIPS, moved, parted
from zoo_expression.units import pattern

SIDE = 384
AT = torch.arange(SIDE) + 0.5
SKIN, WHITE, DARK, LIP = (0.5, 0.2, 0.1), (0.8, 0.8, 0.8), (-0.7, -0.7, -0.6), (0.2, -0.4, -0.3)


@pytest.fixture(scope="module")
def points() -> Tensor:
    picture = read(sample_head()).rgb
    return faces.crop(picture, faces.find(picture)[0], SIDE).landmarks


def filled(colour: tuple[float, float, float]) -> Tensor:
    return torch.tensor(colour)[:, None, None].expand(3, SIDE, SIDE)


def eyes_drawn(points: Tensor) -> Tensor:
    """Skin, and in it white eyes whose upper lids hide a third of a dark iris."""
    image = filled(SKIN)
    for chains in EYES:
        eye = Opening.of(points, chains, AT)
        middle, radius = (eye.left + eye.right) / 2, RADIUS * (eye.right - eye.left)
        top = float(eye.top[int(middle)])
        away = torch.hypot(AT - middle, AT[:, None] - (top + radius / 3))
        inside = torch.where(away < radius, filled(DARK), filled(WHITE))
        image = torch.where(eye.mask(AT, 0.5) > 0.5, inside, image)
    return image


def opened(points: Tensor, by: float) -> Tensor:
    """The landmarks where upper lids have gone up by a share of the eyes' opening."""
    there = points.clone()
    for top, bottom in ((37, 41), (38, 40), (43, 47), (44, 46)):
        there[top] -= by * (points[bottom] - points[top])
    return there


@pytest.mark.parametrize("by", [0.4, 0.7])
def test_an_iris_is_round_where_lids_open_wider(points: Tensor, by: float) -> None:
    image = eyes_drawn(points)
    with torch.inference_mode():
        made = moved(image, points, opened(points, by))["image"]
    for chains in EYES:
        eye = Opening.of(points, chains, AT)
        columns = (eye.left + 0.25 * (eye.right - eye.left) < AT) & (eye.right - 0.25 * (eye.right - eye.left) > AT)
        around = (eye.top.min() - 30 < AT) & (eye.bottom.max() + 5 > AT)
        high, wide = [], []
        for one in (image, made):
            dark = (one.mean(0) < -0.3)[around][:, columns]
            high.append(int(dark.any(1).sum()))
            wide.append(int(dark.any(0).sum()))
        assert high[0] < 0.8 * wide[0]  # the lid hid some of it
        assert abs(wide[1] - wide[0]) <= 2
        assert 0.85 < high[1] / wide[1] < 1.15, (by, high, wide)


def test_an_iris_is_found_and_none_in_a_shut_or_an_even_eye(points: Tensor) -> None:
    image = eyes_drawn(points)
    for chains in EYES:
        eye = Opening.of(points, chains, AT)
        iris = Iris.of(image, eye, AT)
        assert iris is not None and abs(iris.x - (eye.left + eye.right) / 2) < 0.06 * (eye.right - eye.left)
        assert Iris.of(filled(WHITE), eye, AT) is None
        shut = Opening(eye.bottom, eye.bottom, eye.left, eye.right)
        assert Iris.of(image, shut, AT) is None


def test_a_lid_that_stays_leaves_its_eye_as_it_is(points: Tensor) -> None:
    image, there = eyes_drawn(points), points.clone()
    there[[48, 54], 1] -= 4  # a mouth that moves
    with torch.inference_mode():
        made = moved(image, points, there)["image"]
    for chains in EYES:
        eye = Opening.of(points, chains, AT).mask(AT, 2.0) == 1
        assert (made - image).abs()[:, eye].max() < 0.2  # landmarks are not exact for the spline


def lips_drawn(points: Tensor, between: tuple[float, float, float], seam: float) -> tuple[Tensor, Tensor]:
    """Skin and red lips, what landmarks have between them in a colour, and a dark line ``seam`` of it down; and landmarks that have
    lips apart by 0.1 of the eyes' distance."""
    points = points.clone()
    middle = points[[61, 62, 63, 65, 66, 67], 1].mean()
    half = 0.05 * (points[45, 0] - points[36, 0])
    points[[61, 62, 63], 1], points[[67, 66, 65], 1] = middle - half, middle + half
    points[[60, 64], 1] = middle
    points[[50, 51, 52], 1], points[[58, 57, 56], 1] = middle - 3 * half, middle + 3 * half
    points[[48, 54], 1] = middle
    points[[49, 53], 1], points[[59, 55], 1] = middle - 2 * half, middle + 2 * half
    mouth, outer = Opening.of(points, LIPS, AT), Opening.of(points, OUTER_LIPS, AT)
    image = torch.where(outer.mask(AT, 0.5) > 0.5, filled(LIP), filled(SKIN))
    image = torch.where(mouth.mask(AT, 0.5) > 0.5, filled(between), image)
    line = (AT[:, None] - (middle - half + 2 * half * seam)).abs() < 1
    return torch.where(line & (outer.mask(AT, 0.5) > 0.5), filled(DARK), image), points


def test_lips_that_touch_part_where_they_meet(points: Tensor) -> None:
    image, known = lips_drawn(points, LIP, 0.2)
    found = parted(image, known)
    expected = known[62, 1] + 0.2 * (known[66, 1] - known[62, 1])
    assert (found[[61, 62, 63, 65, 66, 67], 1] - expected).abs().max() < 2
    others = [point for point in range(68) if point not in (61, 62, 63, 65, 66, 67)]
    assert torch.equal(found[others], known[others])


def test_teeth_and_a_picture_without_colours_leave_landmarks_as_they_are(points: Tensor) -> None:
    image, known = lips_drawn(points, WHITE, 0.2)
    assert torch.equal(parted(image, known), known)
    grey = image.mean(0, keepdim=True).expand(3, SIDE, SIDE)
    assert torch.equal(parted(grey, known), known)


def test_a_jaw_drops_as_one_line_and_stays_in_the_crop(points: Tensor) -> None:
    own, asked = torch.zeros(2, 17), torch.tensor([pattern("surprise")] * 2)
    down = Motion().shifts(points.double(), own.double(), asked.double())[:17, 1]
    assert down.argmax() == 8 and down[0] == 0 and down[16].abs() < 1e-6
    assert (down[:8].diff() > 0).all() and (down[8:].diff() < 0).all()
    low = points.clone()
    low[:, 1] += SIDE - 4 - points[8, 1]  # a chin four pixels above the border
    with torch.inference_mode():
        made = moved(filled(SKIN), low, low + Motion().shifts(low.double(), own.double(), asked.double()).float())
    came = AT[:, None] / SIDE + made["flow"][1]
    assert (came[:, int(low[8, 0])].diff()[-16:] > 0).all()  # nothing is turned over


def test_a_large_crop_is_looked_at_as_a_small_one(points: Tensor) -> None:
    image = eyes_drawn(points)
    large = torch.nn.functional.interpolate(image[None], (4 * SIDE, 4 * SIDE), mode="nearest")[0]
    at = torch.arange(4 * SIDE) + 0.5
    for chains in EYES:
        small = Iris.of(image, Opening.of(points, chains, AT), AT)
        found = Iris.of(large, Opening.of(4 * points, chains, at), at)
        assert small is not None and found is not None
        assert abs(found.x - 4 * small.x) < 6 and abs(found.y - 4 * small.y) < 6
