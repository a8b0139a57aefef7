"""What the Hub answers: which file a name means, what repositories there are, and why not. No torch here.

Of a repository nothing is read but its weights file, and nothing is executed.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

from pydantic import ValidationError

from zoo.card import HubFile, Weights
from zoo.errors import IntegrityError, NetworkError, NotFoundError, UsageError, ZooError
from zoo.weights.hub_name import PREFIX, HubName
from zoo.weights.remote import endpoint, is_offline, unreachable

LIBRARY = "zoo"  # what the front matter of a page says (zoo.publish.model_page)
TIMEOUT = 30.0  # seconds
MOST = 1000  # repositories that a search looks at
FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*\.safetensors")

_PICKLES = (".pth", ".pt", ".ckpt", ".bin", ".pkl")
_COMMON = {LIBRARY, "safetensors", "image-to-image"}  # tags of all of them


def ask(name: HubName) -> Weights:
    """The weights that a name leads to now; ``hub`` has their commit. Errors as of `zoo.weights.resolve`."""
    from huggingface_hub import HfApi

    with _told(name):
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
            sha256=large.sha256,
            bytes=files[file].size or 0,
            hub=HubFile(repo=name.repo, revision=revision),
        )
    except ValidationError as exc:
        raise _no_hub(name) from exc


def beginning(name: HubName, file: str) -> Mapping[str, str]:
    """The metadata in the header of a file, of which no more is fetched."""
    from huggingface_hub import HfApi

    with _told(name):
        api = HfApi(endpoint=endpoint(), library_name="zoo-core")
        return dict(api.parse_safetensors_file_metadata(name.repo, file, revision=name.revision).metadata)


def search(word: str = "") -> list[dict[str, Any]]:
    """The repositories of this library on the Hub, those with ``word`` in their names; most downloaded first."""
    from huggingface_hub import HfApi

    if is_offline():
        raise NetworkError("HF_HUB_OFFLINE forbids to ask the Hub", "unset it; zoo list shows what is here")
    facts: Any = ["downloads", "gated", "lastModified", "library_name", "tags"]
    with _told(None):
        api = HfApi(endpoint=endpoint(), library_name="zoo-core")
        models = [
            *itertools.islice(api.list_models(filter=LIBRARY, search=word or None, limit=MOST, expand=facts), MOST)
        ]
    found = []
    for model in models:
        if model.library_name == LIBRARY:  # others have animals
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


def _one(name: HubName, files: list[str], library: str | None) -> str:
    """The weights file that is meant. ``library`` is another one, if the page names it."""
    weights = sorted(file for file in files if FILE.fullmatch(file))
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


@contextmanager
def told(words: Callable[[Exception], ZooError]) -> Iterator[None]:
    """What the Hub's client raises, in ``words`` of the zoo."""
    try:
        yield
    except ZooError:
        raise
    except Exception as exc:  # the client's, httpx's or requests' own errors, by version of the client
        raise words(exc) from exc


def _told(name: HubName | None) -> AbstractContextManager[None]:
    """Without a name it is a search."""
    return told(partial(_said, name))


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
