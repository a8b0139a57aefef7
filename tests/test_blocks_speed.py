"""Layers written for speed: the same numbers as torch's, forward and back, in every way of calling them."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.blocks import attention
from zoo.blocks.attention import attend, felt, heeded
from zoo.blocks.conv import Conv2d
from zoo.blocks.norm import InstanceNorm2d, heal_instance_norms
from zoo.machine import kernels


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def like(layer: Conv2d) -> nn.Conv2d:
    outer, inner, kernel, _ = layer.weight.shape
    plain = nn.Conv2d(inner, outer, kernel, padding=layer.padding, bias=layer.bias is not None)
    plain.load_state_dict(layer.state_dict())
    return plain


def gradients(made: Tensor, *of: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad((made * noise(*made.shape, seed=9)).sum(), of)


def pretend(monkeypatch: pytest.MonkeyPatch, machine: str) -> None:
    """The table's row of another machine; its kernels run here, too, if slowly."""
    monkeypatch.setattr(kernels, "machine", lambda device="cpu": machine)


@pytest.fixture
def winograd(monkeypatch: pytest.MonkeyPatch) -> None:
    """NNPACK for every size."""
    pretend(monkeypatch, "cpu")
    every = kernels.TABLE["cpu", "fp32"]._replace(winograd=(0, 0))
    monkeypatch.setitem(kernels.TABLE, ("cpu", "fp32"), every)


CASES = [(1, 16, 32, 3, 0, 18, 20), (2, 32, 16, 3, 1, 15, 16), (3, 3, 16, 7, 0, 30, 25), (1, 16, 3, 7, 0, 22, 31)]
CASES += [(1, 8, 8, 3, 0, 3, 3), (1, 8, 8, 3, 1, 1, 1)]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_convolution_is_torchs(case: tuple[int, ...], winograd: None) -> None:
    n, inner, outer, kernel, padding, height, width = case
    layer = Conv2d(inner, outer, kernel, padding, bias=outer < 16)
    plain, x = like(layer), noise(n, inner, height, width).requires_grad_()
    made, wanted = layer(x), plain(x)
    assert torch.allclose(made, wanted, atol=2e-5)
    ours, theirs = (gradients(y, x, *net.parameters()) for y, net in ((made, layer), (wanted, plain)))
    for one, other in zip(ours, theirs, strict=True):
        assert torch.allclose(one, other, atol=1e-3, rtol=1e-4)
    with torch.no_grad():
        assert torch.equal(layer(x), made)
        assert torch.equal(layer(x[:1]), made[:1])  # a batch is its pictures, bit for bit
        last = x.contiguous(memory_format=torch.channels_last)
        assert torch.equal(layer(last), made)


@pytest.mark.parametrize(
    ("machine", "channels", "side", "exact"),
    [
        ("cpu", 8, 31, True),
        ("cpu", 8, 32, False),
        ("amx", 255, 64, True),
        ("avx512", 256, 63, True),
        ("avx512-bf16", 256, 64, False),
    ],
)
def test_small_pictures_are_convolved_by_torch(
    machine: str, channels: int, side: int, exact: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, machine)
    layer, x = Conv2d(channels, channels, 3, 1), noise(1, channels, side, side)
    assert torch.equal(layer(x), like(layer)(x)) == exact


def test_a_convolution_may_be_frozen_and_differentiated_twice(winograd: None) -> None:
    layer, x = Conv2d(8, 8, 3, 1), noise(1, 8, 9, 9).requires_grad_()
    found = []
    for net in (layer, like(layer)):
        net.requires_grad_(False)
        (once,) = torch.autograd.grad(net(x).square().sum(), x, create_graph=True)
        found += torch.autograd.grad(once.square().sum(), x)
    assert torch.allclose(*found, rtol=1e-3, atol=1e-3)


def test_under_autocast_a_convolution_stays_exact_and_its_weights_gradient_is_fp32(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pretend(monkeypatch, "cpu")
    layer, x = Conv2d(16, 16, 3), noise(1, 16, 12, 12).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        made = layer(x.bfloat16())
    assert torch.allclose(made, like(layer)(x.bfloat16().float()), atol=2e-5)
    made.square().sum().backward()
    assert layer.weight.grad is not None and layer.weight.grad.dtype == torch.float32
    wanted = torch.autograd.grad(like(layer)(x).square().sum(), x)[0]
    assert torch.allclose(x.grad, wanted, atol=0.02 * float(wanted.abs().max()))


def test_under_autocast_on_amx_a_convolution_is_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "amx")
    layer, x = Conv2d(16, 16, 3, 1), noise(2, 16, 12, 11).requires_grad_()
    plain = like(layer)
    with torch.autocast("cpu", torch.bfloat16):
        made, wanted = layer(x), plain(x)
    assert made.dtype == torch.bfloat16 and torch.equal(made, wanted)
    assert torch.allclose(made.float(), plain(x), atol=0.03)
    for one, other in zip(
        gradients(made.float(), x, *layer.parameters()), gradients(wanted.float(), x, *plain.parameters()), strict=True
    ):
        assert one.dtype == torch.float32 and torch.allclose(
            one, other, rtol=0.02, atol=0.02 * float(other.abs().max())
        )
    assert torch.allclose(layer(x), plain(x), atol=2e-5)  # without autocast it is as exact as ever


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_instance_norm_is_torchs(layout: torch.memory_format) -> None:
    x = (3 * noise(2, 6, 9, 7) + 1).contiguous(memory_format=layout).requires_grad_()
    made, wanted = InstanceNorm2d(6)(x), F.instance_norm(x)
    assert torch.allclose(made, wanted, atol=1e-5)
    assert torch.allclose(*(gradients(y, x)[0] for y in (made, wanted)), atol=1e-5)
    assert not InstanceNorm2d(6).state_dict()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("batch", [1, 2])
def test_the_way_back_of_instance_norm_of_channels_last_is_torchs(batch: int, dtype: torch.dtype) -> None:
    """The result is changed in its place behind it, and its gradient is channels last, as in a network."""
    x = (3 * noise(batch, 6, 9, 7) + 1).to(dtype).contiguous(memory_format=torch.channels_last).requires_grad_()
    back = noise(batch, 6, 9, 7, seed=3).to(dtype).contiguous(memory_format=torch.channels_last)
    exact = x.detach().double().contiguous().requires_grad_()
    made, wanted = F.relu(InstanceNorm2d(6)(x), inplace=True), F.relu(F.group_norm(exact, 6))
    assert made.is_contiguous(memory_format=torch.channels_last) and made.dtype == dtype
    (ours,), (theirs,) = torch.autograd.grad(made, x, back), torch.autograd.grad(wanted, exact, back.double())
    assert ours.is_contiguous(memory_format=torch.channels_last)
    bound = 1e-5 if dtype == torch.float32 else 0.02
    assert torch.allclose(made.double(), wanted, atol=bound) and torch.allclose(ours.double(), theirs, atol=bound)


def test_instance_norm_of_channels_last_may_be_differentiated_twice() -> None:
    """As a gradient penalty does."""
    x = noise(2, 3, 5, 4).double().contiguous(memory_format=torch.channels_last).requires_grad_()
    assert torch.autograd.gradgradcheck(InstanceNorm2d(3), (x,))


def test_torchs_instance_norm_is_healed() -> None:
    """Of one picture its way back is shuffled where the gradient comes channels last."""
    network, x = nn.Sequential(nn.InstanceNorm2d(4), nn.ReLU(inplace=True)), noise(1, 4, 6, 5).requires_grad_()
    back = noise(1, 4, 6, 5, seed=3)
    (wanted,) = torch.autograd.grad(network(x), x, back)
    heal_instance_norms(network)
    (made,) = torch.autograd.grad(network(x), x, back.contiguous(memory_format=torch.channels_last))
    assert torch.allclose(made, wanted, atol=1e-6)


@pytest.mark.parametrize("positions", [(1, 1), (5, 9), (256, 3), (300, 600)])
def test_attention_is_its_formula(positions: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    if positions == (5, 9):
        monkeypatch.setattr(attention, "ROWS", 2)
    query, key, value = (noise(2, p, d, seed=d).requires_grad_() for p, d in zip((*positions, positions[1]), (4, 4, 7)))
    made, wanted = attend(query, key, value), torch.softmax(query @ key.transpose(1, 2), -1) @ value
    assert torch.allclose(made, wanted, atol=1e-5)
    of = (query, key, value)
    for one, other in zip(gradients(made, *of), gradients(wanted, *of), strict=True):
        assert torch.allclose(one, other, atol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        half = attend(*(t.bfloat16() for t in of))
    assert half.dtype == torch.bfloat16 and torch.allclose(half.float(), wanted, atol=0.05)


@pytest.mark.parametrize("depth", [32, 8])
def test_attention_in_bf16_is_off_by_a_rounding(depth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where bf16 products are fast; scores of the size that trained networks have, and values that share a mean."""
    pretend(monkeypatch, "amx")
    query, key = (4 * noise(2, 300, 16, seed=seed) for seed in (1, 2))
    value = noise(2, 300, depth, seed=3) + 2
    tensors = [t.requires_grad_() for t in (query, key, value)]
    wanted = torch.softmax(query @ key.transpose(1, 2), -1) @ value
    with torch.autocast("cpu", torch.bfloat16):
        made = attend(*tensors)
    assert made.dtype == torch.float32 and not torch.allclose(made, wanted, atol=1e-5)  # it is in bf16
    pairs = [(made, wanted), *zip(gradients(made, *tensors), gradients(wanted, *tensors), strict=True)]
    for one, other in pairs:
        assert float(((one - other).norm() / other.norm()).detach()) < 0.008
    with torch.autocast("cpu", torch.bfloat16):  # what torch generates has scores in bf16
        assert torch.equal(torch.compile(attend, backend="eager")(*tensors), made)
    assert torch.allclose(attend(*tensors), wanted, atol=1e-5)  # without autocast it is as exact as ever


def test_what_is_nearly_zero_is_not_multiplied() -> None:
    """Such numbers have fewer digits, and products of them take fifty times as long on some processors."""
    query, key, value = (noise(1, 64, depth, seed=depth).requires_grad_() for depth in (4, 4, 6))
    sharp = 40 * query
    shares = torch.softmax(sharp @ key.mT, -1)
    assert ((shares > 0) & (shares < 1e-20)).any()
    made = attend(sharp, key, value)
    assert torch.allclose(made, shares @ value, atol=1e-5)
    assert torch.equal(heeded(torch.tensor([0.5, 1e-6, 1e-13, 0.0])), torch.tensor([0.5, 1e-6, 0.0, 0.0]))
    x = torch.ones(4, requires_grad=True)
    felt(x).backward(torch.tensor([1.0, -1e-28, 1e-33, -1e-40]))
    assert x.grad is not None and torch.equal(x.grad, torch.tensor([1.0, -1e-28, 0.0, 0.0]))


FALLBACK = """
import torch
from torch.backends import nnpack
nnpack.is_available = lambda: False
from zoo.blocks.conv import Conv2d
layer, x = Conv2d(4, 4, 3), torch.rand(1, 4, 40, 40)
assert torch.equal(layer(x), torch.nn.functional.conv2d(x, layer.weight, layer.bias))
"""


def test_without_nnpack_a_convolution_is_torchs_own() -> None:
    subprocess.run([sys.executable, "-c", FALLBACK], check=True, timeout=300)
