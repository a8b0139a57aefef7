"""Pictures drawn in parts: the parts of all of them go through the network in one row, and are joined as they come out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from zoo import faces
from zoo.errors import ZooError
from zoo.faces.crops import spread
from zoo.faces.parsing import parsed_crop
from zoo.pictures.batches import Batches
from zoo.pictures.image import Box, Picture, Source, read


@dataclass(frozen=True)
class Parts:
    """What of a picture is drawn, and what it becomes."""

    picture: Picture  # the result has its size and form
    images: Sequence[Tensor | Picture]  # each (3, h, w) in [-1, 1], or one that `part` made
    join: Callable[[list[Tensor]], Tensor]  # what was drawn of them, in their sizes -> (3, H, W) in [-1, 1]

    def made(self, drawn: list[Tensor]) -> Any:
        return self.picture.like(self.join(drawn))


def untouched(picture: Picture) -> Parts:
    """Nothing of it is drawn: it is the result."""
    return Parts(picture, [], lambda _: picture.rgb)


Cut = Callable[[Picture], Parts | Picture]
"""What of a picture is drawn: parts of it, or the picture that it gives, as it is."""


def results(sources: Iterable[Source], batches: Batches, cuts: Iterable[Cut]) -> Iterator[Any]:
    """What `Batches.results` gives for pictures that are each drawn in the parts that its cut makes of it."""
    row: deque[Parts | None] = deque()  # what was read and is not drawn; None: one result, as it comes
    frames: deque[Callable[[Picture], Picture]] = deque()

    def parts() -> Iterator[Source]:
        for source, cut in zip(sources, cuts):
            framed: Callable[[Picture], Picture] = _same
            try:
                found = cut(read(source))
            except (ZooError, RuntimeError, MemoryError) as error:
                found, framed = part(torch.zeros(3, 1, 1)), _raising(error)
            images = deque([found] if isinstance(found, Picture) else map(part, found.images))
            row.append(None if isinstance(found, Picture) else replace(found, images=[_DRAWN] * len(images)))
            del found  # large pictures are not kept while they are drawn
            while images:
                frames.append(framed)
                yield images.popleft()

    def without_parts() -> Iterator[Any]:
        while row and (parted := row[0]) and not parted.images:
            row.popleft()
            yield parted.made([])

    drawn = batches.results(parts(), iter(frames.popleft, None))
    for first in drawn:
        yield from without_parts()
        if (parted := row.popleft()) is None:
            yield first
            continue
        made = [first, *islice(drawn, len(parted.images) - 1)]
        fault = next((one for one in made if isinstance(one, ZooError)), None)
        yield fault or parted.made([one.mul_(2).sub_(1) for one in made])
    yield from without_parts()


_DRAWN = torch.empty(0)


def part(image: Tensor | Picture, focus: Box | None = None) -> Picture:
    """What is drawn of a picture, (3, h, w) in [-1, 1], by the statistics of its ``focus``; as it is, if it is one already."""
    return image if isinstance(image, Picture) else Picture(image, None, "tensor", torch.float32, "cpu", focus=focus)


def _same(picture: Picture) -> Picture:
    return picture


def _raising(error: Exception) -> Callable[[Picture], Picture]:
    def framed(_: Picture) -> Picture:
        raise error

    return framed


def joined(
    around: Tensor, crops: Sequence[faces.Crop], made: Sequence[Tensor], frame: faces.Frame, heads: bool = False
) -> Tensor:
    """A picture (3, H, W) and in it what was drawn of ``crops``, each (3, size, size), in which faces lie as ``frame`` says.
    They fade out towards their borders, and with ``heads`` where the background begins; where two overlap, that counts
    most whose middle is nearest."""
    total, shares = torch.zeros_like(around), torch.zeros_like(around[:1])
    cover = torch.zeros_like(around[:1])
    for crop, drawn in zip(crops, made):
        at = (torch.arange(drawn.shape[-1]) + 0.5) / drawn.shape[-1]
        edge = torch.minimum(at, 1 - at)
        fade = (edge / (0.1 if heads else 0.2)).clamp(0, 1)
        fade = fade * fade * (3 - 2 * fade)
        alpha = fade[:, None] * fade
        if heads:
            alpha = alpha * head(crop)
        near = torch.exp(-((at - 0.5).square() + (at[:, None] - frame.middle).square()) / 0.02)
        where, planes = spread(around, crop, torch.cat([drawn, alpha[None], near[None]]))
        if planes.numel():
            colour, alpha, near = planes.split([3, 1, 1])
            alpha = alpha.clamp(0, 1)
            share = alpha * near.clamp(min=1e-6)
            total[where] += share * colour
            shares[where] += share
            cover[where] = torch.maximum(cover[where], alpha)
    return torch.lerp(around, total / shares.clamp(min=1e-12), cover).clamp(-1, 1)


def head(crop: faces.Crop) -> Tensor:
    """(size, size) from 0 to 1: the face, and what around it is no background."""
    seen = parsed_crop(crop)
    return torch.maximum(1 - seen.over(crop.image, seen.crop.matrix, "background", outside=1.0), crop.mask)
