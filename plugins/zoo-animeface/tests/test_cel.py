"""How drawings are painted: what lies beside lines goes, lines stay, hair has the photograph's strands, skin its shades."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from zoo import faces
from zoo.faces.parsing import PARTS
from zoo.pictures.image import read
from zoo_animeface.cel import SHADE, along, painted, strands
from zoo_animeface.skin import parts_of
from zoo_animeface.translator import FRAME

SAMPLE = Path(__file__).parents[3] / "docs/sample/eileen-collins.jpg"
SIDE = 256
SKIN, HAIR, WALL = (0.9, 0.7, 0.6), (0.5, 0.4, 0.3), (0.6, 0.7, 0.8)
EYES, CHIN = 110, 200  # rows of a drawing of shapes
WHOLE, LEVEL = slice(None), slice(118, 138)


def coloured(*colours: tuple[float, float, float]) -> list[Tensor]:
    return [torch.tensor(colour)[:, None, None] for colour in colours]


@pytest.fixture
def shapes() -> dict[str, Tensor]:
    """Skin from row 64 on and from column 64 to 192, hair above it, wall beside both; drawn so, and a grey photograph of it."""
    parts = torch.zeros(1, len(PARTS), 128, 128)
    parts[:, PARTS.index("background")] = 1
    for name, rows in (("hair", slice(0, 32)), ("skin", slice(32, 128))):
        parts[:, :, rows, 32:96] = 0
        parts[:, PARTS.index(name), rows, 32:96] = 1
    skin, hair, wall = coloured(SKIN, HAIR, WALL)
    drawing = wall.expand(3, SIDE, SIDE).clone()
    drawing[:, 64:, 64:192], drawing[:, :64, 64:192] = skin, hair
    points = torch.full((1, 68, 2), 128.0)
    points[0, :17, 0], points[0, :17, 1] = (
        torch.linspace(56, 200, 17),
        100 + 100 * torch.linspace(0, torch.pi, 17).sin(),
    )
    for eye, x in ((slice(36, 42), 100.0), (slice(42, 48), 156.0)):
        points[0, eye, 0], points[0, eye, 1] = x, EYES
    return {"drawing": drawing[None], "photo": torch.full((1, 3, SIDE, SIDE), 0.5), "landmarks": points, "parts": parts}


def paint(shapes: dict[str, Tensor], own_hair: bool = False) -> Tensor:
    tones = {name: 2 * shapes[name] - 1 for name in ("drawing", "photo")}
    return (painted(**{**shapes, **tones}, own_hair=own_hair)[0] + 1) / 2


def off(picture: Tensor, colour: tuple[float, float, float]) -> float:
    return float((picture - coloured(colour)[0]).abs().max())


def test_rings_along_lines_go_and_lines_stay(shapes: dict[str, Tensor]) -> None:
    drawing = shapes["drawing"]
    for edge in (64, 192):  # an outline, light on both of its sides
        drawing[..., edge - 5 : edge + 5] = 1.0  # in blue 0.4 lighter than skin, 0.2 than the wall
        drawing[..., edge - 1 : edge + 1] = 0.1
    made = paint(shapes)
    for edge, inside, outside in ((64, slice(66, 72), slice(56, 62)), (192, slice(184, 190), slice(194, 200))):
        assert made[:, LEVEL, edge - 1 : edge + 1].max() < 0.3
        assert off(made[:, LEVEL, inside], SKIN) < 0.12 and off(made[:, LEVEL, outside], WALL) < 0.05
    assert off(made[:, :, :24], WALL) < 0.02


def test_skin_is_one_colour_but_for_its_shades(shapes: dict[str, Tensor]) -> None:
    noise = torch.rand(shapes["drawing"].shape, generator=torch.Generator().manual_seed(0)) - 0.5
    plain = paint(shapes)
    made = paint({**shapes, "drawing": (shapes["drawing"] + 0.1 * noise).clamp(0, 1)})
    assert off(plain[:, LEVEL, 80:176], SKIN) < 0.02 and made[:, LEVEL, 80:176].std((1, 2)).max() < 0.01
    shade = tuple(a * b for a, b in zip(SKIN, SHADE))
    assert off(plain[:, CHIN + 6 : CHIN + 16, 124:132], shade) < 0.03  # below the chin, and not farther down
    assert off(plain[:, 245:, 100:150], SKIN) < 0.02
    assert off(plain[:, 66:69, 100:150], shade) < 0.06 and off(plain[:, 80:90, 100:150], SKIN) < 0.02  # below the hair


def test_hair_has_the_strands_of_the_photograph_in_the_drawings_colour(shapes: dict[str, Tensor]) -> None:
    one = paint(shapes)[:, 12:50, 90:166]
    assert off(one, HAIR) < 0.03
    shapes["photo"][..., ::16] = shapes["photo"][..., 1::16] = shapes["photo"][..., 2::16] = (
        0.9  # upright light strands
    )
    made = paint(shapes)[:, 12:50, 90:166]
    columns = made.mean((0, 1))
    assert columns.max() > 1.2 * one.mean() and columns.min() < 1.02 * one.mean()
    assert made.std(1).max() < 0.05  # along a strand it is the same
    assert (made[0] / made[1]).std() < 0.02 and (made[1] / made[2]).std() < 0.02


def test_hair_has_the_colours_of_the_photograph_where_they_are(shapes: dict[str, Tensor]) -> None:
    ends = (0.2, 0.3, 0.5), (0.5, 0.3, 0.2)
    for colour, columns in zip(coloured(*ends), (slice(None, 128), slice(128, None))):
        shapes["photo"][0, :, :, columns] = colour
    shapes["drawing"][..., 20:50, 80:176] = coloured(SKIN)[0]  # a network that takes a fringe for a forehead
    made = paint(shapes, own_hair=True)
    for colour, columns in zip(ends, (slice(68, 90), slice(166, 188))):
        assert off(made[:, 8:50, columns], colour) < 0.16  # a little more vivid, and black is lighter


def test_what_is_smeared_between_hair_and_skin_is_one_of_them(shapes: dict[str, Tensor]) -> None:
    parts = shapes["parts"]
    for name, likely in (("skin", 0.6), ("hair", 0.4)):  # a forehead below a thin fringe
        parts[:, PARTS.index(name), 32:48, 40:88] = likely
    smear = coloured((0.72, 0.6, 0.52))[0]
    shapes["drawing"][..., 70:90, 90:166] = smear
    made = paint(shapes)[:, 76:86, 100:156]
    assert off(made, SKIN) < 0.08 < 0.5 * off(smear, SKIN)


@pytest.mark.parametrize("name", ["clothes", "hat"])
def test_clothes_and_hats_have_the_photographs_colours_and_an_outline(shapes: dict[str, Tensor], name: str) -> None:
    parts, green = shapes["parts"], (0.2, 0.5, 0.3)
    parts[:, :, 104:, 16:112] = 0
    parts[:, PARTS.index(name), 104:, 16:112] = 1
    shapes["photo"][..., 208:, 32:224] = coloured(green)[0]
    plain = paint(shapes)
    assert off(plain[:, 225:250, 50:200], green) < 0.03  # whatever a network drew
    edge = plain[:, 225:250, 26:40].mean((0, 1))
    assert edge.min() < 0.6 * torch.minimum(edge[0], edge[-1])
    for column in range(40, 216, 32):
        shapes["photo"][..., 208:, column : column + 16] *= 0.7
    striped = paint(shapes)[:, 225:250, 50:200]
    assert striped.mean((0, 1)).max() > 1.2 * striped.mean((0, 1)).min()
    assert (striped[1] > 1.5 * striped[0]).all()


def test_a_white_shirt_under_a_black_jacket_is_white(shapes: dict[str, Tensor]) -> None:
    parts = shapes["parts"]
    parts[:, :, 104:, 16:112] = 0
    parts[:, PARTS.index("clothes"), 104:, 16:112] = 1
    shapes["photo"][..., 208:, 32:224] = 0.08
    shapes["photo"][..., 208:, 116:140] = 0.95
    made = paint(shapes)[:, 225:250]
    assert made[..., 122:134].min() > 0.85 and made[..., 60:90].max() < 0.2


def test_planes_are_averaged_along_lines() -> None:
    stripes = (torch.arange(64) // 4 % 2).float().expand(1, 1, 64, 64)
    noise = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0)) - 0.5
    flow = strands(stripes)
    assert flow[0, 0, 16:48, 16:48].abs().max() < 1e-3  # upright
    turned = strands(stripes.mT)
    assert turned[0, 1, 16:48, 16:48].abs().max() < 1e-3
    made = along(stripes + noise, flow) - stripes
    assert made[..., 16:48, 16:48].std() < 0.3 * noise.std()
    assert (along(stripes, flow) - stripes)[..., 16:48, 16:48].abs().max() < 0.05


def test_real_faces_of_any_number_and_sizes() -> None:
    image = read(SAMPLE).rgb
    face = faces.find(image)[0]
    both = []
    for side in (96, 250):
        crop = faces.crop(image, face, side, FRAME)
        photo, points = crop.image[None], crop.landmarks[None]
        two = painted(*(torch.cat([x, x]) for x in (photo, photo, points, parts_of(photo))))
        assert two.shape == (2, 3, side, side) and torch.equal(two[0], two[1]) and two.abs().max() <= 1
        both.append(torch.nn.functional.interpolate(two[:1], (64, 64), mode="area"))
    assert (both[0] - both[1]).abs().mean() < 0.08
    nobody = torch.zeros_like(parts_of(photo))
    nobody[:, PARTS.index("background")] = 1
    assert painted(photo, photo, points, nobody).isfinite().all()
