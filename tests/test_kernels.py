"""The table of kernels, and training on the machines in it: their kernels run here, too, if slowly."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from training import EVEN, TINY, pictures, run, same, state

from zoo.machine import kernels
from zoo.machine.kernels import TABLE, told
from zoo.recipe import load_recipe
from zoo.train import engine as engines
from zoo.train.engine import Engine, Options

LAST = torch.channels_last


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def amx(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "machine", lambda device="cpu": "amx")


def test_every_machine_has_a_row_for_each_precision() -> None:
    machines = {name for name, _ in TABLE}
    assert machines == {"cuda", "amx", "avx512-bf16", "avx512", "cpu", "other"}
    assert TABLE.keys() == {(name, precision) for name in machines for precision in ("fp32", "bf16")}
    assert "bf16 attention, compiled if the training is long" in _told_of_amx()


def _told_of_amx() -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "machine", lambda device: "amx")
        return told("cpu")


@pytest.mark.parametrize(
    ("tiles", "products", "capability", "name"),
    [
        (True, True, "AVX512", "amx"),
        (False, True, "AVX512", "avx512-bf16"),
        (False, False, "AVX512", "avx512"),
        (False, True, "AVX2", "cpu"),  # ATEN_CPU_CAPABILITY may hold torch back
    ],
)
def test_a_cpu_is_known_by_what_torch_says(
    monkeypatch: pytest.MonkeyPatch, tiles: bool, products: bool, capability: str, name: str
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: tiles, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: products, raising=False)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert kernels.machine.__wrapped__("cpu") == name
    assert [kernels.machine.__wrapped__(device) for device in ("cuda", "mps")] == ["cuda", "other"]


@pytest.mark.parametrize(("machine", "told"), [("avx512-bf16", True), ("amx", True), ("avx512", False), ("cpu", False)])
def test_a_run_is_told_whether_bf16_is_fast_here(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path, machine: str, told: bool
) -> None:
    monkeypatch.setattr(kernels, "machine", lambda device="cpu": machine)
    photos, drawings = pictures(tmp_path / "photos", 2), pictures(tmp_path / "drawings", 2)

    def said(**options: Any) -> bool:
        caplog.clear()
        with caplog.at_level("INFO", logger="zoo.train"):
            run(tmp_path / str(options.pop("out", "run")), photos, drawings, EVEN, **options)
        return "--bf16" in caplog.text

    assert said(steps=1) == told
    assert not said(steps=2)  # a run that goes on
    assert said(out="bf16", steps=1, bf16=True) == (machine == "cpu")  # where it is slow


class Conversions(TorchDispatchMode):
    """Notes what makes features (more channels than a picture has) in another layout than channels last."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        moves = any(word in str(func) for word in ("clone", "copy_", "convolution", "norm", "pad", "add", "mul"))
        for made in tree_leaves(result) if moves else ():
            features = isinstance(made, Tensor) and made.dim() == 4 and made.shape[1] > 4 and min(made.shape[2:]) > 1
            if features and not made.is_contiguous(memory_format=LAST):
                self.found.append(f"{func} {tuple(made.shape)}")
        return result


def taught(name: str, bf16: bool, *overrides: str) -> tuple[Engine, dict[str, Tensor]]:
    """An engine of a tiny recipe with its attention at work, and a batch of noise."""
    recipe = load_recipe(name, [*TINY, "generator.width=8", *overrides])
    engine = Engine(recipe, None, Options(Path(), steps=100, device="cpu", bf16=bf16))  # type: ignore[arg-type]
    for parameter in (p for n, p in engine.networks.named_parameters() if n.endswith(("alpha", "beta"))):
        torch.nn.init.constant_(parameter, 0.5)
    rng = torch.Generator().manual_seed(0)
    batch = {side: torch.rand(1, 3, 32, 32, generator=rng) * 2 - 1 for side in ("source", "target")}
    batch["sitter"] = batch["source"]
    return engine, {**batch, "hand": torch.zeros(1, dtype=torch.int64), "seed": torch.zeros(1, dtype=torch.int64)}


@pytest.mark.parametrize("recipe", ["cyclegan", "cycleda-small"])
def test_with_amx_data_flow_channels_last_from_batch_to_loss(amx: None, recipe: str) -> None:
    engine, batch = taught(recipe, True)
    engine._step(iter([batch]))
    with Conversions() as conversions:
        engine._step(iter([batch]))
    assert conversions.found == []
    assert all(p.is_contiguous(memory_format=LAST) for p in engine.networks.parameters() if p.dim() == 4)


@pytest.mark.parametrize("recipe", ["cyclegan", "cycleda-small"])
def test_losses_in_bf16_are_those_of_fp32(monkeypatch: pytest.MonkeyPatch, recipe: str) -> None:
    found = {}
    for machine, bf16 in (("cpu", False), ("cpu", True), ("amx", True)):
        monkeypatch.setattr(kernels, "machine", lambda device="cpu", machine=machine: machine)
        engine, batch = taught(recipe, bf16)
        found[machine, bf16] = torch.stack(list(engine._step(iter([batch])).values()))
    exact = found["cpu", False]
    assert torch.allclose(found["amx", True], exact, rtol=0.02, atol=0.02)
    assert not torch.equal(found["amx", True], found["cpu", True])  # the table is what decides


def test_a_run_with_amx_goes_on_bit_for_bit(amx: None, tmp_path: Path) -> None:
    photos, drawings = pictures(tmp_path / "photos", 4, seed=1), pictures(tmp_path / "drawings", 3, seed=2)
    for out, parts in (("parts", (2, 4)), ("whole", (4,))):
        for steps in parts:
            run(tmp_path / out, photos, drawings, EVEN, steps=steps, bf16=True)
    assert same(tmp_path / "parts", tmp_path / "whole")


# -- generated code ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("minutes_left", "pays"), [(59, False), (61, True)])
def test_a_run_is_compiled_if_it_is_long_and_remembers_that(
    amx: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, minutes_left: int, pays: bool
) -> None:
    monkeypatch.setattr(engines, "TIMED", 2)
    clock = iter(range(0, 10**9, 60))
    monkeypatch.setattr("zoo.train.engine.time.monotonic", lambda: next(clock))  # a step takes a minute
    asked: list[int] = []
    monkeypatch.setattr(Engine, "_compile", lambda self: asked.append(self.step))
    photos, drawings = pictures(tmp_path / "photos", 2, seed=1), pictures(tmp_path / "drawings", 2, seed=2)
    out, length = tmp_path / "run", 2 + minutes_left

    def stop(self: Engine) -> bool:
        return self.step == 3

    with monkeypatch.context() as patch:
        patch.setattr(Engine, "_stopping", stop)
        run(out, photos, drawings, steps=length, bf16=True)
    assert asked == [2] * pays
    with monkeypatch.context() as patch:
        patch.setattr(Engine, "_stopping", lambda self: self.step == 4)
        run(out, photos, drawings, steps=10**6 if not pays else length, bf16=True)
    assert asked == [2, 3] * pays  # as it was decided at first
    assert int(state(out)["memory/drawings.count"]) == 2


@pytest.mark.parametrize("chosen", [None, False])
def test_a_run_is_not_compiled_where_that_does_not_pay(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, chosen: bool | None
) -> None:
    monkeypatch.setattr(kernels, "machine", lambda device="cpu": "cpu" if chosen is None else "amx")
    monkeypatch.setattr(engines, "WORTH", 0)
    monkeypatch.setattr(engines, "TIMED", 1)
    monkeypatch.setattr(Engine, "_compile", lambda self: pytest.fail("compiled"))
    photos, drawings = pictures(tmp_path / "photos", 2, seed=1), pictures(tmp_path / "drawings", 2, seed=2)
    run(tmp_path / "run", photos, drawings, steps=2, compile=chosen)


def test_a_run_without_a_compiler_goes_on_without(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(engines, "can_compile", lambda device: False)
    photos, drawings = pictures(tmp_path / "photos", 2, seed=1), pictures(tmp_path / "drawings", 2, seed=2)
    for out, compile in (("asked", True), ("plain", False)):
        run(tmp_path / out, photos, drawings, steps=2, compile=compile)
    assert same(tmp_path / "asked", tmp_path / "plain")


def test_memory_does_not_grow_with_each_size_of_picture() -> None:
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallinfo2"):
        pytest.skip("only glibc tells what is in use")

    class Told(ctypes.Structure):
        _fields_ = [(name, ctypes.c_size_t) for name in ("a", "b", "c", "d", "mapped", "f", "g", "used", "i", "j")]

    libc.mallinfo2.restype = Told
    layers = torch.nn.Sequential(torch.nn.Conv2d(3, 16, 3, 2, 1), torch.nn.ConvTranspose2d(16, 3, 4, 2, 1))

    def used_after(heights: range) -> int:
        for size in ((height, width) for height in heights for width in range(16, 56, 2)):
            with torch.inference_mode():
                layers(torch.zeros(1, 3, *size))
        told = libc.mallinfo2()
        return int(told.used + told.mapped)

    before = used_after(range(16, 36, 2))
    assert used_after(range(36, 52, 2)) - before < 160 * 10_000, "50 kB a size where all kernels are kept"
