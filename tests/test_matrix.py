"""The matrix says the truth: what works trains, what needs an option trains with it, what cannot be is refused in its words."""

from __future__ import annotations

import copy
import csv
import functools
import inspect
import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from zoo import faces
from zoo.blocks.vgg import VGG19
from zoo.catalogue.host import host
from zoo.errors import ConfigError
from zoo.generator import build_part
from zoo.provider import Provider
from zoo.recipe import Recipe, load_recipe
from zoo.testing.subject import batch, write_pictures
from zoo.train import matrix
from zoo.train.engine import Engine, Options
from zoo.train.objective import terms_of
from zoo.train.takes import build_trainer
from zoo_animeface.dan import Dan
from zoo_animeface.points import FRONTAL, Row, write_points
from zoo_animeface.points import TABLE as POINTS
from zoo_expression.table import COLUMNS
from zoo_expression.table import TABLE as UNITS
from zoo_facefusion.align import average

ROOT = Path(__file__).parents[1]
SIDE = 32
PLAIN = [
    "data.size=[32,32]",
    "data.batch=2",
    "data.augment={flip: false, scale: 1, rotate: 0, colour: 0, background: 0}",
]
RECIPES: dict[str, list[str]] = {
    "cycle": ["cyclegan", "trainer.pool=2"],
    "one-way": ["cyclegan-small", "trainer.head_start=0"],
    "anime": ["animegan", "trainer.warm_up=0"],
    "expression": ["ganimation"],
    "fusion": ["facefusion", "trainer.first=0", "discriminator.size=32"],
    "landmarks": ["dan-anime"],
}
GENERATORS: dict[str, dict[str, Any]] = {
    "cartoon": {"width": 4, "blocks": 1},
    "cartoon-fine": {"width": 4, "blocks": 1, "redraw_width": 4, "redraw_blocks": 1},
    "resnet": {"width": 4, "blocks": 1},
    "fusion": {"width": 4, "stages": 3, "elements": 2},
    "stargan": {"width": 8, "blocks": 1, "meter": {"width": 8, "layers": 4, "widest": 16, "size": 32}},
    "dan": {"width": 4, "size": 32, "hidden": 16, "features": 8},
    "picture-optimiser": {"losses": {}},
}
AT_HOME = {
    "cartoon": "anime",
    "cartoon-fine": "anime",
    "resnet": "cycle",
    "fusion": "fusion",
    "stargan": "expression",
    "dan": "landmarks",
}
DISCRIMINATORS: dict[str, dict[str, Any]] = {
    "cartoon": {"width": 4},
    "patchgan": {"width": 4, "layers": 2},
    "features": {"width": 4, "layers": ["conv2_1"]},
    "fusion": {"width": 4, "stages": 3, "size": SIDE, "norm": "none"},
    "stargan": {"width": 8, "layers": 4, "widest": 16, "size": 32},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures with all that any trainer reads beside them."""
    pictures = write_pictures(tmp_path_factory.mktemp("pictures"), 2)
    for below in pictures.iterdir():
        names = sorted(path.name for path in below.glob("*.png"))
        write_points(below / POINTS, [Row(name, 100, 100, torch.tensor(FRONTAL)) for name in names])
        with (below / UNITS).open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(("file", *COLUMNS))
            rows.writerows((name, *(0.5 * (i + k % 3) for k in range(17))) for i, name in enumerate(names))
    return pictures


@pytest.fixture(scope="module")
def networks() -> dict[str, Any]:
    """What losses would each load for themselves."""
    torch.manual_seed(0)
    vgg = VGG19()
    for layer in vgg.layers:
        nn.init.kaiming_normal_(vgg.get_submodule(layer).weight)
    dan = Dan(width=4, size=SIDE, hidden=16, features=8).eval().requires_grad_(False)
    for stage in dan.stages:  # untrained it finds its mean shape everywhere
        stage.fc2.weight.mul_(100)
    return {"vgg": vgg, "dan": dan}


@pytest.fixture(autouse=True)
def everywhere_a_face(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(image: torch.Tensor, **_: Any) -> list[faces.Face]:
        side = image.shape[-1]
        return [faces.Face((0, 0, side, side), average().float() * side)]

    monkeypatch.setattr(faces, "find", find)
    monkeypatch.setattr(faces, "landmarks", lambda image: average().float() * image.shape[-1])


def recipe_of(trainer: str, *overrides: str) -> Recipe:
    """The trainer's own recipe, tiny, with one cheap loss in each phase."""
    name, *own = RECIPES[trainer]
    recipe = load_recipe(name, [*PLAIN, *own, *overrides], tiny=True)
    kind = host().part("trainer", trainer)
    cheap = {phase: "total-variation" if "output" in names else "critic" for phase, names in kind.provides.items()}
    cheap |= {"autoencoder": "autoencoder"} if "autoencoder" in cheap else {}
    cheap |= {"detect": "shape"} if "detect" in cheap else {}
    return recipe.model_copy(update={"losses": {phase: {loss: {}} for phase, loss in cheap.items()}})


def engine_of(recipe: Recipe, folder: Path, out: Path) -> Engine:
    kind = host().part("trainer", recipe.trainer["name"])
    drawings = [("drawings", folder / "drawings-0")] if kind.domains > 1 else []
    data = kind.pictures([folder / "photos-0"], drawings, recipe.data, 0)
    return Engine(recipe, data, Options(out=out, device="cpu", steps=2))


def train(engine: Engine, phase: str, what: str) -> None:
    """Two steps; the networks of the phase must have learnt from them."""
    given = batch(engine)
    for _ in range(2):
        logged = engine._step(iter([given]))
        engine.step += 1
    assert all(value.isfinite() for value in logged.values())
    slopes = [p.grad for name in engine.trainer.phases[phase] for p in engine.networks[name].parameters()]
    assert any(slope is not None and bool(slope.isfinite().all()) and bool(slope.any()) for slope in slopes), what


def options_of(loss: str, networks: Mapping[str, Any]) -> dict[str, Any]:
    """The shared networks; of VGG-19 a shallow layer, which costs least."""
    takes = inspect.signature(host().part("loss", loss)).parameters
    shallow = {"layers": ["conv1_2"]} if "layers" in takes and "object" not in takes else {}
    always = (
        {"least": 0.999} if loss in ("tone", "hue") else {}
    )  # which else says nothing of what is much like the photograph
    return {name: network for name, network in networks.items() if name in takes} | shallow | always


@functools.cache
def table(row: str, column: str) -> tuple[matrix.Cell, ...]:
    return tuple(matrix.cells(row, column))


@pytest.mark.slow
@pytest.mark.parametrize("trainer", RECIPES)
def test_losses(trainer: str, folder: Path, networks: dict[str, Any], tmp_path: Path) -> None:
    groups: dict[tuple[str, ...], list[matrix.Cell]] = defaultdict(list)
    for cell in table("loss", "trainer"):
        if cell.column == trainer:
            needs = cell.what.replace("--pairs", "data.pairs=true").replace("--set ", "").split()
            groups[tuple(needs) if cell.state == "needs" else ()].append(cell)
    for needs, found in groups.items():
        small = ["generator.width=4"] if any("generator.name" in need for need in needs) else []
        engine = engine_of(recipe_of(trainer, *needs, *small), folder, tmp_path)
        cheap, built = dict(engine.losses), dict[str, Provider]()
        start = copy.deepcopy(engine.networks.state_dict())
        for cell in found:
            specs = {cell.row: options_of(cell.row, networks)}
            if cell.state == "cannot":
                with pytest.raises(ConfigError) as refused:
                    terms_of(engine.recipe, engine.trainer, cell.phase, specs, built)
                assert cell.what in str(refused.value)
                continue
            engine.losses = {**cheap, cell.phase: terms_of(engine.recipe, engine.trainer, cell.phase, specs, built)}
            engine.trainer.wanted = frozenset().union(*(terms.needs() for terms in engine.losses.values()))
            engine.networks.load_state_dict(start)
            train(engine, cell.phase, f"{cell.row} in {trainer}")


@pytest.mark.slow
@pytest.mark.parametrize("trainer", RECIPES)
def test_networks(trainer: str, folder: Path, networks: dict[str, Any], tmp_path: Path) -> None:
    recipe = recipe_of(trainer)
    for kind, specs in (("generator", GENERATORS), ("discriminator", DISCRIMINATORS)):
        for cell in table(kind, "trainer"):
            if cell.column != trainer:
                continue
            spec = {"name": cell.row, **specs[cell.row]}
            if cell.row == "features":
                spec["vgg"] = networks["vgg"]
            changed = recipe.model_copy(update={kind: spec})
            if cell.state == "cannot":
                with pytest.raises(ConfigError) as refused:
                    build_trainer(changed)
                assert cell.what in str(refused.value)
            else:
                engine = engine_of(changed, folder, tmp_path)
                train(engine, [*engine.trainer.phases][-1], f"{cell.row} in {trainer}")


@pytest.mark.slow
@pytest.mark.parametrize("generator", GENERATORS)
def test_blocks(generator: str, folder: Path, tmp_path: Path) -> None:
    for cell in table("block", "generator"):
        if cell.column != generator:
            continue
        spec = {"name": generator, **GENERATORS[generator], "block": cell.row}
        if cell.state == "cannot":
            with pytest.raises(ConfigError) as refused:
                build_part("generator", spec)
            assert cell.what in str(refused.value)
            continue
        engine = engine_of(recipe_of(AT_HOME[generator]).model_copy(update={"generator": spec}), folder, tmp_path)
        assert any(type(part) is host().part("block", cell.row) for part in engine.generator.modules())
        train(
            engine, next(phase for phase in engine.trainer.phases if phase not in ("warm-up", "autoencoder")), cell.row
        )


def test_most_losses_work_in_most_trainers() -> None:
    """At least 80 of 100 pairs of a loss and a trainer of pictures work, as they are or with an option."""
    picture = {name for name in RECIPES if host().part("trainer", name).teaches == "image"}
    found = matrix.counts(cell for cell in table("loss", "trainer") if cell.column in picture)
    assert len(picture) == 5 and sum(found.values()) >= 150
    assert found["works"] + found["needs"] >= 0.8 * sum(found.values()), found


def test_the_page_is_what_the_command_writes(cli: Any) -> None:
    code, out, _ = cli("parts", "--matrix", "--markdown")
    assert code == 0 and out == (ROOT / "docs/matrix.md").read_text(encoding="utf-8")


def test_the_matrix_for_programs_and_people(cli: Any) -> None:
    _, out, _ = cli("parts", "--matrix", "--json")
    rows = json.loads(out)
    assert {"loss": "cycle", "trainer": "cycle", "state": "works", "what": ""} in rows
    assert {row["state"] for row in rows} == set(matrix.SIGNS)
    code, out, _ = cli("parts", "--matrix")
    assert code == 0 and "– cycle in anime, landmarks, one-way: " not in out
    assert "– cycle in anime, one-way: no reconstruction" in out and "+ pixel in anime, cycle, one-way: --pairs" in out


@pytest.mark.parametrize("words", [["--markdown"], ["loss", "--matrix"], ["--matrix", "--json", "--markdown"]])
def test_one_form_of_all_parts(words: list[str], cli: Any) -> None:
    code, out, error = cli("parts", *words)
    assert (code, out) == (2, "") and "zoo parts --matrix" in error
