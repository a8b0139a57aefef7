"""Pictures that a step could hold: what the target domain looks like, and what becomes of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.catalogue.registry import registry
from zoo.errors import UsageError
from zoo.generator import Generator, generator_of
from zoo.provider import Provider
from zoo.train.data import mixed
from zoo.trainer import Trainer
from zoo.weights.file import read_header
from zoo.weights.sources import locate

SHIFT, TURN, SCALE = 0.06, 0.06, 0.05
"""How far a picture is moved at most, in shares of its sides, turned, in radians, and made larger or smaller."""


class Target(Provider):
    """``target`` where photographs are all there is: results shall look like these."""

    needs = frozenset({"source"})

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        return step["source"]


class Identity(Provider):
    """``identity``: what the generator makes of a picture that is as results shall be."""

    needs = frozenset({"target"})

    @classmethod
    def misfit(cls, trainer: type[Trainer], phase: str) -> str:
        if trainer.teaches != "image":
            return "the trainer makes no pictures"
        return "" if trainer.exported in trainer.phases[phase] else "it is of the generator's phase"

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        return _made(self.trainer.networks[self.trainer.exported], step["target"], step, self.trainer)


class Steadied(Provider):
    """``steadied``: what the generator makes of the source, brought back, where the source is moved, turned and scaled by a little,
    and mirrored every second time; pixel by pixel the middle of ``views`` of them. No gradient goes through it.

    A line for which the photograph gives a reason is where it was in all of them. One that is there because a critic wants some is
    in none of two at the same place. ``teacher`` is the weights file of a generator, or a model's name, that is asked, and stays as it
    is; else it is the one that learns."""

    needs = frozenset({"source", "seed"})

    def __init__(self, views: int = 4, teacher: str | None = None) -> None:
        super().__init__()
        if views < 1:
            raise ValueError("views is 1 or more")
        self.views = views
        self.teacher = _generator(teacher).eval().requires_grad_(False) if teacher else None

    @classmethod
    def misfit(cls, trainer: type[Trainer], phase: str) -> str:
        if trainer.teaches != "image":
            return "the trainer makes no pictures"
        if trainer.gives - {"hand"}:
            return "its generator takes more than a picture"
        return "" if trainer.exported in trainer.phases[phase] else "it is of the generator's phase"

    @torch.no_grad()
    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        source = step["source"]
        asked = self.teacher or self.trainer.networks[self.trainer.exported]
        ratio, made = source.shape[2] / source.shape[3], []
        for view in range(self.views):
            moves = [move(mixed(int(seed), 110 + view), ratio, mirrored=view % 2 == 1) for seed in step["seed"]]
            there = torch.stack(moves)
            moved = seen_through(source.float(), there).clamp(-1, 1).to(source)
            drawn = _made(asked, moved, step, self.trainer)
            made.append(seen_through(drawn.float(), torch.linalg.inv(there)))
        ordered = torch.stack(made).sort(0).values
        return ordered[(self.views - 1) // 2 : self.views // 2 + 1].mean(0).clamp(-1, 1)


def _generator(teacher: str) -> Generator:
    """Of a weights file, or of a model by its name. NotFoundError; UsageError for another network's."""
    path = Path(teacher)
    if not path.suffix and not path.exists():
        path = locate(*registry().card(teacher))
    if "generator" not in read_header(path).network:
        raise UsageError(f"{teacher} makes no pictures", "give a model that does, or its weights file")
    return generator_of(path)


def _made(network: nn.Module, pictures: Tensor, step: Mapping[str, Tensor], trainer: Trainer) -> Tensor:
    """What a network makes of pictures, in the step's hands where there are any."""
    return trainer.draw(network, pictures, step["hand"] if "hand" in step else pictures.new_zeros(len(pictures)).long())


def move(seed: int, ratio: float, mirrored: bool) -> Tensor:
    """(3,3): a move by chance of points from -1 to 1 across a picture, ``ratio`` times as high as wide, and down."""
    rng = torch.Generator().manual_seed(seed)
    right, down, turn, scale = (2 * torch.rand(4, generator=rng) - 1).tolist()
    cosine, sine = (f(TURN * turn) * (1 + SCALE * scale) for f in (math.cos, math.sin))
    side = -1 if mirrored else 1
    across = [side * cosine, -sine * ratio, 2 * SHIFT * right]
    return torch.tensor([across, [side * sine / ratio, cosine, 2 * SHIFT * down], [0, 0, 1]])


def seen_through(picture: Tensor, there: Tensor) -> Tensor:
    """Pictures (N,C,H,W) whose points are taken from where ``there`` (N,3,3) moves them, mirrored at their sides."""
    grid = F.affine_grid(there[:, :2].to(picture), list(picture.shape), align_corners=False)
    return F.grid_sample(picture, grid, "bicubic", "reflection", align_corners=False)
