"""From a name of the Hub to a commit and its weights, which are then fetched as those of which a card tells. No torch here.

What a branch or tag led to is remembered as the Hub's client does it, in its cache: refs/main holds a commit,
snapshots/COMMIT links to blobs/SHA256. Without a connection the name still works, and so does what `hf download` brought.
"""

from __future__ import annotations

import hashlib
import logging
import re
from contextlib import suppress
from pathlib import Path

from zoo.card import HubFile, Weights
from zoo.errors import IntegrityError, NetworkError
from zoo.helpers.files import atomic
from zoo.weights.cache import discard, hub_cache, verify
from zoo.weights.file import Header, header_of, read_header
from zoo.weights.hub import FILE, ask, beginning
from zoo.weights.hub_name import COMMIT, PREFIX, HubName
from zoo.weights.remote import is_offline

log = logging.getLogger(__name__)


def resolve(name: HubName, *, offline: bool | None = None) -> Weights:
    """The weights that a name leads to now; ``hub`` has their commit. Unless told, HF_HUB_OFFLINE decides.

    Nobody is asked for a commit that is on this disk. Where the Hub cannot be reached, it is what the name led to when
    it last could, with a word.

    NotFoundError for what is not there; UsageError for what is not of the zoo; NetworkError.
    """
    if name.is_fixed and (weights := _kept(name)):
        return weights
    if is_offline() if offline is None else offline:
        if weights := _kept(name):
            return weights
        raise NetworkError(
            f"{name} is not on this machine, and HF_HUB_OFFLINE forbids to ask the Hub",
            f"unset HF_HUB_OFFLINE; or elsewhere: zoo download {name} --to DIR, and give the file here",
        )
    try:
        weights = ask(name)
    except NetworkError as error:
        if not (old := _kept(name)):
            raise
        log.warning("%s: taken as it was when the Hub last answered, %s", error.message, name.at(old))
        return old
    if not name.is_fixed:
        _remember(name, weights)
    return weights


def header(weights: Weights) -> Header:
    """What the file says of itself; where it is not on this disk only its beginning is asked for."""
    assert weights.hub is not None
    name = HubName(weights.hub.repo, weights.file, weights.hub.revision)
    path = _snapshot(name) / weights.file
    if not path.is_file():
        return header_of(str(name), beginning(name, weights.file))
    verify(path, weights)
    return read_header(path)


def called(path: Path) -> str:
    """The name of the Hub, with a commit, of a file in its client's cache, whose links are resolved; "" for others."""
    for repo in (folder for folder in path.parents if folder.parent == hub_cache().resolve()):
        user, _, name = repo.name.removeprefix("models--").partition("--")
        for link in sorted(repo.glob("snapshots/*/*.safetensors")):
            if name and link.resolve() == path:
                return f"{PREFIX}{user}/{name}@{link.parent.name}"
    return ""


def _kept(name: HubName) -> Weights | None:
    """What the name last led to, if that is here and whole. One that is damaged is removed, with a word."""
    folder = _snapshot(name)
    paths = [path for path in sorted(folder.glob("*.safetensors")) if name.file in (None, path.name)]
    if len(paths) != 1 or not FILE.fullmatch(paths[0].name) or not paths[0].is_file():
        return None
    path = paths[0]
    digest = path.readlink().name if path.is_symlink() else ""
    if not re.fullmatch(r"[0-9a-f]{64}", digest):  # where the cache has no links, nothing tells but the bytes
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    hub = HubFile(repo=name.repo, revision=folder.name)
    weights = Weights(file=path.name, sha256=digest, bytes=max(1, path.stat().st_size), hub=hub)
    try:
        verify(path, weights)
    except IntegrityError as error:
        log.warning("%s: removed", error.message)
        discard(path)
        return None
    return weights


def _snapshot(name: HubName) -> Path:
    """The folder of the commit; one that is not there where the name never led to any."""
    commit = name.revision or "main"
    if not name.is_fixed:
        with suppress(OSError, UnicodeDecodeError):
            commit = _ref(name).read_text(encoding="utf-8").strip()
    return _folder(name) / "snapshots" / (commit if COMMIT.fullmatch(commit) else "none")


def _remember(name: HubName, weights: Weights) -> None:
    assert weights.hub is not None
    with suppress(OSError), atomic(_ref(name)) as part:  # a cache that cannot be written: the download will say so
        part.write_text(weights.hub.revision, encoding="utf-8")


def _ref(name: HubName) -> Path:
    return _folder(name) / "refs" / (name.revision or "main")


def _folder(name: HubName) -> Path:
    return hub_cache() / f"models--{name.repo.replace('/', '--')}"
