"""Folds and shades that come with an expression: where they are, where they are not, and how a table of them is learned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from moving import mover_in, sample_head
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from zoo import faces
from zoo.errors import ConfigError, IntegrityError, UsageError
from zoo.generator import build_generator
from zoo.pictures.image import read
from zoo.recipe import load_recipe
from zoo_expression.shade import TABLE, Shade, read_shade
from zoo_expression.shade_table import shade_table
from zoo_expression.table import COLUMNS, write_table
from zoo_expression.units import ROW


@pytest.fixture(scope="module")
def head() -> Image.Image:
    return sample_head()


@pytest.fixture(scope="module")
def crop(head: Image.Image) -> faces.Crop:
    image = read(head).rgb
    return faces.crop(image, faces.find(image)[0], 256)


def shaded(crop: faces.Crop, **units: float) -> Tensor:
    """What a change of units adds to the crop, in both halves alike or in one: AU12_left."""
    change = torch.zeros(2, 17)
    for name, value in units.items():
        number, _, half = name.removeprefix("AU").partition("_")
        change[{"left": slice(0, 1), "right": slice(1, 2)}.get(half, slice(None)), ROW[int(number)]] = value
    return Shade()(crop.image, crop.landmarks, change).mean(0)


# -- what is seen ---------------------------------------------------------------------------------------------------------


def test_a_smile_has_folds_beside_the_mouth_and_lighter_cheeks(crop: faces.Crop) -> None:
    light = shaded(crop, AU6=2, AU12=2)
    at = crop.landmarks
    fold = (at[48] + at[31]) / 2 - torch.tensor([8.0, 0.0])  # from the nose to the corner of the mouth
    x, y = fold.int().tolist()
    assert light[y - 4 : y + 5, x - 4 : x + 5].mean() < -0.02
    top, bottom, left, right = (int(v) for v in (at[41, 1] + 8, at[48, 1], at[1, 0], at[31, 0]))
    assert light[top:bottom, left:right].max() > 0.04  # the cheek
    assert light.abs().max() < 0.6


def test_eyes_lips_and_what_is_around_the_face_have_none(crop: faces.Crop) -> None:
    light, at = shaded(crop, AU4=2, AU6=2, AU9=2, AU10=2, AU12=2), crop.landmarks
    for points in (range(36, 42), range(42, 48), range(60, 68)):
        x, y = at[list(points)].mean(0).int().tolist()
        assert light[y - 2 : y + 3, x - 2 : x + 3].abs().max() < 0.05
    assert light[:, :8].abs().max() < 0.02 and light[:, -8:].abs().max() < 0.02


def test_each_half_has_its_own(crop: faces.Crop) -> None:
    left, right = shaded(crop, AU12_left=2), shaded(crop, AU12_right=2)
    middle = int(crop.landmarks[30, 0])
    assert left[:, middle:].abs().sum() > 5 * left[:, :middle].abs().sum()  # an owner's left is on the right
    assert right[:, :middle].abs().sum() > 5 * right[:, middle:].abs().sum()
    torch.testing.assert_close(left + right, shaded(crop, AU12=2), atol=0.02, rtol=0)


def test_units_without_folds_and_no_change_leave_the_light_as_it_is(crop: faces.Crop) -> None:
    assert not shaded(crop, AU2=2, AU15=2, AU25=2, AU45=2).any() and not shaded(crop).any()


def test_it_comes_with_motion_where_the_weights_say_so(tmp_path: Path, head: Image.Image) -> None:
    plain, folded = (
        mover_in(_new(tmp_path, name), "ganimation-convnext-small", **o) for name, o in (("a", {}), ("b", {"shade": 1}))
    )
    same = {"AU6": 0.0, "AU12": 0.0}
    assert np.array_equal(folded.translate(head, **same), head)
    one, other = (np.asarray(model.translate(head, AU12=2)).astype(int) for model in (plain, folded))
    assert np.abs(one - other).max() > 10
    back = np.asarray(folded.translate(folded.translate(head, AU4=2), AU4=2)).astype(int)
    assert np.abs(back - np.asarray(head)).mean() < 20


def test_shade_goes_with_motion() -> None:
    network = load_recipe("ganimation-convnext-small", ["generator.shade=1"], tiny=True).network()
    with pytest.raises(Exception, match="shade goes with motion"):
        build_generator(network)


def test_labels_move_as_their_expressions_do(tmp_path: Path, head: Image.Image, crop: faces.Crop) -> None:
    labelled = mover_in(_new(tmp_path, "a"), "stargan-small", shade=1.0)  # it reads neutral, the first of all alike
    units = mover_in(_new(tmp_path, "b"), "ganimation-small", shade=1.0)
    assert np.array_equal(labelled.translate(head, expression="neutral"), head)
    assert np.array_equal(labelled.translate(head, expression="happy"), units.translate(head, happiness=1.0))


def _new(folder: Path, name: str) -> Path:
    (folder / name).mkdir()
    return folder / name


# -- tables ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory, crop: faces.Crop) -> Path:
    """Faces of 20 people, grey of any lightness, darker beside the nose for AU9; in pictures of two sizes."""
    folder, dice, rows = tmp_path_factory.mktemp("tables") / "faces", torch.Generator().manual_seed(0), []
    folder.mkdir()
    for person in range(20):
        grey = 0.4 + 0.4 * float(torch.rand(1, generator=dice))
        for picture in range(6):
            side = 96 if picture % 2 else 144
            at = crop.landmarks.float() * (side / 256) + torch.randn(1, 2, generator=dice)
            units = 2 * torch.rand(17, generator=dice)
            x, y = ((at[31] + at[40]) / 2).tolist()
            across, down = ((torch.arange(side) - v).square() / (0.03 * side) ** 2 for v in (x, y))
            light = grey * torch.exp(-0.1 * units[ROW[9]] * torch.exp(-across - down[:, None]))
            noisy = light + 0.004 * torch.randn(side, side, generator=dice)
            name = f"{person}-{picture}.png"
            Image.fromarray(noisy.clamp(0, 1).mul(255).round().byte().numpy()).save(folder / name)
            rows.append((name, person, *units.tolist(), *at.T.flatten().tolist()))
    heads = ["file", "person", *COLUMNS, *(f"{axis}{i}" for axis in "xy" for i in range(68))]
    write_table(folder / "aus.csv", heads, rows)
    return folder


def test_a_table_is_learned_from_labelled_faces(labelled: Path, tmp_path: Path) -> None:
    facts = shade_table(labelled, tmp_path / "shade.safetensors")
    maps, mean = read_shade(tmp_path / "shade.safetensors")
    assert facts["faces"] == 120 and maps.shape[1] == maps.shape[2]
    x, y = ((mean[31] + mean[40]) / 2).int().tolist()
    there = maps[:, y - 1 : y + 2, x - 1 : x + 2].mean((1, 2))
    assert -0.12 < there[ROW[9]] < -0.04
    others = [i for i in range(17) if i != ROW[9]]
    assert there[others].abs().max() < 0.3 * there[ROW[9]].abs()
    inside = maps[ROW[9]] < 0.5 * there[ROW[9]]
    rows, columns = inside.nonzero().float().unbind(1)
    assert (rows - y).abs().max() < 12 and (columns - x).abs().max() < 12  # nowhere else
    with pytest.raises(UsageError, match="there already"):
        shade_table(labelled, tmp_path / "shade.safetensors")


def test_pictures_that_cannot_be_read_are_counted(labelled: Path, tmp_path: Path) -> None:
    folder = _new(tmp_path, "some")
    for path in labelled.iterdir():
        (folder / path.name).symlink_to(path)
    (folder / "3-2.png").unlink()
    facts = shade_table(folder, tmp_path / "shade.safetensors")
    assert facts["faces"] == 119 and facts["lines"][0].startswith("1 pictures left out")


@pytest.mark.parametrize(
    "tensors",
    [
        {"maps": torch.zeros(17, 8, 8)},
        {"maps": torch.zeros(16, 8, 8), "mean": torch.zeros(68, 2)},
        {"maps": torch.zeros(17, 8, 9), "mean": torch.zeros(68, 2)},
        {"maps": torch.full((17, 8, 8), torch.nan), "mean": torch.zeros(68, 2)},
    ],
)
def test_what_is_no_table(tmp_path: Path, tensors: dict[str, Any]) -> None:
    save_file(tensors, tmp_path / "shade.safetensors")
    with pytest.raises((ConfigError, IntegrityError), match="shade"):
        read_shade(tmp_path / "shade.safetensors")
    assert read_shade(TABLE)[0].shape[0] == 17
