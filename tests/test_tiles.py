"""Large pictures: tiles that nobody sees, and memory that runs out."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

import zoo
from zoo.blocks.norm import InstanceNorm2d
from zoo.blocks.residual import ResidualBlock
from zoo.errors import ImageError, UsageError
from zoo.generator import Generator, SizeRule
from zoo.machine import memory
from zoo.pictures.fit import fit, within
from zoo.pictures.image import Picture, read
from zoo.pictures.tiles import spans
from zoo.translator import Translator

MEAN, MOST = 0.5, 4.0
"""The bound of docs/large-pictures.md, in steps of 8 bits."""


def scene(height: int = 200, width: int = 280, seed: int = 0) -> np.ndarray:
    """Smooth shapes, bright at one side and dark at the other, with grain: what tiles alone draw wrongly."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    waves = [np.sin(a * x + b * y + c) for a, b, c in random.uniform(2, 30, (9, 3))]
    colours = np.stack([sum(waves[i::3]) for i in range(3)], -1) * 25 + 40 + 170 * x[..., None] ** 2
    return (colours + random.normal(0, 6, colours.shape)).clip(0, 255).round().astype(np.uint8)


class Small(Generator):
    """A few convolutions around ``middle``, with an instance norm behind the first."""

    size = SizeRule(multiple_of=2, minimum=8)

    def __init__(self, middle: nn.Module | Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Sequential(nn.Conv2d(3, 8, 4, 2, 1), nn.InstanceNorm2d(8), nn.ReLU())
        self.middle = middle
        self.last = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(8, 3, 3, padding=1), nn.Tanh())
        self.seen: list[tuple[int, ...]] = []

    def parts(self, image: Tensor, **controls: Tensor) -> dict[str, Tensor]:
        self.seen.append(tuple(image.shape))
        return {"image": self.last(self.middle(self.first(image)))}


class Squeeze(nn.Module):
    """A gate of means, written with a layer or as an expression."""

    def __init__(self, mean: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.mean, self.gate = mean, nn.Conv2d(8, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(4 * self.gate(self.mean(x)))


def dual(alpha: float = 0.5) -> nn.Module:
    """The dual attention of CycleDA with both kinds turned up."""
    from zoo_cycleda.blocks import DualAttentionBlock

    torch.manual_seed(2)
    block = DualAttentionBlock(8)
    block.tail.position.alpha.data.fill_(alpha)
    block.tail.channel.beta.data.fill_(0.3)
    return block


def squeezed() -> nn.Module:
    from zoo_cycleda.blocks import SqueezeExcitationBlock

    torch.manual_seed(3)
    return SqueezeExcitationBlock(8, reduction=2)


def affine() -> nn.Module:
    norm = nn.InstanceNorm2d(8, affine=True)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return norm


def known() -> dict[str, Any]:
    """Layers that look at the whole picture, as anybody writes them."""
    torch.manual_seed(4)
    return {
        "instance norms": nn.Sequential(*(ResidualBlock(8) for _ in range(3))),
        "with scale and shift": nn.Sequential(affine(), nn.Conv2d(8, 8, 3, padding=1), affine()),
        "ours": nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), InstanceNorm2d(8)),
        "group norm": nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.ReLU()),
        "a function": lambda x: F.instance_norm(x.abs(), eps=1e-3),
        "pooling": Squeeze(nn.AdaptiveAvgPool2d(1)),
        "a mean": Squeeze(lambda x: x.mean((2, 3), keepdim=True)),
        "torch.mean": Squeeze(lambda x: torch.mean(x, dim=[-1, -2])[..., None, None]),
        "squeeze and excitation": squeezed(),
        "dual attention": dual(),
    }


def unknown() -> dict[str, Callable[[Tensor], Tensor]]:
    """What the zoo cannot know to be global."""

    def attention(x: Tensor) -> Tensor:
        rows = x.flatten(2).transpose(1, 2)
        return x + F.scaled_dot_product_attention(rows, rows, rows).transpose(1, 2).reshape_as(x)

    return {
        "attention": attention,
        "the largest": lambda x: x - 0.5 * x.amax((2, 3), keepdim=True),
        "coordinates": lambda x: x + torch.linspace(-2, 2, x.shape[-1]),
        "noise": lambda x: x + torch.rand(x.shape),
        "turned around": lambda x: x + x.flip(-1),
    }


def apart(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Mean and largest difference, in steps of 8 bits."""
    difference = np.abs(one.astype(float) - other)
    return difference.mean(), difference.max()


# --- tiles cover the picture


@settings(max_examples=300, deadline=None)
@given(
    units=st.integers(1, 400),
    unit=st.sampled_from([1, 2, 4, 7, 32]),
    minimum=st.sampled_from([1, 16, 33]),
    reach=st.integers(0, 12),
    more=st.integers(0, 60),
)
def test_every_pixel_is_in_one_core(units, unit, minimum, reach, more):
    rule, reach = SizeRule(unit, minimum), reach * unit
    least = -(-minimum // unit) * unit
    length, tile = max(units * unit, least), 2 * reach + least + more
    found = spans(length, tile, reach, rule)
    assert [pixel for span in found for pixel in range(length)[span.core]] == list(range(length))
    for span in found:
        seen, core = span.seen, span.core
        assert range(length)[seen][span.inner] == range(length)[core]
        assert seen.start == 0 or seen.start <= core.start - reach
        assert seen.stop == length or seen.stop >= core.stop + reach
        assert least <= seen.stop - seen.start <= max(tile, length if length <= tile else 0)
        assert seen.start % unit == core.start % unit == 0


# --- tiled is untiled


@pytest.mark.parametrize("name", known())
def test_tiles_draw_what_the_whole_draws(name):
    network = Small(known()[name])
    translator = Translator(network, device="cpu")
    whole = translator.translate(scene())
    network.seen.clear()
    mean, most = apart(translator.translate(scene(), tile=64), whole)
    assert mean <= MEAN
    assert most <= MOST
    assert max(max(shape[2:]) for shape in network.seen) <= 64
    assert whole.std() > 20


def test_tiles_that_know_nothing_of_the_whole_would_be_seen():
    """The bound above means something: the same tiles with statistics of their own miss it by far."""
    translator = Translator(Small(known()["instance norms"]), device="cpu")
    picture = scene()
    whole = translator.translate(picture)
    alone = translator.translate(picture[:, :48])[:, :24]
    assert apart(alone, whole[:, :24])[0] > 10 * MEAN


def test_there_is_no_step_where_tiles_meet():
    network = Small(known()["instance norms"])
    translator = Translator(network, device="cpu")
    picture = scene()
    error = translator.translate(picture, tile=96).astype(float) - translator.translate(picture)
    steps = np.abs(np.diff(error, axis=1)).mean((0, 2))  # between neighbouring columns
    assert steps.max() <= 4 * steps.mean() + 0.1


def test_several_pictures_and_their_controls_are_drawn_in_tiles_together():
    class Toned(Small):
        def parts(self, image: Tensor, tone: Tensor) -> dict[str, Tensor]:
            return {"image": super().parts(image)["image"] * tone.view(-1, 1, 1, 1)}

    network = {"controls": [{"type": "number", "name": "tone", "default": 1}]}
    translator = Translator(Toned(known()["ours"]), network, device="cpu")
    pictures = [scene(seed=1), scene(seed=2)]
    whole = [translator.translate(picture, tone=0.5) for picture in pictures]
    for one, other in zip(translator.translate(pictures, tile=96, tone=0.5), whole):
        assert apart(one, other)[1] <= MOST


def test_bf16_differs_by_its_rounding_alone():
    network = Small(known()["instance norms"])
    exact = Translator(network, device="cpu").translate(scene())
    translator = Translator(network, device="cpu", dtype="bf16")
    rounding = apart(translator.translate(scene()), exact)[0]
    assert apart(translator.translate(scene(), tile=96), exact)[0] <= 1.5 * rounding + MEAN


def test_a_picture_no_larger_than_a_tile_is_drawn_whole():
    network = Small(known()["ours"])
    Translator(network, device="cpu").translate(scene(60, 64), tile=64)
    assert network.seen == [(1, 3, 60, 64)]


# --- a picture that is about a part of it


def about_a_part(height: int = 96, width: int = 128) -> tuple[Picture, Picture]:
    """A scene in the middle of empty paper, told to be about it; and the scene alone."""
    alone = read(scene(height, width))
    paper = torch.ones(3, height + 96, width + 192)
    paper[:, 48:-48, 96:-96] = alone.rgb
    right, low = 1 - 96 / paper.shape[2], 1 - 48 / paper.shape[1]
    return replace(alone, rgb=paper, focus=(1 - right, 1 - low, right, low)), alone


class Pointwise(Small):
    """Sees of a pixel's surroundings nothing but what is global."""

    def __init__(self, middle: nn.Module | Callable[[Tensor], Tensor]) -> None:
        super().__init__(middle)
        self.first = nn.Sequential(nn.Conv2d(3, 8, 1), nn.InstanceNorm2d(8), nn.ReLU())
        self.last = nn.Sequential(nn.Conv2d(8, 3, 1), nn.Tanh())


def pointwise() -> dict[str, Any]:
    torch.manual_seed(5)
    return {
        "instance norms": nn.Sequential(affine(), nn.Conv2d(8, 8, 1), nn.ReLU(), nn.InstanceNorm2d(8)),
        "group norm": nn.Sequential(nn.Conv2d(8, 8, 1), nn.GroupNorm(2, 8)),
        "a function": lambda x: F.instance_norm(x.abs(), eps=1e-3),
        "a mean": Squeeze(lambda x: x.mean((2, 3), keepdim=True)),
        "dual attention": dual().tail,
    }


@pytest.mark.parametrize("name", pointwise())
def test_what_a_picture_is_about_is_drawn_as_if_it_were_all_of_it(name):
    network = Pointwise(pointwise()[name])
    translator = Translator(network, device="cpu")
    picture, alone = about_a_part()
    drawn, expected = translator.translate(picture), translator.translate(alone)
    assert drawn.shape == (192, 320, 3) and len(network.seen) == 2  # one look is enough
    assert apart(drawn[48:144, 96:224], expected)[1] <= 1
    beside_paper = translator.translate(replace(picture, focus=None))
    assert apart(beside_paper[48:144, 96:224], expected)[0] > 4 * MEAN


@pytest.mark.parametrize("name", ["instance norms", "dual attention"])
def test_it_is_so_in_tiles(name):
    network = Small(known()[name])
    translator = Translator(network, device="cpu")
    picture, _ = about_a_part(200, 280)
    whole = translator.translate(picture)
    network.seen.clear()
    mean, most = apart(translator.translate(picture, tile=64), whole)
    assert mean <= 2 * MEAN  # paper is far from all that was measured
    assert most <= 2 * MOST
    assert max(max(shape[2:]) for shape in network.seen) <= 64


def test_pictures_about_other_parts_do_not_go_together():
    network = Small(known()["ours"])
    translator = Translator(network, device="cpu")
    picture, _ = about_a_part()
    others = [picture, picture, replace(picture, focus=(0.0, 0.0, 0.5, 0.5)), replace(picture, focus=None)]
    together = translator.translate(others)
    assert [shape[0] for shape in network.seen] == [2, 1, 1]
    for one, other in zip(together, others):
        assert apart(one, translator.translate(other))[1] <= 1


def test_who_draws_in_an_own_way_sees_the_whole():
    class Own(Translator):
        def draw(self, image: Tensor, **controls: Tensor) -> Tensor:
            return image.flip(-1)

    picture, _ = about_a_part()
    drawn = Own(Small(known()["ours"]), device="cpu").translate(picture)
    assert np.array_equal(drawn, Own(Small(known()["ours"]), device="cpu").translate(replace(picture, focus=None)))


@settings(max_examples=300, deadline=None)
@given(
    corners=st.lists(st.floats(0, 1), min_size=4, max_size=4),
    size=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    unit=st.sampled_from([1, 2, 4, 32]),
    minimum=st.sampled_from([1, 16, 33]),
)
def test_the_part_is_held_whole_and_as_the_size_rule_wants_it(corners, size, unit, minimum):
    (left, right), (top, bottom) = sorted(corners[:2]), sorted(corners[2:])
    rule = SizeRule(unit, minimum)
    fitted, box = fit(torch.zeros(3, *size), rule, 0, None)
    found = within((left, top, right, bottom), rule, fitted.shape[-2:], box)
    if found is None:
        found = tuple(slice(0, length) for length in fitted.shape[-2:])
    for span, (low, high), inside, length in zip(found, ((top, bottom), (left, right)), box, fitted.shape[-2:]):
        side = inside.stop - inside.start
        assert 0 <= span.start <= inside.start + low * side + 1e-9
        assert inside.start + high * side - 1e-9 <= span.stop <= length
        assert span.start % unit == span.stop % unit == 0 and span.stop - span.start >= minimum


# --- what cannot be drawn in tiles


@pytest.mark.parametrize("name", unknown())
def test_a_network_that_looks_at_the_whole_in_its_own_way_is_found_out(name):
    translator = Translator(Small(unknown()[name]), device="cpu")
    with pytest.raises(UsageError, match="cannot be drawn"):
        translator.translate(scene(), tile=96)


def test_a_tile_smaller_than_what_a_pixel_depends_on():
    with pytest.raises(UsageError, match=r"tiles of 16 pixels .* larger tile"):
        Translator(Small(known()["instance norms"]), device="cpu").translate(scene(), tile=16)


def test_one_size_an_own_way_of_drawing_and_a_second_picture():
    class Fixed(Small):
        size = SizeRule(fixed=(64, 64))

    class Own(Translator):
        def draw(self, image: Tensor, **controls: Tensor) -> Tensor:
            return image.flip(-1)

    class Second(Small):
        def parts(self, image: Tensor, other: Tensor) -> dict[str, Tensor]:
            return super().parts(image)

    other = {"controls": [{"type": "image", "name": "other"}]}
    middle = known()["ours"]
    for translator, values, told in (
        (Translator(Fixed(middle), device="cpu"), {}, "one size"),
        (Own(Small(middle), device="cpu"), {}, "own way"),
        (Translator(Second(middle), other, device="cpu"), {"other": scene()}, "other"),
    ):
        assert translator.translate(scene(), **values).shape == scene().shape
        with pytest.raises(UsageError, match=told):
            translator.translate(scene(), tile=32, **values)


@pytest.mark.parametrize("tile", [0, -5, 1.5, "64"])
def test_wrong_tiles(tile):
    with pytest.raises(UsageError, match="not a size"):
        Translator(Small(known()["ours"]), device="cpu").translate(scene(), tile=tile)


# --- memory


class Limited(Small):
    """Has memory for so many pixels in a call."""

    def __init__(self, pixels: int, middle: Any, error: type[Exception] = torch.OutOfMemoryError) -> None:
        super().__init__(middle)
        self.pixels, self.error = pixels, error

    def parts(self, image: Tensor, **controls: Tensor) -> dict[str, Tensor]:
        if image[:, 0].numel() > self.pixels:
            self.seen.append(tuple(image.shape))
            raise self.error("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
        return super().parts(image)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, RuntimeError, MemoryError])
def test_when_memory_runs_out_tiles_get_smaller(error):
    network = Limited(200 * 200, known()["ours"], error)
    picture = scene(300, 560)
    result = Translator(network, device="cpu").translate(picture)
    assert (1, 3, 300, 560) in network.seen
    network.pixels = picture[..., 0].size
    mean, most = apart(result, Translator(network, device="cpu").translate(picture))
    assert mean <= MEAN
    assert most <= MOST


def test_when_nothing_fits_there_is_one_line():
    with pytest.raises(
        ImageError, match=r"560×300 pixels do not fit the memory: not even in tiles of \d+ pixels \(give"
    ):
        Translator(Limited(100, known()["ours"]), device="cpu").translate(scene(300, 560))


def test_why_tiles_are_no_help_is_said():
    translator = Translator(Limited(220 * 220, unknown()["attention"]), device="cpu")
    with pytest.raises(ImageError, match=r"do not fit the memory: tiles are no help: .* away"):
        translator.translate(scene(300, 560))


def test_other_errors_are_not_taken_for_a_lack_of_memory():
    class Broken(Small):
        def parts(self, image: Tensor, **controls: Tensor) -> dict[str, Tensor]:
            raise RuntimeError("a fault of the plugin")

    for tile in (None, 64):
        with pytest.raises(RuntimeError, match="a fault"):
            Translator(Broken(nn.Identity()), device="cpu").translate(scene(), tile=tile)


def test_a_batch_that_does_not_fit_is_drawn_one_by_one():
    network = Limited(100 * 100, known()["ours"])
    translator = Translator(network, device="cpu")
    pictures = [scene(90, 100, seed) for seed in range(3)]
    together = translator.translate(pictures)
    assert [shape[0] for shape in network.seen] == [3, 1, 1, 1]
    assert all(np.array_equal(one, translator.translate(picture)) for one, picture in zip(together, pictures))


def test_the_bound_decides_and_can_be_set(monkeypatch):
    network = Small(known()["ours"])
    translator = Translator(network, device="cpu")
    picture = scene(1040, 1100)
    monkeypatch.setenv("ZOO_MEMORY", "64G")
    whole = translator.translate(picture)
    assert network.seen[-1] == (1, 3, 1040, 1100)
    network.seen.clear()
    calls: list[tuple[str, int, int]] = []
    monkeypatch.setenv("ZOO_MEMORY", "64M")
    (tiled,) = translator.stream([picture], progress=lambda *step: calls.append(step[:3]))
    assert max(max(shape[2:]) for shape in network.seen) <= 512
    assert calls[0][:2] == ("tiles, drawing 1", 1)
    assert calls[-1][1] == calls[-1][2] > 1
    assert apart(tiled, whole)[1] <= MOST
    monkeypatch.setenv("ZOO_MEMORY", "lots")
    with pytest.raises(UsageError, match="ZOO_MEMORY=lots"):
        translator.translate(picture)


def test_needs_follow_what_grows_with_the_square_of_the_pixels(monkeypatch):
    monkeypatch.setattr(memory, "HIDDEN", 1)
    linear = memory.needs(lambda side: torch.zeros(side, side) + 1)
    assert linear(1000**2) == pytest.approx(8 * 1000**2, rel=0.01)
    square = memory.needs(lambda side: torch.zeros(side * side // 64, side * side // 64))
    assert square(1024**2) == pytest.approx(4 * (1024**2 // 64) ** 2, rel=0.01)


def test_free_memory_is_known_here():
    assert 0 < memory.allowed(torch.device("cpu")) < 2**50


# --- no trace


def test_after_an_error_in_the_middle_everything_is_as_before():
    class Sometimes(nn.Module):
        fails = False

        def forward(self, x: Tensor) -> Tensor:
            if self.fails and len(network.seen) > 6:
                raise ValueError("in the middle")
            return x

    fault = Sometimes()
    network = Small(nn.Sequential(fault, known()["instance norms"]))
    translator = Translator(network, device="cpu")
    before = translator.translate(scene())
    network.train()
    fault.fails = True
    with pytest.raises(ValueError, match="in the middle"):
        translator.translate(scene(), tile=64)
    fault.fails = False
    assert network.training
    assert np.array_equal(translator.translate(scene()), before)


# --- with the models that ship, and with real limits


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cycleda", "cyclegan", "cyclese", "conditional-cyclepix"])
def test_shipped_models_stay_within_the_bound(name):
    """With one seam; those both ways are the same in the small networks above."""
    sample = Path(__file__).parents[1] / "docs/sample/eileen-collins.jpg"
    picture = np.asarray(Image.open(sample).convert("RGB").resize((160, 304)))
    translator = zoo.load(name, device="cpu")
    mean, most = apart(translator.translate(picture, size=0, tile=224), translator.translate(picture, size=0))
    assert mean <= MEAN
    assert most <= MOST


def limited(code: str, *words: object) -> tuple[str, float]:
    """What a process of its own prints, and its peak memory in GiB."""
    run = [sys.executable, "-c", code, *map(str, words)]
    measured = f"""
import resource, subprocess, sys
done = subprocess.run({run!r}, capture_output=True, text=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
print(done.stdout, done.stderr)
sys.exit(done.returncode)
"""
    done = subprocess.run([sys.executable, "-c", measured], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    peak, _, told = done.stdout.partition("\n")
    return told, int(peak) / 2**20


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    """12 megapixels. At most 1.5 GB for them is at most 4 GB for four times as many, which takes a minute to see."""
    path = tmp_path / "large.jpg"
    Image.fromarray(scene(600, 800)).resize((4000, 3000)).save(path, quality=80)
    return path


@pytest.mark.slow
def test_a_large_photograph_takes_little_memory(photograph, tmp_path):
    code = "import sys; from zoo.cli import main; sys.argv[0] = 'zoo'; main()"
    out = tmp_path / "out.jpg"
    _, peak = limited(code, "translate", "cyclegan", photograph, "-o", out, "--device", "cpu")
    assert peak < 1.5
    assert Image.open(out).size == (4000, 3000)


@pytest.mark.slow
def test_a_large_photograph_in_its_own_size_takes_little_memory(photograph, tmp_path):
    """Half as many pixels as above, which are all drawn: at most as much beyond what a program takes without a picture."""
    Image.open(photograph).resize((3000, 2000)).save(photograph, quality=80)
    code = """
import sys
import zoo, zoo.pictures.tiles
from zoo.generator import build_generator
from zoo.recipe import load_recipe
from zoo.translator import Translator
zoo.pictures.tiles.AGREED = float("inf")  # one round is enough to see the memory
network = load_recipe("cyclegan-small", ["generator.width=4", "generator.blocks=1"]).network() | {"controls": []}
Translator(build_generator(network).eval(), network, device="cpu").translate(sys.argv[1], size=0, tile=768).save(sys.argv[2])
"""
    _, peak = limited(code, photograph, tmp_path / "out.jpg")
    assert peak < 1.1
    assert Image.open(tmp_path / "out.jpg").size == (3000, 2000)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits of address space are Linux's")
def test_a_process_that_may_not_have_more_memory_draws_in_tiles():
    code = """
import os, resource, numpy, torch
from torch import nn
from zoo.generator import Generator
from zoo.translator import Translator
class Wide(Generator):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1), nn.InstanceNorm2d(64), nn.Conv2d(64, 3, 1))
    def parts(self, image):
        print("size", *image.shape[2:])
        return {"image": self.net(image).tanh()}
torch.set_num_threads(1)  # the arenas of many threads would use up the address space
translator = Translator(Wide(), device="cpu")
translator.translate(numpy.zeros((64, 64, 3), numpy.uint8))
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 300 * 2**20, resource.RLIM_INFINITY))
os.environ["ZOO_MEMORY"] = "1T"
print(translator.translate(numpy.zeros((1000, 800, 3), numpy.uint8)).shape)
"""
    told, _ = limited(code)
    assert "size 1000 800" in told
    assert "(1000, 800, 3)" in told
