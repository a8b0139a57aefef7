"""``zoo new`` writes a whole plugin, or one line of what is wrong."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import forks
import pytest
import yaml
from conftest import forget
from installed import announce
from training import environment, pictures

from zoo.catalogue.host import host
from zoo.errors import UsageError
from zoo.recipe import load_recipe
from zoo.testing.scaffold import TEMPLATE, WHOLE, _files, make

BARE = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # who writes a plugin has pytest; others' plugins for it take their time


def zoo(*words: str | Path, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    return forks.run("-m", "zoo", *words, cwd=cwd, env=environment(**more))


def test_the_name_is_everywhere(tmp_path: Path) -> None:
    folder = make("zoo-two-words", tmp_path / "deep" / "folder")
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["name"] == "zoo-two-words"
    assert project["entry-points"]["zoo"] == {"two-words": "zoo_two_words.plugin"}
    manifest = yaml.safe_load((folder / "src/zoo_two_words/zoo.yaml").read_text())
    assert manifest["parts"]["block"] == ["two-words-gate"]
    assert (folder / "src/zoo_two_words/recipes/two-words.yaml").is_file()
    assert "class TestTwoWords(PluginContract):" in (folder / "tests/test_contract.py").read_text()
    written = [path for path in folder.rglob("*") if path.is_file()]
    template = [path for path in TEMPLATE.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert len(written) == len([path for path in template if "only" not in path.parts])
    assert not [path for path in written if "example" in str(path.relative_to(folder)) + path.read_text().lower()]


def test_a_whole_model_is_the_template_as_it_stands() -> None:
    """What is left out of smaller plugins is written down apart: both must say the same of a whole one."""
    for path, text in _files(WHOLE):
        assert text == (TEMPLATE / path).read_text(encoding="utf-8"), path


@pytest.mark.parametrize(
    "brings", [["block"], ["loss"], ["provider"], ["generator"], ["trainer"], ["loss", "provider"]]
)
def test_a_plugin_of_single_parts(brings: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It registers what it says, speaks of nothing else, and the commands of its README use parts that it has."""
    folder = make("few", tmp_path / "zoo-few", brings)
    source = folder / "src"
    announce(source, "few")
    monkeypatch.syspath_prepend(str(source))
    forget()
    try:
        host().load("zoo-few")
        found = {part.kind for part in host().parts() if part.owner == "zoo-few"}
        assert found - {"recipe"} == set(brings)
        assert ("recipe" in found) == bool({"generator", "trainer"} & set(brings))
        if "recipe" in found:
            recipe = load_recipe("few", tiny=True)
            assert bool(recipe.losses) == ("trainer" in brings)
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "zoo_few"]:
            del sys.modules[name]
    readme = (folder / "README.md").read_text(encoding="utf-8")
    for module in re.findall(r"`src/zoo_few/(\w+)\.py`", readme):
        assert (source / f"zoo_few/{module}.py").is_file()
    assert "example" not in readme and ("few-gate" in readme) == ("block" in brings)
    needs = tomllib.loads((folder / "pyproject.toml").read_text())["project"]["dependencies"]
    assert any(one.startswith("zoo-cycleda") for one in needs) == (brings == ["trainer"])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["block", "loss", "provider", "generator", "trainer"])
def test_each_kind_of_template_passes_the_kit(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = make("few", tmp_path / "zoo-few", [kind])
    announce(project / "src", "few")
    path = os.pathsep.join([str(project / "src"), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    apart = "not leaves_no_trace"  # of an import: a whole plugin's is looked at below
    words = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow", "-W", "error", "-k", apart)
    done = forks.run(*words, cwd=project, env=environment(PYTHONPATH=path, **BARE))
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


@pytest.mark.parametrize("brings", ["blocks", "metric"])
def test_what_no_template_has(brings: str, tmp_path: Path) -> None:
    done = zoo("new", "mine", "--brings", brings, cwd=tmp_path)
    assert done.returncode == 2 and f"a plugin cannot bring a '{brings}'" in done.stderr
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("name", ["", "zoo-", "My-Plugin", "my_plugin", "-x", "x-", "1st", "a/b", "..", "é", "x" * 41])
def test_a_name_that_no_package_can_have(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be a plugin's name"):
        make(name, tmp_path / "out")
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("name", ["core", "zoo-core", "cycleda", "cyclegan", "resnet", "patchgan"])
def test_a_name_that_is_taken(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="already"):
        make(name, tmp_path / "out")
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_nothing_is_overwritten(kind: str, tmp_path: Path) -> None:
    out = tmp_path / "zoo-mine"
    out.mkdir() if kind == "folder" else out.write_text("") if kind == "file" else out.symlink_to("nowhere")
    done = zoo("new", "mine", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == "zoo: zoo-mine exists already"
    assert [path.name for path in tmp_path.iterdir()] == ["zoo-mine"]
    assert not done.stdout


def test_half_a_plugin_does_not_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("zoo.testing.scaffold._renamed", full)
    with pytest.raises(OSError, match="No space"):
        make("mine", tmp_path / "out")
    assert not [*tmp_path.iterdir()]


@pytest.mark.slow
def test_it_installs_trains_and_passes_its_own_tests(tmp_path: Path) -> None:
    done = zoo("new", "my-plugin", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "zoo-my-plugin\n")
    site, project = tmp_path / "site", tmp_path / "zoo-my-plugin"
    pip = [sys.executable, "-m", "pip", "install", "--no-index", "--no-deps", "--no-build-isolation", "--target", site]
    subprocess.run([*map(str, pip), str(project)], check=True, capture_output=True, cwd=tmp_path)
    path = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    alone = {"PYTHONPATH": path, "ZOO_PLUGINS": "zoo-my-plugin"}
    states = json.loads(zoo("plugins", "--check", "--json", cwd=tmp_path, **alone).stdout)
    assert {state["name"]: state["state"] for state in states}["zoo-my-plugin"] == "works"
    for name in ("photos", "drawings"):
        pictures(tmp_path / name, 2)
    folders = ["--photos", "photos", "--drawings", "drawings", "--device", "cpu"]
    done = zoo("train", "my-plugin", *folders, "--steps", "2", "--log-every", "1", cwd=tmp_path, PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "runs/my-plugin/log.jsonl").read_text().splitlines()) == 2
    words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "-k", "no_trace or declares or documents"]
    kit = forks.run(*words, cwd=project, env=environment(PYTHONPATH=path, **BARE))  # tests/test_kit.py runs all of it
    assert kit.returncode == 0, kit.stdout
    assert "4 passed" in kit.stdout
