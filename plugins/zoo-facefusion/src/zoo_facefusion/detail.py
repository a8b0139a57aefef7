"""What the network loses of photographs, carried over to their fusion: it gives faces back soft.

Of each face that is the aligned photograph less what the network gives back of it alone. It is moved to where the fusion has
brows, eyes, nose, mouth and jaw, and added by the person's share, as far as fusion and person show the same there: beside long
hair short hair has nothing to give. A fusion that is one person's alone is so the photograph again.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo import faces
from zoo.faces.geometry import exactly, spline
from zoo.faces.parsing import Parsed, parsed_crop
from zoo.pictures.fit import resize, warped
from zoo_facefusion.align import average
from zoo_facefusion.parts import planes_of
from zoo_facefusion.regions import REGIONS, own_maps, region_maps

APART = 0.2
"""Differences of colours, in [-1, 1], of a fusion and what the network gives back of a person, from which that person's detail
would be a ghost: see `zoo.faces.alike`."""


@dataclass(frozen=True, eq=False)
class Portrait:
    """A face, aligned, of a photograph."""

    crop: faces.Crop  # its landmarks are the face's own
    looks: float  # see `zoo_facefusion.align.yaw`
    soft: Tensor | None = None  # (3,S,S) what the network gives back of the crop

    @functools.cached_property
    def seen(self) -> Parsed:
        """What its parts are; looked at once."""
        return parsed_crop(self.crop)


@dataclass(frozen=True, eq=False)
class People:
    """Those whose faces go into a photograph's, and the shares (K,) of all, the photograph's first: ``everywhere``, and by
    region where they are others."""

    others: Sequence[Portrait] = ()
    everywhere: Tensor = field(default_factory=lambda: torch.ones(1))
    regions: Mapping[str, Tensor] = field(default_factory=dict)
    asked: Mapping[str, Any] = field(default_factory=dict)  # what the network is to do, where a region was asked for

    def maps(self, mine: Portrait, side: int) -> Tensor | None:
        """(5,side,side): the regions that all have by what is seen of them, where one was asked for and they are seen well;
        else None, those of an average face."""
        if not self.asked:
            return None
        planes = [planes_of(one.seen, one.crop) for one in (mine, *self.others)]
        return own_maps(torch.stack([F.interpolate(one[None], (side, side), mode="area")[0] for one in planes]))

    def shares(self, side: int, maps: Tensor | None = None) -> Tensor:
        """(K,S,S), 1 in all at every pixel. ``maps`` of regions are those of an average face unless given."""
        shares = self.everywhere[:, None, None].expand(-1, side, side)
        if self.regions:
            maps = region_maps((side, side)) if maps is None else resize(maps, (side, side))
            for name, share in self.regions.items():
                shares = shares + maps[REGIONS.index(name)] * (share - self.everywhere)[:, None, None]
        return shares


ALONE = People()


def meeting(people: Sequence[Portrait], shares: Tensor) -> Tensor:
    """(68,2): the landmarks of a fusion, in shares of its side, each by the shares (K,S,S) there."""
    side = shares.shape[-1]
    x, y = (average() * side).long().clamp(0, side - 1).unbind(1)
    points = torch.stack([one.crop.landmarks / one.crop.image.shape[-1] for one in people])  # (K,68,2)
    return (shares[:, y, x, None] * points).sum(0)


@exactly
def carried(made: Tensor, people: Sequence[Portrait], shares: Tensor, amount: float = 1.0) -> Tensor:
    """The fusion ``made`` (3,S,S) of ``people`` by ``shares`` (K,S,S) with an ``amount`` from 0 to 1 of what the network has
    lost of them."""
    side = made.shape[-1]
    there = meeting(people, shares) * side
    total, weights, surely = torch.zeros_like(made), torch.zeros_like(made[:1]), torch.zeros_like(made[:1])
    for one, share in zip(people, shares):
        assert one.soft is not None
        own = one.crop.landmarks * (side / one.crop.image.shape[-1])
        both = torch.cat([resize(picture, (side, side)) for picture in (one.crop.image, one.soft)])
        image, soft = warped(both[None], spline(there, own - there, side)[None])[0].split(3)
        same = faces.alike(made - soft, APART)
        total += share * same * (image - soft)
        weights += share * same
        surely += share * same.square()
    # as strong as a person's own where one of them has it, and less where nobody surely has
    return (made + amount * total * surely / weights.square().clamp(min=1e-9)).clamp(-1, 1)
