"""Is a piece of a film missing in the middle? Decoders go on behind a hole, and whether frames are lost or were never
there (a slide is shown for a while) only the file's own bookkeeping tells."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

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


def has_holes(path: Path, container: str) -> bool:
    """Does a file of this kind, by FFmpeg's name, say that a piece of it is missing? Files of other kinds say nothing."""
    return {"mpegts": _of_packets, "flv": _of_tags, "avi": _of_chunks}.get(container, lambda path: False)(path)


def packets(path: Path) -> np.ndarray:
    """(N, 188 or 192) uint8: a transport stream's packets, of 4 bytes more in front where cameras write a time there."""
    data = np.memmap(path, np.uint8, "r")
    size = PACKET if data[:1].tolist() == [SYNC] else PACKET + 4
    return data[: len(data) // size * size].reshape(-1, size)


def _of_packets(path: Path) -> bool:
    """Packets of each stream are numbered from 0 to 15, and again; one may be repeated, and one may say that it leaps."""
    every = packets(path)
    head = np.array(every[:, -PACKET : -PACKET + 6])
    if (head[:, 0] != SYNC).any():
        return True
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
        while len(tag := file.read(11)) == 11:
            length = int.from_bytes(tag[1:4], "big")
            if tag[0] & 0x1F not in TAGS or tag[8:11] != bytes(3):
                yield None
                return
            if file.seek(length, 1) + 4 > end:
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
