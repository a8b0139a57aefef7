"""Whole or in tiles: as the memory allows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from zoo.errors import UsageError
from zoo.machine import memory
from zoo.pictures.tiles import TILE, NotLocalError, Tiler

SMALLEST = 128
"""Tiles are not made smaller than this when memory runs out."""

ALWAYS_WHOLE = 2**20
"""Pictures up to this many pixels are not drawn in tiles before memory has run out."""


class ShortageError(MemoryError):
    """The memory does not suffice; says why tiles are no help, if they are not."""


def draw(whole: Callable[[Tensor], Tensor], image: Tensor, tiler: Tiler, tile: int | None, why_not: str) -> Tensor:
    """image (N,3,H,W) drawn by ``whole``, or by ``tiler`` where ``tile`` asks for it or the memory needs it.

    ``why_not`` says why tiles are out of the question, if they are. UsageError if ``tile`` asks for what cannot be;
    ShortageError if the memory does not suffice, whatever is tried.
    """
    asked = tile is not None and max(image.shape[-2:]) > tile
    side = tile if asked else None if why_not or tile else _side(image, tiler)
    if side is not None:
        try:
            return _tiles(image, tiler, side, why_not)
        except NotLocalError as error:
            if asked:
                hint = "leave tile out, or give a smaller size" if why_not else "give a larger tile, or none"
                raise UsageError(f"tiles of {tile} pixels cannot be drawn: {error}", hint) from error
            why_not = str(error)
    try:
        return whole(image)
    except (RuntimeError, MemoryError) as error:
        if not memory.is_shortage(error):
            raise
        if len(image) > 1:
            raise ShortageError("they are too many together") from error
    try:  # not within the handler, where the error keeps alive what filled the memory
        return _tiles(image, tiler, min(TILE, max(image.shape[-2:]) // 2), why_not)
    except NotLocalError as error:
        raise ShortageError(f"tiles are no help: {error}") from error


def _tiles(image: Tensor, tiler: Tiler, side: int, why_not: str) -> Tensor:
    if why_not:
        raise NotLocalError(why_not)
    while True:
        try:
            return replace(tiler, tile=side).draw(image)
        except (RuntimeError, MemoryError) as error:
            if not memory.is_shortage(error):
                raise
            if side < 2 * SMALLEST:
                raise ShortageError(f"not even in tiles of {side} pixels") from error
        side //= 2


def _side(image: Tensor, tiler: Tiler) -> int | None:
    """The largest side of a tile that the bound allows, from TILE down; None for a picture that it allows whole."""
    pixels = image.shape[-2] * image.shape[-1]
    if pixels <= ALWAYS_WHOLE:
        return None
    need, room = _needs(image, tiler), memory.allowed(tiler.device)
    if need(pixels) <= room:
        return None
    side = TILE
    while side >= 2 * SMALLEST and need(side**2) > room:
        side //= 2
    return side


def _needs(image: Tensor, tiler: Tiler) -> Callable[[int], int]:
    """Bytes for so many pixels of each picture."""
    unit = tiler.network.size.multiple_of

    def trial(side: int) -> Tensor:
        side = -(-side // unit) * unit
        return tiler.network(tiler.place(image.new_zeros(len(image), 3, side, side)), **tiler.controls)

    return memory.needs(trial)
