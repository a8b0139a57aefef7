"""The plugin host: nothing is imported before it is needed, and a fault stays inside its plugin."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import forget

from zoo.errors import NotFoundError, PluginError
from zoo.generator import build_generator
from zoo.plugins import host
from zoo.recipe import load_recipe

Make = Callable[..., Path]

GENERATOR = """
from torch import nn
from zoo import Generator, hookimpl

class Plain(Generator):
    def __init__(self, block, depth=1):
        super().__init__()
        self.body = nn.Sequential(*(block(3) for _ in range(depth)))

    def parts(self, image):
        return {"image": self.body(image)}

@hookimpl
def zoo_register(register):
    register.generator("plain", Plain)
"""
BLOCK = """
from torch import nn
from zoo import hookimpl

@hookimpl
def zoo_register(register):
    register.block("one", lambda channels, kernel=1: nn.Conv2d(channels, channels, kernel))
"""
BAD = "raise SystemError('the plugin was imported')"


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """``make(name, code, manifest, recipes)`` installs the distribution ``zoo-<name>`` for one test."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    made: list[str] = []

    def install(
        name: str,
        code: str = BLOCK,
        manifest: str | None = "parts: {block: [one]}",
        recipes: dict[str, str] | None = None,
    ) -> Path:
        package, facts = site / f"zoo_{name}", site / f"zoo_{name}-1.0.dist-info"
        (package / "recipes").mkdir(parents=True)
        facts.mkdir()
        (package / "__init__.py").write_text("")
        (package / "plugin.py").write_text(code)
        if manifest is not None:
            (package / "zoo.yaml").write_text(manifest)
        for recipe, text in (recipes or {}).items():
            (package / "recipes" / f"{recipe}.yaml").write_text(text)
        (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: zoo-{name}\nVersion: 1.0\n")
        (facts / "entry_points.txt").write_text(f"[zoo]\n{name} = zoo_{name}.plugin\n")
        made.append(f"zoo_{name}")
        forget()
        return package

    yield install
    for name in [module for module in sys.modules if module.partition(".")[0] in made]:
        del sys.modules[name]


def test_a_recipe_of_one_plugin_uses_a_part_of_another(make: Make) -> None:
    recipe = "generator: {name: plain, depth: 2, block: {name: one, kernel: 1}}\ntrainer: {name: cycle}\nlosses: {}\n"
    make("first", GENERATOR, "parts: {generator: [plain]}", {"mixed": recipe})
    make("second")
    make("third", BAD, "parts: {block: [other]}")
    loaded = load_recipe("mixed")
    assert loaded.plugin == "zoo-first"
    assert ("block", "one", "zoo-second") in [(p.kind, p.name, p.owner) for p in host().parts()]
    assert not {"zoo_first", "zoo_second", "zoo_third"} & sys.modules.keys()  # a list imports nothing
    generator = build_generator(loaded.network())
    assert len(generator.body) == 2
    assert "zoo_second.plugin" in sys.modules and "zoo_third" not in sys.modules  # the owners alone


@pytest.mark.parametrize(
    ("code", "manifest", "why"),
    [
        (BAD, "parts: {block: [one]}", "SystemError: the plugin was imported"),
        ("import nothing_of_this_name", "parts: {block: [one]}", "ModuleNotFoundError: No module named"),
        ("def broken(:", "parts: {block: [one]}", "SyntaxError"),
        ("import sys; sys.exit(3)", "parts: {block: [one]}", "SystemExit: 3"),
        (
            BLOCK + "    register.block('two', 5)",
            "parts: {block: [one, two]}",
            "block 'two' is not a class or function",
        ),
        (BLOCK + "    1 / 0", "parts: {block: [one]}", "ZeroDivisionError"),
        (BLOCK + "    register.block('one', list)", "parts: {block: [one]}", "block 'one' is registered twice"),
        (BLOCK, "parts: {block: [one, two]}", "block 'two' is declared in zoo.yaml but not registered"),
        (BLOCK + "    register.loss('l', list)", "parts: {block: [one]}", "loss 'l' is not in zoo.yaml"),
        (BLOCK + "    register.blok('l', list)", "parts: {block: [one]}", "AttributeError"),
        (BLOCK.replace("zoo_register", "zoo_registr"), "parts: {block: [one]}", "unknown hook 'zoo_registr'"),
        (BLOCK, "requires_core: '>=9'\nparts: {block: [one]}", "needs zoo-core >=9, but"),
    ],
)
def test_a_fault_stays_inside_its_plugin(make: Make, code: str, manifest: str, why: str) -> None:
    make("faulty", code, manifest)
    make("sound", BLOCK.replace('"one"', '"sound"'), "parts: {block: [sound]}")
    for _ in range(2):  # the second time as the first
        with pytest.raises(PluginError, match=r"^plugin zoo-faulty 1\.0 cannot be used: ") as caught:
            host().part("block", "one")
        assert why in caught.value.message and "\n" not in caught.value.message
        assert "ZOO_PLUGINS" in caught.value.hint
    assert why in host().faults["zoo-faulty"]
    with pytest.raises(PluginError):
        host().load("zoo-faulty")
    assert callable(host().part("block", "sound")) and callable(host().part("block", "residual"))
    assert host().faults.keys() == {"zoo-faulty"}


@pytest.mark.parametrize(
    ("manifest", "why"),
    [
        (None, "zoo_faulty has no zoo.yaml"),
        ("parts: {block: [one", "ParserError"),
        ("parts: {blok: [one]}", "unknown kind of part 'blok': did you mean block?"),
        ("part: {block: [one]}", "part: Extra inputs are not permitted"),
        ("parts: 5", "parts: Input should be a valid dictionary"),
        ("requires_core: new", "'new' is not a version range"),
        ("- 1", "valid dictionary"),
    ],
)
def test_a_manifest_that_cannot_be_read(make: Make, manifest: str | None, why: str) -> None:
    make("faulty", BLOCK, manifest)
    assert why in host().plugins["zoo-faulty"].error
    with pytest.raises(PluginError, match=r"zoo-faulty 1\.0 cannot be used"):
        host().load("zoo-faulty")
    with pytest.raises(NotFoundError, match="block 'one'") as caught:
        host().part("block", "one")
    assert "zoo-faulty" in caught.value.hint  # it may be the one that has it
    assert callable(host().part("block", "residual"))


def test_a_plugin_without_its_package_or_its_name(make: Make) -> None:
    package = make("gone")
    for file in sorted(package.rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    package.rmdir()
    ruin = make("ruin").parent / "zoo_ruin-1.0.dist-info" / "METADATA"
    ruin.unlink()
    forget()
    assert "zoo_gone is not an importable package" in host().plugins["zoo-gone"].error
    assert callable(host().part("block", "residual"))


def test_a_name_with_two_owners(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    make("first", recipes={"same": "extends: cycleda"})
    make("second", recipes={"same": "extends: cyclese"})
    with pytest.raises(PluginError, match="block 'one' is owned by both zoo-first and zoo-second"):
        host().part("block", "one")
    with pytest.raises(PluginError, match="recipe 'same' is owned by both zoo-first and zoo-second") as caught:
        load_recipe("same")
    assert "ZOO_PLUGINS=" in caught.value.hint
    assert callable(host().part("block", "dual-attention"))
    monkeypatch.setenv("ZOO_PLUGINS", " zoo-second , zoo-cycleda")
    forget()
    assert load_recipe("same").generator["block"] == "squeeze-excitation"


def test_the_allow_list(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    make("first")
    monkeypatch.setenv("ZOO_PLUGINS", "")
    forget()
    assert set(host().plugins) == {"zoo-core"}
    monkeypatch.setenv("ZOO_PLUGINS", "zoo-first")
    forget()
    assert set(host().plugins) == {"zoo-core", "zoo-first"}
    with pytest.raises(NotFoundError, match="plugin 'zoo-cycleda' is not installed") as caught:
        host().load("zoo-cycleda")
    assert caught.value.hint == "pip install zoo-cycleda"
    with pytest.raises(NotFoundError, match="no installed plugin brings the block 'dual-attention'"):
        host().part("block", "dual-attention")


def test_the_catalogue_needs_no_torch_and_no_plugin_code(make: Make) -> None:
    make("loud", BAD, "parts: {block: [loud]}")
    code = (
        "import sys; from zoo.plugins import host; from zoo.recipe import load_recipe; host().parts();"
        "load_recipe('cycleda'); heavy = {'torch', 'numpy', 'PIL', 'zoo_cycleda', 'zoo_loud'} & sys.modules.keys();"
        "sys.exit(repr(heavy) if heavy else 0)"
    )
    path = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
