"""The house: arrows point down, and no two modules import each other, wherever the import stands."""

from __future__ import annotations

import ast
import graphlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import zoo

ROOT = Path(zoo.__file__).parent

FLOORS = (
    ("errors", "progress", "helpers"),
    ("machine",),
    ("card", "control"),
    ("catalogue",),
    ("weights",),
    ("recipe", "loss", "vocabulary"),
    ("generator",),
    ("blocks", "losses"),
    ("pictures",),
    ("trainer", "provider", "translator"),
    ("loading", "faces"),
    ("evaluate", "survey", "bulk", "providers"),
    ("publish",),
    ("train", "export", "page"),
    ("testing", "doctor"),
    ("parts",),
    ("cli",),
)
"""From the ground up. A room may look into those below it, and into those beside it on its floor."""


def modules() -> dict[str, Path]:
    paths = [path for path in ROOT.rglob("*.py") if "template" not in path.parts]
    return {".".join(("zoo", *path.relative_to(ROOT).with_suffix("").parts)): path for path in paths}


MODULES = modules()


def imported(path: Path) -> Iterator[str]:
    """The modules of the zoo that a file imports, at its top, within functions, or for types alone."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "zoo":
            for alias in node.names:
                names = (f"{node.module}.{alias.name}", f"{node.module}", f"{node.module}.__init__")
                yield from (name for name in names[:1] if name in MODULES)
                if names[0] not in MODULES:
                    yield from (name for name in names[1:] if name in MODULES)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)


def floor(module: str) -> int:
    room = module.split(".")[1]
    return next(number for number, rooms in enumerate(FLOORS) if room in rooms)


DOORS = ("zoo.__init__", "zoo.__main__")  # they open onto everything
TRAIN_DATA = ("zoo.train.data", "zoo.train.augment")  # what trainers, on a floor below, ask for their pictures


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_looks_down(module: str) -> None:
    if module in DOORS:
        return
    up = [
        other
        for other in imported(MODULES[module])
        if other not in DOORS and floor(other) > floor(module) and other not in TRAIN_DATA
    ]
    assert not up, f"{module} imports {', '.join(up)}, which are on higher floors"


def test_no_modules_import_each_other() -> None:
    graph = {module: {*imported(path)} - {module} for module, path in MODULES.items() if module not in DOORS}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_the_top_level_shows_what_the_project_is_about() -> None:
    files = {path.stem for path in ROOT.glob("*.py")} - {"__init__", "__main__"}
    rooms = {path.name for path in ROOT.iterdir() if (path / "__init__.py").is_file()}
    assert files | rooms == {room for rooms in FLOORS for room in rooms}


@pytest.mark.parametrize("room", sorted(path.parent.name for path in ROOT.glob("*/__init__.py")))
def test_a_room_says_what_it_holds(room: str) -> None:
    tree = ast.parse((ROOT / room / "__init__.py").read_text(encoding="utf-8"))
    assert ast.get_docstring(tree)


# -- what plugins may import --------------------------------------------------------------------------------------

PROJECT = ROOT.parent
PLUGINS = [*PROJECT.glob("plugins/*/src/*/*.py"), *(ROOT / "testing/template/src").rglob("*.py")]


def public() -> set[str]:
    """The modules that docs/plugins.md lists."""
    told = (PROJECT / "docs/plugins.md").read_text(encoding="utf-8").partition("## What a plugin may import\n")[2]
    return set(re.findall(r"^\| `(zoo[\w.]*)` \|", told.partition("\n## ")[0], re.M))


@pytest.mark.parametrize("path", PLUGINS, ids=lambda path: f"{path.parent.name}.{path.stem}")
def test_a_plugin_imports_what_is_public(path: Path) -> None:
    used = {module.removesuffix(".__init__") for module in imported(path)}
    assert not used - public(), f"docs/plugins.md does not list {', '.join(sorted(used - public()))}"


def test_what_is_public_is_there() -> None:
    assert public() <= {module.removesuffix(".__init__") for module in MODULES}
