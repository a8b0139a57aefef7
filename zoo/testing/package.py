"""Checks of what is installed: names, import, recipes, cards, documents, wheel."""

from __future__ import annotations

import hashlib
import inspect
import json
import pickle
import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from zoo.card import Card, parse_cards
from zoo.catalogue.host import host
from zoo.catalogue.manifest import CORE, KINDS
from zoo.control import parse_controls
from zoo.doctor import isolated
from zoo.generator import Generator
from zoo.helpers.forks import Forks
from zoo.loading import load
from zoo.loss import Loss
from zoo.provider import Provider
from zoo.recipe import Recipe, load_recipe
from zoo.testing import wheel
from zoo.testing.check import Contract, check
from zoo.testing.subject import Model, photo
from zoo.trainer import Trainer
from zoo.translator import Translator
from zoo.weights.sources import locate

NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
KINDS_OF: Mapping[str, type] = {
    "generator": Generator,
    "loss": Loss,
    "provider": Provider,
    "trainer": Trainer,
    "translator": Translator,
}


class PackageChecks(Contract):
    """The plugin is what it says it is, can be installed alone, and disturbs nobody."""

    @classmethod
    def project(cls) -> Path:
        """The folder of the plugin's pyproject.toml: the one above the test file that names it."""
        for folder in Path(inspect.getfile(cls)).resolve().parents:
            if (path := folder / "pyproject.toml").is_file():
                name = tomllib.loads(path.read_text(encoding="utf-8")).get("project", {}).get("name")
                if name == cls.plugin:
                    return folder
        raise AssertionError(f"above {inspect.getfile(cls)} there is no pyproject.toml of {cls.plugin}")

    @check
    def test_registers_what_it_declares(self) -> None:
        """The plugin must be installed, importable, and register the parts that its zoo.yaml declares, no more, no less.

        `zoo plugins --check` says the same for all plugins that are installed."""
        host().load(self.plugin)

    @check
    def test_import_leaves_no_trace(self) -> None:
        """Importing a plugin must print nothing, open no connection, and leave random numbers, flags, environment and
        loggers alone: it happens in the middle of somebody's program.

        Move what it does at import into the functions that need it."""
        for others in ([], ["torchvision"]):  # whose own trace counts only where it is imported; that takes seconds
            try:
                found = isolated.call(
                    "zoo.testing.trace:of_import", self.plugin, *others, timeout=300, forks=_trained()
                )
            except isolated.Lost as lost:
                raise AssertionError(f"importing {self.plugin} fails: {lost}") from None
            assert not found["prints"], f"importing {self.plugin} prints {found['prints'][0]!r}"
            assert not found["connections"], f"importing {self.plugin} opens a connection to {found['connections'][0]}"
            if not found["changes"]:
                return
        raise AssertionError(f"importing {self.plugin} changes {found['changes']}")

    @check
    def test_part_is_of_its_kind(self, part: tuple[str, str]) -> None:
        """What is registered as a generator, loss, provider, trainer or translator must be a subclass of that contract."""
        kind, name = part
        found, wanted = host().part(kind, name), KINDS_OF.get(kind)
        right = wanted is None or (isinstance(found, type) and issubclass(found, wanted))
        assert right, f"{kind} {name!r} is {found!r}, not a subclass of {wanted and wanted.__name__}"

    @check
    def test_part_can_be_pickled(self, part: tuple[str, str]) -> None:
        """A part must be found under its own name, or processes of a data loader and copies of a network fail.

        Define classes at the top of a module, not in functions."""
        kind, name = part
        found = host().part(kind, name)
        try:
            same = pickle.loads(pickle.dumps(found)) is found  # noqa: S301
        except (pickle.PicklingError, AttributeError) as error:
            raise AssertionError(f"{kind} {name!r} cannot be pickled: {error}") from error
        assert same, f"{kind} {name!r}: its name {found.__qualname__} means something else"

    @check
    def test_recipe_fits(self, model: Model) -> None:
        """A recipe must fit its schema, name parts that are installed with options they have, and losses that its trainer
        provides for: it is checked here as `zoo train` checks it before the first step."""
        from zoo.train.objective import build_losses

        assert NAME.fullmatch(model.name), f"the recipe {model.name!r} is not lower case with hyphens"
        recipe = load_recipe(model.name)
        for kind, name in _named(recipe):
            host().owner(kind, name)
        assert recipe.summary, f"{model.name} has no summary"
        parse_controls(recipe.controls)
        if recipe.losses:
            build_losses(model.recipe, model.trainer())

    @check
    def test_tiny_recipe_is_tiny(self, model: Model) -> None:
        """Recipes are trained here, so each must have a key `tiny` that makes it small enough; see docs/recipes.md."""
        if not model.recipe.losses:
            pytest.skip(f"{model.name} configures no losses: it is not trained")
        assert not model.too_large(), model.too_large()

    @check
    def test_cards_are_valid(self) -> None:
        """Cards in zoo.yaml must fit their schema, or the model is not listed; docs/plugins.md has every key."""
        manifest = host().plugins[self.plugin].manifest
        if manifest is None or not manifest.cards:
            pytest.skip(f"zoo.yaml of {self.plugin} has no cards")
        _, wrong = parse_cards(manifest.cards, f"zoo.yaml of {self.plugin}", self.plugin)
        assert not wrong, str(wrong[0])

    @check
    def test_card_tells_the_truth(self, card: tuple[Card, str]) -> None:
        """A card must name a recipe of the plugin, say its licences, and describe its file: bytes, SHA-256, network.

        `sha256sum FILE` and `stat -c %s FILE` give the numbers."""
        facts, tag = card
        assert facts.recipe in (None, *host().plugins[self.plugin].recipes), (
            f"{facts.name}: the recipe {facts.recipe!r} is not one of {self.plugin}"
        )
        unknown = [
            key for key, text in facts.licence.model_dump().items() if text.lower() in ("unknown", "todo", "none")
        ]
        assert not unknown or not facts.weights, (
            f"{facts.name}: the licence of its {unknown[0]} is {unknown and 'unknown'}"
        )
        weights = facts.weights.get(tag)
        if weights is None or not weights.bundled:
            return
        folder = host().plugins[self.plugin].folder
        path = (folder or Path()) / "weights" / weights.file
        assert path.is_file(), f"{facts.name}: {path} is not there, though it is bundled"
        content = path.read_bytes()
        assert len(content) == weights.bytes, (
            f"{facts.name}: {weights.file} has {len(content)} bytes, not {weights.bytes}"
        )
        found = hashlib.sha256(content).hexdigest()
        assert found == weights.sha256, f"{facts.name}: the sha256 of {weights.file} is {found}"

    @check
    def test_shipped_weights_draw(self, card: tuple[Card, str]) -> None:
        """Weights that travel in the wheel must load and draw a picture without a connection."""
        facts, tag = card
        weights = facts.weights.get(tag)
        if weights is None or not weights.bundled:
            pytest.skip(f"{facts.name} ships no weights{f' as {tag}' if tag else ''}")
        if facts.recipe is None:
            pytest.skip(f"{facts.name} draws nothing itself")
        locate(facts, tag)
        translator = load(facts.tagged(tag), device="cpu")
        assert translator.network["plugin"] == self.plugin, f"{weights.file} is of {translator.network['plugin']}"
        image = photo(48, 40)
        drawn = translator.translate(image, **Model(str(translator.network["recipe"]), self.always).given())
        assert drawn.shape == image.shape and drawn.isfinite().all(), f"{facts.name} draws {tuple(drawn.shape)}"

    @check
    def test_documents(self) -> None:
        """README.md, LICENSE, and for models REPRODUCTION.md must be there, and pyproject.toml and zoo.yaml must say which
        zoo-core the plugin fits."""
        folder, recipes = self.project(), host().plugins[self.plugin].recipes
        for name in ("README.md", "LICENSE", *(["REPRODUCTION.md"] if recipes else [])):
            path = folder / name
            assert path.is_file() and path.read_text(encoding="utf-8").strip(), f"{self.plugin} has no {name}"
        project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        for key in ("description", "readme", "license", "requires-python"):
            assert project.get(key), f"pyproject.toml of {self.plugin} says no {key}"
        if self.plugin != CORE:
            core = [text for text in project.get("dependencies", []) if re.match(rf"{CORE}\b", text)]
            assert core and re.search("[<>=]", core[0]), (
                f"pyproject.toml of {self.plugin} does not say which {CORE} it needs"
            )
            manifest = host().plugins[self.plugin].manifest
            assert manifest and manifest.requires_core, f"zoo.yaml of {self.plugin} has no requires_core"

    @pytest.mark.slow
    @check
    def test_wheel_installs_alone(self, tmp_path: Path) -> None:
        """The plugin's wheel must hold all files of its package and work in an environment that holds nothing but what
        it declares.

        Add the missing package to `dependencies`, or the missing files to the wheel."""
        folder = self.project()
        made = wheel.build(folder, tmp_path / "wheels")
        source = host().plugins[self.plugin].folder
        assert source, f"{self.plugin} has no folder"
        missing = sorted(wheel.files(source) - wheel.content(made))
        assert not missing, f"the wheel of {self.plugin} lacks {missing[0]}"
        assert wheel.licences(made), f"the wheel of {self.plugin} holds no licence"
        assert made.stat().st_size <= wheel.LARGEST, (
            f"the wheel has {made.stat().st_size} bytes, more than {wheel.LARGEST}"
        )
        python = wheel.environment(tmp_path / "alone", made)
        states = {
            state["name"]: state for state in json.loads(wheel.run(python, "zoo", "plugins", "--check", "--json"))
        }
        told = states[self.plugin]
        assert told["state"] == "works", f"installed alone {self.plugin} is {told['state']}: {told['what']}"
        listed = json.loads(wheel.run(python, "zoo", "parts", "--json"))
        here = {(part.kind, part.name) for part in host().parts() if part.owner == self.plugin}
        there = {(part["kind"], part["name"]) for part in listed if part["owner"] == self.plugin}
        assert here == there, f"installed alone {self.plugin} brings other parts: {sorted(here ^ there)[0]}"


@cache
def _trained() -> Forks:
    """What a program has imported already that imports a plugin: once for all plugins that are tested."""
    return Forks("torch", "accelerate")


def _named(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """The parts that a recipe names."""
    specs: list[tuple[str, Any]] = [(kind, getattr(recipe, kind)) for kind in ("generator", "discriminator", "trainer")]
    specs += [("loss", {"name": term, **spec}) for terms in recipe.losses.values() for term, spec in terms.items()]
    specs += [("provider", {"name": word.replace("_", "-"), **spec}) for word, spec in recipe.providers.items()]
    if recipe.translator:
        yield "translator", recipe.translator
    while specs:
        kind, spec = specs.pop()
        if isinstance(spec, str):
            yield kind, spec
        elif spec:
            yield kind, spec["name"]
            specs += [(key, value) for key, value in spec.items() if key in KINDS]
