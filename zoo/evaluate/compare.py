"""Photographs and drawings matched by name, translated by one or more models, and measured."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch
from PIL import Image

from zoo.errors import ImageError, NotFoundError, UsageError
from zoo.evaluate.metric import Metric, MetricResult, Tools, View
from zoo.pictures import find
from zoo.pictures.image import find_pictures, read

T = TypeVar("T")
Model = Callable[[Path], Image.Image]
"""A photograph's path -> its translation."""


@dataclass(frozen=True)
class Sitter:
    """A photograph and the artist's drawing under one name; either may be missing, not both."""

    name: str
    photo: Path | None
    drawing: Path | None


@dataclass
class Report:
    """Results by model, in the order of the metrics, and one line for each picture that could not be used."""

    results: dict[str, list[MetricResult]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


def match(photos: Path, drawings: Path) -> list[Sitter]:
    """The pictures of two folder trees by their path without suffix. UsageError for an empty folder or a name twice."""
    left, right = by_name(photos), by_name(drawings)
    return [Sitter(name, left.get(name), right.get(name)) for name in sorted(left.keys() | right.keys())]


def by_name(folder: Path) -> dict[str, Path]:
    """The pictures of a folder tree by their path without suffix; errors as ``match``."""
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder", "give the folder that holds the pictures")
    found = find.by_name(folder, find_pictures([folder]))
    if not found:
        raise UsageError(f"there is no picture in {folder}", "give the folder that holds the pictures")
    return found


def evaluate(
    models: Mapping[str, Model],
    sitters: Sequence[Sitter],
    metrics: Sequence[type[Metric]],
    tools: Tools,
    done: Callable[[Sitter, Mapping[str, Image.Image]], None] = lambda sitter, made: None,
) -> Report:
    """Translate each photograph by each model, one sitter after the other, and measure against the drawings.

    ``done`` gets each sitter with what the models made of it. A picture that cannot be used is left out and reported.
    """
    scores = {name: [metric(tools) for metric in metrics] for name in models}
    report = Report()
    for sitter in sitters:
        drawn, made = None, {}
        if sitter.drawing:
            drawn = _attempt(report, partial(_view, sitter.drawing, tools))
        if sitter.photo:
            attempts = {name: _attempt(report, partial(model, sitter.photo)) for name, model in models.items()}
            made = {name: image for name, image in attempts.items() if image}
        with torch.inference_mode():
            for name in models:
                view = _view(made[name], tools) if name in made else None
                for metric in scores[name]:
                    _attempt(report, partial(metric.update, view, drawn))
        done(sitter, made)
    data = _fingerprint(sitters)
    for name, of_model in scores.items():
        results = [result for metric in of_model if (result := metric.result())]
        report.results[name] = [r.model_copy(update={"protocol": {**r.protocol, "data": data}}) for r in results]
    return report


def _fingerprint(sitters: Sequence[Sitter]) -> str:
    """Which pictures were measured: their numbers, and a hash over the files."""
    digest = hashlib.sha256()
    sides = [sitter.photo for sitter in sitters if sitter.photo], [s.drawing for s in sitters if s.drawing]
    for path in (*sides[0], *sides[1]):
        with suppress(OSError):  # reported already as a picture that cannot be read
            digest.update(path.read_bytes())
    return f"{len(sides[0])} photos, {len(sides[1])} drawings, sha256 {digest.hexdigest()[:16]}"


def _view(source: Path | Image.Image, tools: Tools) -> View:
    return View(read(source).on_white().rgb[None].to(tools.device))


def _attempt(report: Report, action: Callable[[], T]) -> T | None:
    try:
        return action()
    except (ImageError, NotFoundError) as error:
        if str(error) not in report.faults:
            report.faults.append(str(error))
        return None
