"""A command that is killed, with what must be true after a kill and at the end."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from crashing.process import Process

Moment = tuple[str, Callable[[], bool], float]  # what it is called, when the clock starts, seconds from then


@dataclass(frozen=True)
class Kill:
    moment: str
    fresh: bool
    half: bool  # a temporary file was left behind
    found: str  # what the next process had to go on from
    step: int  # and at which step


class Scene(ABC):
    """One command, and the result of running it undisturbed."""

    def __init__(self, folder: Path) -> None:
        self.home = folder
        self.environment: dict[str, str] = {}
        folder.mkdir(parents=True)

    @abstractmethod
    def begin(self, folder: Path, rng: random.Random) -> None:
        """A trial in this folder, which is made."""

    @abstractmethod
    def words(self) -> list[str]: ...

    @abstractmethod
    def moment(self, rng: random.Random) -> Moment: ...

    @abstractmethod
    def check(self) -> tuple[str, int]:
        """After a kill: what there is to go on from, and its step. RuntimeError if anything is half."""

    @abstractmethod
    def compare(self) -> None:
        """At the end: RuntimeError if it is not as if nothing had happened."""

    def start(self, fresh: bool) -> Process:
        return Process(self.words(), self.folder / "said.txt", self.environment, fresh)

    def traces(self) -> list[Path]:
        return [path for path in self.folder.rglob("*") if is_temporary(path)]

    def time(self, folder: Path, rng: random.Random) -> float:
        self.begin(folder, rng)
        return self.start(fresh=False).finish()


def is_temporary(path: Path) -> bool:
    return path.suffix in (".part", ".incomplete") or path.name.startswith(".tmp")


def need(condition: object, what: str) -> None:
    if not condition:
        raise RuntimeError(what)


def appeared(folders: Sequence[Path], count: int) -> Callable[[], bool]:
    """True once so many temporary files have been seen in the folders."""
    seen: set[Path] = set()

    def now() -> bool:
        seen.update(path for folder in folders if folder.is_dir() for path in folder.iterdir() if is_temporary(path))
        return len(seen) >= count

    return now
