"""VGG-19's features, which perceptual losses and content distances compare.

Simonyan and Zisserman, *Very Deep Convolutional Networks for Large-Scale Image Recognition*, 2015; Gatys, Ecker,
Bethge, *Image Style Transfer Using Convolutional Neural Networks*, CVPR 2016. The weights are one safetensors
file, ``conv1_1.weight`` … ``conv5_4.bias``, of the normalised network of Gatys et al.: BGR pictures in 0 … 255
minus ImageNet's mean, maximum pooling, and filters whose mean activation is about 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from zoo.weights import load_weights

_WIDTHS = {1: (64, 64), 2: (128, 128), 3: (256,) * 4, 4: (512,) * 4, 5: (512,) * 4}
_MEAN = (103.939, 116.779, 123.68)  # blue, green, red
LAYERS = tuple(f"conv{block}_{i}" for block, widths in _WIDTHS.items() for i in range(1, len(widths) + 1))


class VGG19(nn.Module):
    """Pictures (N, 3, H, W) in [-1, 1] -> the rectified features of layers, frozen, by the paper's layer names.

    Pictures must be at least ``minimum`` pixels on each side. NotFoundError or IntegrityError if the file of
    ``weights`` is not there or does not fit.
    """

    minimum = 16
    mean: Tensor

    def __init__(self, weights: str | Path) -> None:
        super().__init__()
        inner = 3
        for block, widths in _WIDTHS.items():
            for index, outer in enumerate(widths, start=1):
                self.add_module(f"conv{block}_{index}", nn.Conv2d(inner, outer, 3, padding=1))
                inner = outer
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1), persistent=False)
        load_weights(weights, self)
        self.requires_grad_(False).eval()

    def forward(self, image: Tensor, layers: Sequence[str] = ("conv4_2",)) -> list[Tensor]:
        """One (N, C, h, w) a layer, in the order of ``layers``; nothing behind the last of them is computed."""
        if unknown := set(layers) - set(LAYERS):
            raise ValueError(f"VGG-19 has no layer {', '.join(sorted(unknown))}")
        x = (image.flip(1) + 1) * 127.5 - self.mean
        found: dict[str, Tensor] = {}
        for name in LAYERS:
            if name.endswith("_1") and name != "conv1_1":
                x = nn.functional.max_pool2d(x, 2)
            x = torch.relu(self.get_submodule(name)(x))
            if name in layers:
                found[name] = x
            if len(found) == len(set(layers)):
                break
        return [found[name] for name in layers]
