"""VGG-19's features, which perceptual losses, style transfer and content distances compare.

Simonyan and Zisserman, *Very Deep Convolutional Networks for Large-Scale Image Recognition*, 2015. Two flavours of
weights are read, each with its own form of pictures, and told apart by their names:

- ``conv1_1.weight`` …: the normalised network of Gatys, Ecker and Bethge (*Image Style Transfer Using Convolutional
  Neural Networks*, CVPR 2016). BGR pictures in 0 … 255 minus ImageNet's mean; the mean activation of a filter is 1.
- ``features.0.weight`` …: ImageNet's network as torchvision and timm have it. RGB pictures in 0 … 1 minus the mean,
  over the standard deviation. Its layers differ in scale, so their features are divided by a typical mean activation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import Tensor, nn

from zoo.blocks.conv import Conv2d
from zoo.machine.ceiling import unfilled
from zoo.weights.file import load_weights, read_header

_WIDTHS = {1: (64, 64), 2: (128, 128), 3: (256,) * 4, 4: (512,) * 4, 5: (512,) * 4}
LAYERS = tuple(f"conv{block}_{i}" for block, widths in _WIDTHS.items() for i in range(1, len(widths) + 1))
_OF_NOISE = (1.83, 1.55, 1.46, 2.39, 1.92, 2.02, 2.02, 1.87, 1.86, 1.66, 1.52, 0.77, 1.07, 0.92, 0.76, 0.43)
"""What `VGG19._of_noise` gives for the normalised network, whose mean activation for photographs is 1 in each layer."""
_PLACES = (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34)  # torchvision counts ReLU and pooling, too


class VGG19(nn.Module):
    """Pictures (N, 3, H, W) in [-1, 1] -> the rectified features of layers, frozen, by the paper's layer names.

    ``last`` is the deepest layer that there is; pictures must be at least ``minimum`` pixels on each side. Without
    ``weights`` the network is untrained. NotFoundError or IntegrityError if their file is not there or does not fit.
    """

    minimum = 16
    gain: Tensor
    shift: Tensor
    scale: list[float] | None

    def __init__(self, weights: str | Path | None = None, last: str = "conv5_1") -> None:
        super().__init__()
        if last not in LAYERS:
            raise ValueError(f"VGG-19 has no layer {last}")
        self.layers = LAYERS[: LAYERS.index(last) + 1]
        inner = 3
        with nullcontext() if weights is None else unfilled():
            for name in self.layers:
                outer = self.width(name)
                self.add_module(name, Conv2d(inner, outer, 3, padding=1))
                inner = outer
        self._form(bgr=True, gain=(127.5,) * 3, shift=[127.5 - mean for mean in (103.939, 116.779, 123.68)])
        self.scale = None
        self.requires_grad_(False).eval()
        if weights is not None:
            self.load(weights)

    def _form(self, bgr: bool, gain: Sequence[float], shift: Sequence[float]) -> None:
        """How the weights want pictures: a channel times its ``gain`` plus its ``shift``."""
        self.bgr = bgr
        self.register_buffer("gain", torch.tensor(gain).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("shift", torch.tensor(shift).view(1, 3, 1, 1), persistent=False)

    @staticmethod
    def width(layer: str) -> int:
        """How many filters a layer has."""
        block, _, index = layer.removeprefix("conv").partition("_")
        return _WIDTHS[int(block)][int(index) - 1]

    def load(self, path: str | Path) -> None:
        """Take the weights of a file of either flavour; it may hold deeper layers, and those of the classifier."""
        if "features.0.weight" not in read_header(path).tensors:
            load_weights(path, self, more=True)
            return
        theirs = {
            f"{name}.{kind}": f"features.{place}.{kind}"
            for name, place in zip(self.layers, _PLACES)
            for kind in ("weight", "bias")
        }
        load_weights(path, self, names=theirs, more=True)
        mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
        self._form(False, [0.5 / s for s in std], [(0.5 - m) / s for m, s in zip(mean, std)])
        self.scale = [ours / normal for ours, normal in zip(self._of_noise(), _OF_NOISE)]

    def forward(self, image: Tensor, layers: Sequence[str] = ("conv4_2",)) -> list[Tensor]:
        """One (N, C, h, w) a layer, in the order of ``layers``; nothing behind the last of them is computed."""
        seen = self.features(image)
        return [seen[layer] for layer in layers]

    def features(self, image: Tensor) -> Features:
        """All layers, each computed when it is first asked for."""
        return Features(self, image)

    def prepared(self, image: Tensor) -> Tensor:
        """The picture in the form that the weights were trained on."""
        return (image.flip(1) if self.bgr else image) * self.gain + self.shift

    @torch.no_grad()
    def _of_noise(self) -> list[float]:
        """The mean activation of each layer for a picture with the spectrum of photographs: 1/f noise, always the same."""
        side = 128
        noise = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))
        frequency = torch.hypot(torch.fft.fftfreq(side)[:, None], torch.fft.rfftfreq(side)[None])
        frequency[0, 0] = 1 / side
        picture = torch.fft.irfft2(torch.fft.rfft2(noise) / frequency)
        seen = self.features((picture / picture.std() / 2).clamp(-1, 1).to(self.shift))
        return [float(seen[layer].mean()) for layer in self.layers]


class Features(Mapping[str, Tensor]):
    """The rectified features of pictures by layer; nothing behind the deepest that was asked for is computed."""

    def __init__(self, network: VGG19, image: Tensor) -> None:
        self._network = network
        self._last = network.prepared(image)
        self._found: dict[str, Tensor] = {}

    def __getitem__(self, layer: str) -> Tensor:
        if layer not in self._network.layers:
            raise KeyError(f"this VGG-19 has no layer {layer}: it ends at {self._network.layers[-1]}")
        while layer not in self._found:
            place = len(self._found)
            name = self._network.layers[place]
            if name.endswith("_1") and place:
                self._last = nn.functional.max_pool2d(self._last, 2)
            self._last = torch.relu(self._network.get_submodule(name)(self._last))
            scale = self._network.scale
            self._found[name] = self._last if scale is None else self._last / scale[place]
        return self._found[layer]

    def __iter__(self) -> Iterator[str]:
        return iter(self._network.layers)

    def __len__(self) -> int:
        return len(self._network.layers)
