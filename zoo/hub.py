"""From a card to a verified file on this disk. The only module that opens a connection.

Order: cache, bundled in the plugin, mirrors, the Hub. Any source may be tried, because the card's SHA-256
decides: a file is verified before use, and other bytes are never used and never left in a cache.

Environment, read at each call: ``HF_ENDPOINT``, ``HF_HUB_OFFLINE``, ``HF_TOKEN``, ``HF_HOME``, ``HF_HUB_CACHE``
as for the Hub's client; ``ZOO_MIRRORS``, folders or base URLs separated by commas; ``ZOO_CACHE``.
"""

from __future__ import annotations

import errno
import functools
import http.client
import logging
import os
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from zoo.cache import cached, discard, hub_cache, own_place, verify
from zoo.card import Card, Weights
from zoo.errors import IntegrityError, NetworkError, NotFoundError, UsageError, ZooError
from zoo.files import atomic
from zoo.plugins import describe, host
from zoo.registry import registry

log = logging.getLogger(__name__)
CHUNK = 1 << 20
TIMEOUT = 30  # seconds without a byte from a mirror


def download(name: str, to: str | Path | None = None, *, offline: bool | None = None) -> Path:
    """Bring the weights of ``model`` or ``model.tag`` to this disk, and return where they are.

    ``to`` is a folder for a copy: the file loads by its path, and the folder serves as a mirror elsewhere.
    """
    card, tag = registry().card(name)
    path = locate(card, tag, offline=offline)
    return path if to is None else _copy(path, Path(to), card.get(tag))


def locate(card: Card, tag: str | None = None, *, offline: bool | None = None) -> Path:
    """The verified file of a card's weights, downloaded if need be; unless told, HF_HUB_OFFLINE decides."""
    weights = card.get(tag)
    return fetch(weights, card.tagged(tag or card.default or ""), card.plugin, offline=offline)


def fetch(weights: Weights, name: str, plugin: str = "", *, offline: bool | None = None) -> Path:
    """As ``locate``, for weights without a card; errors call them ``name``, ``plugin`` is who bundles them.

    NotFoundError if no source has them, NetworkError if one was not reached, IntegrityError for other bytes.
    """
    offline = is_offline() if offline is None else offline
    fault: ZooError | None = None
    for place in _places(weights, plugin, offline):
        try:
            return place.checked(weights)
        except ZooError as exc:  # another source may do better
            if fault is not None:
                log.warning("%s: %s", name, fault)
            fault = exc
    raise fault or _nowhere(weights, name, plugin, offline)


def where(weights: Weights, plugin: str = "") -> str:
    """Where they would come from: cached, bundled, mirror, Hub or none. Nothing is read, nobody is asked."""
    return next((place.kind for place in _places(weights, plugin, offline=False)), "none")


def is_offline() -> bool:
    """Whether HF_HUB_OFFLINE forbids connections."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}


@dataclass(frozen=True)
class _Place:
    """A source: ``get`` gives its file, by a download if need be; in a ``cache`` a damaged one is removed."""

    kind: str
    get: Callable[[], Path]
    cache: bool = False

    def checked(self, weights: Weights) -> Path:
        path = self.get()
        try:
            verify(path, weights)
        except IntegrityError:
            if self.cache:
                discard(path)
            raise
        except OSError as exc:
            raise ZooError(f"cannot read {path}: {describe(exc)}", "check its permissions") from exc
        return path


def _places(weights: Weights, plugin: str, offline: bool) -> Iterator[_Place]:
    for path in cached(weights):
        yield _Place("cached", functools.partial(Path, path), cache=True)
    if weights.bundled and (owner := host().plugins.get(plugin)) and owner.folder:
        path = owner.folder / "weights" / weights.file
        if path.is_file():
            yield _Place("bundled", functools.partial(Path, path))
    for mirror in _mirrors():
        if _is_url(mirror):
            if not offline:
                yield _Place("mirror", functools.partial(_from_mirror, mirror, weights), cache=True)
        else:
            for name in (weights.file, weights.sha256):
                path = Path(mirror).expanduser() / name
                if path.is_file():
                    yield _Place("mirror", functools.partial(Path, path))
    if weights.hub and not offline:
        yield _Place("Hub", functools.partial(_from_hub, weights), cache=True)


def _mirrors() -> list[str]:
    return [text.strip() for text in os.environ.get("ZOO_MIRRORS", "").split(",") if text.strip()]


def _is_url(mirror: str) -> bool:
    return mirror.startswith(("http://", "https://"))


def _nowhere(weights: Weights, name: str, plugin: str, offline: bool) -> ZooError:
    if offline and (weights.hub or any(map(_is_url, _mirrors()))):
        return NetworkError(
            f"the weights of {name} are not on this machine, and HF_HUB_OFFLINE forbids to download them",
            f"unset HF_HUB_OFFLINE; or elsewhere: zoo download {name} --to DIR, and here: ZOO_MIRRORS=DIR",
        )
    if weights.bundled and plugin not in host().plugins:
        return NotFoundError(f"the weights of {name} are in the plugin {plugin}", f"pip install {plugin}")
    return NotFoundError(
        f"the weights of {name} are nowhere: not in the cache, in no plugin, on no mirror, not on the Hub",
        f"get {weights.file} from those who made it, and set ZOO_MIRRORS to its folder",
    )


def _from_hub(weights: Weights) -> Path:
    from huggingface_hub import errors, hf_hub_download

    assert weights.hub is not None
    repo, revision = weights.hub.repo, weights.hub.revision
    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or "https://huggingface.co"
    what = f"{weights.file} of {repo} at {endpoint}"
    try:
        with _bar_on_terminals_only():
            path = hf_hub_download(
                repo,
                weights.file,
                revision=revision,
                endpoint=endpoint,
                cache_dir=hub_cache(),
                library_name="zoo-core",
            )
        return Path(path)
    except errors.GatedRepoError as exc:
        raise NetworkError(
            f"{repo} is gated: {weights.file} is only for those who accepted its terms",
            f"accept them at {endpoint}/{repo}, then run `hf auth login` or set HF_TOKEN",
        ) from exc
    except errors.RepositoryNotFoundError as exc:
        raise NotFoundError(
            f"there is no repository {repo} at {endpoint}, or it is private",
            "set HF_TOKEN if you may read it, else tell the authors of the card",
        ) from exc
    except errors.LocalEntryNotFoundError as exc:  # an EntryNotFoundError too, but it means: not reached
        raise _unreachable(what, exc.__cause__ or exc) from exc
    except (errors.EntryNotFoundError, errors.RevisionNotFoundError) as exc:
        raise NotFoundError(f"there is no {what} in {revision}", "tell the authors of the card") from exc
    except Exception as exc:  # the client's, httpx's or requests' own errors, by version of the client
        raise _unwritable(hub_cache(), exc) or _unreachable(what, exc) from exc


def _from_mirror(base: str, weights: Weights) -> Path:
    target = own_place(weights)
    for name in (weights.file, weights.sha256):
        url = f"{base.rstrip('/')}/{name}"
        try:
            with atomic(target) as part:
                _get(url, part, weights)
                verify(part, weights, url)
            return target
        except urllib.error.HTTPError as exc:
            if exc.code != http.HTTPStatus.NOT_FOUND:
                raise _unreachable(url, exc) from exc
        except (OSError, http.client.HTTPException) as exc:
            raise _unwritable(target.parent, exc) or _unreachable(url, exc) from exc
    raise NotFoundError(f"the mirror {base} has no {weights.file}", "check ZOO_MIRRORS")


def _get(url: str, path: Path, weights: Weights) -> None:
    request = urllib.request.Request(url, headers={"User-Agent": "zoo-core"})
    with (
        urllib.request.urlopen(request, timeout=TIMEOUT) as answer,
        path.open("wb") as out,
        _bar(weights) as step,
    ):
        while out.tell() <= weights.bytes and (chunk := answer.read(CHUNK)):  # no answer without an end
            step(out.write(chunk))
        if out.tell() < min(int(answer.headers.get("Content-Length", 0)), weights.bytes):
            raise http.client.IncompleteRead(b"", weights.bytes - out.tell())


def _unreachable(what: str, exc: BaseException) -> NetworkError:
    return NetworkError(f"cannot download {what}: {describe(exc)}", "check the connection, then try again")


def _unwritable(folder: Path, exc: BaseException) -> ZooError | None:
    if not isinstance(exc, OSError) or (exc.filename is None and exc.errno != errno.ENOSPC):
        return None  # only what happened to a file names one
    return ZooError(f"cannot write to {folder}: {describe(exc)}", "set HF_HOME and ZOO_CACHE to other folders")


def _copy(path: Path, folder: Path, weights: Weights) -> Path:
    target = folder / weights.file
    try:
        if target.exists():
            verify(target, weights)
        else:
            with atomic(target) as part:
                shutil.copyfile(path, part)
    except IntegrityError as exc:
        raise UsageError(f"{target} is there already, and is another file", "move it or take another DIR") from exc
    except OSError as exc:
        raise UsageError(f"cannot write {target}: {describe(exc)}", "take another DIR") from exc
    return target


@contextmanager
def _bar(weights: Weights) -> Iterator[Callable[[int], object]]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        yield functools.partial(progress.advance, progress.add_task(weights.file, total=weights.bytes))


@contextmanager
def _bar_on_terminals_only() -> Iterator[None]:
    """The Hub's client draws its bar even into log files, unless it is told not to."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    if sys.stderr.isatty() or are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()
