"""Sitters held out of training: who they are, what they say, and what a run does with it."""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from training import EVEN, pictures, run, state

from zoo.errors import NotFoundError, UsageError
from zoo.recipe import load_recipe
from zoo.train import checkpoint
from zoo.train.data import Portraits
from zoo.train.engine import Options
from zoo.train.pack import pack
from zoo.train.run import train

MANY = 21
ONE_WAY = "trainer={name: one-way, pool: 2}"
LOSSES = ("losses.generator.cycle=null", "losses.generator.identity=null")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    data = tmp_path_factory.mktemp("data")
    return pictures(data / "photos", MANY, seed=1), pictures(data / "drawings", MANY, seed=2)


@pytest.fixture(scope="module")
def measured(sides: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four steps that looks at its held-out sitters every other step."""
    out = tmp_path_factory.mktemp("runs") / "run"
    run(out, *sides, ONE_WAY, *LOSSES, EVEN, pairs=True, steps=4, measure_every=2, seed=1)
    return out


def looks(out: Path) -> list[dict]:
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [look for line in lines for look in line.get("held_out", [])]


def test_a_tenth_is_held_out_of_enough_pictures_and_of_both_sides_of_pairs(sides: tuple[Path, Path]) -> None:
    photos, drawings = sides
    for pairs in (False, True):
        data = load_recipe("cycleda", [f"data.pairs={pairs}", "data.size=[32,32]"]).data
        found = Portraits([photos], [("anna", drawings)], data, 0)
        assert len(found.held_out) == 2 and len(found.photos[0]) == MANY - 2
        assert len(found.drawings[0]) == (MANY - 2 if pairs else MANY)  # alone, a drawing tells of no sitter
        assert not {sitter.photo for sitter in found.held_out} & set(found.photos[0].paths)
        for sitter in found.held_out:
            assert sitter.drawing == (drawings / sitter.photo.name if pairs else None)
    few = load_recipe("cycleda", ["data.size=[32,32]", "data.held_out=1"]).data
    assert len(Portraits([photos], [("anna", drawings)], few, 0).held_out) == 1


def test_the_log_the_page_and_the_previews_tell_of_every_look(measured: Path) -> None:
    told = looks(measured)
    assert [look["step"] for look in told] == [0, 2, 4]
    assert {look["began"] for look in told} == {told[0]["distance"]}
    assert told[-1]["best"] == min(look["distance"] for look in told)
    page = (measured / "index.html").read_text()
    assert "2 sitters that no step saw" in page and f"{told[-1]['distance']:.3f}" in page and "zoo pack" in page
    assert "http" not in page.replace("http-equiv", "")
    shown = {path.stem for path in (measured / "previews").iterdir()}
    assert {"step-00000000", "held-out-photo", "held-out-artist", "held-out-00000002"} <= shown


def test_going_on_knows_the_looks_before(measured: Path, sides: tuple[Path, Path], tmp_path: Path) -> None:
    for steps in (1, 3, 4):
        run(tmp_path, *sides, ONE_WAY, *LOSSES, EVEN, pairs=True, steps=steps, measure_every=2, seed=1)
    told = [look for look in looks(tmp_path) if look["step"] in (0, 2, 4)]
    assert [look["distance"] for look in told] == [look["distance"] for look in looks(measured)]
    ours = {name: tensor for name, tensor in state(measured).items() if not name.startswith("best/")}
    theirs = state(tmp_path)
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


def test_the_best_weights_are_packed_unless_the_last_are_asked_for(measured: Path, tmp_path: Path) -> None:
    found = state(measured)
    best, last = (load_file(pack(measured, tmp_path / n, bits=32, last=n == "last") / "model.safetensors") for n in ("best", "last"))  # fmt: skip
    assert all(torch.equal(tensor, found[f"best/{name}"]) for name, tensor in best.items())
    assert all(torch.equal(tensor, found[f"average/{name}"]) for name, tensor in last.items())
    newest = checkpoint.newest(measured / "checkpoints")
    assert newest is not None
    config = json.loads((tmp_path / "best" / "config.json").read_text())
    assert config["trained"]["steps"] == newest[1]["watch"]["best"]


def test_a_run_that_gets_worse_says_so_and_packs_what_it_began_with(
    measured: Path,
    sides: tuple[Path, Path],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out, worse_and_worse = tmp_path / "run", count(1.0, 0.1)
    monkeypatch.setattr("zoo.train.heldout.HeldOut.distance", lambda self, made: next(worse_and_worse))
    begin = {"start_from": measured, "steps": 4, "measure_every": 2}
    run(out, *sides, ONE_WAY, *LOSSES, pairs=True, **begin)
    told = looks(out)
    assert told[-1]["distance"] > told[0]["distance"] == told[-1]["best"]
    assert "worse than the beginning" in caplog.text and "Try half the rate" in (out / "index.html").read_text()
    weights = load_file(pack(out, tmp_path / "packed", bits=32) / "model.safetensors")
    assert "did not get better" in caplog.text
    assert all(torch.equal(tensor, state(measured)[f"networks/draw.{name}"]) for name, tensor in weights.items())


def test_without_pairs_stroke_and_likeness_are_measured(sides: tuple[Path, Path], tmp_path: Path) -> None:
    run(tmp_path / "run", *sides, ONE_WAY, *LOSSES, steps=1)
    assert [look["step"] for look in looks(tmp_path / "run")] == [0, 1]
    assert "stroke and likeness" in (tmp_path / "run" / "index.html").read_text()


def test_without_vgg_one_line_says_so(
    sides: tuple[Path, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object) -> Path:
        raise NotFoundError("not here", "")

    monkeypatch.setattr("zoo.train.heldout.find", missing)
    run(tmp_path / "run", *sides, ONE_WAY, *LOSSES, steps=1)
    assert "pip install zoo-partstyle" in caplog.text and not looks(tmp_path / "run")
    assert pack(tmp_path / "run").is_dir()


def test_test_sitters_of_their_own(sides: tuple[Path, Path], tmp_path: Path) -> None:
    photos, drawings = sides
    test = pictures(tmp_path / "p", 2, seed=5), pictures(tmp_path / "d", 2, seed=6)
    options = Options(out=tmp_path / "run", device="cpu", steps=1)
    small = ["generator.width=4", "generator.blocks=1", "discriminator.width=4", "data.size=[32,32]", ONE_WAY, *LOSSES]

    def tested(one: Path, other: Path) -> str:
        return train("cycleda", [photos], [("anna", drawings)], options, overrides=small, test=([one], [other]))

    with pytest.raises(UsageError, match="learned from"):
        tested(photos, drawings)
    with pytest.raises(UsageError, match="no partner"):
        tested(test[0], pictures(tmp_path / "e", 1))
    with pytest.raises(NotFoundError, match="no folder"):
        tested(tmp_path / "nowhere", test[1])
    assert tested(*test) == ""
    page = (tmp_path / "run" / "index.html").read_text()
    assert "2 sitters" in page and "Distance to the artist" in page


def test_the_plan_is_told_before_the_first_step(
    sides: tuple[Path, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "zoo.train")
    (tmp_path / "photos").mkdir()
    for path in sides[0].iterdir():
        (tmp_path / "photos" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "photos" / "broken.png").write_bytes(b"no picture")
    run(tmp_path / "run", tmp_path / "photos", sides[1], ONE_WAY, *LOSSES, steps=1)
    for told in (
        "photos: 19 pictures to learn from, 1 of 22 left out",
        "2 sitters are held out",
        "19 pictures in photos are few",
        "drawings are not on plain ground",
        "--pairs learns far more",
    ):
        assert told in caplog.text, told


def test_a_critic_alone_first_and_half_the_rate_for_what_is_trained(
    measured: Path, sides: tuple[Path, Path], tmp_path: Path
) -> None:
    resting = "trainer={name: one-way, pool: 2, head_start: 2}"
    run(tmp_path / "run", *sides, resting, *LOSSES, steps=2, start_from=measured)
    before, after = state(measured), state(tmp_path / "run")
    for name, tensor in before.items():
        if name.startswith("networks/draw."):
            assert torch.equal(tensor, after[name])
        elif name == "networks/judge.body.0.weight":
            assert not torch.equal(tensor, after[name])
