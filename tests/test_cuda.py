"""What runs on CUDA does what it does on the CPU. Without a device these are skipped; `make bench` runs them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from training import TINY, pictures, run, state

from zoo.blocks.attention import attend
from zoo.blocks.norm import InstanceNorm2d
from zoo.recipe import load_recipe
from zoo.train.engine import Engine, Options

pytestmark = pytest.mark.cuda


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.parametrize("batch", [1, 2])
def test_the_way_back_of_instance_norm_is_that_of_the_cpu(batch: int) -> None:
    """With one picture and a gradient that is channels last torch's own is wrong on the CPU."""
    x, back = (noise(batch, 6, 9, 7, seed=seed).contiguous(memory_format=torch.channels_last) for seed in (1, 2))
    found = []
    for device in ("cpu", "cuda"):
        there = x.to(device).requires_grad_()
        found.append(torch.autograd.grad(InstanceNorm2d(6)(there), there, back.to(device))[0].cpu())
    assert torch.allclose(*found, atol=1e-4)


def test_attention_is_that_of_the_cpu() -> None:
    tensors = [noise(2, 300, depth, seed=depth) for depth in (8, 8, 32)]
    found = []
    for device in ("cpu", "cuda"):
        there = [t.to(device).requires_grad_() for t in tensors]
        made = attend(*there)
        found.append([made.detach().cpu(), *(g.cpu() for g in torch.autograd.grad(made.square().sum(), there))])
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("recipe", ["cyclegan", "cycleda-small"])
def test_a_step_has_the_losses_of_the_cpu(recipe: str, bf16: bool) -> None:
    batch = {side: noise(1, 3, 32, 32, seed=i) for i, side in enumerate(("source", "target"))}
    batch |= {"sitter": batch["source"]}
    batch |= {name: torch.zeros(1, dtype=torch.int64) for name in ("hand", "seed")}
    found = []
    for device in ("cpu", None):
        options = Options(Path(), steps=10, device=device, bf16=bf16 and device is None)
        engine = Engine(load_recipe(recipe, TINY), None, options)  # type: ignore[arg-type]
        found.append(torch.stack(list(engine._step(iter([batch])).values())).cpu())
    assert torch.allclose(*found, rtol=0.05 if bf16 else 0.01, atol=0.05 if bf16 else 1e-3)


@pytest.mark.parametrize("compile", [False, True])
def test_a_run_goes_on(tmp_path: Path, compile: bool) -> None:
    photos, drawings = pictures(tmp_path / "photos", 3, seed=1), pictures(tmp_path / "drawings", 3, seed=2)
    for steps in (2, 4):
        run(tmp_path / "run", photos, drawings, steps=steps, device=None, bf16=True, compile=compile)
    assert all(t.isfinite().all() for name, t in state(tmp_path / "run").items() if name.startswith("networks/"))
