"""Generator and discriminator (thesis, figures 4.1, 4.3 and 4.4; Choi et al. 2018; Pumarola et al. 2018).

N batch, H and W size, w width, U units. Deviation: the condition does not come in as planes beside the picture. A
plane is the same everywhere, and the instance norm behind the first convolution takes that away but for the border.
It scales and shifts every channel behind each norm outside the blocks, where nothing of it is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.blocks.norm import InstanceNorm2d
from zoo.blocks.residual import ResidualBlock
from zoo.generator import Generator, SizeRule
from zoo.pictures.fit import warped
from zoo_expression.motion import Motion
from zoo_expression.units import (
    EXPRESSIONS,
    FULL,
    HALVES,
    LABELLED,
    LABELS,
    MOST,
    NAMES,
    OPEN,
    STRONGEST,
    UNITS,
    pattern,
)

NEARLY = 0.98
"""White and black by this much less, so that atanh is finite."""


class Trunk(nn.Sequential):
    """Picture (N,3,H,W) -> (N,C,H/2^l,W/2^l): ``layers`` 4×4 convolutions of stride 2, LeakyReLU 0.01 (figure 4.4).

    The channels double from ``width`` on up to ``widest``.
    """

    def __init__(self, width: int, layers: int, widest: int) -> None:
        if width < 1 or layers < 1 or widest < 1:
            raise ValueError("width, layers and widest are 1 or more")
        channels = [3, *(min(width * 2**i, widest) for i in range(layers))]
        super().__init__(
            *(
                layer
                for before, after in pairwise(channels)
                for layer in (nn.Conv2d(before, after, 4, 2, 1), nn.LeakyReLU(0.01, inplace=True))
            )
        )
        self.channels = channels[-1]
        for name, parameter in self.named_parameters():  # there is no norm: each layer keeps the signal's size itself
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            else:
                nn.init.kaiming_normal_(parameter, a=0.01)  # He et al. 2015


class Meter(nn.Module):
    """What a picture shows: (N,3,H,W) in [-1,1] -> (N,U), intensities over ``MOST``, or scores of labels.

    The discriminator's regression head with the layers below it. Pictures of another size than ``size`` are scaled.
    """

    def __init__(self, width: int = 64, layers: int = 6, widest: int = 2048, size: int = 128, units: int = 17) -> None:
        super().__init__()
        if size % 2**layers:
            raise ValueError(f"size {size} cannot be halved {layers} times")
        self.size = size
        self.trunk = Trunk(width, layers, widest)
        self.units = nn.Conv2d(self.trunk.channels, units, size // 2**layers, bias=False)

    def forward(self, image: Tensor) -> Tensor:
        return self.read(self.trunk(self.fitted(image)))

    def fitted(self, image: Tensor) -> Tensor:
        if image.shape[2:] == (self.size, self.size):
            return image
        return F.interpolate(image, (self.size, self.size), mode="bilinear", align_corners=False, antialias=True)

    def read(self, features: Tensor) -> Tensor:
        return self.units(features).flatten(1).float()


class Discriminator(nn.Module):
    """Picture (N,3,H,W) -> realness of its patches (N,J,h,w), and what it shows (N,U).

    ``judged`` says behind how many of the ``layers`` realness is judged, all of them unless given: behind fewer the
    patches are smaller, and faults of the texture are seen sooner. Several numbers judge patches of J sizes, each as
    much as the other; coarser ones are repeated where finer ones lie.
    """

    meter: Meter

    def __init__(
        self,
        width: int = 64,
        layers: int = 6,
        widest: int = 2048,
        size: int = 128,
        units: int = 17,
        judged: int | Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.judged = [judged] if isinstance(judged, int) else [layers] if judged is None else sorted(judged)
        if not self.judged or not all(1 <= level <= layers for level in self.judged):
            raise ValueError(f"judged is from 1 to {layers}, the number of layers")
        self.meter = Meter(width, layers, widest, size, units)
        self.real = nn.ModuleList(
            nn.Conv2d(min(width * 2 ** (level - 1), widest), 1, 3, padding=1, bias=False) for level in self.judged
        )

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        x = self.meter.fitted(image)
        after = {2 * level - 1: head for level, head in zip(self.judged, self.real)}
        found = []
        for i, layer in enumerate(self.meter.trunk):
            x = layer(x)
            if i in after:
                found.append(after[i](x).float())
        real = torch.cat([F.interpolate(one, found[0].shape[2:]) for one in found], dim=1)
        return real, self.meter.read(x)


class Modulation(nn.Module):
    """relu((1 + γ)·norm(x) + β), γ and β (N,C) linear in the condition (N,U): conditional instance norm.

    ``gain`` multiplies the condition first: intensities over 5 are mostly below 0.1, and would be learned late.
    """

    def __init__(self, channels: int, units: int, gain: float) -> None:
        super().__init__()
        self.gain = gain
        self.norm = InstanceNorm2d(channels)
        self.condition = nn.Linear(units, 2 * channels)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        scale, shift = self.condition(self.gain * condition)[:, :, None, None].to(x.dtype).chunk(2, dim=1)
        return F.relu(torch.addcmul(shift, self.norm(x), 1 + scale))


class StarGANGenerator(Generator):
    """Picture (N,3,H,W) in [-1,1] and a condition -> the same person with that expression.

    7×7 convolution, two stride-2 convolutions, residual ``blocks`` of ``block(channels)``, two transposed convolutions
    (figure 4.3). With ``attention`` they end in a colour C and an attention A, and the result is A·I + (1 − A)·C
    (Pumarola et al., eq. 1): where A is 1 the picture stays. With ``residual`` C is the picture changed, not made from
    nothing: an untrained generator changes little, and does not first learn to keep A at 1. With ``warp`` I is moved
    first, smoothly and by up to this share of its side: brows and lips go elsewhere, and need not be painted. The
    condition is 17 action units, in intensities, or with ``labels`` one of StarGAN's five expressions. ``meter`` are the
    options of the `Meter` that comes along: the trainer copies the discriminator's head into it, so that a weights file
    can say what a face shows.
    """

    size = SizeRule(multiple_of=4, minimum=32)
    makes = frozenset({"attention", "colour"})
    can_make: ClassVar = {"flow": "warp=0.1", "paint": "warp=0.1"}
    asks: ClassVar = frozenset({"units"})
    meter: Meter

    def __init__(
        self,
        width: int = 64,
        blocks: int = 6,
        block: Callable[[int], nn.Module] = ResidualBlock,
        attention: bool = True,
        labels: bool = False,
        residual: bool = False,
        warp: float = 0.0,
        paint: float = 1.0,
        motion: float = 0.0,
        shade: float = 0.0,
        meter: dict[str, int] | None = None,
    ) -> None:
        super().__init__()
        if width < 1 or blocks < 0:
            raise ValueError("a network has 1 or more channels, and 0 or more blocks")
        if not 0 <= warp < 1:
            raise ValueError("warp is a share of the picture's side")
        if not 0 <= paint <= 1 or motion < 0 or shade < 0:
            raise ValueError("paint is a share from 0 to 1, and motion and shade are gains of 0 or more")
        if shade and not motion:
            raise ValueError("shade goes with motion: set motion, too")
        self.attention, self.labels, self.residual, self.warp, self.paint = attention, labels, residual, warp, paint
        self.makes = frozenset(["attention", "colour"] * attention + ["flow", "paint"] * bool(warp))
        units = len(LABELS) if labels else len(NAMES)
        self.stem = nn.Conv2d(3, width, 7, padding=3, bias=False)  # (N,w,H,W)
        self.down = nn.ModuleList(
            nn.Conv2d(width * i, 2 * width * i, 4, 2, 1, bias=False) for i in (1, 2)
        )  # (N,4w,H/4,W/4)
        self.body = nn.Sequential(*(block(4 * width) for _ in range(blocks)))
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * width * i, width * i, 4, 2, 1, bias=False) for i in (2, 1))
        self.modulations = nn.ModuleList(Modulation(width * i, units, 1.0 if labels else 10.0) for i in (1, 2, 4, 2, 1))
        self.head = nn.Conv2d(width, 4 if attention else 3, 7, padding=3)
        self.meter = Meter(**{**(meter or {}), "units": units})
        as_buffers(self.meter)
        self.flow = nn.Conv2d(4 * width, 2, 3, padding=1) if warp else None
        self.motion = Motion(motion, shade) if motion else None

    def parts(self, image: Tensor, units: Tensor | None = None, **controls: Tensor) -> dict[str, Tensor]:
        """``units`` (N,U) is the condition as the trainer has it; else ``controls`` say what it is, see `condition`."""
        x, condition = image, self.condition(image, **controls) if units is None else units
        for i, layer in enumerate((self.stem, *self.down)):
            x = self.modulations[i](layer(x), condition)
        x = self.body(x)
        picture, made = image.float(), {}
        if self.flow is not None:
            flow = self.warp * torch.tanh(self.flow(x).float())
            made["flow"] = F.interpolate(flow, image.shape[2:], mode="bilinear", align_corners=False)  # (N,2,H,W)
            picture = warped(picture, made["flow"])
        for i, layer in enumerate(self.up):
            x = self.modulations[3 + i](layer(x), condition)
        head = self.head(x).float()
        change = head[:, :3]
        colour = torch.tanh(
            change + torch.atanh(NEARLY * picture.clamp(-1, 1)) if self.residual else change
        )  # (N,3,H,W)
        made["image"] = colour
        if self.attention:
            made |= {"attention": torch.sigmoid(head[:, 3:]), "colour": colour}  # (N,1,H,W)
            made["image"] = torch.lerp(colour, picture, made["attention"])
        if self.paint < 1 and not self.training:
            made["image"] = torch.lerp(picture, made["image"], self.paint)
        if self.flow is not None:
            made["paint"] = made["image"] - picture
        return made

    def condition(
        self, image: Tensor, like: Tensor | None = None, base: Tensor | None = None, **controls: Tensor
    ) -> Tensor:
        """The condition (N,U) that the controls ask for: ``expression``, (N,) of StarGAN's labels, or

        the picture's own units, or those of ``like``, or ``base`` (N,U), if that is known; of them ``happiness`` and others, (N,) from 0, leave the rest
        and bring their share of the expression, see `brought`; what ``AU1`` … ``AU45``, (N,) in intensities, give is as they give it.
        """
        if self.labels:
            return F.one_hot(controls["expression"], len(LABELS)).float()
        units = MOST * (self.own(image if like is None else like) if base is None else base)
        shares = {name: share[:, None] for name, share in controls.items() if name in EXPRESSIONS}
        if shares:
            total = torch.stack(list(shares.values())).sum(0)
            mixed = torch.stack([brought(name, share, units) for name, share in shares.items()]).sum(0)
            most = units.clamp(min=FULL * STRONGEST)
            units = (1 - total).clamp(min=0) * units + mixed.minimum(most)
        given = [controls.get(name, unit) for name, unit in zip(NAMES, units.unbind(1))]
        return torch.stack(given, dim=1) / MOST

    def halves(self, image: Tensor, **controls: Any) -> Tensor:
        """The conditions (2,N,U) of the face's own left half and of its right one: what ``AU12_left`` and others give
        counts for one of them."""
        common = self.condition(image, **controls)
        if self.labels:
            return common.expand(2, -1, -1)
        sides = []
        for half in HALVES:
            given = [controls.get(f"{name}_{half}") for name in NAMES]
            units = [unit if one is None else one / MOST for one, unit in zip(given, common.unbind(1))]
            sides.append(torch.stack(units, dim=1))
        return torch.stack(sides)

    def intensities(self, condition: Tensor) -> Tensor:
        """Of conditions (…,U) the 17 intensities: as they are, or for labels those that their expression is made of."""
        if not self.labels:
            return MOST * condition
        made_of = [pattern(LABELLED[label]) if label in LABELLED else [0.0] * len(NAMES) for label in LABELS]
        return condition @ condition.new_tensor(made_of)

    def own(self, image: Tensor) -> Tensor:
        """The condition (N,U) that a picture itself fulfils, as the meter reads it."""
        read = self.meter(image)
        return F.one_hot(read.argmax(1), len(LABELS)).float() if self.labels else read.clamp(0, 1)


def brought(expression: str, share: Tensor, units: Tensor) -> Tensor:
    """The intensities (N,17) that a share (N,1) of an expression gives faces that have ``units``. What a face has more of its own units, it
    keeps, who laughs is not to smile less; and all of those of which the expression says nothing."""
    wanted = units.new_tensor(pattern(expression))
    own = (wanted > 0) | torch.tensor([number in OPEN.get(expression, ()) for number in UNITS], device=units.device)
    return torch.maximum(share * wanted, share.clamp(max=1) * own * units)


def as_buffers(module: nn.Module) -> None:
    """Make the module's parameters buffers: kept and loaded with a network, and not trained as part of it."""
    for part in module.modules():
        for name, parameter in list(part.named_parameters(recurse=False)):
            delattr(part, name)
            part.register_buffer(name, parameter.detach())
