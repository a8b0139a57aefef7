"""YAML files that people write: plain data, no name twice, and one line for whatever is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from zoo.errors import ConfigError


def read_yaml(path: Path, what: str = "") -> Any:
    """The data in a YAML file. ConfigError calls it ``what``, if that tells more, and names line and cause."""
    try:
        return yaml.load(path.read_text(encoding="utf-8-sig"), Loader=_UniqueKeys)
    except OSError as exc:
        cause = exc.strerror or type(exc).__name__
    except UnicodeDecodeError:
        cause = "it is not UTF-8 text"
    except yaml.MarkedYAMLError as exc:
        cause = f"{exc.problem or exc.context}"
        if mark := exc.problem_mark or exc.context_mark:
            cause = f"line {mark.line + 1}: {cause}"
    except (yaml.YAMLError, ValueError, RecursionError) as exc:  # an impossible date, a thousand brackets
        cause = (str(exc).splitlines() or [type(exc).__name__])[0]
    raise ConfigError(f"cannot read {what or path}: {cause}", "correct the file")


class _UniqueKeys(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Safe YAML in which a second entry of one name is an error, not a silent replacement."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: list[Any] = []
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} is there twice", key_node.start_mark)
            seen.append(key)
        return super().construct_mapping(node, deep)
