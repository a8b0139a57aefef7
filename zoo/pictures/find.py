"""Pictures in folders as people have them: of every kind that can be read, through links, and none left out silently.

No torch here.
"""

from __future__ import annotations

import functools
import logging
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from PIL import Image

from zoo.errors import ImageError, UsageError

log = logging.getLogger("zoo.pictures")

HEIF = frozenset({".heic", ".heics", ".heif", ".heifs", ".hif"})
_UNREAD = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"})  # Pillow knows their names, but not how to decode
_BESIDE = frozenset({
    ".aae", ".csv", ".db", ".html", ".ini", ".json", ".jsonl", ".md", ".txt", ".xmp", ".yaml", ".yml",
})  # fmt: skip
"""What lies beside pictures and is none by anybody's reckoning: of these nothing is said."""


@functools.cache
def suffixes() -> frozenset[str]:
    """Files of these are pictures when a folder is walked: what Pillow decodes here."""
    Image.init()
    known = {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN.keys() - _UNREAD}
    return frozenset((known | {".mpo"}) - HEIF)


@functools.cache
def reads_heif() -> bool:
    """Can HEIC be read? From the first call on Pillow does, where pillow-heif is installed."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


def find_pictures(paths: Iterable[Path | str]) -> list[Path]:
    """Files as they are, folders as the pictures in them and below, sorted; what else lies there is told.

    Hidden files and folders are no pictures, and the folders of training runs hold none. Links to folders are followed,
    each folder once.
    """
    return [*pictures(paths)]


def pictures(paths: Iterable[Path | str]) -> Iterator[Path]:
    """As ``find_pictures``, one by one: of a million only the names are in memory."""
    for path in map(Path, paths):
        if path.is_dir():
            yield from _below(path)
        else:
            yield path


def is_picture(name: str) -> bool:
    """Is a file of this name one, where a folder is walked?"""
    suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122  (many thousands of them)
    return suffix in suffixes() or (suffix in HEIF and reads_heif())


def by_name(folder: Path, paths: Iterable[Path]) -> dict[str, Path]:
    """Pictures of a folder tree by their path in it without suffix, in one spelling. UsageError for a name twice."""
    found: dict[str, Path] = {}
    for path in paths:
        name = one_spelling(path.relative_to(folder).with_suffix("").as_posix())
        if name in found:
            raise UsageError(f"{found[name]} and {path} have one name", "rename one: pictures are matched by name")
        found[name] = path
    return found


def one_spelling(name: str) -> str:
    """A Mac writes é as e and an accent, Linux as one letter: the same for both."""
    return unicodedata.normalize("NFC", name)


def _below(top: Path) -> Iterator[Path]:
    found: dict[str, list[str]] = {}
    others: Counter[str] = Counter()
    for folder, name in _files(top):
        if is_picture(name):
            found.setdefault(folder, []).append(name)
        elif (suffix := Path(name).suffix.lower()) not in _BESIDE:
            others[suffix or "without suffix"] += 1
    if others:
        log.warning("left out of %s, no pictures that can be read: %s", top, _listed(others))
    for folder in sorted(found, key=lambda folder: [*map(one_spelling, Path(folder).relative_to(top).parts)]):
        yield from (Path(folder, name) for name in sorted(found[folder], key=one_spelling))


def _listed(others: Mapping[str, int]) -> str:
    kinds = ", ".join(f"{count} {suffix}" for suffix, count in sorted(others.items()))
    return f"{kinds} (HEIC needs pillow-heif: pip install 'zoo-core[heic]')" if others.keys() & HEIF else kinds


def _files(top: Path) -> Iterator[tuple[str, str]]:
    """Folder and name of all that is not hidden. What is really there comes first: a link to it adds nothing, nor one that leads back up."""
    seen: set[str] = set()
    above = {*map(str, Path(os.path.realpath(top)).parents)}
    waiting = [str(top)]
    while waiting:
        links: list[str] = []
        for start in waiting:
            if os.path.realpath(start) in seen:
                continue
            for folder, folders, files in os.walk(start, onerror=_no_access):
                seen.add(os.path.realpath(folder))
                entered = []
                for name in sorted(name for name in folders if not name.startswith(".")):
                    path = os.path.join(folder, name)  # noqa: PTH118  (many thousands of them)
                    if os.path.islink(path):  # noqa: PTH114
                        links.append(path)
                    elif _is_run(Path(path)):
                        log.warning("left out of %s: %s is the folder of a training run", top, path)
                    elif os.path.realpath(path) not in seen:
                        entered.append(name)
                folders[:] = entered
                yield from ((folder, name) for name in files if not name.startswith("."))
        waiting = [link for link in links if os.path.realpath(link) not in above and not _is_run(Path(link))]


def _is_run(folder: Path) -> bool:
    return (folder / "run.yaml").is_file() and (folder / "checkpoints").is_dir()


def _no_access(error: OSError) -> None:
    raise ImageError(
        f"the folder {error.filename} cannot be read: {error.strerror}", "check its permissions"
    ) from error
