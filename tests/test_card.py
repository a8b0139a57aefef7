"""Cards say no to what they must not hold."""

from __future__ import annotations

from typing import Any

import pytest
from installed import FACTS, FILE
from pydantic import ValidationError

from zoo.card import Card, HubFile, Weights, parse_cards
from zoo.errors import NotFoundError


def card(**more: Any) -> Card:
    return Card.model_validate({"name": "x", **FACTS, **more})


def test_the_first_weights_are_the_default() -> None:
    two = card(weights={"large": FILE, "small": FILE})
    assert two.default == "large"
    assert (two.tagged("large"), two.tagged("small")) == ("x", "x.small")
    assert two.get() is two.get("large")
    with pytest.raises(NotFoundError, match=r"no weights 'smal'.*small"):
        two.get("smal")


def test_a_card_without_weights_says_so() -> None:
    with pytest.raises(NotFoundError, match="no published weights yet"):
        card().get()


@pytest.mark.parametrize(
    "file",
    [
        "../x.safetensors",
        "/x.safetensors",
        "a/b.safetensors",
        "a\\b.safetensors",
        ".x.safetensors",
        "x.pt",
        "",
        "x\n.safetensors",
    ],
)
def test_a_file_cannot_leave_its_folder(file: str) -> None:
    with pytest.raises(ValidationError):
        Weights.model_validate({**FILE, "file": file})


@pytest.mark.parametrize(
    "field, value", [("sha256", "0" * 63), ("sha256", "G" * 64), ("bytes", 0), ("url", "http://x")]
)
def test_weights_need_an_identity(field: str, value: object) -> None:
    with pytest.raises(ValidationError):
        Weights.model_validate({**FILE, field: value})


@pytest.mark.parametrize(
    "repo, revision",
    [("a/b", "main"), ("a/b", "v1"), ("a/b", "a" * 39), ("../b", "a" * 40), ("a/b/c", "a" * 40), ("b", "a" * 40)],
)
def test_only_a_full_commit_pins_a_repository(repo: str, revision: str) -> None:
    assert HubFile(repo="a/b", revision="a" * 40)
    with pytest.raises(ValidationError):
        HubFile(repo=repo, revision=revision)


@pytest.mark.parametrize("text", ["", "  ", "two\nlines", "\x1b[31mred"])
def test_text_is_one_line_fit_for_a_terminal(text: str) -> None:
    with pytest.raises(ValidationError):
        card(summary=text)


def test_a_bad_card_leaves_the_others() -> None:
    raw = {"good": FACTS, "bad": {**FACTS, "licence": {}}, "Odd": FACTS, "list": []}
    cards, errors = parse_cards(raw, "cards.yaml")
    assert [one.name for one in cards] == ["good"]
    assert [str(error).partition(": ")[2].partition(":")[0] for error in errors] == [
        "card bad",
        "card Odd",
        "card list",
    ]
    assert "licence.code" in str(errors[0])


def test_cards_of_a_plugin_are_its_own() -> None:
    theirs = {key: value for key, value in FACTS.items() if key != "plugin"}
    cards, errors = parse_cards({"a": theirs, "b": {**FACTS, "plugin": "zoo-y"}}, "zoo.yaml", "zoo-x")
    assert [(one.name, one.plugin) for one in cards] == [("a", "zoo-x")]
    assert "belongs to zoo-y" in str(errors[0])
    assert parse_cards([], "zoo.yaml", "zoo-x")[1]
