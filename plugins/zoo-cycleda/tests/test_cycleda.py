"""The paper's formulas, figures and tables. What every plugin has to keep is in test_contract.py."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import forks
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from zoo.blocks.residual import ResidualBlock
from zoo.catalogue.host import host
from zoo.errors import ConfigError
from zoo.generator import Generator, build_generator, build_part
from zoo.recipe import Recipe, load_recipe
from zoo.train.objective import build_losses
from zoo_cycleda.blocks import (
    ChannelAttention,
    DualAttention,
    DualAttentionBlock,
    PositionAttention,
    SqueezeExcitation,
    SqueezeExcitationBlock,
)
from zoo_cycleda.networks import ResnetGenerator

RECIPES = [part.name for part in host().parts() if part.kind == "recipe" and part.owner == "zoo-cycleda"]
FULL = ["cyclegan", "cyclese", "cycleda", "cyclepix", "conditional-cyclepix"]


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def stirred(network: nn.Module) -> nn.Module:
    """With no parameter at 0, where attention begins."""
    for i, parameter in enumerate(network.parameters()):
        parameter.data = parameter.data + 0.3 * noise(*parameter.shape, seed=i) + (0.5 if not parameter.dim() else 0)
    return network


# -- blocks (figures 5 and 7) -------------------------------------------------------------------------------------------


def test_squeeze_excitation_is_its_formula() -> None:
    block, x, seen = stirred(SqueezeExcitation(32)), noise(2, 32, 5, 4), noise(2, 32, 5, 4, seed=1)
    first, second = (m for m in block.modules() if isinstance(m, nn.Conv2d))
    assert first.out_channels == 2  # C/16
    pooled = seen.sum((2, 3)) / 20
    hidden = (pooled @ first.weight[:, :, 0, 0].T + first.bias).clamp(min=0)
    gate = 1 / (1 + torch.exp(-(hidden @ second.weight[:, :, 0, 0].T + second.bias)))
    assert torch.allclose(block(x, seen), x * gate[:, :, None, None], atol=1e-6)


def test_squeeze_excitation_depends_on_the_picture() -> None:
    gates: list[Tensor] = []
    block = stirred(SqueezeExcitationBlock(32, reduction=2))
    block.tail.gate.register_forward_hook(lambda *call: gates.append(call[2]))
    block(noise(1, 32, 8, 8)), block(1 + noise(1, 32, 8, 8, seed=1).abs())
    assert float((gates[0] - gates[1]).detach().abs().max()) > 1e-3


def explicit_position_attention(block: PositionAttention, x: Tensor) -> Tensor:
    """DANet's formula with the P×P map."""

    def rows(convolution: nn.Conv2d) -> Tensor:
        return torch.einsum("nchw,dc->ndhw", x, convolution.weight[:, :, 0, 0]).flatten(2) + (
            0 if convolution.bias is None else convolution.bias[:, None]
        )

    query, key, value = rows(block.query), rows(block.key), rows(block.value)
    energy = torch.einsum("ncp,ncq->npq", query, key)
    attention = torch.exp(energy - energy.amax(-1, keepdim=True))
    attention = attention / attention.sum(-1, keepdim=True)
    return block.alpha * torch.einsum("ncq,npq->ncp", value, attention).reshape_as(x) + x


@pytest.mark.parametrize("shape", [(2, 16, 6, 5), (1, 8, 1, 1), (1, 20, 3, 33), (3, 4, 7, 2)])
def test_position_attention_is_its_formula(shape: tuple[int, ...]) -> None:
    block = stirred(PositionAttention(shape[1]))
    ours, theirs = noise(*shape).requires_grad_(), noise(*shape).requires_grad_()
    made, wanted = block(ours), explicit_position_attention(block, theirs)
    assert torch.allclose(made, wanted, atol=1e-5)
    made.square().sum().backward()
    wanted.square().sum().backward()
    assert torch.allclose(ours.grad, theirs.grad, atol=1e-3, rtol=1e-4)
    last = block.to(memory_format=torch.channels_last)
    assert torch.allclose(last(noise(*shape).contiguous(memory_format=torch.channels_last)), wanted, atol=1e-5)


def test_channel_attention_is_its_formula() -> None:
    block, x = ChannelAttention(), noise(2, 4, 3, 5)
    block.beta.data.fill_(0.7)
    wanted = torch.empty_like(x)
    for n in range(2):
        rows = x[n].flatten(1)
        for i in range(4):
            energy = torch.tensor([float(rows[i] @ rows[j]) for j in range(4)])
            weights = torch.exp(energy.max() - energy)  # DANet: the most alike counts least
            attended = sum(weights[j] / weights.sum() * rows[j] for j in range(4))
            wanted[n, i] = (0.7 * attended + rows[i]).view(3, 5)
    assert torch.allclose(block(x), wanted, atol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        assert block(x.bfloat16()).dtype == torch.bfloat16
    assert block(1e3 * x).isfinite().all()


def test_attention_starts_at_nothing() -> None:
    x, block = noise(2, 16, 6, 6), DualAttention(16)
    assert not block.position.alpha.any() and not block.channel.beta.any()
    assert torch.equal(block(x), 2 * x)


# -- memory: linear in the pixels ---------------------------------------------------------------------------------------


class Ledger(TorchDispatchMode):
    """The operations that run, and the numbers in the largest tensor that any of them makes."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.names.add(func.name())
        for tensor in torch.utils._pytree.tree_leaves(result):
            if isinstance(tensor, Tensor):
                self.largest = max(self.largest, tensor.numel())
        return result


def ledger(side: int, half: bool) -> Ledger:
    block, x = stirred(DualAttentionBlock(16)), noise(1, 16, side, side).requires_grad_()
    with Ledger() as seen, torch.autocast("cpu", torch.bfloat16, enabled=half):
        block(x).float().square().mean().backward()
    return seen


@pytest.mark.parametrize("half", [False, True], ids=["fp32", "bf16"])
def test_no_tensor_grows_with_the_square_of_the_pixels(half: bool) -> None:
    """Forward and backward, in both precisions."""
    small, large = ledger(24, half), ledger(48, half)
    assert not {name for seen in (small, large) for name in seen.names if "attention_math" in name}
    assert large.largest < 48**4  # the map
    assert 3 < large.largest / small.largest < 4.5  # four times the pixels, a little less border


PEAK = """
import sys, torch, resource
from zoo_cycleda.blocks import DualAttentionBlock
torch.set_num_threads(1)
block, half = DualAttentionBlock(16), sys.argv[1] == "bf16"
torch.nn.init.ones_(block.tail.position.alpha)
def run(side):
    x = torch.randn(1, 16, side, side, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        block(x).float().square().mean().backward()
run(32)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for side in (48, 96):
    run(side)
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_peak_memory_is_linear_in_the_pixels(precision: str) -> None:
    """The map alone would be 21 MB at 48×48 features and 340 MB at 96×96; and again as much on the way back."""
    done = forks.run("-c", PEAK, precision)
    assert done.returncode == 0, done.stderr
    small, large = map(int, done.stdout.split())
    assert large < 4 * small + 60
    assert large < 150


# -- generator (figure 3) -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_has_its_block(name: str) -> None:
    recipe = load_recipe(name)
    with torch.device("meta"):
        generator = build_generator(recipe.network())
    blocks = {"cyclese": SqueezeExcitationBlock, "cycleda": DualAttentionBlock}
    expected = blocks.get(name.removesuffix("-small"), ResidualBlock)
    assert {type(block) for block in generator.body} == {expected}
    assert [control["name"] for control in recipe.controls] == (
        ["hand"] * ("conditional" in name) + ["framing", "backdrop", "light", "exaggerate"]
    )


def test_sizes_and_weights_of_the_paper() -> None:
    with torch.device("meta"):
        counts = {
            name: sum(p.numel() for p in build_generator(load_recipe(name).network()).parameters()) for name in FULL
        }
    assert counts["cyclegan"] == pytest.approx(11.4e6, rel=0.01)
    assert counts["cyclese"] == counts["cyclegan"] + 9 * (2 * 256 * 16 + 256 + 16)
    assert counts["cycleda"] == counts["cyclegan"] + 9 * (256 * 320 + 32 + 256 + 2)
    for name in FULL:
        recipe = load_recipe(name)
        assert (recipe.generator["width"], recipe.generator["blocks"], recipe.data.size) == (64, 9, (256, 256))
        assert recipe.trainer["pool"] == 50 and recipe.data.batch == 1
        small = load_recipe(f"{name}-small")
        assert small.generator["width"] == 32 and small.discriminator["width"] == 32
    weights = {name: load_recipe(name).losses["generator"] for name in FULL}
    assert [weights[name]["cycle"]["weight"] for name in ("cyclegan", "cyclese", "cycleda")] == [1.4, 1.35, 1.4]
    assert all(w["identity"]["weight"] == pytest.approx(w["cycle"]["weight"] / 2) for w in weights.values())


def tiny(**options: Any) -> Generator:
    blocks = {"block": "dual-attention", "width": 4, "blocks": 1, **options}
    return build_generator({"generator": {"name": "resnet", **blocks}})


def test_the_label_changes_the_drawing() -> None:
    generator, image = tiny(labels=2), noise(2, 3, 16, 16)
    one, other = (generator(image, hand=torch.tensor([k, k])) for k in (0, 1))
    assert (one - other).abs().max() > 1e-3  # a map beside the picture would vanish in the first instance norm
    mixed = generator(image, hand=torch.tensor([0, 1]))
    assert torch.allclose(mixed[0], one[0], atol=1e-6) and torch.allclose(mixed[1], other[1], atol=1e-6)
    with pytest.raises(ValueError, match="draws in 2 hands and needs a label"):
        generator(image)


def test_no_bias_in_front_of_a_norm() -> None:
    for upsample in ("transposed", "resize"):
        layers = [m for m in tiny(upsample=upsample).modules() if not list(m.children())]
        for layer, following in pairwise(layers):
            if isinstance(following, nn.InstanceNorm2d):
                assert isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and layer.bias is None


def test_a_generator_takes_any_block() -> None:
    generator = ResnetGenerator(width=4, blocks=2, block=lambda channels: nn.Conv2d(channels, channels, 1))
    assert generator(noise(1, 3, 16, 16)).shape == (1, 3, 16, 16)


# -- trainer ------------------------------------------------------------------------------------------------------------


class Plain(Generator):
    """Somebody else's generator: no labels, no features."""

    def __init__(self, block: Any = None) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 3, 3, padding=1)

    def parts(self, image: Tensor) -> dict[str, Tensor]:
        return {"image": self.body(image)}


def recipe(*overrides: str, name: str = "cyclepix") -> Recipe:
    small = ["generator.width=4", "generator.blocks=1", "discriminator.width=4", "data.size=[32,32]", "trainer.pool=2"]
    return load_recipe(name, [*small, *overrides])


def batch(count: int = 2) -> dict[str, Tensor]:
    pictures = {"source": noise(count, 3, 32, 32), "target": noise(count, 3, 32, 32, seed=1)}
    pictures["sitter"] = noise(count, 3, 32, 32, seed=2)
    return {**pictures, "hand": torch.arange(count) % 2, "seed": torch.arange(count)}


def test_what_nobody_wants_is_left_out() -> None:
    trainer = build_part("trainer", {"name": "cycle", "pool": 2}, recipe=recipe("data.pairs=false"))
    made = next(trainer.step(batch()))
    always = {"source", "target", "hand", "output", "reverse_output", "logits", "reverse_logits"}
    assert made.keys() == always | {"features", "reverse_features"}  # these are there anyway


def test_the_step_is_cyclegans() -> None:
    trainer = build_part("trainer", {"name": "cycle", "pool": 0}, recipe=recipe("data.augment.differentiable=[]"))
    trainer.wanted = frozenset({"reconstruction", "identity"})
    given = batch()
    draw, photo = trainer.networks["draw"], trainer.networks["photo"]
    judge, judge_photo = trainer.networks["judge_drawing"], trainer.networks["judge_photo"]
    with torch.no_grad():
        generating, judging = trainer.step(given)
        drawn, taken = draw(given["source"]), photo(given["target"])
        wanted = {
            "output": drawn,
            "reverse_output": taken,
            "reconstruction": photo(drawn),
            "reverse_reconstruction": draw(taken),
            "identity": draw(given["target"]),
            "reverse_identity": photo(given["source"]),
            "logits": judge(drawn),
            "reverse_logits": judge_photo(taken),
        }
        judged = {
            "real_logits": judge(given["target"]),
            "fake_logits": judge(drawn),
            "reverse_real_logits": judge_photo(given["source"]),
            "reverse_fake_logits": judge_photo(taken),
        }
    assert all(torch.allclose(generating[name], tensor, atol=1e-6) for name, tensor in wanted.items())
    assert all(torch.allclose(judging[name], tensor, atol=1e-6) for name, tensor in judged.items())


def test_the_discriminators_phase_leaves_the_generators_alone() -> None:
    trainer = build_part("trainer", {"name": "cycle", "pool": 2}, recipe=recipe())
    _, judging = trainer.step(batch())
    sum(tensor.sum() for tensor in judging.values()).backward()
    assert all(p.grad is None for name in trainer.phases["generator"] for p in trainer.networks[name].parameters())
    assert all(
        p.grad is not None for name in trainer.phases["discriminator"] for p in trainer.networks[name].parameters()
    )


def test_photographs_have_no_hands() -> None:
    trainer = build_part("trainer", {"name": "cycle", "pool": 2}, recipe=recipe(name="conditional-cyclepix"))
    first = {name: next(network.parameters()).shape[1] for name, network in trainer.networks.items()}
    assert first == {"draw": 3, "photo": 3, "judge_drawing": 7, "judge_photo": 3}
    assert trainer.networks["draw"].hand is not None and trainer.networks["photo"].hand is None


def test_one_way_draws_what_was_varied_and_compares_with_what_was_taken() -> None:
    trainer = build_part("trainer", {"name": "one-way", "pool": 2}, recipe=recipe())
    given = batch()
    made = next(trainer.step(given))
    assert torch.equal(made["source"], given["sitter"])
    assert torch.equal(made["output"], trainer.draw(trainer.networks["draw"], given["source"], given["hand"]))


def test_a_foreign_generator_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(host()._objects, ("generator", "plain"), Plain)
    monkeypatch.setitem(host()._owners, ("generator", "plain"), ["zoo-core"])
    foreign = recipe("generator={name: plain, width: null, blocks: null, upsample: null}")
    trainer = build_part("trainer", {"name": "cycle", "pool": 2}, recipe=foreign)
    generating, judging = trainer.step(batch())
    assert F.l1_loss(generating["output"], generating["paired_target"]).isfinite() and "fake_logits" in judging
    trainer.previews(batch(), trainer.networks["draw"])


def test_losses_that_ask_for_pairs() -> None:
    unpaired = recipe("data.pairs=false")
    trainer = build_part("trainer", {"name": "cycle"}, recipe=unpaired)
    with pytest.raises(ConfigError, match="loss 'pixel' needs paired_target") as caught:
        build_losses(unpaired, trainer)
    assert "--pairs" in caught.value.hint
