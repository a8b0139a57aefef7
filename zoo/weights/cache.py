"""What lies on this disk: the cache folders, and the check of a file against its card."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from zoo.card import Weights
from zoo.errors import IntegrityError
from zoo.helpers.files import atomic, clean

PATIENCE = 2.0  # seconds of waiting without a word
WAIT = 30.0  # seconds more until a file is downloaded by a second process, too
_AGAIN, _DAY = ".again-", 24 * 3600.0  # folders of such, and how old those are that one left that was killed
log = logging.getLogger(__name__)


def expanded(path: str | Path) -> Path:
    """``path``, whose ``~`` is the user's folder; one among the temporary files for a user who has none."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(tempfile.gettempdir(), f"zoo-{os.getuid()}", *Path(path).parts[1:])


def cache_folder() -> Path:
    """Where the zoo keeps what it downloads from elsewhere than the Hub: ZOO_CACHE, or ~/.cache/zoo."""
    return expanded(os.environ.get("ZOO_CACHE") or _user_cache() / "zoo")


def hub_cache() -> Path:
    """The cache folder of the Hub's client, by its rules: HF_HUB_CACHE, or HF_HOME/hub."""
    home = os.environ.get("HF_HOME") or _user_cache() / "huggingface"
    chosen = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE") or Path(home) / "hub"
    return expanded(os.path.expandvars(chosen))


def _user_cache() -> Path:
    return expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache")


def own_place(weights: Weights) -> Path:
    """Where a file from a mirror is kept."""
    return cache_folder() / "weights" / weights.sha256 / weights.file


def cached(weights: Weights) -> list[Path]:
    """The files of either cache that should be these weights; not yet verified."""
    paths = [own_place(weights)]
    if hub := weights.hub:
        repo = f"models--{hub.repo.replace('/', '--')}"
        paths.append(hub_cache() / repo / "snapshots" / hub.revision / weights.file)
    return [path for path in paths if path.is_file()]


def verify(path: Path, weights: Weights, what: str = "") -> None:
    """IntegrityError unless ``path``, called ``what`` if that tells more, holds the bytes of the card.

    A file that has not changed since is not hashed again, if nobody but this user can have written it or the note that
    says so. Any other is hashed now, and once more as its bytes are read (`zoo.weights.file`).
    """
    _PROMISED.pop(path, None)
    with path.open("rb") as file:
        state = os.fstat(file.fileno())
        stamp = cache_folder() / "verified" / weights.sha256
        mark = f"{path.resolve()}\n{state.st_ino} {state.st_size} {state.st_mtime_ns} {state.st_ctime_ns}"
        private = _private(path.resolve()) and _private(stamp)
        with suppress(OSError, UnicodeDecodeError):
            if private and stamp.read_text(encoding="utf-8") == mark:
                return
        if state.st_size != weights.bytes:
            raise _damaged(what or path, f"{state.st_size} bytes instead of {weights.bytes}")
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != weights.sha256:
        raise _damaged(what or path, f"SHA-256 {digest[:12]}… instead of {weights.sha256[:12]}…")
    if not private:
        _PROMISED[path] = weights.sha256
        return
    with suppress(OSError), atomic(stamp) as part:  # a cache that cannot be written costs time, nothing else
        part.write_text(mark, encoding="utf-8")


_PROMISED: dict[Path, str] = {}  # files that others may write -> the SHA-256 that they had


def promised(path: Path | str) -> str:
    """The SHA-256 that a verified file must have when its bytes are read; "" where no other user may have changed it."""
    return _PROMISED.get(Path(path), "")


def _private(path: Path) -> bool:
    """May nobody but this user and root write ``path``, or put another in its place? What is not there yet may be made.

    Under a folder such as /tmp, whose files only their owners may replace, it may."""
    if not hasattr(os, "getuid"):  # Windows keeps users apart by other means
        return True
    for place in (path, *path.parents):
        try:
            facts = place.stat()
        except OSError:
            continue
        shared = facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not facts.st_mode & stat.S_ISVTX
        if shared or facts.st_uid not in (os.getuid(), 0):
            return False
    return True


def _damaged(what: object, why: str) -> IntegrityError:
    return IntegrityError(
        f"{what} is not the file that its card promises: {why}",
        "nothing of it was used; download it again, or reinstall the plugin that brought it",
    )


def discard(path: Path) -> None:
    """Remove a damaged file from a cache. What a link leads to stays, but for the Hub's own: its client keeps files so.

    Nothing is removed that does not lie in a cache, or lies there by a link from one of its folders to elsewhere.
    """
    if not (root := _cache_of(path)):
        return
    with suppress(OSError):
        target = path.parent / path.readlink() if path.is_symlink() else None
        path.unlink()
        if target is not None and not target.is_symlink() and root == hub_cache():
            repo = path.relative_to(root).parts[0]
            if target.parent.resolve() == root.resolve() / repo / "blobs":
                target.unlink()


def _cache_of(path: Path) -> Path | None:
    """The cache folder in which a file really lies; it may be a link itself, where somebody keeps it elsewhere."""
    for root in (cache_folder(), hub_cache()):
        if path.is_relative_to(root) and path.parent.resolve() == root.resolve() / path.parent.relative_to(root):
            return root
    return None


@contextmanager
def alone(weights: Weights) -> Iterator[Path]:
    """One process at a time brings a file from a mirror, to the folder that this gives. What killed ones left goes.

    The others say that they wait, and then bring it themselves, to folders of their own: the first may hang at a source
    that they do not need. The bytes are the same, whoever puts them in place.
    """
    from huggingface_hub.utils import WeakFileLock

    folder = own_place(weights).parent
    folder.mkdir(parents=True, exist_ok=True)
    lock = folder / ".lock"
    say_if_busy(lock, weights.file)
    with ExitStack() as stack:
        try:
            stack.enter_context(WeakFileLock(lock, timeout=WAIT))
        except TimeoutError:
            log.warning("%s is still not there: downloading it here, too", weights.file)
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=_AGAIN, dir=folder)))
        else:
            clean(folder)
            for left in folder.glob(f"{_AGAIN}*"):
                if time.time() - left.lstat().st_mtime > _DAY:
                    shutil.rmtree(left, ignore_errors=True)
        yield folder


def say_if_busy(lock: Path, file: str) -> None:
    """A line if another process holds the lock under which a file is downloaded, and goes on to."""
    from huggingface_hub.utils import WeakFileLock

    try:
        if lock.is_file():
            with WeakFileLock(lock, timeout=PATIENCE):
                pass
    except TimeoutError:
        log.warning("another process is downloading %s: waiting for it; Ctrl-C leaves it alone", file)
    except OSError:  # whoever takes the lock will say so
        pass


def hub_lock(weights: Weights) -> Path:
    """That of the Hub's client, whose name for the file is its SHA-256."""
    assert weights.hub is not None
    return hub_cache() / ".locks" / f"models--{weights.hub.repo.replace('/', '--')}" / f"{weights.sha256}.lock"


def sweep(weights: Weights, at_least: int = 0) -> None:
    """Remove what killed downloads of this file left in the cache of the Hub's client, from so many bytes on.

    Only where nobody holds the lock under which the client downloads. Some versions of it go on with what is there.
    """
    from huggingface_hub.utils import WeakFileLock

    assert weights.hub is not None
    repo = f"models--{weights.hub.repo.replace('/', '--')}"
    parts = [*(hub_cache() / repo / "blobs").glob(f"{weights.sha256}*.incomplete")]
    with suppress(OSError):
        if any(part.stat().st_size >= at_least for part in parts):
            with WeakFileLock(hub_lock(weights), timeout=0.1):
                for part in parts:
                    if part.stat().st_size >= at_least:
                        part.unlink()
