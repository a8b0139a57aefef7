"""Translators: what came in goes out, at any size, and nothing else changes."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tiny_plugin import TinyPlugin, tiny  # noqa: F401  (a fixture)
from torch import Tensor, nn

import zoo
from zoo.catalogue.host import host
from zoo.catalogue.registry import registry
from zoo.errors import (
    ControlError,
    ImageError,
    IntegrityError,
    NotFoundError,
    PluginError,
    UsageError,
    ZooError,
)
from zoo.generator import Generator, SizeRule
from zoo.machine import compiler
from zoo.machine.device import pick_device
from zoo.pictures.image import Picture
from zoo.progress import Stopped, tell
from zoo.translator import Translator

RNG = np.random.default_rng(0)


class Identity(Generator):
    """The picture itself; keeps the shapes it saw, and refuses those against its rule."""

    def __init__(self, size: SizeRule = SizeRule(multiple_of=8, minimum=16)) -> None:  # noqa: B008
        super().__init__()
        self.size = size
        self.seen: list[tuple[int, ...]] = []

    def parts(self, image: Tensor, **controls: Tensor) -> dict[str, Tensor]:
        height, width = image.shape[-2:]
        assert self.size.fixed in (None, (height, width))
        assert height % self.size.multiple_of == width % self.size.multiple_of == 0
        assert min(height, width) >= self.size.minimum
        assert image.min() >= -1
        assert image.max() <= 1
        self.seen.append(tuple(image.shape))
        return {"image": image}


class Conv(Generator):
    """Something with weights, modes and random numbers."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Dropout(), nn.Conv2d(8, 3, 1))

    def parts(self, image: Tensor, **controls: Tensor) -> dict[str, Tensor]:
        torch.rand(3)
        return {"image": torch.tanh(self.layers(image))}


def photo(height: int = 20, width: int = 30) -> np.ndarray:
    return RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)


# --- sizes


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    multiple=st.sampled_from([1, 2, 4, 7, 8, 32]),
    minimum=st.sampled_from([1, 16, 50]),
)
def test_any_size_comes_back_exactly(height, width, multiple, minimum):
    array = photo(height, width)
    translator = Translator(Identity(SizeRule(multiple, minimum)), device="cpu")
    assert np.array_equal(translator.translate(array), array)


@settings(max_examples=40, deadline=None)
@given(height=st.integers(1, 90), width=st.integers(1, 90), size=st.integers(1, 100))
def test_scaling_keeps_the_size_of_the_picture(height, width, size):
    identity = Identity()
    assert Translator(identity, device="cpu").translate(photo(height, width), size=size).shape == (height, width, 3)
    assert max(identity.seen[0][2:]) <= max(16, -(-size // 8) * 8)


@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (3000, 1), (2, 17)])
def test_extreme_shapes(shape):
    array = photo(*shape)
    assert np.array_equal(Translator(Identity(), device="cpu").translate(array), array)


@pytest.mark.parametrize("shape", [(10, 40), (40, 10), (100, 80), (32, 24)])
def test_a_fixed_size_keeps_the_aspect_ratio(shape):
    flat = np.full((*shape, 3), 200, np.uint8)
    flat[: shape[0] // 2] = 50
    result = Translator(Identity(SizeRule(fixed=(32, 24))), device="cpu").translate(flat)
    assert result.shape == flat.shape
    quarter = shape[0] // 4
    assert abs(int(result[quarter, 3, 0]) - 50) < 8
    assert abs(int(result[-quarter, 3, 0]) - 200) < 8


def test_padding_reflects():
    class Left(Identity):
        def parts(self, image: Tensor, **controls: Tensor) -> dict[str, Tensor]:
            self.input = image
            return super().parts(image)

    left = Left(SizeRule(multiple_of=8))
    unit = torch.arange(6.0).div(6).expand(3, 8, 6)
    Translator(left, device="cpu").translate(unit)
    assert torch.allclose(left.input[0, 0, 0], torch.tensor([1, 0, 1, 2, 3, 4, 5, 4.0]) / 3 - 1, atol=1e-6)


def test_larger_pictures_are_scaled_down_to_the_working_size():
    identity = Identity()
    translator = Translator(identity, {"working": 64}, device="cpu")
    array = photo(200, 100)
    assert translator.translate(array).shape == array.shape
    assert np.array_equal(translator.translate(array, size=0), array)
    translator.translate(array, size=32)
    assert np.array_equal(translator.translate(array[:50, :40]), array[:50, :40])
    assert [shape[2:] for shape in identity.seen] == [(64, 32), (200, 104), (32, 16), (56, 40)]


def test_scaled_results_still_look_like_the_picture():
    ramp = np.linspace(0, 255, 200).round().astype(np.uint8)
    array = np.broadcast_to(ramp[None, :, None], (100, 200, 3))
    result = Translator(Identity(), device="cpu").translate(array, size=64).astype(int)
    assert np.abs(result - array).max() <= 6


@pytest.mark.parametrize("wrong", [{"size": -1}, {"batch": 0}])
def test_wrong_options(wrong):
    with pytest.raises(UsageError):
        Translator(Identity(), device="cpu").translate(photo(), **wrong)


# --- forms


def test_forms_in_and_out(tmp_path):
    translator = Translator(Identity(), device="cpu")
    array = photo()
    Image.fromarray(array).save(tmp_path / "a.png")
    for source in (Image.fromarray(array), tmp_path / "a.png", str(tmp_path / "a.png")):
        result = translator.translate(source)
        assert isinstance(result, Image.Image)
        assert np.array_equal(np.asarray(result), array)
    tensor = torch.rand(2, 3, 10, 12)
    torch.testing.assert_close(translator.translate(tensor), tensor, atol=1e-6, rtol=0)
    torch.testing.assert_close(translator.translate(tensor[0]), tensor[0], atol=1e-6, rtol=0)
    arrays = np.stack([array, array[::-1]])
    assert np.array_equal(translator.translate(arrays), arrays)


def test_a_list_gives_a_list_of_the_same_forms(tmp_path):
    array = photo()
    results = Translator(Identity(), device="cpu").translate([array, Image.fromarray(array), torch.rand(3, 5, 5)])
    assert [type(result) for result in results] == [np.ndarray, Image.Image, Tensor]
    assert Translator(Identity(), device="cpu").translate([]) == []


def test_a_folder_gives_a_list(tmp_path):
    (tmp_path / "sub").mkdir()
    arrays = [photo(10, 10), photo(10, 12)]
    Image.fromarray(arrays[0]).save(tmp_path / "a.png")
    Image.fromarray(arrays[1]).save(tmp_path / "sub" / "b.png")
    (tmp_path / "notes.txt").write_text("no picture")
    results = Translator(Identity(), device="cpu").translate(tmp_path)
    assert all(np.array_equal(np.asarray(result), array) for result, array in zip(results, arrays, strict=True))


def test_what_gives_pictures_one_by_one_gives_a_list(tmp_path):
    arrays = [photo(10, 10), photo(10, 12)]
    for name, array in zip("ab", arrays):
        Image.fromarray(array).save(tmp_path / f"{name}.png")
    translator = Translator(Identity(), device="cpu")
    for pictures in (tmp_path.glob("*.png"), (array for array in arrays), map(Image.fromarray, arrays)):
        results = translator.translate(pictures)
        assert sorted(np.asarray(one).shape for one in results) == [(10, 10, 3), (10, 12, 3)]


def test_an_empty_folder_is_an_error(tmp_path):
    with pytest.raises(NotFoundError, match="no pictures"):
        Translator(Identity(), device="cpu").translate(tmp_path)


def test_a_tensor_result_can_be_trained_on():
    result = Translator(Identity(), device="cpu").translate(torch.rand(3, 16, 16, requires_grad=True))
    weight = torch.ones(1, requires_grad=True)
    (result * weight).sum().backward()
    assert weight.grad is not None


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_alpha_is_attached_again(mode):
    array = RNG.integers(1, 256, (9, 11, len(mode)), dtype=np.uint8)
    result = Translator(Identity(), device="cpu").translate(Image.fromarray(array, mode), size=33)
    assert result.mode == "RGBA"
    assert np.array_equal(np.asarray(result)[..., -1], array[..., -1])


def test_no_halo_around_what_is_cut_out():
    class Blur(Generator):
        def parts(self, image: Tensor, **controls: Tensor) -> dict[str, Tensor]:
            return {"image": nn.functional.avg_pool2d(image, 5, 1, 2, count_include_pad=False)}

    array = np.zeros((40, 40, 4), np.uint8)  # black where it is hidden
    array[10:30, 10:30] = (220, 180, 160, 255)
    result = Translator(Blur(), device="cpu").translate(array)
    seen = result[..., 3] > 0
    assert np.abs(result[seen].astype(int) - [220, 180, 160, 255]).max() <= 2


def test_a_bad_picture_in_a_list_is_named(tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no")
    with pytest.raises(ImageError, match=r"bad\.png"):
        Translator(Identity(), device="cpu").translate([photo(), tmp_path / "bad.png"])


# --- batches


def test_pictures_of_equal_size_go_together_and_order_is_kept():
    identity = Identity()
    arrays = [photo(16, 16), photo(16, 16), photo(16, 16), photo(24, 16), photo(16, 16)]
    results = Translator(identity, device="cpu").translate(arrays, batch=2)
    assert all(np.array_equal(result, array) for result, array in zip(results, arrays, strict=True))
    assert [shape[0] for shape in identity.seen] == [2, 1, 1, 1]


def test_a_batch_is_limited_by_its_pixels():
    identity = Identity()
    Translator(identity, device="cpu").translate([photo(512, 1024)] * 3)
    assert [shape[0] for shape in identity.seen] == [2, 1]


def test_a_batch_draws_as_singles_do():
    translator = Translator(Conv(), device="cpu")
    arrays = [photo(16, 16) for _ in range(3)]
    together = translator.translate(arrays, batch=3)
    for array, result in zip(arrays, together):
        assert np.abs(translator.translate(array).astype(int) - result).max() <= 1


def test_stream_puts_errors_in_their_place_and_reads_as_it_goes(tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no")
    read: list[int] = []

    def sources():
        for index, source in enumerate([photo(16, 16), tmp_path / "bad.png", photo(16, 16), photo(16, 16)]):
            read.append(index)
            yield source

    stream = Translator(Identity(), device="cpu").stream(sources(), batch=1)
    assert isinstance(next(stream), np.ndarray)
    assert torch.is_inference_mode_enabled() is False
    assert max(read) < 3
    assert isinstance(next(stream), ZooError)
    assert len(list(stream)) == 2


# --- no trace


def test_translate_leaves_no_trace():
    generator = Conv()
    generator.train()
    generator.layers[1].eval()
    translator = Translator(generator, device="cpu")
    modes = [module.training for module in generator.modules()]
    before = {name: tensor.clone() for name, tensor in generator.state_dict().items()}
    array = photo()
    kept = array.copy()
    torch.manual_seed(5)
    state = torch.get_rng_state()
    flags = torch.is_grad_enabled(), torch.backends.cudnn.benchmark, torch.get_default_dtype()

    result = translator.translate(array)

    assert [module.training for module in generator.modules()] == modes
    assert all(torch.equal(before[name], tensor) for name, tensor in generator.state_dict().items())
    assert np.array_equal(array, kept)
    assert torch.equal(torch.get_rng_state(), state)
    assert (torch.is_grad_enabled(), torch.backends.cudnn.benchmark, torch.get_default_dtype()) == flags
    assert all(parameter.grad is None for parameter in generator.parameters())
    assert np.array_equal(result, Translator(generator.eval(), device="cpu").translate(array))


class Makes(Conv):
    """A network that makes tensors of its own, as it is built and as it draws."""

    def parts(self, image: Tensor, **controls: Tensor) -> dict[str, Tensor]:
        return {"image": super().parts(image)["image"] * torch.linspace(0, 1, image.shape[-1])}


@pytest.mark.parametrize("kind", ["float64", "meta", "no-grad", "inference"])
def test_whatever_torch_is_set_to_a_picture_is_drawn_the_same(tiny: TinyPlugin, kind: str) -> None:  # noqa: F811
    picture = photo()
    expected = [zoo.load("tiny", device="cpu").translate(picture), Translator(Makes(), device="cpu").translate(picture)]
    setting = {
        "float64": default_dtype(torch.float64),
        "meta": torch.device("meta"),
        "no-grad": torch.no_grad(),
        "inference": torch.inference_mode(),
    }[kind]
    made = Translator(Makes(), device="cpu")
    with setting:
        before = torch.get_default_dtype(), torch.get_default_device(), torch.is_grad_enabled()
        stream = made.stream([picture])
        drawn = [zoo.load("tiny", device="cpu").translate(picture), next(stream)]
        assert before == (torch.get_default_dtype(), torch.get_default_device(), torch.is_grad_enabled())
        assert next(stream, None) is None
    assert all(np.array_equal(one, other) for one, other in zip(drawn, expected, strict=True))


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def test_a_network_that_fails_leaves_no_trace_either():
    class Failing(Conv):
        def parts(self, image: Tensor, **controls: Tensor) -> dict[str, Tensor]:
            raise ValueError("a bug")

    generator = Failing().train()
    state = torch.get_rng_state()
    with pytest.raises(ValueError, match="a bug"):
        Translator(generator, device="cpu").translate(photo())
    assert generator.training
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.is_inference_mode_enabled()


def test_threads_share_a_translator():
    generator = Conv().train()  # each call has to put it into evaluation mode and back
    translator = Translator(generator, device="cpu")
    array = photo(64, 64)
    expected = translator.translate(array)
    results: list[np.ndarray] = []
    threads = [threading.Thread(target=lambda: results.append(translator.translate(array))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    assert all(np.array_equal(result, expected) for result in results)
    assert generator.training


# --- controls


class Tinted(Generator):
    def parts(self, image: Tensor, mix: Tensor, other: Tensor | None = None) -> dict[str, Tensor]:
        second = torch.zeros_like(image) if other is None else other
        return {"image": image + (second - image) * mix.view(-1, 1, 1, 1)}


TINTED = {
    "controls": [
        {"type": "number", "name": "mix", "minimum": 0, "maximum": 1},
        {"type": "image", "name": "other", "required": False},
    ]
}


def test_controls_reach_the_generator():
    translator = Translator(Tinted(), TINTED, device="cpu")
    array, other = photo(), photo()
    assert np.array_equal(translator.translate(array), array)
    assert (translator.translate([array, array], mix=1)[1] == 128).all()
    assert np.array_equal(translator.translate([array] * 2, mix=1, other=Image.fromarray(other))[1], other)


def test_wrong_controls_are_refused():
    translator = Translator(Tinted(), TINTED, device="cpu")
    with pytest.raises(ControlError, match="did you mean mix"):
        translator.translate(photo(), mixx=1)
    with pytest.raises(ControlError, match="from 0 to 1"):
        translator.translate(photo(), mix=2)
    with pytest.raises(NotFoundError, match=r"none\.png"):
        translator.translate(photo(), other="none.png")


# --- devices and arithmetic


def test_a_device_that_is_not_there():
    with pytest.raises(UsageError, match="did you mean cuda"):
        pick_device("cudaa")
    with pytest.raises(UsageError, match=r"cuda:99 is not available here.*there are: .*cpu"):
        pick_device("cuda:99")
    assert pick_device("cpu") == torch.device("cpu")


def test_the_best_device_is_chosen(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert pick_device().type == "mps"
    with pytest.raises(UsageError, match="cuda is not available"):
        pick_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert pick_device().type == "cuda"


def test_bf16_is_near_and_changes_nothing_stored():
    generator = Conv().eval()
    array = photo(32, 32)
    exact = Translator(generator, device="cpu").translate(array).astype(int)
    rough = Translator(generator, device="cpu", dtype="bf16").translate(array).astype(int)
    assert 0 < np.abs(exact - rough).max() <= 8
    assert generator.layers[0].weight.dtype == torch.float32


@pytest.mark.cuda
def test_cuda_draws_as_the_cpu_does():
    array = photo(32, 32)
    slow = Translator(Conv(), device="cpu").translate(array).astype(int)
    fast = Translator(Conv(), device="cuda")
    state = torch.cuda.get_rng_state()
    assert np.abs(fast.translate(array).astype(int) - slow).max() <= 1
    assert torch.equal(torch.cuda.get_rng_state(), state)
    assert np.abs(Translator(Conv(), device="cuda", dtype="bf16").translate(array) - slow).max() <= 8


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_draws_the_same():
    array = photo(16, 16)
    plain = Translator(Conv().eval(), device="cpu").translate(array).astype(int)
    assert np.abs(Translator(Conv().eval(), device="cpu", compile=True).translate(array) - plain).max() <= 1


def test_without_a_compiler_one_line_says_so(monkeypatch, caplog):
    def none(*_: object) -> None:
        raise RuntimeError("InvalidCxxCompiler: No working C++ compiler found\nlong")

    compiler.can_compile.cache_clear()
    monkeypatch.setattr(compiler.torch, "compile", lambda call: none)
    array = photo(16, 16)
    plain = Translator(Conv().eval(), device="cpu").translate(array)
    try:
        for _ in range(2):  # the second asks no more
            assert np.array_equal(Translator(Conv().eval(), device="cpu", compile=True).translate(array), plain)
    finally:
        compiler.can_compile.cache_clear()
    assert caplog.messages == ["goes on without --compile: there is no C++ compiler"]


def test_out_of_memory_is_an_error_of_that_picture():
    class Greedy(Identity):
        def parts(self, image: Tensor, **controls: Tensor) -> dict[str, Tensor]:
            if image.shape[-1] > 20:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().parts(image)

    results = list(Translator(Greedy(), device="cpu").stream([photo(16, 16), photo(16, 64), photo(16, 16)]))
    assert [type(result) for result in results] == [np.ndarray, ImageError, np.ndarray]
    assert "64×16" in results[1].message


def test_a_size_beyond_all_memory_is_an_error_of_that_picture():
    (result,) = Translator(Identity(), device="cpu").stream([photo(16, 16)], size=2**24)
    assert isinstance(result, ImageError) and "do not fit the memory" in result.message


def test_damaged_weights_do_not_draw_black_pictures():
    class Damaged(Identity):
        def parts(self, image: Tensor, **controls: Tensor) -> dict[str, Tensor]:
            return {"image": image / 0}

    with pytest.raises(IntegrityError, match="NaN"):
        Translator(Damaged(), device="cpu").translate(photo())


def test_a_generator_that_changes_the_size_breaks_its_contract():
    class Half(Generator):
        def parts(self, image: Tensor, **controls: Tensor) -> dict[str, Tensor]:
            return {"image": image[..., ::2]}

    with pytest.raises(PluginError, match="Half"):
        Translator(Half(), device="cpu").translate(photo())


def test_what_a_subclass_makes_finer_is_finer_where_the_picture_is_larger_than_what_is_seen():
    class Finer(Translator):
        def finer(self, drawn: Tensor) -> Tensor:
            asked.append(tuple(drawn.shape))
            assert torch.is_inference_mode_enabled()
            fine = drawn.repeat_interleave(2, 2).repeat_interleave(2, 3)
            fine[:, :, :, 1::2] = -1  # lines that are finer than what the network sees
            return fine

    asked: list[tuple[int, ...]] = []
    translator = Finer(Identity(SizeRule(multiple_of=8, minimum=16)), device="cpu")
    picture = np.full((60, 80, 3), 255, np.uint8)
    small = translator.translate(picture, size=80)
    assert (small == 255).all() and not asked
    fine = translator.translate(picture, size=40)  # 30×40, padded
    assert asked == [(1, 3, 32, 40)] and fine.shape == (60, 80, 3)
    assert (fine[:, ::2] > 250).all() and (fine[:, 1::2] < 5).all()
    several = translator.translate([picture, picture[:, :60]], size=40)
    assert (several[0] == fine).all() and several[1].shape == (60, 60, 3)


def test_a_subclass_may_optimise_the_picture():
    class Optimising(Translator):
        def draw(self, image: Tensor, **controls: Tensor) -> Tensor:
            with torch.inference_mode(False), torch.enable_grad():
                drawn = image.clone().requires_grad_()
                (drawn**2).sum().backward()
                return (drawn - 0.5 * drawn.grad).detach()

    array = photo()
    assert (Optimising(Identity(), device="cpu").translate(array) == 128).all()


# --- load


def test_load_by_name(tiny: TinyPlugin):  # noqa: F811
    translator = zoo.load("tiny", device="cpu")
    array = photo()
    assert np.array_equal(translator.translate(array), array)
    assert np.array_equal(translator.translate(array, hand="second"), 255 - array)
    assert translator.card is registry().card("tiny")[0]
    assert [control.name for control in translator.controls] == ["hand", "invert", "mix"]
    assert translator.network["recipe"] == "tiny"
    assert "tiny, cpu" in repr(translator)
    assert "hand: one of first, second" in repr(translator)
    assert translator.to("cpu") is translator


def test_load_by_tag_and_by_path(tiny: TinyPlugin, tmp_path):  # noqa: F811
    array = photo()
    assert np.array_equal(zoo.load("tiny.plain", device="cpu").translate(array), array)
    path = tiny.other(tmp_path / "mine.safetensors", tone=-1)
    for source in (path, str(path)):
        assert np.array_equal(zoo.load(source, device="cpu").translate(array), 255 - array)
    assert np.array_equal(zoo.load("tiny", weights=path, device="cpu").translate(array), 255 - array)


def test_load_takes_the_seed_of_nobody(tiny: TinyPlugin):  # noqa: F811
    state = torch.get_rng_state()
    zoo.load("tiny", device="cpu")
    assert torch.equal(torch.get_rng_state(), state)


def test_a_network_without_weights_only_when_asked_for(tiny: TinyPlugin):  # noqa: F811
    with pytest.raises(NotFoundError, match="no published weights"):
        zoo.load("untrained", device="cpu")
    assert zoo.load("untrained", weights=None, device="cpu").generator.tone.item() == 0.5
    assert zoo.load("tiny", weights=None, device="cpu").working >= 256  # the recipe's training size


@pytest.mark.parametrize("name", ["tinny", "./tiny", "model.pth", "model.bin", "runs/x", "none.safetensors", ""])
def test_what_is_not_there(tiny: TinyPlugin, name):  # noqa: F811
    with pytest.raises(NotFoundError) as caught:
        zoo.load(name, device="cpu")
    assert caught.value.hint


def test_weights_of_another_recipe_are_refused(tiny: TinyPlugin, tmp_path):  # noqa: F811
    path = tiny.other(tmp_path / "other.safetensors", recipe="another")
    with pytest.raises(UsageError, match="holds another, not tiny"):
        zoo.load("tiny", weights=path, device="cpu")


def test_weights_that_do_not_fit_are_refused(tiny: TinyPlugin, tmp_path):  # noqa: F811
    from zoo.weights.file import save_weights

    path = tmp_path / "wide.safetensors"
    save_weights(path, {"tone": torch.ones(2)}, {"recipe": "tiny", "generator": {"name": "tiny"}})
    with pytest.raises(IntegrityError, match=r"tone \[2\] for \[1\]"):
        zoo.load(path, device="cpu")
    save_weights(path, {"tone": torch.ones(1)}, {})
    with pytest.raises(NotFoundError, match="does not say which network"):
        zoo.load(path, device="cpu")
    path.write_bytes(tiny.weights.read_bytes()[:-1])
    with pytest.raises(IntegrityError):
        zoo.load(path, device="cpu")


def test_a_missing_plugin_says_how_to_install_it(tiny: TinyPlugin, tmp_path, monkeypatch):  # noqa: F811
    path = tiny.other(tmp_path / "mine.safetensors")
    plugins = host().plugins
    with monkeypatch.context() as patch, pytest.raises(NotFoundError, match="pip install zoo-tiny"):
        patch.delitem(plugins, "zoo-tiny")
        zoo.load(path, device="cpu")
    monkeypatch.setenv("ZOO_PLUGINS", "")
    host.cache_clear()
    with pytest.raises(NotFoundError, match=r"zoo-tiny, which is not installed.*ZOO_PLUGINS"):
        zoo.load(path, device="cpu")
    for weights in ("default", None, path):  # a first-party card is known without its plugin
        with pytest.raises(NotFoundError, match=r"zoo-cycleda.*ZOO_PLUGINS"):
            zoo.load("cycleda", device="cpu", weights=weights)


def test_wrong_settings_stop_before_anything_is_loaded(tiny: TinyPlugin):  # noqa: F811
    with pytest.raises(UsageError, match="did you mean bf16"):
        zoo.load("tiny", dtype="b16")
    with pytest.raises(UsageError, match="not available"):
        zoo.load("tiny", device="cuda:99")
    with pytest.raises(UsageError, match="weights file already"):
        zoo.load(Path("a.safetensors"), weights="b.safetensors")


def test_a_plugin_may_bring_its_own_translator(tiny: TinyPlugin, tmp_path, monkeypatch):  # noqa: F811
    class Mine(Translator):
        pass

    part = host().part
    monkeypatch.setattr(host(), "part", lambda kind, name: Mine if kind == "translator" else part(kind, name))
    assert type(zoo.load(tiny.other(tmp_path / "a.safetensors", translator="mine"), device="cpu")) is Mine


# -- pictures that take their time -----------------------------------------------------------------------------------------


class Slow(Generator):
    """Ten steps towards black; Ctrl-C at the step ``stop`` of the picture ``which``."""

    size = SizeRule(whole=True)

    def __init__(self, which: int = -1, stop: int = 5) -> None:
        super().__init__()
        self.which, self.stop, self.pictures = which, stop, 0

    def parts(self, image: Tensor, **controls: Tensor) -> dict[str, Tensor]:
        assert len(image) == 1
        begun, self.pictures = self.pictures, self.pictures + 1
        for step in range(1, 11):
            image = image - 0.1
            tell(f"darkness {step}", step, 10, image)
            if begun == self.which and step == self.stop:
                raise Stopped(image)
        return {"image": image}


def test_who_listens_is_told_how_far_a_picture_is() -> None:
    heard: list[tuple[str, int, int, float]] = []

    def listen(what: str, done: int, total: int, image: Tensor | None = None) -> None:
        assert image is not None
        heard.append((what, done, total, round(float(image.mean()), 3)))

    translator = Translator(Slow(), device="cpu")
    translator.translate(torch.full((3, 8, 8), 0.75), progress=listen)
    assert heard == [(f"darkness {i}", i, 10, round(0.5 - i / 10, 3)) for i in range(1, 11)]
    tell("nobody listens now", 1, 1)
    assert len(heard) == 10


def test_ctrl_c_gives_the_best_so_far_and_then_ends() -> None:
    white = torch.ones(3, 8, 8)
    stopped = Translator(Slow(which=0), device="cpu").translate(white)
    torch.testing.assert_close(stopped, torch.full_like(white, 0.75))
    results = Translator(Slow(which=1), device="cpu").stream([white, white, white], batch=3)
    torch.testing.assert_close(next(results), torch.full_like(white, 0.5))
    torch.testing.assert_close(next(results), torch.full_like(white, 0.75))
    with pytest.raises(KeyboardInterrupt):
        next(results)


def test_a_network_that_sees_pictures_whole_gets_no_tiles() -> None:
    with pytest.raises(UsageError, match="the network has to see a picture whole"):
        Translator(Slow(), device="cpu").translate(torch.ones(3, 300, 300), tile=128)


def test_controls_that_depend_on_each_other_are_checked_before_any_picture() -> None:
    class Both(Translator):
        def check(self, controls):
            if controls["a"] + controls["b"] > 1:
                raise ControlError("a and b are more than 1", "give less")
            return controls

    declared = [{"name": name, "type": "number", "default": 0.0} for name in "ab"]
    translator = Both(Identity(), {"controls": declared}, device="cpu")
    with pytest.raises(ControlError, match="more than 1"):
        translator.stream(["no such picture.png"], a=0.5, b=0.75)


def test_a_number_that_the_model_says_is_not_passed_on() -> None:
    class Shift(Generator):
        def parts(self, image: Tensor, shift: Tensor | None = None) -> dict[str, Tensor]:
            return {"image": image * 0 + (0.5 if shift is None else shift.view(-1, 1, 1, 1))}

    declared = [{"name": "shift", "type": "number", "default": None, "minimum": -1, "maximum": 1}]
    translator = Translator(Shift(), {"controls": declared}, device="cpu")
    picture = torch.zeros(3, 4, 4)
    for controls, wanted in (({}, 0.75), ({"shift": None}, 0.75), ({"shift": 0}, 0.5), ({"shift": -1}, 0.0)):
        assert torch.equal(translator.translate(picture, **controls), torch.full((3, 4, 4), wanted))


def test_a_batch_goes_on_without_the_picture_that_cannot_be_drawn() -> None:
    class Picky(Translator):
        seen: ClassVar[list[int]] = []

        def draw(self, image: Tensor, **controls: Tensor) -> Tensor:
            self.seen.append(len(image))
            if (image.mean((1, 2, 3)) < 0).any():
                raise ImageError("too dark", "give a lighter one")
            return -image

    light, dark = np.full((8, 8, 3), 200, np.uint8), np.full((8, 8, 3), 50, np.uint8)
    translator = Picky(Identity(), device="cpu")
    first, second, third = translator.stream([light, dark, light])
    assert translator.seen == [3, 1, 1, 1]
    assert isinstance(second, ImageError) and second.message == "too dark"
    assert np.array_equal(first, 255 - light) and np.array_equal(third, 255 - light)
    with pytest.raises(ImageError, match="too dark"):
        translator.translate([light, dark])
    made = list(translator.stream([dark]))
    assert len(made) == 1 and isinstance(made[0], ImageError)


def test_several_pictures_in_one_control() -> None:
    class Mean(Generator):
        def parts(self, image: Tensor, others: list[Tensor]) -> dict[str, Tensor]:
            return {"image": sum(other.mean() for other in others) / len(others) + 0 * image}

    declared = [{"name": "others", "type": "image", "many": True}]
    translator = Translator(Mean(), {"controls": declared}, device="cpu")
    light, dark = torch.full((3, 5, 9), 0.75), np.full((4, 6, 3), 64, np.uint8)
    made = translator.translate(torch.zeros(3, 8, 8), others=[light, dark])
    torch.testing.assert_close(made, torch.full((3, 8, 8), (0.75 + 64 / 255) / 2), atol=1e-6, rtol=0)
    with pytest.raises(ControlError, match="others is missing"):
        translator.translate(torch.zeros(3, 8, 8))


# -- a part of the picture ---------------------------------------------------------------------------------------------


class Half(Translator):
    """Draws one half of a picture."""

    framing = frozenset({"right"})

    def framed(self, picture: Picture, right: bool = False, **_: Any) -> Picture:
        middle = picture.rgb.shape[-1] // 2
        if not middle:
            raise ImageError("too narrow for two halves", "give a wider one")
        return picture.cut(lambda planes: planes[..., middle:] if right else planes[..., :middle])


HALF = {"controls": [{"type": "flag", "name": "right"}]}


def test_a_part_comes_back_in_its_own_size() -> None:
    translator = Half(Identity(), HALF, device="cpu")
    array = photo(20, 30)
    assert np.array_equal(translator.translate(array), array[:, :15])
    assert np.array_equal(translator.translate(array, right=True), array[:, 15:])
    both = translator.translate([Image.fromarray(array), torch.rand(3, 8, 6)])
    assert both[0].size == (15, 20) and both[1].shape == (3, 8, 3)


def test_the_alpha_of_a_part_is_attached_to_it() -> None:
    array = RNG.integers(1, 256, (9, 12, 4), dtype=np.uint8)
    result = Half(Identity(), HALF, device="cpu").translate(array, right=True, size=33)
    assert np.array_equal(result[..., 3], array[:, 6:, 3])


def test_a_picture_without_such_a_part_is_its_own_error() -> None:
    translator = Half(Identity(), HALF, device="cpu")
    results = list(translator.stream([photo(16, 16), photo(16, 1), photo(16, 16)]))
    assert [type(result) for result in results] == [np.ndarray, ImageError, np.ndarray]
    with pytest.raises(ImageError, match="too narrow"):
        translator.translate(photo(4, 1))


def test_parts_of_several_sizes_do_not_make_one_tensor() -> None:
    class Bright(Translator):
        def framed(self, picture: Picture, **_: Any) -> Picture:
            return picture.cut(lambda planes: planes[..., : 4 if picture.rgb.mean() < 0 else 8])

    translator, one = Bright(Identity(), device="cpu"), torch.rand(3, 8, 8)
    assert translator.translate(torch.stack([one * 0.1] * 2)).shape == (2, 3, 8, 4)
    with pytest.raises(ImageError, match="not of one size"):
        translator.translate(torch.stack([one * 0.1, 1 - one * 0.1]))
