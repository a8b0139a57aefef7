"""Files from the Hub and from mirrors. This module, ``zoo.weights.hub`` and ``zoo.publish.upload`` alone open connections.

Whatever goes wrong ends in one of the zoo's errors, and never in a half file under a name that is looked for.
"""

from __future__ import annotations

import errno
import functools
import http.client
import inspect
import os
import sys
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

from zoo.card import Weights
from zoo.errors import IntegrityError, NetworkError, NotFoundError, ZooError, describe
from zoo.helpers.files import atomic
from zoo.weights.cache import alone, hub_cache, hub_lock, own_place, say_if_busy, sweep, verify
from zoo.weights.connection import SlowError, opened
from zoo.weights.watch import size_of, watched

CHUNK = 1 << 20
PIECE = 1 << 14  # what the Hub's client writes at once: 10 MB, its own, may take longer than a minute
GLANCE = 5  # seconds to see whether a server answers at all
PAUSES = (1, 4)  # seconds before a mirror is asked again


def endpoint() -> str:
    """Which Hub: HF_ENDPOINT, or huggingface.co."""
    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or "https://huggingface.co"


def is_offline() -> bool:
    """Whether HF_HUB_OFFLINE forbids connections."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}


def answers(url: str) -> str:
    """ "" if a server answers at ``url``, whatever it says to a HEAD without a token; else why there is no answer."""
    try:
        request = urllib.request.Request(url, method="HEAD", headers={"User-Agent": "zoo-core"})
        with opened(request, GLANCE):
            return ""
    except urllib.error.HTTPError as exc:
        refused = (
            exc.code >= http.HTTPStatus.INTERNAL_SERVER_ERROR
            or exc.code == http.HTTPStatus.PROXY_AUTHENTICATION_REQUIRED
        )
        return describe(exc) if refused else ""
    except (OSError, http.client.HTTPException, ValueError) as exc:
        return describe(
            exc.reason if isinstance(exc, urllib.error.URLError) and isinstance(exc.reason, OSError) else exc
        )


def from_hub(weights: Weights) -> Path:
    """The file in the cache of the Hub's client, downloaded by it; not yet verified."""
    from huggingface_hub import errors

    assert weights.hub is not None
    repo, revision = weights.hub.repo, weights.hub.revision
    what = f"{weights.file} of {repo} at {endpoint()}"
    sweep(weights, at_least=weights.bytes)
    say_if_busy(hub_lock(weights), weights.file)
    try:
        with bar_on_terminals_only(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Not enough free disk space")  # an error will say so, if it is true
            path = _by_client(repo, weights.file, revision)
        sweep(weights)
        return path
    except errors.GatedRepoError as exc:
        raise NetworkError(
            f"{repo} is gated: {weights.file} is only for those who accepted its terms",
            f"accept them at {endpoint()}/{repo}, then run `hf auth login` or set HF_TOKEN",
        ) from exc
    except errors.RepositoryNotFoundError as exc:
        raise NotFoundError(
            f"there is no repository {repo} at {endpoint()}, or it is private",
            "set HF_TOKEN if you may read it, else tell the authors of the card",
        ) from exc
    except errors.LocalEntryNotFoundError as exc:  # an EntryNotFoundError too, but it means: not reached
        raise unreachable(f"download {what}", exc.__cause__ or exc) from exc
    except (errors.EntryNotFoundError, errors.RevisionNotFoundError) as exc:
        raise NotFoundError(f"there is no {what} in {revision}", "tell the authors of the card") from exc
    except Exception as exc:  # the client's, httpx's or requests' own errors, by version of the client
        raise _unwritable(hub_cache(), exc) or unreachable(f"download {what}", exc) from exc


def _by_client(repo: str, file: str, revision: str) -> Path:
    """SlowError where too little comes, be it from the server or to another process for which the client waits."""
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.utils import tqdm

    class Bar(tqdm):  # type: ignore[type-arg]
        """The client's own, which is told of all that comes, shown or not. Files of Xet grow in leaps."""

        told = 0

        def update(self, n: float | None = 1) -> bool | None:
            Bar.told += int(n or 0)
            return super().update(n)

    def download() -> str:
        options: dict[str, Any] = {"endpoint": endpoint(), "cache_dir": hub_cache(), "library_name": "zoo-core", **bar}
        return hf_hub_download(repo, file, revision=revision, **options)

    listens = "tqdm_class" in inspect.signature(hf_hub_download).parameters
    bar = {"tqdm_class": Bar} if listens else {}
    if not listens and find_spec("hf_xet"):  # an early client, whose Xet tells nobody what comes
        return Path(download())
    constants.DOWNLOAD_CHUNK_SIZE = min(constants.DOWNLOAD_CHUNK_SIZE, PIECE)
    blobs = hub_cache() / f"models--{repo.replace('/', '--')}" / "blobs"
    return Path(watched(download, lambda: Bar.told + size_of(blobs)))


def from_mirror(base: str, weights: Weights) -> Path:
    """The verified file in our own cache, from ``base/FILE`` or ``base/SHA256``."""
    target, url, fault = own_place(weights), base, None
    try:
        with alone(weights) as folder:
            for name in (weights.file, weights.sha256):
                url = quote(f"{base.rstrip('/')}/{name}", safe="%/:=&?~#+!$,;'@()*[]")
                if target.is_file():  # another process was faster
                    return target
                try:
                    with atomic(folder / weights.file) as part:
                        _get(url, part, weights)
                        verify(part, weights, url)
                    (folder / weights.file).replace(target)
                    return target
                except IntegrityError as exc:  # another file of this name
                    fault = fault or exc
                except urllib.error.HTTPError as exc:
                    if exc.code != http.HTTPStatus.NOT_FOUND:
                        raise unreachable(f"download {url}", exc) from exc
    except (OSError, http.client.HTTPException, ValueError) as exc:
        raise _unwritable(target.parent, exc) or unreachable(f"download {url}", exc) from exc
    raise fault or NotFoundError(f"the mirror {base} has no {weights.file}", "check ZOO_MIRRORS")


def _get(url: str, path: Path, weights: Weights) -> None:
    """Go on where the line broke, a few times."""
    with path.open("wb") as out, _bar(weights) as step:
        for pause in (*PAUSES, None):
            try:
                return _append(url, out, weights, step)
            except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as exc:
                if pause is None or not _may_pass(exc):
                    raise
                time.sleep(pause)


def _append(url: str, out: BinaryIO, weights: Weights, step: Callable[[int], object]) -> None:
    start = out.tell()
    headers = {"User-Agent": "zoo-core", **({"Range": f"bytes={start}-"} if start else {})}
    with opened(urllib.request.Request(url, headers=headers)) as answer:
        if start and answer.status != http.HTTPStatus.PARTIAL_CONTENT:
            step(-start)
            start = out.seek(0)
            out.truncate()
        while chunk := answer.read1(min(CHUNK, weights.bytes + 1 - out.tell())):  # no answer without an end
            step(out.write(chunk))
        if out.tell() < min(start + int(answer.headers.get("Content-Length", 0)), weights.bytes):
            raise http.client.IncompleteRead(b"", weights.bytes - out.tell())


def _may_pass(exc: Exception) -> bool:
    """A line that broke, or a server in trouble; not a place where nobody listens, or one that is too slow."""
    if isinstance(exc, urllib.error.HTTPError):
        return exc.code >= http.HTTPStatus.INTERNAL_SERVER_ERROR or exc.code == http.HTTPStatus.TOO_MANY_REQUESTS
    return not isinstance(exc, urllib.error.URLError | http.client.InvalidURL | SlowError)


def unreachable(what: str, exc: BaseException) -> NetworkError:
    """``what`` begins with the verb."""
    from huggingface_hub.errors import FileMetadataError

    hint = "check the connection, then try again"
    if "CERTIFICATE_VERIFY_FAILED" in str(exc):
        hint = "this machine does not trust that server: check its clock, or set SSL_CERT_FILE to your authorities"
    elif "reconstruction" in str(exc):  # a file is put together from the pieces that Xet stores
        hint = "HF_HUB_DISABLE_XET=1 leaves out the Hub's storage service Xet; or try again"
    elif isinstance(exc, FileMetadataError):
        return NetworkError(
            f"cannot {what}: what answers there is no Hub",
            "does this network want a login first? else check HF_ENDPOINT and the proxy",
        )
    return NetworkError(f"cannot {what}: {describe(exc)}", hint)


def _unwritable(folder: Path, exc: BaseException) -> ZooError | None:
    full = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
    if not isinstance(exc, OSError) or (exc.filename is None and exc.errno not in full):
        return None  # only what happened to a file names one
    hint = "make room" if exc.errno in full else "check its permissions"
    return ZooError(f"cannot write to {folder}: {describe(exc)}", f"{hint}, or set HF_HOME and ZOO_CACHE elsewhere")


@contextmanager
def _bar(weights: Weights) -> Iterator[Callable[[int], object]]:
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    from zoo.helpers.console import Console

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        yield functools.partial(progress.advance, progress.add_task(weights.file, total=weights.bytes))


@contextmanager
def bar_on_terminals_only() -> Iterator[None]:
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
