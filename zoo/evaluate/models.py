"""The models of a comparison, each under a label."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from PIL.Image import Image

from zoo.errors import NotFoundError, UsageError, close_match
from zoo.evaluate.compare import Model, Sitter, by_name
from zoo.loading import load, weights_file
from zoo.pictures.image import read, to_pil
from zoo.weights.hub_name import is_hub, parse

T = TypeVar("T")


def unite(named: Iterable[tuple[str, T]]) -> dict[str, T]:
    """The models by label. UsageError if two have one."""
    models: dict[str, T] = {}
    for label, model in named:
        if label in models:
            raise UsageError(f"two models are called {label}", "name each once; rename a weights file")
        models[label] = model
    return models


def load_models(names: Sequence[str], controls: Sequence[str], device: torch.device) -> list[tuple[str, Model]]:
    """Models and weights files with their labels, each with those of the controls (``NAME=VALUE``) that it has.

    UsageError for a control that none has."""
    given = dict(_assignment(text) for text in controls)
    models: list[tuple[str, Model]] = []
    known: set[str] = set()
    for name in names:
        translator = load(name, device=device)
        values: dict[str, Any] = {c.name: c.text(given[c.name]) for c in translator.controls if c.name in given}
        known |= {c.name for c in translator.controls}
        models.append((label_of(name), partial(translator.translate, **values)))
    for name in given.keys() - known:
        raise UsageError(f"no model here has a control {name}", close_match(name, known))
    return models


def made_already(text: str, sitters: Sequence[Sitter]) -> tuple[str, Model]:
    """``NAME=DIR``: the pictures of a folder as what a model made of the photographs of the same names."""
    label, _, folder = text.partition("=")
    if not label or not folder:
        raise UsageError(f"cannot read --results {text!r}", "write --results NAME=DIR")
    pictures = by_name(Path(folder))
    found = {sitter.photo: pictures.get(sitter.name) for sitter in sitters}

    def look_up(photo: Path) -> Image:
        if not (path := found[photo]):
            raise NotFoundError(f"{folder} has no result for {photo}", "give it the photograph's name")
        return to_pil(read(path).on_white().rgb)

    return label, look_up


def labelled(names: Iterable[str]) -> dict[str, str]:
    """Models and files of weights by what a table calls them. UsageError if two have one name."""
    return unite((label_of(name), name) for name in names)


def label_of(name: str) -> str:
    """A model's own name, a weights file's stem; what zoo pack wrote is called as the folder of its run.

    Of a name of the Hub the repository's, with the revision if one is given: a folder of results may be called so."""
    if is_hub(name):
        asked = parse(name)
        words = [asked.repo.partition("/")[2], (asked.file or "").removesuffix(".safetensors"), asked.revision or ""]
        return "-".join(word.replace("/", "-") for word in words if word)
    if (path := weights_file(name)) is None:
        return name
    parts = path.absolute().with_suffix("").parts
    return next(part for part in reversed(parts) if part not in ("model", "packed"))


def _assignment(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"cannot read --control {text!r}", "write --control NAME=VALUE")
    return name, value
