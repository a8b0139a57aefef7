"""Augmentation of training pictures. Every function is driven by the generator it is given and by nothing else."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.recipe import Augment

PLACES = 10
"""How often a place for a crop is drawn at most."""

BLANK = 0.05
"""Standard deviation of colours in [-1, 1] up to which nothing is seen in a crop."""


def frame(pictures: Sequence[Tensor], size: tuple[int, int], augment: Augment, rng: torch.Generator) -> list[Tensor]:
    """Pictures (3,H',W') that show the same thing -> (3,H,W): one random crop, mirror and turn for all of them.

    A place where one of them is blank is not taken, as long as another is found: a norm divides by how much a picture varies, and
    the gradient of nothing is beyond all others."""
    for _ in range(PLACES):
        framed = _framed(pictures, size, augment, rng)
        if all(picture.std() > BLANK for picture in framed):
            break
    return framed


def _framed(pictures: Sequence[Tensor], size: tuple[int, int], augment: Augment, rng: torch.Generator) -> list[Tensor]:
    top, left, mirror, turn = torch.rand(4, generator=rng).tolist()
    framed = []
    for picture in pictures:
        if augment.rotate:
            picture = _turned(picture, (2 * turn - 1) * augment.rotate)
        y, x = round(top * (picture.shape[1] - size[0])), round(left * (picture.shape[2] - size[1]))
        picture = picture[:, y : y + size[0], x : x + size[1]]
        framed.append(picture.flip(2) if augment.flip and mirror < 0.5 else picture)
    return framed


def _turned(picture: Tensor, degrees: float) -> Tensor:
    """Turned about the middle; what comes in from outside is mirrored, so no corner is black."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    ratio = picture.shape[1] / picture.shape[2]
    matrix = torch.tensor([[cos, -sin * ratio, 0.0], [sin / ratio, cos, 0.0]])[None]
    grid = F.affine_grid(matrix, [1, *picture.shape], align_corners=False)
    return F.grid_sample(picture[None], grid, padding_mode="reflection", align_corners=False)[0]


def recolour(photo: Tensor, strength: float, rng: torch.Generator) -> Tensor:
    """Photograph (3,H,W) in [-1,1] with other brightness, contrast, saturation and hue, each within ``strength``."""
    from torchvision.transforms.v2 import functional as TF  # as long to import as torch; whoever draws needs none of it

    brightness, contrast, saturation, hue = (2 * torch.rand(4, generator=rng) - 1).tolist()
    photo = (photo + 1) / 2
    photo = TF.adjust_brightness(photo, 1 + 0.5 * strength * brightness)
    photo = TF.adjust_contrast(photo, 1 + 0.5 * strength * contrast)
    photo = TF.adjust_saturation(photo, 1 + 0.7 * strength * saturation)
    photo = TF.adjust_hue(photo, 0.1 * strength * hue)
    return photo.clamp(0, 1) * 2 - 1


def relight(photo: Tensor, strength: float, rng: torch.Generator) -> Tensor:
    """Photograph (3,H,W) in [-1,1] in other light: brighter or darker as a whole, from one side with a soft or a hard edge,
    and in places. Each pixel gets an exponent, so that black stays black and white behind the sitter white."""
    whole, angle, where, edge, side, places = torch.rand(6, generator=rng).tolist()
    rows, columns = (torch.linspace(-1, 1, size) for size in photo.shape[1:])
    along = math.cos(2 * math.pi * angle) * columns + math.sin(2 * math.pi * angle) * rows[:, None]
    lamp = torch.tanh(1.5 * 12**edge * (along + (2 * where - 1) / 3))
    cells = F.interpolate(torch.randn(1, 1, 4, 4, generator=rng), photo.shape[1:], mode="bicubic", align_corners=True)[
        0, 0
    ]
    stops = 0.6 * (2 * whole - 1) + (2 * side - 1) * lamp + 0.4 * places * cells
    return _by_exponent(photo, strength * stops)


def other_sitter(photo: Tensor, skin: Tensor, eyes: Tensor, strength: float, rng: torch.Generator) -> Tensor:
    """Photograph (3,H,W) in [-1,1] of someone whose skin is as dark as anybody's, and whose eyes are as dark or lighter;
    ``skin`` and ``eyes`` (1,H,W) from 0 to 1 say where they are."""
    wanted, lighter = torch.rand(2, generator=rng).tolist()
    level = float((((photo + 1) / 2).mean(0) * skin).sum() / skin.sum().clamp(min=1))
    if not 0 < level < 1:
        return photo  # nobody is seen
    stops = math.log2(math.log(0.15 + 0.6 * wanted) / math.log(min(max(level, 0.05), 0.95)))
    return _by_exponent(photo, strength * (min(max(stops, -1.5), 2.0) * skin - 0.7 * lighter * eyes))


def _by_exponent(photo: Tensor, stops: Tensor) -> Tensor:
    """Each pixel's light to the power of 2^stops (…,H,W), its colour as it was."""
    photo = (photo + 1) / 2
    level = photo.mean(0, keepdim=True).clamp(min=0.02)
    return (photo * level.pow(2**stops - 1)).clamp(0, 1) * 2 - 1


def backdrop(photo: Tensor, tolerance: float = 0.22) -> Tensor:
    """Where the plain backdrop of photograph (3,H,W) is: (1,H,W) in {0,1}; all 0 where it is not plain.

    The colour is the median along the upper border; the backdrop is what is near that colour and hangs together
    with the border.
    """
    height = photo.shape[1]
    border = torch.cat([photo[:, 0], photo[:, : height // 4, 0], photo[:, : height // 4, -1]], dim=1)  # (3,n)
    colour = border.median(1).values[:, None, None]
    near = ((photo - colour).abs().amax(0, keepdim=True) < 2 * tolerance).float()  # (1,H,W)
    if ((border - colour[:, 0]).abs().amax(0) < 2 * tolerance).float().mean() < 0.6:
        return torch.zeros_like(near)
    mask = torch.zeros_like(near)
    mask[:, 0], mask[:, : height // 2, 0], mask[:, : height // 2, -1] = 1, 1, 1
    mask = mask * near
    while True:  # grows from the border until nothing is added
        grown = mask
        for _ in range(8):
            grown = F.max_pool2d(grown, 3, 1, 1) * near
        if torch.equal(grown, mask):
            return mask
        mask = grown


def new_backdrop(photo: Tensor, mask: Tensor, rng: torch.Generator) -> Tensor:
    """Another backdrop behind photograph (3,H,W) where ``mask`` (1,H,W), from 0 to 1, is: a colour, a gradient, stripes, blurred things,
    and half of the time a wall, nearly even and nearly grey, more often light than dark.

    Two layers of random cells, each somewhere between black and white and between flat and gaudy. The mask is
    widened by two pixels, or the old backdrop would show as a fringe around the hair.
    """
    paint = torch.zeros_like(photo)
    if torch.rand((), generator=rng) < 0.5:
        level, tint = 2 * torch.rand(1, generator=rng).sqrt() - 1, torch.randn(3, 1, 1, generator=rng)
        places = torch.randn(1, 1, 2, 2, generator=rng)
        light = F.interpolate(places, photo.shape[1:], mode="bilinear", align_corners=True)[0]
        paint = paint + level + 0.05 * tint + 0.08 * light
    else:
        for cells in ((1, 2, 3), (1, 3, 6, 12, 24)):
            rows, columns = (cells[int(torch.randint(len(cells), (), generator=rng))] for _ in range(2))
            layer = torch.rand(1, 3, rows, columns, generator=rng) * 2 - 1
            layer = F.interpolate(layer, photo.shape[1:], mode="bilinear", align_corners=False)[0]
            level, contrast = (torch.rand(2, generator=rng) * 2 - 1).tolist()
            paint = paint + level + abs(contrast) * layer
    wide = F.max_pool2d(mask, 5, 1, 2)
    soft = F.avg_pool2d(F.pad(wide, (1, 1, 1, 1), mode="replicate"), 3, 1)
    return photo * (1 - soft) + paint.clamp(-1, 1) * soft
