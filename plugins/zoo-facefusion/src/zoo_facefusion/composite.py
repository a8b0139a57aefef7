"""What a fusion by parts of the face is to look like: the parts of both people put together, in the light of one.

Both faces are shape-free (`zoo_facefusion.align`), so that parts lie upon each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.faces.parsing import PARTS, network
from zoo.provider import Provider
from zoo_facefusion.regions import REGIONS, region_maps

AROUND = ("background", "hair", "hat", "neck", "clothes")
"""What goes with the hair."""

LIT = 0.08
"""Shares of the side over which the light and the colour of skin are averaged."""

RANGE = (0.4, 2.5)
"""How much darker or lighter a part becomes in another's skin."""


MIXED = 0.6
"""How much less is sure where both have a half: skin becomes too smooth."""


class Composite(Provider):
    """``composite`` (N,4,H,W): each part of the face of whom ``mix`` says, colours in [-1, 1], and how sure they are.

    Features have the light and the colour of the skin that they lie in: they are divided by the smooth light of their own
    face's skin and multiplied by that of the other (ratio images, Liu et al. 2001). Hair, and all around the face, lies over
    the face; where it is taken away nobody knows what was behind: the first face's skin there in the second's light is a
    guess, ``sure`` by a fifth."""

    needs = frozenset({"source", "other", "mix"})

    def __init__(self) -> None:
        super().__init__()
        self.parser = network()

    @torch.no_grad()
    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        names = getattr(self.trainer.networks[self.trainer.exported], "names", ())
        a, b = step["source"].float(), step["other"].float()
        with torch.autocast(a.device.type, enabled=False):
            return composite(a, b, self._seen(a), self._seen(b), step["mix"].float(), names)

    def _seen(self, faces: Tensor) -> Tensor:
        self.parser.to(faces.device)
        return cast(Tensor, self.parser(faces)).softmax(1)


def composite(a: Tensor, b: Tensor, parts: Tensor, others: Tensor, mix: Tensor, names: Sequence[str]) -> Tensor:
    """Two faces (N,3,H,W), what their parts (N,P,H,W) are, see `zoo.faces.parsing`, and Λ (N,E), whose elements have
    ``names`` -> (N,4,H,W). A part without an element of its own goes with the shape, or with the mean of all elements, colours
    without one with the skin."""
    share = {name: column[:, None, None, None] for name, column in zip(names, mix.T)}
    whole = share.get("shape", mix.mean(1)[:, None, None, None])
    hair, skin, eyes, nose, mouth = (share.get(name, whole) for name in ("hair", "skin", "eyes", "nose", "mouth"))
    colours = share.get("colours", skin)
    maps = dict(zip(REGIONS, region_maps((a.shape[2], a.shape[3])).to(a).split(1)))
    around_a, around_b = (_of(seen, *AROUND) for seen in (parts, others))
    light_a, light_b = _light(a, _of(parts, "skin", "nose")), _light(b, _of(others, "skin", "nose"))
    light = torch.lerp(light_b, light_a, colours)
    lit_a, lit_b = ((one + 1) * (light / own).clamp(*RANGE) - 1 for one, own in ((a, light_a), (b, light_b)))
    face = torch.lerp(lit_b, lit_a, skin)
    # where the hair of whose face it is is taken away: the other's skin, in the same light
    bare = skin * (1 - hair) * around_a + (1 - skin) * hair * around_b
    face = torch.lerp(face, torch.where(skin < 0.5, lit_a, lit_b), bare)
    for one, name in ((eyes, "eyes"), (nose, "nose"), (mouth, "mouth")):
        face = torch.lerp(face, torch.lerp(lit_b, lit_a, one), maps[name])
    if "colours" in share:
        a, b = (
            _coloured(a, b, around_a, around_b, colours),
            _coloured(b, a, around_b, around_a, 1 - colours),
        )
    over = torch.lerp(around_b, around_a, hair)
    made = torch.lerp(face, torch.lerp(b, a, hair), over)
    mixed = skin * (1 - skin) * 4 * (1 - over)  # a mixture is more than the mean of two pictures
    sure = (1 - 0.8 * bare * (1 - over)) * (1 - MIXED * mixed)
    return torch.cat([made.clamp(-1, 1), sure], 1)


def _coloured(own: Tensor, other: Tensor, around: Tensor, others: Tensor, share: Tensor) -> Tensor:
    """``own`` with the mean and the deviation of the colours around the face as in ``other``, but for its ``share`` (Reinhard et
    al. 2001)."""
    mean, spread = _moments(own, around)
    wanted, as_wide = _moments(other, others)
    toned = (own - mean) * (as_wide / spread).clamp(*RANGE) + wanted
    return torch.lerp(toned, own, share)


def _moments(image: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
    """(N,3,1,1) each: mean and deviation of the colours ``where`` (N,1,H,W)."""
    weight = where / where.mean((2, 3), keepdim=True).clamp(min=1e-4)
    mean = (image * weight).mean((2, 3), keepdim=True)
    return mean, ((image - mean).square() * weight).mean((2, 3), keepdim=True).sqrt().clamp(min=0.02)


def _of(seen: Tensor, *names: str) -> Tensor:
    """(N,1,H,W): what belongs to the parts of these names."""
    return seen[:, [PARTS.index(name) for name in names]].sum(1, keepdim=True)


def _light(face: Tensor, skin: Tensor) -> Tensor:
    """(N,3,H,W), above 0: the smooth colours of a face's skin, from 0 to 2; where there is none, of the nearest."""
    radius, light, weight = max(1, round(LIT * face.shape[-1])), (face + 1) * skin, skin
    for _ in range(3):
        light, weight = (_near(plane, radius) for plane in (light, weight))
    mean = ((face + 1) * skin).mean((2, 3), keepdim=True) / skin.mean((2, 3), keepdim=True).clamp(min=1e-4)
    return ((light + 0.02 * mean) / (weight + 0.02)).clamp(min=0.05)


def _near(planes: Tensor, radius: int) -> Tensor:
    """Means over squares, one side after the other."""
    for window, pad in (((2 * radius + 1, 1), (radius, 0)), ((1, 2 * radius + 1), (0, radius))):
        planes = F.avg_pool2d(planes, window, 1, pad, count_include_pad=False)
    return planes
