"""People keep their skin. A network draws everyone's alike, whatever the photograph shows: norms take away how light a picture is. And
it is neither the drawings', which is light, nor anybody's, but between them, a grey one.

Skin is what the core's `zoo.faces.parsing` sees as skin in the photograph, but for where eyes and mouth are drawn; and in the drawing,
whose skin is flat, what has the colour of its cheeks and is joined to them or to the neck with no line between. It gets as light as
that of drawings is, and then darker by as much as the photograph's cheeks are darker than light ones; the network sees the photograph
with skin that is lighter by as much. Dim light is told from dark skin by whites of eyes and by teeth, which it makes as dark as skin.

N pictures, H and W their size; both are a face cut out as `AnimeTranslator` does, so that it is known where cheeks are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.faces.parsing import PARTS, guided, likely_parts
from zoo_animeface.edges import LUMA, luma

SIDE = 128
"""Pixels of the side at which skin is looked for."""

CHEEKS = ((0.36, 0.64), (0.64, 0.64), (0.5, 0.6), (0.5, 0.7))
"""Right and down in shares of the sides: most of them are not hidden by hair."""

FACE = (0.48, 0.6), 0.22
"""Where there are cheeks and a nose in a photograph, above a beard: rows, from and to, and how far beside the middle."""

LEAST = 20
"""Pixels of SIDE of them below which nothing is known of them."""

NECK = ((0.45, 0.9), (0.5, 0.88), (0.55, 0.9))
LIGHT = 0.58
"""Luma of cheeks in a photograph, in [0,1], from which skin is drawn light: fair people in even light have 0.5 to 0.66."""

SEEN = 0.57
"""The same, as dark as which a network sees skin at most: it learned from few people who are darker."""

PALE, DARK = (0.925, 0.837, 0.773), (0.34, 0.21, 0.14)
"""Red, green and blue of the skin of drawings to learn from, their mean; and of the darkest skin that is drawn."""

BRIGHTER = 1.6
"""By how much drawn skin gets lighter at most: what is much darker than skin is none."""

WHITES, BRIGHT, TANNED = 0.5, 0.1, 0.52
"""Luma of the whites of eyes, or of teeth, below which a photograph's light is dim; which share of an eye or a mouth is lighter than they; and
how light dim skin is taken for at most: it is not known how light it is."""

DIM, MOST = (0.88, 1.03), 1.7
"""How many times as light as cheeks whites are up to which skin is light, and from which it is dark; and how many times as light as it is it
is taken for at most."""

FINE, SEES = 256, 130
"""Pixels of the side at which they are looked at; pixels of that from which eyes are open."""

STEEP = 1.2
WARM = 0.6
"""Between light skin and dark lies a warm one, not a grey one: hues are ahead of how light it is, by this power."""

LIPS = 0.6
"""How far a mouth gets lighter when skin does: as dark as it was it would be drawn open, all the way it would fade."""

BARE = ("skin", "nose", "ears", "neck")
SPARED, LARGER = 4, 13
"""Pixels of SIDE around a photograph's eyes and mouth that are left to the drawing's own colours, and below the eyes: drawn ones
are larger."""

NEAR, EVEN = 0.03, 3e-3
"""How far, in shares of the side, edges of a picture are looked for, and by which differences of colour those of a photograph."""

LIKE = 0.04
"""How far a colour's shares of red, green and blue may be from the cheeks'."""


FEATURES = ("nose", "glasses", "eyes", "brows", "mouth", "hat")
CHIN, THROAT, OPEN = 0.86, 0.17, 0.25
"""In shares of the sides: how far down there are none of them any more, and how far beside the middle there is a neck below that, or what is
worn around it; and how much of what is likely behind people counts there."""


@torch.no_grad()
def parts_of(photo: Tensor) -> Tensor:
    """(N,12,SIDE,SIDE): how likely the pixels of photographs (N,3,H,W) in [-1,1] are each of `zoo.faces.parsing.PARTS`.

    Where a photograph ends and is continued, as `zoo.faces.crop` does, a neck is taken for a hat or a hole: no parts are there that
    cannot be."""
    with torch.autocast(photo.device.type, enabled=False):
        parts = likely_parts(small(photo)) * _possible(photo.device)
        return parts / parts.sum(1, keepdim=True)


def _possible(device: torch.device) -> Tensor:
    """(12,SIDE,SIDE): what is 1 where there can be a part, and less where there hardly can be."""
    possible = torch.ones(len(PARTS), SIDE, SIDE, device=device)
    below, sides = round(CHIN * SIDE), round((0.5 - THROAT) * SIDE)
    possible[[PARTS.index(name) for name in FEATURES], below:] = 0
    possible[PARTS.index("background"), below:, sides : SIDE - sides] = OPEN
    return possible


def background(photo: Tensor) -> Tensor:
    """(1,H,W) from 0 to 1: what is behind the person in a photograph (3,H,W) in [-1,1], to its own edges."""
    mask = F.interpolate(likely(parts_of(photo[None]), "background"), photo.shape[1:], mode="bilinear")[0, 0]
    return to_edges(photo, mask, EVEN)


def to_edges(picture: Tensor, mask: Tensor, even: float) -> Tensor:
    """A soft mask (H,W), brought to the edges of a picture (3,H,W), (1,H,W) from 0 to 1; see `guided` for ``even``."""
    slope, offset = guided(picture, mask, max(1, round(NEAR * picture.shape[-1])), even)
    return (2 * ((slope * picture).sum(0, keepdim=True) + offset) - 0.5).clamp(0, 1)


def lightened(photo: Tensor, parts: Tensor) -> Tensor:
    """The photograph (N,3,H,W) in [-1,1] with skin as light as what drawings were learned beside: on dark skin a network takes
    the forehead for hair. ``parts`` are what it shows."""
    with torch.autocast(photo.device.type, enabled=False):
        own = own_cheeks((small(photo) + 1) / 2, parts) @ photo.new_tensor(LUMA, dtype=torch.float32)
        power = (math.log(SEEN) / own.clamp(max=0.98).log()).clamp(0.25, 1.0)
        power = torch.where(_known(parts), power, 1.0)
        light = surely(parts, *BARE) + LIPS * likely(parts, "mouth")
        mask = F.interpolate(light.clamp(max=1), photo.shape[2:], mode="bilinear")
    rgb = (photo + 1) / 2
    return 2 * torch.lerp(rgb, rgb.clamp(min=1e-3) ** power[:, None, None, None].to(rgb), mask.to(rgb)) - 1


@torch.no_grad()
def skin_of(drawing: Tensor, parts: Tensor) -> Tensor:
    """(N,1,SIDE,SIDE) from 0 to 1: where a drawing (N,3,H,W) in [-1,1], of a photograph with these ``parts``, shows skin."""
    with torch.autocast(drawing.device.type, enabled=False):
        drawn = (small(drawing) + 1) / 2
        return _skin(drawn, cheeks(drawn), parts)


def pale(drawing: Tensor, parts: Tensor, skin: Tensor) -> Tensor:
    """A drawing (N,3,H,W) in [-1,1], of a photograph with these ``parts``, with its ``skin`` at least as light as that of what was
    learned from, which networks only come near to."""
    with torch.autocast(drawing.device.type, enabled=False):
        drawn = (small(drawing) + 1) / 2
        now = cheeks(drawn)
        factor = (drawn.new_tensor(PALE) / now).clamp(1.0, BRIGHTER)
        return tinted(drawing, torch.where(_known(parts)[:, None], factor, 1.0), skin)


def own_tone(drawing: Tensor, photo: Tensor, parts: Tensor, skin: Tensor, share: Tensor) -> Tensor:
    """A drawing (N,3,H,W) in [-1,1] of a photograph with its ``skin`` as dark as the photograph's; ``share`` (N,): 0 leaves it
    as it is, 1 goes all the way. Where the photograph has no skin at the cheeks nothing is known of it, and nothing changes."""
    with torch.autocast(drawing.device.type, enabled=False):
        seen, drawn = ((small(x) + 1) / 2 for x in (photo, drawing))
        weights, dark = drawn.new_tensor(LUMA), drawn.new_tensor(DARK)
        own, now = own_cheeks(seen, parts) @ weights, cheeks(drawn)
        light = now @ weights
        wanted = light * (own * brighter(photo.float(), parts, own) / LIGHT).clamp(0.1, 1.0) ** (
            STEEP * share.to(light)
        )
        darker = ((light / wanted).log() / (light / (dark @ weights)).log().clamp(min=0.05)).clamp(0, 1)
        darker = torch.where(_known(parts), darker, 0.0)
        hue = (dark / now) ** (darker**WARM)[:, None]
        wanted = light * ((dark @ weights) / light) ** darker
        return tinted(drawing, hue * (wanted / ((now * hue) @ weights))[:, None], skin)


def brighter(photo: Tensor, parts: Tensor, cheek: Tensor) -> Tensor:
    """(N,): how many times as light the skin of people in photographs (N,3,H,W) in [-1,1] is in usual light, whose cheeks have the luma ``cheek``
    (N,): more than 1 where open eyes and teeth are dim and skin, beside them, is not dark."""
    rgb = (F.interpolate(photo, (FINE, FINE), mode="bilinear") + 1) / 2
    level = luma(rgb)
    eyes, mouth = (
        F.interpolate(likely(parts, name), (FINE, FINE), mode="bilinear") > 0.5 for name in ("eyes", "mouth")
    )
    grey = rgb.amin(1, keepdim=True) / rgb.amax(1, keepdim=True).clamp(min=0.05)  # lips are none
    white = torch.maximum(_brightest(level, eyes), _brightest(level * grey.sqrt(), mouth)).clamp(min=0.05)
    fair = ((DIM[1] - white / cheek) / (DIM[1] - DIM[0])).clamp(0, 1) * (eyes.sum((1, 2, 3)) > SEES)
    return 1 + fair * (torch.minimum(WHITES / white, TANNED / cheek).clamp(1.0, MOST) - 1)


def _brightest(level: Tensor, where: Tensor) -> Tensor:
    """(N,): what BRIGHT of the pixels of (N,1,H,W) ``where`` that is are lighter than; 0 where it is nowhere."""
    ordered = torch.where(where, level, 0.0).flatten(1).sort(1, descending=True).values
    return ordered.gather(1, (BRIGHT * where.sum((1, 2, 3))).long()[:, None])[:, 0]


def tinted(drawing: Tensor, factor: Tensor, mask: Tensor) -> Tensor:
    """A drawing (N,3,H,W) in [-1,1], its colours multiplied by ``factor`` (N,3), or (1,3), where ``mask`` (N,1,SIDE,SIDE) is."""
    where = F.interpolate(mask, drawing.shape[2:], mode="bilinear").to(drawing)
    rgb = (drawing + 1) / 2
    return 2 * torch.lerp(rgb, (rgb * factor[:, :, None, None].to(rgb)).clamp(max=1), where) - 1


def small(picture: Tensor) -> Tensor:
    """(N,C,SIDE,SIDE), in float32."""
    return F.interpolate(picture.float(), (SIDE, SIDE), mode="bilinear")


def _known(parts: Tensor) -> Tensor:
    """(N,): whether there is skin at the cheeks."""
    return cheeks(likely(parts, *BARE))[:, 0] > 0.5


def likely(parts: Tensor, *names: str) -> Tensor:
    """(N,1,SIDE,SIDE): how likely each pixel is one of these."""
    return parts[:, [PARTS.index(name) for name in names]].sum(1, keepdim=True)


def surely(parts: Tensor, *names: str) -> Tensor:
    """(N,1,SIDE,SIDE) from 0 to 1: where each pixel is one of these, 0 where that is unlikely."""
    return (2 * likely(parts, *names) - 0.5).clamp(0, 1)


def _skin(drawn: Tensor, colour: Tensor, parts: Tensor) -> Tensor:
    """(N,1,SIDE,SIDE) from 0 to 1: where a drawing (N,3,SIDE,SIDE) in [0,1], of a photograph with these ``parts``, shows skin."""
    flat = skin(drawn, colour) * (1 - likely(parts, "background", "clothes"))
    grown = F.pad(likely(parts, "eyes", "glasses"), (SPARED, SPARED, LARGER, SPARED))
    eyes = F.max_pool2d(grown, (LARGER + SPARED + 1, 2 * SPARED + 1), 1)
    mouth = F.max_pool2d(likely(parts, "mouth"), 2 * SPARED + 1, 1, SPARED)
    return torch.maximum(flat, surely(parts, *BARE) * (1 - eyes) * (1 - mouth))


def cheeks(rgb: Tensor, places: Sequence[tuple[float, float]] = CHEEKS) -> Tensor:
    """(N,3): the middle colour of (N,3,SIDE,SIDE) where cheeks are."""
    spots = [rgb[:, :, row - 3 : row + 4, column - 3 : column + 4].flatten(2) for column, row in _places(places)]
    sorted_ = torch.cat(spots, 2).sort(2).values  # ONNX knows no median
    return sorted_[:, :, sorted_.shape[2] // 2].clamp(min=0.02)


def own_cheeks(rgb: Tensor, parts: Tensor) -> Tensor:
    """(N,3): the mean colour of cheeks and nose of photographs (N,3,SIDE,SIDE) in [0,1] with these ``parts``."""
    at = (torch.arange(SIDE, device=rgb.device) + 0.5) / SIDE
    face = (at[:, None] > FACE[0][0]) & (at[:, None] < FACE[0][1]) & ((at - 0.5).abs() < FACE[1])
    where = surely(parts, "skin", "nose") * face
    area = where.sum((2, 3))
    mean = (rgb * where).sum((2, 3)) / area.clamp(min=1)
    return torch.where(area > LEAST, mean, cheeks(rgb)).clamp(min=0.02)


def skin(rgb: Tensor, colour: Tensor) -> Tensor:
    """1 where a drawing (N,3,SIDE,SIDE) shows skin of this ``colour`` (N,3), soft at its edge; (N,1,SIDE,SIDE)."""
    at = (torch.arange(SIDE, device=rgb.device) + 0.5) / SIDE
    head = ((at - 0.5) / 0.28).square() + ((at[:, None] - 0.62) / 0.48).square() < 1
    like = (skin_coloured(rgb, colour, LIKE)[:, None] & head).to(rgb)
    start = torch.zeros(SIDE, SIDE, dtype=rgb.dtype, device=rgb.device)
    for column, row in _places((*CHEEKS, *NECK)):
        start[row - 2 : row + 3, column - 2 : column + 3] = 1
    joined = like * start
    for _ in range(SIDE // 2):  # skin is no labyrinth
        joined = F.max_pool2d(joined, 3, 1, 1) * like
    return F.avg_pool2d(F.max_pool2d(joined, 3, 1, 1), 3, 1, 1, count_include_pad=False)


def skin_coloured(rgb: Tensor, colour: Tensor, near: float) -> Tensor:
    """(N,H,W): where a drawing (N,3,H,W) has about this ``colour`` (N,3)."""
    weights = rgb.new_tensor(LUMA)
    away = (_shares(rgb) - _shares(colour)[:, :, None, None]).square().sum(1)
    light = (rgb * weights[:, None, None]).sum(1) / (colour @ weights)[:, None, None]
    return (away < near**2) & (light > 0.6) & (light < 1.2)


def _places(shares: Sequence[tuple[float, float]]) -> list[tuple[int, int]]:
    return [(int(SIDE * x), int(SIDE * y)) for x, y in shares]


def _shares(colours: Tensor) -> Tensor:
    return colours / (colours.sum(1, keepdim=True) + 1e-3)
