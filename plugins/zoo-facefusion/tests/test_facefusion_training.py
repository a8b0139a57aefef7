"""What fusion is trained with: networks, losses, couples, the step, whole runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from zoo.blocks.vgg import VGG19
from zoo.errors import ConfigError
from zoo.faces.parsing import PARTS
from zoo.generator import build_part
from zoo.recipe import Recipe, load_recipe
from zoo.train import checkpoint
from zoo.train.engine import Options
from zoo.train.run import train
from zoo_facefusion.composite import composite
from zoo_facefusion.data import Couples
from zoo_facefusion.losses import FusionContentLoss, FusionStyleLoss
from zoo_facefusion.networks import FusionCritic, FusionGenerator
from zoo_facefusion.regions import REGIONS, owners, region_maps
from zoo_facefusion.trainer import FusionTrainer

NO_VGG = [f"losses.fusion.fusion-{kind}.weight=0" for kind in ("content", "style")]
TINY = [
    *("generator.width=8", "generator.stages=3", "discriminator.width=8", "discriminator.layers=2"),
    *("data.size=[64,64]", "data.batch=2", "schedule.decay=0", "trainer.first=0", *NO_VGG),
]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("data") / "photos", np.random.default_rng(1)
    folder.mkdir()
    for i in range(5):
        coarse = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
        coarse.resize((64, 64), Image.Resampling.BICUBIC).save(folder / f"{i}.png")
    return folder


def network(**options: Any) -> FusionGenerator:
    torch.manual_seed(0)
    made = FusionGenerator(**{"width": 8, "stages": 3, **options})
    for module in made.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # as after some training
            module.running_mean.uniform_(-0.1, 0.1)  # type: ignore[union-attr]
            module.running_var.uniform_(0.05, 0.2)  # type: ignore[union-attr]
    return made.eval()


def faces(n: int = 2, side: int = 64, seed: int = 0) -> Tensor:
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(seed)) * 2 - 1


# -- networks -----------------------------------------------------------------------------------------------------------


def test_the_papers_networks() -> None:
    with torch.device("meta"):
        generator, critic = FusionGenerator(), FusionCritic()
        image = torch.empty(2, 3, 128, 128)
        latent = generator.encode(image)
        assert latent.shape == (2, 1024, 4, 4) and generator.decode(latent).shape == image.shape
        assert critic(image).shape == (2, 1)
    sizes = torch.bincount(FusionGenerator().element_of.flatten()).tolist()
    assert sizes == [204, 204, 204, 204, 208]  # section 4.3


@pytest.mark.parametrize("upsample", ["transposed", "resize"])
@torch.no_grad()
def test_the_ends_of_a_fusion_are_the_faces_exactly(upsample: str) -> None:
    generator, a, b = network(upsample=upsample), faces(seed=1), faces(seed=2)
    for share, face in ((1.0, a), (0.0, b)):
        made = generator.parts(a, other=[b], mix=torch.full((2, 1), share))
        latent = generator.encode(torch.cat([a, b])).chunk(2)[int(not share)]
        assert torch.equal(made["latent"], latent) and torch.equal(made["image"], generator.decode(latent))
        assert torch.allclose(made["image"], generator.decode(generator.encode(face)), atol=1e-5)


@torch.no_grad()
def test_an_element_takes_its_channels_and_no_others() -> None:
    generator, a, b = network(), faces(seed=1), faces(seed=2)
    first, second = generator.encode(torch.cat([a, b])).chunk(2)
    seen = torch.zeros(32)
    for one in range(5):
        mix = torch.zeros(2, 5)
        mix[:, one] = 1
        fused = generator.fuse([first, second], generator.shares(mix, None, 1))
        of_first = (fused == first).all(3).all(2).all(0)
        assert torch.equal(of_first, generator.element_of[:, 0, 0] == one) and torch.equal(
            fused[:, ~of_first], second[:, ~of_first]
        )
        seen += of_first
    assert (seen == 1).all()


@torch.no_grad()
def test_parts_of_the_face_have_their_places() -> None:
    """Each is where an average face has it, at any size, and nothing is nobody's."""
    generator, a, b = network(elements=list(REGIONS)), faces(1, 64, 1), faces(1, 64, 2)
    first, second = generator.encode(torch.cat([a, b])).chunk(2)
    places = dict(zip(REGIONS, region_maps((128, 128))))
    seen = torch.zeros(first.shape[1:])
    for one, name in enumerate(REGIONS):
        mix = torch.zeros(1, 5)
        mix[:, one] = 1
        fused = generator.fuse([first, second], generator.shares(mix, None, 1))
        of_first = (fused == first)[0]
        assert ((fused == first) | (fused == second)).all()
        seen += of_first
        where = torch.nn.functional.adaptive_avg_pool2d(places[name][None], first.shape[-2:])[0]
        if name in ("eyes", "nose", "mouth"):
            assert of_first.any(0)[where > 0.2].all() and not of_first.any(0)[where < 0.01].any()
        other = generator.encode(torch.cat([faces(1, 40, 1), faces(1, 40, 2)])).chunk(2)
        assert not torch.equal(generator.fuse(other, generator.shares(mix, None, 1)), other[1])
    assert (seen == 1).all()


def test_whose_a_number_is_stays_as_weights_were_taught() -> None:
    """Files do not hold it: another rule, and what ships would mix otherwise."""
    places = owners(320, ("hair", "skin", "eyes", "nose", "mouth"))
    assert torch.bincount(places.flatten()).tolist() == [15488, 2880, 1216, 448, 448]
    assert places[[0, 100, 300], [3, 5, 4], [3, 3, 2]].tolist() == [2, 1, 1]  # between the eyes; the lips; a cheek


@torch.no_grad()
def test_several_people_share_what_is_left() -> None:
    generator = network(elements=2)
    latents = generator.encode(faces(3)).split(1)
    mix, portions = torch.tensor([[0.5, 0.0]]), torch.tensor([[3.0, 1.0]])
    shares = generator.shares(mix, portions, 2)
    assert torch.allclose(shares, torch.tensor([[[0.5, 0.0], [0.375, 0.75], [0.125, 0.25]]]))
    fused, half = generator.fuse(latents, shares), 16
    wanted = 0.5 * latents[0] + 0.375 * latents[1] + 0.125 * latents[2]
    assert torch.allclose(fused[:, :half], wanted[:, :half], atol=1e-6)
    assert torch.allclose(fused[:, half:], (0.75 * latents[1] + 0.25 * latents[2])[:, half:], atol=1e-6)
    alike = generator.shares(mix, None, 2)
    assert torch.allclose(alike[:, 1], alike[:, 2]) and torch.allclose(alike.sum(1), torch.ones(1, 2))


@torch.no_grad()
def test_hair_is_one_persons() -> None:
    generator = network(elements=["hair", "skin"])
    for mix, portions, wanted in (
        (0.6, None, [1, 0]), (0.5, None, [1, 0]), (0.45, None, [0.5, 0.5]), (0.3, None, [0, 1]),
        (0.2, [1.0, 2.0], [0, 0, 1]), (0.4, [1.0, 2.0], [1, 0, 0]),
    ):  # fmt: skip
        others = len(wanted) - 1
        shares = generator.shares(torch.tensor([[mix]]), None if portions is None else torch.tensor([portions]), others)
        assert torch.allclose(shares[0, :, 0], torch.tensor(wanted).float(), atol=1e-5)
        assert shares[0, 0, 1] == pytest.approx(mix)
    asked = generator.shares(torch.tensor([[0.5, 0.5]]), None, 1)
    assert (asked == 0.5).all()  # who gives each element a number gets them


def test_a_composite_has_each_part_of_whom_it_is() -> None:
    """A red face with black hair and a blue one with white hair; each has a bright spot on its nose."""
    size = 64
    maps = dict(zip(REGIONS, region_maps((size, size))))
    seen = torch.zeros(1, len(PARTS), size, size)
    seen[:, PARTS.index("hair")], seen[:, PARTS.index("skin")] = maps["hair"], 1 - maps["hair"]
    red, blue = torch.tensor([0.6, -0.6, -0.6]), torch.tensor([-0.6, -0.6, 0.6])
    faces = []
    for colour, hair in ((red, -1.0), (blue, 1.0)):
        face = colour[:, None, None] * torch.ones(3, size, size)
        faces.append(torch.where(maps["hair"] > 0.5, torch.tensor(hair), face)[None])
    faces[1][:, :, 35:37, 31:33] = 1.0
    names, (a, b) = ("hair", "skin", "eyes", "nose", "mouth"), faces

    def made(**shares: float) -> Tensor:
        mix = torch.tensor([[shares.get(name, 1.0) for name in names]])
        return composite(a, b, seen, seen, mix, names)[0]

    assert torch.allclose(made()[:3], a[0], atol=0.05) and made()[3].min() > 0.99
    assert torch.allclose(made(**dict.fromkeys(names, 0.0))[:3], b[0], atol=0.05)
    hair = made(hair=0)
    assert torch.allclose(hair[:3, 2], b[0, :, 2], atol=0.05) and torch.allclose(
        hair[:3, 50, 32], a[0, :, 50, 32], atol=0.1
    )
    skin = made(skin=0)
    assert torch.allclose(skin[:3, 2], a[0, :, 2], atol=0.05) and torch.allclose(
        skin[:3, 50, 32], b[0, :, 50, 32], atol=0.2
    )
    nose = made(nose=0)
    assert nose[0, 35, 31] > a[0, 0, 35, 31] + 0.2  # the spot, in red light
    assert nose[2, 38, 36] < 0  # and no blue skin around it
    shape = composite(a, b, seen, seen, torch.tensor([[0.0, 1.0]]), ("shape", "colours"))[0]  # the blue one, in red
    assert shape[0, 35, 31] > shape[0, 50, 32] + 0.2 and shape[0, 50, 32] > shape[2, 50, 32] + 0.3
    assert torch.allclose(shape[:3, 2], a[0, :, 2], atol=0.1)  # and its hair is black


def test_an_element_that_changes_more_or_less_than_its_own_costs() -> None:
    before, after = torch.zeros(2, 4, 8, 8), torch.zeros(2, 4, 8, 8)
    before[:, 3], after[:, 3] = 1, 1
    after[:, :3, :2] = 0.5  # a quarter of the picture
    step = {"composite": before, "flipped_composite": after, "output": torch.full((2, 3, 8, 8), 0.25)}
    loss = build_part("loss", "changes")

    def value(change: Tensor) -> float:
        return float(loss({**step, "flipped": step["output"] + change}))

    wanted = after[:, :3]
    assert value(wanted) == 0  # whatever the picture is
    assert value(torch.zeros(2, 3, 8, 8)) == pytest.approx(1, abs=0.02)
    assert value(torch.full((2, 3, 8, 8), 0.5)) == pytest.approx(3, abs=0.1)  # it reaches everywhere
    assert 0.4 < value(wanted / 2) < 0.6
    before[:, 3, 2:] = 0  # and where nobody knows
    assert value(torch.full((2, 3, 8, 8), 0.5)) == 0


def test_regions_share_the_picture_out() -> None:
    maps = dict(zip(REGIONS, region_maps((128, 128))))
    assert torch.allclose(sum(maps.values(), torch.zeros(())), torch.ones(128, 128), atol=1e-6)
    assert all(one.min() >= 0 and one.max() > 0.99 for one in maps.values())
    rows = torch.arange(128.0)[:, None]
    height = {name: float((one * rows).sum() / one.sum()) for name, one in maps.items()}
    assert height["eyes"] < height["nose"] < height["mouth"] < 110
    assert maps["hair"][5].min() > 0.99 and maps["skin"][38, 64] > 0.9  # above the head; the forehead
    assert all(torch.allclose(one, one.flip(1), atol=1e-4) for one in maps.values())


@torch.no_grad()
def test_a_region_changes_inside_and_not_far_away() -> None:
    generator, a, b = network(), faces(1, 128, 1), faces(1, 128, 2)
    whole = generator(a, other=[b], mix=torch.ones(1, 1))
    eyes = generator(a, other=[b], mix=torch.ones(1, 1), eyes=torch.zeros(1))
    change = (eyes - whole).abs().mean((0, 1))
    inside = region_maps((128, 128))[0] > 0.9
    assert change[inside].mean() > 1e-3 and change[:25].max() < 1e-5 and change[100:].max() < 1e-5
    same = generator(a, other=[b], mix=torch.ones(1, 1), eyes=torch.ones(1))
    assert torch.allclose(same, whole, atol=1e-5)
    others = {name: torch.zeros(1) for name in REGIONS}
    assert torch.allclose(
        generator(a, other=[b], mix=torch.ones(1, 1), **others),
        generator(b, other=[a], mix=torch.ones(1, 1)),
        atol=1e-5,
    )


@pytest.mark.parametrize(
    ("part", "options", "told"),
    [
        ("generator", {"elements": 0}, "are 1 or more"),
        ("generator", {"elements": "five"}, "a number or a list of names"),
        ("generator", {"elements": ["hair", "hair"]}, "no two elements have one name"),
        ("generator", {"width": 2, "stages": 2}, "4 channels of the latent cannot be split into 5"),
        ("generator", {"upsample": "bilinear"}, "'transposed' or 'resize'"),
        ("discriminator", {"norm": "layer"}, "norm is one of batch, instance, none"),
        ("discriminator", {"size": 100}, "size 100 is halved 5 times"),
    ],
)
def test_networks_that_cannot_be(part: str, options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        build_part(part, {"name": "fusion", **options})


# -- losses -------------------------------------------------------------------------------------------------------------


def step_of(mix: Tensor, n: int = 2) -> dict[str, Tensor]:
    names = ("source", "other", "reconstruction", "other_reconstruction", "output", "flipped")
    return {"mix": mix, **{name: faces(n, 32, seed) for seed, name in enumerate(names)}}


def test_reconstruction_by_hand() -> None:
    step = step_of(torch.tensor([[1.0, 1.0], [0.0, 0.0], [0.0, 1.0]]), 3)
    near = (step["reconstruction"] - step["source"]).abs().mean()
    near = near + (step["other_reconstruction"] - step["other"]).abs().mean()
    assert torch.allclose(build_part("loss", "autoencoder")(step), near)
    ends = (step["output"][0] - step["source"][0]).abs().mean() + (step["output"][1] - step["other"][1]).abs().mean()
    assert torch.allclose(build_part("loss", "fusion-reconstruction")(step), near + ends / 3)


def test_variation_is_of_all_three() -> None:
    step, single = step_of(torch.ones(2, 2)), build_part("loss", "total-variation")
    names = ("output", "reconstruction", "other_reconstruction")
    wanted = sum(single({"output": step[name]}) for name in names)
    assert torch.allclose(build_part("loss", "fusion-variation")(step), wanted)


@pytest.mark.parametrize("kind", [FusionContentLoss, FusionStyleLoss])
def test_nearness_is_to_whom_the_elements_are_of(kind: type[FusionContentLoss] | type[FusionStyleLoss]) -> None:
    torch.manual_seed(0)
    loss, face, other = kind(vgg=VGG19()), faces(1, 32, 1), faces(1, 32, 2)

    def value(mix: list[float], output: Tensor, of: Any = loss) -> float:
        return float(of({"mix": torch.tensor([mix]).float(), "source": face, "other": other, "output": output}))

    assert value([1, 1], face) == pytest.approx(0, abs=1e-9) == value([0, 0], other)
    far = value([0, 0], face)
    assert far > 0 and value([1, 1], other) == pytest.approx(far, rel=1e-4)
    assert value([1, 0], face) == pytest.approx(far / 2, rel=1e-4)  # half of the elements are of the other
    first = kind(vgg=loss.vgg, elements=[0])
    assert value([1, 0], face, first) == pytest.approx(0, abs=1e-9) and value([0, 1], face, first) == pytest.approx(far)
    with pytest.raises(ValueError, match="1 or more"):
        kind(vgg=loss.vgg, smaller=0)


def test_elements_that_do_nothing_cost_most() -> None:
    loss, step = build_part("loss", "elements"), step_of(torch.ones(2, 5))
    between = (step["reconstruction"] - step["other_reconstruction"]).abs().mean((1, 2, 3), keepdim=True)
    assert float(loss({**step, "flipped": step["output"]})) == pytest.approx(1, abs=1e-4)
    assert float(loss({**step, "flipped": step["output"] + between / 5})) == pytest.approx(0.5, abs=1e-3)
    assert float(loss({**step, "flipped": step["output"] + between})) == pytest.approx(1 / 6, abs=1e-3)


# -- the step -----------------------------------------------------------------------------------------------------------


def trainer(*overrides: str, **options: Any) -> FusionTrainer:
    torch.manual_seed(0)
    made = FusionTrainer(load_recipe("facefusion-small", [*TINY, *overrides]), **options)
    made.wanted = frozenset().union(*made.provides.values())
    return made


def batch(photos: Path, n: int = 4) -> dict[str, Tensor]:
    recipe = load_recipe("facefusion-small", TINY)
    couples = Couples([photos], recipe.data, seed=0)
    samples = [couples[i] for i in range(n)]
    return {name: torch.stack([sample[name] for sample in samples]) for name in samples[0]}


def test_couples(photos: Path) -> None:
    data = load_recipe("facefusion-small", TINY).data
    couples, again = Couples([photos], data, seed=3), Couples([photos], data, seed=3)
    assert couples.epoch == 5
    different = 0
    for index in range(10):
        sample, same = couples[index], again[index]
        assert sample.keys() == {"source", "other", "seed"} and sample["source"].shape == (3, 64, 64)
        assert all(torch.equal(sample[name], same[name]) for name in sample)
        different += not torch.equal(sample["source"], sample["other"])
    assert different > 4


def test_what_a_step_yields(photos: Path) -> None:
    made, data = trainer(), batch(photos)
    nothing, fused, judged = list(made.step(data))
    assert nothing == {} and fused.keys() == made.provided("fusion") and judged.keys() == made.provides["critic"]
    assert torch.equal(fused["source"], data["source"]) and torch.equal(fused["other"], data["other"])
    assert fused["output"].shape == data["source"].shape and fused["output"].requires_grad
    assert judged["gradient_norm"].shape == (4,) and judged["gradient_norm"].requires_grad
    first = trainer(first=1)
    steps = [list(first.step(data)) for _ in range(2)]
    assert [[bool(one) for one in step] for step in steps] == [[True, False, False], [False, True, True]]
    assert steps[0][0].keys() == first.provides["autoencoder"]


def test_how_shares_are_drawn(photos: Path) -> None:
    data = {**batch(photos, 2), "seed": torch.arange(200)}
    for ends, between in ((1.0, 0.0), (0.0, 1.0), (0.0, 0.0), (0.5, 0.25)):
        mix, flipped = trainer(ends=ends, between=between)._mixes(data["seed"], data["source"])
        assert ((mix[:, 0] == 0) | (mix[:, 0] == 1)).all()  # hair is never mixed
        whole = (mix[:, 1:] == mix[:, 1:2]).all(1)
        is_end = whole & (mix[:, 0] == mix[:, 1])
        inner = (mix[:, 1] > 0) & (mix[:, 1] < 1)
        assert (inner <= whole).all() and float(inner.float().mean()) == pytest.approx(between, abs=0.08)
        assert float(is_end.float().mean()) == pytest.approx(ends + (1 - ends - between) / 16, abs=0.1)
        if ends == 1:
            assert 0.3 < mix.mean() < 0.7
        turned = mix != flipped
        assert (turned.sum(1) == 1).all() and ((mix - flipped).abs().amax(1) >= 0.5).all()
        assert turned.any(0).all()  # each element has its turn


def test_clipping_and_penalty(tmp_path: Path, photos: Path) -> None:
    wasserstein = [f"losses.{of}.objective=wasserstein" for of in ("fusion.adversarial", "critic.critic")]
    losses = run(tmp_path / "clip", photos, "trainer.clip=0.02", *wasserstein, steps=2)
    critic = {k: v for k, v in state(tmp_path / "clip").items() if k.startswith("networks/critic")}
    assert critic and all(float(v.abs().max()) <= 0.02 for v in critic.values())
    assert "critic.gradient-penalty" not in losses[-1]
    plain = ["discriminator={name: fusion, width: 8, stages: 3, size: 64, norm: none, layers: null}"]
    losses = run(tmp_path / "gp", photos, "losses.critic.gradient-penalty.weight=10", *wasserstein, *plain, steps=2)
    assert losses[-1]["critic.gradient-penalty"] > 0


@pytest.mark.parametrize(
    ("option", "told"),
    [("ends=2", "shares of the samples"), ("between=0.9", "shares of the samples"), ("clip=-1", "clip is 0 or more")],
)
def test_wrong_options_are_one_line(tmp_path: Path, photos: Path, option: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        run(tmp_path / "run", photos, f"trainer.{option}", steps=1)
    assert not (tmp_path / "run").exists()


def test_a_latent_too_coarse_for_parts_is_one_line(tmp_path: Path, photos: Path) -> None:
    with pytest.raises(ConfigError, match="want a latent of 8×8, not 4×4"):
        run(tmp_path / "run", photos, "generator.stages=4", steps=1)
    assert not (tmp_path / "run").exists()


# -- runs ---------------------------------------------------------------------------------------------------------------


def run(out: Path, photos: Path, *overrides: str, **options: Any) -> list[dict[str, float]]:
    """A tiny run -> the losses of all its steps."""
    settings: dict[str, Any] = {"device": "cpu", "log_every": 1, **options}
    train("facefusion-small", [photos], [], Options(out=out, **settings), overrides=[*TINY, *overrides])
    return [json.loads(line)["losses"] for line in (out / "log.jsonl").read_text().splitlines()]


def state(out: Path) -> dict[str, Tensor]:
    newest = checkpoint.newest(out / "checkpoints")
    assert newest is not None
    return newest[0]


def test_an_autoencoder_first_and_a_preview_changes_nothing(tmp_path: Path, photos: Path) -> None:
    losses = run(tmp_path / "run", photos, "trainer.first=2", "ema=0", steps=3, preview_every=10)
    assert [set(one) for one in losses[:2]] == [{"autoencoder.autoencoder"}] * 2
    assert "fusion.adversarial" in losses[2] and "critic.critic" in losses[2]
    with Image.open(next((tmp_path / "run/previews").iterdir())) as sheet:
        assert sheet.size == (7 * 64, 6 * 64)  # A, five shares, B
    kept = state(tmp_path / "run")
    means = [name for name in kept if name.startswith("average/") and "running" in name]
    assert means and all(
        torch.equal(kept[name], kept["networks/fuse." + name.removeprefix("average/")]) for name in means
    )


def test_statistics_of_norms_are_averaged_as_the_weights_are(tmp_path: Path, photos: Path) -> None:
    """Those of the last batches alone do not belong to averaged weights: pictures come out pale."""
    name, out = "down.1.1.running_var", tmp_path / "run"
    before: Tensor | None = None
    for step in range(1, 4):
        run(out, photos, "ema=0.15", steps=step)
        now, decay = state(out), min(0.15, step / (9 + step))
        average, fast = now[f"average/{name}"], now[f"networks/fuse.{name}"]
        if before is not None:
            assert torch.allclose(average, decay * before + (1 - decay) * fast) and not torch.equal(average, fast)
        before = average


def test_recipes_are_the_papers() -> None:
    paper: Recipe = load_recipe("facefusion")
    generator = build_part("generator", paper.generator)
    assert sum(p.numel() for p in cast(FusionGenerator, generator).parameters()) > 22e6
    assert paper.optimiser.lr == 1e-3 and paper.data.batch == 100 and paper.data.size == (128, 128)
    split = load_recipe("facefusion-s3")
    assert split.generator["elements"] == ["shape", "colours"]
    terms = split.losses["fusion"]
    assert terms["fusion-content"]["elements"] == [0] and terms["fusion-style"]["elements"] == [1]
    small = build_part("generator", load_recipe("facefusion-small").generator)
    assert sum(p.numel() for p in small.parameters()) * 2 < 25e6  # bytes in the wheel
