"""The key of a rating page: which model made which result. It stays with who asks; the page does not hold it."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from zoo.errors import IntegrityError, NotFoundError, describe
from zoo.helpers.reading import read_small

LARGEST = 100 << 20  # bytes; a result takes a hundred


class Result(BaseModel):
    """One picture that is rated."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    item: str
    model: str


class Key(BaseModel):
    """``page`` is the identity of the page; ``items`` are photographs, ``results`` pictures, each under a random id."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    page: str
    questions: list[str]
    models: list[str]
    items: dict[str, str]
    results: dict[str, Result]


def read_key(path: Path) -> Key:
    """NotFoundError if there is none, IntegrityError if it is not a key."""
    try:
        return Key.model_validate_json(read_small(path, LARGEST))
    except (FileNotFoundError, IsADirectoryError) as error:
        raise NotFoundError(
            f"there is no key {path}", "zoo survey make wrote it beside the page, as .key.json"
        ) from error
    except ValueError as error:  # also what is no JSON of a key
        raise IntegrityError(f"{path} is no key of a rating page: {describe(error)}", "give the .key.json") from error
