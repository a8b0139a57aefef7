"""A discriminator that sees with VGG-19, for trainings of minutes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.blocks.vgg import LAYERS, VGG19
from zoo.weights.networks import find


class FeatureDiscriminator(nn.Module):
    """Picture (N,3,H,W) -> logits (N,1+LS,H/8,W/8), one of each head a patch: judged are pixels, and VGG-19's features.

    A discriminator that need not learn to see first teaches from the first step on (Sauer et al. 2021, *Projected GANs
    Converge Faster*): for trainings of minutes instead of days. One head looks at the pixels, as PatchGAN
    does: it knows what lines are like. Each of L ``layers`` has another, behind a VGG-19 that sees the picture
    ``shrink`` times smaller: they know what faces are like. S such sizes each have their heads (Wang et al. 2018, section
    3.2): what is judged in a large picture is then both its strokes and its whole. A norm over all channels leaves what is strong
    stronger. Deviation: the layers are not mixed.

    ``vgg`` is the network or its weights file, else the card vgg19's. It stays as it is, and is in no checkpoint.
    """

    def __init__(
        self,
        width: int = 32,
        layers: Sequence[str] = ("conv2_2", "conv3_4", "conv4_2"),
        shrink: int | Sequence[int] = 1,
        vgg: VGG19 | str | None = None,
    ) -> None:
        super().__init__()
        sizes = (shrink,) if isinstance(shrink, int) else tuple(shrink)
        if width < 1 or not sizes or any(size not in (1, 2, 4) for size in sizes):
            raise ValueError("width is 1 or more, shrink 1, 2 or 4, or several of them")
        if not layers or (unknown := [layer for layer in layers if layer not in LAYERS]):
            raise ValueError(f"VGG-19 has no layer {unknown[0]}" if layers else "it needs a layer")
        self.layers, self.sizes = tuple(layers), sizes
        if not isinstance(vgg, VGG19):
            vgg = VGG19(find("vgg", Path(vgg) if vgg else None, "the discriminator its option vgg:"), max(layers))
        self.seeing = (vgg,)  # in a tuple it is no part of the network, which is initialised, trained and saved
        self.pixels = _head(3, width, 3)
        self.heads = nn.ModuleList(
            _head(VGG19.width(layer), width, max(0, 3 - _halved(layer, size))) for size in sizes for layer in layers
        )

    def forward(self, image: Tensor) -> Tensor:
        logits = [self.pixels(image)]
        features = [seen for size in self.sizes for seen in self.seeing[0](F.avg_pool2d(image, size), self.layers)]
        for head, seen in zip(self.heads, features):
            logits.append(F.interpolate(head(torch.log1p(seen)), logits[0].shape[2:]))  # a patch may be larger
        return torch.cat(logits, dim=1)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> FeatureDiscriminator:
        """VGG-19 moves with the network from device to device."""
        self.seeing[0]._apply(fn, recurse)
        return super()._apply(fn, recurse)


def _halved(layer: str, shrink: int) -> int:
    """How often the features of a layer are halved, with what the picture was before."""
    return int(layer[4]) - 1 + shrink.bit_length() - 1


def _head(inner: int, width: int, halved: int) -> nn.Sequential:
    """(N,C,H,W) -> (N,1,H/2^halved,W/2^halved)."""
    channels = [width * min(2**i, 8) for i in range(halved + 1)]
    return nn.Sequential(
        *_leaky(nn.Conv2d(inner, width, 3, 1, 1), nn.GroupNorm(1, width)),
        *(
            layer
            for before, after in pairwise(channels)
            for layer in _leaky(nn.Conv2d(before, after, 4, 2, 1), nn.GroupNorm(1, after))
        ),
        nn.Conv2d(channels[-1], 1, 3, 1, 1),
    )


def _leaky(*layers: nn.Module) -> tuple[nn.Module, ...]:
    return (*layers, nn.LeakyReLU(0.2, inplace=True))
