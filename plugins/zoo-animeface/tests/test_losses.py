"""What each loss says of pictures where the answer is known, and where its gradient goes."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from zoo import faces
from zoo.blocks.features import FeatureDiscriminator
from zoo.blocks.vgg import VGG19
from zoo.errors import ConfigError
from zoo.faces.parsing import PARTS
from zoo.generator import build_part, initialise
from zoo.pictures.image import read
from zoo.providers.faces import Landmarks
from zoo.train.objective import Terms
from zoo_animeface.dan import Dan, Stage
from zoo_animeface.edges import grey
from zoo_animeface.losses import (
    CartoonContentLoss,
    EdgeCriticLoss,
    GreyStyleLoss,
    LandmarkLoss,
    MouthLoss,
    PlainSkinLoss,
    PlainWallLoss,
    RedrawLoss,
    bare_skin,
    wing,
)
from zoo_animeface.networks import CartoonDiscriminator, CartoonGenerator, FineCartoonGenerator
from zoo_animeface.points import FRONTAL, GROUPS, NAMES, SIDE, of_68
from zoo_animeface.providers import FacePoints
from zoo_animeface.skin import parts_of
from zoo_animeface.translator import FRAME

SAMPLE = Path(__file__).parents[3] / "docs/sample/eileen-collins.jpg"


@pytest.fixture(scope="module")
def vgg() -> VGG19:
    torch.manual_seed(0)
    return VGG19(last="conv2_2")


@pytest.fixture(scope="module")
def dan() -> Dan:
    torch.manual_seed(0)
    network = Dan(width=4, size=32, hidden=16, features=8).eval().requires_grad_(False)
    for stage in network.stages:  # untrained it finds its mean shape everywhere
        cast(Stage, stage).fc2.weight.mul_(100)
    return network


def picture(seed: int = 0, n: int = 2, side: int = 32) -> Tensor:
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def points(n: int = 2, seed: int = 0) -> Tensor:
    off = torch.randn(n, 40, 2, generator=torch.Generator().manual_seed(seed)) * 0.03
    return torch.tensor(FRONTAL) + off


# -- the wing loss --------------------------------------------------------------------------------------------------------


def test_the_wing_loss_by_hand() -> None:
    x = torch.tensor([0.0, 1.0, -1.0, 4.0, 5.0, -12.0])
    shift = 5 - 5 * math.log(1 + 5 / 2)
    assert wing(x).tolist() == pytest.approx(
        [0, 5 * math.log(1.5), 5 * math.log(1.5), 5 * math.log(3), 5 * math.log(3.5), 12 - shift], rel=1e-6
    )


@pytest.mark.parametrize(("width", "epsilon"), [(5.0, 2.0), (10.0, 0.5), (1.0, 3.0)])
def test_the_wing_loss_has_no_step(width: float, epsilon: float) -> None:
    around = torch.tensor([width - 1e-4, width, width + 1e-4, -width - 1e-4], dtype=torch.float64)
    values = wing(around, width, epsilon)
    assert (values - values[1]).abs().max() < 3e-4
    assert values[3] == values[2]
    x = torch.linspace(0, 3 * width, 500)
    assert (wing(x, width, epsilon).diff() > 0).all()


# -- landmarks ------------------------------------------------------------------------------------------------------------


def test_points_where_they_shall_be_cost_nothing(dan: Dan) -> None:
    output = picture()
    there = dan.points(output)
    loss = LandmarkLoss(dan)
    assert loss({"source": picture(1), "output": output, "points": there}) == 0
    moved = loss({"source": picture(1), "output": output, "points": there + 3 / SIDE})
    assert float(moved) == pytest.approx(5 * math.log(2.5), rel=1e-4)  # each coordinate is three pixels off
    elsewhere = there.clone()
    elsewhere[:, NAMES.index("nose")] += 0.1
    assert loss({"source": picture(1), "output": output, "points": elsewhere}) > 0
    assert LandmarkLoss(dan, without=["nose"])({"source": picture(1), "output": output, "points": elsewhere}) == 0


def test_photographs_without_a_face_count_nothing(dan: Dan) -> None:
    loss, output, wanted = LandmarkLoss(dan), picture(n=3), points(3)
    wanted[1] = math.nan
    some = loss({"source": output, "output": output, "points": wanted})
    alone = loss({"source": output[[0, 2]], "output": output[[0, 2]], "points": wanted[[0, 2]]})
    assert some.isfinite() and float(some) == pytest.approx(float(alone), rel=1e-5)
    output.requires_grad_(True)
    nobody = loss({"source": output, "output": output, "points": torch.full((3, 40, 2), math.nan)})
    nobody.backward()
    assert nobody == 0 and output.grad is not None and torch.equal(output.grad, torch.zeros_like(output))


def test_the_gradient_reaches_the_first_layer_of_the_generator(dan: Dan) -> None:
    def gradient(**options: Any) -> Tensor | None:
        torch.manual_seed(0)
        generator = CartoonGenerator(width=4, blocks=1)
        first = next(generator.parameters())
        output = generator(picture())
        total = LandmarkLoss(dan, **options)({"source": picture(), "output": output, "points": points()})
        (total + 0 * output.sum()).backward()
        return first.grad

    slope = gradient()
    assert slope is not None and slope.isfinite().all() and slope.abs().max() > 1e-6
    constant = gradient(constant=True)
    assert constant is not None and torch.equal(constant, torch.zeros_like(constant))


def test_the_constant_has_the_value(dan: Dan) -> None:
    step = {"source": picture(), "output": picture().requires_grad_(True), "points": points()}
    with_gradient, without = LandmarkLoss(dan)(step), LandmarkLoss(dan, constant=True)(step)
    assert torch.equal(with_gradient, without) and with_gradient.requires_grad and not without.requires_grad


def test_going_down_the_gradient_of_the_pixels_lowers_it(dan: Dan) -> None:
    loss, pixels, wanted = LandmarkLoss(dan), picture().requires_grad_(True), dan.points(picture(1))
    optimiser = torch.optim.Adam([pixels], lr=0.02)
    values = []
    for _ in range(25):
        optimiser.zero_grad()
        total = loss({"source": pixels, "output": pixels, "points": wanted})
        total.backward()
        optimiser.step()
        values.append(float(total.detach()))
    assert values[-1] < 0.7 * values[0]


def test_points_are_looked_for_once_where_the_trainer_has_none(dan: Dan, monkeypatch: pytest.MonkeyPatch) -> None:
    image = read(SAMPLE).rgb[:, 20:320, 60:360]
    photo = nn.functional.interpolate(image[None], (160, 160), mode="bicubic", antialias=True).clamp(-1, 1)
    (face,) = faces.find(photo[0])
    calls, find = [], faces.find

    def counted(image: Tensor, **options: bool) -> list[faces.Face]:
        calls.append(1)
        return find(image, **options)

    monkeypatch.setattr(faces, "find", counted)
    step = {"source": torch.cat([photo, torch.zeros_like(photo)]), "output": picture(n=2, side=160)}
    loss, providers = LandmarkLoss(dan), {"landmarks": Landmarks(), "points": FacePoints()}
    terms = Terms({"one": (1.0, loss), "other": (2.0, loss)}, providers)
    assert terms.needs() == step.keys()
    _, values = terms(step)
    found = values["one"]
    assert torch.equal(values["other"], found) and len(calls) == 2  # one a photograph; the black one shows no face
    told = loss({"output": step["output"][:1], "source": photo, "points": of_68(face.landmarks / 160)[None]})
    assert float(found) == pytest.approx(float(told), rel=1e-4)


def test_the_detector_stays_as_it_is(dan: Dan) -> None:
    before = {name: tensor.clone() for name, tensor in dan.state_dict().items()}
    output = picture().requires_grad_(True)
    LandmarkLoss(dan)({"source": output, "output": output, "points": points()}).backward()
    assert all(torch.equal(tensor, before[name]) for name, tensor in dan.state_dict().items())
    assert not dan.training


# -- skin and mouths ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def portrait() -> dict[str, Tensor]:
    """A real face of 128 pixels, cut out as it is drawn, and its points."""
    image = read(SAMPLE).rgb
    crop = faces.crop(image, faces.find(image)[0], 128, FRAME)
    return {"source": crop.image[None], "points": of_68(crop.landmarks / 128)[None]}


def strands(where: Tensor) -> Tensor:
    """A plain drawing with dark vertical lines where (128,128) is true."""
    lines = torch.arange(128).remainder(8).eq(0).expand(128, 128)
    return torch.where(where & lines, -0.8, 0.6).expand(1, 3, 128, 128)


def test_bare_skin_is_cheeks_forehead_and_neck_and_nothing_that_is_drawn(portrait: dict[str, Tensor]) -> None:
    bare = bare_skin(parts_of(portrait["source"]), portrait["points"])[0, 0]
    at = (portrait["points"][0] * 128).long()
    features = [*range(17, 40)]
    assert bare[at[features, 1], at[features, 0]].max() == 0
    for cheek in (3, 13):  # between the jaw and the nose
        x, y = ((at[cheek] + at[35]) // 2).tolist()
        assert bare[y, x] > 0.6
    assert bare[:12].max() < 0.05 and bare[:, :8].max() < 0.05 and bare[:, -8:].max() < 0.05  # hair, and what is behind
    assert 0.02 < bare.mean() < 0.4


def test_strands_over_bare_skin_cost_and_lines_elsewhere_do_not(portrait: dict[str, Tensor]) -> None:
    bare = bare_skin(parts_of(portrait["source"]), portrait["points"])[0, 0]
    loss = PlainSkinLoss()
    nothing, apart = bare > 2, nn.functional.max_pool2d(bare[None], 9, 1, 4)[0] < 0.02
    plain, fringed, hatched = (loss({**portrait, "output": strands(m)}) for m in (nothing, bare > 0.5, apart))
    assert plain.dtype == torch.float32 and plain < 1e-6
    half = torch.arange(128)[:, None].lt(int(portrait["points"][0, 0, 1] * 128)).expand(128, 128)  # above the ears
    assert loss({**portrait, "output": torch.where(half, -0.8, 0.6).expand(1, 3, 128, 128)}) > 0.1
    assert fringed > 0.2 and hatched < 0.05 * fringed and apart.float().mean() > 0.4
    output = strands(bare > 0.5).clone().requires_grad_(True)
    loss({**portrait, "output": output}).backward()
    assert output.grad is not None and output.grad[0, :, bare > 0.9].abs().max() > 0


def test_what_has_no_face_says_nothing_of_skin(portrait: dict[str, Tensor]) -> None:
    output = picture(n=1, side=128).requires_grad_(True)
    loss = PlainSkinLoss()({**portrait, "points": torch.full((1, 40, 2), torch.nan), "output": output})
    loss.backward()
    assert loss == 0 and output.grad is not None and output.grad.abs().max() == 0


def test_echoes_before_an_even_wall_cost_and_what_the_photograph_has_there_does_not(
    portrait: dict[str, Tensor],
) -> None:
    behind = parts_of(portrait["source"])[:, [PARTS.index("background")]] > 0.5
    wall = torch.where(behind, 0.7, portrait["source"])
    leaves = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(0)) * 2 - 1
    lines, loss = strands(behind[0, 0]), PlainWallLoss()
    assert behind.float().mean() > 0.1
    assert loss({"source": wall, "output": wall}) < 0.02
    assert loss({"source": wall, "output": lines}) > 0.15
    assert loss({"source": torch.where(behind, leaves, wall), "output": lines}) < 0.02
    elsewhere = torch.where(nn.functional.max_pool2d(behind.float(), 9, 1, 4) > 0, 0.6, strands(~behind[0, 0]))
    assert loss({"source": wall, "output": elsewhere}) < 0.01
    output = lines.clone().requires_grad_(True)
    loss({"source": wall, "output": output}).backward()
    assert output.grad is not None and output.grad.abs().max() > 0


def test_a_smile_that_is_drawn_shut_costs_and_other_colours_elsewhere_do_not(portrait: dict[str, Tensor]) -> None:
    mouth = parts_of(portrait["source"])[0, PARTS.index("mouth")] > 0.5
    assert mouth.any()
    source, loss = portrait["source"], MouthLoss()
    grown = nn.functional.max_pool2d(mouth.float()[None], 15, 1, 7)[0] > 0
    assert loss({**portrait, "output": source}) == 0
    assert loss({**portrait, "output": torch.where(mouth, 0.6, source)}) > 0.2
    assert loss({**portrait, "output": torch.where(grown, source, -1.0)}) < 0.02


# -- features and colours -------------------------------------------------------------------------------------------------


def test_content_is_the_mean_difference_of_features(vgg: VGG19) -> None:
    loss = CartoonContentLoss(["conv2_1"], vgg=vgg)
    output, source = picture(0), picture(1)
    (one,), (other,) = vgg(output, ["conv2_1"]), vgg(source, ["conv2_1"])
    assert torch.allclose(loss({"output": output, "source": source}), (one - other).abs().mean())
    assert loss({"output": source, "source": source}) == 0
    small = CartoonContentLoss(["conv2_1"], shrink=2, vgg=vgg)
    swapped = source.clone()  # neighbours changed places: the same picture at half the size
    swapped[..., 0::2], swapped[..., 1::2] = source[..., 1::2], source[..., 0::2]
    assert small({"output": swapped, "source": source}) < 1e-5 < loss({"output": swapped, "source": source})


def test_grey_style_compares_textures_wherever_they_are(vgg: VGG19) -> None:
    loss = GreyStyleLoss(["conv1_1"], vgg=vgg)
    anime = grey(picture(0))
    moved = anime.roll(8, dims=-1)
    other = grey(nn.functional.avg_pool2d(anime, 5, 1, 2))
    same, different = (float(loss({"output": x, "grey_target": anime})) for x in (moved, other))
    assert same < 0.2 * different
    (features,) = vgg(moved, ["conv1_1"])
    (wanted,) = vgg(anime, ["conv1_1"])
    grams = [torch.einsum("nchw,ndhw->ncd", x, x) / (32 * 32) for x in (features, wanted)]
    assert same == pytest.approx(float((grams[0] - grams[1]).abs().mean()), rel=1e-4)


def test_redraw_compares_colours_and_features(vgg: VGG19) -> None:
    loss = RedrawLoss(["conv1_1", "conv2_1"], vgg=vgg)
    made, wanted = picture(0), picture(1)
    features = [[vgg(image, [layer])[0] for image in (made, wanted)] for layer in ("conv1_1", "conv2_1")]
    seen = sum((one - other).abs().mean() for one, other in features) / 2
    value = loss({"redrawn": made, "redrawn_target": wanted})
    assert torch.allclose(value, (made - wanted).abs().mean() + seen)


def test_colours_by_hand() -> None:
    def value(output: tuple[float, ...], source: tuple[float, ...]) -> float:
        made, given = (torch.tensor(rgb)[None, :, None, None].expand(1, 3, 4, 4) * 2 - 1 for rgb in (output, source))
        return float(build_part("loss", "colour")({"output": made, "source": given}))

    assert value((0.2, 0.4, 0.9), (0.2, 0.4, 0.9)) == pytest.approx(0, abs=1e-6)
    assert value((0.5, 0.5, 0.5), (0.3, 0.3, 0.3)) == pytest.approx(0.2, abs=1e-5)  # brightness alone: linear
    red = value((1.0, 0.0, 0.0), (0.0, 0.0, 0.0))
    assert red == pytest.approx(0.299 + 0.147**2 / 2 + 0.615**2 / 2, abs=1e-5)
    blue = value((0.0, 0.0, 1.0), (0.0, 0.0, 0.0))
    assert blue == pytest.approx(0.114 + 0.436**2 / 2 + 0.1**2 / 2, abs=1e-5)


@pytest.mark.parametrize(
    ("options", "weights"),
    [({}, (1, 1, 0)), ({"blurred": 0.1, "grey": 1.0}, (1, 0.1, 1)), ({"blurred": 0}, (1, 0, 0))],
)
def test_what_the_discriminator_takes_for_fakes(options: dict[str, float], weights: tuple[float, ...]) -> None:
    names = ("fake_logits", "blurred_logits", "grey_logits")
    values = {"real_logits": 0.9, "fake_logits": 0.2, "blurred_logits": 0.5, "grey_logits": -0.3}
    step = {name: torch.tensor([value, value]) for name, value in values.items()}
    loss = EdgeCriticLoss("least-squares", **options)
    assert loss.needs == {"real_logits", *(name for name, weight in zip(names, weights) if weight)}
    wanted = 0.1**2 + sum(weight * values[name] ** 2 for name, weight in zip(names, weights))
    assert float(loss(step)) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"name": "edge-critic", "objective": "none"}, "objective 'none' is not one of"),
        ({"name": "cartoon-content", "layers": ["conv9_9"]}, "VGG-19 has no layer conv9_9"),
        ({"name": "cartoon-content", "shrink": 0}, "shrink is a whole number"),
        ({"name": "grey-style", "shrink": 0}, "shrink is a whole number"),
        ({"name": "landmark", "width": 0}, "width and epsilon are above 0"),
        ({"name": "landmark", "without": ["ear"]}, "there are no points 'ear': they are jaw"),
        ({"name": "landmark", "without": list(GROUPS)}, "some points have to count"),
    ],
)
def test_wrong_options_are_one_line(spec: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        build_part("loss", spec)


# -- networks -------------------------------------------------------------------------------------------------------------


def test_a_fine_generator_redraws_what_the_plain_one_draws_in_half_the_size() -> None:
    torch.manual_seed(0)
    fine, plain = FineCartoonGenerator(width=4, blocks=1, redraw_width=4), CartoonGenerator(width=4, blocks=1)
    plain.load_state_dict({name: value for name, value in fine.state_dict().items() if name in plain.state_dict()})
    image = picture(side=48)
    made = fine.parts(image)
    assert made.keys() == {"image", *fine.makes} and made["image"].shape == image.shape
    assert torch.allclose(made["coarse"], plain(nn.functional.avg_pool2d(image, 2)), atol=1e-6)
    assert torch.equal(made["image"], fine.redrawn(made["coarse"])) and made["image"].abs().max() <= 1
    last = cast(nn.Conv2d, fine.sharpen[-1])
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.zeros_(cast(Tensor, last.bias))
    enlarged = nn.functional.interpolate(made["coarse"], scale_factor=2, mode="bilinear")
    assert torch.allclose(fine(image), enlarged, atol=1e-6)


@pytest.mark.parametrize("upsample", ["transposed", "resize"])
def test_the_generator_keeps_the_size(upsample: str) -> None:
    generator = CartoonGenerator(width=4, blocks=2, upsample=upsample)
    output = generator(torch.rand(2, 3, 24, 36))
    assert output.shape == (2, 3, 24, 36) and output.abs().max() <= 1


def test_the_discriminators_judge_patches(vgg: VGG19) -> None:
    assert CartoonDiscriminator(width=4)(picture(side=32)).shape == (2, 1, 8, 8)
    judge = FeatureDiscriminator(width=4, layers=["conv1_2", "conv2_2"], vgg=VGG19(last="conv2_2"))
    assert judge(picture(side=32)).shape == (2, 3, 4, 4)
    smaller = FeatureDiscriminator(width=4, layers=["conv1_2", "conv2_2"], shrink=2, vgg=VGG19(last="conv2_2"))
    assert smaller(picture(side=32)).shape == (2, 3, 4, 4)
    both = FeatureDiscriminator(width=4, layers=["conv1_2", "conv2_2"], shrink=[1, 2], vgg=VGG19(last="conv2_2"))
    assert both(picture(side=32)).shape == (2, 5, 4, 4)
    assert [len(head) for head in both.heads] == [len(head) for one in (judge, smaller) for head in one.heads]


def test_vgg_in_a_discriminator_is_neither_initialised_nor_trained_nor_saved() -> None:
    network = VGG19(last="conv1_2")
    weight = network.get_parameter("conv1_1.weight")
    before = weight.clone()
    judge = FeatureDiscriminator(width=4, layers=["conv1_2"], vgg=network)
    initialise(judge)
    judge.requires_grad_(True)
    assert torch.equal(weight, before) and not weight.requires_grad
    assert all(name.startswith(("pixels.", "heads.")) for name in judge.state_dict())
    image = picture().requires_grad_(True)
    judge(image).sum().backward()
    assert image.grad is not None and image.grad.abs().max() > 0
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in judge.parameters())
    judge.double()
    assert weight.dtype == torch.float64  # it moves with the network
    judge.float()
    assert torch.equal(copy.deepcopy(judge)(image), judge(image))


@pytest.mark.parametrize(
    ("kind", "spec", "told"),
    [
        ("generator", {"name": "cartoon", "upsample": "none"}, "upsample is 'transposed' or 'resize'"),
        ("generator", {"name": "cartoon", "width": 0}, "1 or more channels"),
        ("discriminator", {"name": "cartoon", "width": 0}, "width is 1 or more"),
        ("discriminator", {"name": "features", "layers": ["x"]}, "VGG-19 has no layer x"),
        ("discriminator", {"name": "features", "shrink": 3}, "shrink 1, 2 or 4"),
        ("discriminator", {"name": "features", "shrink": []}, "shrink 1, 2 or 4, or several"),
        ("generator", {"name": "cartoon-fine", "redraw_width": 1}, "redraw_width is 2 or more"),
    ],
)
def test_wrong_networks_are_one_line(kind: str, spec: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        build_part(kind, spec)
