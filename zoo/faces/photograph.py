"""Whole photographs for networks of portraits: faces that are small in them are drawn by themselves, the rest around them."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, repeat
from typing import Any

import torch
from torch import Tensor

from zoo import faces
from zoo.errors import UsageError, ZooError
from zoo.faces.crops import spread
from zoo.pictures.batches import Batches
from zoo.pictures.image import Picture, Source, read
from zoo.translator import Translator

FRAME = faces.Frame(2.4, 0.56)
"""Where a face lies in a portrait: with hair, neck and shoulders."""

SIDE = 256
"""Pixels of a portrait's side, as such networks know them."""

SMALL = 0.6
"""Times the height of a face in such a portrait: what the network sees smaller loses its eyes."""

GLANCE = 320
"""Pixels along the longer side in which a face is looked for that is as large as in a portrait: no others are drawn."""

log = logging.getLogger("zoo")


class PhotographTranslator(Translator):
    """Draws photographs of one person or of many with a network that learned from portraits.

    The control ``framing``, a choice that the recipe declares, is ``portrait`` or ``whole``: the network sees the whole
    picture alone. So it does in videos, where faces drawn one by one would flicker, and where ``size`` says how large it
    sees the picture.
    """

    framing = frozenset({"framing"})

    def results(self, images: Iterable[Source], batches: Batches, framing: dict[str, Any]) -> Iterator[Any]:
        if framing.get("framing") != "portrait" or batches.size is not None:
            return super().results(images, batches, framing)
        return self._joined(images, batches)

    def _joined(self, images: Iterable[Source], batches: Batches) -> Iterator[Any]:
        """Pictures and their portraits go through the network in one row, and are joined as they come out of it."""
        row: deque[tuple[Picture, list[faces.Crop]] | None] = deque()  # what was read and is not drawn; None: as it is

        def parts() -> Iterator[Source]:
            for source in images:
                try:
                    picture = read(source)
                    crops = self._crops(picture.rgb)
                except (ZooError, RuntimeError, MemoryError):  # they meet it again, and answer with it
                    row.append(None)
                    yield source
                    continue
                row.append((picture, crops) if crops else None)
                if not crops:
                    yield picture
                    continue
                for image in (picture.rgb, *(crop.image for crop in crops)):
                    yield Picture(image, None, "tensor", torch.float32, "cpu")

        drawn = batches.results(parts(), repeat(lambda picture: picture))
        for first in drawn:
            if (found := row.popleft()) is None:
                yield first
                continue
            picture, crops = found
            made = [first, *islice(drawn, len(crops))]
            if faults := [one for one in made if isinstance(one, ZooError)]:
                yield faults[0]
                continue
            around, *portraits = (one.mul(2).sub(1) for one in made)
            yield picture.like(joined(around, crops, portraits))

    def _crops(self, image: Tensor) -> list[faces.Crop]:
        """Portraits of the faces that the network would see too small, as large as it knows them."""
        seen = min(1.0, (self.working or torch.inf) / max(image.shape[-2:]))
        side = min(SIDE, self.working or SIDE)
        least = SMALL * side / FRAME.scale / seen
        try:
            near = faces.find(image, GLANCE)
            if any(face.height >= least for face in near):
                return []
            found = [face for face in faces.find(image) if face.height < least]
        except UsageError as error:
            log.warning("small faces are drawn as the rest is: %s; %s", error.message, error.hint)
            return []
        large = [face for face in found if face.height >= faces.SMALLEST]
        if len(large) < len(found):
            less = len(found) - len(large)
            log.warning(
                "%d of %d faces are smaller than %d pixels: they are drawn as the rest is",
                less,
                len(found),
                faces.SMALLEST,
            )
        return [faces.crop(image, face, side, FRAME) for face in large]


def joined(around: Tensor, crops: Sequence[faces.Crop], made: Sequence[Tensor]) -> Tensor:
    """The drawing of a picture (3, H, W) and in it those of its portraits (3, size, size), which fade out towards their
    borders; where two overlap, that counts most whose middle is nearest."""
    total, shares = torch.zeros_like(around), torch.zeros_like(around[:1])
    cover = torch.zeros_like(around[:1])
    for crop, drawn in zip(crops, made):
        at = (torch.arange(drawn.shape[-1]) + 0.5) / drawn.shape[-1]
        edge = torch.minimum(at, 1 - at)
        fade = (edge / 0.2).clamp(0, 1)
        fade = fade * fade * (3 - 2 * fade)
        alpha = fade[:, None] * fade
        near = torch.exp(-((at - 0.5).square() + (at[:, None] - FRAME.middle).square()) / 0.02)
        where, planes = spread(around, crop, torch.cat([drawn, alpha[None], near[None]]))
        if planes.numel():
            colour, alpha, near = planes.split([3, 1, 1])
            alpha = alpha.clamp(0, 1)
            share = alpha * near.clamp(min=1e-6)
            total[where] += share * colour
            shares[where] += share
            cover[where] = torch.maximum(cover[where], alpha)
    return torch.lerp(around, total / shares.clamp(min=1e-12), cover).clamp(-1, 1)
