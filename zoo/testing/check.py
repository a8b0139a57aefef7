"""How a check of the contract kit fails, and what keeps a plugin's test file from rewriting one."""

from __future__ import annotations

import functools
import inspect
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from zoo.card import Card
from zoo.catalogue.host import host
from zoo.catalogue.registry import registry
from zoo.errors import ZooError
from zoo.helpers.untouched import untouched
from zoo.recipe import load_recipe
from zoo.testing.subject import Model, write_pictures

Test = Callable[..., None]
IMPORTS = "test_registers_what_it_declares", "test_import_leaves_no_trace"  # what these are about


def check(function: Test) -> Test:
    """A test of the kit. It fails with the sentence of its assertion and what its docstring says, not a traceback.

    Other exceptions are of the plugin's code and keep theirs."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            function(*args, **kwargs)
        except (AssertionError, ZooError) as error:
            if not str(error):
                raise
            told = f"{error}\n\n{inspect.getdoc(function)}"
        else:
            return
        pytest.fail(told, pytrace=False)  # out here: not "during handling of"

    run.of_the_kit = True  # type: ignore[attr-defined]
    return run


def once_for(kind: str) -> Callable[[Test], Test]:
    """The check runs on the recipes that say anything which none before them says, see `Model.says`: the first of each
    `Model.kind`, or for "facts", where it takes long, those with a new block, loss or option."""

    def mark(function: Test) -> Test:
        function.once_for = kind  # type: ignore[attr-defined]
        return function

    return mark


class Contract:
    """Base of the checks: finds what there is to check, and guards them."""

    plugin: ClassVar[str]
    waive: ClassVar[Mapping[str, str]] = {}
    beside: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    always: ClassVar[Mapping[str, Any]] = {}

    @staticmethod
    def label(folder: Path) -> None:
        """Write beside the pictures of ``folder`` what the plugin's trainers read of it."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.__module__.startswith("zoo.testing."):
            return
        if not isinstance(getattr(cls, "plugin", None), str):
            raise TypeError(f"{cls.__name__} names no plugin: write plugin = 'zoo-…'")
        for name in checks(*cls.__mro__[1:]).keys() & cls.__dict__.keys():
            raise TypeError(f"{cls.__name__}.{name} overrides a check: write waive = {{{name!r}: 'why'}}")
        for name, reason in cls.waive.items():
            if name.partition("[")[0] not in checks(cls):
                raise TypeError(f"{cls.__name__} waives {name}, which is no check of the kit")
            if not reason.strip():
                raise TypeError(f"{cls.__name__} waives {name} and does not say why")

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """One test for each recipe, part, control … that a check takes; one that says what there is none of."""
        kind = getattr(metafunc.function, "once_for", "")
        subjects = metafunc.config.stash.setdefault(FOUND, {})
        known = metafunc.config.stash.setdefault(MODELS, {}).setdefault(type(self), {})
        for subject in SUBJECTS:
            if subject in metafunc.fixturenames:
                if (every := (type(self), subject, "")) not in subjects:
                    subjects[every] = self._subjects(SUBJECTS[subject](self.plugin), "", known)
                if (wanted := (type(self), subject, kind)) not in subjects:
                    subjects[wanted] = self._subjects(subjects[every], kind, known)
                found = subjects[wanted]
                none = pytest.param(None, marks=pytest.mark.skip(f"{self.plugin} has no {subject}"), id="none")
                metafunc.parametrize(subject, list(found.values()) or [none], ids=list(found) or None)

    def _subjects(self, named: Mapping[str, Any], kind: str, known: dict[str, Model]) -> Mapping[str, Any]:
        found = {name: self._known(one, known) for name, one in named.items()}
        if not kind:
            return found
        models = {name: one if isinstance(one, Model) else one[0] for name, one in found.items()}
        said: set[str] = set()
        telling = set()
        for model in dict.fromkeys(models.values()):
            if not model.says(kind) <= said:
                telling.add(model)
            said |= model.says(kind)
        return {name: one for name, one in found.items() if models[name] in telling}

    def _known(self, subject: Any, known: dict[str, Model]) -> Any:
        """One model of a name for all checks: what it has written need not be written again."""
        if isinstance(subject, tuple):
            return tuple(self._known(one, known) for one in subject)
        if not isinstance(subject, Model):
            return subject
        return known.setdefault(subject.name, replace(subject, always=self.always))

    @pytest.fixture
    def pictures(self, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """Written once for all checks."""
        kept = request.config.stash.setdefault(PICTURES, {})
        if type(self) not in kept:
            folder = write_pictures(tmp_path_factory.mktemp("pictures"))
            for below in folder.iterdir():
                self.label(below)
            kept[type(self)] = folder
        return kept[type(self)]

    @pytest.fixture(autouse=True)
    def waived(self, request: pytest.FixtureRequest) -> None:
        """A waived check has to fail: when it passes, the waiver goes."""
        for name in (request.node.name, request.node.originalname):
            if name in self.waive:
                request.applymarker(pytest.mark.xfail(reason=self.waive[name], strict=True))

    @pytest.fixture(autouse=True)
    def usable(self, request: pytest.FixtureRequest) -> None:
        """A plugin that cannot be imported fails one check, not all."""
        if request.node.originalname in IMPORTS:
            return
        try:
            host().load(self.plugin)
        except ZooError:
            pytest.skip(f"{self.plugin} cannot be used: {IMPORTS[0]} says why")

    @pytest.fixture(autouse=True)
    def offline(self, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
        """A plugin opens no connection; what is downloaded already is not looked at either."""
        for name in ("connect", "connect_ex"):
            monkeypatch.setattr(socket.socket, name, _refuse)
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        monkeypatch.setenv("ZOO_CACHE", str(tmp_path_factory.mktemp("cache")))

    @pytest.fixture(autouse=True)
    def alike(self) -> Iterator[None]:
        """One check does not change what another sees. Tiny tensors gain nothing from several threads."""
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        with untouched(self.plugin):
            yield
        torch.set_num_threads(threads)


def checks(*classes: type) -> dict[str, Test]:
    """The checks of the kit in ``classes`` and their bases, by name."""
    found = {name: test for cls in classes for base in reversed(cls.__mro__) for name, test in vars(base).items()}
    return {name: test for name, test in found.items() if getattr(test, "of_the_kit", False)}


def _refuse(*_: Any) -> None:
    raise AssertionError("it opens a connection, which is the core's business")


# -- what a plugin has, by the name that a test's id shows. Nothing is imported for it ----------------------------------


def models(plugin: str) -> dict[str, Model]:
    return {name: Model(name) for name in _owned(plugin, "recipe")}


def controls(plugin: str) -> dict[str, tuple[Model, str]]:
    found = {}
    for name, model in models(plugin).items():
        try:
            for control in load_recipe(name).controls:
                found[f"{name}-{control.get('name')}"] = model, str(control.get("name"))
        except ZooError:  # another check says so
            continue
    return found


def parts(plugin: str) -> dict[str, tuple[str, str]]:
    return {
        f"{part.kind}-{part.name}": (part.kind, part.name)
        for part in host().parts()
        if part.owner == plugin and part.kind != "recipe"
    }


def cards(plugin: str) -> dict[str, tuple[Card, str]]:
    return {
        card.tagged(tag): (card, tag)
        for card in registry().cards.values()
        for tag in (card.weights or [""])
        if card.plugin == plugin
    }


def _owned(plugin: str, kind: str) -> Iterator[str]:
    return (part.name for part in host().parts() if part.owner == plugin and part.kind == kind)


PICTURES = pytest.StashKey[dict[type, Path]]()
MODELS = pytest.StashKey[dict[type, dict[str, Model]]]()
FOUND = pytest.StashKey[dict[tuple[type, str, str], Mapping[str, Any]]]()
SUBJECTS: Mapping[str, Callable[[str], Mapping[str, Any]]] = {
    "model": models,
    "control": controls,
    "part": parts,
    "card": cards,
    "block": lambda plugin: {name: name for name in _owned(plugin, "block")},
    "provider": lambda plugin: {name: name for name in _owned(plugin, "provider")},
    "loss": lambda plugin: {name: name for name in _owned(plugin, "loss")},
}
