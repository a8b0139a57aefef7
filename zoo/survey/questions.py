"""What raters are asked: the paper's questions and scale, or one's own from a YAML file. No torch here."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from zoo.errors import ConfigError, UsageError, close_match, describe
from zoo.helpers.reading import read_yaml

RATINGS = range(-2, 3)
"""What the five points of the scale count, in their order."""

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=40)]


class Wording(BaseModel):
    """A text in the languages of the page; a language that is not there reads the other one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    en: str
    ja: str

    @model_validator(mode="before")
    @classmethod
    def _both(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"en": value, "ja": value}
        if isinstance(value, dict) and len(value) == 1:
            text = next(iter(value.values()))
            return {"en": text, "ja": text} | value
        return value


class Questionnaire(BaseModel):
    """The questions by name, and the five points on which each is answered, from -2 to 2."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    questions: dict[Name, Wording] = Field(min_length=1)
    scale: Annotated[list[Wording], Field(min_length=5, max_length=5)]


@cache
def words() -> dict[str, Any]:
    """``words.yaml``: the paper's ``questions`` and ``scale``, and what else is said on the ``page``."""
    return dict(read_yaml(Path(__file__).with_name("words.yaml")))


def choose(asked: str, portraits: bool) -> Questionnaire:
    """The questions ``asked``: names with commas between them, or a YAML file with ``questions`` and maybe ``scale``.

    None asked: ``similarity`` where the artist's ``portraits`` are shown, else ``completeness``. UsageError for an
    unknown name, for similarity without portraits, and for a file that does not fit.
    """
    known = words()
    if asked.endswith((".yaml", ".yml")):
        given = read_yaml(Path(asked))
        try:
            return Questionnaire.model_validate(
                {"scale": known["scale"], **given} if isinstance(given, dict) else given
            )
        except ValidationError as error:
            raise ConfigError(f"{asked}: {describe(error)}", "docs/survey.md shows such a file") from error
    names: Sequence[str] = [name.strip() for name in asked.split(",") if name.strip()]
    names = names or ["similarity" if portraits else "completeness"]
    for name in names:
        if name not in known["questions"]:
            raise UsageError(f"there is no question {name}", close_match(name, known["questions"]))
    if "similarity" in names and not portraits:
        raise UsageError("similarity compares with the artist's portraits", "give them with --drawings DIR")
    return Questionnaire(questions={name: known["questions"][name] for name in names}, scale=known["scale"])
