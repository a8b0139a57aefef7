"""Hair, clothes and what is behind people keep the photograph's colours, as far as a network takes them away: its norms divide by how
light and how colourful a picture is as a whole, so that a red wall is drawn in a dull one, and fair hair brown. Lips differ from skin as
the photograph's do, noses have a shade, teeth are white, and what is behind people is painted, not drawn.

N pictures, H and W their size; skin has a module of its own, `zoo_animeface.skin`.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.faces.geometry import averaged
from zoo_animeface.edges import LUMA
from zoo_animeface.skin import cheeks, likely, own_cheeks, small, surely, tinted

HAIR, BEHIND, CLOTHES = ("hair", "hat"), ("background",), ("clothes",)

FACTORS = (0.6, 1.7)
"""A colour gets so many times as light, at least and at most."""

LEAST = 0.005
"""Share of the picture below which a part's mean colour says nothing."""

TEETH = (0.97, 0.96, 0.95)
"""Red, green and blue of drawn teeth."""

WHITER = 0.06
"""By how much what is pale and light in a mouth is above the mouth's mean, and above the cheeks, to be teeth and no gloss on lips."""

SMILE = 0.1, 0.15
"""Shares of the mouth that are teeth up to which they are not drawn, and from which they are."""

RED = 0.7
"""How far lips differ from skin: all the way, as a power, those of men would be painted."""

RUDDY = 1.08
"""By how much redder than cheeks lips are at least: in a beard the photograph's are not."""

REDDEST = 0.35, 0.95
"""A photograph's lips are so many times as light as its cheeks, in each colour, at least and at most."""

LEAST_RED, USUAL = 1e-3, (0.85, 0.7, 0.7)
"""Sum of `redness` up to which a mouth has no colour, as in a grey photograph, and what lips are beside cheeks then, in each colour."""

SHADE = (0.72, 0.55, 0.5)
"""The shade below a nose is so many times as light as skin, in red, green and blue."""

WINGS, BELOW, DENSE = 5, 2, (1.3, 0.55)
"""Pixels of SIDE of a nose to either side that have no shade, and those in which it ends downwards; how fast the shade gets dense, and
how dense it gets."""

RIM, SMOOTH, CONTRAST, TIMES = 1, 4, 0.08, 3
"""Pixels of SIDE around people that are left to the drawing, for its outlines; those around each from which a painted wall has its
colours, the variance of colours in [-1,1] from which an edge is kept in it, and how often it is smoothed."""


def own_colours(drawing: Tensor, photo: Tensor, parts: Tensor, hair: bool = True) -> Tensor:
    """A drawing (N,3,H,W) in [-1,1] of a photograph with these ``parts`` (N,12,SIDE,SIDE), in which each of them has the photograph's
    mean colour; ``hair`` only if asked."""
    with torch.autocast(drawing.device.type, enabled=False):
        seen, drawn = ((small(x) + 1) / 2 for x in (photo, drawing))
        factor = torch.ones_like(drawn)
        for names in (HAIR, BEHIND, CLOTHES) if hair else (BEHIND, CLOTHES):
            where = likely(parts, *names)
            own, now = ((x * where).sum((2, 3)) for x in (seen, drawn))
            times = (own / now.clamp(min=0.02)).clamp(*FACTORS)
            times = torch.where(where.mean((2, 3)) > LEAST, times, 1.0)
            factor = factor + (times[:, :, None, None] - 1) * where
        factor = F.interpolate(factor, drawing.shape[2:], mode="bilinear").to(drawing)
    return (((drawing + 1) / 2 * factor).clamp(0, 1)) * 2 - 1


def own_lips(drawing: Tensor, photo: Tensor, parts: Tensor) -> Tensor:
    """A drawing (N,3,H,W) in [-1,1] of a photograph with these ``parts`` (N,12,SIDE,SIDE), whose lips differ from its cheeks as the
    photograph's do. The photograph's are what is red of its mouth: teeth and what is dark between them are not."""
    with torch.autocast(drawing.device.type, enabled=False):
        seen, drawn = ((small(x) + 1) / 2 for x in (photo, drawing))
        mouth = likely(parts, "mouth")
        differ, _ = lips_beside(seen, mouth, own_cheeks(seen, parts))
        where = surely(parts, "mouth")
        now = (drawn * where).sum((2, 3)) / where.sum((2, 3)).clamp(min=1)
        factor = cheeks(drawn) * differ / now.clamp(min=0.02)
        factor = torch.where(redness(seen, mouth).sum((2, 3)) > LEAST_RED, factor.clamp(*FACTORS), 1.0)
        return tinted(drawing, factor, where)


def redness(rgb: Tensor, mouth: Tensor) -> Tensor:
    """(N,1,H,W): how red (N,3,H,W) in [0,1] is where a ``mouth`` (N,1,H,W) is."""
    return mouth * (rgb[:, :1] - rgb[:, 1:2]).clamp(min=0).square()


def lips_beside(rgb: Tensor, mouth: Tensor, cheek: Tensor) -> tuple[Tensor, Tensor]:
    """How light lips are drawn beside skin, in each colour, (N,3), of photographs (N,3,H,W) in [0,1] whose cheeks are ``cheek`` (N,3); and
    the colour of the photograph's, (N,3): of what is red of its mouth."""
    red = redness(rgb, mouth)
    total = red.sum((2, 3))
    lips = (rgb * red).sum((2, 3)) / total.clamp(min=1e-4)
    lips = torch.where(total > LEAST_RED, lips, cheek * rgb.new_tensor(USUAL))  # a grey photograph's are as most are
    differ = (lips / cheek.clamp(min=0.02)).clamp(*REDDEST) ** RED
    return torch.cat([differ[:, :1], torch.minimum(differ[:, 1:], differ[:, :1] / RUDDY)], 1), lips


def nose_shaded(drawing: Tensor, parts: Tensor) -> Tensor:
    """A drawing (N,3,H,W) in [-1,1] with a shade where the nose of a photograph with these ``parts`` (N,12,SIDE,SIDE) ends. Drawn noses are a
    dot or a stroke, anywhere, and of many looks at a face none is left."""
    with torch.autocast(drawing.device.type, enabled=False):
        middle = -F.max_pool2d(-likely(parts, "nose"), (1, 2 * WINGS + 1), 1, (0, WINGS))
        ends = (middle - F.pad(middle[:, :, BELOW:], (0, 0, 0, BELOW))).clamp(0, 1)
        shade = (DENSE[0] * averaged(ends, 1)).clamp(max=DENSE[1])
        return tinted(drawing, drawing.new_tensor([SHADE]).float(), shade)


def teeth_shown(drawing: Tensor, photo: Tensor, parts: Tensor) -> Tensor:
    """A drawing (N,3,H,W) in [-1,1] with the teeth that a photograph with these ``parts`` (N,12,SIDE,SIDE) shows. Drawn mouths are lines and
    lips, nearly all, and broad smiles became lips."""
    with torch.autocast(drawing.device.type, enabled=False):
        rgb = (photo.float() + 1) / 2
        mouth = F.interpolate(likely(parts, "mouth"), photo.shape[2:], mode="bilinear")
        # how light a pixel is, less how colourful: light times the least of the colours over the largest
        grey = rgb.amin(1, keepdim=True) / rgb.amax(1, keepdim=True).clamp(min=0.05)
        pale = torch.einsum("c,nchw->nhw", rgb.new_tensor(LUMA), rgb)[:, None] * grey
        area = mouth.sum((2, 3), keepdim=True).clamp(min=1)
        mean = (pale * mouth).sum((2, 3), keepdim=True) / area
        cheek = own_cheeks(small(pale).expand(-1, 3, -1, -1), parts)[:, :1, None, None]
        least = torch.maximum(mean, cheek) + WHITER
        teeth = ((pale - least) / 0.1).clamp(0, 1) * (2 * mouth - 0.5).clamp(0, 1)
        share = teeth.sum((2, 3), keepdim=True) / area
        teeth = teeth * ((share - SMILE[0]) / (SMILE[1] - SMILE[0])).clamp(0, 1)
        teeth = F.interpolate(teeth, drawing.shape[2:], mode="bilinear")
        teeth = ((averaged(teeth, 2) - 0.25) * 2).clamp(0, 1).to(drawing)  # one shape, and no grains
    return torch.lerp(drawing, (2 * drawing.new_tensor(TEETH) - 1)[:, None, None].expand_as(drawing), teeth)


def painted_wall(drawing: Tensor, photo: Tensor, parts: Tensor) -> Tensor:
    """A drawing (N,3,H,W) in [-1,1] of a photograph with these ``parts`` (N,12,SIDE,SIDE); what is behind people is the photograph's,
    `flattened`, as drawn faces have painted backgrounds. Lines that a network has seen on people it draws into every wall."""
    with torch.autocast(drawing.device.type, enabled=False):
        wall = surely(parts, "background")
        wall = averaged(-F.max_pool2d(-wall, 2 * RIM + 1, 1, RIM), RIM)
        paint = flattened(small(photo), SMOOTH, CONTRAST)
        paint, wall = (F.interpolate(x, drawing.shape[2:], mode="bilinear").to(drawing) for x in (paint, wall))
    return torch.lerp(drawing, paint.clamp(-1, 1), wall)


def flattened(picture: Tensor, radius: int, contrast: float) -> Tensor:
    """A picture (N,3,H,W), smoothed between its edges, whose colours vary by the square root of ``contrast`` and more (guided filter, He et al. 2013,
    eq. 5 to 8, guided by itself), three times."""
    for _ in range(TIMES):
        mean = averaged(picture, radius)
        spread = (averaged(picture * picture, radius) - mean * mean).sum(1, keepdim=True)
        kept = spread / (spread + contrast)
        picture = averaged(kept, radius) * picture + averaged((1 - kept) * mean, radius)
    return picture


def continued(colours: Tensor, known: Tensor) -> Tensor:
    """Colours (N,3,H,H), H a power of 2, that go on from all sides where they are not ``known``, (N,1,H,H) from 0 to 1, as in pictures that
    are made small and large again (Gortler et al. 1996, *The Lumigraph*, 3.3)."""
    usual = (colours * known).sum((2, 3), keepdim=True) / known.sum((2, 3), keepdim=True).clamp(min=1)
    steps = [(colours * known, known)]
    while steps[-1][1].shape[-1] > 1:
        steps.append((F.avg_pool2d(steps[-1][0], 2), F.avg_pool2d(steps[-1][1], 2)))
    filled = (steps[-1][0] + 1e-3 * usual) / (steps[-1][1] + 1e-3)
    for colour, share in reversed(steps[:-1]):
        coarse = F.interpolate(filled, colour.shape[2:], mode="bilinear")
        filled = torch.lerp(coarse, colour / share.clamp(min=1e-4), share)
    return filled


def closed(planes: Tensor, radius: int) -> Tensor:
    """(N,C,H,W) without what is thinner and lower than what is around it (morphological closing by a square)."""
    for sign in (1, -1):  # row by row and column by column, as fast for wide squares
        rows = F.max_pool2d(sign * planes, (2 * radius + 1, 1), 1, (radius, 0))
        planes = sign * F.max_pool2d(rows, (1, 2 * radius + 1), 1, (0, radius))
    return planes
