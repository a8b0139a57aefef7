"""What of a photograph is skin, eyes, nose, mouth, hair, clothes or background: a small network that looks at a face."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.catalogue.registry import registry
from zoo.faces.crops import Crop, Frame, crop, spread
from zoo.faces.detect import Face
from zoo.faces.geometry import averaged, exactly
from zoo.weights.file import load_weights
from zoo.weights.sources import locate

CARD = "face-parts"

PARTS = (
    "background", "skin", "nose", "glasses", "eyes", "brows", "mouth", "ears", "hair", "hat", "neck", "clothes",
)  # fmt: skip
"""In the order of the network's planes. Lips are part of the mouth, jewellery of what it hangs on."""

FRAME = Frame(2.2, 0.6)
"""Where the face lies in what the network sees."""

SIDE = 128
"""Pixels of that square's side."""

FINE = 256
"""Pixels of its side in which it is cut out."""


class Convolution(nn.Sequential):
    """3×3, norm, ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
        )


class FaceParser(nn.Module):
    """A U-Net (Ronneberger et al. 2015) from half of the picture's size down to a 32nd.

    (N, 3, H, W) in [-1, 1], H and W multiples of 32 -> logits (N, len(PARTS), H, W)."""

    def __init__(self, widths: tuple[int, ...] = (24, 40, 72, 112, 128)) -> None:
        super().__init__()
        self.stem = Convolution(3, widths[0], 2)
        self.down = nn.ModuleList(
            nn.Sequential(Convolution(before, after, 1 + (level > 0)), Convolution(after, after))
            for level, (before, after) in enumerate(zip((widths[0], *widths), widths))
        )
        self.up = nn.ModuleList(Convolution(deep + flat, flat) for flat, deep in reversed([*pairwise(widths)]))
        self.last = nn.Conv2d(widths[0], len(PARTS), 1)

    def forward(self, image: Tensor) -> Tensor:
        features = [self.stem(image)]
        for level in self.down:
            features.append(level(features[-1]))
        x = features.pop()
        for level in self.up:
            flat = features.pop()
            x = level(torch.cat([F.interpolate(x, flat.shape[-2:], mode="bilinear"), flat], 1))
        return F.interpolate(self.last(x), image.shape[-2:], mode="bilinear")


@dataclass(frozen=True, eq=False)
class Parsed:
    """A face of a picture, and what its parts are."""

    crop: Crop
    planes: Tensor  # (len(PARTS), FINE, FINE): how likely each pixel of the crop is which part

    def of(self, *parts: str) -> Tensor:
        """(FINE, FINE) from 0 to 1: what of the crop belongs to one of ``parts``."""
        return self.planes[[PARTS.index(part) for part in parts]].sum(0)

    def over(self, picture: Tensor, matrix: Tensor, *parts: str, outside: float) -> Tensor:
        """(h, w): the same over a picture (3, h, w); ``matrix`` (2, 3) leads from the crop's pixels to its. ``outside`` is what
        it is where the crop does not reach."""
        crop = replace(self.crop, matrix=matrix)
        found = torch.full(picture.shape[-2:], outside, dtype=torch.float32)
        where, planes = spread(picture, crop, self.of(*parts)[None])
        if planes.numel():
            rows, columns = (torch.arange(n) + one.start + 0.5 for one, n in zip(where[1:], planes.shape[1:]))
            linear = torch.linalg.inv(matrix[:, :2])
            x, y = columns - matrix[0, 2], rows[:, None] - matrix[1, 2]
            across, down = (linear[i, 0] * x + linear[i, 1] * y for i in (0, 1))
            within = (torch.minimum(across, down) >= 0) & (torch.maximum(across, down) <= crop.image.shape[-1])
            found[where[1:]] = torch.where(within, planes[0].clamp(0, 1), outside)
        return found


@torch.no_grad()
@exactly
def parsed(image: Tensor, face: Face) -> Parsed:
    """What the parts of a ``face`` of a picture (3, H, W) in [-1, 1] are, and of what is around it."""
    fine = crop(image, face, FINE, FRAME)
    seen = F.interpolate(fine.image[None], (SIDE, SIDE), mode="area")
    return Parsed(fine, F.interpolate(likely_parts(seen), (FINE, FINE), mode="bilinear")[0])


def likely_parts(seen: Tensor) -> Tensor:
    """How likely the pixels of faces (N, 3, H, W) in [-1, 1] that were cut out are which part, (N, len(PARTS), H, W): the mean of
    what the network sees in them and in their mirror images. H and W are multiples of 32, `SIDE` as it has learned."""
    parser = network(seen.device)
    return (parser(seen).softmax(1) + parser(seen.flip(-1)).softmax(1).flip(-1)) / 2


def parsed_crop(crop: Crop) -> Parsed:
    """What the parts of the face are that was cut out: of the crop's own image."""
    left, top = crop.landmarks.amin(0).tolist()
    right, bottom = crop.landmarks.amax(0).tolist()
    return parsed(crop.image, Face((left, top, right, bottom), crop.landmarks))


def network(device: torch.device | str = "cpu") -> FaceParser:
    """The trained network, in fp32, on this device."""
    return _network(str(torch.device(device)))


@functools.cache
def _network(device: str) -> FaceParser:  # one for each: to move what is shared would take it away from the others
    parser = FaceParser()
    load_weights(locate(registry().card(CARD)[0]), parser)
    return parser.to(device).eval().requires_grad_(False)


def guided(image: Tensor, mask: Tensor, radius: int, even: float) -> tuple[Tensor, Tensor]:
    """(3, S, S) and (1, S, S): around each pixel of a picture (3, S, S), the line of its colours that ``mask`` (S, S) is
    nearest to, ``slope`` · colour + ``offset`` (He et al. 2013, Guided Image Filtering, eq. 14 to 16). Where colours differ
    by less than the root of ``even`` the mask is only smoothed."""
    mean = partial(averaged, radius=radius)
    colours, level = mean(image), mean(mask[None])
    products = mean((image[:, None] * image[None]).flatten(0, 1)).view(3, 3, *mask.shape)
    spread_of = products - colours[:, None] * colours[None] + even * torch.eye(3)[..., None, None]
    with_mask = mean(image * mask) - colours * level
    slope = torch.linalg.solve(spread_of.permute(2, 3, 0, 1), with_mask.permute(1, 2, 0)).permute(2, 0, 1)
    return mean(slope), mean(level - (slope * colours).sum(0, keepdim=True))
