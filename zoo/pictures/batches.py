"""Pictures on their way through a network: those of one size go together, and each comes back as it was given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from zoo.errors import ImageError, IntegrityError, PluginError, UsageError, ZooError
from zoo.generator import SizeRule
from zoo.machine.memory import is_shortage
from zoo.pictures.fit import fit, resize, within
from zoo.pictures.image import Picture, Source, read
from zoo.pictures.large import ShortageError
from zoo.progress import Stopped

BATCH_PIXELS = 2**20
"""Pictures of one size go through the network together up to this many pixels: sixteen of 256×256."""

WAITING_PIXELS = 2**24
"""For that, pictures wait for others of their size up to this many pixels, counted as they came in."""


Focus = tuple[slice, slice] | None
"""Rows and columns whose statistics the layers of a network are told; None: all of them."""


@dataclass(frozen=True)
class _Waiting:
    form: Picture  # without its pixels
    size: torch.Size  # its height and width
    input: Tensor  # (3, H, W), scaled and padded for the network
    box: tuple[slice, slice]  # where the picture lies in it
    focus: Focus

    def goes_with(self, other: _Waiting) -> bool:
        return self.input.shape == other.input.shape and self.focus == other.focus


@dataclass
class Batches:
    """The pictures of one call. ``draw`` is the network: (N, 3, H, W) in [-1, 1] to the same, as ``rule`` wants it, and
    where its focus is.

    ``size`` is the long side that the network sees, ``working`` the one that larger pictures are scaled down to
    where it is not given, ``batch`` how many go together at most. ``model`` is what a message calls the model. ``finer`` makes what was
    drawn some whole number of times larger, for pictures that have more pixels than the network sees.
    """

    draw: Callable[[Tensor, Focus], Tensor]
    rule: SizeRule
    working: int
    size: int | None
    batch: int | None
    model: str
    finer: Callable[[Tensor], Tensor]
    stopped: bool = False  # by Ctrl-C, which a picture was good enough to outlive

    def results(self, images: Iterable[Source], framing: Iterable[Callable[[Picture], Picture]]) -> Iterator[Any]:
        """A result for each of the images, as they are read; a ZooError in the place of one that failed.

        ``framing`` gives for each of them what cuts out the part that is drawn."""
        waiting: list[_Waiting] = []
        for source, framed in zip(images, framing):
            try:
                one = self._fitted(framed(read(source)))
            except (ZooError, RuntimeError, MemoryError) as error:
                yield from self._drawn(waiting)
                waiting = []
                yield error if isinstance(error, ZooError) else _too_large(error, f"{self.size} pixels")
                continue
            if waiting and not waiting[0].goes_with(one):
                yield from self._drawn(waiting)
                waiting = []
            waiting.append(one)
            room = 1 if self.rule.whole else self.batch or max(1, BATCH_PIXELS // one.input[0].numel())
            if len(waiting) >= room or sum(one.size.numel() for one in waiting) > WAITING_PIXELS:
                yield from self._drawn(waiting)
                waiting = []
            del one  # a large one is not kept while the next is read
        yield from self._drawn(waiting)

    def _fitted(self, picture: Picture) -> _Waiting:
        seen, box = fit(picture.rgb, self.rule, self.working, self.size)
        focus = within(picture.focus, self.rule, seen.shape[-2:], box) if picture.focus else None
        return _Waiting(replace(picture, rgb=torch.empty(3, 0, 0)), picture.rgb.shape[-2:], seen, box, focus)

    def _drawn(self, together: list[_Waiting]) -> Iterator[Any]:
        """Pictures of one size go through the network at once, or else, if they cannot, one by one."""
        if not together:
            return
        if self.stopped:
            raise KeyboardInterrupt
        shape = torch.Size((len(together), *together[0].input.shape))
        try:
            drawn = self._through(together)
        except UsageError as error:
            if len(together) == 1:
                yield error
                return
            drawn = None  # perhaps one of them is at fault
        except (RuntimeError, MemoryError) as error:
            if len(together) == 1:
                yield _too_large(error, f"{shape[-1]}×{shape[-2]} pixels")
                return
            drawn = None
            if not is_shortage(error):
                raise
        if drawn is None:  # together they are too large, or one cannot be drawn
            for one in together:
                yield from self._drawn([one])
            return
        for one, rgb in zip(together, drawn):
            try:
                result = self._given_back(one, rgb.float())
            except (RuntimeError, MemoryError) as error:
                result = _too_large(error, f"{one.size[1]}×{one.size[0]} pixels")
            yield result

    def _through(self, together: list[_Waiting]) -> Tensor:
        image = torch.stack([one.input for one in together]) if len(together) > 1 else together[0].input[None]
        try:
            drawn = self.draw(image, together[0].focus)
        except Stopped as stop:
            self.stopped = True
            drawn = stop.image
        if drawn.shape != image.shape:
            made, given = tuple(drawn.shape), tuple(image.shape)
            raise PluginError(f"{self.model} made {made} of {given}", "report this to the plugin's author")
        larger = any(side > within.stop - within.start for one in together for side, within in zip(one.size, one.box))
        return self.finer(drawn) if larger else drawn

    def _given_back(self, one: _Waiting, rgb: Tensor) -> Any:
        if not rgb.sum().isfinite():  # one number: the mask of a large picture takes more than the picture
            return IntegrityError(f"{self.model} made no colours but NaN", "its weights are damaged; or leave out bf16")
        times = rgb.shape[-1] // one.input.shape[-1]
        box = (slice(times * within.start, times * within.stop) for within in one.box)
        return one.form.like(resize(rgb[:, *box], one.size))


def _too_large(error: BaseException, what: str) -> ImageError:
    """What to say of ``error`` if the memory was too small; any other is raised again."""
    if not is_shortage(error):
        raise error
    why = f": {error}" if isinstance(error, ShortageError) else ""
    return ImageError(f"{what} do not fit the memory{why}", "give a smaller size")
