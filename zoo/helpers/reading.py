"""Small files that people write: plain data, no name twice, and one line for whatever is wrong with them.

A file of a few bytes can ask for gigabytes: nested aliases, a pipe that never ends. Each kind of it has its limit here.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any, TextIO

import yaml

from zoo.errors import ConfigError, describe

LARGEST = 1 << 20  # bytes
NODES = 100_000  # of a file's data, each alias counted as what it stands for
DIGITS = 400  # of a number


def _open_regular(path: str, flags: int) -> int:
    """As ``os.open``. ValueError for what is no regular file, such as a pipe that nobody writes to."""
    handle = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise ValueError("it is not a file")
    return handle


def open_table(path: Path) -> TextIO:
    """A CSV file, opened to be read line by line. ValueError for what is no regular file, or later no UTF-8 text."""
    return open(path, encoding="utf-8-sig", newline="", opener=_open_regular)


def read_small(path: Path, largest: int = LARGEST) -> bytes:
    """All of a regular file. ValueError for anything else, and for a larger one."""
    with open(path, "rb", opener=_open_regular) as file:
        content = file.read(largest + 1)
    if len(content) > largest:
        raise ValueError(f"it has more than {largest} bytes")
    return content


def read_yaml(path: Path, what: str = "") -> Any:
    """The data in a YAML file. ConfigError calls it ``what``, if that tells more, and names line and cause."""
    try:
        return parse_yaml(read_small(path).decode("utf-8-sig"))
    except OSError as exc:
        cause = exc.strerror or type(exc).__name__
    except UnicodeDecodeError:
        cause = "it is not UTF-8 text"
    except ValueError as exc:
        cause = str(exc)
    raise ConfigError(f"cannot read {what or path}: {cause}", "correct the file")


def parse_yaml(text: str) -> Any:
    """The data of a YAML text. ValueError says in one line what is wrong with it."""
    try:
        return yaml.load(text, Loader=_Careful)
    except yaml.MarkedYAMLError as exc:
        cause = f"{exc.problem or exc.context}"
        mark = exc.problem_mark or exc.context_mark
        raise ValueError(f"line {mark.line + 1}: {cause}" if mark else cause) from exc
    except (
        yaml.YAMLError,
        ValueError,
        RecursionError,
        OverflowError,
    ) as exc:  # an impossible date, a thousand brackets
        raise ValueError((str(exc).splitlines() or [describe(exc)])[0]) from exc


class _Careful(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Safe YAML in which a second entry of one name is an error, and data has a size."""

    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        if node is not None:
            _count(node, {})
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            try:
                if key in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"{key!r} is there twice", key_node.start_mark)
                seen.add(key)
            except TypeError:  # a list: the parser itself says that it cannot be a name
                break
        return super().construct_mapping(node, deep)


def _count(node: yaml.Node, counted: dict[int, int]) -> int:
    """How many nodes there are in ``node``, aliases written out. ValueError if they are too many, or never end."""
    if (known := counted.get(id(node))) is not None:
        if not known:
            raise yaml.MarkedYAMLError(problem="it holds itself", problem_mark=node.start_mark)
        return known
    counted[id(node)] = 0
    size = 1
    if isinstance(node, yaml.ScalarNode):
        if len(node.value) > DIGITS and node.tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float"):
            raise yaml.MarkedYAMLError(problem="a number of so many digits", problem_mark=node.start_mark)
    else:
        for item in node.value:
            size += sum(_count(one, counted) for one in (item if isinstance(item, tuple) else (item,)))
            if size > NODES:
                raise yaml.MarkedYAMLError(
                    problem=f"more than {NODES} values, aliases counted as often as they stand",
                    problem_mark=node.start_mark,
                )
    counted[id(node)] = size
    return size
