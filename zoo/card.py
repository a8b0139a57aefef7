"""Cards: the facts about one model. Weights are known by SHA-256: any source that yields them is good."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from zoo.errors import ConfigError, NotFoundError, close_match, describe
from zoo.helpers import bounds

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=64)]
Plain = StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*\.safetensors$", max_length=128)
FileName = Annotated[str, Plain]  # a name and no path: it cannot leave its folder
Printable = StringConstraints(pattern=r"^[^\x00-\x1f\x7f-\x9f]*$", min_length=1, max_length=1000, strip_whitespace=True)
Line = Annotated[str, Printable]  # cards are shown on terminals: no line breaks, no escape sequences


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Paper(_Strict):
    """Where the model comes from."""

    title: Line
    authors: tuple[Line, ...] = Field(min_length=1, max_length=1000)
    year: int | None = Field(None, ge=0, le=9999)
    url: Line | None = None


class Licence(_Strict):
    """What may be done with the code, the weights, and the pictures that they were trained on."""

    code: Line
    weights: Line
    data: Line


class HubFile(_Strict):
    """A repository of the Hub at one commit; branches and tags can move and are refused."""

    repo: Annotated[
        str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*/[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=96)
    ]
    revision: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]


class Trained(_Strict):
    """How the weights were made; ``recipe`` with its ``--set`` where it is not the card's own."""

    data: Line
    recipe: Line | None = None
    steps: int = Field(gt=0, le=bounds.COUNT)
    seed: int | None = Field(None, ge=0, lt=bounds.SEED)
    hours: float | None = Field(None, gt=0, le=1e9)
    hardware: Line | None = None


class Metric(_Strict):
    """A number, and what one needs to know to compare it with another: ``n`` pictures, protocol, seed."""

    name: Line
    value: float = Field(allow_inf_nan=False)
    n: int = Field(gt=0, le=bounds.COUNT)
    protocol: Line
    seed: int | None = Field(None, ge=0, lt=bounds.SEED)


class Weights(_Strict):
    """One safetensors file. Without ``bundled`` or ``hub`` it can still come from a mirror."""

    file: FileName
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    bytes: int = Field(gt=0, le=bounds.COUNT)
    bundled: bool = False
    hub: HubFile | None = None
    trained: Trained | None = None
    metrics: tuple[Metric, ...] = Field((), max_length=1000)


class Card(_Strict):
    """One model of the catalogue. The first entry of ``weights`` is the default."""

    name: Name
    summary: Line
    plugin: Name
    task: Name
    recipe: Name | None = None  # none for a network that others use, and that draws nothing itself
    paper: Paper
    licence: Licence
    weights: dict[Name, Weights] = Field(default_factory=dict, max_length=1000)

    @property
    def default(self) -> str | None:
        """The tag meant when none is given; None while there are no weights."""
        return next(iter(self.weights), None)

    def tagged(self, tag: str) -> str:
        """``cycleda`` for the default weights, ``cycleda.tag`` for others."""
        return self.name if tag == self.default else f"{self.name}.{tag}"

    def get(self, tag: str | None = None) -> Weights:
        """The weights of ``tag``, or the default ones. NotFoundError if there are none."""
        if not self.weights:
            raise NotFoundError(
                f"{self.name} has no published weights yet",
                f"train it: zoo train {self.recipe} --help; or give a file: weights='model.safetensors'",
            )
        if (tag := tag or self.default) not in self.weights:
            raise NotFoundError(f"{self.name} has no weights {tag!r}", close_match(str(tag), self.weights))
        return self.weights[tag]


def parse_cards(raw: Any, source: str, plugin: str | None = None) -> tuple[list[Card], list[ConfigError]]:
    """The cards of one source, and what is wrong with the others. ``plugin`` is the only one they may name."""
    if not isinstance(raw, dict):
        return [], [ConfigError(f"{source}: cards must be a mapping of names to cards")]
    cards, errors = [], []
    for name, facts in raw.items():
        try:
            if not isinstance(facts, dict):
                raise ConfigError("not a mapping")
            card = Card.model_validate({"name": name, **({"plugin": plugin} if plugin else {}), **facts})
            if plugin and card.plugin != plugin:
                raise ConfigError(f"belongs to {card.plugin}, but is shipped by {plugin}")
            cards.append(card)
        except (ValidationError, ConfigError) as exc:
            errors.append(ConfigError(f"{source}: card {name}: {describe(exc)}", "correct the card"))
    return cards, errors
