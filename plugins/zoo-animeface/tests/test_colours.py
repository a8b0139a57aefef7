"""Hair, clothes and walls have the photograph's colours in a drawing, and nothing else of it changes."""

from __future__ import annotations

import pytest
import torch
from shared import SAMPLE
from torch import Tensor

from zoo import faces
from zoo.faces.parsing import PARTS
from zoo.pictures.image import read
from zoo_animeface.colours import FACTORS, nose_shaded, own_colours, own_lips, painted_wall, teeth_shown
from zoo_animeface.skin import SIDE, parts_of
from zoo_animeface.translator import FRAME


@pytest.fixture(scope="module")
def photo() -> Tensor:
    image = read(SAMPLE).rgb
    return faces.crop(image, faces.find(image)[0], 160, FRAME).image[None]


def part(parts: Tensor, name: str, size: int) -> Tensor:
    plane = parts[:, [PARTS.index(name)]]
    return torch.nn.functional.interpolate(plane, (size, size), mode="bilinear")[0, 0] > 0.98


def test_a_dull_drawing_gets_the_photographs_colours(photo: Tensor) -> None:
    parts = parts_of(photo)
    dull = 1.6 * ((photo + 1) / 2).mean(1, keepdim=True).expand_as(photo) - 1  # grey, and darker
    made = own_colours(dull, photo, parts)
    for name in ("hair", "background", "clothes"):
        where = part(parts, name, 160)
        wanted, was, now = ((x[0, :, where].mean(1) + 1) / 2 for x in (photo, dull, made))
        assert where.sum() > 200 and (now - wanted).abs().mean() < 0.3 * (was - wanted).abs().mean() + 0.005, name
    for name in ("skin", "eyes"):
        where = part(parts, name, 160)
        torch.testing.assert_close(made[0, :, where], dull[0, :, where], atol=0.02, rtol=0)
    without = own_colours(dull, photo, parts, hair=False)
    where = part(parts, "hair", 160)
    torch.testing.assert_close(without[0, :, where], dull[0, :, where], atol=0.02, rtol=0)


def test_what_has_them_already_stays(photo: Tensor) -> None:
    torch.testing.assert_close(own_colours(photo, photo, parts_of(photo)), photo, atol=1e-4, rtol=0)


def test_no_colour_changes_beyond_bounds_and_what_is_not_seen_does_not(photo: Tensor) -> None:
    parts = torch.zeros(1, len(PARTS), SIDE, SIDE)
    parts[:, PARTS.index("background")] = 1
    parts[:, :, :2, :2] = 0
    parts[:, PARTS.index("hair"), :2, :2] = 1  # too little to know its colour
    made = own_colours(torch.full((1, 3, 64, 64), -0.8), torch.ones(1, 3, 64, 64), parts)
    assert float(made[0, 0, 32, 32]) == pytest.approx(FACTORS[1] * 0.2 - 1, abs=1e-4)
    assert float(made[0, 0, 0, 0]) == pytest.approx(-0.8, abs=0.01)


def test_a_wall_is_painted_without_the_networks_lines_and_people_stay_drawn(photo: Tensor) -> None:
    parts = parts_of(photo)
    drawing = photo.clone()
    drawing[:, :, :, ::6] = -1  # lines everywhere
    made = painted_wall(drawing, photo, parts)
    wall = part(parts, "background", 160)
    inside = -torch.nn.functional.max_pool2d(-wall.float()[None], 9, 1, 4)[0] > 0  # outlines are the drawing's
    lines, still = ((x[0, :, inside] - photo[0, :, inside]).abs().mean() for x in (drawing, made))
    assert inside.sum() > 1000 and still < 0.1 * lines
    for name in ("skin", "hair", "eyes", "clothes"):
        where = part(parts, name, 160)
        torch.testing.assert_close(made[0, :, where], drawing[0, :, where], atol=0.03, rtol=0)


def test_a_painted_wall_keeps_its_edges_and_loses_its_pattern() -> None:
    parts = torch.zeros(1, len(PARTS), SIDE, SIDE)
    parts[:, PARTS.index("background")] = 1
    photo = torch.full((1, 3, 256, 256), 0.8)
    photo[:, :, :, 128:] = -0.8
    photo += 0.1 * torch.randn(1, 1, 256, 256, generator=torch.Generator().manual_seed(0))
    made = painted_wall(torch.zeros_like(photo), photo.clamp(-1, 1), parts)
    assert (made[..., 20:110] - 0.8).abs().max() < 0.1 and (made[..., 146:236] + 0.8).abs().max() < 0.1
    assert (made[..., 116] - made[..., 139]).min() > 1.2  # within a tenth of the picture
    assert made[..., 20:110].std() < 0.3 * photo[..., 20:110].clamp(-1, 1).std()


@pytest.mark.parametrize("lips", [(0.75, 0.1, 0.2), (0.6, 0.35, 0.35)])
def test_lips_differ_from_skin_as_the_photographs_do(photo: Tensor, lips: tuple[float, ...]) -> None:
    parts = parts_of(photo)
    mouth = part(parts, "mouth", 160)
    seen, drawing = photo.clone(), torch.full_like(photo, 0.5)
    seen[0, :, mouth] = 2 * torch.tensor(lips)[:, None] - 1
    drawing[0, :, mouth] = -0.2  # grey
    made = (own_lips(drawing, seen, parts) + 1) / 2
    red, green, blue = made[0, :, mouth].mean(1)
    assert red > green + (0.15 if lips[1] < 0.2 else 0.02) and red > blue
    assert torch.equal(made[0, :, :60], (drawing[0, :, :60] + 1) / 2)  # nothing but the mouth


def test_a_nose_has_a_shade_where_it_ends_and_nothing_else_has(photo: Tensor) -> None:
    parts = parts_of(photo)
    drawing = torch.full_like(photo, 0.6)
    darker = (drawing - nose_shaded(drawing, parts))[0].mean(0)
    nose = part(parts, "nose", 160)
    assert darker.max() > 0.2 and darker.min() >= 0
    rows, columns = (darker > 0.1).nonzero().T
    where = nose.nonzero()
    top, bottom = where[:, 0].min(), where[:, 0].max()
    assert rows.min() > (top + bottom) / 2 and rows.max() < bottom + 8
    assert where[:, 1].min() < columns.min() and columns.max() < where[:, 1].max()
    nobody = torch.zeros_like(parts)
    nobody[:, PARTS.index("skin")] = 1
    torch.testing.assert_close(nose_shaded(drawing, nobody), drawing)


def test_who_has_no_mouth_has_no_lips() -> None:
    parts = torch.zeros(1, len(PARTS), SIDE, SIDE)
    parts[:, PARTS.index("skin")] = 1
    drawing = torch.zeros(1, 3, 64, 64)
    torch.testing.assert_close(own_lips(drawing, torch.ones(1, 3, 64, 64), parts), drawing)


def test_a_smile_shows_its_teeth_and_lips_that_are_shut_show_none(photo: Tensor) -> None:
    parts = parts_of(photo)  # she laughs
    drawing = torch.full_like(photo, -0.2)
    made = teeth_shown(drawing, photo, parts)
    changed = (made - drawing).abs().amax(1)[0] > 0.3
    mouth = part(parts, "mouth", 160)
    assert 0.1 < (changed & mouth).sum() / mouth.sum() < 0.9
    assert float(made[0, :, changed].max()) > 0.8
    near = torch.nn.functional.max_pool2d(mouth.float()[None], 9, 1, 4)[0] > 0
    assert not changed[~near].any()
    lips = photo.clone()
    lips[0, :, near] = torch.tensor([0.3, -0.2, -0.2])[:, None]
    assert torch.equal(teeth_shown(drawing, lips, parts), drawing)


def test_who_has_no_mouth_has_no_teeth() -> None:
    parts = torch.zeros(1, len(PARTS), SIDE, SIDE)
    parts[:, PARTS.index("background")] = 1
    drawing = torch.zeros(1, 3, 64, 64)
    assert torch.equal(teeth_shown(drawing, torch.ones(1, 3, 64, 64), parts), drawing)
