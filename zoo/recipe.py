"""Recipes: one YAML file names the networks, losses, optimiser and data of one model. No torch here."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from zoo.card import Card
from zoo.catalogue.host import host
from zoo.errors import ConfigError, NotFoundError, UsageError, close_match, describe
from zoo.helpers import bounds
from zoo.helpers.reading import parse_yaml, read_yaml
from zoo.helpers.words import shortened


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


_Beta = Annotated[float, Field(ge=0, lt=1)]
_Side = Annotated[int, Field(ge=1, le=bounds.SIDE)]


class Optimiser(_Strict):
    """Adam or AdamW, as torch.optim names their options; ``rates`` multiply the rate of single phases, ``trained`` that of
    a phase whose networks all begin trained."""

    name: Literal["adam", "adamw"] = "adam"
    lr: bounds.Rate = 2e-4
    rates: dict[str, bounds.Rate] = Field(default_factory=dict, max_length=100)
    trained: bounds.Rate = 1.0
    betas: tuple[_Beta, _Beta] = (0.5, 0.999)
    weight_decay: float = Field(0.0, ge=0, le=1e3)


class Schedule(_Strict):
    """How long: ``epochs`` passes over the larger folder; the rate is constant first, then falls to 0 over ``decay``."""

    epochs: float = Field(200, gt=0, le=1e9)
    decay: float = Field(0.5, ge=0, le=1)


class Augment(_Strict):
    """What happens to training pictures; differentiable augmentation happens in front of the discriminator."""

    flip: bool = True
    scale: float = Field(1.12, ge=1, le=8, description="enlarged by this, then cropped back at a random place")
    rotate: float = Field(0.0, ge=0, le=45, description="degrees either way")
    colour: float = Field(0.0, ge=0, le=1, description="brightness, contrast, saturation and hue of photographs")
    light: float = Field(
        0.0, ge=0, le=1, description="how far photographs are put in other light: from a side, in places"
    )
    sitters: float = Field(0.0, ge=0, le=1, description="how far skin and eyes in photographs become other people's")
    background: float = Field(0.0, ge=0, le=1, description="probability of another backdrop behind a photograph")
    differentiable: list[Literal["colour", "translation", "cutout"]] = Field(default_factory=list)


class Data(_Strict):
    """Training size (H, W) in pixels, pictures a step, augmentation.

    ``working`` is the long side above which a user's picture is scaled down for the network; by default that of the
    training pictures before they were cropped.
    """

    size: tuple[_Side, _Side] = (256, 256)
    working: int | None = Field(None, ge=bounds.WORKING[0], le=bounds.WORKING[1])
    batch: int = Field(1, ge=1, le=bounds.BATCH)
    pairs: bool = False
    backdrop: str = Field(
        "keep", description="what is behind the people in photographs; paper: the colour that the drawings are on"
    )
    colours: bool | None = Field(None, description="are the drawings in colours? null: zoo train looks")
    held_out: int | None = Field(None, ge=0, description="sitters of each folder that no step sees; null: a tenth")
    augment: Augment = Field(default_factory=Augment)

    @field_validator("backdrop")
    @classmethod
    def _is_a_backdrop(cls, backdrop: str) -> str:
        if backdrop not in ("white", "paper", "keep") and not re.fullmatch("#[0-9a-f]{6}", backdrop):
            raise ValueError(f'{backdrop!r} is not white, paper, keep, or a colour as "#484848"')
        return backdrop


class Recipe(_Strict):
    """A model without its weights."""

    name: str = Field(max_length=255)
    plugin: str = Field("", max_length=64)
    summary: str = Field("", max_length=1000)
    generator: bounds.Mapping
    discriminator: bounds.Mapping = Field(default_factory=dict)
    trainer: bounds.Mapping = Field(default_factory=dict, description="none for a model that is not trained")
    losses: dict[str, dict[str, dict[str, Any]]] = Field(default_factory=dict)
    providers: dict[str, bounds.Mapping] = Field(default_factory=dict, max_length=100)
    optimiser: Optimiser = Field(default_factory=Optimiser)
    schedule: Schedule = Field(default_factory=Schedule)
    data: Data = Field(default_factory=Data)
    ema: float = Field(0.999, ge=0, lt=1, description="decay of the averaged weights that are shipped; 0 = none")
    translator: str | None = Field(None, max_length=64)
    controls: list[bounds.Mapping] = Field(default_factory=list, max_length=100)

    @field_validator("losses")
    @classmethod
    def _weights_are_numbers(cls, losses: dict[str, dict[str, dict[str, Any]]]) -> dict[str, dict[str, dict[str, Any]]]:
        for phase, terms in losses.items():
            for term, spec in terms.items():
                weight = spec.get("weight", 1.0)
                if isinstance(weight, bool) or not isinstance(weight, int | float) or not math.isfinite(weight):
                    raise ValueError(f"the weight of {phase}.{term} is {weight!r}, not a number")
        bounds.bounded(losses)
        return losses

    @model_validator(mode="after")
    def _drawn_as_trained(self) -> Recipe:
        """The control ``backdrop`` is what the network has learned from, unless the recipe says otherwise."""
        for control in self.controls:
            if control.get("name") == "backdrop":
                control.setdefault("default", "keep" if self.data.backdrop == "keep" else "white")
        return self

    def for_drawings(self, paper: str) -> Recipe:
        """The recipe for drawings on ``paper``, ``white`` or a colour, if it has photographs seen so. What is drawn in colours has skin
        in its own: the control ``light`` is ``keep`` then."""
        if self.data.backdrop != "paper":
            return self
        light = {"default": "keep"} if self.data.colours else {}
        controls = [{**control, **light} if control.get("name") == "light" else control for control in self.controls]
        data = self.data.model_copy(update={"backdrop": paper})
        return self.model_copy(update={"data": data, "controls": controls})

    def network(self) -> dict[str, Any]:
        """What a weights file carries in its header, enough to run it alone."""
        colour = self.data.backdrop if self.data.backdrop.startswith("#") else None
        return {
            **({"paper": colour} if colour else {}),
            "recipe": self.name,
            "plugin": self.plugin,
            "generator": self.generator,
            "translator": self.translator,
            "controls": self.controls,
            "working": self.data.working or round(max(self.data.size) * self.data.augment.scale),
        }


def network_of(card: Card) -> dict[str, Any]:
    """The network that the card's recipe describes. UsageError for a card without one."""
    if card.recipe is None:
        raise UsageError(f"{card.name} draws nothing itself: {card.summary}", "zoo list shows what draws")
    return load_recipe(card.recipe).network()


_FILE = (".yaml", ".yml")


def load_recipe(name: str | Path, overrides: Sequence[str] = (), *, tiny: bool = False) -> Recipe:
    """The recipe of an installed plugin by name, or a YAML file by path, with ``key.sub=value`` overrides applied.

    ``extends`` names another recipe, or a file by its path from this one. What it says under ``coloured`` goes on top where
    drawings are in colours, on top of that under ``paired`` where pictures are pairs; with ``tiny`` what it says under that
    key: the contract tests train it in seconds. NotFoundError, ConfigError."""
    given = str(name)
    tree, plugin = _read(str(Path(given).resolve()) if given.endswith(_FILE) else given, seen=())
    small, coloured, paired = (_layer(tree, key, name) for key in ("tiny", "coloured", "paired"))
    if tiny:
        tree = _merge(tree, small)
    data = _overridden(tree, overrides).get("data")
    for key, layer in (("colours", coloured), ("pairs", paired)):
        if isinstance(data, Mapping) and data.get(key):
            tree = _merge(tree, layer)
    tree = _overridden(tree, overrides)
    try:
        return Recipe.model_validate({"name": Path(str(name)).stem, "plugin": plugin, **tree})
    except ValidationError as exc:
        raise ConfigError(f"recipe {name}: {describe(exc)}", _hint(exc)) from exc


def _layer(tree: dict[str, Any], key: str, name: str | Path) -> dict[str, Any]:
    """Take what the recipe changes of itself under ``key`` out of it."""
    layer = tree.pop(key, None) or {}
    if not isinstance(layer, dict):
        raise ConfigError(f"recipe {name}: {key} is {layer!r}, not a mapping", "write what it changes of the recipe")
    return layer


def _overridden(tree: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    for override in overrides:
        tree = _merge(tree, _override(override))
    return dict(tree)


def _hint(exc: ValidationError) -> str:
    first = exc.errors()[0]
    if first["type"] != "extra_forbidden":
        return "correct the value"
    model: Any = Recipe
    for key in first["loc"][:-1]:
        model = model.model_fields[str(key)].annotation
    return close_match(str(first["loc"][-1]), model.model_fields)


def _read(name: str, seen: tuple[str, ...]) -> tuple[dict[str, Any], str]:
    if name in seen:
        raise ConfigError(f"recipe {name!r} extends itself: {' -> '.join((*seen, name))}", "break the circle")
    if name.endswith(_FILE):
        path, plugin = Path(name), ""
        if not path.is_file():
            raise NotFoundError(
                f"there is no recipe file {name}", "give a path to a YAML file, or a name of `zoo parts recipe`"
            )
    else:
        path, plugin = host().recipe_path(name)
    tree = read_yaml(path, f"recipe {path}")
    if not isinstance(tree, dict):
        raise ConfigError(f"recipe {path} is not a mapping", "see a recipe of `zoo parts recipe` for the form")
    if (base := tree.pop("extends", None)) is not None:
        if not isinstance(base, str) or len(seen) >= bounds.DEPTH:
            why = "not one name" if not isinstance(base, str) else "one too many in a row"
            raise ConfigError(f"recipe {path} extends {shortened(str(base), 80)}, {why}", "name one recipe or file")
        if str(base).endswith(_FILE):
            base = (path.parent / str(base)).resolve()
        parent, owner = _read(str(base), (*seen, name))
        tree, plugin = _merge(parent, tree), plugin or owner
    return tree, plugin


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``over`` on top of ``base``, key by key; a null takes the key away."""
    merged = dict(base)
    for key, value in over.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = _merge(merged[key], value)
        else:
            merged[key] = value
    return merged


def _override(override: str) -> dict[str, Any]:
    path, equals, text = override.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise ConfigError(f"cannot read --set {override!r}", "write --set key.sub=value, e.g. generator.width=32")
    try:
        colour = text.startswith("#")  # which would be a comment, and take the key away
        value = text if colour else parse_yaml(text)
    except ValueError as exc:
        raise ConfigError(f"cannot read the value of --set {override!r}: {exc}", "quote it as in YAML") from exc
    patch: Any = value
    for key in reversed(keys):
        patch = {key: patch}
    assert isinstance(patch, dict)
    return patch
