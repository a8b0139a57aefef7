"""Where the object is, told by the filters that respond to it."""

from __future__ import annotations

import pytest
import torch
from test_filters import TOMATO, Seer, picture
from torch import Tensor
from torch.nn import functional as F

from zoo.errors import ControlError, ImageError
from zoo.pictures.image import to_pil, write
from zoo_partstyle.choose import choose
from zoo_partstyle.locate import Found, object_map
from zoo_partstyle.objects import ObjectSet


@pytest.fixture(scope="module")
def tomato(tmp_path_factory: pytest.TempPathFactory) -> ObjectSet:
    folder = tmp_path_factory.mktemp("pictures")
    for i in range(25):
        write(to_pil(picture(i, i % 5 < 2)[0]), folder / f"{'tomato' if i % 5 < 2 else 'lawn'}-{i}.png")
    return choose(Seer(), sorted(folder.iterdir()), TOMATO, "tomato", layers=("conv5_1",)).set


def planted(h: int, w: int) -> tuple[Tensor, Tensor]:
    """A picture with a red square, and the square."""
    image = F.interpolate(picture(99, False, 128), (h, w), mode="bilinear")
    square = torch.zeros(1, 1, h, w)
    side = min(h, w) // 2
    square[..., h // 4 : h // 4 + side, w // 3 : w // 3 + side] = 1
    return image + square * torch.tensor([1.2, 0, 0]).view(1, 3, 1, 1), square


def parts(found: Found, square: Tensor) -> tuple[float, float]:
    inside = float((found.map * square).sum() / square.sum())
    return inside, float((found.map * (1 - square)).sum() / (1 - square).sum())


@pytest.mark.parametrize("size", [(64, 64), (200, 130), (97, 311), (480, 600)])
def test_the_map_follows_the_object(tomato: ObjectSet, size: tuple[int, int]) -> None:
    image, square = planted(*size)
    found = object_map(Seer(), image, tomato)
    assert found.map.shape == (1, 1, *size) and 0 <= float(found.map.min()) <= float(found.map.max()) <= 1
    inside, outside = parts(found, square)
    assert found.sure and inside > 0.8 and inside > 5 * outside


def test_it_moves_with_the_object(tomato: ObjectSet) -> None:
    image, square = planted(160, 160)
    found = object_map(Seer(), image.flip(3), tomato)
    inside, outside = parts(found, square.flip(3))
    assert inside > 5 * outside


def test_an_object_that_is_not_there(tomato: ObjectSet) -> None:
    found = object_map(Seer(), picture(123, False, 128), tomato)
    assert not found.sure and float(found.map.mean()) < 0.1


def test_the_same_each_time_and_no_trace(tomato: ObjectSet) -> None:
    image, _ = planted(96, 128)
    before, state = image.clone(), torch.get_rng_state()
    first, again = (object_map(Seer(), image, tomato).map for _ in range(2))
    assert torch.equal(first, again) and torch.equal(image, before) and torch.equal(torch.get_rng_state(), state)
    assert not first.requires_grad and not first.is_inference()


@pytest.mark.parametrize("value", [-1.0, 0.0, 1.0])
def test_a_picture_of_one_colour(tomato: ObjectSet, value: float) -> None:
    found = object_map(Seer(), torch.full((1, 3, 80, 100), value), tomato)
    assert bool(found.map.isfinite().all())


def test_too_small(tomato: ObjectSet) -> None:
    with pytest.raises(ImageError, match="63×200 is too small"):
        object_map(Seer(), torch.zeros(1, 3, 200, 63), tomato)


def test_a_set_without_a_place(tomato: ObjectSet) -> None:
    with pytest.raises(ControlError, match="does not say where"):
        object_map(Seer(), torch.zeros(1, 3, 64, 64), tomato.model_copy(update={"place": None}))
