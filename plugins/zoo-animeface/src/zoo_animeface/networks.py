"""Generator and discriminator of CartoonGAN and AnimeGAN (thesis, figures 5.1 and 5.2; Chen et al. 2018, figure 2).

N batch, H and W size, w width. Deviation: convolutions in front of an instance norm have no bias, since the norm takes
it away again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.blocks.conv import Conv2d
from zoo.blocks.norm import InstanceNorm2d
from zoo.blocks.residual import ResidualBlock
from zoo.blocks.vgg import LAYERS, VGG19
from zoo.generator import Generator, SizeRule
from zoo.weights.networks import find


class CartoonGenerator(Generator):
    """Photograph (N,3,H,W) in [-1,1] -> cartoon of the same form.

    ``block(channels)`` makes each of the residual ``blocks``. ``upsample`` is ``transposed`` (the paper) or ``resize``
    (a convolution and bilinear interpolation, which leaves no checkerboard: Odena et al. 2016).
    """

    size = SizeRule(multiple_of=4, minimum=16)

    def __init__(
        self,
        width: int = 64,
        blocks: int = 8,
        block: Callable[[int], nn.Module] = ResidualBlock,
        upsample: str = "transposed",
    ) -> None:
        super().__init__()
        if width < 1 or blocks < 0:
            raise ValueError("a network has 1 or more channels, and 0 or more blocks")
        if upsample not in ("transposed", "resize"):
            raise ValueError(f"upsample is 'transposed' or 'resize', not {upsample!r}")
        self.flat = nn.Sequential(nn.ReflectionPad2d(3), *_normed(Conv2d(3, width, 7, bias=False)))  # (N,w,H,W)
        self.down = nn.Sequential(*_down(width), *_down(2 * width))  # (N,4w,H/4,W/4)
        self.body = nn.Sequential(*(block(4 * width) for _ in range(blocks)))
        self.up = nn.Sequential(*_up(4 * width, upsample), *_up(2 * width, upsample))  # (N,w,H,W)
        self.head = nn.Sequential(nn.ReflectionPad2d(3), Conv2d(width, 3, 7), nn.Tanh())

    def parts(self, image: Tensor) -> dict[str, Tensor]:
        return {"image": self.head(self.up(self.body(self.down(self.flat(image)))))}


class CartoonDiscriminator(nn.Module):
    """Picture (N,3,H,W) -> one logit a patch (N,1,H/4,W/4): lines and flat areas show in small patches (figure 5.2).

    C32, then twice a convolution of stride 2 and one of stride 1 (64-128, 128-256), C256; 3×3 kernels, LeakyReLU 0.2,
    instance norm behind the convolutions of stride 1 but for the first and the last.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        if width < 1:
            raise ValueError("width is 1 or more")
        self.body = nn.Sequential(
            *_leaky(nn.Conv2d(3, width, 3, 1, 1)),
            *_leaky(nn.Conv2d(width, 2 * width, 3, 2, 1)),
            *_leaky(Conv2d(2 * width, 4 * width, 3, 1, bias=False), InstanceNorm2d(4 * width)),  # (N,4w,H/2,W/2)
            *_leaky(nn.Conv2d(4 * width, 4 * width, 3, 2, 1)),
            *_leaky(Conv2d(4 * width, 8 * width, 3, 1, bias=False), InstanceNorm2d(8 * width)),  # (N,8w,H/4,W/4)
            *_leaky(Conv2d(8 * width, 8 * width, 3, 1, bias=False), InstanceNorm2d(8 * width)),
            Conv2d(8 * width, 1, 3, 1),
        )

    def forward(self, image: Tensor) -> Tensor:
        return self.body(image)


class FeatureDiscriminator(nn.Module):
    """Picture (N,3,H,W) -> logits (N,1+L,H/8,W/8), one of each head a patch: judged are pixels, and VGG-19's features.

    A discriminator that need not learn to see first teaches from the first step on (Sauer et al. 2021, *Projected GANs
    Converge Faster*): for trainings of minutes instead of days. One head looks at the pixels, as PatchGAN
    does: it knows what lines are like. Each of L ``layers`` has another, behind a VGG-19 that sees the picture
    ``shrink`` times smaller: they know what faces are like. A norm over all channels leaves what is strong
    stronger. Deviation: the layers are not mixed.

    ``vgg`` is the network or its weights file, else the card vgg19's. It stays as it is, and is in no checkpoint.
    """

    def __init__(
        self,
        width: int = 32,
        layers: Sequence[str] = ("conv2_2", "conv3_4", "conv4_2"),
        shrink: int = 1,
        vgg: VGG19 | str | None = None,
    ) -> None:
        super().__init__()
        if width < 1 or shrink not in (1, 2, 4):
            raise ValueError("width is 1 or more, shrink 1, 2 or 4")
        if not layers or (unknown := [layer for layer in layers if layer not in LAYERS]):
            raise ValueError(f"VGG-19 has no layer {unknown[0]}" if layers else "it needs a layer")
        self.layers, self.shrink = tuple(layers), shrink
        if not isinstance(vgg, VGG19):
            vgg = VGG19(find("vgg", Path(vgg) if vgg else None, "the discriminator its option vgg:"), max(layers))
        self.seeing = (vgg,)  # in a tuple it is no part of the network, which is initialised, trained and saved
        smaller = [int(layer[4]) - 1 + shrink.bit_length() - 1 for layer in layers]  # times that VGG-19 has halved it
        self.pixels = _head(3, width, 3)
        self.heads = nn.ModuleList(
            _head(VGG19.width(layer), width, max(0, 3 - times)) for layer, times in zip(layers, smaller)
        )

    def forward(self, image: Tensor) -> Tensor:
        logits = [self.pixels(image)]
        features = self.seeing[0](F.avg_pool2d(image, self.shrink), self.layers)
        for head, seen in zip(self.heads, features):
            logits.append(F.interpolate(head(torch.log1p(seen)), logits[0].shape[2:]))  # a patch may be larger
        return torch.cat(logits, dim=1)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> FeatureDiscriminator:
        """VGG-19 moves with the network from device to device."""
        self.seeing[0]._apply(fn, recurse)
        return super()._apply(fn, recurse)


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


def _down(channels: int) -> tuple[nn.Module, ...]:
    """Half the size, twice the channels."""
    return (
        nn.Conv2d(channels, 2 * channels, 3, 2, 1),
        *_normed(Conv2d(2 * channels, 2 * channels, 3, padding=1, bias=False)),
    )


def _up(channels: int, upsample: str) -> tuple[nn.Module, ...]:
    """Twice the size, half the channels."""
    half = channels // 2
    larger: tuple[nn.Module, ...]
    if upsample == "transposed":
        larger = (nn.ConvTranspose2d(channels, half, 3, 2, 1, output_padding=1),)
    else:
        larger = (Conv2d(channels, half, 3, padding=1), nn.Upsample(scale_factor=2, mode="bilinear"))
    return (*larger, *_normed(Conv2d(half, half, 3, padding=1, bias=False)))


def _normed(convolution: Conv2d) -> tuple[nn.Module, ...]:
    return convolution, InstanceNorm2d(convolution.out_channels), nn.ReLU(inplace=True)


def _leaky(*layers: nn.Module) -> tuple[nn.Module, ...]:
    return (*layers, nn.LeakyReLU(0.2, inplace=True))
