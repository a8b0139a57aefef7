"""How drawn faces are painted: skin in one colour, with the shade of hair and chin on it, hair in three tones along its strands, clothes and hats in
three tones with their folds, and nothing beside the outlines.

A network that draws sharp lines leaves light rings along them, and of hair, which drawings have in a few strokes anywhere, it makes
a helmet. N drawings and the photographs they are of, S by S pixels, a face cut out as `AnimeTranslator` does, in [0,1] but where
something else is said. Points and ``unit`` are those of `zoo_animeface.pen`, ``parts`` those of `zoo_animeface.skin.parts_of`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.faces.geometry import averaged
from zoo_animeface.colours import continued, flattened
from zoo_animeface.edges import luma
from zoo_animeface.pen import colour_of, height_at, unit_of
from zoo_animeface.skin import BARE, cheeks, likely, small, surely, to_edges

SIDE = 256
"""Pixels of the side at which hair is looked at, and edges of a drawing."""

APART, CERTAIN = 6, (0.8, 0.95)
"""How much steeper than to the drawing's edges skin becomes hair; and how likely there is one of both up to which something else is drawn there, and from
which nothing is."""

MIDDLE, SURE = 1, (0.85, 0.95)
"""Pixels of the parts' side from their edges to their middles; and how likely a part is there up to which it is what the drawing shows, and from
which it is surely the part."""

SHEER = 8
"""The power of how likely there is hair by which a pixel counts for its colours: skin is seen through fringes."""

BLACK, VIVID = (0.11, 0.10, 0.12), 1.3
"""Red, green and blue of what is black in a photograph's hair, so that lines are seen on it; and how many times as far from grey it is drawn."""

SHADE = (0.90, 0.79, 0.78)
"""How light skin in the shade is beside skin in the light, in red, green and blue."""

FALLS = 0.035, 0.17
"""How far the shades of hair and of the chin fall, in units."""

LINE, DEEP, SOFT = 0.12, 0.25, 0.15
"""By how much a drawing is darker than what it is painted with up to which that is paint, in hair, too; and how much more makes it a line."""

TONES, LEVELS, STEEP = (0.78, 1.28), (0.84, 1.16), 0.06
"""How light dark and light strands are beside the others; how light they are in the photograph, beside hair around them, at most and at
least; and over how much of that one tone becomes the other."""

AROUND = 28
"""Pixels of SIDE around a strand that are hair around it."""

STEPS, STRIDE = 12, 1.5
"""How often a strand is followed to either side, and by how many pixels of SIDE."""

CLOTH, AT, FLAT, EVEN = (0.82, 1.16), (0.82, 1.2), 3, 0.004
"""The same of clothes: how light they are drawn where dark and where light, and how light that is; pixels of SIDE over which they are smoothed, but
for edges, three times; and by which differences of colour there are edges."""

OTHER = 0.1, 0.3
"""By how much clothes are lighter or darker than what is around up to which that is a tone of theirs, and from which another piece: a white shirt
under a black jacket is white."""

FOLD, INK = (0.004, 0.012), 0.5
"""By how much the photograph is darker along a fold than beside it up to which there is none, and from which there is one; how light that is."""

OUTLINE, CLEAR = (0.004, 0.25), (8, 16)
"""Half the width of the outline of clothes, in shares of the side, and how light it is; and how many times the side a pixel is how much nearer to them
up to which their edge is not known, and from which it is."""

ISLAND = 4
"""Pixels of the parts' side from the edge of clothes to their middle, at least, that an outline is drawn of."""

FAR, RING = 4, 3
"""Pixels of 128 from people to where nothing is drawn any more beside the wall, and over which it is smoothed from there on."""


@torch.no_grad()
def painted(drawing: Tensor, photo: Tensor, landmarks: Tensor, parts: Tensor, own_hair: bool = True) -> Tensor:
    """Drawings (N,3,S,S) in [-1,1] of photographs like them, whose ``landmarks`` (N,68,2) are in pixels. Hair has the photograph's colours if it is
    people's ``own_hair``, else the drawing's: networks draw everyone's nearly alike, and fringes as foreheads."""
    drawing, photo = (drawing + 1) / 2, (photo + 1) / 2
    bare, hair = (
        surely_within(to_drawn(drawing, surely(parts, *names)), likely(parts, *names)) for names in (BARE, ("hair",))
    )
    bare, hair = told_apart(bare, hair, _large(likely(parts, *BARE, "hair"), drawing))
    skin = cheeks(small(drawing))[:, :, None, None].expand_as(drawing)
    made = torch.lerp(drawing, under_lines(drawing, skin), bare)
    own, tone = combed(photo, _large(likely(parts, "hair") ** SHEER, hair))
    colour = own if own_hair else paint_of(drawing, hair).expand_as(drawing)
    made = torch.lerp(made, under_lines(drawing, colour, DEEP, tone), hair)
    shade = shaded(landmarks, hair) * bare
    made = torch.lerp(made, made * made.new_tensor(SHADE)[:, None, None], shade)
    made = dressed(made, photo, parts)
    wall = likely(parts, "background")
    behind = _large(((wall - 0.35) * 4).clamp(0, 1), drawing)
    paint = _large(ringless(small(drawing), wall), drawing)
    return 2 * torch.lerp(made, under_lines(made, paint), behind) - 1


def surely_within(mask: Tensor, sure: Tensor) -> Tensor:
    """A mask (N,1,S,S) that is 1 in the middle of where (N,1,128,128) is ``sure``, too: a network draws foreheads on wide fringes."""
    middle = -F.max_pool2d(-sure, 2 * MIDDLE + 1, 1, MIDDLE)
    return torch.maximum(mask, _large(((middle - SURE[0]) / (SURE[1] - SURE[0])).clamp(0, 1), mask))


def told_apart(bare: Tensor, hair: Tensor, either: Tensor) -> tuple[Tensor, Tensor]:
    """Masks of skin and of hair, (N,1,S,S), that leave nothing between them where it is one of ``either`` that surely: networks smear foreheads below
    fringes."""
    skin = ((bare / (bare + hair).clamp(min=0.05) - 0.5) * APART + 0.5).clamp(0, 1)
    sure = ((either - CERTAIN[0]) / (CERTAIN[1] - CERTAIN[0])).clamp(0, 1)
    return torch.lerp(bare, skin, sure), torch.lerp(hair, 1 - skin, sure)


def under_lines(drawing: Tensor, colour: Tensor, least: float = LINE, tone: Tensor | float = 1.0) -> Tensor:
    """A ``colour`` (N,3,S,S), so many times as light as ``tone`` says, with the lines of a drawing on it, which are
    darker than the colour, by ``least`` and more."""
    line = ((1 - luma(drawing) / luma(colour).clamp(min=0.05) - least) / SOFT).clamp(0, 1)
    return torch.lerp((colour * tone).clamp(max=1), drawing, line)


def combed(photo: Tensor, hair: Tensor) -> tuple[Tensor, Tensor]:
    """The colour (N,3,S,S) that hair has around each pixel of a photograph, and how light it is beside that, (N,1,S,S): dark and light as
    strands are, averaged along them."""
    seen, where = (F.interpolate(x, (SIDE, SIDE), mode="bilinear", antialias=True) for x in (photo, hair))
    level = luma(seen)
    light, weight = along(torch.cat([level * where, where], 1), strands(level)).split(1, 1)
    light = light / weight.clamp(min=1e-3) / mean_around(level, where).clamp(min=0.03)
    black = seen.new_tensor(BLACK)[:, None, None]
    colour = mean_around(seen, where)
    colour = black + (1 - black) * torch.lerp(luma(colour), colour, VIVID).clamp(0, 1)
    return _large(colour, photo), in_tones(_large(light, photo), LEVELS, TONES)


def paint_of(drawing: Tensor, hair: Tensor) -> Tensor:
    """The one colour (N,3,1,1) of a drawing's hair, lines left out."""
    drawn, where = (F.interpolate(x, (SIDE, SIDE), mode="bilinear", antialias=True) for x in (drawing, hair))
    paint = where * (luma(drawn) > (1 - LINE) * luma(mean_around(drawn, where)))
    return colour_of(drawn, paint)


def in_tones(light: Tensor, levels: tuple[float, float], tones: tuple[float, float]) -> Tensor:
    """What is so many times as ``light`` as what is around it, (N,1,H,W), in three tones: 1, or those of ``tones`` beyond the ``levels``."""
    dark, bright = (((light - at) / STEEP + 0.5).clamp(0, 1) for at in levels)
    return tones[0] + (1 - tones[0]) * dark + (tones[1] - 1) * bright


def dressed(drawing: Tensor, photo: Tensor, parts: Tensor) -> Tensor:
    """A drawing (N,3,S,S) whose clothes and hats have the photograph's colours, patterns and folds, and an outline. Networks smear them: drawings to learn from
    end at the chin."""
    seen = F.interpolate(photo, (SIDE, SIDE), mode="bilinear", antialias=True)
    cloth = likely(parts, "clothes", "hat")
    where = F.interpolate(surely(parts, "clothes", "hat"), (SIDE, SIDE), mode="bilinear")
    paint = flattened(seen, FLAT, EVEN)
    around = luma(mean_around(paint, where))
    other = _large((((luma(paint) - around).abs() - OTHER[0]) / (OTHER[1] - OTHER[0])).clamp(0, 1), drawing)
    light = _large(luma(paint) / around.clamp(min=0.03), drawing)
    paint = _large(paint, drawing)
    colour = torch.lerp(paint / light.clamp(0.4, 2.5) * in_tones(light, AT, CLOTH), paint, other)
    level = luma(seen)
    fold = along(averaged(averaged(level, 2), 2) - averaged(averaged(level, 1), 1), strands(level))
    fold = ((F.interpolate(fold, drawing.shape[2:], mode="bicubic") - FOLD[0]) / (FOLD[1] - FOLD[0])).clamp(0, 1)
    colour = torch.lerp(colour, INK * colour, fold).clamp(0, 1)
    inside = to_drawn(drawing, (2 * averaged(averaged(cloth, 2), 1) - 0.5).clamp(0, 1))
    made = torch.lerp(drawing, colour, inside)
    right, down = (F.pad(inside.diff(dim=axis), pad) for axis, pad in ((3, (0, 1)), (2, (0, 0, 0, 1))))
    steep = torch.hypot(right, down)
    side = drawing.shape[-1]
    line = (OUTLINE[0] * side - (inside - 0.5).abs() / steep.clamp(min=1e-4) + 0.5).clamp(0, 1)
    known = ((steep * side - CLEAR[0]) / (CLEAR[1] - CLEAR[0])).clamp(0, 1)
    # what is smaller is a mistake of the parser's more often than a collar
    core = -F.max_pool2d(-cloth, 2 * ISLAND + 1, 1, ISLAND)
    large = _large((4 * F.max_pool2d(core, 4 * ISLAND + 1, 1, 2 * ISLAND) - 1.5).clamp(0, 1), drawing)
    return torch.lerp(made, OUTLINE[1] * made, line * known * large)


def mean_around(planes: Tensor, where: Tensor) -> Tensor:
    """Of planes (N,C,SIDE,SIDE) where (N,1,SIDE,SIDE) is."""
    around = averaged(torch.cat([planes * where, where], 1), AROUND)
    return around[:, :-1] / around[:, -1:].clamp(min=1e-3)


def strands(level: Tensor) -> Tensor:
    """Where lines run in pictures (N,1,H,W): unit vectors (N,2,H,W), right and down, by the smoothed tensor of the picture's slopes."""
    right = F.pad((level[..., 2:] - level[..., :-2]) / 2, (1, 1, 0, 0))
    down = F.pad((level[..., 2:, :] - level[..., :-2, :]) / 2, (0, 0, 1, 1))
    rr, rd, dd = averaged(averaged(torch.cat([right * right, right * down, down * down], 1), 3), 3).split(1, 1)
    angle = torch.atan2(2 * rd, rr - dd) / 2 + math.pi / 2
    return torch.cat([angle.cos(), angle.sin()], 1)


def along(planes: Tensor, flow: Tensor) -> Tensor:
    """The mean of planes (N,C,H,W) along unit vectors (N,2,H,W), whose sign is of no importance (Cabral and Leedom 1993, *Imaging vector
    fields using line integral convolution*)."""
    rows, columns = (torch.arange(side, device=planes.device) + 0.5 for side in planes.shape[2:])
    start = torch.stack([columns.expand(len(rows), -1), rows[:, None].expand(-1, len(columns))])
    size = start.new_tensor([len(columns), len(rows)])[:, None, None]
    everything, total = torch.cat([planes, flow], 1), planes.clone()
    for direction in (flow, -flow):
        at = start.expand_as(flow)
        for _ in range(STEPS):
            at = at + STRIDE * direction
            grid = (2 * at / size - 1).permute(0, 2, 3, 1)
            here = F.grid_sample(everything, grid, padding_mode="border", align_corners=False)
            total = total + here[:, :-2]
            ahead = here[:, -2:]
            direction = ahead * (ahead * direction).sum(1, keepdim=True).sign()
    return total / (2 * STEPS + 1)


def shaded(landmarks: Tensor, hair: Tensor) -> Tensor:
    """(N,1,S,S) from 0 to 1: where the shades of ``hair`` like that and of the chin are, if there is skin."""
    unit = unit_of(landmarks)
    fall = max(1, round(FALLS[0] * float(unit.mean())))
    of_hair = F.pad(hair[:, :, :-fall], (0, 0, fall, 0)) * (1 - hair)
    rows, columns = (torch.arange(side, device=hair.device) + 0.5 for side in hair.shape[2:])
    jaw = landmarks[:, 2:15]
    low = height_at(columns.expand(len(jaw), 1, 1, -1), jaw)
    within = (columns > jaw[:, :1, 0]) & (columns < jaw[:, -1:, 0])
    deep = rows[:, None] - low
    of_chin = (deep + 0.5).clamp(0, 1) * (FALLS[1] * unit[:, None, None, None] - deep + 0.5).clamp(0, 1)
    return torch.maximum(of_hair, of_chin * within[:, None, None])


def ringless(drawing: Tensor, wall: Tensor) -> Tensor:
    """A drawing (N,3,128,128) whose background goes on, where the ``wall`` (N,1,128,128) is likely, from what is farther away from people."""
    sure = 1 - F.max_pool2d((wall < 0.9).to(drawing), 2 * FAR + 1, 1, FAR)
    behind = continued(drawing, sure)
    return torch.lerp(averaged(averaged(behind, RING), RING), behind, averaged(sure, RING) * sure)


def to_drawn(drawing: Tensor, mask: Tensor) -> Tensor:
    """A mask (N,1,h,w), brought to the edges of a drawing (N,3,S,S), (N,1,S,S)."""
    picture = F.interpolate(drawing, (SIDE, SIDE), mode="bilinear", antialias=True)
    edges = [to_edges(one, own[0], 1e-3) for one, own in zip(picture, _large(mask, picture))]
    return _large(torch.stack(edges), drawing)


def _large(planes: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(planes, like.shape[2:], mode="bilinear")
