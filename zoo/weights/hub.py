"""Names of the Hub: ``hub:USER/REPO``, what somebody published, at the commit that the name leads to.

The Hub says which file that is, its size and its SHA-256; from there on it is fetched as weights of which a card tells.
Of a repository nothing is read but its weights file, and nothing is executed. What a branch or tag led to is remembered
as the Hub's client does it, in its cache: without a connection the name still works, and so does what `hf download`
brought.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from zoo.card import HubFile, Weights
from zoo.errors import IntegrityError, NetworkError, NotFoundError, UsageError, ZooError
from zoo.helpers.files import atomic
from zoo.weights.cache import discard, hub_cache, verify
from zoo.weights.file import Header, header_of, read_header
from zoo.weights.remote import bar_on_terminals_only, endpoint, is_offline, unreachable

PREFIX = "hub:"
LIBRARY = "zoo"  # what the front matter of a page says (zoo.publish.model_page)
TIMEOUT = 30.0  # seconds
MOST = 1000  # repositories that a search looks at
SHORT = "hub:USER/REPO, with @REVISION for a commit, branch or tag"

_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*\.safetensors")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_PICKLES = (".pth", ".pt", ".ckpt", ".bin", ".pkl")
_NAME = re.compile(
    r"hub:(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)"
    r"(/(?P<file>[A-Za-z0-9][\w.-]*\.safetensors))?(@(?P<revision>[A-Za-z0-9][\w./-]*))?",
    re.ASCII,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class HubName:
    """``hub:USER/REPO[/FILE.safetensors][@REVISION]``; a file is named where a repository holds several."""

    repo: str
    file: str | None = None
    revision: str | None = None

    def __str__(self) -> str:
        at = f"@{self.revision}" if self.revision else ""
        return f"{PREFIX}{self.repo}{f'/{self.file}' if self.file else ''}{at}"

    @property
    def is_fixed(self) -> bool:
        """Is it a commit, which cannot move?"""
        return _COMMIT.fullmatch(self.revision or "") is not None

    def at(self, weights: Weights) -> HubName:
        """The same at the commit of these weights."""
        assert weights.hub is not None
        return HubName(self.repo, self.file, weights.hub.revision)


def is_hub(name: object) -> bool:
    """Is it a name of the Hub?"""
    return isinstance(name, str) and name.startswith(PREFIX)


def parse(name: str) -> HubName:
    """UsageError for what the Hub has no name for."""
    found = _NAME.fullmatch(name)
    if not found or ".." in name or len(found["repo"]) > 96:
        raise UsageError(f"{name!r} is not a name of the Hub", f"write {SHORT}")
    return HubName(found["repo"], found["file"], found["revision"])


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
        weights = _ask(name)
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
    from huggingface_hub import HfApi

    assert weights.hub is not None
    name = HubName(weights.hub.repo, weights.file, weights.hub.revision)
    path = _snapshot(name) / weights.file
    if path.is_file():
        verify(path, weights)
        return read_header(path)
    with told(name):
        api = HfApi(endpoint=endpoint(), library_name="zoo-core")
        found = api.parse_safetensors_file_metadata(name.repo, weights.file, revision=name.revision)
    return header_of(str(name), found.metadata)


def search(word: str = "") -> list[dict[str, Any]]:
    """The repositories of this library on the Hub, those with ``word`` in their names; most downloaded first."""
    from huggingface_hub import HfApi

    if is_offline():
        raise NetworkError("HF_HUB_OFFLINE forbids to ask the Hub", "unset it; zoo list shows what is here")
    facts: Any = ["downloads", "gated", "lastModified", "library_name", "tags"]
    with told(None):
        api = HfApi(endpoint=endpoint(), library_name="zoo-core")
        models = [
            *itertools.islice(api.list_models(filter=LIBRARY, search=word or None, limit=MOST, expand=facts), MOST)
        ]
    found = []
    for model in models:
        if model.library_name == LIBRARY and parse(f"{PREFIX}{model.id}"):  # others have animals
            tags = {tag.partition(":")[0]: tag.partition(":")[2] for tag in model.tags or () if ":" in tag}
            changed = model.last_modified
            found.append({
                "name": f"{PREFIX}{model.id}",
                "licence": tags.get("license", "not said"),
                "recipes": [tag for tag in model.tags or () if ":" not in tag and tag not in _COMMON],
                "downloads": model.downloads or 0,
                "changed": changed.date().isoformat() if changed else None,
                "gated": bool(model.gated),
            })  # fmt: skip
    return sorted(found, key=lambda one: (-int(one["downloads"]), str(one["name"])))


_COMMON = {LIBRARY, "safetensors", "image-to-image"}  # tags of all of them


def _ask(name: HubName) -> Weights:
    from huggingface_hub import HfApi

    with told(name), bar_on_terminals_only():
        api = HfApi(endpoint=endpoint(), library_name="zoo-core")
        about = api.model_info(name.repo, revision=name.revision, files_metadata=True, timeout=TIMEOUT)
        files = {one.rfilename: one for one in about.siblings or ()}
        library, tags = about.library_name, about.tags or ()
        revision = str(about.sha)
    file = _one(name, [*files], library if library != LIBRARY and LIBRARY not in tags else None)
    if not (large := files[file].lfs):
        raise IntegrityError(
            f"{name}: the Hub says no SHA-256 of {file}, which is not in its large file storage",
            "whoever published it: zoo publish puts it there",
        )
    try:
        return Weights(
            file=file,
            sha256=large["sha256"] if isinstance(large, dict) else large.sha256,
            bytes=files[file].size or 0,
            hub=HubFile(repo=name.repo, revision=revision),
        )
    except ValidationError as exc:
        raise _no_hub(name) from exc


def _one(name: HubName, files: list[str], library: str | None) -> str:
    """The weights file that is meant. ``library`` is another one, if the page names it."""
    weights = sorted(file for file in files if _FILE.fullmatch(file))
    if name.file:
        if name.file not in weights:
            raise NotFoundError(f"{name} is not there", f"{name.repo} has: {', '.join(weights[:4]) or 'no weights'}")
        return name.file
    if library:
        raise UsageError(f"{name} is made for {library}, not for the zoo", "zoo list --hub shows what is")
    if not weights:
        pickles = any(file.endswith(_PICKLES) for file in files)
        hint = "pickles are not read; ask for a file that zoo pack wrote" if pickles else "zoo list --hub shows others"
        raise NotFoundError(f"{name} holds no weights file (.safetensors)", hint)
    if len(weights) > 1:
        more = f" and {len(weights) - 4} more" if len(weights) > 4 else ""
        one = HubName(name.repo, weights[0], name.revision)
        raise UsageError(
            f"{name} holds {len(weights)} weights files: {', '.join(weights[:4])}{more}", f"name one: {one}"
        )
    return weights[0]


# -- what is on this disk, as the Hub's client keeps it: refs/main holds a commit, snapshots/COMMIT links to blobs/SHA256


def _kept(name: HubName) -> Weights | None:
    """What the name last led to, if that is here and whole. One that is damaged is removed, with a word."""
    folder = _snapshot(name)
    paths = [path for path in sorted(folder.glob("*.safetensors")) if name.file in (None, path.name)]
    if len(paths) != 1 or not _FILE.fullmatch(paths[0].name) or not paths[0].is_file():
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
    return _folder(name) / "snapshots" / (commit if _COMMIT.fullmatch(commit) else "none")


def _remember(name: HubName, weights: Weights) -> None:
    assert weights.hub is not None
    with suppress(OSError), atomic(_ref(name)) as part:  # a cache that cannot be written: the download will say so
        part.write_text(weights.hub.revision, encoding="utf-8")


def _ref(name: HubName) -> Path:
    return _folder(name) / "refs" / (name.revision or "main")


def _folder(name: HubName) -> Path:
    return hub_cache() / f"models--{name.repo.replace('/', '--')}"


# -- what the client raises, in the words of the zoo


@contextmanager
def told(name: HubName | None) -> Iterator[None]:
    """Errors of the Hub's client as errors of the zoo; without a name it is a search."""
    try:
        yield
    except ZooError:
        raise
    except Exception as exc:  # the client's, httpx's or requests' own errors, by version of the client
        raise _said(name, exc) from exc


def _said(name: HubName | None, exc: Exception) -> ZooError:
    from huggingface_hub import errors

    status = getattr(getattr(exc, "response", None), "status_code", None)
    if name and isinstance(exc, errors.GatedRepoError):
        return NetworkError(
            f"{name.repo} is gated: it is only for those who accepted its terms",
            f"accept them at {endpoint()}/{name.repo}, then run `hf auth login` or set HF_TOKEN",
        )
    if name and isinstance(exc, errors.RepositoryNotFoundError):
        return NotFoundError(
            f"there is no repository {name.repo} at {endpoint()}, or it is private",
            "check the name (zoo list --hub); if you may read it: `hf auth login`, or set HF_TOKEN",
        )
    if name and isinstance(exc, errors.RevisionNotFoundError):
        return NotFoundError(
            f"{name.repo} has no revision {name.revision or 'main'}",
            f"leave it out, or see {endpoint()}/{name.repo}/commits",
        )
    if name and isinstance(exc, errors.SafetensorsParsingError):
        return IntegrityError(f"{name} is not a safetensors file: {exc}", "tell those who published it")
    if status == 401:
        return NetworkError(f"{endpoint()} does not accept your token", "run `hf auth login`, or unset HF_TOKEN")
    if status == 429:
        return NetworkError(f"{endpoint()} has had too many requests from you", "try again in some minutes")
    if isinstance(exc, json.JSONDecodeError | KeyError | TypeError | AttributeError):
        return _no_hub(name)
    return unreachable(f"ask {endpoint()} {f'for {name}' if name else 'for models'}", exc)


def _no_hub(name: HubName | None) -> NetworkError:
    return NetworkError(
        f"cannot ask {endpoint()}{f' for {name}' if name else ''}: what answers there is no Hub",
        "does this network want a login first? else check HF_ENDPOINT and the proxy",
    )
