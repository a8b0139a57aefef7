"""Brows, eyes and mouths as a draughtsman draws them, where a photograph has them: what results of a training are compared with, and
what portraits get.

Drawn features are a few pixels each, so that a critic is pleased with them anywhere, and what it has seen most are frowns: people
who look calmly were drawn angry, those who smile with their lips shut, sad, and all with grey eyes, the mean of those that are drawn.

N faces in pictures of H by W pixels. Points are iBUG's 68, counted from 0, in pixels; a face's ``unit`` is three times the distance of
its eyes' middles, about as wide as the head.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.loss import Loss, view
from zoo_animeface.colours import lips_beside
from zoo_animeface.skin import LUMA, likely, parts_of

BROWS = (range(17, 22), range(26, 21, -1))
"""Each from its outer end to its inner one."""

EYES = ((36, 37, 38, 39, 40, 41), (45, 44, 43, 42, 47, 46))
"""Each from its outer corner over the upper lid to its inner one, and back."""

OUTER = (range(48, 55), (48, 59, 58, 57, 56, 55, 54))
INNER = ((60, 61, 62, 63, 64), (60, 67, 66, 65, 64))
"""The lips' edges, the upper and the lower, from the right corner to the left one."""

AROUND = 0.06
"""How far around a brow there is nothing but skin, in units."""

BROW, LINE = (0.003, 0.008, 0.007), (0.002, 0.005, 0.002)
"""Half the width of a brow, and of the line between lips, at its beginning, its middle and its end, in units."""

INK = 0.25
"""How light strokes are beside skin."""

LASHES, WHITE = (0.12, 0.09, 0.09), (0.97, 0.97, 0.98)
"""Red, green and blue of lashes and of an eyeball."""

LARGER = 0.72
"""By how much of its width an open eye is drawn higher than it is, downwards."""

SHUT = 0.15, 0.27
"""Heights of an eye, in shares of its width, up to which it is drawn shut, and from which it is as large as it gets."""

WHITES, IRIS, BRIGHT, PURE = 0.5, 0.4, 0.55, 0.3
"""Half the width of an eyeball and of an iris in shares of an eye's; how light the strongest of its colours is, and the weakest at least, beside it."""

BROWN, DIMMEST = (0.36, 0.23, 0.17), (0.16, 0.26)
"""The colour of dark eyes, and how light an eye is in a photograph up to which it has that one, and from which it has its own."""

SEEN = 0.2
"""How far from an eye's middle its colour is looked for, in shares of its width."""

MOUTH, TOOTH = (0.38, 0.14, 0.14), (0.97, 0.96, 0.95)
"""The colours of an open mouth and its teeth."""

PALE, DIM = (1.25, 1.5), 0.6
"""How light and how grey, one times the other, what is between lips is beside them up to which it is dark, and from which it is teeth;
and how light it is beside them below which it is no lip."""

APART, PARTED = (0.012, 0.022), (0.15, 0.35)
"""How far apart landmarks have lips, in units, and shares of what is between them that are teeth or dark, up to which lips are shut, and
from which they are as landmarks have them."""

BESIDE = (0.5, 0.55), (0.04, 0.05)
"""How far an eye and lips have skin around them: an eye to its sides, and above and below, in shares of its width; lips above and beside
them, and below, in units. What a network has drawn there is gone."""

WORN = 0.2
"""Share of the eyes' surroundings that dark glasses cover if they are worn before them."""

CLEAR, THIN, FRAME = 0.5, 0.025, (0.18, 0.33)
"""How light glasses are beside the cheeks from which eyes are seen through them; half the width of their frames at most, in units; and by
how much of what cheeks are light these are darker than what is around them, up to which there is none and from which there is one."""

FIELD = 0.25
"""How far around a face's features a drawing is looked at, in units."""

GRID, ALIKE = 128, 0.12
"""Pixels of the side in which skin is continued where features are drawn, and by how much of what is light in it it differs at most."""


class DrawnFeaturesLoss(Loss):
    """Brows, eyes and mouth of results against ones that are drawn by the photograph's landmarks: mean absolute difference of colours
    there, strokes counting three times.

    Brows and the line between shut lips are strokes that get thinner to their ends. Eyes are larger than a photograph's, downwards,
    as `zoo_animeface.points.of_68` has them, with lashes, two lights and the person's own colour. Open mouths show the teeth that the
    photograph shows. Where hair or dark glasses are in front nothing is asked; ``landmarks`` are those that the core's provider of that name
    finds, and faces without any count nothing.
    """

    needs = frozenset({"output", "source", "landmarks"})

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        image, photo, parts = step["output"].float(), step["source"].float(), view(step, "source", parts_of)
        with torch.autocast(image.device.type, enabled=False):  # pixels are counted in fractions
            wanted, where = drawn_features(photo, image.detach(), step["landmarks"].float(), parts.float())
        return ((image - wanted).abs().mean(1, keepdim=True) * where).sum() / where.sum().clamp(min=1)


@torch.no_grad()
def drawn_features(photo: Tensor, drawing: Tensor, landmarks: Tensor, parts: Tensor) -> tuple[Tensor, Tensor]:
    """The features of faces in photographs (N,3,H,W) in [-1,1], with ``landmarks`` (N,68,2) in shares of the sides, NaN for none, and
    ``parts`` of `parts_of`, drawn on the skin that their ``drawing`` has: (N,3,H,W) in [-1,1], and how much a pixel counts, (N,1,H,W)."""
    known = landmarks.isfinite().flatten(1).all(1)
    wanted, where = drawing.clone(), torch.zeros_like(drawing[:, :1])
    if not known.any():
        return wanted, where
    height, width = drawing.shape[2:]
    points = landmarks.nan_to_num(0.5) * landmarks.new_tensor([width, height])
    unit = 3 * (points[:, 36:42].mean(1) - points[:, 42:48].mean(1)).norm(dim=1).clamp(min=1)
    rows, columns = _box(points[known, 17:], FIELD * float(unit[known].max()), height, width)

    def large(*names: str) -> Tensor:
        return F.interpolate(_sure(parts, *names), (height, width), mode="bilinear")[:, :, rows, columns]

    seen, glasses = (photo[:, :, rows, columns] + 1) / 2, large("glasses")
    cheek, luma = _colour(seen, large("skin")), seen.new_tensor(LUMA)[:, None, None]
    face = _Face(
        points - points.new_tensor([columns.start, rows.start]),
        unit,
        (rows.stop - rows.start, columns.stop - columns.start),
    )
    room = F.pad(face.where, (columns.start, width - columns.stop, rows.start, height - rows.stop))
    face.picture = face.paper = _skin_continued((drawing + 1) / 2, parts, room)[:, :, rows, columns]
    lens, light = ((x * luma).sum(1, keepdim=True) for x in (_colour(seen, glasses), cheek))
    clear = (lens > CLEAR * light).float()  # eyes are seen through
    face.frames(seen, glasses * clear, light)
    for brow in BROWS:
        face.brow(brow)
    for i in range(len(EYES)):
        face.eye(i, seen)
    face.mouth(seen, cheek, large("mouth"))
    eyes = torch.stack([eye.room for eye in face.eyes]).any(0).float()
    dark = (1 - clear) * ((glasses * eyes).sum((1, 2, 3), keepdim=True) > WORN * eyes.sum((1, 2, 3), keepdim=True))
    hidden = (large("hair", "hat", "background") + glasses * (1 - clear) + eyes * dark).clamp(0, 1)
    counts = face.where * (1 - hidden)
    found = known[:, None, None, None]
    wanted[:, :, rows, columns] = torch.where(found, 2 * face.picture - 1, wanted[:, :, rows, columns])
    where[:, :, rows, columns] = torch.where(found, counts, 0.0)
    return wanted, where


@torch.no_grad()
def with_features(photo: Tensor, drawing: Tensor, landmarks: Tensor) -> Tensor:
    """A drawing (3,S,S) in [-1,1] of a photograph of the same size, a face cut out as it is drawn, with its features drawn by its
    ``landmarks`` (68,2) in pixels."""
    side = drawing.shape[-1]
    parts = parts_of(photo[None])
    wanted, where = drawn_features(photo[None], drawing[None], landmarks[None].to(drawing) / side, parts)
    radius = max(1, round(side / 100))
    soft = _mean(where.clamp(0, 1), radius)
    return torch.lerp(drawing, wanted[0], torch.maximum(soft, (where - 1).clamp(0, 1))[0])


def _sure(parts: Tensor, *names: str) -> Tensor:
    return (2 * likely(parts, *names) - 0.5).clamp(0, 1)


def _skin_continued(drawing: Tensor, parts: Tensor, room: Tensor) -> Tensor:
    """A drawing (N,3,H,W) in [0,1] whose skin goes on where there is ``room`` (N,1,H,W) for features, from all sides, as in pictures that
    are made small and large again (Gortler et al. 1996, *The Lumigraph*, 3.3)."""
    small, taken = (F.interpolate(x, (GRID, GRID), mode="area") for x in (drawing, room))
    skin = F.interpolate(_sure(parts, "skin"), (GRID, GRID), mode="bilinear") * (1 - taken)
    mean = _colour(small, skin)
    skin = skin * ((small - mean).abs().amax(1, keepdim=True) < ALIKE * mean.amax(1, keepdim=True))
    steps = [(small * skin, skin)]
    while steps[-1][1].shape[-1] > 1:
        steps.append((F.avg_pool2d(steps[-1][0], 2), F.avg_pool2d(steps[-1][1], 2)))
    filled = (steps[-1][0] + 1e-3 * mean) / (steps[-1][1] + 1e-3)
    for colour, share in reversed(steps[:-1]):
        coarse = F.interpolate(filled, colour.shape[2:], mode="bilinear")
        filled = torch.lerp(coarse, colour / share.clamp(min=1e-4), share)
    return F.interpolate(filled, drawing.shape[2:], mode="bilinear")


class _Face:
    """What is drawn so far on the ``paper``, (N,3,h,w) in [0,1], and how much of it counts, (N,1,h,w): at first the room that features have.

    ``size`` is h and w; points (N,68,2) are in pixels of it."""

    paper: Tensor
    picture: Tensor

    def __init__(self, points: Tensor, unit: Tensor, size: tuple[int, int]) -> None:
        self.points, self.unit = points, unit
        self.fine = max(1, round(0.008 * float(unit.mean())))
        rows, columns = (torch.arange(side, device=points.device) + 0.5 for side in size)
        self.places = torch.stack([columns.expand(len(rows), -1), rows[:, None].expand(-1, len(columns))], -1)
        self.where = points.new_zeros(len(points), 1, *size)
        self.brows = {brow: self.away(brow) for brow in BROWS}
        self.eyes = [_Eye(points[:, list(line)], self.places) for line in EYES]
        corners = points[:, [48, 54]]
        self.lips = _Axes(corners.mean(1), corners[:, 1] - corners[:, 0])
        self.where = (
            torch.stack(
                [far < AROUND for far, _ in self.brows.values()]
                + [eye.room for eye in self.eyes]
                + [self.around_lips()]
            )
            .any(0)
            .float()
        )

    def away(self, line: Sequence[int]) -> tuple[Tensor, Tensor]:
        """How far each pixel is from a line, in units, much where it is not near, and where along it the nearest of it is, from 0 to 1:
        (N,1,h,w)."""
        fine = _curve(self.points[:, list(line)], 16)
        rows, columns = _box(fine, AROUND * float(self.unit.max()) + 2, *self.places.shape[:2])
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
        return [_height(x, self.lips.of_points(_curve(self.points[:, list(line)], 4))) for line in lines]

    def around_lips(self) -> Tensor:
        x, y = self.lips.of(self.places)
        upper, lower = self.edges(OUTER)
        above, below = (_each(self.unit / self.lips.size) * far for far in BESIDE[1])
        return (y > upper - above) & (y < lower + below) & (x.abs() < 0.5 + above)

    def put(self, colour: Tensor, where: Tensor) -> None:
        self.picture = torch.lerp(self.picture, colour.expand_as(self.picture), where)

    def stroke(self, far: Tensor, along: Tensor, widths: Sequence[float], share: Tensor | float = 1.0) -> None:
        first, second = (2 * along).clamp(max=1), (2 * along - 1).clamp(min=0)
        half = widths[0] + (widths[1] - widths[0]) * first + (widths[2] - widths[1]) * second
        dense = ((half - far) * _each(self.unit) + 0.5).clamp(0, 1) * share
        self.put(self.paper * INK, dense)
        self.where = torch.maximum(self.where, 3 * dense)

    def frames(self, seen: Tensor, glasses: Tensor, light: Tensor) -> None:
        """Glasses (N,1,h,w) have dark frames where the photograph in [0,1] has them; ``light`` (N,1,1,1) is how light its skin is."""
        luma = (seen * seen.new_tensor(LUMA)[:, None, None]).sum(1, keepdim=True) / light.clamp(min=0.05)
        size = 2 * max(1, round(THIN * float(self.unit.mean()))) + 1
        around = -F.max_pool2d(
            -F.max_pool2d(luma, size, 1, size // 2), size, 1, size // 2
        )  # without what is thin and dark
        own = torch.stack([torch.hypot(eye.x / 0.9, eye.y / 0.65) < 1 for eye in self.eyes])
        brows = torch.stack([far < THIN for far, _ in self.brows.values()])
        frame = (
            ((around - luma - FRAME[0]) / (FRAME[1] - FRAME[0])).clamp(0, 1) * glasses * ~(own.any(0) | brows.any(0))
        )
        frame = ((_mean(frame, self.fine) - 0.25) * 2).clamp(0, 1)
        self.put(self.paper * INK, frame)
        self.where = torch.maximum(self.where, 2 * frame)

    def brow(self, line: range) -> None:
        self.stroke(*self.brows[line], BROW)

    def eye(self, number: int, seen: Tensor) -> None:
        """``seen`` is the photograph in [0,1], whose colour the iris gets."""
        eye = self.eyes[number]
        x, y, open_, soft, half, centre = eye.x, eye.y, _each(eye.open), _each(eye.axes.size), eye.half, eye.centre
        visible = ((y - eye.lid) * soft + 0.5).clamp(0, 1) * (open_ > 0)
        ball = ((1 - torch.hypot(x / WHITES, (y - centre) / half)) * WHITES * soft + 0.5).clamp(0, 1) * visible
        self.put(_colour_of(WHITE, seen), ball)
        self.put(self.picture * 0.7, ball * (1 - (y - eye.lid) / 0.12).clamp(0, 1))

        across, down = x / IRIS, (y - centre) / half
        round_ = torch.hypot(across, down)
        iris = ((1 - round_) * half.clamp(max=IRIS) * soft + 0.5).clamp(0, 1) * visible
        light = (seen * seen.new_tensor(LUMA)[:, None, None]).sum(1, keepdim=True)
        dark = light <= _colour(light, eye.own)  # what shines in it, and is white beside it, has no colour
        colour = _colour(seen, eye.own & dark)
        colour = colour.mean(1, keepdim=True) + 1.5 * (colour - colour.mean(1, keepdim=True))
        colour = BRIGHT * (colour / colour.amax(1, keepdim=True).clamp(min=0.02)).clamp(PURE, 1)
        darkness = ((DIMMEST[1] - _colour(light, eye.own & dark)) / (DIMMEST[1] - DIMMEST[0])).clamp(0, 1)
        colour = torch.lerp(colour, _colour_of(BROWN, seen).expand_as(colour), darkness)
        lighter = (0.52 + 0.32 * down) * (1 - 0.6 * ((round_ - 0.8) / 0.15).clamp(0, 1)) * 1.15
        pupil = ((0.55 - torch.hypot(across, down + 0.05)) * IRIS * soft + 0.5).clamp(0, 1)
        self.put(colour * lighter * (1 - 0.8 * pupil), iris)

        side = _each(eye.axes.along[:, 0].sign())  # lights are on the same side of both eyes
        for at, where, large, bright in ((-0.32, -0.38, 0.3, 1.0), (0.35, 0.42, 0.15, 0.8)):
            far = torch.hypot(across - at * side, (down - where) * half / IRIS)
            light = ((large - far) * IRIS * soft + 0.5).clamp(0, 1) * iris
            self.put(torch.ones_like(seen), bright * light)

        thick = 0.05 + 0.05 * (1 - eye.t).clamp(0, 1)
        ends = (torch.minimum(eye.t + 0.08, 1.02 - eye.t) / 0.05).clamp(0, 1)
        upper = ((thick * ends - (y - eye.lid).abs()) * soft + 0.5).clamp(0, 1) * (ends > 0)
        lower = ((0.022 - (y - centre - half).abs()) * soft + 0.5).clamp(0, 1) * (1 - x.abs() / 0.28).clamp(0, 1).sqrt()
        self.put(_colour_of(LASHES, seen), torch.maximum(upper, 0.7 * lower * open_))
        self.where = torch.maximum(self.where, 3 * torch.maximum(iris, upper))

    def mouth(self, seen: Tensor, cheek: Tensor, mouth: Tensor) -> None:
        """``seen`` is the photograph in [0,1], ``cheek`` (N,3,1,1) the skin in it, ``mouth`` (N,1,h,w) what of it is one."""
        x, y = self.lips.of(self.places)
        outer, inner, soft = self.edges(OUTER), self.edges(INNER), _each(self.lips.size)
        wide = ((0.5 - x.abs()) * soft + 0.5).clamp(0, 1)
        lips = (torch.minimum(y - outer[0], outer[1] - y) * soft + 0.5).clamp(0, 1) * wide
        differ, own = lips_beside(seen, mouth, cheek[:, :, 0, 0])
        self.put(self.paper * differ[:, :, None, None], lips)

        luma = seen.new_tensor(LUMA)[:, None, None]
        light = (seen * luma).sum(1, keepdim=True)
        pale, of_lips = (
            (x * luma).sum(1, keepdim=True) * x.amin(1, keepdim=True) / x.amax(1, keepdim=True).clamp(min=0.05)
            for x in (seen, own[:, :, None, None])
        )
        pale = pale / of_lips.clamp(min=0.02)
        teeth = _mean(((pale - PALE[0]) / (PALE[1] - PALE[0])).clamp(0, 1), self.fine)
        teeth = ((teeth - 0.35) * 3).clamp(0, 1)  # one shape, and no grains
        between = (torch.minimum(y - inner[0], inner[1] - y) * soft).clamp(0, 1) * wide
        no_lip = ((teeth > 0.5) | (light < DIM * (own @ luma[:, 0]).clamp(min=0.02)[:, :, None, None])).float()
        share = (no_lip * between).sum((1, 2, 3)) / between.sum((1, 2, 3)).clamp(min=1)
        gap = (self.points[:, list(INNER[0][1:4])] - self.points[:, list(INNER[1][1:4])]).norm(dim=2).amax(
            1
        ) / self.unit
        sure = ((value - most[0]) / (most[1] - most[0]) for value, most in ((share, PARTED), (gap, APART)))
        parted = _each(torch.stack([*sure]).clamp(0, 1).prod(0))
        middle = (inner[0] + inner[1]) / 2
        upper, lower = (torch.lerp(middle, edge, parted) for edge in inner)
        opened = (torch.minimum(y - upper, lower - y) * soft).clamp(0, 1) * wide
        self.put(torch.lerp(_colour_of(MOUTH, seen), _colour_of(TOOTH, seen), teeth), opened)
        self.where = torch.maximum(self.where, 2 * opened)
        along = (x + 0.5).clamp(0, 1)
        for edge, dense in ((upper, 1.0), (lower, 0.7)):
            self.stroke((y - edge).abs() * soft / _each(self.unit) + (x.abs() > 0.48) * 9.0, along, LINE, dense)


class _Eye:
    """Where the parts of a drawn eye are: ``line`` (N,6,2) are its corners and lids as `EYES` has them."""

    def __init__(self, line: Tensor, places: Tensor) -> None:
        self.axes = _Axes(line[:, [1, 2, 4, 5]].mean(1), line[:, 3] - line[:, 0])
        self.x, self.y = x, y = self.axes.of(places)
        marks = self.axes.of_points(line)
        lid, low = marks[:, 1:3, 1].mean(1), marks[:, 4:, 1].mean(1)
        top = lid - 0.1
        self.open = ((low - lid - SHUT[0]) / (SHUT[1] - SHUT[0])).clamp(0, 1)
        self.own = (torch.hypot(x, y) < SEEN) & (((y > _each(lid)) & (y < _each(low))) | (y.abs() < 0.04))
        bottom = low + LARGER * self.open
        self.half, self.centre = _each((bottom - top) / 2).clamp(min=0.02) * 1.02, _each((bottom + top) / 2)
        # the upper lid: a bow from corner to corner
        outer, inner = marks[:, 0, 1] + 0.1 * self.open, marks[:, 3, 1] + 0.06 * self.open
        self.t = t = (x - _each(marks[:, 0, 0])) / _each(marks[:, 3, 0] - marks[:, 0, 0])
        corner, bow = torch.lerp(_each(outer), _each(inner), t.clamp(-0.3, 1.3)), 4 * t * (1 - t)
        self.lid = corner - _each((outer + inner) / 2 - top) * bow.clamp(min=-1.5)
        whole = low + LARGER  # where eyes are open, shut ones leave skin
        wide, high = 0.5 + BESIDE[0][0], _each((whole - top) / 2 + BESIDE[0][1])
        self.room = torch.hypot(x / wide, (y - _each((whole + top) / 2)) / high) < 1


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


def _mean(planes: Tensor, radius: int) -> Tensor:
    """Of (N,C,H,W), over a square around each pixel, at the sides of what is there."""
    return F.avg_pool2d(planes, 2 * radius + 1, 1, radius, count_include_pad=False)


def _box(points: Tensor, reach: float, height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns of a picture around points (…,2) of pixels, as far as they reach."""
    left, top = (points.flatten(0, -2).amin(0) - reach).floor().int().tolist()
    right, bottom = (points.flatten(0, -2).amax(0) + reach).ceil().int().tolist()
    return slice(min(max(top, 0), height), min(max(bottom, 0), height)), slice(
        min(max(left, 0), width), min(max(right, 0), width)
    )


def _curve(points: Tensor, finer: int) -> Tensor:
    """A smooth line (N,(K-1)·finer+1,2) through points (N,K,2)."""
    count = (points.shape[1] - 1) * finer + 1
    return F.interpolate(points.mT[:, :, None], (1, count), mode="bicubic", align_corners=True)[:, :, 0].mT


def _height(x: Tensor, line: Tensor) -> Tensor:
    """How high a line (N,K,2) is at x (N,1,H,W): straight between its points, level beyond them."""
    height = _each(line[:, 0, 1]).expand_as(x)
    for start, end in zip(line[:, :-1].unbind(1), line[:, 1:].unbind(1)):
        run = (end[:, 0] - start[:, 0]).clamp(min=1e-3)
        height = height + _each((end[:, 1] - start[:, 1]) / run) * (x - _each(start[:, 0])).clamp(min=0).minimum(
            _each(run)
        )
    return height


def _each(numbers: Tensor) -> Tensor:
    """(N,) -> (N,1,1,1)."""
    return numbers[:, None, None, None]


def _colour(picture: Tensor, where: Tensor) -> Tensor:
    """The mean of (N,3,H,W) where (N,1,H,W) is, (N,3,1,1)."""
    return (picture * where).sum((2, 3), keepdim=True) / where.sum((2, 3), keepdim=True).clamp(min=1)


def _colour_of(colour: Sequence[float], like: Tensor) -> Tensor:
    return like.new_tensor(colour)[:, None, None]
