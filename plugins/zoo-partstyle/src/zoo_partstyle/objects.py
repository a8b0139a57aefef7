"""Objects: sets of the filters of VGG-19 that respond to one kind, and which pictures show it. No torch here.

A set has two parts. ``layers`` are the filters of the paper, chosen by the pictures that excite them most. ``place``
weighs all filters of a few layers: it says where in a picture the object is. ``zoo filters`` writes both.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, StringConstraints, ValidationError, model_validator

from zoo.errors import ConfigError, ControlError, NotFoundError, close_match, describe
from zoo.helpers.files import atomic
from zoo.helpers.reading import read_small

_WIDTHS = {"1": 64, "2": 128, "3": 256, "4": 512, "5": 512}
_LAYER = re.compile(r"conv(?:[12]_[12]|[345]_[1-4])")
_LARGEST, _LABELS = 2_000_000, 200_000_000  # bytes of a set, and of a table
_SETS = Path(__file__).parent / "sets"

Line = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f-\x9f]*$", max_length=2000)]
Share = Annotated[float, Field(ge=0, le=1)]


def width(layer: str) -> int:
    """How many filters a layer of VGG-19 has. ValueError if there is no such layer."""
    if not _LAYER.fullmatch(layer):
        raise ValueError(f"VGG-19 has no layer {layer[:40]!r}; there are conv1_1 … conv5_4")
    return _WIDTHS[layer[4]]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Layer(_Strict):
    """The chosen filters of a layer, best first, and the share of their top pictures that show the object."""

    filters: tuple[Annotated[int, Field(ge=0)], ...]
    purity: tuple[Share, ...]
    score: tuple[Annotated[FiniteFloat, Field(ge=0)], ...] | None = None  # what they were chosen by, if not purity

    @model_validator(mode="after")
    def _fits(self) -> Layer:
        if len(set(self.filters)) < len(self.filters):
            raise ValueError("a filter is there twice")
        for name, values in (("purity", self.purity), ("score", self.score)):
            if values is not None and len(values) != len(self.filters):
                raise ValueError(f"{len(self.filters)} filters and {len(values)} values of {name}")
        return self


class Place(_Strict):
    """Evidence for the object at a position: Σ weights · √feature + bias. It is about 1 on the object, 0 elsewhere.

    ``weights`` has one row for each of ``layers``.
    """

    layers: tuple[str, ...] = Field(min_length=1, max_length=16)
    weights: tuple[tuple[FiniteFloat, ...], ...]
    bias: FiniteFloat = 0.0

    @model_validator(mode="after")
    def _fits(self) -> Place:
        if [len(row) for row in self.weights] != [width(layer) for layer in self.layers]:
            raise ValueError("the weights do not fit the layers: one for each filter")
        return self


class Made(_Strict):
    """How a set was made."""

    pictures: Annotated[int, Field(ge=1)]
    showing: Annotated[int, Field(ge=1)]  # how many of them show the object
    classes: tuple[Line, ...] = ()
    near: tuple[Line, ...] = ()  # kindred things: they help to find the place, and are no counter-examples
    by: Literal["purity", "auc", "contrast"] = "purity"
    top: Annotated[int, Field(ge=1)] = 9
    threshold: dict[str, Annotated[FiniteFloat, Field(ge=0)]] = Field(default_factory=dict)
    network: Line = ""  # the first weights' fingerprint: filters of another network have other numbers
    note: Line = ""


class ObjectSet(_Strict):
    """The filters that respond to one kind of object."""

    version: Literal[1] = 1
    object: Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f-\x9f]+$", max_length=100)]
    layers: dict[str, Layer]
    place: Place | None = None
    made: Made | None = None

    @model_validator(mode="after")
    def _filters_exist(self) -> ObjectSet:
        for name, layer in self.layers.items():
            if layer.filters and max(layer.filters) >= width(name):
                raise ValueError(f"{name} has filters 0 … {width(name) - 1}, not {max(layer.filters)}")
        if self.place is None and not any(layer.filters for layer in self.layers.values()):
            raise ValueError("it names no filter")
        return self

    def chosen(self) -> dict[str, tuple[int, ...]]:
        """The chosen filters of each layer that has some."""
        return {name: layer.filters for name, layer in self.layers.items() if layer.filters}

    def save(self, path: Path | str, replace: bool = True) -> None:
        """Write the JSON, atomically. ExistsError if something is there and not to be replaced."""
        text = self.model_dump_json(exclude_none=True, indent=1)
        text = re.sub(r"(?<=[\[\d]),?\n\s+(?=-?\d)", lambda m: ", " if m[0].startswith(",") else "", text)
        with atomic(path, replace) as part:
            part.write_text(re.sub(r"(?<=\d)\n\s+\]", "]", text) + "\n", encoding="utf-8")


def named(text: str | None) -> list[str]:
    """The objects of a control's text: names and paths, separated by commas."""
    return [name.strip() for name in (text or "").split(",") if name.strip()]


def names() -> list[str]:
    """The objects that come with the plugin."""
    return sorted(path.stem for path in _SETS.glob("*.json"))


def object_set(name: str | os.PathLike[str]) -> ObjectSet:
    """The set of a shipped object by name, or that of a JSON file by path.

    ControlError if there is no such object or file; ConfigError if the file does not hold a set.
    """
    text = os.fspath(name)
    if not text.endswith(".json"):
        if text not in names():
            raise ControlError(
                f"there are no filters for {text[:60]!r}",
                f"{close_match(text, names())}; or make a set with zoo filters and give its path, FILE.json",
            )
        return _read(_SETS / f"{text}.json")
    return _read(Path(text))


def _read(path: Path) -> ObjectSet:
    hint = "write it with zoo filters"
    try:
        return ObjectSet.model_validate_json(read_small(path, _LARGEST))
    except FileNotFoundError:
        raise ControlError(f"there is no file {path}", f"check the path, or name one of {', '.join(names())}") from None
    except (OSError, ValueError) as error:
        if isinstance(error, ValidationError):
            raise ConfigError(f"{path} is no set of filters: {describe(error)}", hint) from None
        cause = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"{path} cannot be read: {cause}", hint) from None


# -- which pictures show the object ---------------------------------------------------------------------------------


def has_class(label: str, classes: Iterable[str]) -> bool:
    """Is the label one of the classes? A class is a name, a pattern with * or ?, or a range of ids ``A..B``.

    A label ``id_name``, as in ImageNet's file names, has three names: the whole, the id and the name.
    """
    whole = label.strip().casefold()
    number, _, rest = whole.partition("_")
    known = {whole, number, rest} if re.fullmatch(r"n\d{8}", number) else {whole}
    for each in classes:
        first, dots, last = each.casefold().partition("..")
        if dots and first <= number <= last:
            return True
        if not dots and any(fnmatchcase(one, first) for one in known):
            return True
    return False


def read_labels(path: Path) -> dict[str, set[str]]:
    """A CSV of ``picture,label``: file names, with or without their suffix, each on as many lines as it has labels."""
    try:
        text = read_small(path, _LABELS).decode("utf-8-sig")
        rows = [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(text, newline="")) if any(row)]
    except FileNotFoundError:
        raise NotFoundError(f"there is no file {path}", "give a CSV of lines picture,label") from None
    except (OSError, ValueError, csv.Error) as error:
        raise ConfigError(f"{path} cannot be read: {error}", "give a CSV of lines picture,label") from None
    if bad := next((i for i, row in enumerate(rows, 1) if len(row) != 2), None):
        raise ConfigError(f"{path}, line {bad}: {len(rows[bad - 1])} cells, not 2", "each line is picture,label")
    labels: dict[str, set[str]] = {}
    for picture, label in rows:
        labels.setdefault(picture, set()).add(label)
    return labels


@dataclass(frozen=True)
class Labels:
    """Says whether a picture shows the object, by a CSV, or by the names of the file and its folder."""

    classes: Sequence[str]
    listed: Mapping[str, set[str]] | None = None

    def __call__(self, path: Path) -> bool:
        if self.listed is None:
            found = {path.stem, path.parent.name}
        else:
            found = self.listed.get(path.name, set()) | self.listed.get(path.stem, set())
        return any(has_class(label, self.classes) for label in found)
