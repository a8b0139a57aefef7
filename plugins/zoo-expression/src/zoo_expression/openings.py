"""A face moved after its landmarks. Skin is stretched smoothly, by a thin-plate spline (Bookstein 1989). Eyes and mouth are
openings in it: lids slide over the eyeball, see `zoo_expression.eyes`; lips slide over the teeth, which stay with the skull. Where a mouth
opens wider than it was nobody knows what is in it: it is painted, dark with a row of teeth, and where one that was shut smiles with all
of them, see `zoo_expression.inside`. Landmarks are not exact, so lips that shut, or come down over teeth, lose the rim of teeth that hangs
on to them.

S side of a crop; at: where the pixels of a row or a column lie, (S,).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.faces.geometry import spline
from zoo.pictures.fit import warped
from zoo_expression.edges import EYES, LIPS, Chain, Opening, along, smooth
from zoo_expression.eyes import Iris, bared, lids
from zoo_expression.inside import painted

POINTS = 68
JAW = range(17)
UPPER_LIP, LOWER_LIP = [49, 50, 51, 52, 53, 61, 62, 63], [55, 56, 57, 58, 59, 65, 66, 67]
LIDS = [37, 38, 40, 41, 43, 44, 46, 47]

OUTER_LIPS: tuple[Chain, Chain] = (48, 49, 50, 51, 52, 53, 54), (48, 59, 58, 57, 56, 55, 54)

LASH_LINE, LIP_LINE = 0.5, 0.85
"""How light the line is in which lids and lips meet, as a share of the darker of what is beside it: lashes are dark."""

DEEP, TONGUE, TEETH = (0.20, 0.07, 0.07), (0.46, 0.22, 0.21), (0.80, 0.74, 0.68)
"""Colours in a mouth where the tip of the nose is white."""

SKIN, TINT = (1.22, 0.94, 0.85), (0.7, 1.15)
"""Red, green and blue of skin over their mean in white light, and of light at least and at most."""

TOOTH, LONG, ARCH = 0.09, 0.045, 0.4
"""How wide a tooth is and how far teeth are seen below the upper lip of a mouth whose jaw drops, over the distance of the eyes' outer
corners, and how their edge bends up to both sides, over one over it."""

SMILES = -0.2, -0.15
"""How far below its corners the middle of the upper lip lies, over the mouth's width: from where on teeth are seen in it, and from where
they are all there is. Faces at rest have -0.16 to -0.23, smiles -0.06 to -0.17, and a jaw that drops makes it less."""

RISE = 0.02
"""By how much that grows where corners go up enough for teeth to be seen, wherever they were: on the way to a smile as well."""

DROPS = 0.3, 0.42
"""Height of an open mouth over its width up to which who smiles shows teeth, and from which there is dark."""

CORNERS = 0.02, 0.05
"""By how much the mouth's corners go down, over the distance of the eyes' outer corners, up to which and from which likewise."""

EDGE = 0.2
"""Over how much of a mouth's height teeth end where they are not all that is seen in it."""

FAR = 0.4
"""How much darker, of all there is of dark and light, the line between shut lips must be a quarter of their height from landmarks."""

SURE = 0.05
"""Of all there is of dark and light: rows that are less dark by this count for e times less."""

WIDE = 0.25
"""Lips are no more apart than this, over the distance of the eyes' outer corners, where what lies between them may be lips as well."""

REDNESS, LIGHTNESS = (0.45, 0.65), (0.4, 0.55)
"""How red and how light what lies between lips is, over how red and light they are, up to which it is not lips, and from which it is."""

SEEN = 0.55, 0.95
"""Shares of a mouth's opening up to which none, and from which on all, of what an upper lip leaves to be seen of teeth is kept, in between
what lies above a line."""

CLOSES = 0.3
"""Share of what it was, below which an opening is one that shuts."""

GROWS = 1.0, 1.02
"""An opening over what it was, up to which it does not open further, and from which on it does."""

KNOWN = 0.06
"""How far lips were apart, over the distance of the eyes' outer corners, where what lies between them is known, at half of it not yet."""


def parted(image: Tensor, points: Tensor) -> Tensor:
    """The landmarks (68,2) of a crop (3,S,S), in pixels, the inner lips of a mouth that is shut on the dark line where they meet:
    landmarks are not exact, and what of the lower lip lies above them would hang on the upper one when they part."""
    at = torch.arange(image.shape[-1]) + 0.5
    mouth, outer = Opening.of(points, LIPS, at), Opening.of(points, OUTER_LIPS, at)
    apart = (points[[67, 66, 65], 1] - points[[61, 62, 63], 1]).clamp(min=0).max()
    touching = _lips_between(image, mouth, outer, at) * (apart < WIDE * _wide(points))
    shut = torch.maximum(_shut_by(apart, points), touching)
    if shut == 0:
        return points
    wide = max(1.0, (mouth.right - mouth.left) / 24)
    by = torch.zeros_like(points)
    for upper, lower in ((61, 67), (62, 66), (63, 65)):
        x, middle = (points[upper] + points[lower]) / 2
        columns = (at - x).abs() <= wide
        half = ((outer.bottom - outer.top)[columns].mean() / 4).maximum(apart)
        rows = (at - middle).abs() <= half
        if not columns.any() or rows.sum() < 3:
            continue
        light = image[:, rows][:, :, columns].mean((0, 2))
        light = (light - light.min()) / (light.max() - light.min()).clamp(min=1e-6)
        cost = light + FAR * ((at[rows] - middle) / half).square()
        seam = (-cost / SURE).softmax(0) @ at[rows]  # between pixels, so that it does not jump from frame to frame
        for point in (upper, lower):
            by[point, 1] = shut * (seam - points[point, 1])
    return points + by


def moved(image: Tensor, points: Tensor, there: Tensor) -> dict[str, Tensor]:
    """A crop (3,S,S) whose landmarks (68,2) go from ``points`` ``there``, in pixels: ``image`` (3,S,S), ``flow`` (2,S,S),
    where each pixel comes from, in shares of S right and down, and ``paint`` (3,S,S), what was added after it was moved."""
    size = image.shape[-1]
    if torch.equal(points, there):
        return {"image": image, "flow": image.new_zeros(2, size, size), "paint": torch.zeros_like(image)}
    at = torch.arange(size) + 0.5
    points, there = points.float(), there.float().clone()
    chin = points[list(JAW), 1]  # stays within the crop, along whose border nothing moves
    there[list(JAW), 1] = torch.minimum(there[list(JAW), 1], chin + (size - chin).clamp(min=0) / 2)
    soft = max(0.6, 0.004 * float(points[45, 0] - points[36, 0]))
    lips = Opening.of(there, LIPS, at)
    flow = _skin(points, there, lips, at, soft)
    eyes = [(Opening.of(points, chains, at), Opening.of(there, chains, at)) for chains in EYES]
    irises = [Iris.of(image, was, at) if (now.top < was.top).any() else None for was, now in eyes]
    for (was, now), iris in zip(eyes, irises):
        flow[1] += lids(was, now, at, iris) / size
    mask = lips.mask(at, soft)
    mouth = Opening.of(points, LIPS, _across(points, there, at))
    shut = _shut_by((mouth.bottom - mouth.top).max(), points)
    covered = (1 - shut) * _covered(mouth, lips)
    behind, unseen = _teeth(mouth, lips, points, there, at, soft, shut)
    # from the lower lip up, so that teeth get shorter, and do not fade
    unseen = torch.maximum(unseen, smooth((covered * (1 + EDGE) - 1 + _depth(lips, at)) / EDGE))
    # what is painted hides what was moved there: between the ways of lips and teeth lie pixels of neither
    flow = torch.lerp(flow, behind / size, mask * (1 - unseen))
    result = warped(image[None], flow[None])[0]
    paint = torch.zeros_like(result)
    closed = _closed((mouth.bottom - mouth.top).max(), (lips.bottom - lips.top).max())
    if (lost := torch.maximum(covered, closed)) > 0:
        paint = warped(_without_rim(image, points, lost, at)[None], flow[None])[0] - result
        paint = paint * (1 - mask * (1 - unseen))  # of the lips, not of teeth that are seen
    if (share := mask * unseen).any():
        inside = _cavity(image, points, lips, at)
        if (smiles := shut * _smiling(points, there, lips)) > 0:
            teeth = smiles * (1 + EDGE) - _depth(lips, at)
            inside = torch.lerp(inside, painted(result, there, share, mask), smooth(teeth / EDGE))
        paint = torch.lerp(paint, inside - result, share)
    for (was, now), iris in zip(eyes, irises):
        if iris is not None:
            paint += bared(image, result, was, now, at, soft, iris)
    paint += _without_teeth(result + paint, there, mouth, lips, at)
    for (was, now), light in zip((*eyes, (mouth, lips)), (LASH_LINE, LASH_LINE, LIP_LINE)):
        paint += _seam(result + paint, was, now, at, soft, light)
    return {"image": result + paint, "flow": flow, "paint": paint}


def _wide(points: Tensor) -> Tensor:
    """The distance of the eyes' outer corners, in pixels."""
    return (points[45, 0] - points[36, 0]).clamp(min=1.0)


def _shut_by(apart: Tensor, points: Tensor) -> Tensor:
    """1 where lips are so little ``apart``, in pixels, that nothing between them is known, 0 from `KNOWN` on."""
    return (2 - 2 * apart / (KNOWN * _wide(points))).clamp(0, 1)


def _covered(was: Opening, now: Opening) -> Tensor:
    """1 where a jaw drops while the upper lip comes down over the teeth, of which a jagged rest would be left, 0 where it does not."""
    before, after = ((edge.bottom - edge.top).max().clamp(min=1e-6) for edge in (was, now))
    (few, most), (still, wider) = SEEN, GROWS
    left = (was.bottom - now.top).max() / before
    return smooth((most - left) / (most - few)) * smooth((after / before - still) / (wider - still))


def _closed(before: Tensor, after: Tensor) -> Tensor:
    """1 where an opening that was so many pixels high is no more that, 0 where it is still there, or was none."""
    return (1 - after / before.clamp(min=1e-6) / CLOSES).clamp(0, 1) * (before / 2).clamp(0, 1)


def _without_rim(image: Tensor, points: Tensor, share: Tensor, at: Tensor) -> Tensor:
    """A crop (3,S,S) in whose mouth ``share`` of all that is between the lips is as these are, and so is a rim around it: landmarks
    are not exact, and teeth would hang on to lips."""
    mouth = Opening.of(points, LIPS, at)
    middles, colour = _lips(image, points, mouth, at)
    y, beyond = at[:, None], torch.maximum(mouth.left - at, at - mouth.right).clamp(min=0)
    wide = max(1.0, (mouth.right - mouth.left) / 10)
    inside = ((y - middles[0]) / wide + 0.5).clamp(0, 1) * ((middles[1] - y) / wide + 0.5).clamp(0, 1)
    return torch.lerp(image, colour, share * inside * (1 - beyond / wide).clamp(min=0))


def _lips(image: Tensor, points: Tensor, mouth: Opening, at: Tensor) -> tuple[list[Tensor], Tensor]:
    """The heights (S,) of the middles of the upper and the lower lip, and the colours that lips have there (3,S,S), those of the one
    above the middle of the mouth, of the other below."""
    middles = [
        (along(points[list(chain)], at) + edge) / 2 for chain, edge in zip(OUTER_LIPS, (mouth.top, mouth.bottom))
    ]
    rows = torch.stack(middles).long().clamp(0, len(at) - 1)  # (2,S)
    colours = image[:, rows, torch.arange(len(at))]  # (3,2,S)
    upper, lower = _level(colours, max(3, round(float(mouth.right - mouth.left) / 8))).unbind(1)
    share = ((at[:, None] - (mouth.top + mouth.bottom) / 2) / 2 + 0.5).clamp(0, 1)
    return middles, torch.lerp(upper[:, None], lower[:, None], share)


def _lips_between(image: Tensor, mouth: Opening, outer: Opening, at: Tensor) -> Tensor:
    """1 where what lies between the inner lips is as red and as light as lips are, 0 where it is not: teeth, or dark."""
    across = (at - (mouth.left + mouth.right) / 2).abs() < (mouth.right - mouth.left) / 3
    y = at[:, None]
    inside = (y > mouth.top) & (y < mouth.bottom) & across
    above = (y > (outer.top + mouth.top) / 2 - 1) & (y < mouth.top - 1)
    below = (y > mouth.bottom + 1) & (y < (outer.bottom + mouth.bottom) / 2 + 1)
    lips = (above | below) & across
    if inside.sum() < 3 or lips.sum() < 3:
        return torch.zeros(())
    colour = (image + 1) / 2
    light = colour.mean(0)
    red = (colour[0] - colour[1]) / (light + 0.05)
    few = max(1, int(inside.sum()) // 10000)  # of a large crop
    likes = (
        red[inside][::few].quantile(0.25) / red[lips].median().clamp(min=0.05),
        light[inside].median() / light[lips].median().clamp(min=0.05),
    )
    red_enough, light_enough = (
        smooth((like - low) / (high - low)) for like, (low, high) in zip(likes, (REDNESS, LIGHTNESS))
    )
    return red_enough * light_enough


def _skin(points: Tensor, there: Tensor, lips: Opening, at: Tensor, soft: float) -> Tensor:
    """(2,S,S): a smooth field above the mouth's middle and one below. Each knows only the lip that it touches: in a shut
    mouth their edges lie on each other, and go two ways. Lids go by themselves, see `lids`."""
    above, below = (
        spline(there[known], (points - there)[known], len(at))
        for known in (
            [point for point in range(POINTS) if point not in (*LIDS, *blind)] for blind in (LOWER_LIP, UPPER_LIP)
        )
    )
    return torch.lerp(above, below, lips.below(at, soft))


def _seam(result: Tensor, was: Opening, now: Opening, at: Tensor, soft: float, light: float) -> Tensor:
    """What is added (3,S,S) where an opening has shut: its edges meet in a line, ``light`` of the darker of them. Between
    shifts that go two ways lie some that show what is behind."""
    shut = _shut(was, now, at)
    if not shut.any():
        return torch.zeros_like(result)
    wide = round(2 * soft + 1)
    away = (at[:, None] - (now.top + now.bottom) / 2).abs()
    share = shut * (2 * (1 - away / (wide + 0.5))).clamp(0, 1)
    line = torch.minimum(result.roll(wide + 1, 1), result.roll(-wide - 1, 1))
    return share * (light * (line + 1) - 1 - result)


def _shut(was: Opening, now: Opening, at: Tensor) -> Tensor:
    """(S,): how far an opening has shut, see `_closed`, 0 beyond its corners."""
    return _closed(was.bottom - was.top, now.bottom - now.top) * ((at > now.left) & (at < now.right))


def _without_teeth(result: Tensor, there: Tensor, was: Opening, now: Opening, at: Tensor) -> Tensor:
    """What is added (3,S,S) to the lips of a mouth that has shut: landmarks are not exact, and teeth hang on to lips. What
    is lighter there than the middle of either lip becomes as that is, and so does what is left of dark corners."""
    shut = _shut(was, now, at)
    if not shut.any():
        return torch.zeros_like(result)
    middles, colour = _lips(result, there, now, at)
    y, seam = at[:, None], (now.top + now.bottom) / 2
    apart = (result - colour).mean(0)
    beside = torch.where(y < seam, seam - middles[0], middles[1] - seam)
    lighter = shut * (apart / 0.12 - 0.25).clamp(0, 1) * _within(y - seam, beside.clamp(min=1))
    # its corners were dark and lie beyond the inner lips' ends, where lips have no height
    wide = max(2, round(float(now.right - now.left) / 8))
    around = F.max_pool1d(shut[None], 2 * wide + 1, 1, wide)[0]
    darker = around * (-apart / 0.15 - 0.3).clamp(0, 1) * _within(y - seam, beside.clamp(min=wide / 2))
    return torch.maximum(lighter, darker) * (colour - result)


def _within(away: Tensor, far: Tensor) -> Tensor:
    """1 up to two thirds of ``far``, down to 0 there."""
    return (3 * (1 - away.abs() / far)).clamp(0, 1)


def _level(rows: Tensor, width: int) -> Tensor:
    """(…,S), the mean of 2·``width`` + 1 neighbours."""
    return F.avg_pool1d(F.pad(rows, (width, width), mode="replicate"), 2 * width + 1, 1)


def _across(points: Tensor, there: Tensor, at: Tensor) -> Tensor:
    """(S,): where in the old mouth each column of the new one lies."""
    (old_left, old_right), (left, right) = points[[60, 64], 0], there[[60, 64], 0]
    return old_left + (at - left) * (old_right - old_left) / (right - left).clamp(min=1.0)


def _teeth(
    was: Opening, now: Opening, points: Tensor, there: Tensor, at: Tensor, soft: float, shut: Tensor
) -> tuple[Tensor, Tensor]:
    """(2,S,S) in pixels, and (S,S) 1 where nothing was seen: what lies in a mouth that opens stays with the upper jaw. In one
    that does not it goes with the upper lip, or below it there would be something that nobody has seen. Of a mouth that was ``shut``,
    1, nothing was seen; what landmarks have between its lips are lips."""
    y = at[:, None]
    wider = (((now.bottom - now.top) - (was.bottom - was.top)) / (2 * soft)).clamp(0, 1)
    inside = torch.minimum(at - now.left, now.right - at) / (0.2 * max(now.right - now.left, 1.0))
    wider = wider * inside.clamp(0, 1)  # nothing is painted in its corners
    with_lip = was.top + (y - now.top)
    source = torch.lerp(with_lip, torch.maximum(y, was.top + soft * wider), wider)
    unseen = ((source - (was.bottom - 1.5 * soft)) / (2 * soft)).clamp(0, 1)
    unseen = wider * torch.maximum(unseen, shut)
    source = torch.minimum(source, was.bottom)
    across = (_across(points, there, at) - at).expand_as(source)
    return torch.stack([across, source - y]), unseen


def _cavity(image: Tensor, points: Tensor, lips: Opening, at: Tensor) -> Tensor:
    """The inside of a mouth (3,S,S) in the face's light: the upper teeth, dark, and the tongue at the lower lip."""
    light = _around(image, points[30], 2).mean()
    skin = _around(image, points[30], round(0.2 * float(_wide(points))))
    light = light * (skin / skin.mean().clamp(min=0.05) / image.new_tensor(SKIN)[:, None, None]).clamp(*TINT)
    deep, tongue, teeth = (image.new_tensor(colour)[:, None, None] for colour in (DEEP, TONGUE, TEETH))
    wide, eyes = max(lips.right - lips.left, 1.0), float(_wide(points))
    y, top, bottom = (rows.to(image) for rows in (at[:, None], lips.top, lips.bottom))
    across = (at - (lips.left + lips.right) / 2).to(image)
    side = (2 * across / wide).square().clamp(max=1)
    high = (bottom - top).max().clamp(min=1e-6)
    colour = torch.lerp(deep, tongue, (1 - side).sqrt() * smooth(1 - (bottom - y) / (0.45 * high)))
    # an arch of teeth, darker to both sides, where it goes up behind the lip, in whose shade it lies
    tooth = (math.pi * across / (TOOTH * eyes)).sin().abs()  # 0 between two teeth
    edge = (
        top[across.abs() < wide / 8].mean() + LONG * eyes * (0.9 + 0.1 * tooth.sqrt()) - ARCH * across.square() / eyes
    )
    shown = smooth((edge - y) / (2 * max(0.6, 0.006 * eyes)) + 0.5) * smooth((high / eyes - LONG) / LONG)
    lit = (0.35 + 0.65 * smooth((y - top) / (LONG * eyes))) * (1 - 0.6 * side) * (0.8 + 0.2 * smooth(tooth / 0.3))
    return (light * torch.lerp(colour, teeth * lit, shown)).clamp(0, 1) * 2 - 1


def _around(image: Tensor, point: Tensor, far: int) -> Tensor:
    """The mean (3,1,1), from 0 to 1, of a crop up to so many pixels from a point (2,)."""
    x, y = point.int().tolist()
    return (image[:, max(y - far, 0) : y + far + 1, max(x - far, 0) : x + far + 1].mean((1, 2), keepdim=True) + 1) / 2


def _depth(lips: Opening, at: Tensor) -> Tensor:
    """(S,S): 0 at the upper lip, 1 at the lower one."""
    return ((at[:, None] - lips.top) / (lips.bottom - lips.top).clamp(min=1e-6)).clamp(0, 1)


def _smiling(points: Tensor, there: Tensor, lips: Opening) -> Tensor:
    """From 0, where the jaw dropped and a mouth is dark, to 1, where corners went up, or are up, and it shows teeth."""
    was, now = _curved(points), _curved(there)
    (some, every), (wide, widest) = SMILES, DROPS
    smiles = torch.maximum(smooth((now - some) / (every - some)), smooth((now - was) / RISE))
    high = (lips.bottom - lips.top).max() / max(lips.right - lips.left, 1.0)
    down = (there - points)[[48, 54], 1].mean() / _wide(points)
    still, far = CORNERS
    return smiles * smooth((widest - high) / (widest - wide)) * smooth((far - down) / (far - still))


def _curved(points: Tensor) -> Tensor:
    """How far below its corners the middle of the upper lip lies, over the mouth's width."""
    left, right, middle = points[48], points[54], points[51]
    return (middle[1] - (left[1] + right[1]) / 2) / (right[0] - left[0]).clamp(min=1.0)
