"""When frames and sound of a film are shown: from 0 on, and without leaps.

Recordings from the air and of many cameras (MPEG-TS, AVCHD) begin at any time, and clips that were joined run back or
leap. Players take the file's beginning off, and go on where a leap would be; so does this, alike for all streams, so
that the sound stays with its frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from typing import Any

BACK = Fraction(1, 10)
"""Seconds by which time may run back before it is another clip's."""

AHEAD = Fraction(10)
"""Seconds by which it may leap: a slide may be shown for as long."""

NEAR = Fraction(1)
"""Streams that were interleaved differently leap to times no farther apart than this."""


class Clock:
    """Times, in seconds, of the packets of several streams, of which ``start`` is taken off.

    ``leaps``: whether the file is of a kind whose times may leap."""

    def __init__(self, start: Fraction, leaps: bool) -> None:
        self.shifts = [-start]  # of each clip
        self.leaps = leaps
        self.clip: dict[int, int] = {}  # in which a stream is
        self.due: dict[int, Fraction] = {}  # when a stream's next packet is expected

    def shift(self, stream: int, told: Fraction, lasts: Fraction) -> Fraction:
        """What is added to the times of the next packet of a stream, which says that it is at ``told``."""
        clip = self.clip.setdefault(stream, 0)
        due = self.due.get(stream)
        if self.leaps and due is not None and not self._fits(told + self.shifts[clip], due):
            clip = self._clip(told, due, clip)
            self.clip[stream] = clip
        self.due[stream] = told + self.shifts[clip] + lasts
        return self.shifts[clip]

    def _fits(self, time: Fraction, due: Fraction) -> bool:
        return due - BACK <= time <= due + AHEAD

    def _clip(self, told: Fraction, due: Fraction, clip: int) -> int:
        """The clip that a stream has come to: one in which another stream is already, or a new one behind all."""
        for later in range(clip + 1, len(self.shifts)):
            if abs(told + self.shifts[later] - due) <= NEAR:
                return later
        self.shifts.append(max(self.due.values()) - told)
        return len(self.shifts) - 1


def leaps(container: Any) -> bool:
    """May times leap in a film of this kind, as in a broadcast? Then FFmpeg guesses how long it is by its ends."""
    return bool(container.format.flags & _LEAPS)


def retimed(container: Any, moving: Any, joints: set[Fraction] | None = None) -> Iterator[Any]:
    """The packets of a film that PyAV has opened, of the stream ``moving`` and of all sound, with times from 0 on and
    without leaps. ``joints`` is filled with the times at which a clip's first picture is shown, behind another clip."""
    start = max(Fraction(container.start_time or 0, 10**6), Fraction(0))  # below 0 there is what decoders swallow
    clock = Clock(start, leaps(container))
    for packet in _demuxed(container, moving, *container.streams.audio):
        told = packet.dts if packet.dts is not None else packet.pts
        if told is not None:
            unit, clip = packet.time_base, clock.clip.get(packet.stream_index)
            shift = round(clock.shift(packet.stream_index, told * unit, (packet.duration or 0) * unit) / unit)
            packet.pts = None if packet.pts is None else packet.pts + shift
            packet.dts = None if packet.dts is None else packet.dts + shift
            joint = packet.stream == moving and clip is not None and clip != clock.clip[packet.stream_index]
            if joint and joints is not None and packet.pts is not None:
                joints.add(packet.pts * unit)
        yield packet


def _demuxed(container: Any, *streams: Any) -> Iterator[Any]:
    """PyAV ends those streams, too, that came later than it knows of: by an IndexError, behind all others."""
    with suppress(IndexError):
        yield from container.demux(*streams)


_LEAPS = 0x0200  # AVFMT_TS_DISCONT of libavformat
