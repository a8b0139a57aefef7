"""VGG-19's features: two flavours of weights, layers when they are asked for, losses that share them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torchvision.models.vgg import cfgs, make_layers

from zoo.blocks.vgg import _OF_NOISE, _PLACES, LAYERS, VGG19
from zoo.catalogue.registry import registry
from zoo.errors import ConfigError, IntegrityError
from zoo.generator import build_part
from zoo.loss import Views
from zoo.losses.perceptual import gram
from zoo.weights.sources import locate


def picture(seed: int = 0, size: int = 32) -> Tensor:
    return torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.fixture(scope="module")
def layers() -> torch.nn.Sequential:
    torch.manual_seed(0)
    return make_layers(cfgs["E"])


@pytest.fixture(scope="module")
def imagenet(layers: torch.nn.Sequential, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The names of torchvision's and timm's files, with what they hold behind the features."""
    path = tmp_path_factory.mktemp("vgg") / "model.safetensors"
    state = {f"features.{name}": tensor for name, tensor in layers.state_dict().items()}
    save_file({**state, "head.fc.bias": torch.zeros(1000)}, path)
    return path


def test_imagenets_flavour_is_torchvisions_but_for_a_scale(layers: torch.nn.Sequential, imagenet: Path) -> None:
    vgg, image = VGG19(imagenet), picture()
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    seen = ((image + 1) / 2 - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)
    with torch.inference_mode():
        for name, depth in (("conv1_1", 2), ("conv3_2", 14), ("conv5_1", 30)):
            ours, theirs = vgg(image, [name])[0], layers[:depth](seen)
            factor = vgg.scale[LAYERS.index(name)]
            torch.testing.assert_close(ours * factor, theirs, rtol=1e-3, atol=1e-4 * float(theirs.max()))


def test_features_of_every_flavour_are_of_one_scale(imagenet: Path) -> None:
    vgg = VGG19(imagenet)
    for features in vgg(picture(size=64), ["conv1_1", "conv3_1", "conv5_1"]):
        assert 0.2 < float(features.mean()) < 5


def test_the_scale_is_found_by_a_network_whose_scale_is_known(tmp_path: Path) -> None:
    """The normalised network's own weights, made ten times as active, under ImageNet's names."""
    card = registry().cards["vgg19"]
    ours = VGG19(locate(card))
    assert ours._of_noise() == pytest.approx(_OF_NOISE[: len(ours.layers)], abs=0.01)
    state = {}
    for name, place in zip(ours.layers, _PLACES):
        layer = ours.get_submodule(name)
        first = name == "conv1_1"
        state[f"features.{place}.weight"] = layer.weight * (10 if first else 1)
        state[f"features.{place}.bias"] = layer.bias * 10
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, tmp_path / "model.safetensors")
    theirs = VGG19(tmp_path / "model.safetensors")
    theirs._form((2, 1, 0), (127.5,) * 3, ours.shift.flatten().tolist())  # the pictures of these weights
    theirs.scale = None
    theirs.scale = [one / other for one, other in zip(theirs._of_noise(), _OF_NOISE)]
    image = picture(3, 64)
    for layer in ("conv1_1", "conv3_1", "conv5_1"):
        torch.testing.assert_close(theirs(image, [layer])[0], ours(image, [layer])[0], rtol=0.02, atol=0.02)


def test_a_file_that_ends_too_early(tmp_path: Path) -> None:
    short = VGG19(last="conv3_1")
    save_file(short.state_dict(), tmp_path / "short.safetensors")
    assert VGG19(tmp_path / "short.safetensors", "conv2_2")(picture(), ["conv2_2"])[0].shape == (1, 128, 16, 16)
    with pytest.raises(IntegrityError, match=r"missing: conv3_2\.bias"):
        VGG19(tmp_path / "short.safetensors", "conv3_2")


def test_layers_are_computed_when_they_are_asked_for() -> None:
    vgg, seen = VGG19(), []
    for name in vgg.layers:
        vgg.get_submodule(name).register_forward_hook(lambda *_, name=name: seen.append(name))
    features = vgg.features(picture())
    assert seen == []
    assert features["conv2_1"].shape == (1, 128, 16, 16)
    assert features["conv1_2"].shape == (1, 64, 32, 32)
    assert seen == ["conv1_1", "conv1_2", "conv2_1"]
    with pytest.raises(KeyError, match="no layer conv5_4: it ends at conv5_1"):
        features["conv5_4"]


def test_losses_share_what_they_see() -> None:
    vgg, calls = VGG19(last="conv2_1"), []
    vgg.conv1_1.register_forward_hook(lambda *_: calls.append(1))
    terms = [
        build_part("loss", {"name": "content", "layers": ["conv2_1"]}, vgg=vgg),
        build_part("loss", {"name": "style", "layers": ["conv1_1", "conv2_1"]}, vgg=vgg),
        build_part("loss", "total-variation"),
        build_part("loss", "tone"),
        build_part("loss", "hue"),
    ]
    still = Views({"source": picture(1), "target": picture(2, 48)})
    apart = [[loss({**still, "output": picture(seed)}) for loss in terms] for seed in (3, 4)]
    assert len(calls) == 8  # two pictures for each of two losses, twice
    calls.clear()
    for seed, wanted in zip((3, 4), apart):
        step = Views({"output": picture(seed)}, still)
        for loss, value in zip(terms, wanted):
            torch.testing.assert_close(loss(step), value)
    assert len(calls) == 4  # the two that stay, and what changes, once a step


def test_losses_are_their_formulas() -> None:
    vgg = VGG19(last="conv2_1")
    one, other = picture(1), picture(2)
    (a,), (b,) = vgg(one, ["conv2_1"]), vgg(other, ["conv2_1"])
    step = {"output": one, "source": other, "target": other}
    content = build_part("loss", {"name": "content", "layers": ["conv2_1"]}, vgg=vgg)
    torch.testing.assert_close(content(step), (a - b).square().mean())
    style = build_part("loss", {"name": "style", "layers": ["conv2_1"]}, vgg=vgg)
    ga, gb = (torch.einsum("nihw,njhw->nij", f, f) / (16 * 16) for f in (a, b))
    torch.testing.assert_close(style(step), (ga - gb).square().mean(), rtol=1e-4, atol=0)
    steps = torch.arange(4.0).expand(1, 3, 2, 4)
    variation = build_part("loss", "total-variation")
    assert float(variation({"output": steps})) == 1.0  # 1 beside each other, 0 below
    chroma = build_part("loss", {"name": "total-variation", "chroma": True})
    assert float(chroma({"output": steps})) == 0.0  # all of it is grey
    steps = steps * torch.tensor([1.0, 0.0, -1.0])[:, None, None]
    assert float(chroma({"output": steps})) == pytest.approx(2 / 3) == float(variation({"output": steps}))


def test_a_negative_is_told_and_how_light_things_are_is_not() -> None:
    tone, photo = build_part("loss", {"name": "tone", "shrink": 4}), picture(1)
    smooth = torch.nn.functional.interpolate(torch.nn.functional.avg_pool2d(photo, 4), scale_factor=4)
    for output, value in ((smooth, 0.0), (0.1 * smooth + 0.8, 0.0), (-smooth, 1.2), (torch.zeros_like(photo), 0.2)):
        assert float(tone({"output": output, "source": photo})) == pytest.approx(value, abs=0.01)
    output = torch.zeros_like(photo, requires_grad=True)  # from nothing the way is to the photograph's
    tone({"output": output, "source": photo}).backward()
    assert output.grad is not None and float(-(output.grad * smooth).sum()) > 0
    assert float(tone({"output": picture(2, 6), "source": picture(3, 6)})) >= 0  # smaller than shrink twice
    for options in ({"least": 1.0}, {"shrink": 0}):
        with pytest.raises(ConfigError, match="least is between -1 and 1, shrink 1 or more"):
            build_part("loss", {"name": "tone", **options})


def test_other_colours_are_told_where_the_artist_has_colours() -> None:
    """Not how strong or light they are, not a tint of all, and nothing where drawings are grey."""
    hue, photo, artist = build_part("loss", {"name": "hue", "shrink": 4}), picture(1), picture(2)
    smooth = torch.nn.functional.interpolate(torch.nn.functional.avg_pool2d(photo, 4), scale_factor=4)
    tint = torch.tensor([0.2, 0.0, -0.1])[:, None, None]
    for output, value in (
        (smooth, 0.0),
        (0.3 * smooth + 0.5 * picture(3).mean(1, keepdim=True) + tint, 0.0),
        (-smooth, 1.7),
        (photo.mean(1, keepdim=True).expand(-1, 3, -1, -1), 0.7),
    ):
        given = {"output": output, "source": photo}
        assert float(hue({**given, "target": artist})) == pytest.approx(value, abs=0.01)
        grey = artist.mean(1, keepdim=True).expand(-1, 3, -1, -1) + 0.02 * artist + tint
        assert float(hue({**given, "target": grey})) == 0
    output = torch.zeros_like(photo, requires_grad=True)
    hue({"output": output, "source": photo, "target": artist}).backward()
    assert output.grad is not None and float(-(output.grad * smooth).sum()) > 0
    for options in ({"least": 1.0}, {"shrink": 0}):
        with pytest.raises(ConfigError, match="least is between -1 and 1, shrink 1 or more"):
            build_part("loss", {"name": "hue", **options})


def test_a_weighted_gram_is_that_of_the_part() -> None:
    features, mask = torch.randn(2, 4, 6, 6), torch.zeros(2, 1, 6, 6)
    mask[..., :3] = 0.5
    torch.testing.assert_close(gram(features, mask), gram(features[..., :3]))
    assert gram(features, torch.zeros_like(mask)).abs().max() == 0
