"""A Hugging Face Space that shows the page of one model: the files that it is made of."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import tempfile
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from zoo.catalogue.manifest import CORE
from zoo.errors import ExistsError, NotFoundError, UsageError
from zoo.helpers.files import place
from zoo.loading import weights_file
from zoo.page.serve import gradio
from zoo.page.shown import Shown, one
from zoo.publish.model_page import terms
from zoo.weights.file import PACKED
from zoo.weights.hub_name import is_hub

_APP = '''"""The page of one model, as zoo page --space wrote it."""

from zoo.page.serve import serve

FRAMES = "https://huggingface.co https://*.hf.space"  # the Hub shows a Space within its own page

serve([{name}], host="0.0.0.0", port=7860, frames=FRAMES)
'''

_ATTRIBUTES = "*.safetensors filter=lfs diff=lfs merge=lfs -text\n"

_EXTRAS = ("page", "faces", "video", "heic")
"""Of the core: what the page needs, and what it can do more with where it is installed."""


def space_files(name: str) -> dict[str, bytes | Path]:
    """The files of the Space of a model, or of a weights file of one's own, which goes with it. Errors as of `zoo.load`;
    UsageError for weights without a licence."""
    gradio()
    shown = one(name)
    own = None if shown.card or is_hub(name) else weights_file(name)
    licence = (
        shown.card.licence.weights if shown.card else str(shown.facts.get("licence", "unknown" if own else "other"))
    )
    if licence in ("", "unknown"):
        raise UsageError("nobody may use weights without a licence, and these name none", "zoo pack RUN --licence …")
    served = PACKED if own else name
    files: dict[str, bytes | Path] = {
        "README.md": _page(shown, licence).encode(),
        "app.py": _APP.format(name=json.dumps(served)).encode(),
        "requirements.txt": "".join(f"{line}\n" for line in requirements(shown)).encode(),
    }
    if own:
        files |= {".gitattributes": _ATTRIBUTES.encode(), PACKED: own}
    return files


def write_space(name: str, folder: Path) -> list[Path]:
    """Write the Space into a new ``folder``, whole or not at all. ExistsError if something is there."""
    if os.path.lexists(folder):
        raise ExistsError(folder, "give a new folder for the Space")
    files = space_files(name)
    folder.absolute().parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.absolute().parent, prefix=".zoo-space-") as made:
        part = Path(made) / "space"
        part.mkdir(mode=0o755)
        for file, data in files.items():
            (part / file).write_bytes(data if isinstance(data, bytes) else data.read_bytes())
        place(part, folder.absolute())
    return [folder / file for file in files]


def requirements(shown: Shown) -> list[str]:
    """The versions that are installed here, of all that the page needs: what runs here runs there."""
    plugin = str(shown.network.get("plugin") or CORE)
    pinned: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    todo = [Requirement(f"{CORE}[{','.join(_EXTRAS)}]"), Requirement(plugin), Requirement("gradio")]
    while todo:
        wanted = todo.pop()
        name = canonicalize_name(wanted.name)
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            if name == plugin:
                raise NotFoundError(f"{plugin} is not installed", f"pip install {plugin}") from None
            continue  # of an extra that is not used here
        pinned[name] = version.partition("+")[0]
        for extra in ("", *wanted.extras):
            if (name, extra) not in seen:
                seen.add((name, extra))
                todo += _needs(name, extra)
    extras = [
        extra for extra in _EXTRAS if all(canonicalize_name(one.name) in pinned for one in _needs(CORE, extra, True))
    ]
    core = f"{CORE}[{','.join(extras)}]=={pinned.pop(CORE)}"
    first = [core, *([f"{plugin}=={pinned.pop(plugin)}"] if plugin in pinned else [])]
    return [*first, *(f"{name}=={version}" for name, version in sorted(pinned.items()))]


def _needs(name: str, extra: str, only: bool = False) -> Iterator[Requirement]:
    """What a distribution asks for, with an extra or (``only``) for it alone; not what only some machines need."""
    for line in importlib.metadata.requires(name) or ():
        try:
            wanted = Requirement(line)
        except InvalidRequirement:
            continue
        marker = wanted.marker
        if marker and any(word in str(marker) for word in ("platform", "os_name", "implementation")):
            continue
        if marker and not marker.evaluate({"extra": extra}):
            continue
        if not only or (marker and not marker.evaluate({"extra": ""})):
            yield wanted


def _page(shown: Shown, licence: str) -> str:
    import gradio

    front: Mapping[str, Any] = {
        "title": shown.title,
        "sdk": "gradio",
        "sdk_version": gradio.__version__,
        "python_version": ".".join(platform.python_version_tuple()[:2]),
        "app_file": "app.py",
        **terms(licence),
        "short_description": textwrap.shorten(shown.summary, 60, placeholder=" …"),
        "tags": ["zoo"],
    }
    about = [f"# {shown.title}", shown.summary]
    if card := shown.card:
        authors = ", ".join(card.paper.authors)
        about.append(f"Paper: {card.paper.title}. {authors}{f', {card.paper.year}' if card.paper.year else ''}")
        about.append(f"Licence: code {card.licence.code}; weights: {card.licence.weights}; data: {card.licence.data}")
    else:
        about.append(f"Licence of the weights: {licence}")
    about.append("Pictures that are uploaded lie in a temporary folder of the Space until it stops or a day is over.")
    return f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---\n\n" + "\n\n".join(about) + "\n"
