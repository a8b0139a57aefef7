"""The plugin host: nothing is imported before it is needed, and a fault stays inside its plugin."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import forget
from installed import announce

from zoo.catalogue.host import host
from zoo.errors import NotFoundError, PluginError
from zoo.generator import build_generator
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
        package = site / f"zoo_{name}"
        (package / "recipes").mkdir(parents=True)
        (package / "__init__.py").write_text("")
        (package / "plugin.py").write_text(code)
        if manifest is not None:
            (package / "zoo.yaml").write_text(manifest)
        for recipe, text in (recipes or {}).items():
            (package / "recipes" / f"{recipe}.yaml").write_text(text)
        announce(site, name)
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


def test_the_ruin_of_a_plugin(make: Make) -> None:
    """What an interrupted uninstall leaves, and metadata that nobody can read, are no plugins."""
    facts = make("ruin").parent / "zoo_ruin-1.0.dist-info"
    (facts / "METADATA").unlink()
    (make("blot").parent / "zoo_blot-1.0.dist-info" / "METADATA").write_bytes(b"Name: \xff\xfe")
    (make("garble").parent / "zoo_garble-1.0.dist-info" / "entry_points.txt").write_bytes(b"[zoo\n\xff = = =")
    forget()
    assert not {"zoo-ruin", "zoo-garble"} & host().plugins.keys()
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
        "import sys; from zoo.catalogue.host import host; from zoo.recipe import load_recipe; host().parts();"
        "load_recipe('cycleda'); heavy = {'torch', 'numpy', 'PIL', 'zoo_cycleda', 'zoo_loud'} & sys.modules.keys();"
        "sys.exit(repr(heavy) if heavy else 0)"
    )
    path = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
