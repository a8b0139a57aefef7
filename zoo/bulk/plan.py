"""What becomes what: every conflict is found before any work, and a million names take hardly any memory.

Names go onto the disk (`zoo.bulk.spool`) as they are found. What is compared with all others is compared by 64 bits of
it; where these are equal, the names are read again.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator, Sequence
from itertools import count, islice
from pathlib import Path, PurePath
from typing import NamedTuple

import numpy as np

from zoo.bulk import addresses, folders, tables
from zoo.bulk.spool import Spool
from zoo.bulk.tables import TABLE
from zoo.errors import NotFoundError, UsageError
from zoo.helpers.inputs import Inputs, identity
from zoo.pictures import video
from zoo.pictures.find import pictures
from zoo.pictures.image import FORMATS, existing, writable


class Job(NamedTuple):
    """One picture or video, one row group of a table, or pictures that become a part of one, and where it goes."""

    number: int
    source: str
    target: str
    group: int | None = None  # of a table that becomes a table,
    row: folders.Row | None = None  # or a row of one that becomes a picture
    members: list[folders.Member] | None = None  # of a part of a table that is made of pictures

    @property
    def tabled(self) -> bool:
        """Does it become a table?"""
        return self.group is not None or self.members is not None

    @property
    def moves(self) -> bool:
        """Is it a video?"""
        return not self.tabled and self.row is None and video.moves(Path(self.source))


class Plan:
    """The jobs of a call. It can be gone through again and again."""

    def __init__(self, read: Inputs) -> None:
        self._rows, self._left, self._read = Spool(), Spool(), read
        self._seen = addresses.There()
        self._sources, self._targets, self._occupied = array("q"), array("q"), array("q")
        self._again: set[int] = set()  # the numbers of those given twice
        self._folder = ""
        self._there = 0
        self.pictures = self.pictures_there = 0  # of tables there are many
        self.first_there = ""

    def __len__(self) -> int:
        return self._rows.count - len(self._again)

    @property
    def there(self) -> int:
        """How many results are there already."""
        return self._there

    @property
    def left(self) -> Spool:
        """The pictures that are left out, because they lie where the results go."""
        return self._left

    def jobs(self, there: bool | None = None, moves: bool | None = None) -> Iterator[Job]:
        """All of them; those whose results are there, or are not; videos only, or all else."""
        for number, (source, target, is_there, *rest) in enumerate(self._rows):
            job = Job(number, source, target, *rest)
            if number in self._again or (there is not None and is_there != there):
                continue
            if moves is None or job.moves == moves:
                yield job

    def add(
        self,
        source: str,
        target: str,
        group: int | None = None,
        pictures: int = 1,
        *,
        row: folders.Row | None = None,
        members: list[folders.Member] | None = None,
    ) -> None:
        """UsageError if the target is a folder, or an input beside the pictures."""
        self.pictures += pictures
        is_there = self._seen(target)
        if is_there:
            self._there += 1
            self.pictures_there += pictures
            self.first_there = self.first_there or target
            if not addresses.is_address(target):
                self._read.spare(Path(target))
                if Path(target).is_dir():
                    raise UsageError(f"{target} is a folder", "give another --out")
            self._occupied.append(_key(target))
        self._sources.append(_key(source))
        self._targets.append(hash(target))
        self._rows.add(source, target, is_there, group, row, members)
        if (folder := os.path.dirname(target)) != self._folder and not addresses.is_address(target):  # noqa: PTH120
            self._folder = folder
            above = next(one for one in Path(target).absolute().parents if os.path.lexists(one))
            if not above.is_dir():
                raise UsageError(f"{above} is not a folder", "give another --out")

    def refuse(self, on_exists: str, out: str) -> None:
        """UsageError for results that are there and not to be replaced, or that may be pictures of the user's."""
        if self.there and on_exists == "error":
            raise UsageError(
                f"{self.there} of {len(self)} results are there already, such as {self.first_there}",
                "give another --out, or --on-exists skip or overwrite",
            )
        if self.there and self.left.count and on_exists == "overwrite":
            raise UsageError(
                f"{self.first_there} may be a picture of yours: {out} holds others that are no results, "
                f"such as {self.first_left}",
                "give another --out",
            )

    @property
    def first_left(self) -> str:
        first = self.left.first()
        return first[0] if first else ""

    def settle(self) -> None:
        """When all are there. UsageError where two would become one, or an input would be overwritten."""
        sources, targets = np.asarray(self._sources), np.sort(np.asarray(self._targets))
        twice = {*targets[1:][targets[1:] == targets[:-1]].tolist()}
        first: dict[str, str] = {}
        for number, (source, target, is_there, *_) in enumerate(self._rows if twice else ()):
            if hash(target) not in twice:
                continue
            if (other := first.setdefault(target, source)) is source:
                continue
            if _place(other) != _place(source):
                raise UsageError(f"{other} and {source} would both become {target}", "translate them into two folders")
            self._again.add(number)
            self._there -= is_there
            self.pictures_there -= is_there
            self.pictures -= 1
        inputs = {*np.intersect1d(sources, np.asarray(self._occupied, dtype=np.int64)).tolist()}
        for source, target, is_there, *_ in self._rows if inputs else ():
            if is_there and (key := _key(target)) in inputs:
                other = next((one for one, *_ in self._rows if _key(one) == key), source)
                raise UsageError(f"{target} would overwrite the input {other}", "give another --out")
        del self._sources, self._targets, self._occupied
        if self._left.count:
            results = {_place(target) for _, target, *_ in self._rows}
            left, self._left = self._left, Spool()
            for (name,) in left:
                if _place(name) not in results:
                    self._left.add(name)


def plan(inputs: Sequence[str], to: str, format: str | None, read: Inputs) -> Plan:
    """What becomes what, and the pictures that are left out. Every conflict is found before any work: UsageError.

    ``read`` are the files that the call reads beside the pictures. A picture below an input folder is left out where
    it lies in the folder ``to``: it may be an earlier result. The results of this call are not counted among those.
    """
    words = [addresses.plain(word) for word in inputs]
    are_folders = [_is_folder(word) for word in words]
    out = addresses.plain(to)
    jobs = Plan(read)
    if out.rstrip("/").endswith(TABLE):
        _tabled(jobs, words, are_folders, out.rstrip("/"), format)
    elif _single(words, are_folders, out) and not words[0].endswith(TABLE):
        (video.writable if video.moves(Path(words[0])) else writable)(out)
        if format and FORMATS[f".{format}"] != FORMATS.get(PurePath(out).suffix.lower()):
            raise UsageError(f"--format {format} is not what {out} says", "leave one of them out")
        jobs.add(words[0], out)
    else:
        for word, is_folder in zip(words, are_folders):
            before = len(jobs)
            if not word.rstrip("/").endswith(TABLE):
                _add(jobs, word, is_folder, out, format)
            if len(jobs) == before:
                _taken_out(jobs, word, out, format)
    if not len(jobs):
        raise NotFoundError(f"there are no pictures in {', '.join(inputs)}", "give pictures, or folders that hold some")
    jobs.settle()
    return jobs


def _is_folder(word: str) -> bool:
    return addresses.is_folder(word) if addresses.is_address(word) else existing(word).is_dir()


def _single(words: Sequence[str], are_folders: Sequence[bool], out: str) -> bool:
    """Does one input become the file ``out``?"""
    if len(words) > 1 or are_folders[0] or not PurePath(out).suffix or out.endswith(("/", os.sep)):
        return False
    return not (addresses.is_folder(out) if addresses.is_address(out) else Path(out).is_dir())


def _add(jobs: Plan, word: str, is_folder: bool, out: str, format: str | None) -> None:
    """The job of a picture, or those of the pictures in a folder; what lies in ``out``, a folder below it, is left."""
    taken: set[str] = set()
    folder: PurePath | None = None
    for source, below in _pictures(word, is_folder):
        if below.parent != folder:
            folder = below.parent
            inside, taken = is_folder and _is_inside(word, source, out), set()  # names meet in one folder alone
        if inside:
            jobs.left.add(source)
            continue
        suffix = _suffix(source, format)
        name = str(below.with_suffix(suffix))
        if name in taken and not format and suffix != below.suffix:
            name = f"{below}{suffix}"  # a.tga beside a.heic, which has become a.png
        taken.add(name)
        jobs.add(source, _joined(out, name))


def _tabled(jobs: Plan, words: Sequence[str], are_folders: Sequence[bool], out: str, format: str | None) -> None:
    """Tables into tables, a row group at a time; pictures into parts of one."""
    if all(are := [bool(addresses.beside(word, TABLE)) for word in words]):
        tables.plan(words, out, jobs.add)
        return
    if any(are):
        raise UsageError(f"{words[are.index(True)]} is a table, and the rest is none", "give tables or pictures")
    numbers = count()
    found = (one for word, is_folder in zip(words, are_folders) for one in _pictures(word, is_folder))
    while some := [*islice(found, folders.PART)]:
        if film := next((source for source, _ in some if video.moves(Path(source))), None):
            raise UsageError(f"{film} is a video, and {out} holds pictures", "translate videos into a folder")
        members: list[folders.Member] = [(source, below.as_posix(), _suffix(source, format)) for source, below in some]
        label = some[0][0] if len(some) == 1 else f"{some[0][0]} … {some[-1][0]}"
        jobs.add(label, folders.part(next(numbers), out, members), pictures=len(some), members=members)


def _taken_out(jobs: Plan, word: str, out: str, format: str | None) -> None:
    """The pictures of a table, or of those in a folder, each into a file of its own."""
    if PurePath(out).suffix.lower() in {*FORMATS, *video.FORMATS}:
        raise UsageError(
            f"{word} is a table, and {out} is one file", f"give a folder, or a name that ends with {TABLE}"
        )
    for name in addresses.beside(word, TABLE):
        for label, below, row in folders.rows(name, format):
            jobs.add(label, _joined(out, str(below)), row=row)


def _pictures(word: str, is_folder: bool) -> Iterator[tuple[str, PurePath]]:
    if addresses.is_address(word):
        yield from addresses.pictures(word)
        return
    for path in pictures([word]):
        yield str(path), path.relative_to(word) if is_folder else PurePath(path.name)


def _is_inside(word: str, source: str, out: str) -> bool:
    """Does the folder of ``source`` lie in ``out``, and that below ``word``?"""
    if addresses.is_address(word) or addresses.is_address(out):
        return f"{source}/".startswith(f"{out.rstrip('/')}/") and f"{out}/".startswith(f"{word.rstrip('/')}/")
    results = Path(os.path.realpath(out))
    if Path(os.path.realpath(word)) not in results.parents:
        return False
    place = Path(os.path.realpath(os.path.dirname(source)))  # noqa: PTH120
    return results in (place, *place.parents)


def _suffix(source: str, format: str | None) -> str:
    """Of a result that is not named."""
    suffix = PurePath(source).suffix
    if video.moves(Path(source)):
        return suffix if suffix.lower() in video.FORMATS else ".mp4"
    return f".{format}" if format else suffix if suffix.lower() in FORMATS else ".png"


def _joined(out: str, name: str) -> str:
    return f"{out.rstrip('/')}/{PurePath(name).as_posix()}" if addresses.is_address(out) else str(Path(out, name))


def _key(name: str) -> int:
    """The same for all names of one file."""
    return hash(name if addresses.is_address(name) else identity(Path(name)))


def _place(name: str) -> str:
    return name if addresses.is_address(name) else os.path.realpath(name)
