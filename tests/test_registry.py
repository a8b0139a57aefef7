"""The catalogue: what the first party ships, what plugins add, and what happens when they disagree."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import forget
from installed import FACTS, FILE

import zoo
from zoo.card import Card
from zoo.catalogue import registry as module
from zoo.catalogue.host import PluginHost
from zoo.catalogue.manifest import Manifest, Plugin
from zoo.catalogue.registry import Registry, registry
from zoo.errors import ConfigError, NotFoundError, PluginError
from zoo.helpers.reading import read_yaml

NAMES = ["cyclegan", "cyclese", "cycleda", "cyclepix", "conditional-cyclepix"]
NAMES += ["vgg19", "gatys", "partstyle-paper", "partstyle"]
NAMES += ["stargan", "ganimation", "ganimation-convnext", "ganimation-convnext-x4", "ganimation-convnext-x6"]
NAMES += ["ganimation-convnext-more", "au-judge"]
NAMES += [
    "cartoongan",
    "cartoongan-landmark",
    "animegan",
    "animegan-landmark",
    "dan-anime",
    "anime-faces",
    "facefusion",
    "facefusion-s3",
    "face-parts",
]


def card(name: str, plugin: str = "zoo-x", **more: object) -> Card:
    return Card.model_validate({**FACTS, "name": name, "plugin": plugin, **more})


def test_first_party_cards_are_all_well() -> None:
    assert registry().problems == []
    assert zoo.list_models() == NAMES
    assert zoo.list_models(task="photo-to-drawing") == NAMES[:5]
    assert zoo.list_models(task="photo-to-nothing") == []
    files = {(weights.file, weights.sha256) for one in registry().cards.values() for weights in one.weights.values()}
    assert len(files) == len(dict(files)), "a folder made by `zoo download --to` holds one file of a name"


def test_names_with_and_without_tag() -> None:
    two = Registry([card("x", weights={"large": FILE, "small": FILE}), card("y")])
    assert two.card("x") == (two.cards["x"], "large")
    assert two.card("x.small")[1] == "small"
    assert two.card("y") == (two.cards["y"], None)


@pytest.mark.parametrize(
    "name, told", [("cyclda", "cycleda"), ("", "cyclegan"), ("cycleda.nobody", "cufs"), ("../x", "are")]
)
def test_unknown_names(name: str, told: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        zoo.info(name) if "." not in name else registry().card(name)
    assert told in str(caught.value)


def test_two_owners_of_one_name() -> None:
    both = Registry([card("x", "zoo-a"), card("x", "zoo-b"), card("y")])
    with pytest.raises(PluginError, match="zoo-a and zoo-b"):
        both.card("x")
    assert both.card("y")
    assert len(both.problems) == 1


def test_plugins_bring_cards_and_cannot_break_the_catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    def plugin(name: str, cards: dict[str, object]) -> Plugin:
        return Plugin(name, "1", None, name, manifest=Manifest(cards=cards))  # type: ignore[arg-type]

    theirs = {key: value for key, value in FACTS.items() if key != "plugin"}
    plugins = {
        "zoo-good": plugin("zoo-good", {"x": theirs}),
        "zoo-bad": plugin("zoo-bad", {"y": {"summary": "?"}, "z": theirs}),
        "zoo-worse": Plugin("zoo-worse", "1", None, "", error="no manifest"),  # type: ignore[arg-type]
    }
    monkeypatch.setattr(module, "host", lambda: PluginHost(plugins))
    forget()
    cards = registry().cards
    assert list(cards) == [*NAMES, "x", "z"]
    assert cards["x"].plugin == "zoo-good"
    assert len(registry().problems) == 1 and "zoo-bad: card y" in registry().problems[0]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"a: {x: 1}\nb: 1\na: {x: 2}\n", "line 3: 'a' is there twice"),
        (b"a: {x: 1, x: 2}", "line 1: 'x' is there twice"),
        (b"a: [1", "line "),
        (b"a: \xff", "it is not UTF-8 text"),
        (b"a: 2026-13-45", "month must be in 1..12"),
        (b"a: !!python/object:os.system {}", "could not determine a constructor"),
        (b"[" * 10_000, ""),
    ],
)
def test_yaml_that_cannot_be_read(tmp_path: Path, text: bytes, told: str) -> None:
    (tmp_path / "x.yaml").write_bytes(text)
    with pytest.raises(ConfigError, match=r"^cannot read the card: ") as caught:
        read_yaml(tmp_path / "x.yaml", "the card")
    assert told in caught.value.message and "\n" not in caught.value.message


def test_yaml_as_people_write_it(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_bytes(b"\xef\xbb\xbfa: &a {x: 1}\nb: {<<: *a, y: 2}\n")
    assert read_yaml(tmp_path / "x.yaml") == {"a": {"x": 1}, "b": {"x": 1, "y": 2}}
    with pytest.raises(ConfigError, match=r"none\.yaml: No such file"):
        read_yaml(tmp_path / "none.yaml")


def test_the_wheel_carries_the_catalogue() -> None:
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    assert '"registry.yaml" = "zoo/registry.yaml"' in text
