"""The work behind the page: one picture at a time for all who wait, heard while it goes on, and stopped when asked."""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from PIL import Image, ImageChops, ImageStat
from torch import Tensor

from zoo.control import check
from zoo.errors import ImageError, ZooError, describe
from zoo.loading import load
from zoo.page.calls import result_name
from zoo.pictures.image import opened, read, to_pil, write
from zoo.pictures.morph import Morph
from zoo.pictures.video import FORMATS
from zoo.translator import Translator

OFTEN = 0.4
"""Seconds between two looks at a picture on its way."""

VIEW, BECOMING = 1600, 640
"""Pixels of a long side that a browser is shown of a result, and of a picture on its way."""

KEPT = 3
"""So many models stay in memory."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Told:
    """How far it is; ``image`` is the picture by now, where there is one."""

    what: str
    done: int = 0
    total: int = 0
    image: Image.Image | None = None


@dataclass(frozen=True)
class Made:
    """A result: the file to be taken home, and two views of one size for the page."""

    name: str
    file: Path
    before: Path
    after: Path
    film: Path | None = None


@dataclass(frozen=True)
class Failed:
    """What went wrong, the two lines of the zoo; ``name`` is of the picture, "" where it was all of it."""

    message: str
    hint: str = ""
    name: str = ""


Event = Told | Made | Failed | str
"""A string is a remark of the model."""


@dataclass
class Task:
    """What a visitor asked for. It is over when ``running`` is not set any more and ``events`` are read."""

    model: str
    sources: Sequence[Path]
    given: Mapping[str, Any]
    folder: Path
    steps: int = 0  # a film of so many pictures in the place of one result
    pixels: float = float("inf")  # that an upload may have
    stop: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)
    events: SimpleQueue[Event] = field(default_factory=SimpleQueue)
    _looked: float = 0.0

    def run(self) -> None:
        """All of it, in a thread of its own. Whatever happens is told as an event."""
        try:
            with _remarks(self.events):
                self._run()
        except KeyboardInterrupt:
            pass  # as was asked
        except ZooError as error:
            self._failed(error)
        except Exception as error:
            log.exception("a visitor's picture could not be drawn")
            self.events.put(Failed(describe(error), "where zoo page runs it says more"))
        finally:
            self.over.set()

    def _run(self) -> None:
        self.events.put(Told("loading the model"))
        for path in self._others():
            self._admit(path)
        translator = loaded(self.model)
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.steps:
            return self._film(translator, self.sources[0])
        good = [source for source in self.sources if self._is_admitted(source)]
        results = translator.stream(good, progress=self._heard, **self.given)
        for number, source in enumerate(good):
            told = f"picture {number + 1} of {len(good)}" if len(good) > 1 else "drawing"
            self._heard(told, number if len(good) > 1 else 0, len(good) if len(good) > 1 else 0)
            result = next(results)
            if isinstance(result, ZooError):
                self._failed(result, source)
            else:
                self._keep(translator, source, result, number)

    def _film(self, translator: Translator, source: Path) -> None:
        self._admit(source)
        self._heard("drawing the way there", 0, 0)
        morph: Morph = translator.morph(source, steps=self.steps, **self.given)  # type: ignore[attr-defined]
        strip, film = self.folder / f"{source.stem}-strip.png", self.folder / f"{source.stem}{_film_suffix()}"
        write(morph.strip(), strip)
        morph.save(film)
        first, last = morph.pictures[0], morph.pictures[-1]
        views = _view(first, self.folder / "before"), _view(last, self.folder / "after")
        self.events.put(Made(source.name, strip, *views, film))

    def _keep(self, translator: Translator, source: Path, result: Image.Image, number: int) -> None:
        place = self.folder / str(number)
        place.mkdir()
        file = place / result_name(source, self.model)
        write(result, file)
        seen = read(source)
        if seen.rgb.shape[:0:-1] != result.size:  # a part of it was drawn
            values = check(translator.controls, self.given)
            seen = translator.framed(seen, **{name: values[name] for name in translator.framing & values.keys()})
        before = to_pil(seen.on_white().rgb)
        if translator.controls and not self.given and _alike(before, result):
            self.events.put("nothing changes before a control is turned")
        self.events.put(Made(source.name, file, _view(before, place / "before"), _view(result, place / "after")))

    def _heard(self, what: str, done: int, total: int, image: Tensor | None = None) -> None:
        """`zoo.progress`: tells the visitor, and is where a stop reaches the work."""
        if self.stop.is_set():
            raise KeyboardInterrupt
        look = None
        if image is not None and time.monotonic() - self._looked > OFTEN:
            self._looked = time.monotonic()
            look = to_pil(image[0])
            look.thumbnail((BECOMING, BECOMING))
        self.events.put(Told(what, done, total, look))

    def _others(self) -> Iterator[Path]:
        """The pictures among the controls."""
        for value in self.given.values():
            yield from (one for one in (value if isinstance(value, list) else [value]) if isinstance(one, Path))

    def _is_admitted(self, source: Path) -> bool:
        try:
            self._admit(source)
        except ZooError as error:
            self._failed(error, source)
            return False
        return True

    def _failed(self, error: ZooError, source: Path | None = None) -> None:
        """Files are called as the visitor knows them, not by where they lie here."""
        message, hint = error.message, error.hint
        for path in (*self.sources, *self._others()):
            message, hint = (text.replace(str(path), path.name) for text in (message, hint))
        self.events.put(Failed(message, hint, source.name if source else ""))

    def _admit(self, source: Path) -> None:
        """ImageError for what is no picture, or has more pixels than the page takes."""
        with opened(source) as image:
            if image.width * image.height > self.pixels:
                raise ImageError(
                    f"{source.name} has {image.width * image.height / 1e6:.0f} megapixels, more than this page takes",
                    f"scale it down to {self.pixels / 1e6:.0f}",
                )


class Line:
    """Who waits, in their order. One task runs at a time."""

    def __init__(self) -> None:
        self._tasks: list[Task] = []
        self._lock = threading.Lock()

    def join(self, task: Task) -> None:
        with self._lock:
            self._tasks.append(task)

    def before(self, task: Task) -> int:
        """How many go first; 0: it is this one's turn."""
        with self._lock:
            self._tasks = [one for one in self._tasks if not one.over.is_set()]
            return self._tasks.index(task) if task in self._tasks else 0

    def leave(self, task: Task) -> None:
        """One that waits goes; one that runs is stopped, and its place is free when it is over."""
        task.stop.set()
        with self._lock:
            if task in self._tasks[1:]:
                self._tasks.remove(task)
                task.over.set()


@functools.lru_cache(KEPT)
def loaded(name: str) -> Translator:
    return load(name)


def _film_suffix() -> str:
    """Of a film that browsers play: a video where PyAV is installed, else a moving picture."""
    import importlib.util

    return next(iter(FORMATS)) if importlib.util.find_spec("av") else ".gif"


def _alike(before: Image.Image, after: Image.Image) -> bool:
    """Would nobody see a difference?"""
    small = [picture.convert("RGB").resize((64, 64)) for picture in (before, after)]
    return max(high for _, high in ImageStat.Stat(ImageChops.difference(*small)).extrema) < 4


def _view(picture: Image.Image, path: Path) -> Path:
    """A smaller copy for the page, quickly made and quickly there."""
    small = picture.copy()
    small.thumbnail((VIEW, VIEW))
    path = path.with_suffix(".webp" if small.has_transparency_data else ".jpg")
    write(small, path)
    return path


@contextmanager
def _remarks(events: SimpleQueue[Event]) -> Iterator[None]:
    """What the zoo says meanwhile on the terminal, as that a face was left out, is for the visitor, too."""

    class Hear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.thread == mine:
                events.put(record.getMessage())

    mine, heard = threading.get_ident(), Hear(logging.WARNING)
    logger = logging.getLogger("zoo")
    logger.addHandler(heard)
    try:
        yield
    finally:
        logger.removeHandler(heard)
