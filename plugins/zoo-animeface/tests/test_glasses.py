"""Glasses that are drawn where a photograph has them: a real face, on which some are painted."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from zoo import faces
from zoo.faces.parsing import PARTS
from zoo.pictures.image import read
from zoo_animeface.drawn import drawn_features
from zoo_animeface.skin import SIDE as COARSE
from zoo_animeface.skin import parts_of
from zoo_animeface.translator import FRAME

SAMPLE = Path(__file__).parents[3] / "docs/sample/eileen-collins.jpg"
SIDE = 384
SKIN = 0.5
WIDE, HIGH = 0.07, 0.052
"""Half of what a lens measures, in shares of the side."""


@pytest.fixture(scope="module")
def portrait() -> dict[str, Tensor]:
    image = read(SAMPLE).rgb
    crop = faces.crop(image, faces.find(image)[0], SIDE, FRAME)
    return {"photo": crop.image[None], "landmarks": crop.landmarks[None] / SIDE, "parts": parts_of(crop.image[None])}


def middles(portrait: dict[str, Tensor]) -> list[Tensor]:
    """Of the lenses, right and down in shares of the side."""
    points = portrait["landmarks"][0]
    return [points[eye].mean(0) + torch.tensor([0, 0.01]) for eye in (slice(36, 42), slice(42, 48))]


def lenses(portrait: dict[str, Tensor], side: int, larger: float = 0.0) -> Tensor:
    """(side, side): where they are."""
    at = (torch.arange(side) + 0.5) / side
    return torch.stack(
        [torch.hypot((at - x) / (WIDE + larger), (at[:, None] - y) / (HIGH + larger)) < 1 for x, y in middles(portrait)]
    ).any(0)


def drawn(
    portrait: dict[str, Tensor],
    frame: float = 0.0,
    glass: tuple[float, float, float] | None = None,
    likely: float = 1.0,
) -> Tensor:
    """What is drawn, (3,S,S), of the face with glasses whose dark frames are so wide, in shares of the side, and whose lenses have this colour."""
    photo, parts = portrait["photo"].clone(), portrait["parts"].clone()
    if glass is not None:
        photo[0, :, lenses(portrait, SIDE)] = torch.tensor(glass)[:, None]
    rim = lenses(portrait, SIDE, frame / 2) & ~lenses(portrait, SIDE, -frame / 2)
    photo[0, :, rim] = -0.95
    parts[0, :, lenses(portrait, COARSE)] *= 1 - likely
    parts[0, PARTS.index("glasses"), lenses(portrait, COARSE)] += likely
    return drawn_features(photo, torch.full_like(photo, SKIN), portrait["landmarks"], parts)[0][0]


def at(portrait: dict[str, Tensor], picture: Tensor, lens: int, right: float, down: float) -> Tensor:
    """The colours (3,k) from the middle of a lens on, so many halves of its width to the right and of its height down, and around there."""
    x, y = ((middles(portrait)[lens] + torch.tensor([right * WIDE, down * HIGH])) * SIDE).round().int().tolist()
    return picture[:, y - 6 : y + 7, x - 6 : x + 7].flatten(1)


def test_frames_go_around_the_eyes_that_are_seen_through_them(portrait: dict[str, Tensor]) -> None:
    bare, made = drawn(portrait, likely=0.0), drawn(portrait, 0.012)
    for lens in (0, 1):
        assert at(portrait, made, lens, 0, 0).std() > 0.5  # an eye's white, lashes and lights
        assert torch.allclose(at(portrait, made, lens, 0, 0), at(portrait, bare, lens, 0, 0), atol=0.05)
    ring = lenses(portrait, SIDE, 0.003) & ~lenses(portrait, SIDE, -0.003) & (bare.mean(0) > 0.3)  # and no lashes
    assert ring.sum() > 200 and (made.mean(0)[ring] < 0.1).float().mean() > 0.6
    between = sum(middles(portrait)) / 2 * SIDE
    x, y = between.round().int().tolist()
    assert made[:, y - 20 : y + 5, x].mean(0).min() < -0.1 and bare[:, y - 20 : y + 5, x].mean(0).min() > 0.3


def test_frames_are_as_wide_as_the_photograph_has_them(portrait: dict[str, Tensor]) -> None:
    x, y = (middles(portrait)[1] * SIDE).round().int().tolist()
    beside = slice(x + round(0.7 * WIDE * SIDE), x + round(1.4 * WIDE * SIDE))
    thin, thick = (
        float((SKIN - drawn(portrait, frame)[:, y + 2 : y + 7, beside]).clamp(min=0).mean()) for frame in (0.004, 0.02)
    )
    assert thick > 1.3 * thin > 0


def test_dark_glasses_hide_eyes_and_keep_their_colour(portrait: dict[str, Tensor]) -> None:
    for glass, most in (((-0.9, -0.9, -0.9), None), ((-0.3, -0.9, -0.9), 0)):
        made = drawn(portrait, 0.01, glass)
        for lens in (0, 1):
            colour = at(portrait, made, lens, -0.4, 0).mean(1)
            assert colour.max() < 0.2 and at(portrait, made, lens, -0.4, 0).std(1).max() < 0.2  # no eye
            if most is not None:
                assert colour.argmax() == most and colour[0] > colour[1] + 0.2


def test_who_wears_none_gets_none(portrait: dict[str, Tensor]) -> None:
    assert torch.equal(drawn(portrait, likely=0.1), drawn(portrait, likely=0.0))


def test_a_face_that_is_not_found_changes_nothing(portrait: dict[str, Tensor]) -> None:
    photo = portrait["photo"].repeat(2, 1, 1, 1)
    landmarks = torch.stack([portrait["landmarks"][0], torch.full((68, 2), torch.nan)])
    wanted, where = drawn_features(photo, photo, landmarks, portrait["parts"].repeat(2, 1, 1, 1))
    assert wanted.isfinite().all() and torch.equal(wanted[1], photo[1]) and where[1].max() == 0
