"""Does a fusion give back both faces, lead evenly from one to the other, and do its elements do something: in numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import fmean
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo import faces
from zoo_facefusion.networks import FusionGenerator
from zoo_facefusion.parts import PARTS
from zoo_facefusion.regions import GROWN, OWN, REGIONS, region_maps

STEPS = 6
"""Pictures of a path: Λ = 1, 0.8 … 0 (figure 4)."""

DEAD = 0.2
"""An element that moves the picture by less than this part of an equal share does nothing."""


@dataclass
class Elements:
    """How far each element moves the picture when its λ goes from 1 to 0, the others staying at 1.

    In equal shares: a fraction 1 / E of the mean absolute difference of Λ = 1 and Λ = 0. Where elements are parts of the face,
    each is looked at in its own part, and may go all the way there."""

    moved: list[list[float]] = field(default_factory=list)  # by pair

    def add(self, generator: FusionGenerator, latents: list[Tensor], ends: tuple[Tensor, Tensor]) -> list[Tensor]:
        """Pairs of faces by their latents (N,C,h,w), and the pictures (N,3,H,W) of Λ = 1 and 0 -> the pictures (N,3,H,W)
        in which one element after the other is the second face's."""
        count, whole = generator.elements, (ends[0] - ends[1]).abs().mean(1)  # (N,H,W)
        parts = generator.by_parts
        maps = dict(zip(REGIONS, region_maps((whole.shape[1], whole.shape[2]), close=True).to(whole)))
        pictures, changes = [], []
        for one in range(count):
            mix = torch.ones(len(whole), count, device=whole.device)
            mix[:, one] = 0
            made = generator.decode(generator.fuse(latents, generator.shares(mix, None, 1)))
            pictures.append(made)
            where = maps[generator.names[one]] if parts else torch.ones_like(whole[0])
            change = (made - ends[0]).abs().mean(1)
            changes.append(
                (where * change).sum((1, 2)) / (where * whole).sum((1, 2)).clamp(min=1e-6) * (1 if parts else count)
            )
        self.moved += torch.stack(changes, 1).tolist()
        return pictures

    def facts(self) -> dict[str, Any]:
        means = [fmean(column) for column in zip(*self.moved)]
        return {"moved": means, "least": min(means), "dead": fmean(float(mean < DEAD) for mean in means)}


def alone(generator: FusionGenerator, images: Tensor) -> Tensor:
    """(2 + E, N, 3, H, W): the pictures of Λ = 1, of 0, and those in which one element after the other is the second face's.
    The pairs are each of the faces (N,3,H,W) and the one after it."""
    latents = generator.encode(images)
    pair = [latents, latents.roll(-1, 0)]
    ends = generator.decode(pair[0]), generator.decode(pair[1])
    return torch.stack([*ends, *Elements().add(generator, pair, ends)])


def profiles(drawn: Tensor, planes: Tensor) -> Tensor:
    """(N,E,P): of the change that each element makes in pictures ``drawn`` by `alone`, the share that falls into each part.

    ``planes`` (N,P,H,W) are the faces' parts. A pixel counts half as what it is in either face: hair that comes before a
    wall is hair as much as wall."""
    changes = (drawn[2:] - drawn[0]).abs().mean(2)
    falls = torch.einsum("enhw,nphw->nep", changes, (planes + planes.roll(-1, 0)) / 2)
    return falls / falls.sum(2, keepdim=True).clamp(min=1e-6)


def stays(drawn: Tensor, planes: Tensor, names: Sequence[str]) -> dict[str, list[float]]:
    """Of the change that each element makes which is called as a region, the share that falls into that of either face, and
    into it and `GROWN` around it; see `profiles`."""
    parts, found = list(PARTS), {}
    reach = round(GROWN * drawn.shape[-1])
    for name, change in zip(names, (drawn[2:] - drawn[0]).abs().mean(2)):
        if name not in REGIONS:
            continue
        own = OWN.get(name, ("skin", "nose"))
        plane = planes[:, [parts.index(part) for part in own]].sum(1)
        either = torch.maximum(plane, plane.roll(-1, 0)).clamp(max=1)
        grown = F.max_pool2d(either[:, None], 2 * reach + 1, 1, reach)[:, 0]
        whole = change.sum((1, 2)).clamp(min=1e-6)
        found[name] = [float(((change * where).sum((1, 2)) / whole).mean()) for where in (either, grown)]
    return found


def followed(drawn: Tensor) -> dict[str, list[float]]:
    """How far landmarks and colours go to the second face's when one element after the other is, in pictures ``drawn`` by
    `alone`: 1 all the way, 0 not at all; {} where no face is found in them.

    Colours are the mean and the deviation of red, green and blue. The way is the least-squares share of the difference
    between Λ = 1 and 0 of all pairs."""
    colours = torch.cat([drawn.mean((3, 4)), drawn.std((3, 4))], 2)
    found = [[faces.find(one, thorough=False) for one in column] for column in drawn.transpose(0, 1).cpu()]
    shapes = [torch.stack([one[0].landmarks.flatten() for one in column]) for column in found if all(column)]
    if not shapes:
        return {}
    return {"shape": _way(torch.stack(shapes, 1)), "colours": _way(colours)}


def _way(facts: Tensor) -> list[float]:
    """Facts (2 + E, N, F) of Λ = 1, of 0 and of each element alone -> its share of the way."""
    whole = facts[1] - facts[0]
    return [float(((one - facts[0]) * whole).sum() / whole.square().sum().clamp(min=1e-9)) for one in facts[2:]]


def likeness(profile: Tensor) -> float:
    """The largest cosine between the profiles of two elements (E,P); 0 for one element alone."""
    each = F.normalize(profile, dim=1)
    return float((each @ each.T).fill_diagonal_(0).max())


def path(generator: FusionGenerator, latents: list[Tensor]) -> Iterator[Tensor]:
    """The pictures (N,3,H,W) of Λ = 1 … 0 in `STEPS`."""
    for share in torch.linspace(1, 0, STEPS).tolist():
        mix = latents[0].new_full((len(latents[0]), 1), share)
        yield generator.decode(generator.fuse(latents, generator.shares(mix, None, 1)))


def unevenness(frames: list[Tensor]) -> list[float]:
    """For each pair the largest over the mean step between neighbouring frames (N,3,H,W): 1 where all are alike."""
    steps = torch.stack([(one - other).abs().mean((1, 2, 3)) for one, other in pairwise(frames)])
    return (steps.amax(0) / steps.mean(0).clamp(min=1e-6)).tolist()
