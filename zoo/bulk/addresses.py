"""Pictures on this disk and behind addresses that fsspec knows (``s3://``, ``gs://``, ``hf://``): the same few verbs."""

from __future__ import annotations

import functools
import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from zoo.errors import ExistsError, ImageError, NotFoundError, UsageError, describe
from zoo.helpers.files import atomic
from zoo.pictures.find import is_picture, one_spelling
from zoo.pictures.image import Encoded, writing

WHOLE = frozenset({"abfs", "abfss", "adl", "az", "gcs", "gs", "hf", "memory", "oci", "oss", "s3", "s3a"})
"""Where a name is given to an object when all of it has arrived. Elsewhere it arrives under another name first."""


def is_address(name: object) -> bool:
    """Is it no path? Nor one of the web, from which pictures are downloaded first."""
    return re.match(r"(?!https?:|data:)[a-z][a-z0-9+.-]+://", str(name), re.IGNORECASE) is not None


def plain(name: str) -> str:
    """``file:///a`` is a path as others are."""
    return unquote(urlsplit(name).path) if name.lower().startswith("file://") else name


def is_folder(address: str) -> bool:
    files, path = _opened(address)
    return bool(_asked(address, files.isdir, path))


def pictures(address: str) -> Iterator[tuple[str, PurePosixPath]]:
    """The picture at an address, or those below it, and what each is called there, as in a folder on this disk."""
    files, path = _opened(address)
    if not _asked(address, files.isdir, path):
        if not _asked(address, files.exists, path):
            raise NotFoundError(f"there is no picture {address}", "check the address")
        yield address, PurePosixPath(path.rpartition("/")[2])
        return
    waiting = [PurePosixPath()]
    while waiting:
        below = waiting.pop()
        entries = _asked(address, files.ls, f"{path.rstrip('/')}/{below}".removesuffix("/."), detail=True)
        names = sorted(
            ((entry["name"].rstrip("/").rpartition("/")[2], entry["type"]) for entry in entries),
            key=lambda entry: one_spelling(entry[0]),
        )
        entries = None  # of a million they are a gigabyte
        for name, kind in names:
            if kind != "directory" and not name.startswith(".") and is_picture(name):
                yield f"{address.rstrip('/')}/{below / name}", below / name
        waiting += [below / name for name, kind in reversed(names) if kind == "directory" and not name.startswith(".")]


def beside(word: str, suffix: str) -> list[str]:
    """The file ``word`` if it ends so, or the files of a folder that do, sorted; there may be none."""
    if not is_address(word):
        here = Path(word)
        if here.is_dir():
            return sorted(str(path) for path in here.glob(f"*{suffix}") if path.is_file())
        return [word] if word.endswith(suffix) else []
    files, path = _opened(word)
    if _asked(word, files.isdir, path):
        names = sorted(one.rstrip("/").rpartition("/")[2] for one in _asked(word, files.ls, path, detail=False))
        return [f"{word.rstrip('/')}/{name}" for name in names if name.endswith(suffix)]
    return [word] if word.endswith(suffix) else []


@contextmanager
def reading(name: str) -> Iterator[Any]:
    """The file, open for reading at any place in it. NotFoundError, ImageError."""
    try:
        if is_address(name):
            files, path = _opened(name)
            file = files.open(path, "rb")
        else:
            file = Path(name).open("rb")  # noqa: SIM115
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no file {name}", "check the path") from error
    except OSError as error:
        raise ImageError(f"{name} cannot be read: {describe(error)}", "check the path and your rights") from error
    with file:
        yield file


def source(name: str) -> str | Encoded:
    """What a translator reads."""
    return Encoded(name, functools.partial(fetch, name)) if is_address(name) else name


def fetch(name: str) -> bytes:
    """All bytes of a file. NotFoundError, ImageError."""
    try:
        if not is_address(name):
            return Path(name).read_bytes()
        files, path = _opened(name)
        return bytes(files.cat_file(path))
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no picture {name}", "check the address") from error
    except UsageError:
        raise
    except Exception as error:  # of each kind of address, and of its client
        raise ImageError(f"{name} cannot be read: {describe(error)}", "check the address and your rights") from error


def holds(name: str, digest: str) -> bool:
    """Is there a file of these bytes, by their SHA-256?"""
    with suppress(NotFoundError, ImageError):
        return hashlib.sha256(fetch(name)).hexdigest() == digest
    return False


class There:
    """Which results are there: a folder behind an address is listed once, not asked for each name."""

    def __init__(self) -> None:
        self._folder, self._names = "", frozenset[str]()

    def __call__(self, name: str) -> bool:
        if not is_address(name):
            return os.path.lexists(name)
        folder, _, last = name.rpartition("/")
        if folder != self._folder:
            files, path = _opened(folder)
            self._folder, self._names = folder, frozenset()
            with suppress(FileNotFoundError, NotADirectoryError):
                listed = _asked(folder, files.ls, path, detail=False)
                self._names = frozenset(one.rstrip("/").rpartition("/")[2] for one in listed)
        return last in self._names


def put(content: bytes, name: str, replace: bool) -> None:
    """Write a file that is whole or not there. ExistsError if the name is taken and not to be replaced; ImageError."""
    with writing(name):
        if not is_address(name):
            with atomic(name, replace) as part:
                part.write_bytes(content)
            return
        files, path = _opened(name)
        try:
            if files.protocol in WHOLE or not WHOLE.isdisjoint(files.protocol):
                _put_whole(files, path, content, name, replace)
            else:
                _put_aside(files, path, content, name, replace)
        except (ExistsError, OSError):
            raise
        except Exception as error:
            raise OSError(describe(error)) from error


def _put_whole(files: Any, path: str, content: bytes, name: str, replace: bool) -> None:
    if not replace:
        try:  # in one step, where the storage can
            return files.pipe_file(path, content, mode="create")
        except FileExistsError:
            raise ExistsError(name) from None
        except (NotImplementedError, TypeError, ValueError):
            if files.exists(path):
                raise ExistsError(name) from None
    files.pipe_file(path, content)


def _put_aside(files: Any, path: str, content: bytes, name: str, replace: bool) -> None:
    folder = path.rpartition("/")[0]
    part = f"{folder}/.{secrets.token_hex(8)}.part"
    try:
        files.makedirs(folder, exist_ok=True)
        files.pipe_file(part, content)
        if not replace and files.exists(path):
            raise ExistsError(name)
        files.mv(part, path)
    finally:
        if files.exists(part):
            files.rm_file(part)


def _opened(address: str) -> tuple[Any, str]:
    """The file system of an address, and the path in it. UsageError where none is installed for it."""
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise UsageError(
            f"{address} needs fsspec, which is not installed", "pip install 'zoo-core[cluster]'"
        ) from error
    try:
        files, path = url_to_fs(address, use_listings_cache=False)
    except (ImportError, ValueError, TypeError) as error:  # no package for it, no such kind of address
        raise UsageError(f"{address} cannot be opened: {describe(error)}", "pip install what it needs") from error
    return files, str(path)


def _asked(address: str, call: Any, *args: Any, **options: Any) -> Any:
    try:
        return call(*args, **options)
    except (FileNotFoundError, NotADirectoryError):
        raise
    except Exception as error:
        raise ImageError(f"{address} cannot be read: {describe(error)}", "check the address and your rights") from error
