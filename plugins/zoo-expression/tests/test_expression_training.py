"""What expressions are trained with: units and labels, networks, losses, data, the training step, whole runs."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import forks
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.cli import main
from zoo.errors import ConfigError, NotFoundError, UsageError
from zoo.generator import Generator, build_generator, build_part
from zoo.loading import load
from zoo.recipe import Recipe, load_recipe
from zoo.train import checkpoint
from zoo.train.engine import Options
from zoo.train.run import train
from zoo_expression.blocks import ConvNeXtBlock
from zoo_expression.data import Faces
from zoo_expression.networks import Discriminator, StarGANGenerator
from zoo_expression.table import COLUMNS, TABLE
from zoo_expression.trainer import ExpressionTrainer, labels
from zoo_expression.translator import ExpressionTranslator
from zoo_expression.units import EXPRESSIONS, LABELS, MOST, NAMES, UNITS, pattern

EVEN = "schedule.decay=0"  # a rate that does not depend on the length of the run
TINY = [
    *("generator.width=8", "generator.blocks=1", "generator.meter={width: 8, layers: 4, widest: 16, size: 32}"),
    *("data.size=[32,32]", "data.batch=2", "trainer.head_start=0", EVEN),
]


def units(i: int) -> list[float]:
    """What the i-th picture of a folder shows."""
    return [round((7 * i + 3 * k) % 11 / 4, 2) for k in range(17)]


def labelled(folder: Path, count: int = 5, rows: Sequence[Sequence[object]] | None = None) -> Path:
    """Pictures ``0.png`` … and their table."""
    rng = np.random.default_rng(1)
    folder.mkdir(parents=True)
    for i in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
        coarse.resize((64, 64), Image.Resampling.BICUBIC).save(folder / f"{i}.png")
    with (folder / TABLE).open("w", newline="") as file:
        heads = ("file", *COLUMNS, "success", "confidence")
        usual = [(f"{i}.png", *units(i), 1, 0.98) for i in range(count)]
        csv.writer(file).writerows([heads, *(usual if rows is None else rows)])
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return labelled(tmp_path_factory.mktemp("data") / "photos")


def tiny(name: str = "ganimation-small", *overrides: str) -> Recipe:
    return load_recipe(name, overrides, tiny=True)


def run(out: Path, photos: Path, *overrides: str, recipe: str = "ganimation-small", **options: Any) -> list[dict]:
    """A tiny run -> the losses of all its steps."""
    settings: dict[str, Any] = {"device": "cpu", "log_every": 1, **options}
    train(recipe, [photos], [], Options(out=out, **settings), overrides=[*TINY, *overrides])
    return [json.loads(line)["losses"] for line in (out / "log.jsonl").read_text().splitlines()]


def state(out: Path) -> dict[str, Tensor]:
    newest = checkpoint.newest(out / "checkpoints")
    assert newest is not None
    return newest[0]


def part(tensors: dict[str, Tensor], *, of: str, meter: bool = False) -> dict[str, Tensor]:
    """The tensors of a network but for those of the meter in it, or those alone."""
    return {name: tensor for name, tensor in tensors.items() if name.startswith(of) and (".meter." in name) == meter}


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return bool(one) and one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# -- units and labels ---------------------------------------------------------------------------------------------------


def shows(**given: float) -> list[float]:
    return [given.get(name, 0.0) for name in NAMES]


def test_an_expression_at_its_full() -> None:
    assert NAMES[:3] == ("AU1", "AU2", "AU4") and NAMES[-1] == "AU45" and len(NAMES) == 17
    assert pattern("happiness") == shows(AU6=2, AU12=2)
    assert pattern("sadness") == shows(AU1=2, AU4=2, AU15=2)
    assert pattern("surprise") == shows(AU1=2, AU2=2, AU5=2, AU25=2, AU26=2)  # a jaw that drops parts the lips
    assert pattern("disgust") == shows(AU9=2, AU15=2)  # 16 is not among the 17
    assert pattern("natural") == shows()
    assert all(number in UNITS or number == 16 for expression in EXPRESSIONS.values() for number in expression)


@pytest.mark.parametrize(
    ("given", "label"),
    [
        ({}, "neutral"),
        ({"AU6": 2, "AU12": 2}, "happy"),
        ({"AU12": 0.9}, "neutral"),  # the mean of 6 and 12 is below a half
        ({"AU12": 1.2}, "happy"),
        ({"AU1": 1, "AU4": 1, "AU15": 1}, "sad"),
        ({"AU1": 1, "AU2": 1, "AU5": 1, "AU26": 1}, "surprised"),
        ({"AU4": 1, "AU5": 1, "AU7": 1, "AU23": 1}, "angry"),
        ({"AU6": 1, "AU12": 1, "AU4": 3, "AU5": 3, "AU7": 3, "AU23": 3}, "angry"),  # the strongest
        ({"AU9": 5, "AU17": 5, "AU25": 5}, "neutral"),  # units of none of the five
    ],
)
def test_labels_of_units(given: dict[str, float], label: str) -> None:
    assert labels(torch.tensor([shows(**given)])).tolist() == [[float(name == label) for name in LABELS]]


# -- networks -----------------------------------------------------------------------------------------------------------


def size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("widen", [1, 2, 4, 6])
def test_a_convnext_block_is_its_formula(widen: int) -> None:
    torch.manual_seed(0)
    block, x = ConvNeXtBlock(8, widen), torch.randn(2, 8, 9, 7)
    y = F.conv2d(x, block.depthwise.weight, block.depthwise.bias, padding=3, groups=8).permute(0, 2, 3, 1)
    y = F.linear(F.layer_norm(y, (8,), block.norm.weight, block.norm.bias), block.widen.weight, block.widen.bias)
    y = F.linear(F.gelu(y), block.narrow.weight, block.narrow.bias)
    assert torch.allclose(block(x), x + y.permute(0, 3, 1, 2), atol=1e-5)
    middle = 8 * widen
    plain = 8 * (49 + 1) + 2 * 8 + (8 + 1) * middle + (middle + 1) * 8
    assert size(block) == plain and size(ConvNeXtBlock(8, widen, more=True)) == plain + 2 * middle + 2 * 8
    assert not torch.allclose(ConvNeXtBlock(8, widen, more=True)(x), block(x), atol=1e-3)


def test_the_variants_are_different_networks() -> None:
    variants = ("ganimation", *(f"ganimation-convnext{kind}" for kind in ("", "-x4", "-x6", "-more")))
    sizes = {}
    for name in variants:
        generator = build_generator(tiny(name).network())
        sizes[name] = size(generator)
        assert isinstance(generator, StarGANGenerator) and size(generator.meter) == 0  # buffers: not trained with it
    assert len(set(sizes.values())) == 5
    middle = 8 * 4  # one block, whose middle is 2 or 4 times as wide as 32 channels
    assert sizes["ganimation-convnext-x4"] - sizes["ganimation-convnext"] == 2 * middle * (2 * middle + 1)


def test_attention_keeps_the_picture() -> None:
    torch.manual_seed(0)
    generator, image = (
        StarGANGenerator(8, 1, meter={"width": 4, "layers": 2, "size": 32}),
        torch.rand(2, 3, 32, 36) * 2 - 1,
    )
    wanted = torch.rand(2, 17)
    made = generator.parts(image, units=wanted)
    attention, colour = made["attention"], made["colour"]
    assert torch.allclose(made["image"], attention * image + (1 - attention) * colour, atol=1e-6)  # eq. 1
    assert attention.shape == (2, 1, 32, 36) and colour.abs().max() <= 1
    assert not torch.allclose(made["image"], generator.parts(image, units=wanted.flip(0))["image"])
    with torch.no_grad():
        generator.head.bias[3] = 100.0
    assert torch.equal(generator.parts(image, units=wanted)["image"], image)


def test_a_residual_generator_begins_with_the_picture() -> None:
    generator = StarGANGenerator(8, 1, residual=True, meter={"width": 4, "layers": 2, "size": 32})
    nn.init.zeros_(generator.head.weight)
    nn.init.zeros_(cast(Tensor, generator.head.bias))
    image = torch.rand(1, 3, 32, 32) * 2 - 1
    assert torch.allclose(generator.parts(image, units=torch.zeros(1, 17))["colour"], 0.98 * image, atol=1e-5)


def test_a_generator_that_moves_the_picture() -> None:
    generator = StarGANGenerator(8, 1, warp=0.25, meter={"width": 4, "layers": 2, "size": 32})
    flow = cast(nn.Conv2d, generator.flow)
    nn.init.zeros_(flow.weight)
    with torch.no_grad():
        cast(Tensor, flow.bias).copy_(torch.tensor([1.0, -0.5]).atanh().clamp(max=30))
        cast(Tensor, generator.head.bias)[3] = 100.0  # the attention is 1: the colours stay
    image = torch.rand(2, 3, 32, 32) * 2 - 1
    made = generator.parts(image, units=torch.rand(2, 17))
    assert generator.makes == {"attention", "colour", "flow", "paint"} == made.keys() - {"image"}
    assert not made["paint"].any()
    assert torch.allclose(made["flow"], torch.tensor([0.25, -0.125])[:, None, None].expand(2, 2, 32, 32))
    assert torch.allclose(made["image"][:, :, 4:, :-8], image[:, :, :-4, 8:], atol=1e-5)
    edge = made["image"][:, :, 4:, -8:]
    assert torch.allclose(edge, image[:, :, :-4, -1:].expand_as(edge), atol=1e-5)  # the border is repeated
    with pytest.raises(ConfigError, match="warp is a share of the picture's side"):
        build_part("generator", {"name": "stargan", "warp": 1.5})


def test_the_discriminator_reads_and_judges() -> None:
    judge = Discriminator(width=4, layers=3, widest=8, size=32)
    real, read = judge(torch.rand(2, 3, 48, 40))  # is scaled to 32
    assert real.shape == (2, 1, 4, 4) and read.shape == (2, 17)
    with pytest.raises(ConfigError, match="size 36 cannot be halved 3 times"):
        build_part("discriminator", {"name": "stargan", "layers": 3, "size": 36})


def test_realness_of_patches_of_several_sizes() -> None:
    fine, both = (Discriminator(width=4, layers=3, widest=8, size=32, judged=judged) for judged in (2, [3, 2]))
    given = {name: tensor for name, tensor in fine.state_dict().items() if not name.startswith("real")}
    both.load_state_dict({**both.state_dict(), **given})
    image = torch.rand(2, 3, 32, 32) * 2 - 1
    real, read = both(image)
    assert real.shape == (2, 2, 8, 8) and fine(image)[0].shape == (2, 1, 8, 8)
    assert torch.equal(read, fine(image)[1])
    assert torch.equal(real[:, 1], real[:, 1, ::2, ::2].repeat_interleave(2, 1).repeat_interleave(2, 2))
    assert not torch.equal(real[:, 0], real[:, 0, ::2, ::2].repeat_interleave(2, 1).repeat_interleave(2, 2))
    for judged in (4, [], [0, 2]):
        with pytest.raises(ValueError, match="judged is from 1 to 3"):
            Discriminator(width=4, layers=3, widest=8, size=32, judged=judged)


# -- losses -------------------------------------------------------------------------------------------------------------


def test_losses_by_hand() -> None:
    def value(spec: str | dict[str, Any], **step: Tensor) -> float:
        return float(build_part("loss", spec)(step))

    asked, read = torch.zeros(2, 17), torch.zeros(2, 17)
    asked[0, 3], read[1, 5] = 0.5, -0.25
    assert value("action-units", units=asked, read=read) == pytest.approx((0.25 + 0.0625) / 34)
    happy, scores = torch.tensor([[0.0, 0, 1, 0, 0]]), torch.tensor([[0.0, 0, 2, 0, 0]])
    wanted = np.log(4 + np.exp(2)) - 2
    assert value("expression-class", label=happy, scores=scores) == pytest.approx(wanted, rel=1e-5)
    attention = torch.tensor([[0.0, 1.0], [0.5, 1.0]])[None, None]
    assert value("attention-area", attention=attention) == pytest.approx((1 + 0.25 + 1) / 4)
    assert value("attention-variation", attention=attention) == pytest.approx((1 + 0.25) / 2 + 0.25 / 2)
    assert value("paint", paint=attention) == pytest.approx((1 + 0.25 + 1) / 4)


# -- pictures -----------------------------------------------------------------------------------------------------------


def test_samples(photos: Path) -> None:
    data = tiny().data
    faces = Faces([photos], data, seed=3)
    again = Faces([photos], data, seed=3)
    assert faces.epoch == 5 and [path.name for path in faces.photos[0].paths] == [f"{i}.png" for i in range(5)]
    known = torch.tensor([units(i) for i in range(5)])
    seen, pairs = set(), set()
    for index in range(20):
        sample, same = faces[index], again[index]
        assert sample.keys() == {"source", "units", "target_units", "seed"}
        assert all(torch.equal(sample[name], same[name]) for name in sample)
        assert sample["source"].shape == (3, 32, 32) and sample["source"].abs().max() <= 1 + 1e-5
        own, other = ((known == sample[name]).all(1).nonzero().item() for name in ("units", "target_units"))
        seen.add(own)
        pairs.add((own, other))
    assert seen == set(range(5)) and len(pairs) > 5
    another = Faces([photos], data, seed=4)
    assert not all(torch.equal(faces[index]["source"], another[index]["source"]) for index in range(5))


def test_the_picture_and_its_units_belong_together(photos: Path) -> None:
    plain = tiny("ganimation-small", "data.augment={flip: false, scale: 1, rotate: 0, colour: 0}").data
    with_colour = Faces([photos], plain, seed=0)
    for index in range(5):
        sample = with_colour[index]
        i = next(i for i in range(5) if sample["units"].tolist() == torch.tensor(units(i)).tolist())
        picture = Image.open(photos / f"{i}.png").resize((32, 32), Image.Resampling.BICUBIC)
        shown = sample["source"].add(1).mul(127.5).permute(1, 2, 0).numpy()
        assert np.abs(shown - np.asarray(picture)).mean() < 3


def test_what_is_not_usable_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [
        ("0.png", *units(0), 1, 0.98),
        ("1.png", *units(1), 0, 0.98),  # OpenFace did not succeed
        ("2.png", *units(2), 1, 0.5),  # or is not sure
        ("4.png", *units(4), 1, 0.9),
    ]  # 3.png has no row
    faces = Faces([labelled(tmp_path / "photos", rows=rows)], tiny().data, seed=0)
    assert [path.name for path in faces.photos[0].paths] == ["0.png", "4.png"] and faces.epoch == 2
    assert torch.equal(faces.units[0], torch.tensor([units(0), units(4)]))
    assert "left out 3 pictures" in caplog.text


def test_folders_without_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tiny().data
    with pytest.raises(UsageError, match="names no picture"):
        Faces([labelled(tmp_path / "others", rows=[("x.png", *units(0), 1, 1)])], data, seed=0)
    bare = labelled(tmp_path / "bare")
    (bare / TABLE).unlink()
    with pytest.raises(NotFoundError, match="there is no table"):
        Faces([bare], data, seed=0)
    with pytest.raises(SystemExit, match="3"):
        main(["train", "ganimation-small", "--photos", str(bare), "--out", str(tmp_path / "run"), "--steps", "1"])
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2 and "there is no table" in told[0] and "zoo face-crops" in told[1]
    assert not (tmp_path / "run").exists()


# -- the step -----------------------------------------------------------------------------------------------------------


def trainer(recipe: Recipe, **options: Any) -> ExpressionTrainer:
    torch.manual_seed(0)
    made = ExpressionTrainer(recipe, **options)
    made.wanted = frozenset().union(*made.provides.values())
    return made


def batch(photos: Path, n: int = 4) -> dict[str, Tensor]:
    faces = Faces([photos], tiny().data, seed=0)
    samples = [faces[i] for i in range(n)]
    return {name: torch.stack([sample[name] for sample in samples]) for name in samples[0]}


def test_what_a_step_yields(photos: Path) -> None:
    made, data = trainer(tiny()), batch(photos)
    edited, judged = list(made.step(data))
    assert edited.keys() == made.provides["generator"] | {"attention", "colour", "flow", "paint"}
    assert torch.equal(edited["source"], data["source"])
    assert torch.equal(edited["units"], data["target_units"] / MOST)
    assert torch.equal(judged["units"], data["units"] / MOST)
    assert edited["read"].shape == judged["read"].shape == (4, 17) and judged["gradient_norm"].shape == (4,)
    assert edited["output"].requires_grad and not torch.equal(edited["output"], edited["reconstruction"])
    again = trainer(tiny()).step(data)
    assert torch.equal(next(again)["output"], edited["output"])


def test_labels_take_the_place_of_units(photos: Path) -> None:
    made, data = trainer(tiny("stargan-small")), batch(photos)
    edited, judged = list(made.step(data))
    assert torch.equal(judged["label"], labels(data["units"])) and torch.equal(
        edited["label"], labels(data["target_units"])
    )
    for phase, step in (("generator", edited), ("discriminator", judged)):
        assert step["scores"].shape == (len(step["scores"]), 5) and not {"units", "read", "own"} & made.provided(phase)
    assert edited["scores"].shape == (4, 5) and "attention" not in edited


def test_a_share_is_edited_and_all_is_read(photos: Path) -> None:
    data = batch(photos)
    edited, judged = list(trainer(tiny(), share=0.5).step(data))
    assert all(len(tensor) == 2 for tensor in edited.values())
    assert len(judged["read"]) == len(judged["real_logits"]) == len(judged["units"]) == 4
    assert len(judged["fake_logits"]) == len(judged["gradient_norm"]) == 2
    assert len(next(trainer(tiny(), share=0.01).step(data))["output"]) == 1


def test_single_units_as_targets(photos: Path) -> None:
    data = batch(photos, 5)
    most = [0.0] * 17
    made = trainer(tiny(), single=1.0, most=most)
    wanted = next(made.step(data))["units"] * MOST
    assert ((wanted == 0) | (wanted - data["units"] < 1e-5) | (wanted - data["target_units"] < 1e-5)).all()
    assert (wanted == 0).any(1).all()  # the one that is anywhere up to its most
    made = trainer(tiny(), single=1.0, most=[2.5] * 17)
    wanted = next(made.step(data))["units"] * MOST
    taken = (wanted - data["units"]).abs() < 1e-5, (wanted - data["target_units"]).abs() < 1e-5
    assert ((~taken[0] & ~taken[1]).sum(1) <= 1).all() and wanted.min() >= 0 and wanted.max() <= 2.75
    assert (~taken[0]).any() and (~taken[1]).any()
    assert torch.equal(next(made.step(data))["units"] * MOST, wanted)  # by the seeds of the samples
    other = {**data, "seed": data["seed"] + 1}
    assert not torch.equal(next(made.step(other))["units"] * MOST, wanted)


def test_expressions_as_targets(photos: Path) -> None:
    data = batch(photos, 5)
    data["seed"] = torch.arange(5) * 7
    wanted = next(trainer(tiny(), posed=1.0, most=[2.5] * 17).step(data))["units"] * MOST
    poses = torch.tensor([pattern(name) for name in EXPRESSIONS])
    found = set()
    for one, own in zip(wanted, data["units"]):
        way = poses - own  # (8,17)
        share = ((one - own) * way).sum(1) / way.square().sum(1)
        off = (own + share[:, None] * way - one).norm(dim=1)
        assert off.min() < 1e-4 and 0 <= share[off.argmin()] <= 1  # on the way to one of them
        found.add(int(off.argmin()))
    assert len(found) > 1
    capped = next(trainer(tiny(), posed=1.0, most=[0.0] * 17).step(data))["units"] * MOST
    assert (capped <= data["units"] + 1e-5).all() and not torch.allclose(capped, wanted)


class Flat(nn.Module):
    """Realness is linear in the picture, with the same slope everywhere: each patch is a weighted sum of all pixels."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.meter = nn.Module()

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        total = (image * self.weight).flatten(1).sum(1)
        return total[:, None, None, None] * torch.tensor([[1.0, 3.0]]), image.new_zeros(len(image), 17)


def test_the_slope_of_a_linear_critic(photos: Path) -> None:
    made, data = trainer(tiny()), batch(photos)
    weight = torch.randn(3, 32, 32, generator=torch.Generator().manual_seed(0))
    made.networks["judge"] = Flat(weight)
    steps = made.step(data)
    next(steps)
    norm = next(steps)["gradient_norm"]
    assert torch.allclose(norm, 2 * weight.norm().expand(4), rtol=1e-4)  # the mean of the patches' 1 and 3
    penalty = build_part("loss", "gradient-penalty")({"gradient_norm": norm})
    penalty.backward()
    slope = made.networks["judge"].weight.grad
    assert torch.allclose(slope, 2 * (2 * weight.norm() - 1) * 2 * weight / weight.norm(), rtol=1e-3)


@pytest.mark.parametrize("follow", [1.0, 0.25])
def test_the_meter_follows_the_discriminator(photos: Path, follow: float) -> None:
    made = trainer(tiny(), follow=follow)
    edit, judge = cast(StarGANGenerator, made.networks["edit"]), cast(Discriminator, made.networks["judge"])
    before = {name: tensor.clone() for name, tensor in edit.meter.state_dict().items()}
    list(made.step(batch(photos)))
    learnt = judge.meter.state_dict()
    assert before.keys() == learnt.keys()
    for name, tensor in edit.meter.state_dict().items():
        assert torch.allclose(tensor, torch.lerp(before[name], learnt[name], follow), atol=1e-6)
    assert not edit.meter.units.weight.requires_grad


@pytest.mark.parametrize(
    ("option", "told"),
    [
        *(
            (option, "share, single and follow are from 0 to 1")
            for option in ("share=0", "share=2", "single=-1", "follow=0")
        ),
        ("posed=1.5", "single and posed are shares of the edits, together at most 1"),
        ("most=[1, 2]", "most is 17 numbers from 0 to 5"),
        (f"most={[6] * 17}", "most is 17 numbers from 0 to 5"),
    ],
)
def test_wrong_options_are_one_line(tmp_path: Path, photos: Path, option: str, told: str) -> None:
    with pytest.raises(ConfigError, match=f"trainer 'expression' cannot be built.*{told}"):
        run(tmp_path / "run", photos, f"trainer.{option}", steps=1)
    assert not (tmp_path / "run").exists()


# -- runs ---------------------------------------------------------------------------------------------------------------

EDITED = {f"generator.{name}" for name in ("adversarial", "action-units", "cycle", "attention-variation", "paint")}
JUDGED = {f"discriminator.{name}" for name in ("critic", "action-units")}


def test_in_the_head_start_the_discriminator_is_alone(tmp_path: Path, photos: Path) -> None:
    out, whole = tmp_path / "run", tmp_path / "whole"
    late = "trainer.head_start=2"
    assert [losses.keys() for losses in run(out, photos, late, steps=1)] == [JUDGED]
    first = state(out)
    run(out, photos, late, steps=2)
    second = state(out)
    assert equal(part(first, of="networks/edit"), part(second, of="networks/edit"))
    assert not equal(part(first, of="networks/judge", meter=True), part(second, of="networks/judge", meter=True))
    assert not equal(part(first, of="networks/edit", meter=True), part(second, of="networks/edit", meter=True))
    losses = run(out, photos, late, steps=4)
    assert [one.keys() for one in losses] == [JUDGED, JUDGED, JUDGED | EDITED, JUDGED | EDITED]
    assert not equal(part(second, of="networks/edit"), part(state(out), of="networks/edit"))
    assert losses == run(whole, photos, late, steps=4) and equal(state(out), state(whole))


def test_a_run_becomes_a_model(tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    losses = run(out, photos, "trainer.follow=1", "generator.block=convnext", steps=2, preview_every=2)
    assert [one.keys() for one in losses] == [JUDGED | EDITED] * 2
    with Image.open(next((out / "previews").iterdir())) as sheet:
        assert sheet.size == (4 * 32, 6 * 32)  # photo, own, edited, attention
    with pytest.raises(SystemExit, match="0"):
        main(["pack", str(out)])
    model = load(capsys.readouterr().out.strip(), device="cpu")
    assert isinstance(model, ExpressionTranslator)
    learnt = state(out)
    judge = {
        name.rpartition("meter.")[2]: tensor for name, tensor in learnt.items() if name.startswith("networks/judge")
    }
    shipped = model.generator.meter.state_dict()
    assert shipped.keys() <= judge.keys()
    for name, tensor in shipped.items():  # packed in fp16; the discriminator has learnt one step more
        assert torch.allclose(tensor.float(), judge[name], atol=2e-3)
    assert list(model.measure(photos / "0.png", face=0)) == list(NAMES)


def test_five_expressions(tmp_path: Path, photos: Path) -> None:
    losses = run(tmp_path / "run", photos, recipe="stargan-small", steps=2)
    told = {"generator.adversarial", "generator.expression-class", "generator.cycle"}
    told |= {"discriminator.critic", "discriminator.expression-class"}
    assert [one.keys() for one in losses] == [told] * 2


def test_convnext_blocks_in_a_cyclegan(tmp_path: Path, photos: Path) -> None:
    words: list[str | Path] = ["zoo", "train", "cyclegan", "--photos", photos, "--drawings", photos]
    words += ["--out", tmp_path / "run", "--steps", "2", "--log-every", "1", "--device", "cpu"]
    for override in (
        *("generator.block=convnext", "generator.width=4", "generator.blocks=2"),
        *("discriminator.width=4", "discriminator.layers=2", "data.size=[32,32]", "data.batch=1"),
    ):
        words += ["--set", override]
    done = forks.run("-m", *words)
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "run/log.jsonl").read_text().splitlines()) == 2
    depthwise = [tensor for name, tensor in state(tmp_path / "run").items() if "depthwise.weight" in name]
    assert depthwise and all(tensor.shape[1:] == (1, 7, 7) for tensor in depthwise)
    changed = build_generator(load_recipe("cyclegan", ["generator.block=convnext", "generator.width=4"]).network())
    assert isinstance(changed, Generator) and any(isinstance(module, ConvNeXtBlock) for module in changed.modules())
