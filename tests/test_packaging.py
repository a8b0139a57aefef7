"""The wheels hold what they need and nothing else, and work from any folder."""

from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path

import forks
import pytest
from PIL import Image

from zoo.catalogue.registry import registry
from zoo.testing import wheel

ROOT = Path(__file__).parents[1]
PLUGINS = ("animeface", "cycleda", "expression", "facefusion", "partstyle")
PROJECTS = {"zoo_core": ROOT, **{f"zoo_{name}": ROOT / f"plugins/zoo-{name}" for name in PLUGINS}}
PACKAGES = {"zoo_core": ROOT / "zoo"}
PACKAGES |= {f"zoo_{name}": ROOT / f"plugins/zoo-{name}/src/zoo_{name}" for name in PLUGINS}

pytestmark = pytest.mark.slow


def run(*words: str | Path, cwd: Path, **environment: str) -> str:
    done = forks.run("-m", *words, cwd=cwd, env=os.environ | environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("wheels")
    return {name: wheel.build(project, folder / name) for name, project in PROJECTS.items()}


@pytest.fixture(scope="module")
def site(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both wheels, installed into a folder of their own."""
    folder = tmp_path_factory.mktemp("site")
    run("pip", "install", "--no-index", "--no-deps", "--no-compile", "--target", folder, *wheels.values(), cwd=folder)
    return folder


@pytest.mark.parametrize("name", PROJECTS)
def test_a_wheel_holds_its_package_and_nothing_else(name: str, wheels: dict[str, Path]) -> None:
    package = PACKAGES[name]
    wanted = wheel.files(package)
    wanted |= {"zoo/registry.yaml"} if name == "zoo_core" else set()
    assert {f"{package.name}/zoo.yaml", f"{package.name}/py.typed"} <= wanted
    held = wheel.content(wheels[name])
    assert {file for file in held if ".dist-info/" not in file} == wanted
    assert any(file.endswith("/LICENSE") for file in wheel.licences(wheels[name]))
    assert wheels[name].stat().st_size < wheel.LARGEST


@pytest.mark.parametrize("name", PROJECTS)
def test_a_source_archive_makes_the_same_wheel(name: str, wheels: dict[str, Path], tmp_path: Path) -> None:
    run("hatchling", "build", "-t", "sdist", "-d", tmp_path, cwd=PROJECTS[name])
    (path,) = tmp_path.iterdir()
    with tarfile.open(path) as archive:
        archive.extractall(tmp_path, filter="data")
    made = wheel.build(tmp_path / path.name.removesuffix(".tar.gz"), tmp_path / "wheel")
    assert wheel.content(made) == wheel.content(wheels[name])


def test_the_catalogue_of_the_wheels(site: Path, tmp_path: Path) -> None:
    code = "import sys, zoo, zoo.cli; print(zoo.__file__); zoo.cli.main(sys.argv[1:])"
    told = forks.run("-c", code, "list", "--json", cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(site)}).stdout
    where, _, listed = told.partition("\n")
    assert Path(where).is_relative_to(site)
    cards = {card["name"]: card for card in json.loads(listed)}
    assert cards.keys() == registry().cards.keys()
    for card in cards.values():
        assert card["installed"] or card["plugin"] != "zoo-cycleda"
        assert all(weights["where"] == "bundled" for weights in card["weights"].values() if weights["bundled"])
    plugins = json.loads(run("zoo", "plugins", "--check", "--json", cwd=tmp_path, PYTHONPATH=str(site)))
    assert {plugin["name"]: plugin["state"] for plugin in plugins}["zoo-cycleda"] == "works"


def test_a_picture_with_the_weights_of_the_wheel(site: Path, tmp_path: Path) -> None:
    with Image.open(ROOT / "docs/sample/eileen-collins.jpg") as sample:
        sample.resize((64, 64)).save(tmp_path / "me.jpg")
    run("zoo", "translate", "cycleda", "me.jpg", "-o", "out.png", cwd=tmp_path, PYTHONPATH=str(site))
    assert (tmp_path / "out.png").is_file()
