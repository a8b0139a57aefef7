"""What the network loses of photographs, carried over to their fusion: it gives faces back soft.

Of each face that is the photograph less what the network gives back of it alone. Both are moved into the shape of the fusion,
and their difference is added by the person's share, as far as fusion and person show the same there: beside long hair short
hair has nothing to give. A fusion that is one person's alone is so the photograph again.
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
from zoo_facefusion.align import shape_free, shaped
from zoo_facefusion.parts import planes_of
from zoo_facefusion.regions import REGIONS, own_maps, region_maps

LANDMARKS = {
    "skin": [*range(17)],
    "eyes": [*range(17, 27), *range(36, 48)],
    "nose": [*range(27, 36)],
    "mouth": [*range(48, 68)],
}
"""Whose shape goes with which region; the jaw is the skin's."""

APART = 0.2
"""Differences of colours, in [-1, 1], of a fusion and what the network gives back of a person, from which that person's detail
would be a ghost: see `zoo.faces.alike`."""


@dataclass(frozen=True, eq=False)
class Portrait:
    """A face of a photograph."""

    crop: faces.Crop  # in its own shape: `zoo_facefusion.align.square`
    even: Tensor  # (3,S,S) shape-free
    looks: float  # see `zoo_facefusion.align.yaw`
    soft: Tensor | None = None  # (3,S,S) what the network gives back of the shape-free face

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
    shape: Tensor | None = None  # of all landmarks, else those of their regions
    close: bool = False  # are regions eyes, nose and mouth alone, see `region_maps`
    asked: Mapping[str, Any] = field(default_factory=dict)  # what the network is to do, where it needs maps of regions

    def maps(self, mine: Portrait, side: int) -> Tensor | None:
        """(5,side,side): the regions that all have by what is seen of them, where one was asked for and they are seen well;
        else None, those of an average face."""
        if not self.asked:
            return None
        everyone = (mine, *self.others)
        planes = [shape_free(planes_of(one.seen, one.crop), one.crop.landmarks) for one in everyone]
        return own_maps(torch.stack([F.interpolate(one[None], (side, side), mode="area")[0] for one in planes]))

    def shares(self, side: int, maps: Tensor | None = None) -> Tensor:
        """(K,S,S), 1 in all at every pixel. ``maps`` of regions are those of an average face unless given."""
        shares = self.everywhere[:, None, None].expand(-1, side, side)
        if self.regions:
            maps = region_maps((side, side), self.close) if maps is None else resize(maps, (side, side))
            for name, share in self.regions.items():
                shares = shares + maps[REGIONS.index(name)] * (share - self.everywhere)[:, None, None]
        return shares

    def points(self, mine: Portrait) -> Tensor:
        """(68,2): the landmarks of the fusion, in shares of the side: each part has the shape of those whose it is."""
        own = torch.stack([one.crop.landmarks / one.crop.image.shape[-1] for one in (mine, *self.others)])  # (K,68,2)
        shares = (self.everywhere if self.shape is None else self.shape)[:, None].repeat(1, own.shape[1])
        for name, which in LANDMARKS.items() if self.shape is None else ():
            if name in self.regions:
                shares[:, which] = self.regions[name][:, None]
        return (shares[..., None] * own).sum(0)


ALONE = People()


@exactly
def carried(made: Tensor, points: Tensor, people: Sequence[Portrait], shares: Tensor, amount: float = 1.0) -> Tensor:
    """The shape-free fusion ``made`` (3,S,S) of ``people`` by ``shares`` (K,S,S), in the shape of ``points`` (68,2) in pixels of
    S, with an ``amount`` from 0 to 1 of what the network has lost of their photographs."""
    side = made.shape[-1]
    there = shaped(torch.cat([made, shares]), points)
    made, shares = there[:3], there[3:]
    if not amount:
        return made.clamp(-1, 1)
    total, weights, surely = torch.zeros_like(made), torch.zeros_like(made[:1]), torch.zeros_like(made[:1])
    for one, share in zip(people, shares):
        assert one.soft is not None
        own = one.crop.landmarks * (side / one.crop.image.shape[-1])
        image = warped(resize(one.crop.image, (side, side))[None], spline(points, own - points, side)[None])[0]
        soft = shaped(resize(one.soft, (side, side)), points)
        same = faces.alike(made - soft, APART)
        total += share * same * (image - soft)
        weights += share * same
        surely += share * same.square()
    # as strong as a person's own where one of them has it, and less where nobody surely has
    return (made + amount * total * surely / weights.square().clamp(min=1e-9)).clamp(-1, 1)
