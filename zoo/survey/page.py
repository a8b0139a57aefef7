"""The rating page: one HTML file that holds all it shows, asks nothing of a network, and does not know the models."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from zoo.errors import ExistsError, ImageError, NotFoundError, UsageError
from zoo.evaluate.compare import Model, Sitter
from zoo.helpers.files import atomic
from zoo.helpers.inputs import Inputs
from zoo.helpers.words import printable
from zoo.pictures.image import encode, read, to_pil
from zoo.survey.key import Key, Result
from zoo.survey.questions import Questionnaire, Wording, words

SIZE = 800
"""Long side in pixels above which pictures are scaled down for the page."""

HERE = Path(__file__).parent


@dataclass
class Gathered:
    """What a page is made of: items as the page's script reads them, who made what, and what had to be left out."""

    items: list[dict[str, Any]] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)  # item -> sitter
    results: dict[str, Result] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


def gather(
    models: Mapping[str, Model], sitters: Sequence[Sitter], size: int = SIZE, done: Callable[[], None] = lambda: None
) -> Gathered:
    """Each sitter's pictures: photograph, portrait if there is one, and what each model makes of the photograph.

    A sitter of whom one picture cannot be had is left out, so that every model is rated on the same sitters. All
    pictures of a sitter get the photograph's size, at most ``size`` pixels a side. They are encoded anew, which drops
    metadata. Ids and orders come from the system's random numbers: nobody can compute them again.
    """
    gathered = Gathered()
    for sitter in sitters:
        assert sitter.photo
        try:
            photo = to_pil(read(sitter.photo).on_white().rgb)
            photo.thumbnail((size, size), Image.Resampling.LANCZOS)
            portrait = to_pil(read(sitter.drawing).on_white().rgb) if sitter.drawing else None
            made = {printable(name): model(sitter.photo) for name, model in models.items()}
        except (ImageError, NotFoundError) as error:
            gathered.faults.append(str(error))
        else:
            item = _id("i")
            gathered.names[item] = printable(sitter.name)  # not all file names are text
            results = {_id("r"): Result(item=item, model=name) for name in made}
            gathered.results |= results
            pictures = [
                {"id": name, "picture": _address(made[result.model], photo.size)} for name, result in results.items()
            ]
            secrets.SystemRandom().shuffle(pictures)
            gathered.items.append(
                {
                    "id": item,
                    "shape": photo.width / photo.height,
                    "photo": _address(photo, photo.size),
                    "portrait": _address(portrait, photo.size) if portrait else None,
                    "results": pictures,
                }
            )
        done()
    if not gathered.items:
        raise ImageError("no picture is left for the page", gathered.faults[0])
    secrets.SystemRandom().shuffle(gathered.items)
    return gathered


def _id(kind: str) -> str:
    """Begins with a letter: a spreadsheet must not read it as a number."""
    return kind + secrets.token_hex(6)


def _address(image: Image.Image, size: tuple[int, int]) -> str:
    """The picture as a data address; of another shape, it is framed in white."""
    framed = ImageOps.pad(image.convert("RGBA"), size, Image.Resampling.LANCZOS, color="white")
    return "data:image/jpeg;base64," + base64.b64encode(encode(framed, ".jpg")).decode()


def write_page(
    path: Path,
    gathered: Gathered,
    asked: Questionnaire,
    title: str | None = None,
    consent: str | None = None,
    replace: bool = True,
) -> Path:
    """Write the page, and its key beside it; the key's path.

    ``title`` and ``consent`` replace the words of the page; an empty ``consent`` asks for none. ExistsError if
    one of the files is there and not to be replaced.
    """
    page = dict(words()["page"])
    for name, text in (("title", title), ("consent", consent)):
        if text is not None:
            page[name] = Wording(en=printable(text), ja=printable(text)).model_dump()
    data: dict[str, Any] = {
        "words": page,
        "questions": [{"id": name, **text.model_dump()} for name, text in asked.questions.items()],
        "scale": [point.model_dump() for point in asked.scale],
        "items": gathered.items,
    }
    data["page"] = "p" + hashlib.sha256(json.dumps(data).encode()).hexdigest()[:12]
    models = list(dict.fromkeys(result.model for result in gathered.results.values()))
    key = Key(
        page=data["page"],
        questions=list(asked.questions),
        models=models,
        items=gathered.names,
        results=gathered.results,
    )
    with atomic(key_path(path), replace) as part:  # first: a page without its key would be of no use
        part.write_text(key.model_dump_json(indent=2) + "\n", encoding="utf-8")
    with atomic(path, replace) as part:
        part.write_bytes(_html(data, page["title"]["en"]).encode())
    return key_path(path)


def key_path(page: Path) -> Path:
    """Where the key of a page is: ``survey.html`` has ``survey.key.json``."""
    return page.with_suffix(".key.json")


def check_free(page: Path, inputs: Inputs, overwrite: bool) -> None:
    """UsageError if the page has no suffix of HTML, if it or its key is there and not to be overwritten, or an input."""
    if page.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"{page} is no name for a page", "let it end in .html")
    for path in (page, key_path(page)):
        inputs.spare(path)
        if os.path.lexists(path) and not overwrite:
            raise ExistsError(
                path,
                "give another --out; --overwrite replaces it, but answers to the old page can then not be evaluated",
            )


def _html(data: Mapping[str, Any], title: str) -> str:
    """The template filled. The policy lets the page run this script and style alone, and load nothing."""
    script, style = _text("keeping.js") + _text("page.js"), _text("page.css")
    parts = {
        "policy": f"default-src 'none'; img-src data:; script-src {_hash(script)}; style-src {_hash(style)}; "
        "base-uri 'none'; form-action 'none'",
        "title": html.escape(title),
        "style": style,
        "script": script,
        "data": json.dumps(data, ensure_ascii=False).replace("<", "\\u003c"),
    }
    return re.sub(r"{{(\w+)}}", lambda place: parts[place[1]], _text("page.html"))


def _text(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
