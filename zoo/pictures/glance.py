"""A picture file at a glance: its size, and whether it is all there, without decoding it. A thousand in a second."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from zoo.pictures.image import opened, read
from zoo.pictures.metadata import is_result

_END = 2**12  # bytes from the end of a file that are looked at
_WHOLE = 8  # a picture that must be decoded to be believed is, at 8×8 pixels or more


@dataclass(frozen=True)
class Glance:
    """``width`` and ``height`` as the file has them, ``mark``, which changes with the file's beginning or end, and whether
    the picture is a ``result`` of the zoo."""

    width: int
    height: int
    mark: int
    result: bool


def glance(path: Path) -> Glance:
    """ImageError for a file that is no picture or is cut short, NotFoundError for one that is not there.

    Damage in the middle of a file shows only when it is decoded; so does all damage in kinds whose end says nothing:
    those are decoded here.
    """
    with opened(path) as image:
        (width, height), kind, result = image.size, image.format or "", is_result(image)
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        head = file.read(_END)
        file.seek(max(0, size - _END))
        tail = file.read(_END)
        whole = _boxes_fit(file, size) if kind in ("AVIF", "HEIF") else _is_whole(kind, head, tail, size)
    if not whole:
        read(path, (_WHOLE, _WHOLE))
    return Glance(width, height, zlib.crc32(tail, zlib.crc32(head)), result)


def _boxes_fit(file: BinaryIO, size: int) -> bool:
    """AVIF and HEIC are a row of boxes, each of which begins with its length; does the last end where the file does?"""
    at = 0
    while 0 <= at <= size - 8:
        file.seek(at)
        start = file.read(16)
        length = int.from_bytes(start[:4], "big")
        if length == 0:  # up to the end
            return False
        at += int.from_bytes(start[8:16], "big") if length == 1 else length
    return at == size


def _is_whole(kind: str, head: bytes, tail: bytes, size: int) -> bool:
    """Does the end of the file look as if nothing was missing? False where nobody can tell."""
    if kind in ("JPEG", "MPO"):
        return tail.rstrip(b"\0").endswith(b"\xff\xd9")
    if kind == "PNG":
        return tail.endswith(b"IEND\xaeB`\x82")
    if kind == "WEBP":
        return int.from_bytes(head[4:8], "little") + 8 <= size
    return False
