"""Is a Matroska or WebM file whole? Demuxers step over what they do not understand, with the frames in it.

EBML (RFC 8794) is one element in another, each with its number and its length; the numbers here are Matroska's (RFC 9559).
Only what leads to frames is followed: the segment, its clusters and their blocks.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import BinaryIO

CRC, VOID = 0xBF, 0xEC  # a master's first element, of all that follows in it; and nothing, anywhere
SEGMENT, CLUSTER, GROUP, TRACKS, TRACK, NUMBER = 0x18538067, 0x1F43B675, 0xA0, 0x1654AE6B, 0xAE, 0xD7
EBML = 0x1A45DFA3  # the beginning of a file, or of another one behind a live recording
BLOCKS = (0xA3, 0xA1)  # in a cluster, and in a group of it
NUMBERS = (0xE7, 0xA7, 0xAB)  # in a cluster: of eight bytes at most
INSIDE: dict[int, frozenset[int]] = {
    SEGMENT: frozenset({
        CLUSTER, TRACKS, 0x114D9B74, 0x1549A966, 0x1C53BB6B, 0x1941A469, 0x1043A770, 0x1254C367, CRC, VOID,
    }),
    CLUSTER: frozenset({GROUP, BLOCKS[0], *NUMBERS, 0x5854, 0xAF, CRC, VOID}),
    GROUP: frozenset({BLOCKS[1], 0xA2, 0x75A1, 0x9B, 0xFA, 0xFB, 0xFD, 0xA4, 0x75A2, 0x8E, 0xC8, CRC, VOID}),
}  # fmt: skip
"""What may be in what, for the masters that lead to frames."""


def is_damaged(path: Path) -> bool:
    """Does an element not end where it should, or is it none, or do a cluster's bytes not have its checksum?

    A live recording says nothing of its end: one that ends between two elements is whole."""
    with path.open("rb") as file:
        end = file.seek(0, 2)
        file.seek(0)
        while file.tell() < end:
            ident, length = _head(file)
            if ident == SEGMENT:
                return not _Walk(file, end).whole(SEGMENT, length)
            if not ident or length is None:
                return True
            file.seek(length, 1)
    return True


class _Walk:
    def __init__(self, file: BinaryIO, end: int) -> None:
        self.file, self.end = file, end
        self.tracks: set[int] = set()

    def whole(self, parent: int, length: int | None, limit: int | None = None) -> bool:
        """Are all elements in a master whole that begins here? Without a ``length`` it lasts until one of another's."""
        file, limit = self.file, self.end if limit is None else limit
        end = limit if length is None else file.tell() + length
        if end > limit:
            return False
        while (start := file.tell()) < end:
            ident, inner = _head(file)
            if ident not in INSIDE[parent]:
                file.seek(start)
                return length is None and ident in (INSIDE[SEGMENT] if parent == CLUSTER else {EBML})
            if inner is None or ident in (CLUSTER, GROUP):
                if ident not in (CLUSTER, GROUP) or not self.whole(ident, inner, end):
                    return False
                continue
            after = file.tell() + inner
            if after > end:
                return False
            if ident == CRC and parent == CLUSTER and length is not None:
                if inner != 4 or int.from_bytes(file.read(4), "little") != _checksum(file, end):
                    return False
            elif not self._fits(ident, inner):
                return False
            file.seek(after)
        return file.tell() == end

    def _fits(self, ident: int, length: int) -> bool:
        """Is an element that leads no further what it should be? A block is of a track that there is."""
        if ident == TRACKS:
            self.tracks = _tracks(self.file, self.file.tell() + length)
        if ident in BLOCKS:
            return not self.tracks or _number(self.file.read(min(length, 8)))[0] in self.tracks
        return ident not in NUMBERS or length <= 8


def _tracks(file: BinaryIO, end: int) -> set[int]:
    """The numbers of the tracks that are described here."""
    found = set()
    while file.tell() < end:
        ident, length = _head(file)
        if ident == NUMBER and length is not None:
            found.add(int.from_bytes(file.read(min(length, 8)), "big"))
        elif ident != TRACK:  # within those it goes on
            file.seek(length or 0, 1)
    return found


def _checksum(file: BinaryIO, end: int) -> int:
    total = 0
    while (left := end - file.tell()) > 0:
        total = zlib.crc32(file.read(min(left, 2**20)), total)
    return total


def _head(file: BinaryIO) -> tuple[int, int | None]:
    """Number and length of the element that begins here, behind which the file stands; 0: none, None: not known."""
    start = file.tell()
    data = file.read(12)
    wide = 9 - data[0].bit_length() if data else 9
    length, longer = _number(data[wide:])
    if wide > 4 or not longer:
        return 0, 0
    file.seek(start + wide + longer)
    return int.from_bytes(data[:wide], "big"), None if length == (1 << 7 * longer) - 1 else length


def _number(data: bytes) -> tuple[int, int]:
    """A number and how many bytes it has: as many as there are bits before its first 1, and one. 0 bytes: none."""
    wide = 9 - data[0].bit_length() if data else 9
    if wide > min(8, len(data)):
        return 0, 0
    return int.from_bytes(data[:wide], "big") & (1 << 7 * wide) - 1, wide
