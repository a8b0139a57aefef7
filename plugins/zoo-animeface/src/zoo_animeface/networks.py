"""Generators and discriminator of CartoonGAN and AnimeGAN (thesis, figures 5.1 and 5.2; Chen et al. 2018, figure 2).

N batch, H and W size, w width. Deviation: convolutions in front of an instance norm have no bias, since the norm takes
it away again.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from zoo.blocks.conv import Conv2d
from zoo.blocks.norm import InstanceNorm2d
from zoo.blocks.residual import ResidualBlock
from zoo.generator import Generator, SizeRule


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


class FineCartoonGenerator(CartoonGenerator):
    """Photograph (N,3,H,W) in [-1,1] -> cartoon of the same form: drawn in half its size, then redrawn in full.

    Coarse to fine, as pix2pixHD (Wang et al. 2018, section 3.1), but ``redrawn`` sees the small picture alone, so that it can be
    taught by drawings that are made small (`RedrawLoss`), and where a drawing's lines are comes from one network. It begins
    as the small picture enlarged; its ``redraw_blocks`` have no norm, which would take the picture's contrast away (Lim
    et al. 2017, EDSR). The other options are those of `CartoonGenerator`, whose weights fit.
    """

    size = SizeRule(multiple_of=8, minimum=32)
    makes = frozenset({"coarse"})

    def __init__(
        self,
        width: int = 64,
        blocks: int = 8,
        block: Callable[[int], nn.Module] = ResidualBlock,
        upsample: str = "transposed",
        redraw_width: int = 48,
        redraw_blocks: int = 4,
    ) -> None:
        super().__init__(width, blocks, block, upsample)
        if redraw_width < 2 or redraw_blocks < 0:
            raise ValueError("redraw_width is 2 or more, redraw_blocks 0 or more")
        self.look = nn.Sequential(Conv2d(3, redraw_width, 3, padding=1), nn.LeakyReLU(0.2))
        self.redraw = nn.Sequential(*(_Plain(redraw_width) for _ in range(redraw_blocks)))
        half = redraw_width // 2
        self.sharpen = nn.Sequential(
            Conv2d(redraw_width, half, 3, padding=1),
            nn.Upsample(scale_factor=2),
            *(Conv2d(half, half, 3, padding=1), nn.LeakyReLU(0.2)),
            Conv2d(half, 3, 3, padding=1),
        )

    def parts(self, image: Tensor) -> dict[str, Tensor]:
        coarse = super().parts(F.avg_pool2d(image, 2))["image"]
        return {"image": self.redrawn(coarse), "coarse": coarse}

    def redrawn(self, coarse: Tensor) -> Tensor:
        """A picture (N,3,h,w) in [-1,1] in twice its size."""
        features = self.look(coarse)
        change = self.sharpen(features + self.redraw(features))
        return (F.interpolate(coarse, scale_factor=2, mode="bilinear") + change).clamp(-1, 1)


class _Plain(nn.Module):
    """A residual block without norms, (N,C,H,W) -> (N,C,H,W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            Conv2d(channels, channels, 3, padding=1),
            nn.LeakyReLU(0.2),
            Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x)


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
