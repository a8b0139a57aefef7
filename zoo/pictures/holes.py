"""Is a piece of a film missing in the middle? Decoders go on behind a hole, and whether frames are lost or were never
there (a slide is shown for a while) only the file's own bookkeeping tells."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from zoo.pictures import asf, matroska

SYNC, PACKET = 0x47, 188  # of a transport stream: each packet's first byte, and how many it has
NULL = 0x1FFF  # the number of packets that only fill
TAGS = (8, 9, 18)  # sound, picture and text in an .flv
_NAME = re.compile(rb"[A-Za-z0-9_ ]{4}")  # of a chunk in an .avi
STEADY = 0.9  # so much of a film's frames come at even times, or their number is not known


class Intervals:
    """The times between frames, of which some are longer than they should be."""

    def __init__(self) -> None:
        self.counts: Counter[Fraction] = Counter()
        self.last: Fraction | None = None

    def add(self, time: Fraction, joint: bool = False) -> None:
        """When a frame is shown; a ``joint`` is the first of a clip, of which nobody knows how long after the one before."""
        if self.last is not None and time > self.last and not joint:
            self.counts[time - self.last] += 1
        self.last = time

    def missing(self) -> int:
        """How many frames would fill the gaps; -1 where there are gaps and no even times."""
        if not self.counts:
            return 0
        step = self.counts.most_common(1)[0][0]
        gaps = {length: count for length, count in self.counts.items() if length > step * Fraction(3, 2)}
        if sum(gaps.values()) > (1 - STEADY) * self.counts.total() + 1:
            return -1
        return sum((round(length / step) - 1) * count for length, count in gaps.items())


def has_holes(path: Path, container: str, gaps: bool) -> bool:
    """Does a file of this kind, by FFmpeg's name, say that a piece of it is missing or damaged? Others say nothing.

    ``gaps``: there are some between its frames. Where nobody sees one, packets that are numbered anew are of a clip that was
    joined, and the chunks of an .avi may be such as some program added."""
    if container == "mpegts":
        return _out_of_step(path) or (gaps and _numbers_leap(path))
    if container == "avi":
        return gaps and _of_chunks(path)
    if container == "asf":
        return asf.is_damaged(path, gaps)
    return {"flv": _of_tags, "matroska,webm": matroska.is_damaged}.get(container, lambda path: False)(path)


def is_cut(path: Path) -> bool:
    """Does a transport stream end within one of its packets?"""
    first, size = _layout(path)
    return (path.stat().st_size - first) % size not in (0, PACKET)


def packets(path: Path) -> np.ndarray:
    """(N, 188, 192 or 204) uint8: a transport stream's packets, from where the first begins."""
    data = np.memmap(path, np.uint8, "r")
    first, size = _layout(path)
    return data[first : first + (len(data) - first) // size * size].reshape(-1, size)


def _layout(path: Path) -> tuple[int, int]:
    """Where a transport stream's first packet begins, and how far on the next: 4 bytes more in front where cameras write a
    time there, 16 behind where a receiver leaves what was for mending."""
    with path.open("rb") as file:
        start = file.read(10 * PACKET)
    aligned = [(0, PACKET), (4, PACKET + 4), (0, PACKET + 16)]
    for first, size in aligned + [(first, size) for first in range(1, len(start)) for _, size in aligned]:
        marks = start[first : first + 5 * size : size]
        if marks and marks == bytes([SYNC]) * len(marks):
            return first, size
    return 0, PACKET


def _out_of_step(path: Path) -> bool:
    """Is there none of a transport stream's packets where one should begin? A recording may begin within one."""
    first, size = _layout(path)
    return first >= size or bool((packets(path)[:, 0] != SYNC).any())


def _numbers_leap(path: Path) -> bool:
    """Packets of each stream are numbered from 0 to 15, and again; one may be repeated, and one may say that it leaps."""
    head = np.array(packets(path)[:, :6])
    stream, number = (head[:, 1] & 0x1F).astype(int) << 8 | head[:, 2], head[:, 3] & 15
    filled, told = head[:, 3] & 0x10 > 0, head[:, 3] & 0x20 > 0
    leaps = told & (head[:, 4] > 0) & (head[:, 5] & 0x80 > 0)
    for one in set(np.unique(stream)) - {NULL}:
        rows = np.flatnonzero((stream == one) & filled)
        steps = (number[rows[1:]] - number[rows[:-1]]) % 16
        if ((steps > 1) & ~leaps[rows[1:]]).any():
            return True
    return False


def _of_tags(path: Path) -> bool:
    """Each tag says how long it is, and so does what follows it."""
    told = list(_tags(path))
    return None in told or (False in told and sum(filter(None, told)) > len(told) / 2)


def _tags(path: Path) -> Iterator[bool | None]:
    """For each tag of an .flv whether its length is repeated behind it, as most programs do; None: here is no tag."""
    end = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(9)
        file.seek(int.from_bytes(head[5:9], "big") + 4)
        while tag := file.read(11):
            length = int.from_bytes(tag[1:4], "big")
            if tag[0] & 0x1F not in TAGS or tag[8:11] != bytes(3) or file.seek(length, 1) > end:
                yield None
                return
            if file.tell() + 4 > end:  # some programs leave out what would follow the last
                return
            yield int.from_bytes(file.read(4), "big") == length + 11


def _of_chunks(path: Path) -> bool:
    """Each chunk of an .avi has a name of four letters and says how long it is."""
    end = path.stat().st_size
    with path.open("rb") as file:
        while len(head := file.read(8)) == 8:
            name = head[:4]
            if not _NAME.fullmatch(name):
                return True
            length = 4 if name in (b"RIFF", b"LIST") else int.from_bytes(head[4:], "little")  # those hold others
            if file.seek(length + length % 2, 1) >= end:
                break
    return False
