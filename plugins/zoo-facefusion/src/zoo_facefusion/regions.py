"""Where eyes, nose, mouth, hair and skin lie in aligned faces: what is mixed apart (Suzuki et al. 2018)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.faces.geometry import averaged
from zoo_facefusion.align import average
from zoo_facefusion.parts import PARTS

REGIONS = ("eyes", "nose", "mouth", "hair", "skin")
"""Eyes have their brows with them, hair all that is around the face; skin is what is left of it, with the forehead."""

GROWN = 0.03
"""Shares of the side by which eyes, nose and mouth reach beyond the average landmarks: those of faces differ."""

SOFT = 0.07
"""Shares of the side over which a region fades out."""


CLOSE, CLOSE_SOFT = 0.0, 0.02
"""The same where faces are shape-free."""

CELLS = 8
"""Along a side, in which places of a latent are told apart."""

LITTLE = 0.08
"""Share of a cell below which a part has nothing there."""

OWN = {"eyes": ("eyes", "brows"), "nose": ("nose",), "mouth": ("mouth",), "hair": ("hair", "clothes", "backdrop")}
"""Of `zoo_facefusion.parts.PARTS`; skin is the rest."""

SEEN = 0.1
"""How large eyes, nose and mouth have to be at least, as shares of an average face's regions, which are larger than they."""

LEAST = 0.5
"""How much of the eyes, of the nose and of the mouth that were seen has to lie where an average face has them."""


def region_maps(size: tuple[int, int], close: bool = False) -> Tensor:
    """(5,H,W) in [0,1], in the order of `REGIONS`: soft, and 1 in all at every pixel.

    By the average face's landmarks: aligned faces have theirs there. ``close``: eyes and brows, nose and mouth alone, as
    they are in shape-free faces, and not the skin around them as well."""
    points = average().float()
    brows = points[17:27]
    forehead = brows - torch.tensor([0.0, 0.25 * float(points[:, 1].max() - points[:, 1].min())])
    grown, soft = (CLOSE, CLOSE_SOFT) if close else (GROWN, SOFT)
    pairs = [(points[brow], points[eye]) for brow, eye in _EYES]
    shapes = [one for pair in pairs for one in pair] if close else [torch.cat(pair) for pair in pairs]
    eyes = torch.stack([hull(shape, size, grown, soft) for shape in shapes]).amax(0)
    nose = hull(points[27:36], size, grown, soft) * (1 - eyes)
    mouth = hull(points[48:68], size, grown, soft) * (1 - eyes - nose)
    rest = 1 - eyes - nose - mouth
    face = hull(torch.cat([points[:17], brows, forehead]), size)
    return torch.stack([eyes, nose, mouth, rest * (1 - face), rest * face])


def owners(channels: int, names: Sequence[str]) -> Tensor:
    """(C,CELLS,CELLS): of which element, by its place in ``names``, each number of a latent is. Each cell belongs to the parts
    that an average face has there.

    Three kinds of channels are for hair, for skin, and for eyes, nose or mouth; where one of these parts has nothing in a
    cell its channels go to the one that has most, so that none is idle. Hair may also be in front of a forehead."""
    side = 16 * CELLS
    with torch.device("cpu"):  # also where a network is built without memory
        maps = F.avg_pool2d(region_maps((side, side))[None], 16)[0]  # (5,CELLS,CELLS)
        features, hair = maps[:3], maps[3]
        number = torch.tensor([names.index(name) for name in REGIONS])
        above = torch.arange(CELLS)[:, None] < (maps[0].sum(1) * torch.arange(CELLS)).sum() / maps[0].sum()
        most = number[maps.argmax(0)]
        feature = torch.where(features.sum(0) > LITTLE, number[features.argmax(0)], most)
        kinds = (
            (0.3, torch.where((hair > LITTLE / 4) | above, number[3], feature)),
            (0.3, torch.where(1 - hair > LITTLE, number[4], most)),
            (0.4, feature),
        )
        found = [kind.expand(round(share * channels), -1, -1) for share, kind in kinds]
        return torch.cat([*found, kinds[-1][1].expand(channels, -1, -1)])[:channels]


def own_maps(planes: Tensor) -> Tensor | None:
    """As `region_maps`, of people by their parts (K,P,H,W), see `zoo_facefusion.parts.PARTS`: where any of them has hair is
    hair. None where eyes, nose or mouth of one were not seen where they are to be."""
    size, names = planes.shape[-2:], list(PARTS)
    seen = {name: planes[:, [names.index(part) for part in parts]].sum(1) for name, parts in OWN.items()}
    usual = dict(zip(REGIONS, region_maps((size[0], size[1])).to(planes)))
    for name in ("eyes", "nose", "mouth"):
        known = seen[name].sum((1, 2))
        there = (seen[name] * usual[name]).sum((1, 2)) / known.clamp(min=1e-6)
        if (there < LEAST).any() or (known < SEEN * usual[name].sum()).any():
            return None
    rest, maps = torch.ones(size).to(planes), {}
    for name in ("hair", "eyes", "nose", "mouth"):  # beside an eye of one the other may have hair already
        grown = _soft(seen[name].amax(0), 0.0 if name == "hair" else GROWN)
        maps[name] = grown * rest
        rest = rest - maps[name]
    maps["skin"] = rest
    return torch.stack([maps[name] for name in REGIONS])


def _soft(plane: Tensor, grown: float) -> Tensor:
    """A mask (H,W), larger by ``grown`` sides, that fades out over `SOFT` of them."""
    reach, fade = round(grown * plane.shape[-1]), max(1, round(SOFT / 4 * plane.shape[-1]))
    plane = F.max_pool2d(plane[None], 2 * reach + 1, 1, reach)
    for _ in range(2):
        plane = averaged(plane, fade)
    return plane[0]


_EYES = ((slice(17, 22), slice(36, 42)), (slice(22, 27), slice(42, 48)))


def hull(points: Tensor, size: tuple[int, int], grown: float = 0.0, soft: float = SOFT) -> Tensor:
    """(H,W): 1 inside the convex hull of points (P,2) in shares of the sides, 0 outside, found by its tangents."""
    y, x = ((torch.arange(side) + 0.5) / side for side in size)
    inside = torch.full(size, torch.inf)
    for turn in torch.arange(0, 2 * math.pi, math.pi / 24).tolist():
        across, down = math.cos(turn), math.sin(turn)
        reach = (points[:, 0] * across + points[:, 1] * down).max() + grown
        inside = torch.minimum(inside, reach - (x * across + (y * down)[:, None]))
    share = (inside / soft + 0.5).clamp(0, 1)
    return share * share * (3 - 2 * share)
