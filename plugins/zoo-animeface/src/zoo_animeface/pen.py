"""How a draughtsman draws brows, eyes, noses and mouths where a photograph has them.

N faces in pictures of H by W pixels. Points are iBUG's 68, counted from 0, in pixels; a face's ``unit`` is three times the distance of
its eyes' middles, about as wide as the head.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo_animeface.colours import lips_beside
from zoo_animeface.edges import luma

BROWS = (range(17, 22), range(26, 21, -1))
"""Each from its outer end to its inner one."""

EYES = ((36, 37, 38, 39, 40, 41), (45, 44, 43, 42, 47, 46))
"""Each from its outer corner over the upper lid to its inner one, and back."""

OUTER = (range(48, 55), (48, 59, 58, 57, 56, 55, 54))
INNER = ((60, 61, 62, 63, 64), (60, 67, 66, 65, 64))
"""The lips' edges, the upper and the lower, from the right corner to the left one."""

AROUND = 0.06
"""How far around a brow there is nothing but skin, in units."""

BROW, LINE = (0.003, 0.010, 0.006), (0.003, 0.005, 0.003)
"""Half the width of a brow, and of the line between lips, at its beginning, its middle and its end, in units."""

RAISED = (0.012, 0.012, 0.014, 0.022, 0.032)
"""By how much the points of a brow are drawn higher than they are, from the outer end to the inner one, in units."""

INK = 0.25
"""How light strokes are beside skin."""

LASHES, WHITE = (0.12, 0.09, 0.09), (0.97, 0.97, 0.98)
"""Red, green and blue of lashes and of an eyeball."""

WIDER, HIGHER, LARGER = 1.32, 0.22, 0.66
"""How many times as wide as it is an open eye is drawn, and by how much of its own width higher, upwards and downwards."""

SHUT = 0.15, 0.27
"""Heights of an eye, in shares of its width, up to which it is drawn shut, and from which it is as large as it gets."""

WINK = 0.5, 0.8
"""By how much one eye is wider open than the other up to which both are drawn alike, and from which it is a wink."""

IRIS = 0.43
"""Half the width of an iris in shares of an eye's."""

COLOURS = ((1.08, (0.50, 0.31, 0.19)), (1.2, (0.44, 0.45, 0.30)), (1.3, (0.38, 0.52, 0.56)), (1.5, (0.30, 0.50, 0.74)))
"""Red, green and blue of drawn eyes, by how many times as much blue beside red a photograph's have as the cheeks: whatever light it is,
brown ones have about as much, grey and blue ones more."""

BROWN, DIMMEST = (0.33, 0.20, 0.15), (0.16, 0.22)
"""The colour of dark eyes, and how light an eye is in a photograph up to which it has that one, and from which one of `COLOURS`."""

SEEN, DARKER, PUPIL, SHINE = 0.2, 0.35, 0.8, 1.35
"""How far from an eye's middle its colour is looked for, in shares of its width; the share of it that is darker than some of the iris: what looks to
the side is half white; and how light beside that an iris is at least, and at most: darker is the pupil, lighter what shines."""

MOUTH, TOOTH = (0.38, 0.14, 0.14), (0.97, 0.96, 0.95)
"""The colours of an open mouth and its teeth."""

FULL, LIPS, TEETH, FEW = 0.8, 0.75, 0.6, 0.25
"""How much of lips is drawn, and how densely; shares of what is between them that are teeth from which all of it is, and below which none."""

NOSE, NOSTRIL = (0.22, 0.05), (0.66, 0.5, 0.45)
"""Half the length and the width of the stroke below a nose, in widths of it; how light it is beside skin."""

PALE, DIM = (1.25, 1.5), 0.6
"""How light and how grey, one times the other, what is between lips is beside them up to which it is dark, and from which it is teeth;
and how light it is beside them below which it is no lip."""

APART, PARTED = (0.012, 0.022), (0.15, 0.35)
"""How far apart landmarks have lips, in units, and shares of what is between them that are teeth or dark, up to which lips are shut, and
from which they are as landmarks have them."""

BESIDE = (0.5, 0.55), (0.04, 0.05)
"""How far an eye and lips have skin around them: an eye to its sides, and above and below, in shares of its width; lips above and beside
them, and below, in units. What a network has drawn there is gone."""


class Face:
    """What is drawn so far on the ``paper``, (N,3,h,w) in [0,1], and how much of it counts, (N,1,h,w): at first the room that features have.

    ``size`` is h and w; points (N,68,2) are in pixels of it."""

    paper: Tensor
    picture: Tensor

    def __init__(self, points: Tensor, unit: Tensor, size: tuple[int, int]) -> None:
        self.points, self.unit = points, unit
        rows, columns = (torch.arange(side, device=points.device) + 0.5 for side in size)
        self.places = torch.stack([columns.expand(len(rows), -1), rows[:, None].expand(-1, len(columns))], -1)
        self.where = points.new_zeros(len(points), 1, *size)
        self.brows = {brow: self.away(self.raised(brow)) for brow in BROWS}
        lines = [points[:, list(line)] for line in EYES]
        self.eyes = [Eye(line, self.places, open_) for line, open_ in zip(lines, alike(*map(opened, lines)))]
        corners = points[:, [48, 54]]
        self.lips = _Axes(corners.mean(1), corners[:, 1] - corners[:, 0])
        rooms = (
            [far < AROUND for far, _ in self.brows.values()]
            + [eye.room for eye in self.eyes]
            + [self.around_lips(), self.around_nose()]
        )
        self.where = torch.stack(rooms).any(0).float()

    def raised(self, brow: Sequence[int]) -> Tensor:
        """A brow's points, (N,5,2), above an eye that is larger than the photograph's, and by more at the inner end: a stroke along the
        upper edge of a brow comes down there, and looks cross."""
        up = F.normalize(self.points[:, 27:28] - self.points[:, 30:31], dim=2)
        return self.points[:, list(brow)] + up * self.unit[:, None, None] * up.new_tensor(RAISED)[:, None]

    def away(self, line: Tensor) -> tuple[Tensor, Tensor]:
        """How far each pixel is from a line (N,K,2), in units, much where it is not near, and where along it the nearest of it is, from 0 to 1:
        (N,1,h,w)."""
        fine = _curve(line, 16)
        rows, columns = box(fine, AROUND * float(self.unit.max()) + 2, *self.places.shape[:2])
        there = self.places[rows, columns]
        far, nearest = torch.cdist(there.flatten(0, 1)[None], fine).min(2)
        distance, along = self.where.new_full(self.where.shape, 9.0), torch.zeros_like(self.where)
        sides = (len(fine), 1, *there.shape[:2])
        distance[:, :, rows, columns] = (far / self.unit[:, None]).view(sides)
        along[:, :, rows, columns] = nearest.view(sides) / (fine.shape[1] - 1)
        return distance, along

    def edges(self, lines: Sequence[Sequence[int]]) -> list[Tensor]:
        """How low edges of the lips are at each pixel, as `lips` has it."""
        x, _ = self.lips.of(self.places)
        return [height_at(x, self.lips.of_points(_curve(self.points[:, list(line)], 4))) for line in lines]

    def around_lips(self) -> Tensor:
        x, y = self.lips.of(self.places)
        upper, lower = self.edges(OUTER)
        above, below = (each(self.unit / self.lips.size) * far for far in BESIDE[1])
        return (y > upper - above) & (y < lower + below) & (x.abs() < 0.5 + above)

    def around_nose(self) -> Tensor:
        axes = _Axes(self.points[:, [30, 33]].mean(1), self.points[:, 35] - self.points[:, 31])
        x, y = axes.of(self.places)
        return torch.hypot(x / 1.1, y / 0.9) < 1  # a nose, its wings and what shade there is beside them

    def put(self, colour: Tensor, where: Tensor) -> None:
        self.picture = torch.lerp(self.picture, colour.expand_as(self.picture), where)

    def over(self, colour: Tensor, where: Tensor) -> None:
        """What is in front of all of it, and counts as strokes do."""
        self.put(colour, where)
        self.where = torch.maximum(self.where, 3 * where)

    def stroke(self, far: Tensor, along: Tensor, widths: Sequence[float], share: Tensor | float = 1.0) -> None:
        first, second = (2 * along).clamp(max=1), (2 * along - 1).clamp(min=0)
        half = widths[0] + (widths[1] - widths[0]) * first + (widths[2] - widths[1]) * second
        dense = ((half - far) * each(self.unit) + 0.5).clamp(0, 1) * share
        self.put(self.paper * INK, dense)
        self.where = torch.maximum(self.where, 3 * dense)

    def brow(self, line: range) -> None:
        self.stroke(*self.brows[line], BROW)

    def iris(self, seen: Tensor, cheek: Tensor) -> Tensor:
        """The colour (N,3,1,1) that both eyes of the photograph (N,3,h,w) in [0,1], whose skin is ``cheek`` (N,3,1,1), are drawn with."""
        light = luma(seen)
        rather_dark = [quantile(light, eye.own, DARKER) for eye in self.eyes]
        iris = [eye.own & (light > PUPIL * at) & (light < SHINE * at) for eye, at in zip(self.eyes, rather_dark)]
        own = colour_of(seen, torch.stack(iris).any(0))
        beside = own / cheek.clamp(min=0.02)
        bluer = beside[:, 2:] / beside[:, :1].clamp(min=0.02)
        (at, first), *others = COLOURS
        colour = _plain(first, seen).expand_as(own)
        for next_, other in others:
            colour = torch.lerp(colour, _plain(other, seen).expand_as(own), ((bluer - at) / (next_ - at)).clamp(0, 1))
            at = next_
        darkness = ((DIMMEST[1] - luma(own)) / (DIMMEST[1] - DIMMEST[0])).clamp(0, 1)
        return torch.lerp(colour, _plain(BROWN, seen).expand_as(colour), darkness)

    def eye(self, eye: Eye, colour: Tensor) -> None:
        """An eye whose iris has this ``colour`` (N,3,1,1)."""
        x, y, t, open_, soft = eye.x, eye.y, eye.t, each(eye.open), each(eye.axes.size)
        visible = inside(torch.minimum(y - eye.lid, eye.low - y) * soft) * (open_ > 0)
        self.put(_plain(WHITE, colour), visible)
        self.put(
            self.picture * _plain((0.78, 0.76, 0.82), colour),
            visible * inside((0.16 - (y - eye.lid)) * soft),
        )

        across, down = x / IRIS, (y - eye.centre) / eye.half
        round_ = torch.hypot(across, down)
        iris = inside((1 - round_) * eye.half.clamp(max=IRIS) * soft) * visible
        shade = torch.lerp(torch.full_like(x, 0.38), torch.full_like(x, 1.28), ((down + 0.75) / 1.5).clamp(0, 1))
        rim = inside((round_ - 0.86) * IRIS * soft)
        pupil = inside((0.5 - torch.hypot(across * 1.15, down + 0.08)) * IRIS * soft)
        self.put((colour * shade).clamp(max=1), iris)
        self.put(colour * 0.3, iris * torch.maximum(0.75 * rim, pupil))

        side = each(eye.axes.along[:, 0].sign())  # lights are on the same side of both eyes
        for at, where, large, bright in ((-0.3, -0.36, 0.33, 1.0), (0.34, 0.5, 0.17, 0.85)):
            far = torch.hypot(across - at * side, (down - where) * eye.half / IRIS * 0.85)
            light = inside((large - far) * IRIS * soft) * iris
            self.put(torch.ones_like(colour), bright * light)

        thick = 0.065 + 0.06 * (1 - t).clamp(0, 1)
        ends = (torch.minimum(t + 0.1, 1.03 - t) / 0.12).clamp(0, 1).sqrt()
        upper = _line((y - eye.lid + 0.02) * soft, thick * ends * soft) * (ends > 0)
        some = (1 - ((t - 0.3) / 0.3).square()).clamp(0, 1).sqrt()
        lower = _line((y - eye.low) * soft, 0.026 * some * soft) * (some > 0) * open_
        bent = (1 - ((t - 0.48) / 0.36).square()).clamp(0, 1).sqrt()
        crease = _line((y - eye.lid + 0.17 * open_) * soft, 0.02 * bent * soft) * (bent > 0) * open_
        self.put(self.paper * 0.55, 0.9 * crease)
        self.put(_plain(LASHES, colour), torch.maximum(upper, 0.75 * lower))
        self.where = torch.maximum(self.where, 3 * torch.maximum(iris, upper))

    def mouth(self, seen: Tensor, cheek: Tensor, mouth: Tensor) -> None:
        """``seen`` is the photograph in [0,1], ``cheek`` (N,3,1,1) the skin in it, ``mouth`` (N,1,h,w) what of it is one."""
        x, y = self.lips.of(self.places)
        outer, inner, soft = self.edges(OUTER), self.edges(INNER), each(self.lips.size)
        wide = inside((0.5 - x.abs()) * soft)
        middle = (inner[0] + inner[1]) / 2
        above, below = (torch.lerp(lip, edge, FULL) for lip, edge in zip(inner, outer))
        lips = inside(torch.minimum(y - above, below - y) * soft) * wide
        differ, own = lips_beside(seen, mouth, cheek[:, :, 0, 0])
        self.put(self.paper * differ[:, :, None, None], LIPS * lips)

        own = own[:, :, None, None]
        pale, of_lips = (
            luma(x) * x.amin(1, keepdim=True) / x.amax(1, keepdim=True).clamp(min=0.05) for x in (seen, own)
        )
        pale = pale / of_lips.clamp(min=0.02)
        teeth = ((pale - PALE[0]) / (PALE[1] - PALE[0])).clamp(0, 1)
        between = (torch.minimum(y - inner[0], inner[1] - y) * soft).clamp(0, 1) * wide
        all_ = between.sum((1, 2, 3)).clamp(min=1)
        no_lip = ((teeth > 0.5) | (luma(seen) < DIM * luma(own).clamp(min=0.02))).float()
        share = (no_lip * between).sum((1, 2, 3)) / all_
        above, below = (self.points[:, list(edge[1:4])] for edge in INNER)
        gap = (above - below).norm(dim=2).amax(1) / self.unit
        sure = ((value - most[0]) / (most[1] - most[0]) for value, most in ((share, PARTED), (gap, APART)))
        parted = each(torch.stack([*sure]).clamp(0, 1).prod(0))
        upper, lower = (torch.lerp(middle, edge, parted) for edge in inner)
        opened = (torch.minimum(y - upper, lower - y) * soft).clamp(0, 1) * wide
        self.put(_plain(MOUTH, seen), opened)
        # teeth from above down to where the photograph has them on the whole, and in one shape
        shown = each((teeth * between).sum((1, 2, 3)) / all_ / TEETH).clamp(0, 1)
        row = torch.lerp(upper, lower, (shown * (1 - (x / 0.5).square() * (1 - shown))).clamp(0, 1))
        row = inside((row - y) * soft) * opened * (shown > FEW)
        self.put(_plain(TOOTH, seen), row)
        self.where = torch.maximum(self.where, 2 * opened)
        along = (x + 0.5).clamp(0, 1)
        for edge, dense in ((upper, 1.0), (lower, 0.7)):
            self.stroke((y - edge).abs() * soft / each(self.unit) + (x.abs() > 0.48) * 9.0, along, LINE, dense)
        # the shade below the lower lip
        below = (1 - (x / 0.16).square()).clamp(0, 1).sqrt()
        shade = _line((y - outer[1] - 0.03) * soft, 0.02 * below * soft) * (below > 0)
        self.put(self.paper * 0.72, 0.7 * shade)
        self.where = torch.maximum(self.where, shade)

    def nose(self) -> None:
        """A short stroke where a nose ends."""
        axes = _Axes(self.points[:, 33], self.points[:, 35] - self.points[:, 31])
        x, y = axes.of(self.places)
        soft = each(axes.size)
        bent = (1 - (x / NOSE[0]).square()).clamp(0, 1)
        stroke = _line((y + 0.05 - 0.12 * bent) * soft, NOSE[1] * bent.sqrt() * soft) * (bent > 0)
        self.put(self.paper * _plain(NOSTRIL, self.paper), stroke)
        self.where = torch.maximum(self.where, 2 * stroke)


class Eye:
    """Where the parts of a drawn eye are: ``line`` (N,6,2) are its corners and lids as `EYES` has them, ``open_`` (N,) how far it is open."""

    def __init__(self, line: Tensor, places: Tensor, open_: Tensor) -> None:
        self.axes, self.open = eye_axes(line), open_
        self.x, self.y = x, y = self.axes.of(places)
        marks = self.axes.of_points(line)
        lid, low = marks[:, 1:3, 1].mean(1), marks[:, 4:, 1].mean(1)
        self.own = (torch.hypot(x, y) < SEEN) & (((y > each(lid)) & (y < each(low))) | (y.abs() < 0.04))
        top, bottom = lid - HIGHER * self.open, low + LARGER * self.open
        self.half, self.centre = each((bottom - top) / 2).clamp(min=0.02) * 1.06, each((bottom + top) / 2)
        # both lids: bows from corner to corner, flat in their middles
        outer, inner = marks[:, 0, 1] + 0.16 * self.open, marks[:, 3, 1] + 0.1 * self.open
        wide = each(1 + (WIDER - 1) * self.open) / 2
        self.t = t = (x + wide) / (2 * wide)
        corner = torch.lerp(each(outer), each(inner), t.clamp(-0.3, 1.3))
        bow = 1 - (2 * t - 1).abs() ** 2.4
        self.lid = corner + (each(top) - corner) * bow.clamp(min=-0.4)
        self.low = corner + (each(bottom) - corner) * (1 - (2 * t - 1).abs() ** 3).clamp(min=-0.4)
        room = low + LARGER  # where eyes are open, shut ones leave skin
        across, high = 0.5 + BESIDE[0][0], each((room - lid + HIGHER) / 2 + BESIDE[0][1])
        self.room = torch.hypot(x / across, (y - each((room + lid - HIGHER) / 2)) / high) < 1


def eye_axes(line: Tensor) -> _Axes:
    return _Axes(line[:, [1, 2, 4, 5]].mean(1), line[:, 3] - line[:, 0])


def opened(line: Tensor) -> Tensor:
    """How far eyes (N,6,2), as `EYES` has them, are open: (N,) from 0 to 1."""
    marks = eye_axes(line).of_points(line)
    height = marks[:, 4:, 1].mean(1) - marks[:, 1:3, 1].mean(1)
    return ((height - SHUT[0]) / (SHUT[1] - SHUT[0])).clamp(0, 1)


def alike(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """How far both eyes are open if they are nearly alike: landmarks are not exact, and a smile is no wink."""
    wink = (((one - other).abs() - WINK[0]) / (WINK[1] - WINK[0])).clamp(0, 1)
    middle = (one + other) / 2
    return torch.lerp(middle, one, wink), torch.lerp(middle, other, wink)


class _Axes:
    """Places as a feature has them: along it, and down, from a middle (N,2), in lengths of a vector (N,2)."""

    def __init__(self, middle: Tensor, across: Tensor) -> None:
        self.middle, self.size = middle, across.norm(dim=1).clamp(min=2)
        self.along = across / self.size[:, None]
        down = torch.stack([-self.along[:, 1], self.along[:, 0]], 1)
        self.axes = torch.stack([self.along, down * down[:, 1:].sign()], 1) / self.size[:, None, None]

    def of(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Of (H,W,2): (N,1,H,W) each."""
        x, y = torch.einsum("nij,nhwj->inhw", self.axes, places - self.middle[:, None, None])
        return x[:, None], y[:, None]

    def of_points(self, points: Tensor) -> Tensor:
        """Of (N,K,2): (N,K,2)."""
        return (points - self.middle[:, None]) @ self.axes.mT


def unit_of(points: Tensor) -> Tensor:
    """The ``unit`` of faces whose points are (N,68,2): (N,)."""
    return 3 * (points[:, 36:42].mean(1) - points[:, 42:48].mean(1)).norm(dim=1).clamp(min=1)


def box(points: Tensor, reach: float, height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns of a picture around points (…,2) of pixels, as far as they reach."""
    left, top = (points.flatten(0, -2).amin(0) - reach).floor().int().tolist()
    right, bottom = (points.flatten(0, -2).amax(0) + reach).ceil().int().tolist()
    left, right = (min(max(at, 0), width) for at in (left, right))
    top, bottom = (min(max(at, 0), height) for at in (top, bottom))
    return slice(top, bottom), slice(left, right)


def _curve(points: Tensor, finer: int) -> Tensor:
    """A smooth line (N,(K-1)·finer+1,2) through points (N,K,2)."""
    count = (points.shape[1] - 1) * finer + 1
    return F.interpolate(points.mT[:, :, None], (1, count), mode="bicubic", align_corners=True)[:, :, 0].mT


def height_at(x: Tensor, line: Tensor) -> Tensor:
    """How high a line (N,K,2) is at x (N,1,H,W): straight between its points, level beyond them."""
    height = each(line[:, 0, 1]).expand_as(x)
    for start, step in zip(line.unbind(1), line.diff(dim=1).unbind(1)):
        run = step[:, 0].clamp(min=1e-3)
        height = height + each(step[:, 1] / run) * (x - each(start[:, 0])).clamp(min=0).minimum(each(run))
    return height


def quantile(plane: Tensor, where: Tensor, share: float) -> Tensor:
    """Of (N,1,H,W) where (N,1,H,W) is, (N,1,1,1)."""
    return plane.masked_fill(~where, torch.nan).flatten(1).nanquantile(share, dim=1)[:, None, None, None]


def colour_of(picture: Tensor, where: Tensor) -> Tensor:
    """The mean of (N,3,H,W) where (N,1,H,W) is, (N,3,1,1)."""
    return (picture * where).sum((2, 3), keepdim=True) / where.sum((2, 3), keepdim=True).clamp(min=1)


def _line(off: Tensor, half: Tensor) -> Tensor:
    """How much of a pixel is of a line ``half`` of whose width is so many pixels, and that is so many above or below it, (N,1,H,W)."""
    return (half - off.abs() / _steep(off) + 0.5).clamp(0, 1)


def inside(deep: Tensor) -> Tensor:
    """How much of a pixel lies within an edge that it is so many pixels ``deep`` in, (N,1,H,W), measured in whatever direction."""
    return (deep / _steep(deep) + 0.5).clamp(0, 1)


def _steep(level: Tensor) -> Tensor:
    """By how much levels (N,1,H,W) differ from pixel to pixel, where that is more than 1."""
    right, down = F.pad(level.diff(dim=3), (0, 1)), F.pad(level.diff(dim=2), (0, 0, 0, 1))
    return torch.hypot(right, down).clamp(min=1)


def each(numbers: Tensor) -> Tensor:
    """(N,) -> (N,1,1,1)."""
    return numbers[:, None, None, None]


def _plain(colour: Sequence[float], like: Tensor) -> Tensor:
    return like.new_tensor(colour)[:, None, None]
