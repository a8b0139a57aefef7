"""``zoo new`` writes a whole plugin, or one line of what is wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from training import environment, pictures

from zoo.errors import UsageError
from zoo.testing.scaffold import TEMPLATE, make


def zoo(*words: str | Path, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "zoo", *map(str, words)]
    return subprocess.run(command, cwd=cwd, env=environment(**more), capture_output=True, text=True, timeout=300)


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
    assert len(written) == len([path for path in TEMPLATE.rglob("*") if path.is_file() and path.suffix != ".pyc"])
    assert not [path for path in written if "example" in str(path.relative_to(folder)) + path.read_text().lower()]


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
    states = json.loads(zoo("plugins", "--check", "--json", cwd=tmp_path, PYTHONPATH=path).stdout)
    assert {state["name"]: state["state"] for state in states}["zoo-my-plugin"] == "works"
    for name in ("photos", "drawings"):
        pictures(tmp_path / name, 2)
    folders = ["--photos", "photos", "--drawings", "drawings", "--device", "cpu"]
    done = zoo("train", "my-plugin", *folders, "--steps", "2", "--log-every", "1", cwd=tmp_path, PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "runs/my-plugin/log.jsonl").read_text().splitlines()) == 2
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"]
    kit = subprocess.run(
        words, cwd=project, env=environment(PYTHONPATH=path), capture_output=True, text=True, timeout=600
    )
    assert kit.returncode == 0, kit.stdout
    assert " failed" not in kit.stdout and "test_sizes" not in kit.stdout
