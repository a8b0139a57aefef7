"""From a card to a verified file on this disk.

Order: cache, bundled in the plugin, mirrors, the Hub. Any source may be tried, because the card's SHA-256
decides: a file is verified before use, and other bytes are never used and never left in a cache.

Environment, read at each call: ``HF_ENDPOINT``, ``HF_HUB_OFFLINE``, ``HF_TOKEN``, ``HF_HOME``, ``HF_HUB_CACHE``
as for the Hub's client; ``ZOO_MIRRORS``, folders or base URLs separated by commas; ``ZOO_CACHE``.
"""

from __future__ import annotations

import functools
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from zoo.card import Card, Weights
from zoo.catalogue.host import host
from zoo.catalogue.registry import registry
from zoo.errors import ExistsError, IntegrityError, NetworkError, NotFoundError, UsageError, ZooError, describe
from zoo.helpers.files import atomic
from zoo.weights.cache import cached, discard, expanded, verify
from zoo.weights.file import Header
from zoo.weights.hub_name import is_hub, parse
from zoo.weights.remote import endpoint, from_hub, from_mirror, is_offline
from zoo.weights.resolve import header, resolve

log = logging.getLogger(__name__)


def download(name: str, to: str | Path | None = None, *, offline: bool | None = None) -> Path:
    """Bring the weights of ``model``, ``model.tag`` or ``hub:USER/REPO`` to this disk, and return where they are.

    ``to`` is a folder for a copy: the file loads by its path, and the folder serves as a mirror elsewhere.
    """
    if is_hub(name):
        weights = resolve(parse(name), offline=offline)
        path = fetch(weights, name, offline=offline)
    else:
        card, tag = registry().card(name)
        weights, path = card.get(tag), locate(card, tag, offline=offline)
    return path if to is None else _copy(path, Path(to), weights)


def pinned(name: str) -> str:
    """A name of the Hub with the commit that it leads to now, the weights of which are then on this disk; others as is.

    From here on nobody is asked, and every use of the name means the same file."""
    if not is_hub(name):
        return name
    weights = resolve(asked := parse(name))
    fetch(weights, name)
    return str(asked.at(weights))


@dataclass(frozen=True)
class Published:
    """A model of the Hub: its ``name`` with the commit, its file, and what this says of itself."""

    name: str
    weights: Weights
    header: Header


def published(name: str) -> Published:
    """About ``hub:USER/REPO[@REVISION]``, as ``info`` tells of a model. Of a large file only the beginning is fetched.

    IntegrityError for a file that the zoo did not write."""
    weights = resolve(asked := parse(name))
    about = header(weights)
    if not about.network:
        raise IntegrityError(
            f"{name} does not say which network it is of", "zoo pack and zoo publish make such that do"
        )
    return Published(str(asked.at(weights)), weights, about)


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
            path = place.checked(weights)
        except ZooError as exc:  # another source may do better
            if fault is not None:
                log.warning("%s: %s", name, fault)
            fault = exc
        else:
            if fault is not None and not isinstance(fault, NotFoundError):  # no mirror has everything
                log.warning("%s: %s", name, fault)
            return path
    raise fault or _nowhere(weights, name, plugin, offline)


def where(weights: Weights, plugin: str = "") -> str:
    """Where they would come from: cached, bundled, mirror, Hub or none. Nothing is read, nobody is asked."""
    return next((place.kind for place in _places(weights, plugin, offline=False)), "none")


@dataclass(frozen=True)
class _Place:
    """A source: ``get`` gives its file, by a download if need be; in a ``cache`` a damaged one is removed."""

    kind: str
    get: Callable[[], Path]
    cache: bool = False
    what: str = ""  # for errors, where it tells more than the path

    def checked(self, weights: Weights) -> Path:
        path = self.get()
        try:
            verify(path, weights, self.what)
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
    for mirror in mirrors():
        if is_url(mirror):
            if not offline:
                yield _Place("mirror", functools.partial(from_mirror, mirror, weights), cache=True)
        else:
            for name in (weights.file, weights.sha256):
                path = expanded(mirror) / name
                if path.is_file():
                    yield _Place("mirror", functools.partial(Path, path))
    if weights.hub and not offline:
        what = f"{weights.file} of {weights.hub.repo} at {endpoint()}"
        yield _Place("Hub", functools.partial(from_hub, weights), cache=True, what=what)


def mirrors() -> list[str]:
    """Folders and base URLs of ZOO_MIRRORS."""
    return [text.strip() for text in os.environ.get("ZOO_MIRRORS", "").split(",") if text.strip()]


def is_url(mirror: str) -> bool:
    """Is it asked over the network? Else it is a folder."""
    return mirror.startswith(("http://", "https://"))


def _nowhere(weights: Weights, name: str, plugin: str, offline: bool) -> ZooError:
    if offline and (weights.hub or any(map(is_url, mirrors()))):
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


def _copy(path: Path, folder: Path, weights: Weights) -> Path:
    target = folder / weights.file
    try:
        if not target.exists():
            try:
                with atomic(target, replace=False) as part:
                    shutil.copyfile(path, part)
                return target
            except ExistsError:  # another download was faster
                pass
        verify(target, weights)
    except IntegrityError as exc:
        raise UsageError(f"{target} is there already, and is another file", "move it or take another DIR") from exc
    except OSError as exc:
        raise UsageError(f"cannot write {target}: {describe(exc)}", "take another DIR") from exc
    return target
