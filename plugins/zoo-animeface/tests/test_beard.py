"""Beards: drawn where a photograph has dark rough skin around the mouth, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from zoo import faces
from zoo.faces.parsing import PARTS
from zoo.pictures.image import read
from zoo_animeface.beard import bearded
from zoo_animeface.skin import parts_of
from zoo_animeface.translator import FRAME

SAMPLE = Path(__file__).parents[3] / "docs/sample/eileen-collins.jpg"
SIDE = 256


@pytest.fixture(scope="module")
def woman() -> tuple[Tensor, Tensor, Tensor]:
    """A photograph without a beard, its landmarks, and planes of parts whose skin is all below the eyes but the mouth."""
    image = read(SAMPLE).rgb
    crop = faces.crop(image, faces.find(image)[0], SIDE, FRAME)
    points = crop.landmarks
    parts = torch.zeros(1, len(PARTS), 128, 128)
    left, right = points[2, 0] / 2, points[14, 0] / 2
    top, low = points[37, 1] / 2, points[8, 1] / 2
    parts[:, PARTS.index("background")] = 1
    rows, columns = slice(int(top), int(low)), slice(int(left), int(right))
    parts[:, :, rows, columns] = 0
    parts[:, PARTS.index("skin"), rows, columns] = 1
    (x0, y0), (x1, y1) = (points[48:60] / 2).amin(0).tolist(), (points[48:60] / 2).amax(0).tolist()
    parts[:, :, int(y0) : int(y1) + 1, int(x0) : int(x1) + 1] = 0
    parts[:, PARTS.index("mouth"), int(y0) : int(y1) + 1, int(x0) : int(x1) + 1] = 1
    return crop.image[None], points[None], parts


def grown(woman: tuple[Tensor, Tensor, Tensor], dark: float, rough: float, to: float = 1.0) -> Tensor:
    """The photograph with a beard that is so dark and so rough, from the right ear so far towards the left one."""
    photo, points, _ = woman
    noise = torch.randn(1, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    rows = slice(int(points[0, 33, 1]) + 6, int(points[0, 8, 1]))
    left, right = int(points[0, 3, 0]), int(points[0, 13, 0])
    columns = slice(left, left + round(to * (right - left)))
    photo = photo.clone()
    light = (photo + 1) / 2 * dark + rough * noise
    photo[:, :, rows, columns] = (2 * light - 1).clamp(-1, 1)[:, :, rows, columns]
    return photo


def changed(woman: tuple[Tensor, Tensor, Tensor], photo: Tensor) -> Tensor:
    """(H,W): where a plain drawing of a photograph gets darker, by how much."""
    drawing = torch.full_like(photo, 0.5)
    return (drawing - bearded(drawing, photo, woman[1], woman[2])).mean(1)[0]


def test_a_beard_is_drawn_around_the_mouth(woman: tuple[Tensor, Tensor, Tensor]) -> None:
    points = woman[1][0]
    made = changed(woman, grown(woman, 0.35, 0.06))
    x, y = ((points[57] + points[8]) / 2).long().tolist()
    assert made[y, x] > 0.3
    for jaw, corner in ((4, 48), (12, 54)):
        x, y = (0.4 * points[jaw] + 0.6 * points[corner]).long().tolist()
        assert made[y, x] > 0.3
    x, y = points[62].long().tolist()
    assert (
        made[y, x] == 0 and made[: int(points[30, 1])].abs().max() < 1e-6
    )  # the mouth, and what is above the nose's end


@pytest.mark.parametrize(
    ("dark", "rough", "to"), [(0.35, 0.0, 1.0), (0.35, 0.06, 0.4), (0.85, 0.03, 1.0), (1.0, 0.0, 1.0)],
    ids=["even shade", "shade of one side", "light", "none"],
)  # fmt: skip
def test_shade_is_no_beard(woman: tuple[Tensor, Tensor, Tensor], dark: float, rough: float, to: float) -> None:
    assert changed(woman, grown(woman, dark, rough, to)).abs().max() < 0.02


def test_the_sample_has_none(woman: tuple[Tensor, Tensor, Tensor]) -> None:
    photo, points, _ = woman
    assert torch.equal(bearded(photo, photo, points, parts_of(photo)), 2 * ((photo + 1) / 2) - 1)
