"""Large pictures in tiles that show no seams and no steps of colour.

A convolution sees a pixel's surroundings; what is global in our networks, the statistics of instance norms above all,
comes to the tiles from the whole picture (`zoo.blocks.whole`). They are found so:

1. The network glances at the picture scaled down to one tile. Its statistics are near those of the whole picture, but
   not the same: scaling takes detail away.
2. It draws the tiles with them, and what its layers really show is measured over all tiles.
3. It glances again, every layer's statistics moved by the difference that 2 found for it. One run puts all layers
   right and lets each act on those behind it. (Measured statistics alone, used as they are, lead astray: they were
   measured behind layers that were not yet right.)
4. 2 and 3 again, until the statistics agree; the error falls to a fourth or less each time. The first rounds are run
   on the picture at a half, a quarter … of its size, where they cost little.

Where a picture is about a part of it, as a portrait is about the face (``focus``), the layers are told of that part alone: beside much
empty paper the spread of all is small, and what little a cheek shows would be drawn in full.

How far a pixel's surroundings reach is measured: a picture and a part cut out of it are drawn and compared. This also
finds out a network that sees the whole picture in ways that are not known here; it is not drawn in tiles.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, product, repeat

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.blocks.whole import Look, Summary
from zoo.generator import Generator, SizeRule
from zoo.progress import tell

log = logging.getLogger(__name__)

TILE = 768
"""Pixels along the side that a network sees at once, unless memory or the user wants less."""

AGREED = 0.01
"""Statistics agree when no layer's differ by more than this part of their spread, root mean square over channels."""

ROUNDS = 5
"""Drawings of the whole picture at most, of which the last is kept."""

UNFELT = 1e-4
"""A difference in [-1, 1] that counts as none when the reach is measured: an eightieth of a step of 8 bits.

Far below what can be seen, since elsewhere in the picture the same distance may count twenty times as much, and above
the rounding of fp32."""

PROBE = 512  # pixels along the side, to measure the reach


class NotLocalError(Exception):
    """The network cannot be drawn in tiles of this size."""


@dataclass(frozen=True)
class Span:
    """A tile along one axis: what the network sees, and the part of it that is kept."""

    seen: slice
    core: slice

    @property
    def inner(self) -> slice:
        """The core, counted from where the tile begins."""
        return slice(self.core.start - self.seen.start, self.core.stop - self.seen.start)


def spans(length: int, tile: int, reach: int, rule: SizeRule) -> list[Span]:
    """``length`` in cores that cover each pixel once, seen with ``reach`` around them, at most ``tile`` in all.

    Every border is a multiple of the rule's, and every tile as long as the rule wants it, if ``length`` is and
    ``tile`` holds two reaches and the rule's minimum. Where the picture ends, the network pads as it does untiled.
    """
    if length <= tile:
        return [Span(slice(0, length), slice(0, length))]
    unit = rule.multiple_of
    count = -(-length // ((tile - 2 * reach) // unit * unit))
    step = -(-length // count // unit) * unit
    least = -(-rule.minimum // unit) * unit
    cores = [slice(start, min(start + step, length)) for start in range(0, length, step)]
    result = []
    for core in cores:
        start, stop = max(0, core.start - reach), min(core.stop + reach, length)
        start = max(0, min(start, stop - least))
        result.append(Span(slice(start, max(stop, start + least)), core))
    return result


@dataclass(frozen=True)
class Tiler:
    """Draws with a network that never sees more than ``tile``×``tile`` pixels of a picture at once.

    ``place`` brings a tensor to ``device``, in the layout that suits it there. ``focus``: the rows and columns whose
    summaries the layers get; None for all of them.
    """

    network: Generator
    controls: Mapping[str, Tensor]
    device: torch.device
    place: Callable[[Tensor], Tensor]
    tile: int = TILE
    focus: tuple[slice, slice] | None = None

    @torch.no_grad()
    def draw(self, image: Tensor) -> Tensor:
        """image (N,3,H,W) in [-1, 1] on the CPU, as the size rule wants it -> (N,3,H,W), float32 on the CPU.

        NotLocalError if what the network draws at a pixel depends on more than a third of a tile around it."""
        small = self.place(self._smaller(image, self.tile))
        drawn, look = self._glance(small, image)
        if small.shape == image.shape:
            return drawn.float().cpu()
        told, shown = look.told, look.seen
        reach = self._reach(image, told)
        result = torch.empty(image.shape)
        for number, level in enumerate(chain(self._levels(image), repeat(image, ROUNDS)), 1):
            seen = self._round(level, result, told, reach, number)
            differ = disagreement(told, seen)
            if level is image and differ <= AGREED:
                return result
            look = self._glance(small, image, list(zip(seen, shown)))[1]
            told, shown = look.told, look.seen
        log.warning(
            "tiles of %d pixels: layers were told what is %.0f %% off; take larger ones", self.tile, 100 * differ
        )
        return result

    def _levels(self, image: Tensor) -> Iterator[Tensor]:
        """The picture at twice the size of a tile, four times …, below its own; each for two rounds."""
        side = 2 * self.tile
        while 1.5 * side < max(image.shape[-2:]):
            yield from [self._smaller(image, side)] * 2
            side *= 2

    def _glance(
        self, small: Tensor, image: Tensor, before: Sequence[tuple[Summary, Summary]] = ()
    ) -> tuple[Tensor, Look]:
        """The small picture drawn, and what its layers were told and saw."""
        core = self._about(image, small)
        look = Look(_size(self._about(image, image)), _size(core), before=before)
        return self._run(small, look, core), look

    def _round(self, level: Tensor, result: Tensor, told: Sequence[Summary], reach: int, number: int) -> list[Summary]:
        """What the layers saw as they were told ``told``; tiles go into ``result``, if it is of the level's size."""
        about = self._about(result, level)
        look = Look(_size(self._about(result, result)), _size(about), known=told)
        rows, columns = (spans(length, self.tile, reach, self.network.size) for length in level.shape[-2:])
        for done, (row, column) in enumerate(product(rows, columns), 1):
            core = (_shared(row, about[0]), _shared(column, about[1]))
            drawn = self._run(self.place(level[..., row.seen, column.seen]), look, core)
            if level.shape == result.shape:
                result[..., row.core, column.core] = drawn[..., row.inner, column.inner]
            tell(f"tiles, drawing {number}", done, len(rows) * len(columns))
        return look.seen

    def _about(self, image: Tensor, level: Tensor) -> tuple[slice, slice]:
        """Rows and columns of ``level``, which is the picture scaled, that the layers are told of."""
        if self.focus is None:
            return _all(level)
        scales = [new / old for new, old in zip(level.shape[-2:], image.shape[-2:])]
        rows, columns = (
            slice(round(span.start * scale), max(round(span.stop * scale), round(span.start * scale) + 1))
            for span, scale in zip(self.focus, scales)
        )
        return rows, columns

    def _run(self, part: Tensor, look: Look, core: tuple[slice, slice]) -> Tensor:
        height, width = part.shape[-2:]
        with look.at((height, width), core):
            return self.network(part, **self.controls)

    def _reach(self, image: Tensor, told: Sequence[Summary]) -> int:
        """From how far away a pixel's drawing is changed, rounded up to a multiple of the size rule's."""
        rule = self.network.size
        cut = [length > self.tile for length in image.shape[-2:]]
        if not any(cut):
            return 0
        side = max(min(self.tile, PROBE), 2 * rule.minimum)
        height, width = (min(length, _multiple(side, rule)) for length in image.shape[-2:])
        probe = self.place(_scaled(image, (height, width)))
        top, left = (_multiple(length // 4, rule) if inside else 0 for length, inside in zip((height, width), cut))
        about = self._about(image, image)
        exact = torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
        with torch.autocast(probe.device.type, enabled=False), exact:  # rounding is not reach
            whole, part = (
                self._run(seen, Look(_size(about), _area(seen), known=told), _all(seen)).float()
                for seen in (probe, probe[..., top:, left:])
            )
        apart = (whole[..., top:, left:] - part).abs().amax((0, 1)).cpu() > UNFELT
        distance = torch.full(apart.shape, max(apart.shape))  # from the nearest cut
        if cut[0]:
            distance = distance.minimum(torch.arange(apart.shape[0])[:, None])
        if cut[1]:
            distance = distance.minimum(torch.arange(apart.shape[1]))
        reach = _multiple(int(distance[apart].max()) + 1, rule) if apart.any() else 0
        if max(3 * reach, 2 * reach + rule.minimum) > self.tile:
            raise NotLocalError(f"it draws each pixel by what is {reach} pixels away, or more")
        return reach

    def _smaller(self, image: Tensor, side: int) -> Tensor:
        """At most ``side`` pixels long, as the size rule wants it."""
        rule, scale = self.network.size, min(1.0, side / max(image.shape[-2:]))
        height, width = (
            max(_multiple(rule.minimum, rule), round(length * scale / rule.multiple_of) * rule.multiple_of)
            for length in image.shape[-2:]
        )
        return _scaled(image, (height, width))


def disagreement(told: Sequence[Summary], seen: Sequence[Summary]) -> float:
    """By what part two lists of summaries differ, in the layer where they do most: of the spread, or of the size."""
    return max((_differ(one, other) for one, other in zip(told, seen)), default=0.0)


def _differ(told: Summary, seen: Summary) -> float:
    if told.value.shape != seen.value.shape:
        return torch.inf  # samples of pictures that are not of one size
    if told.kind == "moments":
        (mean, spread), (real, wide) = told.spread(), seen.spread()
        return max(_rms((mean - real) / wide), _rms((spread / wide).log()))
    return _rms(told.value - seen.value) / max(_rms(seen.value), 1e-12)


def _rms(x: Tensor) -> float:
    return float(x.square().mean().sqrt())


def _shared(span: Span, about: slice) -> slice:
    """What of a tile's core is in ``about``, counted from where the tile begins; of no length where nothing is."""
    start = max(span.core.start, about.start)
    stop = max(start, min(span.core.stop, about.stop))
    return slice(start - span.seen.start, stop - span.seen.start)


def _all(image: Tensor) -> tuple[slice, slice]:
    return slice(0, image.shape[-2]), slice(0, image.shape[-1])


def _size(part: tuple[slice, slice]) -> int:
    rows, columns = part
    return (rows.stop - rows.start) * (columns.stop - columns.start)


def _area(image: Tensor) -> int:
    return image.shape[-2] * image.shape[-1]


def _multiple(length: int, rule: SizeRule) -> int:
    return -(-length // rule.multiple_of) * rule.multiple_of


def _scaled(image: Tensor, size: tuple[int, int]) -> Tensor:
    if image.shape[-2:] == size:
        return image
    return F.interpolate(image, size, mode="bicubic", antialias=True).clamp_(-1, 1)
