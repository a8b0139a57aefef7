"""Losses over VGG-19's features (Gatys et al. 2016; Johnson et al. 2016)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.blocks.vgg import VGG19
from zoo.evaluate.files import find
from zoo.loss import Loss


class _Features(Loss):
    """``layers`` by the paper's names. ``vgg`` is the weights file, else the one of the cache or a mirror."""

    def __init__(self, layers: Sequence[str], vgg: str | None) -> None:
        super().__init__()
        self.layers = tuple(layers)
        self.vgg = VGG19(find("vgg", Path(vgg) if vgg else None, "the loss its option vgg:"))

    def distance(self, made: Tensor, wanted: Tensor) -> Tensor:
        raise NotImplementedError

    def compare(self, output: Tensor, target: Tensor) -> Tensor:
        """The mean of the layers' distances."""
        with torch.no_grad():
            wanted = self.vgg(target, self.layers)
        distances = [self.distance(*pair) for pair in zip(self.vgg(output, self.layers), wanted)]
        return torch.stack(distances).mean()


class PerceptualLoss(_Features):
    """The result's features against those of the artist's picture of the same sitter (Johnson et al. 2016, eq. 2).

    The mean absolute difference instead of the squared one: lines that are slightly off count less.
    """

    needs = frozenset({"output", "paired_target"})

    def __init__(self, layers: Sequence[str] = ("conv1_2", "conv2_2", "conv3_2"), vgg: str | None = None) -> None:
        super().__init__(layers, vgg)

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        return self.compare(step["output"], step["paired_target"])

    def distance(self, made: Tensor, wanted: Tensor) -> Tensor:
        return F.l1_loss(made.float(), wanted.float())


class StyleLoss(_Features):
    """The result's Gram matrices against those of a picture of the target domain (Gatys et al. 2016, eq. 3 to 5).

    The Gram matrix is divided by the number of positions; the layers count alike.
    """

    needs = frozenset({"output", "target"})

    def __init__(self, layers: Sequence[str] = ("conv1_1", "conv2_1", "conv3_1"), vgg: str | None = None) -> None:
        super().__init__(layers, vgg)

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        return self.compare(step["output"], step["target"])

    def distance(self, made: Tensor, wanted: Tensor) -> Tensor:
        return F.mse_loss(_gram(made), _gram(wanted))


def _gram(features: Tensor) -> Tensor:
    flat = features.flatten(2).float()  # (N,C,P)
    return flat @ flat.transpose(1, 2) / flat.shape[-1]  # (N,C,C)
