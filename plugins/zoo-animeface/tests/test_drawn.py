"""Brows, eyes and mouths drawn by a photograph's landmarks, and results compared with them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from zoo import faces
from zoo.faces.parsing import PARTS
from zoo.pictures.image import read
from zoo_animeface.drawn import DrawnFeaturesLoss, drawn_features, with_features
from zoo_animeface.skin import parts_of
from zoo_animeface.translator import FRAME

SAMPLE = Path(__file__).parents[3] / "docs/sample/eileen-collins.jpg"
SIDE = 192
SKIN = 0.5


@pytest.fixture(scope="module")
def portrait() -> dict[str, Tensor]:
    """A real face, cut out as it is drawn, and its landmarks."""
    image = read(SAMPLE).rgb
    crop = faces.crop(image, faces.find(image)[0], SIDE, FRAME)
    return {"source": crop.image[None], "landmarks": crop.landmarks[None] / SIDE}


def drawn(portrait: dict[str, Tensor], **changed: Tensor) -> tuple[Tensor, Tensor]:
    """What shall be drawn of it on skin of one colour, (3,H,W) in [-1,1], and how much that counts, (H,W)."""
    step = {**portrait, **changed}
    paper = torch.full_like(step["source"], SKIN)
    wanted, where = drawn_features(step["source"], paper, step["landmarks"], parts_of(portrait["source"]))
    return wanted[0], where[0, 0]


def moved(portrait: dict[str, Tensor], points: list[int], down: float) -> Tensor:
    landmarks = portrait["landmarks"].clone()
    landmarks[:, points, 1] += down
    return landmarks


def lowest_row(dark: Tensor, column: int) -> int:
    return int(dark[:, column].nonzero().max())


def test_strokes_are_where_the_photograph_has_brows(portrait: dict[str, Tensor]) -> None:
    wanted, where = drawn(portrait)
    points = portrait["landmarks"][0] * SIDE
    for point in (19, 24):  # their middles
        x, y = points[point].long().tolist()
        assert wanted[:, y - 2 : y + 3, x].mean(0).min() < -0.3 and where[y - 2 : y + 3, x].max() > 2
    x, y = points[21:23].mean(0).long().tolist()  # between them
    assert (wanted[:, y, x] - SKIN).abs().max() < 1e-5
    raised, _ = drawn(portrait, landmarks=moved(portrait, [*range(17, 27)], -0.03))
    middle = round(float(points[19, 0]))
    above = slice(None, int(points[37, 1]) - 8)
    assert lowest_row(raised.mean(0)[above] < 0, middle) <= lowest_row(wanted.mean(0)[above] < 0, middle) - 4


def test_eyes_are_large_have_their_colour_and_shut(portrait: dict[str, Tensor]) -> None:
    points = portrait["landmarks"][0] * SIDE
    x, y = points[36:42].mean(0).long().tolist()
    low = round(float(points[40:42, 1].mean()))
    wide = round(float(points[39, 0] - points[36, 0]))

    def iris(colour: tuple[float, float, float]) -> tuple[Tensor, Tensor]:
        photo = portrait["source"].clone()
        photo[..., y - 6 : low + 2, x - wide // 3 : x + wide // 3] = photo.new_tensor(colour)[:, None, None]
        return drawn(portrait, source=photo)

    (blue, where), (brown, _) = iris((-0.6, -0.2, 0.6)), iris((0.1, -0.4, -0.8))
    iris_of = slice(low - 2, low + wide // 3), slice(x - round(0.34 * wide), x - round(0.24 * wide))
    assert (blue[2] - blue[0])[iris_of].max() > 0.2 and (brown[0] - brown[2])[iris_of].max() > 0.2
    assert (blue - SKIN).abs()[:, low + wide // 3, x].max() > 0.2 and where[low + wide // 3, x] > 1  # far below the lid
    red, _ = iris((0.0, -0.8, -0.8))
    shown = ((red + 1) / 2)[(slice(None), *iris_of)].flatten(1)
    reddest = shown[:, (shown[0] - shown[2]).argmax()]
    assert reddest[0] > 0.2 and reddest[1] > 0.55 * reddest[0] > reddest[2]  # the reddest eyes are brown
    eyes = torch.tensor([*range(36, 48)])
    shut = portrait["landmarks"].clone()
    for upper, lower in ((37, 41), (38, 40), (43, 47), (44, 46)):
        shut[:, upper] = shut[:, lower]
    closed, counts = drawn(portrait, landmarks=shut)
    box = points[eyes[:6]]
    inside = closed[:, low + 4 : low + wide // 3, int(box[:, 0].min()) : int(box[:, 0].max())]
    assert (inside - SKIN).abs().max() < 1e-5 and counts[low + wide // 3, x] == 1  # skin is wanted there
    assert closed[:, low - 4 : low + 4, x].min() < -0.3  # below a line of lashes


def test_shut_lips_are_a_line_from_corner_to_corner(portrait: dict[str, Tensor]) -> None:
    shut = portrait["landmarks"].clone()
    shut[:, [65, 66, 67]] = shut[:, [63, 62, 61]]
    points = shut[0] * SIDE
    frown = shut.clone()
    frown[:, [48, 60, 54, 64], 1] += 0.02
    for landmarks, step in ((shut, points), (frown, frown[0] * SIDE)):
        wanted, _ = drawn(portrait, landmarks=landmarks)
        for point in (61, 62, 63):
            x, y = step[point].long().tolist()
            column = wanted.mean(0)[:, x]
            assert abs(int(column[y - 6 : y + 7].argmin()) - 6) <= 1 and column[y - 1 : y + 2].min() < 0


def test_open_mouths_show_the_teeth_that_the_photograph_shows(portrait: dict[str, Tensor]) -> None:
    landmarks = portrait["landmarks"].clone()
    landmarks[:, [61, 62, 63], 1] -= 0.02
    landmarks[:, [65, 66, 67], 1] += 0.03
    x, y = (landmarks[0, [62, 66]].mean(0) * SIDE).long().tolist()
    seen = []
    for tone in (0.9, -0.9):
        photo = portrait["source"].clone()
        photo[..., y - 12 : y + 13, x - 20 : x + 21] = tone
        seen.append(drawn(portrait, source=photo, landmarks=landmarks)[0][:, y, x])
    assert seen[0].min() > 0.8 and seen[1].max() < -0.2 and seen[1][0] > seen[1][1] + 0.2  # a dark mouth is red


def test_what_is_drawn_so_costs_nothing_and_what_is_not_has_a_gradient(portrait: dict[str, Tensor]) -> None:
    loss = DrawnFeaturesLoss()
    wanted, where = drawn(portrait)
    plain = torch.full_like(portrait["source"], SKIN).requires_grad_(True)
    value = loss({**portrait, "output": plain})
    value.backward()
    assert value.dtype == torch.float32 and loss({**portrait, "output": wanted[None]}) < 0.2 * value
    assert plain.grad is not None and plain.grad[0][:, where == 0].abs().max() == 0 < plain.grad.abs().max()


def test_without_a_face_or_behind_hair_nothing_is_asked(portrait: dict[str, Tensor]) -> None:
    output = torch.full_like(portrait["source"], SKIN).requires_grad_(True)
    nowhere = torch.full_like(portrait["landmarks"], torch.nan)
    value = DrawnFeaturesLoss()({**portrait, "landmarks": nowhere, "output": output})
    value.backward()
    assert value == 0 and output.grad is not None and output.grad.abs().max() == 0
    both = {name: torch.cat([tensor, tensor]) for name, tensor in portrait.items()}
    both["landmarks"][1] = torch.nan
    one, two = (DrawnFeaturesLoss()({**step, "output": step["source"]}) for step in (portrait, both))
    assert one == pytest.approx(float(two), rel=1e-5)  # a picture without a face does not dilute the others
    hair = torch.zeros_like(parts_of(portrait["source"]))
    hair[:, PARTS.index("hair")] = 1
    assert drawn_features(portrait["source"], portrait["source"], portrait["landmarks"], hair)[1].max() == 0


def test_features_are_drawn_in_a_drawing(portrait: dict[str, Tensor]) -> None:
    photo, points = portrait["source"][0], portrait["landmarks"][0] * SIDE
    drawing = torch.full_like(photo, SKIN)
    made = with_features(photo[None], drawing[None], points[None], parts_of(photo[None]))[0]
    changed = (made - drawing).abs().amax(0) > 0.02
    for part in (range(17, 22), range(36, 42), range(48, 60)):
        x, y = points[list(part)].mean(0).long().tolist()
        assert changed[y - 6 : y + 7, x - 6 : x + 7].any()
    assert (
        not changed[:, : int(points[0, 0])].any() and not changed[int(points[8, 1]) :].any()
    )  # beside the face, below it
    assert changed.float().mean() < 0.12


def test_in_short_numbers_the_same_is_wanted(portrait: dict[str, Tensor]) -> None:
    output = torch.full_like(portrait["source"], SKIN)
    values = []
    for short in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=short):
            source = portrait["source"].bfloat16() if short else portrait["source"]
            values.append(float(DrawnFeaturesLoss()({**portrait, "source": source, "output": output})))
    assert values[1] == pytest.approx(values[0], rel=0.02)


def test_a_wink_is_one_and_a_smile_is_none(portrait: dict[str, Tensor]) -> None:
    points = portrait["landmarks"][0] * SIDE
    rows = slice(int(points[36:48, 1].max()) + 4, int(points[36:48, 1].max()) + 8)

    def irises(right: float, left: float) -> list[bool]:
        landmarks = portrait["landmarks"].clone()
        for (upper, lower), share in (((37, 41), right), ((38, 40), right), ((43, 47), left), ((44, 46), left)):
            landmarks[:, upper] = torch.lerp(landmarks[:, lower], landmarks[:, upper], share)
        wanted, _ = drawn(portrait, landmarks=landmarks)
        columns = [points[list(eye), 0].mean().long() for eye in (range(36, 42), range(42, 48))]
        return [bool((wanted[:, rows, column] - SKIN).abs().max() > 0.2) for column in columns]

    assert irises(1, 1) == [True, True] and irises(1, 0) == [True, False] and irises(0, 1) == [False, True]
    height = (points[[40, 41], 1] - points[[37, 38], 1]).mean() / (points[39, 0] - points[36, 0])
    nearly, shut = 0.2 / float(height), 0.14 / float(height)  # heights in shares of the width
    assert irises(nearly, shut) == irises(shut, nearly)


def test_lips_of_a_grey_photograph_are_as_most_are(portrait: dict[str, Tensor]) -> None:
    points = portrait["landmarks"][0] * SIDE
    grey = portrait["source"].mean(1, keepdim=True).expand(-1, 3, -1, -1)
    x, y = ((points[57] + points[66]) / 2).round().long().tolist()  # in the lower lip
    red, green, blue = ((drawn(portrait, source=grey)[0][:, y, x] + 1) / 2 / ((SKIN + 1) / 2)).tolist()
    assert 0.75 < red < 0.95 and 0.6 < green < red - 0.05 and abs(green - blue) < 0.05
