"""Write into a card: the entry changes, and every other line of the YAML file stays as it is, comments and all."""

from __future__ import annotations

import copy
import importlib.metadata
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import yaml

from zoo.card import Card
from zoo.catalogue.host import host
from zoo.catalogue.manifest import CORE
from zoo.catalogue.registry import catalogue
from zoo.errors import ConfigError, UsageError
from zoo.helpers.files import atomic
from zoo.helpers.reading import read_yaml


def card_file(card: Card) -> tuple[Path, tuple[str, ...]]:
    """The file in which a card is written, and the keys under which it stands there.

    UsageError if pip owns the file: the next installation would take the change away.
    """
    path, owner = catalogue(), CORE
    keys: tuple[str, ...] = (card.name,)
    if card.name not in read_yaml(path):
        folder = host().plugins[card.plugin].folder
        assert folder is not None  # the card came from there
        path, keys, owner = folder / "zoo.yaml", ("cards", card.name), card.plugin
    if any(path.samefile(file) for file in _installed(owner) if file.name == path.name and file.exists()):
        raise UsageError(
            f"the card of {card.name} belongs to an installed wheel: {path}",
            f"install {owner} from its source: pip install -e FOLDER; or publish the folder alone, without a card",
        )
    return path, keys


def _installed(distribution: str) -> list[Path]:
    """The files that pip keeps book of; those of an editable installation lie elsewhere."""
    return [Path(str(file.locate())) for file in importlib.metadata.distribution(distribution).files or ()]


def write(path: Path, text: str) -> None:
    """The whole file at once, or the old one stays."""
    path = path.resolve()
    with atomic(path) as part:
        part.write_bytes(text.encode())
        shutil.copymode(path, part)


def with_entry(text: str, keys: Sequence[str], value: Any, behind: Collection[str] = ()) -> str:
    """The YAML ``text`` with ``value`` under ``keys``; a new key goes ``behind`` the last of these, or to the end.

    ConfigError if that would change anything else, as in an entry that two cards share.
    """
    wanted = _assigned(yaml.safe_load(text), keys, value)
    edited = _edited(text, keys, wanted, behind)
    try:
        right = yaml.safe_load(edited) == wanted
    except yaml.YAMLError:
        right = False
    if not right:
        raise ConfigError(
            f"{'.'.join(keys)} cannot be written without changing other entries", "give the card an entry of its own"
        )
    return edited


def _assigned(data: Any, keys: Sequence[str], value: Any) -> Any:
    data = copy.deepcopy(data)  # an alias gives one object to several cards
    inner = data
    for key in keys[:-1]:
        inner[key] = dict(inner.get(key) or {})
        inner = inner[key]
    inner[keys[-1]] = value
    return data


def _edited(text: str, keys: Sequence[str], wanted: Any, behind: Collection[str]) -> str:
    node, key_node = yaml.compose(text, Loader=yaml.SafeLoader), None
    for key in keys:
        if not (isinstance(node, yaml.MappingNode) and node.value and not node.flow_style):
            break  # nothing yet, or written in one line: all of it is written anew
        wanted = wanted[key]
        pairs = {k.value: (k, v) for k, v in node.value}
        if key not in pairs:
            last = [pairs[name] for name in pairs if name in behind] or [*pairs.values()]
            at = _line_end(text, _end(text, *last[-1]))
            return text[:at] + _newline(text) + _dump(text, key, wanted, node.start_mark.column, first=True) + text[at:]
        key_node, node = pairs[key]
    if key_node is None:
        raise ConfigError("the file holds no cards", "see registry.yaml of the zoo for the form")
    start, column = key_node.start_mark.index, key_node.start_mark.column
    return text[:start] + _dump(text, key_node.value, wanted, column) + text[_end(text, key_node, node) :]


def _end(text: str, key: yaml.Node, node: yaml.Node | None) -> int:
    """Where the last character of an entry stands."""
    while isinstance(node, yaml.CollectionNode) and node.value and not node.flow_style:
        last = node.value[-1]
        key, node = last if isinstance(last, tuple) else (last, last)
    assert node is not None
    if node.start_mark.index < key.start_mark.index:  # an alias: the node is where its anchor is
        return _line_end(text, key.end_mark.index)
    return len(text[: node.end_mark.index].rstrip())


def _line_end(text: str, index: int) -> int:
    end = text.find("\n", index)
    return len(text) if end < 0 else end - text[:end].endswith("\r")


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _dump(text: str, key: str, value: Any, column: int, first: bool = False) -> str:
    """``key: value`` indented for its place; ``first`` if its first line is, too."""
    lines = yaml.safe_dump({key: value}, sort_keys=False, allow_unicode=True, width=120).splitlines()
    indented = _newline(text).join(" " * column + line for line in lines)
    return indented if first else indented[column:]
