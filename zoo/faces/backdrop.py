"""What is behind the people in a portrait: told from them, made the paper of an artist before they are drawn, and left empty after it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
from PIL import ImageColor
from torch import Tensor
from torch.nn import functional as F

from zoo.faces.detect import Face, find
from zoo.faces.geometry import averaged, exactly
from zoo.faces.parsing import guided, parsed

LOOK = 480
"""Pixels along the longer side in which the faces of a portrait are looked for."""

LEAST = 0.25
"""Height of a face over the shorter side of a picture that is taken for a portrait: of more than head and shoulders the parser
sees too little, and the rest of a person would fade."""

BESIDE = 0.33
"""Height of another face over that of the largest: whoever is smaller is part of what is behind."""

FOUND = 60
"""Height of a face, in pixels that the detector sees, from which it is found."""

COARSE = 160
"""Pixels along the longer side in which what no face's surroundings reach is decided."""

SHARP = 6
"""How fast, as a power, what is nearer to people than to what is behind them becomes theirs: what is half of both is drawn as a ghost."""

BORDER = 0.6
"""How far, in differences of colours, the border above and beside heads is from what is behind people, where the parser does not see it: mostly that
is all there is, but hair may be cut off there."""

EDGES = 512
"""Pixels along the longer side in which the mask is brought to the picture's own edges."""

WHITE = "#ffffff"

LIGHT = 0.5
"""In [-1, 1]: paper that is as light is white to a network, since all that is drawn is darker."""

NEAR, MOST = 0.3, 0.6
"""A drawing is on plain ground where the share ``MOST`` of its border is as near its median colour; likewise drawings on one paper."""

STRIP = 2**20
"""Pixels that are made paper, or empty, at once."""

NEIGHBOURS = 6
"""Pixels, of `EDGES`, around one that is half a person in which it is looked up what colours the person and the backdrop have."""

RIM = 3
"""Pixels, of `EDGES`, around people in which a drawing stays: outlines are as wide."""


def cleared(image: Tensor, paper: str = WHITE) -> Tensor:
    """A portrait (3, H, W) in [-1, 1] with ``paper``, a colour by name or as ``#484848``, behind the people in it; as it is where no face is large enough.

    UsageError without dlib."""
    found = people(image)
    return on_paper(image, found, paper)[0] if found else image


def paper_of(drawings: Iterable[Tensor]) -> str:
    """The colour, as ``#484848``, of the paper that most of the drawings, each (3, H, W) in [-1, 1], are on; white where it is light, or
    where they are on various, or there are none."""
    sheets = [plain(drawing)[0] for drawing in drawings]
    if not sheets:
        return WHITE
    paper = torch.stack(sheets).median(0).values
    alike = sum(bool((sheet - paper).abs().amax() < NEAR) for sheet in sheets)
    if paper.mean() > LIGHT or alike < MOST * len(sheets):
        return WHITE
    return "#" + "".join(f"{round(level):02x}" for level in ((paper + 1) * 127.5).tolist())


def plain(drawing: Tensor) -> tuple[Tensor, float]:
    """The median colour (3,) of the ground at the upper border and along the sides of a drawing (3, H, W), and how much of it is near that."""
    half = drawing.shape[1] // 2
    border = torch.cat([drawing[:, 0], drawing[:, :half, 0], drawing[:, :half, -1]], dim=1)  # (3, n)
    ground = border.median(1).values
    return ground, float(((border - ground[:, None]).abs().amax(0) < NEAR).float().mean())


def people(image: Tensor) -> list[Face]:
    """The faces, the largest first, of those of whom a picture (3, H, W) is a portrait. UsageError without dlib."""
    size = image.shape[-2:]
    found = portrayed(find(image, LOOK), size)
    if found and (look := round(FOUND * max(size) / (BESIDE * found[0].height))) > LOOK:
        found = portrayed(find(image, look, thorough=False), size) or found  # who is smaller is not seen at a glance
    return found


def portrayed(found: Sequence[Face], size: Sequence[int]) -> list[Face]:
    """Those of the faces that were ``found``, the largest first, of whom a picture of ``size`` (H, W) is a portrait."""
    if not found or found[0].height < LEAST * min(size):
        return []
    return [face for face in found if face.height >= BESIDE * found[0].height]


@torch.no_grad()
@exactly
def on_paper(image: Tensor, found: Sequence[Face], paper: str = WHITE) -> tuple[Tensor, Tensor]:
    """A picture (3, H, W) with ``paper``, a colour, where its people, known by their faces (one or more), are not; and how much of it is
    paper, from 0 to 1, in some hundred pixels (h, w)."""
    line = _line(image, _behind(image, found))
    made = torch.empty_like(image)
    colour = torch.tensor(ImageColor.getrgb(paper))[:, None, None] / 127.5 - 1
    small = F.interpolate(image[None], line.shape[-2:], mode="area")[0]
    share = _share(small, line)
    planes = [line] if paper == WHITE else [line, _around(small, share), _around(small, 1 - share)]
    for part, here in _strips(torch.cat(planes), image.shape[-2:]):
        seen = image[:, part]
        away = _share(seen, here[:4])
        if paper != WHITE:  # a light wall between dark hair would stay as a seam around heads (Forte 2021, blur fusion)
            own, behind = here[4:].split(3)
            seen = (own + (1 - away) * (seen - torch.lerp(own, behind, away))).clamp(-1, 1)
        made[:, part] = torch.lerp(seen, colour, away)
    return made, share


def _share(image: Tensor, line: Tensor) -> Tensor:
    """(h, w) from 0 to 1: how much of each pixel (3, h, w) becomes paper by its line of colours (4, h, w), see `_line`."""
    return (((line[:3] * image).sum(0) + line[3] - 0.1) / 0.8).clamp(0, 1)


def _around(image: Tensor, away: Tensor) -> Tensor:
    """(3, h, w): the mean colour, around each pixel, of what is certainly not ``away`` (h, w) in a picture (3, h, w)."""
    weight = (1 - away) ** 4 + 1e-4
    return averaged(image * weight, NEIGHBOURS) / averaged(weight, NEIGHBOURS)


@torch.no_grad()
@exactly
def emptied(drawn: Tensor, made: Tensor) -> Tensor:
    """A drawing (3, H, W), in place, with nothing but its paper where the picture was ``made`` (h, w) so, see `on_paper`, but
    for a rim around the people.

    A network of portraits that saw a backdrop in training draws echoes of an outline into pure white. Paper is the
    median of what it draws there: each artist has another."""
    away = -F.max_pool2d(-made[None], 2 * RIM + 1, 1, RIM)
    away = F.avg_pool2d(F.pad(away[None], (1, 1, 1, 1), mode="replicate"), 3, 1)[0]
    coarse = F.interpolate(drawn[None], away.shape[-2:], mode="area")[0]
    if not (empty := away[0] > 0.99).any():
        return drawn
    paper = coarse[:, empty].median(1).values[:, None, None]
    for part, here in _strips(torch.stack([away[0], made]), drawn.shape[-2:]):
        strip = drawn[:, part]
        if paper.mean() > 0:
            # beside people lines stay; what is lighter than the paper, as networks draw it around dark heads, does not
            strip.lerp_(torch.minimum(strip, paper), here[1:])
        strip.lerp_(paper, here[:1])
    return drawn


def _strips(planes: Tensor, size: Sequence[int]) -> Iterator[tuple[slice, Tensor]]:
    """Rows of a picture of ``size``, and there ``planes`` (C, h, w), brought to it."""
    height, width = size
    rows = max(1, STRIP // width)
    for top in range(0, height, rows):
        part = slice(top, min(top + rows, height))
        at = (torch.arange(part.start, part.stop) + 0.5) * planes.shape[1] / height - 0.5
        at = at.clamp(0, planes.shape[1] - 1)
        above = at.floor().long()
        below = (above + 1).clamp(max=planes.shape[1] - 1)
        here = torch.lerp(planes[:, above], planes[:, below], (at - above)[:, None])
        yield part, F.interpolate(here[None], (len(at), width), mode="bilinear")[0]


def _size(image: Tensor, longest: int) -> list[int]:
    scale = min(1.0, longest / max(image.shape[-2:]))
    return [max(1, round(side * scale)) for side in image.shape[-2:]]


def _line(image: Tensor, mask: Tensor) -> Tensor:
    """(4, h, w): the line of colours that gives a coarse mask at the picture's own edges, see `guided`."""
    size = _size(image, EDGES)
    small = F.interpolate(image[None], size, mode="area")[0]
    mask = F.interpolate(mask[None, None], size, mode="bilinear")[0, 0]
    return torch.cat(guided(small, mask, radius=max(2, round(0.02 * max(size))), even=0.003))


def _behind(image: Tensor, found: Sequence[Face]) -> Tensor:
    """(h, w) from 0 to 1, in coarse pixels: how likely each is background."""
    size = _size(image, COARSE)
    small = F.interpolate(image[None], size, mode="area")[0]
    shrink = torch.diag(torch.tensor([size[1] / image.shape[-1], size[0] / image.shape[-2]], dtype=torch.float64))
    behind = torch.full(size, torch.nan)
    for face in found:
        seen = parsed(image, face)
        here = seen.over(small, shrink @ seen.crop.matrix, "background", outside=torch.nan)
        behind = torch.fmin(behind, here)  # where one of them is not known, the other
    unknown = behind.isnan()
    chin = max(float(face.landmarks[:, 1].max()) for face in found) * size[0] / image.shape[-2]
    rows, columns = torch.arange(size[0])[:, None], torch.arange(size[1])
    rim = (rows == 0) | (((columns == 0) | (columns == size[1] - 1)) & (rows < chin))
    sure = torch.where(behind > 0.8, 0.0, torch.inf)
    ground = _ways(small, torch.where(unknown & rim, BORDER, sure))
    person = _ways(small, torch.where(behind < 0.2, 0.0, torch.inf))
    nearer = person**SHARP / (ground**SHARP + person**SHARP).clamp(min=1e-30)
    return torch.where(unknown, nearer, behind)


def _ways(small: Tensor, away: Tensor) -> Tensor:
    """(h, w): the shortest way, on which differences of colours are long, from where something is, which is ``away`` (h, w) by what is known."""
    steps = [small.diff(dim=axis).abs().amax(0) + 0.004 for axis in (1, 2)]
    down, right = (F.pad(step, pad, value=torch.inf) for step, pad in zip(steps, ((0, 0, 1, 1), (1, 1, 0, 0))))
    for _ in range(sum(away.shape) * 2):
        far = F.pad(away[None], (1, 1, 1, 1), value=torch.inf)[0]
        ways = [
            far[:-2, 1:-1] + down[:-1],
            far[2:, 1:-1] + down[1:],
            far[1:-1, :-2] + right[:, :-1],
            far[1:-1, 2:] + right[:, 1:],
        ]
        nearer = torch.stack([away, *ways]).amin(0)
        if torch.equal(nearer, away):
            break
        away = nearer
    return away.clamp(max=1e6)
