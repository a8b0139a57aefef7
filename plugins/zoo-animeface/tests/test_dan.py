"""The Deep Alignment Network: its transforms are exact, all of it has a gradient, it learns stage by stage, and it finds
points in pictures of any form."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

import zoo
from zoo.errors import ConfigError, NotFoundError, UsageError
from zoo.generator import build_part
from zoo.pictures.image import read, to_pil, write
from zoo.recipe import Augment, Data, load_recipe
from zoo.testing.subject import stir
from zoo.train import checkpoint
from zoo.train.engine import Options
from zoo.train.run import train
from zoo.weights.file import save_weights
from zoo_animeface.align import PointedFaces, ShapeLoss, moved
from zoo_animeface.dan import Dan, heat_map, load_dan
from zoo_animeface.geometry import similarity
from zoo_animeface.points import FRONTAL, NAMES, TABLE, Row, mirrored, write_points

TINY: dict[str, Any] = {"width": 4, "size": 32, "hidden": 16, "features": 8}
MEAN = torch.tensor(FRONTAL)


def chance(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def network(seed: int = 0, **options: Any) -> Dan:
    """With weights by which points of different pictures lie pixels apart."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        dan = stir(Dan(**{**TINY, **options}), seed)
        with torch.no_grad():
            for _ in range(20):  # batch norm gets its statistics
                dan.shapes(smooth(8, 32, 32, seed=7))
    for stage in dan.stages:
        stage.fc2.weight.data *= 50
    return dan.eval().requires_grad_(False)


def smooth(count: int, height: int, width: int, seed: int = 0) -> Tensor:
    coarse = torch.rand(count, 3, 6, 6, generator=chance(seed)) * 2 - 1
    return F.interpolate(coarse, (height, width), mode="bicubic").clamp(-1, 1)


def dot(at: Tensor, side: int = 64) -> Tensor:
    """A bright spot (1,3,side,side) at a point (2,) in shares."""
    middles = (torch.arange(side) + 0.5) / side
    square = (middles - at[0]) ** 2 + (middles[:, None] - at[1]) ** 2
    return torch.exp(-square * side**2 / 8).expand(1, 3, -1, -1)


def where(image: Tensor, near: Tensor) -> Tensor:
    """The middle (2,) of what is bright in (3,H,W) within 6 pixels of a point (2,), all in shares."""
    light = image[0].clamp(min=0)
    rows, columns = ((torch.arange(n) + 0.5) / n for n in light.shape)
    away = ((columns - near[0]) * len(columns)) ** 2 + ((rows - near[1]) * len(rows))[:, None] ** 2
    light = light * (away < 36)
    return torch.stack([(light.sum(0) * columns).sum(), (light.sum(1) * rows).sum()]) / light.sum()


# -- transforms -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("angle", "scale", "shift"), [(0.0, 1.0, (0.0, 0.0)), (0.4, 1.3, (0.1, -0.2)), (-2.5, 0.6, (0, 3))]
)
def test_a_known_transform_is_found(angle: float, scale: float, shift: tuple[float, float]) -> None:
    shape = torch.rand(2, 40, 2, generator=chance(0), dtype=torch.float64)
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    turned = shape @ torch.tensor([[cos, -sin], [sin, cos]], dtype=torch.float64).T + torch.tensor(shift)
    found = similarity(shape, turned)
    assert torch.allclose(found(shape), turned, atol=1e-9)
    assert torch.allclose(found.back(found(shape) + 0.1), found.back(turned + 0.1), atol=1e-9)
    other = torch.rand(2, 5, 2, generator=chance(1), dtype=torch.float64)
    assert torch.allclose(found.back(found(other)), other, atol=1e-9)


def test_no_other_transform_comes_nearer() -> None:
    shape, onto = torch.rand(2, 1, 40, 2, generator=chance(0), dtype=torch.float64)
    found = similarity(shape, onto)
    best = (found(shape) - onto).square().sum()
    for seed in range(20):
        found = similarity(shape, onto)
        p, q = found.linear[0, :, 0] + 0.01 * torch.randn(2, generator=chance(seed), dtype=torch.float64)
        found.linear.copy_(torch.stack([torch.stack([p, -q]), torch.stack([q, p])])[None])
        assert (found(shape) - onto).square().sum() > best


def test_a_picture_moves_as_its_points_do() -> None:
    shape = MEAN[None] * 0.8 + 0.05
    turn = torch.tensor([[0.95, -0.2], [0.2, 0.95]])
    to_mean = similarity(shape, (MEAN - 0.5) @ turn.T + 0.5)
    at = torch.tensor([0.4, 0.55])
    there = to_mean(at[None, None])[0, 0]
    assert (there - at).abs().max() > 0.02
    assert (where(to_mean.warped(dot(at))[0], there) - there).abs().max() < 0.003


def test_a_shape_that_is_one_point_does_no_harm() -> None:
    shape = torch.full((1, 40, 2), 0.5, requires_grad=True)
    found = similarity(shape, MEAN)
    total = found(shape).sum() + found.back(shape).sum() + found.warped(smooth(1, 16, 16)).sum()
    total.backward()
    assert total.isfinite() and shape.grad is not None and shape.grad.isfinite().all()


def test_the_heat_map_is_equation_2_13() -> None:
    shape = torch.tensor([[[10.5, 20.5], [80.5, 90.5]]]) / 112
    shape.requires_grad_(True)
    heat = heat_map(shape, 112)
    heat.sum().backward()
    assert shape.grad is not None and shape.grad.isfinite().all()
    heat = heat.detach()
    assert heat.shape == (1, 1, 112, 112)
    assert heat[0, 0, 20, 10] == pytest.approx(1, abs=2e-3)
    assert heat[0, 0, 20, 13] == pytest.approx(1 / 4, abs=1e-4)
    assert heat[0, 0, 94, 83] == pytest.approx(1 / 6, abs=1e-4)  # 3 and 4 pixels from the second


# -- the network ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stages", [1, 2, 3])
def test_points_have_a_gradient_to_every_part_of_the_picture(stages: int) -> None:
    image = smooth(2, 40, 40).requires_grad_(True)
    shapes = network(stages=stages).shapes(image)
    assert [shape.shape for shape in shapes] == [(2, 40, 2)] * stages
    (slope,) = torch.autograd.grad(shapes[-1].square().sum(), image)
    assert slope.isfinite().all()
    assert (slope.abs().amax((1, 2, 3)) > 1e-6).all() and (slope != 0).float().mean() > 0.9


def test_the_second_stage_has_a_gradient_of_its_own_through_warp_and_heat_map() -> None:
    """With the first stage's result as it is, the second stage alone still has a gradient to the picture."""
    dan, image = network(), smooth(1, 32, 32)
    shape = (MEAN[None] + 0.02 * torch.randn(1, 40, 2, generator=chance(0))).requires_grad_(True)
    features = torch.rand(1, TINY["hidden"], generator=chance(1))
    found, _ = dan._stage(1, dan.standardised(image), shape, features)
    (slope,) = torch.autograd.grad((found - shape).square().sum(), shape)
    assert slope.isfinite().all() and slope.abs().max() > 1e-6


def test_descent_on_the_pixels_alone_moves_the_points() -> None:
    """What the thesis's landmark loss could not do: its detector was outside of the graph."""
    dan, image, loss = network(), smooth(2, 32, 32).requires_grad_(True), ShapeLoss()
    wanted = dan.points(smooth(2, 32, 32, seed=5))
    optimiser = torch.optim.Adam([image], 0.01)
    values = []
    for _ in range(40):
        value = loss({"shape": dan.points(image)[None], "points": wanted})
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        values.append(float(value.detach()))
    assert values[-1] < 0.5 * values[0]


def test_the_loss_is_the_listing_s() -> None:
    points = torch.zeros(1, 40, 2)
    points[0, 0] = torch.tensor([0.3, 0.4])  # the diagonal of the box is 0.5
    shape = points.clone()
    shape[0, :20] += torch.tensor([0.06, 0.08])  # half of the points are off by 0.1
    assert float(ShapeLoss()({"shape": shape[None], "points": points})) == pytest.approx(0.1, abs=1e-3)


@pytest.mark.parametrize("options", [{"width": 0}, {"stages": 0}, {"size": 100}, {"dropout": 1.0}])
def test_wrong_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="multiple of 16"):
        build_part("generator", {"name": "dan", **options})


# -- training -------------------------------------------------------------------------------------------------------------


def face(shape: Tensor, seed: int, side: int = 72) -> Tensor:
    """(3,side,side): spots at some points of a shape, on a smooth ground."""
    image = 0.3 * smooth(1, side, side, seed)
    for i in (4, 8, 12, 24, 30, 35):
        image = image + 1.5 * dot(shape[i], side)
    return image[0].clamp(-1, 1)


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    folder = tmp_path / "faces"
    folder.mkdir()
    rows = []
    for i in range(6):
        shape = MEAN + 0.08 * (torch.rand(2, generator=chance(i)) - 0.5)
        write(to_pil(face(shape, i)), folder / f"{i}.png")
        rows.append(Row(f"{i}.png", 72, 72, shape))
    write(to_pil(face(MEAN, 9)), folder / "none.png")
    write_points(folder / TABLE, [*rows, Row("none.png", 72, 72, None)])
    return folder


def run(faces: Path, out: Path, steps: int, *overrides: str) -> dict[str, Tensor]:
    """The newest checkpoint after so many steps."""
    options = Options(out=out, steps=steps, device="cpu")
    tiny = [f"generator.{name}={value}" for name, value in TINY.items()]
    train("dan-anime", [faces], [], options, overrides=[*tiny, "data.size=[32, 32]", "data.batch=2", *overrides])
    newest = checkpoint.newest(out / "checkpoints")
    assert newest is not None
    return newest[0]


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    """Which parts of the network have changed: "stages.0", "images.0" …"""
    names = checkpoint.select("networks", after)
    other = checkpoint.select("networks", before)
    return {".".join(n.split(".")[1:3]) for n, tensor in names.items() if not torch.equal(tensor, other[n])}


def test_one_stage_learns_after_the_other(faces: Path, tmp_path: Path) -> None:
    setting = "trainer.first=2"
    ends = [run(faces, tmp_path / "run", steps, setting, "schedule.decay=0") for steps in (1, 2, 3, 4)]
    assert changed(ends[0], ends[1]) == {"stages.0"}
    assert changed(ends[1], ends[2]) == {"stages.1", "images.0"}
    assert changed(ends[2], ends[3]) == {"stages.1", "images.0"}


def test_going_on_over_the_change_of_stages_is_exact(faces: Path, tmp_path: Path) -> None:
    setting = "trainer.first=3"
    whole = run(faces, tmp_path / "whole", 5, setting, "schedule.decay=0")
    run(faces, tmp_path / "parts", 2, setting, "schedule.decay=0")
    torch.manual_seed(5)  # dropout must not count on these
    parts = run(faces, tmp_path / "parts", 5, setting, "schedule.decay=0")
    assert whole.keys() == parts.keys()
    assert [name for name, tensor in whole.items() if not torch.equal(tensor, parts[name])] == []


def test_training_sets_the_mean_shape_of_its_faces(faces: Path, tmp_path: Path) -> None:
    end = run(faces, tmp_path / "run", 1)
    data = PointedFaces([faces], Data(size=(32, 32)), 0)
    mean = data.points[0].mean(0)
    for name in ("networks", "average"):
        (found,) = (t for n, t in checkpoint.select(name, end).items() if n.endswith("mean_shape"))
        assert torch.allclose(found, (mean + mirrored(mean)) / 2)
    assert len(data.points[0]) == 6  # not the picture without points


@pytest.mark.slow
def test_it_learns_where_points_are(faces: Path, tmp_path: Path) -> None:
    """Faces that are moved by up to 4 of 100 pixels: both stages together find them far better than their mean does."""
    plain = "data.augment={flip: false, scale: 1, rotate: 0, colour: 0}"
    run(faces, tmp_path / "run", 240, "trainer.first=150", plain, "generator.dropout=0", "ema=0.9", "data.batch=6")
    end = checkpoint.newest(tmp_path / "run/checkpoints")
    assert end is not None
    dan = Dan(**TINY, dropout=0)
    dan.load_state_dict(checkpoint.select("average", end[0]))
    data = PointedFaces([faces], Data(size=(32, 32), augment=Augment(flip=False, scale=1)), 0)
    image = torch.stack([data._picture(data.photos[0], i) for i in range(6)])
    with torch.no_grad():
        off = [(shape - data.points[0]).norm(dim=-1).mean() for shape in dan.eval().shapes(image)]
    before = (data.points[0] - data.mean).norm(dim=-1).mean()
    assert off[0] < 0.5 * before and off[1] < 0.35 * before


@pytest.mark.parametrize("size", [(32, 32), (48, 32)])
@pytest.mark.parametrize("form", [(64, 64), (64, 40), (50, 80)])
def test_points_go_where_the_picture_goes(size: tuple[int, int], form: tuple[int, int]) -> None:
    at = torch.tensor([0.45, 0.55])
    pixels = at * torch.tensor([form[1], form[0]])
    rows, columns = torch.arange(form[0]) + 0.5, torch.arange(form[1]) + 0.5
    image = torch.exp(-((columns - pixels[0]) ** 2 + (rows[:, None] - pixels[1]) ** 2) / 8).expand(3, -1, -1)
    shape = at.expand(40, 2)
    places = set()
    for seed in range(12):
        augment = Augment(flip=True, scale=1.15, rotate=20)
        seen, points = moved(image, shape, Data(size=size, augment=augment), chance(seed))
        assert seen.shape == (3, *size)
        assert ((where(seen, points[0]) - points[0]) * torch.tensor([size[1], size[0]])).abs().max() < 0.4  # pixels
        places.add(tuple(points[0].tolist()))
    assert len(places) == 12
    still = Data(size=form, augment=Augment(flip=False, scale=1))
    seen, points = moved(image, shape, still, chance(0))
    assert torch.allclose(seen, image, atol=1e-4) and torch.allclose(points, shape, atol=1e-5)


def test_a_mirrored_face_has_its_points_mirrored() -> None:
    image, shape = smooth(1, 32, 32)[0], MEAN + 0.01
    data = Data(size=(32, 32), augment=Augment(flip=True, scale=1))
    found = [moved(image, shape, data, chance(seed)) for seed in range(8)]
    flipped = [points for seen, points in found if torch.allclose(seen, image.flip(2), atol=1e-4)]
    assert 0 < len(flipped) < 8
    assert all(torch.allclose(points, mirrored(shape), atol=1e-5) for points in flipped)


def test_a_folder_without_points_is_refused(tmp_path: Path) -> None:
    write(to_pil(smooth(1, 72, 72)[0]), tmp_path / "a.png")
    with pytest.raises(NotFoundError, match="no table"):
        PointedFaces([tmp_path], Data(size=(32, 32)), 0)
    write_points(tmp_path / TABLE, [Row("b.png", 72, 72, MEAN)])
    with pytest.raises(UsageError, match="names no picture of"):
        PointedFaces([tmp_path], Data(size=(32, 32)), 0)


def test_first_is_a_number_of_steps() -> None:
    recipe = load_recipe("dan-anime", ["trainer.first=0"], tiny=True)
    with pytest.raises(ConfigError, match="first is a number of steps"):
        build_part("trainer", recipe.trainer, recipe=recipe)


# -- using it -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A file as zoo pack writes it."""
    path = tmp_path / "dan.safetensors"
    recipe = load_recipe("dan-anime", [f"generator.{name}={value}" for name, value in TINY.items()])
    save_weights(path, network().state_dict(), recipe.network(), bits=32)
    return path


def test_detect_gives_40_named_points_in_pixels(weights: Path) -> None:
    model, image = zoo.load(weights, device="cpu"), smooth(1, 50, 50)[0]
    points = model.detect(to_pil(image))
    assert tuple(points) == NAMES
    shape = load_dan(weights).points(read(to_pil(image)).rgb[None])
    assert torch.allclose(torch.tensor([*points.values()]), 50 * shape[0], atol=1e-2)
    assert model.detect([to_pil(image)] * 2) == [points, points]


def test_a_picture_that_is_not_square_is_seen_in_one(weights: Path) -> None:
    model, image = zoo.load(weights, device="cpu"), (smooth(1, 40, 64)[0] + 1) / 2
    square = F.pad(image[None], (0, 0, 12, 12), mode="replicate")[0]
    wide, whole = (torch.tensor([*model.detect(one).values()]) for one in (image, square))
    assert torch.allclose(wide, whole - torch.tensor([0, 12]), atol=1e-3)


def test_translate_draws_on_the_picture_as_it_is(weights: Path) -> None:
    """However large: it is not scaled down for the network and back, and is as it was where nothing is drawn."""
    model = zoo.load(weights, device="cpu")
    image = Image.effect_noise((900, 700), 60).convert("RGB")
    drawn = model.translate(image)
    assert drawn.size == image.size
    before, after = (read(one).rgb for one in (image, drawn))
    touched = (before - after).abs().amax(0) > 0.01
    assert 0.001 < touched.float().mean() < 0.2
    x, y = model.detect(image)["nose"]
    if 0 <= x < 900 and 0 <= y < 700:
        assert touched[int(y), int(x)]


def test_weights_of_something_else_are_refused(tmp_path: Path, weights: Path) -> None:
    assert not any(p.requires_grad for p in load_dan(weights).parameters())
    with pytest.raises(NotFoundError, match="no weights file"):
        load_dan(tmp_path / "none.safetensors")
    save_weights(tmp_path / "other.safetensors", {"a": torch.zeros(1)}, {})
    with pytest.raises(UsageError, match="not a landmark detector"):
        load_dan(tmp_path / "other.safetensors")
