"""What CartoonGAN and AnimeGAN are trained with: samples, the step, its watch, whole runs."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from shared import SAMPLE
from torch import Tensor

from zoo.blocks.vgg import VGG19
from zoo.errors import ConfigError
from zoo.faces import crop, find
from zoo.generator import build_generator, initialise
from zoo.pictures.image import read, to_pil
from zoo.recipe import Recipe, load_recipe
from zoo.train import checkpoint
from zoo.train.engine import Options
from zoo.train.run import train
from zoo.vocabulary import PAIRED
from zoo.weights.file import save_weights
from zoo_animeface.dan import Dan, Stage
from zoo_animeface.data import AnimeFaces
from zoo_animeface.edges import edge_blurred, grey
from zoo_animeface.points import FRONTAL, MIRROR, TABLE, Row, write_points
from zoo_animeface.trainer import SETTLED, AnimeTrainer, Watch
from zoo_animeface.translator import FRAME

EVEN = "schedule.decay=0"  # a rate that does not depend on the length of the run
SIDE = 72


def shape(i: int) -> Tensor:
    """Where the i-th photograph's points are."""
    off = torch.randn(40, 2, generator=torch.Generator().manual_seed(i))
    return (0.25 + 0.5 * torch.tensor(FRONTAL) + 0.02 * off).clamp(0.15, 0.85)


def mark(draw: ImageDraw.ImageDraw, point: tuple[float, float], size: int = 4) -> None:
    x, y = point
    draw.ellipse((x - size, y - size, x + size, y + size), fill="black")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four photographs with known points; a dark disc lies around the first, the second has no face."""
    folder = tmp_path_factory.mktemp("data") / "photos"
    folder.mkdir()
    rows = []
    for i in range(4):
        image = Image.new("RGB", (SIDE, SIDE + 10 * i), (200, 120 + 20 * i, 90))
        known = None if i == 1 else shape(i)
        if known is not None:
            x, y = (known[0] * torch.tensor(image.size)).tolist()
            mark(ImageDraw.Draw(image), (x, y))
        image.save(folder / f"{i}.png")
        rows.append(Row(f"{i}.png", *image.size, known))
    write_points(folder / TABLE, rows)
    return folder


@pytest.fixture(scope="module")
def drawings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("data") / "drawings", np.random.default_rng(0)
    folder.mkdir()
    for i in range(5):
        image = Image.new("RGB", (SIDE, SIDE), tuple(int(v) for v in rng.integers(100, 255, 3)))
        x, y = rng.integers(10, 40, 2).tolist()
        colour = tuple(int(v) for v in rng.integers(0, 255, 3))
        ImageDraw.Draw(image).ellipse((x, y, x + 25, y + 25), colour, "black", 2)
        image.save(folder / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Untrained networks, small enough for tests: VGG-19's first layers and a detector."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    save_weights(folder / "vgg.safetensors", VGG19(last="conv2_1").state_dict(), {}, bits=32)
    network = load_recipe("dan-anime", tiny=True).network()
    dan = cast(Dan, build_generator(network))
    for stage in dan.stages:  # untrained it finds its mean shape everywhere
        torch.nn.init.normal_(cast(Stage, stage).fc2.weight)
    save_weights(folder / "dan.safetensors", dan.state_dict(), network, bits=32)
    return {"vgg": folder / "vgg.safetensors", "dan": folder / "dan.safetensors"}


def overrides(weights: dict[str, Path], recipe: str) -> list[str]:
    given = [
        *("generator.width=4", "generator.blocks=1", "data.size=[32,32]", "data.batch=2", EVEN),
        *("discriminator={name: cartoon, width: 4, shrink: null, layers: null}", "trainer.warm_up=2"),
        *("losses.warm-up.cartoon-content.layers=[conv2_1]", "losses.generator.cartoon-content.layers=[conv2_1]"),
        *(f"losses.{phase}.cartoon-content.vgg={weights['vgg']}" for phase in ("warm-up", "generator")),
    ]
    if recipe.startswith("animegan"):
        given += [f"losses.generator.grey-style={{layers: [conv2_1], vgg: {weights['vgg']}}}"]
    return given


def with_landmarks(weights: dict[str, Path], **options: Any) -> str:
    told = ", ".join(f"{key}: {json.dumps(value)}" for key, value in {"dan": str(weights["dan"]), **options}.items())
    return f"losses.generator.landmark={{weight: 0.5, {told}}}"


# -- samples ------------------------------------------------------------------------------------------------------------


def faces(photos: Path, drawings: Path, seed: int = 0, **augment: Any) -> AnimeFaces:
    data = load_recipe("cartoongan", tiny=True).data
    data = data.model_copy(update={"size": (48, 48), "augment": data.augment.model_copy(update=augment)})
    return AnimeFaces([photos], [("drawings", drawings)], data, seed)


def test_samples(photos: Path, drawings: Path) -> None:
    stream, again = faces(photos, drawings, scale=1.2), faces(photos, drawings, scale=1.2)
    assert stream.epoch == 5
    for index in range(12):
        sample, same = stream[index], again[index]
        assert sample.keys() == {"source", "target", "blurred", "points", "seed"}
        assert all(torch.equal(sample[k].nan_to_num(), same[k].nan_to_num()) for k in sample)
        for name in ("source", "target", "blurred"):
            assert sample[name].shape == (3, 48, 48) and sample[name].abs().max() <= 1 + 1e-5
        assert sample["points"].shape == (40, 2)
    other = faces(photos, drawings, seed=1, scale=1.2)
    assert not all(torch.equal(stream[i]["source"], other[i]["source"]) for i in range(4))


@pytest.mark.parametrize(
    "augment",
    [{"flip": False, "scale": 1.0}, {"flip": True, "scale": 1.0}, {"flip": True, "scale": 1.4, "rotate": 25.0}],
)
def test_points_go_where_the_picture_goes(photos: Path, drawings: Path, augment: dict[str, Any]) -> None:
    stream = faces(photos, drawings, **augment)
    ends, without = set(), 0
    for index in range(24):
        sample = stream[index]
        points = sample["points"]
        if points.isnan().any():
            assert points.isnan().all()
            without += 1
            continue
        dark = (sample["source"].mean(0) < -0.4).nonzero().float() + 0.5
        if len(dark) < 10:
            continue  # the disc was cut off
        (y, x), size = dark.mean(0).tolist(), 48
        if min(x, y, size - x, size - y) < 5:
            continue
        off = (points[[0, MIRROR[0]]] * size - torch.tensor([x, y])).norm(dim=1)
        ends.add(int(off.argmin()))  # the disc is on the jaw's first point, in a mirrored picture on its last
        assert off.min() < 1
    assert without and ends == ({0, 1} if augment["flip"] else {0})


@pytest.fixture(scope="module")
def portraits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real face, cut out as it is drawn."""
    folder = tmp_path_factory.mktemp("data") / "portraits"
    folder.mkdir()
    picture = read(SAMPLE).rgb
    to_pil(crop(picture, find(picture)[0], SIDE, FRAME).image).save(folder / "0.png")
    write_points(folder / TABLE, [Row("0.png", SIDE, SIDE, None)])
    return folder


def test_other_walls_behind_the_same_face(portraits: Path, drawings: Path) -> None:
    still = {"flip": False, "scale": 1.0}
    plain = faces(portraits, drawings, **still)[0]["source"]
    others = torch.stack([faces(portraits, drawings, **still, background=1.0)[i]["source"] for i in range(8)])
    middle = slice(None), slice(24, 34), slice(18, 30)
    for other in others:
        assert (other[middle] - plain[middle]).abs().mean() < 0.01
    assert (others - plain)[:, :, 2:8, 2:8].abs().mean((1, 2, 3)).gt(0.1).sum() >= 6
    assert others[:, :, 2:8, 2:8].mean((1, 2, 3)).std() > 0.2
    some = [torch.equal(faces(portraits, drawings, **still, background=0.5)[i]["source"], plain) for i in range(16)]
    assert 3 <= sum(some) <= 13


def test_photographs_in_other_light(portraits: Path, drawings: Path) -> None:
    still = {"flip": False, "scale": 1.0}
    plain, lit = (faces(portraits, drawings, **still, light=light)[0]["source"] for light in (0.0, 1.0))
    assert (lit - plain).abs().mean() > 0.05


def test_the_blurred_drawing_is_the_drawing(photos: Path, drawings: Path) -> None:
    stream = faces(photos, drawings, flip=True, scale=1.0)
    for index in range(5):
        sample = stream[index]
        assert torch.allclose(sample["blurred"], edge_blurred(sample["target"]), atol=0.02)
        assert not torch.equal(sample["blurred"], sample["target"])
        assert torch.equal(stream[index]["blurred"], sample["blurred"])  # the second time it is kept


# -- the step -----------------------------------------------------------------------------------------------------------


def recipe(name: str = "cartoongan", *given: str) -> Recipe:
    return load_recipe(name, given, tiny=True)


def trainer(warm_up: int = 0) -> AnimeTrainer:
    torch.manual_seed(0)
    made = AnimeTrainer(recipe(), warm_up=warm_up)
    made.wanted = frozenset().union(*made.provides.values())
    return made


def named(made: AnimeTrainer, phase: str) -> set[str]:
    """What a phase yields of pictures that are no pairs."""
    return {name for name in made.provides[phase] if not name.startswith(PAIRED)}


def batch(photos: Path, drawings: Path, n: int = 3) -> dict[str, Tensor]:
    stream = faces(photos, drawings)
    samples = [stream[i] for i in range(n)]
    return {name: torch.stack([sample[name] for sample in samples]) for name in samples[0]}


def test_what_a_step_yields(photos: Path, drawings: Path) -> None:
    made, data = trainer(warm_up=1), batch(photos, drawings)
    warm, *rest = made.step(data)
    assert warm.keys() == named(made, "warm-up") and rest == [{}, {}]
    assert torch.equal(warm["source"], data["source"]) and torch.equal(warm["grey_target"], grey(data["target"]))
    nothing, generated, judged = made.step(data)
    assert nothing == {} and generated.keys() == named(made, "generator")
    assert judged.keys() == made.provides["discriminator"]
    judge = made.networks["judge"]
    for name, picture in {
        "real": data["target"],
        "fake": generated["output"],
        "blurred": data["blurred"],
        "grey": grey(data["target"]),
    }.items():
        assert torch.allclose(judged[f"{name}_logits"], judge(picture), atol=1e-5)
    assert not torch.autograd.grad(
        judged["fake_logits"].sum(), list(made.networks["translate"].parameters()), allow_unused=True
    )[0]


def test_what_nobody_wants_is_left_out(photos: Path, drawings: Path) -> None:
    made = trainer()
    made.wanted = frozenset({"logits", "real_logits", "fake_logits"})
    _, generated, judged = made.step(batch(photos, drawings))
    assert "grey_target" not in generated and judged.keys() == {"real_logits", "fake_logits"}


def test_what_is_watched(photos: Path, drawings: Path) -> None:
    made, data = trainer(), batch(photos, drawings)
    _, generated, _ = made.step(data)
    output = generated["output"].detach()
    assert float(made.watched["changed"]) == pytest.approx(float((output - data["source"]).abs().mean()), rel=1e-5)
    wanted = float(output.std(0).mean() / data["target"].std(0).mean())
    assert float(made.watched["variety"]) == pytest.approx(wanted, rel=1e-5)
    list(made.step({name: tensor[:1] for name, tensor in data.items()}))
    assert made.watched.keys() == {"changed"}  # one picture alone does not vary


# -- what goes wrong is told --------------------------------------------------------------------------------------------


class Frozen(torch.nn.Module):
    """A generator that makes the same picture of everything, or hands on what it gets."""

    def __init__(self, same: bool) -> None:
        super().__init__()
        self.same, self.parameter = same, torch.nn.Parameter(torch.zeros(()))

    def parts(self, image: Tensor) -> dict[str, Tensor]:
        made = torch.full_like(image, 0.3) if self.same else image
        return {"image": made + self.parameter}


@pytest.mark.parametrize(("same", "told"), [(True, "nearly the same picture"), (False, "results are the photographs")])
def test_a_failure_is_told_once_and_late(
    photos: Path, drawings: Path, caplog: pytest.LogCaptureFixture, same: bool, told: str
) -> None:
    made, data = trainer(warm_up=2), batch(photos, drawings)
    made.networks["translate"] = Frozen(same)
    made.networks["judge"] = torch.nn.Identity()
    counts = []
    with caplog.at_level(logging.WARNING, logger="zoo.train"):
        for _ in range(2 + SETTLED + 20):
            list(made.step(data))
            counts.append(sum(told in record.message for record in caplog.records))
    assert counts[SETTLED] == 0 and counts[-1] == 1 == counts[2 + SETTLED - 1]
    (message,) = [record.message for record in caplog.records if told in record.message]
    assert "raise" in message and "lower" in message  # what to change


def test_a_run_that_went_on_does_not_tell_it_again(caplog: pytest.LogCaptureFixture) -> None:
    bad, watch, later = {"variety": torch.tensor(0.1), "changed": torch.tensor(0.5)}, Watch(), Watch()
    with caplog.at_level(logging.WARNING, logger="zoo.train"):
        watch.warn(bad, settled=True)
        later.load_state_dict(watch.state_dict())
        later.warn(bad, settled=True)
    assert len(caplog.records) == 1


def test_a_good_training_is_not_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    watch = Watch()
    with caplog.at_level(logging.WARNING, logger="zoo.train"):
        for _ in range(50):
            watch.warn({"variety": torch.tensor(0.8), "changed": torch.tensor(0.2)}, settled=True)
        watch.warn({"variety": torch.tensor(0.0), "changed": torch.tensor(0.0)}, settled=True)  # one bad batch
    assert not caplog.records


# -- runs ---------------------------------------------------------------------------------------------------------------


def run(
    out: Path,
    photos: Path,
    drawings: Path,
    weights: dict[str, Path],
    *given: str,
    recipe: str = "cartoongan",
    **options: Any,
) -> list[dict[str, float]]:
    """A tiny run -> the losses of all its steps."""
    settings: dict[str, Any] = {"device": "cpu", "log_every": 1, **options}
    train(
        recipe,
        [photos],
        [("drawings", drawings)],
        Options(out=out, **settings),
        overrides=[*overrides(weights, recipe), *given],
    )
    return [json.loads(line)["losses"] for line in (out / "log.jsonl").read_text().splitlines()]


def state(out: Path) -> dict[str, Tensor]:
    newest = checkpoint.newest(out / "checkpoints")
    assert newest is not None
    return newest[0]


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k].nan_to_num(), other[k].nan_to_num()) for k in one)


def test_the_warm_up_is_alone_and_going_on_is_exact(
    tmp_path: Path, photos: Path, drawings: Path, weights: dict[str, Path]
) -> None:
    parts, whole = tmp_path / "parts", tmp_path / "whole"
    run(parts, photos, drawings, weights, steps=1)
    begun = state(parts)
    warm = run(parts, photos, drawings, weights, steps=2)
    watched = {"watch.changed", "watch.variety"}
    assert [losses.keys() for losses in warm] == [{"warm-up.cartoon-content"} | watched] * 2
    first = state(parts)
    still = {name for name in first if torch.equal(first[name], begun[name])}
    assert {name for name in first if name.startswith("networks/judge")} <= still
    assert not {name for name in first if name.startswith("networks/translate") and "weight" in name} & still
    losses = run(parts, photos, drawings, weights, steps=5)
    both = {"generator.adversarial", "generator.cartoon-content", "discriminator.edge-critic"} | watched
    assert [one.keys() for one in losses[2:]] == [both] * 3
    assert losses == run(whole, photos, drawings, weights, steps=5)
    assert same(state(parts), state(whole))


def test_animegan_learns_from_grey_pictures_and_colours(
    tmp_path: Path, photos: Path, drawings: Path, weights: dict[str, Path]
) -> None:
    losses = run(tmp_path / "run", photos, drawings, weights, "trainer.warm_up=0", recipe="animegan", steps=2)
    assert {"generator.grey-style", "generator.colour", "discriminator.edge-critic"} <= losses[-1].keys()
    assert all(math.isfinite(value) for one in losses for value in one.values())


def test_redrawing_is_learned_from_drawings_alone(
    tmp_path: Path, photos: Path, drawings: Path, weights: dict[str, Path]
) -> None:
    """What draws the small picture gets nothing of it; photographs are not seen; and going on is exact."""
    fine = ["generator.name=cartoon-fine", "generator.redraw_width=4", "generator.redraw_blocks=1"]
    alone = f"losses.warm-up={{cartoon-content: null, redraw: {{layers: [conv2_1], vgg: {weights['vgg']}}}}}"
    parts, whole = tmp_path / "parts", tmp_path / "whole"
    run(parts, photos, drawings, weights, *fine, alone, steps=1)
    begun = state(parts)
    losses = run(parts, photos, drawings, weights, *fine, alone, steps=2)
    assert losses == run(whole, photos, drawings, weights, *fine, alone, steps=2) and same(state(parts), state(whole))
    assert all(one.keys() == {"warm-up.redraw", "watch.changed", "watch.variety"} for one in losses)
    learned = {name.split(".")[1] for name, value in state(parts).items() if name.startswith("networks/") and not torch.equal(value, begun[name])}  # fmt: skip
    assert learned == {"look", "redraw", "sharpen"}


def test_the_constant_of_the_thesis_teaches_nothing(
    tmp_path: Path, photos: Path, drawings: Path, weights: dict[str, Path]
) -> None:
    def after(name: str, *given: str) -> dict[str, Tensor]:
        run(tmp_path / name, photos, drawings, weights, "trainer.warm_up=0", *given, steps=3)
        return state(tmp_path / name)

    plain = after("plain")
    assert same(after("constant", with_landmarks(weights, constant=True)), plain)
    learnt = after("landmark", with_landmarks(weights))
    assert not same(learnt, plain)
    moved = [
        name
        for name in plain
        if name.startswith("networks/translate.flat") and not torch.equal(plain[name], learnt[name])
    ]
    assert moved  # down to the generator's first layer


def test_the_landmark_loss_in_a_cyclegan(
    tmp_path: Path, photos: Path, drawings: Path, weights: dict[str, Path]
) -> None:
    given = [
        *("generator.width=4", "generator.blocks=1", "discriminator={width: 4, layers: 2}", "data.size=[64,64]"),
        *("trainer.pool=2", EVEN, "losses.generator.landmark.weight=0.5"),
        f"losses.generator.landmark.dan={weights['dan']}",
    ]
    options = Options(out=tmp_path / "run", steps=2, device="cpu", log_every=1)
    train("cyclegan", [photos], [("drawings", drawings)], options, overrides=given)
    losses = [json.loads(line)["losses"] for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    assert len(losses) == 2 and all(math.isfinite(one["generator.landmark"]) for one in losses)


def test_previews(tmp_path: Path, photos: Path, drawings: Path, weights: dict[str, Path]) -> None:
    run(tmp_path / "run", photos, drawings, weights, steps=1)
    with Image.open(next((tmp_path / "run/previews").iterdir())) as sheet:
        assert sheet.size == (3 * 32, 6 * 32)  # photo, drawing, anime


def test_a_warm_up_is_no_negative_number(
    tmp_path: Path, photos: Path, drawings: Path, weights: dict[str, Path]
) -> None:
    with pytest.raises(ConfigError, match="warm_up is a number of steps"):
        run(tmp_path / "run", photos, drawings, weights, "trainer.warm_up=-1", steps=1)


def test_the_judge_of_small_recipes_keeps_its_eyes() -> None:
    """Its VGG-19 is not initialised with the networks."""
    vgg = VGG19(last="conv2_1")
    before = vgg.get_parameter("conv2_1.weight").clone()
    small = recipe("cartoongan-small", "losses.generator={adversarial: {}}")
    small = small.model_copy(update={"discriminator": {**small.discriminator, "vgg": vgg}})
    made = AnimeTrainer(small)
    initialise(made.networks)
    assert torch.equal(vgg.get_parameter("conv2_1.weight"), before)
