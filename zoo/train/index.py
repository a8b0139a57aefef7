"""What a run knows of its picture files from one call to the next, so that going on need not open them all again."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any

from zoo.errors import ImageError, NotFoundError
from zoo.helpers.files import atomic
from zoo.pictures.glance import glance
from zoo.pictures.image import existing, read

log = logging.getLogger("zoo.train")
NAMED = 3  # pictures that are named where many have changed


@dataclass(frozen=True)
class Known:
    """A picture file. ``doubtful``: it could not be decoded when its turn came, though it looked whole. ``result``: the
    zoo made it."""

    size: int
    mtime: int
    width: int
    height: int
    mark: int
    doubtful: bool = False
    result: bool = False


class Index:
    """The picture files of a run: ``before`` as the last call left them, ``now`` as they are.

    A file whose size and time of change are as they were is taken to be as it was; of any other all is found out
    anew, and so it is where the index itself is damaged.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.before: dict[str, Known] = {}
        self.now: dict[str, Known] = {}
        if path is not None and path.is_file():
            try:
                self.before = _loaded(path)
            except (OSError, ValueError, KeyError, TypeError) as exc:
                log.warning("%s is damaged (%s): all pictures are looked at again", path, type(exc).__name__)
        self._written = self.before

    def __reduce__(self) -> tuple[type[Index], tuple[()]]:
        return Index, ()  # a process that prepares pictures has no use for it

    def look(self, file: Path) -> Known:
        """ImageError for a file that is no picture or cut short, NotFoundError for one that is not there."""
        facts, name = existing(file).stat(), _name(file)
        known = self.before.get(name)
        if known is None or (known.size, known.mtime) != (facts.st_size, facts.st_mtime_ns):
            seen = glance(file)
            known = Known(facts.st_size, facts.st_mtime_ns, seen.width, seen.height, seen.mark, result=seen.result)
        elif known.doubtful:  # it may have been the disk
            known = replace(known, doubtful=not _decodes(file))
        self.now[name] = known
        return known

    def doubt(self, file: Path) -> None:
        """It could not be decoded: the next call tries that first of all."""
        if (known := self.now.get(_name(file))) is not None:
            self.now[_name(file)] = replace(known, doubtful=True)

    def changes(self) -> str:
        """What has changed since the last call, in one line; "" if nothing has, or nobody knows."""
        if not self.before:
            return ""
        both = self.before.keys() & self.now.keys()
        sides = {name: [(known.size, known.mark) for known in (self.before[name], self.now[name])] for name in both}
        kinds = {
            "gone": self.before.keys() - self.now.keys(),
            "new": self.now.keys() - self.before.keys(),
            "changed": {name for name, (old, new) in sides.items() if old != new},
        }
        return "; ".join(f"{len(names)} {kind}: {_some(names)}" for kind, names in kinds.items() if names)

    def save(self, path: Path) -> None:
        """Write it, unless it lies there already."""
        if self.now == self._written:
            return
        files = {name: astuple(known) for name, known in sorted(self.now.items())}
        with atomic(path) as part:
            part.write_text(json.dumps({"sha256": _sum(files), "files": files}, ensure_ascii=False), encoding="utf-8")
        self._written = dict(self.now)


_CURRENT: ContextVar[Index | None] = ContextVar("index", default=None)


@contextmanager
def remembering(index: Index) -> Iterator[None]:
    """Pictures that are found within are looked up in ``index``."""
    token = _CURRENT.set(index)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def current() -> Index:
    return _CURRENT.get() or Index()


def _loaded(path: Path) -> dict[str, Known]:
    found = json.loads(path.read_text(encoding="utf-8"))
    if found["sha256"] != _sum(found["files"]):
        raise ValueError("its sum does not fit")
    return {name: Known(*values) for name, values in found["files"].items()}


def _sum(files: Any) -> str:
    return hashlib.sha256(json.dumps(files, ensure_ascii=True).encode()).hexdigest()


def _name(file: Path) -> str:
    return os.path.abspath(file)  # noqa: PTH100  (resolve() would make one of two links)


def _decodes(file: Path) -> bool:
    try:
        read(file, (1, 1))
    except (ImageError, NotFoundError):
        return False
    return True


def _some(names: set[str]) -> str:
    shown = ", ".join(Path(name).name for name in sorted(names)[:NAMED])
    return f"{shown} …" if len(names) > NAMED else shown
