"""Videos in and out, frame by frame: the only module that imports PyAV, which brings FFmpeg (extra `video`)."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from zoo.errors import ImageError, NotFoundError, UsageError, ZooError, close_match
from zoo.helpers.files import atomic
from zoo.pictures import colours
from zoo.pictures.holes import Intervals, has_holes, is_cut
from zoo.pictures.times import leaps, retimed
from zoo.progress import tell

SUFFIXES = frozenset({
    ".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".webm",
    ".wmv",
})  # fmt: skip
"""Files of these are videos where they are named."""

READ = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,mpegts,mpeg,mpegvideo,m4v,ogg,asf"
"""What is read, by FFmpeg's names: containers that hold all there is, and do not lead to other files."""

_X264 = "libx264", {"crf": "18"}
_VP9 = "libvpx-vp9", {"crf": "24", "b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"}
FORMATS: dict[str, tuple[str, tuple[str, dict[str, str]]]] = {
    ".mp4": ("mp4", _X264),
    ".m4v": ("mp4", _X264),
    ".mov": ("mov", _X264),
    ".mkv": ("matroska", _X264),
    ".webm": ("webm", _VP9),
}
"""What is written: suffix -> FFmpeg's name of the container, codec and its options."""

SLACK = Fraction(1, 4)
"""So many seconds less than it says may be in a whole file: containers round, and sound is cut in pieces."""

FROM_ZERO = ("matroska,webm", "asf")
"""FFmpeg's names for containers whose length counts from 0, also where the film begins later."""

EMPTY = 16
"""Bytes of a packet that may say that the last frame goes on."""

_BT709, _LIMITED = 1, 1  # FFmpeg's numbers for the colours of HD television, and for black at 16 and white at 235

log = logging.getLogger("zoo")


@dataclass(frozen=True)
class Film:
    """What a video file says of itself. Its frames can be read as often as they are wanted."""

    path: Path
    rate: Fraction  # frames a second, on average
    unit: Fraction  # seconds that times are counted in
    count: int  # frames, about

    def frames(self, doing: str, damage: Damage | None = None) -> Iterator[tuple[int, np.ndarray]]:
        """When each frame is shown, in units, and its pixels (H, W, 3) uint8: upright, and square ones.

        Who listens (`zoo.progress`) is told the number of each, with the words ``doing``. ``damage`` counts what is
        damaged or missing; ImageError for a file in which nothing can be read any more."""
        damage = damage or Damage()
        step = max(1, round(1 / (self.rate * self.unit)))
        time = None
        with _reading(self.path) as container:
            stream = _moving(container, self.path)
            for number, frame in enumerate(damage.decoded(container, stream, self)):
                tell(doing, number, max(self.count, number))
                told = frame.pts
                if time is not None and (told is None or told <= time):  # AVI tells none; in some files time runs back
                    told = time + step
                time = told or 0
                yield time, _pixels(frame, stream.sample_aspect_ratio or 1)
        if time is None:
            raise ImageError(f"{self.path} holds no frames", "copy or download it again")


@dataclass
class Damage:
    """What a file lacks of what it says that it holds."""

    frames: int = 0  # that the decoder calls corrupt; what the container calls so may be whole, where clips were joined
    lost: int = 0  # frames in the middle; -1 where something is missing and nobody can say how many
    missing: Fraction = Fraction(0)  # seconds at the end
    cut: bool = False  # the file ends within a piece: a .ts does not say how long it should be

    def decoded(self, container: Any, stream: Any, film: Film) -> Iterator[Any]:
        """The stream's frames, counted."""
        end, moving, intervals, joints = Fraction(0), Fraction(0), Intervals(), set[Fraction]()
        held = count = 0  # packets that hold a frame, and frames
        for packet in retimed(container, stream, joints):
            if packet.dts is not None and packet.pts is not None:  # sound may last longer than the pictures
                told = (packet.pts + (packet.duration or 0)) * packet.time_base
                end = max(end, told)
                if packet.stream == stream:
                    moving = max(moving, told)
            held += packet.stream == stream and packet.size > EMPTY
            for frame in packet.decode() if packet.stream == stream else ():
                self.frames += frame.is_corrupt
                count += 1
                if frame.pts is not None:
                    time = frame.pts * frame.time_base
                    end = max(end, time + 1 / film.rate)
                    intervals.add(time, time in joints)
                yield frame
        intervals.add(moving)  # behind the last that could be decoded
        kind = container.format.name
        begin = max(container.start_time or 0, 0) if kind in FROM_ZERO else 0
        told = Fraction((container.duration or 0) - begin, 10**6)
        if told - end > max(SLACK, 2 / film.rate) and not leaps(container):  # those do not say how long they are
            self.missing = told - end
        self.cut = kind == "mpegts" and is_cut(film.path)
        gaps = max(0, stream.frames - count) if kind == "avi" else intervals.missing()  # its frames have no times
        if kind == "avi" and self.missing:
            gaps = 0  # they are those of the end
        swallowed = kind in ("avi", "asf") and gaps and held > count
        if swallowed or has_holes(film.path, kind, bool(gaps)):
            self.lost = gaps or (0 if self.missing else -1)
        elif kind in FROM_ZERO:  # all of it is there, whatever it says of its length
            self.missing = Fraction(0)

    def __str__(self) -> str:
        """In words; "" for a whole file."""
        told = [f"{self.frames} frames are damaged"] if self.frames else []
        told += [f"{self.lost} frames are missing"] if self.lost > 0 else []
        told += ["a piece of the file is missing or damaged"] if self.lost < 0 else []
        told += [f"the last {float(self.missing):.1f} seconds are missing"] if self.missing else []
        told += ["the file ends in the middle of a piece"] if self.cut else []
        return ", ".join(told)


def moves(path: Path) -> bool:
    """Does its name say that it is a video?"""
    return path.suffix.lower() in SUFFIXES


def probe(path: str | os.PathLike[str]) -> Film:
    """NotFoundError; ImageError for what is no video; UsageError if PyAV is not installed."""
    if not Path(path).is_file():
        raise NotFoundError(f"there is no video {path}", "check the path")
    with _reading(Path(path)) as container:
        stream = _moving(container, Path(path))
        rate = Fraction(stream.average_rate or stream.guessed_rate or 25)
        seconds = Fraction(container.duration or 0, 10**6)
        return Film(Path(path), rate, Fraction(stream.time_base), stream.frames or round(seconds * rate))


def writable(path: str | os.PathLike[str]) -> None:
    """ImageError if ``rewrite`` does not know the path's suffix."""
    suffix = Path(path).suffix
    if suffix.lower() not in FORMATS:
        what = suffix or "a file without suffix"
        raise ImageError(f"{path}: cannot write a video as {what}", close_match(suffix, FORMATS))


def rewrite(
    film: Film,
    target: str | os.PathLike[str],
    draw: Callable[[Iterable[np.ndarray]], Iterable[np.ndarray | ZooError]],
    replace: bool = True,
) -> str:
    """Write what ``draw`` makes of the film's frames, each (H, W, 3) uint8, with their times and the film's sound.

    What the film lacks is told in words, "" if it is whole. ExistsError if ``target`` is there and not to be replaced.

    All have the size of the first; an odd side gets a row or column more, repeated. The file is whole or not there.

    The first error among the results is raised, with the number of its frame. ImageError: the file cannot be written.
    """
    path = Path(target)
    writable(path)
    if path.exists() and path.samefile(film.path):
        raise UsageError(f"{path} would overwrite the input", "give another name")
    times: deque[int] = deque()
    damage = Damage()

    def images() -> Iterator[np.ndarray]:
        for time, image in film.frames("translating", damage):
            times.append(time)
            yield image

    results = map(_checked, enumerate(draw(images()), 1))
    first = next(results)  # before a file is begun: most of what fails fails here
    container, codec = FORMATS[path.suffix.lower()]
    with atomic(path, replace) as part, _writing(path, part, container) as out:
        video = _stream(out, codec, film.rate, film.unit, first)
        with closing(_sound(film, path, out)) as sound:
            packet = next(sound, None)
            for result in chain([first], results):
                time = times.popleft()
                while packet is not None and packet.dts * packet.time_base <= time * film.unit:
                    out.mux(packet)
                    packet = next(sound, None)
                out.mux(video.encode(_frame(result, video, time, film.unit)))
            out.mux(video.encode(None))
            while packet is not None:
                out.mux(packet)
                packet = next(sound, None)
    return str(damage)


def write(frames: Iterable[np.ndarray], target: str | os.PathLike[str], rate: float, replace: bool = True) -> None:
    """Write frames of one size, each (H, W, 3) uint8, ``rate`` of them a second. The file is whole or not there.

    ExistsError if ``target`` is there and not to be replaced.

    An odd side gets a row or column more, repeated. ImageError: the file cannot be written; UsageError: no PyAV."""
    path = Path(target)
    writable(path)
    container, codec = FORMATS[path.suffix.lower()]
    images = iter(frames)
    first = next(images)
    exact = Fraction(rate).limit_denominator(1000)
    with atomic(path, replace) as part, _writing(path, part, container) as out:
        video = _stream(out, codec, exact, 1 / exact, first)
        for time, image in enumerate(chain([first], images)):
            out.mux(video.encode(_frame(image, video, time, 1 / exact)))
        out.mux(video.encode(None))


def _checked(numbered: tuple[int, np.ndarray | ZooError]) -> np.ndarray:
    number, result = numbered
    if isinstance(result, ZooError):
        raise type(result)(f"frame {number}: {result.message}", result.hint) from result
    return result


def _moving(container: Any, path: Path) -> Any:
    stream = container.streams.best("video")
    if stream is None or stream.codec_context is None:
        raise ImageError(f"{path} holds no moving pictures that can be read", "give a video")
    return stream


def _pixels(frame: Any, ratio: Fraction | int) -> np.ndarray:
    """(H, W, 3) uint8, upright; ``ratio`` is that of the width of the frame's pixels to their height."""
    size = {"width": max(1, round(frame.width * ratio)), "height": frame.height}
    told = int(frame.color_trc), int(frame.color_primaries)
    if colours.ordinary(*told):
        pixels = frame.to_ndarray(format="rgb24", **size)
    else:
        pixels = colours.to_srgb(frame.to_ndarray(format="rgb48le", **size), *told)
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90)))


def _stream(out: Any, codec: tuple[str, dict[str, str]], rate: Fraction, unit: Fraction, first: np.ndarray) -> Any:
    """A stream for frames of this size."""
    name, options = codec
    video = out.add_stream(name, rate=rate, options=options)
    video.height, video.width = (side + side % 2 for side in first.shape[:2])  # colours are stored for 2×2 pixels
    video.pix_fmt = "yuv420p"
    context = video.codec_context
    context.time_base = unit
    context.colorspace = context.color_primaries = context.color_trc = _BT709
    context.color_range = _LIMITED
    return video


def _frame(image: np.ndarray, video: Any, time: int, unit: Fraction) -> Any:
    """(H, W, 3) uint8 as the stream takes it."""
    av = installed()
    height, width = image.shape[:2]
    even = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
    frame = av.VideoFrame.from_ndarray(even, format="rgb24").reformat(
        video.width, video.height, video.pix_fmt, dst_colorspace=av.video.reformatter.Colorspace.ITU709
    )
    frame.pts, frame.time_base = time, unit
    return frame


def _sound(film: Film, target: Path, out: Any) -> Generator[Any, None, None]:
    """The packets of the film's sound, for streams in ``out`` that are made before the first is given."""
    with _reading(film.path) as container:
        streams: dict[Any, Any] = {}
        last: dict[Any, int] = {}  # times of packets
        for stream in container.streams.audio:
            codec = stream.codec_context.codec.canonical_name if stream.codec_context else "unknown"
            if codec in out.supported_codecs:
                streams[stream] = out.add_stream_from_template(stream)
            else:
                log.warning("the sound (%s) is left out: %s does not hold it; .mkv holds all", codec, target.suffix)
        for packet in retimed(container, _moving(container, film.path)) if streams else ():
            stream = packet.stream
            if stream in streams and packet.dts is not None:  # None: only there to empty a decoder
                late = max(
                    0, last.get(stream, packet.dts - 1) + 1 - packet.dts
                )  # where clips were joined, they overlap
                packet.dts += late
                packet.pts = max(packet.pts or 0, packet.dts)
                last[stream] = packet.dts
                packet.stream = streams[stream]
                yield packet


@contextmanager
def _reading(path: Path) -> Iterator[Any]:
    """The file, opened here: FFmpeg sees no name, which could be an address, and no format that opens other files."""
    av = installed()
    with path.open("rb", buffering=0) as file:
        try:
            container = av.open(
                _Nameless(file),
                options={"format_whitelist": READ, "protocol_whitelist": "none"},
                metadata_errors="replace",  # titles of any alphabet
            )
        except (av.FFmpegError, OSError) as error:  # the latter from the disk, or sent to a place that cannot be
            raise ImageError(
                f"{path} is not a video that can be read: {error.strerror}", "give MP4, MOV, MKV, WebM or AVI"
            ) from error
        with container:
            try:
                yield container
            except (av.FFmpegError, OSError) as error:
                raise ImageError(
                    f"{path} is damaged or incomplete: {error.strerror}", "copy or download it again"
                ) from error


class _Nameless:
    """The bytes of an open file, and nothing else of it."""

    def __init__(self, file: Any) -> None:
        self.read, self.seek, self.tell = file.read, file.seek, file.tell


@contextmanager
def _writing(path: Path, part: Path, container: str) -> Iterator[Any]:
    """``part`` as a file to be ``path``."""
    av = installed()
    options = {"movflags": "+faststart"} if container in ("mp4", "mov") else {}  # it plays while it is loaded
    try:
        address = f"file:{part.absolute()}"  # any name is one of a file, as 1:2/film.mp4
        with av.open(address, "w", format=container, options=options) as out:
            yield out
    except av.FFmpegError as error:
        hint = "check the folder" if isinstance(error, OSError) else "write .mkv, which holds all that films have"
        raise ImageError(f"{path} cannot be written: {error.strerror}", hint) from error


def installed() -> Any:
    """PyAV. UsageError if it is not installed."""
    try:
        import av
    except ImportError as error:
        raise UsageError("videos need PyAV, which is not installed", "pip install 'zoo-core[video]'") from error
    return av
