"""Is a Windows Media film (ASF) whole? Its packets are all of one size, and say which piece of which frame they hold.

Demuxers step over what they do not understand, with the frames in it. The names are those of Microsoft's specification,
sections 3.2 (file properties) and 5.2 (data packets).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
DATA = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")
LARGEST = 1 << 20  # bytes of a packet
WIDTHS = (0, 1, 2, 4)  # bytes of a number, by two bits
BROADCAST = 1  # a flag of a live recording, which does not know how many packets it has


class _NoPacketError(Exception):
    """Here is none."""


@dataclass(frozen=True)
class _Piece:
    """``length`` bytes from ``offset`` on of a stream's object, mostly a frame, that has ``total``."""

    stream: int
    number: int
    after: int  # the number of the next object
    offset: int
    total: int
    length: int


def is_damaged(path: Path, gaps: bool) -> bool:
    """Does it end before its last packet, is one none, or is a frame not whole?

    ``gaps``: there are some between its frames. Then numbers that are left out are those of frames that were lost; else
    some program may have left them out."""
    last: dict[int, tuple[_Piece, int]] = {}  # of each stream, and how much of its object there is
    with path.open("rb") as file:
        count, size = _properties(file)
        if not 0 < size <= LARGEST or file.read(16) != DATA:
            return True
        file.seek(34, 1)
        read = 0
        while (read < count or not count) and (packet := file.read(size)):
            if not count and packet[0] > 0x8F:  # an index, behind the last
                break
            read += 1
            try:
                for piece in _pieces(packet.ljust(size, b"\xff")):
                    before, there = last.get(piece.stream, (None, piece.offset))
                    if before is None or before.number != piece.number or there >= before.total:
                        if before is not None and (there < before.total or piece.offset):
                            return True
                        if before is not None and gaps and piece.number != before.after:
                            return True
                        there = piece.offset
                    if piece.offset != there or there + piece.length > piece.total:
                        return True
                    last[piece.stream] = piece, there + piece.length
            except (_NoPacketError, IndexError):
                return True
    return read < count or any(there < piece.total for piece, there in last.values())


def _properties(file: BinaryIO) -> tuple[int, int]:
    """How many packets there are, 0 if that is not known, and the size of each; the file stands behind the header."""
    end = int.from_bytes(file.read(24)[16:], "little")
    count = size = 0
    file.seek(30)
    while (at := file.tell()) + 24 <= end:
        head = file.read(24)
        length = int.from_bytes(head[16:], "little")
        if length < 24:
            break
        if head[:16] == PROPERTIES:
            about = file.read(80)
            count = 0 if about[64] & BROADCAST else int.from_bytes(about[32:40], "little")
            size = int.from_bytes(about[68:72], "little")
        file.seek(min(at + length, end))
    file.seek(end)
    return count, size


def _pieces(packet: bytes) -> Iterator[_Piece]:
    """_NoPacketError or IndexError for what is no packet."""
    at = 0

    def number(two_bits: int) -> int:
        nonlocal at
        at += WIDTHS[two_bits & 3]
        return int.from_bytes(packet[at - WIDTHS[two_bits & 3] : at], "little")

    if packet[0] & 0x80:  # there are bytes for mending, of which nobody makes use: they are zeros
        at = 1 + (packet[0] & 0x0F)
        if any(packet[1:at]):
            raise _NoPacketError
    kinds, inner = packet[at], packet[at + 1]
    at += 2
    whole, _, padding = number(kinds >> 5), number(kinds >> 1), number(kinds >> 3)
    end = (whole or len(packet)) - padding
    at += 6  # when it is sent
    many, wide = 1, 0
    if kinds & 1:
        many, wide = packet[at] & 0x3F, packet[at] >> 6
        at += 1
    for _ in range(many):
        stream = packet[at] & 0x7F
        at += 1
        one, offset, about = number(inner >> 4), number(inner >> 2), number(inner)
        total = int.from_bytes(packet[at : at + 4], "little")
        at += about
        length = number(wide) if kinds & 1 else end - at
        if about != 1:  # else several small objects, each with its length
            if about < 8 or length < 0 or at + length > end or end > len(packet):
                raise _NoPacketError
            yield _Piece(stream, one, (one + 1) % (1 << 8 * WIDTHS[inner >> 4 & 3]), offset, total, length)
        at += length
