"""Encoder E, generator G and critic D (Takagi & Okadome, table 1), and the fusion of latents (eq. 1).

N batch, H and W size, w width, s stages, C = w·2^(s-1) channels of the latent, K faces, E elements. The table's kernel
column disagrees with its output sizes from G's third row on; the output sizes are right. Convolutions in front of a batch
norm have no bias, since the norm takes it away again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.blocks.conv import Conv2d
from zoo.blocks.norm import InstanceNorm2d
from zoo.generator import Generator, SizeRule
from zoo_facefusion.regions import REGIONS, region_maps

SLOPE = 0.2
"""Of the leaky ReLU below 0; the paper does not say."""

BLENDED = 2
"""Stages of G behind which regions are put together: at 128 pixels in features of 16×16, a cell is a part of an eye."""

NORMS = ("batch", "instance", "none")


class FusionGenerator(Generator):
    """Pictures (N,3,H,W) in [-1,1] of several people -> one of all of them, by shares for each element of the latent.

    ``widest`` limits the channels, which double from ``width`` on with each of the ``stages``. The latent is split along
    its channels into ``elements`` of equal size, what is left over goes to the last. ``upsample`` is ``transposed`` (the
    paper) or ``resize`` (nearest neighbour and convolution, which leaves no checkerboard: Odena et al. 2016). The paper
    has no residual blocks; with ``block(channels)`` so many ``blocks`` of it stand at the end of E.
    """

    makes = frozenset({"latent"})
    element_of: Tensor

    def __init__(
        self,
        width: int = 64,
        elements: int = 5,
        stages: int = 5,
        widest: int = 1024,
        upsample: str = "transposed",
        block: Callable[[int], nn.Module] | None = None,
        blocks: int = 1,
    ) -> None:
        super().__init__()
        if min(width, elements, stages, widest) < 1 or blocks < 0:
            raise ValueError("width, elements, stages and widest are 1 or more, blocks 0 or more")
        if upsample not in ("transposed", "resize"):
            raise ValueError(f"upsample is 'transposed' or 'resize', not {upsample!r}")
        channels = _channels(width, stages, widest)
        if elements > channels[-1]:
            raise ValueError(f"{channels[-1]} channels of the latent cannot be split into {elements} elements")
        self.elements = elements
        self.size = SizeRule(multiple_of=2**stages, minimum=2**stages * (1 if block is None else 2))
        self.down = nn.ModuleList(_down(before, after, "batch") for before, after in pairwise(channels))
        self.body = nn.Sequential(*([block(channels[-1]) for _ in range(blocks)] if block else []))
        self.up = nn.ModuleList(
            _up(before, after, upsample, last=after == 3) for before, after in pairwise(channels[::-1])
        )
        places = torch.arange(channels[-1]) // (channels[-1] // elements)
        self.register_buffer("element_of", places.clamp(max=elements - 1), persistent=False)  # (C,)

    def encode(self, image: Tensor) -> Tensor:
        """E: (N,3,H,W) in [-1,1] -> latent (N,C,H/2^s,W/2^s)."""
        for stage in self.down:
            image = stage(image)
        return self.body(image)

    def decode(self, latent: Tensor) -> Tensor:
        """G: latent (N,C,h,w) -> (N,3,2^s·h,2^s·w) in [-1,1]."""
        return self._decode(latent, 0, len(self.up)).float()

    def fuse(self, latents: Sequence[Tensor], shares: Tensor) -> Tensor:
        """Equation 1: K latents, each (N,C,h,w), and the shares (N,K,E) that each has in each element -> (N,C,h,w)."""
        each = shares[..., self.element_of, None, None].to(latents[0].dtype)  # (N,K,C,1,1)
        return sum((share * latent for share, latent in zip(each.unbind(1), latents)), torch.zeros_like(latents[0]))

    def shares(self, mix: Tensor, portions: Tensor | None, others: int) -> Tensor:
        """(N,1+others,E): the first face has ``mix`` (N,E) or (N,1), the others share the rest by ``portions`` (N,others),
        equally without them."""
        mix = mix.expand(-1, self.elements)[:, None]  # (N,1,E)
        portions = mix.new_ones(mix.shape[0], others) if portions is None else portions
        return torch.cat([mix, (1 - mix) * (portions / portions.sum(1, keepdim=True))[..., None]], 1)

    def regional(self, name: str, mix: Tensor, portions: Tensor | None, others: int) -> Tensor:
        """As `shares`, in a region. Hair of two others together would be neither's: who has the largest portion has it."""
        if name == "hair":
            most = mix.new_zeros(mix.shape[0], dtype=torch.long) if portions is None else portions.argmax(1)
            portions = F.one_hot(most, others).to(mix)
        return self.shares(mix, portions, others)

    def parts(
        self,
        image: Tensor,
        other: Sequence[Tensor] = (),
        mix: Tensor | None = None,
        portions: Tensor | None = None,
        maps: Tensor | None = None,
        **regions: Tensor,
    ) -> dict[str, Tensor]:
        """``other``: the faces beside ``image``, each (N,3,H,W); ``mix`` Λ, one half unless given, and ``portions``: see
        `shares`. Each of ``regions``, named as in `REGIONS`, is the share (N,) that ``image`` has there: see `regional`.
        ``maps`` (N,5,H,W) say where they are, those of an average face unless given: see `region_maps`. Outside of them the
        picture is as without regions."""
        latents = self.encode(torch.cat([image, *other])).unflatten(0, (1 + len(other), image.shape[0])).unbind()
        if not other:
            mix = image.new_ones(image.shape[0], 1)
        elif mix is None:
            mix = image.new_full((image.shape[0], 1), 0.5)
        latent = self.fuse(latents, self.shares(mix, portions, len(other)))
        if not regions or not other:
            return {"image": self.decode(latent), "latent": latent}
        apart = [
            self.fuse(latents, self.regional(name, share[:, None], portions, len(other)))
            for name, share in regions.items()
        ]
        blended = min(BLENDED, len(self.up) - 1)
        everywhere, *features = self._decode(torch.cat([latent, *apart]), 0, blended).chunk(1 + len(apart))
        maps = region_maps((image.shape[-2], image.shape[-1]))[None] if maps is None else maps
        maps = maps[:, [REGIONS.index(name) for name in regions]].to(everywhere)
        coarse = F.adaptive_avg_pool2d(maps, (everywhere.shape[-2], everywhere.shape[-1]))
        each = coarse.split(1, 1)  # (N,1,h,w) each
        x = everywhere * (1 - coarse.sum(1, keepdim=True)) + sum(map(torch.mul, each, features))
        plain, drawn = self._decode(torch.cat([everywhere, x]), blended, len(self.up)).float().chunk(2)
        # features reach further than their cells
        return {"image": torch.lerp(plain, drawn, maps.sum(1, keepdim=True).float().clamp(max=1)), "latent": latent}

    def _decode(self, x: Tensor, first: int, last: int) -> Tensor:
        for stage in self.up[first:last]:
            x = stage(x)
        return x


class FusionCritic(nn.Module):
    """Picture (N,3,H,W) in [-1,1] -> how real it looks, (N,1). Pictures are ``size`` pixels high and wide.

    As E, without a norm in the first layer, then fully connected. ``norm`` is ``batch`` (the paper), ``instance`` or
    ``none``: under a gradient penalty each picture has to be judged by itself (Gulrajani et al. 2017, section 4).
    """

    side: ClassVar = "size"

    def __init__(
        self, width: int = 64, stages: int = 5, widest: int = 1024, size: int = 128, norm: str = "batch"
    ) -> None:
        super().__init__()
        if min(width, stages, widest) < 1 or size % 2**stages:
            raise ValueError(f"width, stages and widest are 1 or more, and size {size} is halved {stages} times")
        if norm not in NORMS:
            raise ValueError(f"norm is one of {', '.join(NORMS)}, not {norm!r}")
        channels = _channels(width, stages, widest)
        self.body = nn.Sequential(
            *(_down(before, after, norm if before > 3 else "none") for before, after in pairwise(channels))
        )
        # a bias would cancel in the difference of real and fake
        self.head = nn.Linear(channels[-1] * (size // 2**stages) ** 2, 1, bias=False)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.body(image).flatten(1)).float()


def _channels(width: int, stages: int, widest: int) -> list[int]:
    return [3, *(min(width * 2**i, widest) for i in range(stages))]


def _down(before: int, after: int, norm: str) -> nn.Sequential:
    """(N,before,H,W) -> (N,after,H/2,W/2)."""
    norms = {"batch": nn.BatchNorm2d, "instance": InstanceNorm2d}
    layers = [norms[norm](after)] if norm in norms else []
    convolution = nn.Conv2d(before, after, 4, 2, 1, bias=norm == "none")
    return nn.Sequential(convolution, *layers, nn.LeakyReLU(SLOPE, inplace=True))


def _up(before: int, after: int, upsample: str, last: bool) -> nn.Sequential:
    """(N,before,h,w) -> (N,after,2h,2w); the last stage, without a norm, makes colours."""
    layers: list[nn.Module] = [nn.ConvTranspose2d(before, after, 4, 2, 1, bias=last)]
    if upsample == "resize":
        layers = [nn.Upsample(scale_factor=2), Conv2d(before, after, 3, padding=1, bias=last)]
    return nn.Sequential(*layers, *([nn.Tanh()] if last else [nn.BatchNorm2d(after), nn.ReLU(inplace=True)]))
