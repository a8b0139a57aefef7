"""The Deep Alignment Network: 40 points of a drawn face (thesis, section 2.7; Kowalski et al., CVPRW 2017)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.catalogue.registry import registry
from zoo.errors import NotFoundError, UsageError
from zoo.generator import Generator, SizeRule, generator_of
from zoo.weights.file import read_header
from zoo.weights.sources import locate
from zoo_animeface.edges import luma
from zoo_animeface.geometry import similarity
from zoo_animeface.points import FRONTAL, NAMES, SIDE
from zoo_animeface.sheet import drawn

MODEL = "dan-anime"
"""The card whose weights are taken where none are named."""


Block = Callable[[int], nn.Module]


class Stage(nn.Module):
    """Table 2.1: what a stage sees (N,C,S,S) -> features (N,hidden) of fc1 and the change ΔS (N,40,2), in shares."""

    def __init__(
        self, channels: int, width: int, size: int, hidden: int, dropout: float, block: Block | None = None
    ) -> None:
        super().__init__()
        widths = [width, 2 * width, 4 * width, 8 * width]
        layers: list[nn.Module] = []
        for before, after in zip([channels, *widths], widths):
            convolutions = [*_convolution(before, after), *_convolution(after, after)]
            layers += [*convolutions, *([block(after)] if block else []), nn.MaxPool2d(2)]
        self.body = nn.Sequential(*layers)
        self.dropout = nn.Dropout(dropout)
        self.fc1 = nn.Linear(widths[-1] * (size // 16) ** 2, hidden)
        self.fc2 = nn.Linear(hidden, 2 * len(NAMES))
        nn.init.normal_(self.fc2.weight, 0.0, 1e-2)  # begins at the shape that it is given
        nn.init.zeros_(self.fc2.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = x.contiguous(memory_format=torch.channels_last)  # nearly twice as fast, on a CPU too
        x = self.body(x).flatten(1)  # (N, 8·width·(S/16)²)
        features = F.relu(self.fc1(self.dropout(x)))
        pixels = self.fc2(features).float()  # of the thesis's pictures: a layer's numbers are about 1
        return features, pixels.view(-1, len(NAMES), 2) / SIDE


class Dan(Generator):
    """Picture of a drawn face (N,3,H,W) in [-1,1] -> 40 points, stage by stage; ``image`` shows them.

    The face fills the picture as far as it did in the training. ``width``: channels of the first convolutions;
    ``stages``; ``size``: pixels along a side that the network sees; ``hidden``: units of fc1; ``dropout`` in front of
    it; ``features``: pixels along a side of the feature image; ``block(channels)``: what stands in front of each pooling,
    nothing in the paper.

    Unlike the thesis's program, all of it is differentiable by the picture: transforms, warps and heat maps.
    """

    size = SizeRule(minimum=16)
    makes = frozenset({"found_points"})
    learns: ClassVar = "points"
    mean_shape: Tensor

    def __init__(
        self,
        width: int = 64,
        stages: int = 2,
        size: int = SIDE,
        hidden: int = 256,
        dropout: float = 0.5,
        features: int = 56,
        block: Block | None = None,
    ) -> None:
        super().__init__()
        if min(width, stages, hidden, features) < 1 or size < 16 or size % 16 or not 0 <= dropout < 1:
            raise ValueError(
                "width, stages, hidden and features are from 1 on, size is a multiple of 16, dropout from 0 to below 1"
            )
        self.seen = size
        self.features = features
        self.stages = nn.ModuleList(
            Stage(1 if i == 0 else 3, width, size, hidden, dropout, block) for i in range(stages)
        )
        self.images = nn.ModuleList(nn.Linear(hidden, features**2) for _ in range(stages - 1))
        self.register_buffer("mean_shape", torch.tensor(FRONTAL))

    def parts(self, image: Tensor, *_: Any) -> dict[str, Tensor]:
        found = self.points(image)
        return {"image": drawn(image, found), "found_points": found}

    def points(self, image: Tensor) -> Tensor:
        """(N,3,H,W) in [-1,1] -> the shape (N,40,2), in shares of the picture's sides."""
        return self.shapes(image)[-1]

    def shapes(self, image: Tensor, frozen: int = 0, last: int | None = None) -> list[Tensor]:
        """The shapes S_1, S_2 … (N,40,2) after each of the stages up to ``last``; the first ``frozen`` of them run
        without gradients."""
        grey = self.standardised(image)
        shape, features = self.mean_shape.float().expand(image.shape[0], -1, -1), None
        found = []
        for i in range(len(self.stages) if last is None else last):
            with torch.set_grad_enabled(torch.is_grad_enabled() and i >= frozen):
                shape, features = self._stage(i, grey, shape, features)
            found.append(shape)
        return found

    def standardised(self, image: Tensor) -> Tensor:
        """(N,3,H,W) -> grey (N,1,S,S) as the stages see it, mean 0 and deviation 1 in each picture."""
        grey = luma(image.float())
        grey = F.interpolate(grey, (self.seen, self.seen), mode="bilinear", align_corners=False, antialias=True)
        centred = grey - grey.mean((2, 3), keepdim=True)
        return centred / (centred.square().mean((2, 3), keepdim=True) + 1e-3).sqrt()

    def _stage(self, i: int, grey: Tensor, shape: Tensor, features: Tensor | None) -> tuple[Tensor, Tensor]:
        """Equation 2.12: S_t = T⁻¹(T(S_{t-1}) + ΔS_t), and what fc1 found."""
        if features is None:  # at S_0, which T leaves where it is
            features, change = self.stages[i](grey)
            return shape + change, features
        image = F.relu(self.images[i - 1](features)).view(-1, 1, self.features, self.features)
        with torch.autocast(grey.device.type, enabled=False):
            to_mean = similarity(shape, self.mean_shape.float())
            normal = to_mean(shape)
            image = F.interpolate(image.float(), grey.shape[2:], mode="bilinear", align_corners=False)
            seen = torch.cat([to_mean.warped(grey), heat_map(normal, self.seen), image], 1)  # (N,3,S,S)
        features, change = self.stages[i](seen)
        with torch.autocast(grey.device.type, enabled=False):
            return to_mean.back(normal + change), features


def heat_map(shape: Tensor, side: int) -> Tensor:
    """Equation 2.13: 1 / (1 + distance to the nearest point), in the thesis's pixels: (N,K,2) -> (N,1,side,side)."""
    middles = (torch.arange(side, device=shape.device) + 0.5) / side
    x, y = ((middles - shape[..., i, None]) * SIDE for i in (0, 1))  # (N,K,side)
    square = (x.square()[:, :, None] + y.square()[..., None]).amin(1, keepdim=True)
    return 1 / (1 + (square + 1e-6).sqrt())  # the gradient of a bare root is infinite at 0


def load_dan(weights: str | Path | None = None) -> Dan:
    """The network of a weights file, or of the model dan-anime: ready to look, its weights without gradients.

    NotFoundError without weights; UsageError for a file of another network."""
    if weights is None:
        try:
            weights = locate(*registry().card(MODEL))
        except NotFoundError as error:
            hint = f"zoo train {MODEL}-small, then zoo pack, and give the file: dan=FILE"
            raise NotFoundError(f"there are no weights of {MODEL} yet: {error.message}", hint) from error
    path = Path(weights)
    dan = generator_of(path) if read_header(path).network else None
    if not isinstance(dan, Dan):
        raise UsageError(f"{path} is not a landmark detector", f"give weights of {MODEL}")
    return dan.eval().requires_grad_(False)


def _convolution(before: int, after: int) -> list[nn.Module]:
    return [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
