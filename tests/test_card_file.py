"""An entry is written into a YAML file, and nothing else in it changes."""

from __future__ import annotations

import difflib
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.catalogue.registry import catalogue
from zoo.errors import ConfigError
from zoo.publish.card_file import with_entry, write

HUB = {"repo": "me/mine", "revision": "7" * 40}
KEYS = ("model", "weights", "v1", "hub")


def changed(before: str, after: str) -> tuple[list[str], list[str]]:
    """The lines that went, and those that came."""
    lines = [*difflib.ndiff(before.splitlines(), after.splitlines())]
    return [line[2:] for line in lines if line[0] == "-"], [line[2:] for line in lines if line[0] == "+"]


COMES = ["      hub:", "        repo: me/mine", f"        revision: '{'7' * 40}'"]


@pytest.mark.parametrize(
    "text",
    [
        "model:\n  weights:\n    v1:\n      file: a  # of mine\n",
        "model:\n  weights:\n    v1:\n      file: a",
        "# head\nmodel:\n  weights:\n    v1:\n      file: a\n      notes: |\n        two\n        lines\n\n# foot\nother: {x: 1}\n",
        "model:\n  weights:\n    v1:\n      file: a\n      list:\n      - one\n      - long: 'quoted\n          text'\n    v2: {}\n",
        "﻿model:\n  weights:\n    v1:\n      file: 重み # é\n\n\n  last: 1\n",
        "a: &x {b: 1}\nmodel:\n  weights:\n    v1:\n      file: a\n      trained: *x   # shared\nz: *x\n",
    ],
)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_new_entry_adds_its_lines_alone(text: str, newline: str) -> None:
    text = text.replace("\n", newline)
    after = with_entry(text, KEYS, HUB)
    gone, come = changed(text, after)
    assert (gone, come) == ([], COMES)
    assert after.count("\n") - after.count(newline) == 0
    assert yaml.safe_load(after)["model"]["weights"]["v1"]["hub"] == HUB


def test_a_place_behind_others() -> None:
    text = "model:\n  weights:\n    v1:\n      file: a\n      bytes: 1\n      metrics: []\n"
    lines = with_entry(text, KEYS, HUB, behind=("file", "bytes")).splitlines()
    assert lines[lines.index("      bytes: 1") + 1] == "      hub:" and lines[-1] == "      metrics: []"


def test_an_entry_is_replaced_where_it_stands() -> None:
    text = "\n".join(["model:", "  weights:", "    v1:", *COMES, "      file: a  # of mine\n"])
    after = with_entry(text, KEYS, {**HUB, "repo": "me/other"})
    assert changed(text, after) == (["        repo: me/mine"], ["        repo: me/other"])
    assert with_entry(text, KEYS, HUB) == text


@pytest.mark.parametrize(
    "weights", ["weights: {}   # not yet", "weights:", "weights: null", "weights: {v0: {file: b}}"]
)
def test_what_is_empty_or_in_one_line_is_written_anew(weights: str) -> None:
    text = f"# head\nmodel:\n  task: x\n  {weights}\nother: 1  # foot\n"
    after = with_entry(text, ("model", "weights", "v1"), {"file": "a"})
    data = yaml.safe_load(after)
    assert data["model"]["weights"]["v1"] == {"file": "a"} and data["other"] == 1
    assert data["model"]["weights"].keys() == {*(["v0"] if "v0" in weights else []), "v1"}
    assert after.startswith("# head\nmodel:\n  task: x\n  weights:\n") and after.endswith("other: 1  # foot\n")
    assert ("not yet" in after) == ("not yet" in weights)


def test_weights_that_are_not_mentioned() -> None:
    text = "model:\n  task: x\nother: 1\n"
    assert yaml.safe_load(with_entry(text, KEYS, HUB)) == {
        "model": {"task": "x", "weights": {"v1": {"hub": HUB}}},
        "other": 1,
    }


@pytest.mark.parametrize(
    "text",
    [
        "model: &m\n  weights:\n    v1:\n      file: a\nother: *m\n",
        "base: &w\n  v1:\n    file: a\nmodel:\n  weights: *w\n",
    ],
)
def test_an_entry_that_two_cards_share_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"model\.weights\.v1\.hub cannot be written without changing other entries"):
        with_entry(text, KEYS, HUB)


def test_every_card_of_the_catalogue() -> None:
    text = catalogue().read_text(encoding="utf-8")
    for name, facts in [*yaml.safe_load(text).items()][::3]:
        for keys in ((name, "weights", "new"), (name, "summary")):
            after = with_entry(text, keys, "changed")
            gone, come = changed(text, after)
            first = keys[-1] == "new" and not facts["weights"]  # `weights: {}` becomes a block
            assert (len(gone), len(come)) == ((1, 2) if first else (0, 1) if keys[-1] == "new" else (1, 1))


WORDS = st.sampled_from(["a", "b", "model", "weights", "two words", "ü: x", "- 1", "'", "0x10", "no"])
TEXTS = st.one_of(WORDS, st.sampled_from(["", "multi\nline\n", "\n\n", "  x", "long " * 40]))
TREES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.integers(), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(WORDS, inner, max_size=3)),
    max_leaves=12,
)


@settings(deadline=None)
@given(st.dictionaries(WORDS, TREES, min_size=1), st.lists(WORDS, min_size=1, max_size=3), st.booleans())
def test_any_file_is_changed_in_one_place_or_refused(tree: dict[str, Any], keys: list[str], flow: bool) -> None:
    text = yaml.safe_dump(tree, default_flow_style=flow or None, allow_unicode=True)
    wanted: Any = yaml.safe_load(text)
    inner = wanted
    for key in keys[:-1]:
        if not isinstance(inner.get(key), dict):
            if inner.get(key):
                return  # a value is in the way: not a card
            inner[key] = {}
        inner = inner[key]
    inner[keys[-1]] = HUB
    try:
        assert yaml.safe_load(with_entry(text, keys, HUB)) == wanted
    except ConfigError:
        assert flow or text.startswith("{")


def test_the_file_keeps_its_rights_and_its_link(tmp_path: Path) -> None:
    real, link = tmp_path / "real.yaml", tmp_path / "link.yaml"
    real.write_text("old")
    real.chmod(0o640)
    link.symlink_to(real)
    write(link, "new ü\r\n")
    assert real.read_bytes() == "new ü\r\n".encode() and link.is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert {path.name for path in tmp_path.iterdir()} == {"real.yaml", "link.yaml"}
