"""Encoder E, generator G and critic D (Takagi & Okadome, table 1), and the fusion of latents (eq. 1).

N batch, H and W size, w width, s stages, C = w·2^(s-1) channels of the latent, K faces, E elements. The table's kernel
column disagrees with its output sizes from G's third row on; the output sizes are right. Convolutions in front of a batch
norm have no bias, since the norm takes it away again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.blocks.conv import Conv2d
from zoo.blocks.norm import InstanceNorm2d
from zoo.generator import Generator, SizeRule
from zoo_facefusion.regions import REGIONS, owners, region_maps

SLOPE = 0.2
"""Of the leaky ReLU below 0; the paper does not say."""

BLENDED = 2
"""Stages of G behind which regions are put together: at 128 pixels in features of 16×16, a cell is a part of an eye."""

NORMS = ("batch", "instance", "none")

CHANGING = 0.2
"""By how much more another has than the first until the hair is all the other's."""


class FusionGenerator(Generator):
    """Pictures (N,3,H,W) in [-1,1] of several people -> one of all of them, by shares for each element of the latent.

    ``widest`` limits the channels, which double from ``width`` on with each of the ``stages``. The latent is split along
    its channels into ``elements`` of equal size, what is left over goes to the last: so many, or their names. Where the names
    are those of `REGIONS` they are parts of the face, taught by the loss ``composite``, and the latent is split by channels
    and places: see `zoo_facefusion.regions.owners`. With ``shape`` goes the shape of the face, which else goes with each
    part, or with all. ``upsample`` is ``transposed`` (the
    paper) or ``resize`` (nearest neighbour and convolution, which leaves no checkerboard: Odena et al. 2016). The paper
    has no residual blocks; with ``block(channels)`` so many ``blocks`` of it stand at the end of E.
    """

    makes = frozenset({"latent"})
    element_of: Tensor

    def __init__(
        self,
        width: int = 64,
        elements: int | Sequence[str] = 5,
        stages: int = 5,
        widest: int = 1024,
        upsample: str = "transposed",
        block: Callable[[int], nn.Module] | None = None,
        blocks: int = 1,
    ) -> None:
        super().__init__()
        if isinstance(elements, str):
            raise ValueError(f"elements are a number or a list of names, not {elements!r}")
        self.names = () if isinstance(elements, int) else tuple(map(str, elements))
        self.by_parts = set(self.names) == set(REGIONS)
        self.elements = elements if isinstance(elements, int) else len(self.names)
        if min(width, self.elements, stages, widest) < 1 or blocks < 0:
            raise ValueError("width, elements, stages and widest are 1 or more, blocks 0 or more")
        if len(set(self.names)) < len(self.names):
            raise ValueError(f"no two elements have one name: {', '.join(self.names)}")
        if upsample not in ("transposed", "resize"):
            raise ValueError(f"upsample is 'transposed' or 'resize', not {upsample!r}")
        channels = _channels(width, stages, widest)
        if self.elements > channels[-1]:
            raise ValueError(f"{channels[-1]} channels of the latent cannot be split into {self.elements} elements")
        self.size = SizeRule(multiple_of=2**stages, minimum=2**stages * (1 if block is None else 2))
        self.down = nn.ModuleList(_down(before, after, "batch") for before, after in pairwise(channels))
        self.body = nn.Sequential(*([block(channels[-1]) for _ in range(blocks)] if block else []))
        self.up = nn.ModuleList(
            _up(before, after, upsample, last=after == 3) for before, after in pairwise(channels[::-1])
        )
        places = torch.arange(channels[-1]) // (channels[-1] // self.elements)
        element_of = places.clamp(max=self.elements - 1)[:, None, None]
        if self.by_parts:
            element_of = owners(channels[-1], self.names).to(element_of.device)
        self.register_buffer("element_of", element_of, persistent=False)  # (C,1,1) or (C,h,w)

    def encode(self, image: Tensor) -> Tensor:
        """E: (N,3,H,W) in [-1,1] -> latent (N,C,H/2^s,W/2^s)."""
        for stage in self.down:
            image = stage(image)
        return self.body(image)

    def decode(self, latent: Tensor) -> Tensor:
        """G: latent (N,C,h,w) -> (N,3,2^s·h,2^s·w) in [-1,1]."""
        return self._decode(latent, 0, len(self.up)).float()

    def fuse(self, latents: Sequence[Tensor], shares: Tensor) -> Tensor:
        """Equation 1: K latents, each (N,C,h,w), and the shares (N,K,E) that each has in each element, or (N,K,1)
        in all -> (N,C,h,w)."""
        element_of, size = self.element_of, latents[0].shape[-2:]
        if element_of.shape[-1] > 1:
            element_of = F.interpolate(element_of[None].float(), size, mode="nearest-exact")[0].long()
        each = shares.expand(-1, -1, self.elements)[..., element_of].to(latents[0].dtype)  # (N,K,C,h,w)
        return sum((share * latent for share, latent in zip(each.unbind(1), latents)), torch.zeros_like(latents[0]))

    def shares(self, mix: Tensor, portions: Tensor | None, others: int) -> Tensor:
        """(N,1+others,E): the first face has ``mix`` (N,E) or (N,1), the others share the rest by ``portions`` (N,others),
        equally without them. Of an element that is the hair, one has all with (N,1): see `of_one`."""
        shares = _shared(mix.expand(-1, self.elements), portions, others)
        if mix.shape[1] == 1 and "hair" in self.names:
            hair = self.names.index("hair")
            shares = torch.cat([shares[..., :hair], of_one(shares[..., :1]), shares[..., hair + 1 :]], 2)
        return shares

    def regional(self, name: str, mix: Tensor, portions: Tensor | None, others: int) -> Tensor:
        """(N,1+others,1): as `shares`, in a region of which the first has ``mix`` (N,1). Hair of two others together would be
        neither's: who has the largest portion has it."""
        if name == "hair":
            most = mix.new_zeros(mix.shape[0], dtype=torch.long) if portions is None else portions.argmax(1)
            portions = F.one_hot(most, others).to(mix)
        return _shared(mix, portions, others)

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
        shares = self.shares(mix, portions, len(other))
        if other:
            of_elements = {name: regions.pop(name) for name in self.names if name in regions}
            shares = self.replaced(shares, of_elements, portions)
        latent = self.fuse(latents, shares)
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

    def replaced(self, shares: Tensor, regions: Mapping[str, Tensor], portions: Tensor | None) -> Tensor:
        """``shares`` (N,K,E) with those of `regional` for elements that are parts of the face."""
        of = dict(zip(self.names, shares.split(1, 2)))
        of |= {
            name: self.regional(name, share[:, None], portions, shares.shape[1] - 1) for name, share in regions.items()
        }
        return torch.cat([*of.values()], 2) if of else shares

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


def _shared(mix: Tensor, portions: Tensor | None, others: int) -> Tensor:
    """(N,1+others,E): the first has ``mix`` (N,E), the others what is left, by ``portions`` (N,others) or alike."""
    portions = mix.new_ones(mix.shape[0], others) if portions is None else portions
    left = portions / portions.sum(1, keepdim=True)
    return torch.cat([mix[:, None], (1 - mix[:, None]) * left[..., None]], 1)


def of_one(shares: Tensor) -> Tensor:
    """The shares (N,K,1) of all in the hair: that of two heads together is a ghost, so that one has it, who has most. The
    first hands it over while another's share grows beyond its own: in films not at once."""
    if shares.shape[1] == 1:
        return shares
    first, others = shares[:, :1], shares[:, 1:]
    mine = (1 + (first - others.amax(1, keepdim=True)) / CHANGING).clamp(0, 1)
    most = F.one_hot(others[..., 0].argmax(1), others.shape[1]).to(shares)
    return torch.cat([mine, (1 - mine) * most[..., None]], 1)


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
