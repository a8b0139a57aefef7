"""What a call reads it does not write over, whatever the names: one notion of a call's inputs for all commands."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from zoo.errors import ExistsError, UsageError


class Inputs:
    """All files that a call reads: pictures, weights, recipes, what controls name.

    ``given`` is whatever the call was given, None and numbers included. Paths count, and words that hold some:
    ``--style=a.jpg``, ``dog,cat.json``. Folders do not: their pictures are to be given one by one.
    """

    def __init__(self, *given: object) -> None:
        self._files: dict[object, Path] = {}
        for path in _paths(given):
            self._files.setdefault(identity(path), path)

    def spare(self, *targets: Path) -> None:
        """UsageError if a target is one of these files, by another name, a link or a second name of it too."""
        for target in targets:
            if os.path.lexists(target) and (source := self._files.get(identity(target))):
                raise UsageError(f"{target} would overwrite the input {source}", "give another --out")

    def ready(self, *targets: Path, replace: bool | None = None) -> None:
        """Before any work: as ``spare``, and ExistsError if a target is there and not to be replaced.

        ``replace`` is None where the user has no --overwrite to say so."""
        hint = "give another name for the result" + ("" if replace is None else ", or --overwrite")
        for target in targets:
            self.spare(target)
            if target.is_dir() or (os.path.lexists(target) and not replace):
                raise ExistsError(target, hint)

    def keep_out(self, folder: Path) -> None:
        """UsageError if one of these files lies in a folder whose files are going to be replaced."""
        place = folder.resolve()
        for path in self._files.values():
            if place in path.resolve().parents:
                raise UsageError(f"files in {folder} would overwrite the input {path}", "give another folder")


def identity(path: Path) -> object:
    """The same for all names of one file, links included."""
    try:
        facts = path.stat()
    except OSError:
        return path.absolute()
    return facts.st_dev, facts.st_ino


def _paths(given: Iterable[object]) -> Iterator[Path]:
    for one in given:
        if isinstance(one, list | tuple | set | frozenset):
            yield from _paths(one)
        elif isinstance(one, os.PathLike):
            yield Path(one)
        elif isinstance(one, str):
            yield from (path for path in map(Path, _words(one)) if _is_file(path))


def _words(text: str) -> set[str]:
    """All that may be a path in ``NAME=VALUE`` and lists."""
    _, equals, value = text.partition("=")
    return {text, *text.split(","), *([value, *value.split(",")] if equals else ())} - {""}


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # no path can be so: a zero byte, thousands of letters
        return False
