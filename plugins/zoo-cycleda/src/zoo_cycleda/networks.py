"""The generator of CycleGAN, CycleSE, CycleDA and Cyclepix (Takeoka & He, figure 3; Zhu et al. 2017, appendix 7.2).

7×7 conv, two stride-2 convs, residual blocks, two upsamplings, 7×7 conv, tanh; reflection padding, instance norm.
Deviation: convolutions in front of an instance norm have no bias, since the norm takes it away again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from zoo.blocks.conv import Conv2d
from zoo.blocks.label import LabelScale
from zoo.blocks.norm import InstanceNorm2d
from zoo.blocks.residual import ResidualBlock
from zoo.generator import Generator, SizeRule


class ResnetGenerator(Generator):
    """Image (N,3,H,W) in [-1,1] -> image of the same form.

    ``block(channels)`` makes each of the residual ``blocks``: the place where the papers differ. ``upsample`` is
    ``transposed`` (CycleGAN) or ``resize`` (nearest neighbour and convolution, which leaves no checkerboard: Odena et
    al. 2016). With ``labels`` n one network draws in n hands and ``hand`` (N,) says whose, in front of the blocks. With
    ``attention`` it says where the photograph stays: A·x + (1 − A)·C (Pumarola et al. 2018, eq. 1).
    """

    size = SizeRule(multiple_of=4, minimum=16)
    makes = frozenset({"features"})
    can_make: ClassVar = {"attention": "attention=true", "colour": "attention=true"}

    def __init__(
        self,
        width: int = 64,
        blocks: int = 9,
        block: Callable[[int], nn.Module] = ResidualBlock,
        upsample: str = "transposed",
        labels: int = 0,
        attention: bool = False,
    ) -> None:
        super().__init__()
        if width < 1 or blocks < 0:
            raise ValueError("a network has 1 or more channels, and 0 or more blocks")
        if upsample not in ("transposed", "resize"):
            raise ValueError(f"upsample is 'transposed' or 'resize', not {upsample!r}")
        self.stem = nn.Sequential(nn.ReflectionPad2d(3), *_norm(Conv2d(3, width, 7, bias=False)))
        self.down = nn.Sequential(
            *_norm(nn.Conv2d(width, 2 * width, 3, 2, 1, bias=False)),  # (N,2w,H/2,W/2)
            *_norm(nn.Conv2d(2 * width, 4 * width, 3, 2, 1, bias=False)),  # (N,4w,H/4,W/4)
        )
        self.hand = LabelScale(4 * width, labels) if labels else None
        self.body = nn.Sequential(*(block(4 * width) for _ in range(blocks)))
        self.up = nn.Sequential(*_norm(*_up(4 * width, upsample)), *_norm(*_up(2 * width, upsample)))  # (N,w,H,W)
        self.attention = attention
        if attention:
            self.makes |= {"attention", "colour"}
            self.head = nn.Sequential(nn.ReflectionPad2d(3), Conv2d(width, 4, 7))
        else:
            self.head = nn.Sequential(nn.ReflectionPad2d(3), Conv2d(width, 3, 7), nn.Tanh())

    def parts(self, image: Tensor, hand: Tensor | None = None) -> dict[str, Tensor]:
        features = self.down(self.stem(image))  # (N,4w,H/4,W/4)
        features = self.body(features if self.hand is None else self.hand(features, hand))
        made = self.head(self.up(features))
        if not self.attention:
            return {"image": made, "features": features}
        colour, attention = torch.tanh(made[:, :3].float()), torch.sigmoid(made[:, 3:].float())
        mixed = torch.lerp(colour, image.float(), attention)
        return {"image": mixed, "attention": attention, "colour": colour, "features": features}


def _norm(*layers: nn.Module) -> tuple[nn.Module, ...]:
    channels = layers[-1].out_channels
    assert isinstance(channels, int)
    return (*layers, InstanceNorm2d(channels), nn.ReLU(inplace=True))


def _up(channels: int, upsample: str) -> tuple[nn.Module, ...]:
    if upsample == "transposed":
        return (nn.ConvTranspose2d(channels, channels // 2, 3, 2, 1, output_padding=1, bias=False),)
    return nn.Upsample(scale_factor=2), Conv2d(channels, channels // 2, 3, padding=1, bias=False)
