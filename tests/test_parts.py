"""The core's blocks and losses: formulas, gradients, determinism."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.blocks.diffaugment import diff_augment
from zoo.blocks.label import with_label
from zoo.blocks.patchgan import PatchGAN
from zoo.blocks.pool import ImagePool
from zoo.blocks.residual import ResidualBlock
from zoo.catalogue.host import host
from zoo.errors import ConfigError, NotFoundError
from zoo.generator import Generator, build_generator, build_part, initialise
from zoo.loss import Loss
from zoo.train.objective import Terms

POLICIES = ["colour", "translation", "cutout"]


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


# -- building -----------------------------------------------------------------------------------------------------------


def test_every_core_part_is_built_by_name() -> None:
    for name in ("adversarial", "critic", "cycle", "identity", "pixel"):
        assert isinstance(build_part("loss", name), Loss) and host().owner("loss", name) == "zoo-core"
    assert isinstance(build_part("discriminator", {"name": "patchgan", "width": 4}), PatchGAN)


def test_wrong_specs_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    for spec in ({}, {"name": None}, {"width": 3}):
        with pytest.raises(ConfigError, match="a discriminator needs a name"):
            build_part("discriminator", spec)
    with pytest.raises(NotFoundError, match="patchgam") as missing:
        build_part("discriminator", "patchgam")
    assert missing.value.hint == "did you mean patchgan?"
    with pytest.raises(ConfigError, match="no option 'layer'") as caught:
        build_part("discriminator", {"name": "patchgan", "layer": 2})
    assert caught.value.hint == "did you mean layers?"
    with pytest.raises(ConfigError, match="least-square"):
        build_part("loss", {"name": "adversarial", "objective": "least-square"})
    monkeypatch.setitem(host()._objects, ("generator", "none"), nn.Identity)
    monkeypatch.setitem(host()._owners, ("generator", "none"), ["zoo-core"])
    with pytest.raises(ConfigError, match=r"is not a zoo\.Generator"):
        build_generator({"generator": {"name": "none"}})


def test_initialise_sets_the_convolutions_alone() -> None:
    network = nn.Sequential(nn.Conv2d(16, 64, 3), nn.InstanceNorm2d(64, affine=True), nn.ConvTranspose2d(64, 64, 3))
    initialise(network)
    for layer in (network[0], network[2]):
        assert float(layer.weight.detach().std()) == pytest.approx(0.02, rel=0.05) and not layer.bias.any()
    assert bool((network[1].weight == 1).all())


# -- blocks -------------------------------------------------------------------------------------------------------------


def test_residual_block_is_its_formula() -> None:
    block, x = ResidualBlock(6, tail=nn.Tanh()), noise(2, 6, 7, 5)

    def half(x: Tensor, convolution: nn.Conv2d) -> Tensor:
        y = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), convolution.weight)
        mean, var = y.mean((2, 3), keepdim=True), y.var((2, 3), unbiased=False, keepdim=True)
        return (y - mean) / (var + 1e-5).sqrt()

    convolutions = [m for m in block.modules() if isinstance(m, nn.Conv2d)]
    wanted = x + torch.tanh(half(half(x, convolutions[0]).relu(), convolutions[1]))
    assert torch.allclose(block(x), wanted, atol=1e-5)


def test_labels_become_maps() -> None:
    image = noise(2, 3, 4, 4)
    assert with_label(image, None, 0) is image
    both = with_label(image, torch.tensor([2, 0]), 3)
    assert torch.equal(both[:, :3], image) and both.shape == (2, 6, 4, 4)
    assert torch.equal(both[:, 3:, 1, 2], torch.tensor([[0.0, 0, 1], [1, 0, 0]]))
    with pytest.raises(ValueError, match="draws in 3 hands and needs a label"):
        with_label(image, None, 3)


def test_patchgan_sees_seventy_pixels() -> None:
    judge = PatchGAN(width=4)
    image = noise(1, 3, 256, 256).requires_grad_()
    logits = judge(image)
    assert logits.shape == (1, 1, 30, 30)
    plain = nn.Sequential(*(m for m in judge.body if not isinstance(m, nn.InstanceNorm2d)))  # a norm sees everything
    plain(image)[0, 0, 15, 15].backward()
    rows, columns = image.grad[0].abs().sum(0).nonzero().unbind(1)
    assert int(rows.max() - rows.min()) + 1 == int(columns.max() - columns.min()) + 1 == 70


def test_patchgan_has_the_size_of_the_paper_and_judges_by_label() -> None:
    assert sum(p.numel() for p in PatchGAN().parameters()) == pytest.approx(2.76e6, rel=0.01)
    judge, image = PatchGAN(width=4, layers=2, labels=2), noise(1, 3, 32, 32)
    assert not torch.equal(judge(image, torch.tensor([0])), judge(image, torch.tensor([1])))
    with pytest.raises(ValueError, match="label"):
        judge(image)
    for module, following in zip(judge.body, judge.body[1:]):
        if isinstance(following, nn.InstanceNorm2d):
            assert module.bias is None  # the norm would take it away


def test_every_parameter_of_patchgan_gets_a_gradient() -> None:
    judge = PatchGAN(width=4, layers=2)
    judge(noise(2, 3, 48, 48)).square().mean().backward()
    assert all(p.grad is not None and float(p.grad.abs().max()) > 1e-8 for p in judge.parameters())


# -- the image pool -----------------------------------------------------------------------------------------------------


def numbered(*values: int) -> tuple[Tensor, Tensor]:
    return torch.tensor(values, dtype=torch.float32).view(-1, 1, 1, 1), torch.tensor(values)


def test_the_pool_fills_then_swaps_every_second_time() -> None:
    pool = ImagePool(10, (1, 1, 1))
    given_back, old = 0, []
    for i in range(1, 411):
        image, label = numbered(i)
        out, out_label = pool.swap(image, label, torch.tensor([i * 7919]))
        assert int(out) == int(out_label)  # a label stays with its picture
        given_back += int(out) == i
        old += [i - int(out)] if int(out) != i else []
        assert i > 10 or int(out) == i
        assert int(out) <= i
    assert 10 + 160 < given_back < 10 + 240
    assert max(old) > 20 and len(pool.pictures.unique()) == 10


def test_the_pool_goes_by_the_seeds_alone_however_the_batch_is_cut() -> None:
    one, other, third = (ImagePool(3, (1, 1, 1)) for _ in range(3))
    for first in range(0, 40, 2):
        torch.manual_seed(first)  # of no account
        images, labels = numbered(first, first + 1)
        seeds = torch.tensor([first * 31, first * 31 + 1])
        whole, _ = one.swap(images, labels, seeds)
        parts = torch.cat([other.swap(images[i : i + 1], labels[i : i + 1], seeds[i : i + 1])[0] for i in range(2)])
        assert torch.equal(whole, parts)
        if first == 20:
            third.load_state_dict(one.state_dict())
        if first > 20:
            assert torch.equal(third.swap(images, labels, seeds)[0], whole)


def test_the_pool_keeps_no_graph_and_may_be_empty() -> None:
    image = noise(2, 3, 4, 4).requires_grad_()
    labels, seeds = torch.zeros(2, dtype=torch.int64), torch.arange(2)
    out, _ = ImagePool(0, (3, 4, 4)).swap(image * 1, labels, seeds)
    assert torch.equal(out, image) and not out.requires_grad
    pool = ImagePool(1, (3, 4, 4))
    out, _ = pool.swap(image, labels, seeds)
    out.zero_()
    assert bool(pool.pictures.any()) and bool(image.any())


# -- differentiable augmentation ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", [*([name] for name in POLICIES), POLICIES])
def test_augmentation_goes_by_the_seed_of_each_picture(policy: list[str]) -> None:
    images, seeds = noise(3, 3, 32, 24), torch.tensor([5, 2**62, 7])
    whole = diff_augment(images, policy, seeds, 1)
    assert whole.shape == images.shape and not torch.equal(whole, images)
    torch.manual_seed(1)
    for i in range(3):
        assert torch.equal(diff_augment(images[i : i + 1], policy, seeds[i : i + 1], 1)[0], whole[i])
    assert not torch.equal(diff_augment(images, policy, seeds, 2), whole)
    assert diff_augment(images.bfloat16(), policy, seeds, 1).dtype == torch.bfloat16


def test_augmentation_lets_the_gradient_through() -> None:
    image = noise(2, 3, 32, 32).requires_grad_()
    diff_augment(image, POLICIES, torch.tensor([1, 2])).sum().backward()
    assert image.grad.isfinite().all() and float((image.grad != 0).float().mean()) > 0.5
    assert diff_augment(image, [], torch.tensor([1, 2])) is image


def test_what_each_augmentation_does() -> None:
    image = noise(1, 3, 32, 32)
    offsets, areas = set(), []
    for seed in range(60):
        seeds = torch.tensor([seed])
        moved = diff_augment(image, ["translation"], seeds)[0, 0]
        places = [
            (dy, dx)
            for dy in range(-4, 5)
            for dx in range(-4, 5)
            if torch.equal(moved[4:-4, 4:-4], image[0, 0, 4 + dy : 28 + dy, 4 + dx : 28 + dx])
        ]
        assert len(places) == 1
        offsets.add(places[0])
        areas.append(float((diff_augment(image, ["cutout"], seeds)[0, 0] == 0).float().mean()))
        coloured = diff_augment(image, ["colour"], seeds)
        assert abs(float((coloured - image).mean())) <= 0.5 + 1e-5
    assert len(offsets) > 30 and {dy for dy, _ in offsets} == set(range(-4, 5))
    assert min(areas) > 0.05 and max(areas) < 0.25


# -- losses -------------------------------------------------------------------------------------------------------------

NAMES = ["source", "target", "output", "reconstruction", "identity", "paired_source", "paired_target", "features"]
NAMES += ["reverse_output", "reverse_reconstruction", "reverse_identity"]
LOGITS = ["logits", "reverse_logits", "real_logits", "fake_logits", "reverse_real_logits", "reverse_fake_logits"]
SPECS = [
    {"name": "adversarial"},
    {"name": "adversarial", "objective": "logistic"},
    {"name": "critic"},
    {"name": "critic", "objective": "logistic"},
    {"name": "cycle"},
    {"name": "identity"},
    {"name": "pixel"},
    {"name": "pixel", "both": True},
]


def step() -> dict[str, Tensor]:
    pictures = {name: noise(2, 3, 8, 8, seed=i) for i, name in enumerate(NAMES)}
    return pictures | {name: noise(2, 1, 3, 3, seed=50 + i) for i, name in enumerate(LOGITS)}


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_a_loss_is_a_finite_number_linear_in_its_weight(spec: dict[str, object]) -> None:
    loss = build_part("loss", spec)
    assert isinstance(loss, Loss) and loss.needs

    def gradients(weight: float) -> tuple[Tensor, dict[str, Tensor]]:
        tensors = {name: tensor.requires_grad_() for name, tensor in step().items()}
        total, terms = Terms({"it": (weight, loss)})(tensors)
        assert total.shape == () and total.dtype == terms["it"].dtype == torch.float32
        assert float(total.detach()) == pytest.approx(weight * float(terms["it"]), rel=1e-6) and terms["it"] > 0
        total.backward()
        return terms["it"], {name: tensor.grad for name, tensor in tensors.items() if tensor.grad is not None}

    value, single = gradients(1.0)
    again, threefold = gradients(3.0)
    assert torch.equal(value, again) and loss.needs <= single.keys() == threefold.keys()
    for name, gradient in single.items():
        assert gradient.isfinite().all() and gradient.any()
        assert torch.allclose(3 * gradient, threefold[name], rtol=1e-4)
    only = {name: tensor for name, tensor in step().items() if name in loss.needs}
    assert loss(only).isfinite()  # what it needs is enough


def test_the_losses_are_their_formulas() -> None:
    s = step()

    def far(a: str, b: str) -> float:
        return float((s[a] - s[b]).abs().mean())

    def value(name: str, **options: object) -> float:
        return float(build_part("loss", {"name": name, **options})(s))

    wanted = {
        "cycle": far("reconstruction", "source") + far("reverse_reconstruction", "target"),
        "identity": far("identity", "target") + far("reverse_identity", "source"),
        "pixel": far("output", "paired_target"),
        "adversarial": sum(float(((s[k] - 1) ** 2).mean()) for k in ("logits", "reverse_logits")),
        "critic": sum(
            0.5 * float(((s[w + "real_logits"] - 1) ** 2).mean() + (s[w + "fake_logits"] ** 2).mean())
            for w in ("", "reverse_")
        ),
    }
    for name, number in wanted.items():
        assert value(name) == pytest.approx(number, rel=1e-5)
    assert value("pixel", both=True) == pytest.approx(
        wanted["pixel"] + far("reverse_output", "paired_source"), rel=1e-5
    )
    logistic = sum(float(-s[k].sigmoid().log().mean()) for k in ("logits", "reverse_logits"))
    assert value("adversarial", objective="logistic") == pytest.approx(logistic, rel=1e-5)
    sure = {"real_logits": torch.full((1, 1, 2, 2), 1e4), "fake_logits": torch.full((1, 1, 2, 2), -1e4)}
    assert float(build_part("loss", {"name": "critic", "objective": "logistic"})(sure)) == 0  # and no overflow
    assert math.isclose(float(build_part("loss", "critic")({k: v / 1e4 for k, v in sure.items()})), 0.5)


def test_losses_of_a_critic_are_their_formulas() -> None:
    def value(spec: str | dict[str, object], **tensors: Tensor) -> float:
        return float(build_part("loss", spec)(tensors))

    real, fake = torch.tensor([3.0, 1.0, -1.0, 5.0]), torch.tensor([4.0, 0.0, 0.5, -0.5])  # means 2 and 1
    wasserstein: dict[str, object] = {"name": "adversarial", "objective": "wasserstein"}
    assert value(wasserstein, logits=fake) == -1
    assert value(wasserstein, logits=fake, reverse_logits=real) == -3
    critic = wasserstein | {"name": "critic"}
    assert value(critic, real_logits=real, fake_logits=fake) == 0.5 * (1 - 2)
    assert value(critic, real_logits=fake, fake_logits=real) == 0.5 * (2 - 1)
    assert value("gradient-penalty", gradient_norm=torch.tensor([1.0, 0.0, 3.0])) == pytest.approx(5 / 3)
    norm = torch.tensor([1.0, 0.0, 3.0], dtype=torch.bfloat16).requires_grad_()
    loss = build_part("loss", "gradient-penalty")({"gradient_norm": norm})
    assert loss.dtype == torch.float32
    (slope,) = torch.autograd.grad(loss, norm)
    assert torch.allclose(slope.float(), torch.tensor([0.0, -2, 4]) / 3, rtol=0.01)
    with pytest.raises(ConfigError, match="'wassersteen' is not one of least-squares, logistic, wasserstein"):
        build_part("loss", wasserstein | {"objective": "wassersteen"})


def test_a_generator_is_what_its_parts_say() -> None:
    class Twice(Generator):
        def parts(self, image: Tensor) -> dict[str, Tensor]:
            return {"image": 2 * image, "more": image}

    assert torch.equal(Twice()(torch.ones(1)), torch.full((1,), 2.0))
    with pytest.raises(NotImplementedError):
        Generator().parts(torch.ones(1))
