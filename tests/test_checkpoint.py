"""Checkpoints: one is whole by its checksum, or the one before it is taken and a line says so."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from training import TINY, pictures, run

from zoo.errors import IntegrityError, UsageError, ZooError
from zoo.publish.publish import publish
from zoo.train import checkpoint
from zoo.train.engine import Engine
from zoo.train.pack import pack
from zoo.weights.file import load_weights, save_weights

FACTS = {"total": 4, "minutes": None, "seconds": 1.5, "untold": {"sums": {"a": 0.5}, "counts": {"a": 1}}}
TENSORS = {
    "networks/w": torch.arange(6.0),
    "optimiser/g/0/step": torch.tensor(2.0),
    "memory/flag": torch.tensor([True]),
}


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """A folder with whole checkpoints of the steps 1 and 2."""
    for step in (1, 2):
        checkpoint.save(tmp_path, step, TENSORS, FACTS)
    return tmp_path


def content(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


def crafted(path: Path, change: Callable[[dict[str, Tensor], dict[str, Any]], object], old: bool = False) -> None:
    """The checkpoint with other tensors or facts, and the checksum of these; ``old`` ones have none."""
    tensors, about = content(path)
    facts = json.loads(about["zoo-checkpoint-2"])
    del facts["sha256"]
    change(tensors, facts)
    if not old:
        facts["sha256"] = checkpoint._digest(tensors, facts)
    save_file(tensors, path, {"zoo-checkpoint" if old else "zoo-checkpoint-2": json.dumps(facts)})


def test_what_is_whole_comes_back(two: Path, caplog: pytest.LogCaptureFixture) -> None:
    newest = checkpoint.newest(two)
    assert newest is not None and newest[1] == {"step": 2, **FACTS} and not caplog.records
    assert all(torch.equal(newest[0][name], tensor) for name, tensor in TENSORS.items())


@pytest.mark.parametrize("at", ["first", "last", "middle", "facts"])
def test_four_changed_bytes(two: Path, at: str, caplog: pytest.LogCaptureFixture) -> None:
    path = two / "step-00000002.safetensors"
    data = bytearray(path.read_bytes())
    begin = 8 + struct.unpack("<Q", data[:8])[0]
    place = {"first": begin, "last": len(data) - 4, "middle": (begin + len(data)) // 2, "facts": data.find(b"1.5")}[at]
    changed = b"2.5" if at == "facts" else bytes(byte ^ 1 for byte in data[place : place + 4])
    data[place : place + len(changed)] = changed
    path.write_bytes(data)
    newest = checkpoint.newest(two)
    assert newest is not None and newest[1]["step"] == 1
    assert "step-00000002.safetensors is not a whole checkpoint" in caplog.text
    assert "other bytes than its checksum says; the one before it is used" in caplog.text


@pytest.mark.parametrize(
    "change",
    [
        {"step": -2},
        {"step": 2.0},
        {"step": "2"},
        {"step": True},
        {"step": None},
        {"seconds": None},
        {"seconds": "1"},
        {"seconds": -1},
        {"seconds": float("nan")},
        {"seconds": 10**400},
        {"total": "4"},
        {"total": -4},
        {"total": 4.5},
        {"minutes": []},
        {"untold": 3},
        {"untold": {"sums": []}},
        {"untold": {"counts": {"a": "1"}}},
    ],
)
@pytest.mark.parametrize("old", [False, True])
def test_facts_that_cannot_be(two: Path, change: dict[str, Any], old: bool, caplog: pytest.LogCaptureFixture) -> None:
    crafted(two / "step-00000002.safetensors", lambda _, facts: facts.update(change), old)
    newest = checkpoint.newest(two)
    assert newest is not None and newest[1]["step"] == 1
    assert f"{next(iter(change))} is " in caplog.text and "the one before it is used" in caplog.text


@pytest.mark.parametrize("name", ["step", "seconds", "total"])
def test_facts_that_are_missing(two: Path, name: str) -> None:
    for path in checkpoint.checkpoints(two):
        crafted(path, lambda _, facts: facts.pop(name))
    with pytest.raises(IntegrityError, match=r"no checkpoint in .* is whole"):
        checkpoint.newest(two)


@pytest.mark.parametrize("facts", ["5", "[]", "null", '"x"', "{", "[" * 100_000, None])
def test_facts_that_are_no_facts(two: Path, facts: str | None) -> None:
    path = two / "step-00000002.safetensors"
    save_file(content(path)[0], path, {} if facts is None else {"zoo-checkpoint-2": facts})
    newest = checkpoint.newest(two)
    assert newest is not None and newest[1]["step"] == 1


def test_a_checkpoint_of_an_older_zoo_is_taken_with_a_word(two: Path, caplog: pytest.LogCaptureFixture) -> None:
    crafted(two / "step-00000002.safetensors", lambda *_: None, old=True)
    newest = checkpoint.newest(two)
    assert newest is not None and newest[1]["step"] == 2
    assert "has no checksum" in caplog.text


def test_only_the_runs_own_hidden_files_go(tmp_path: Path) -> None:
    kept = {".notes", ".DS_Store", ".tmp", ".tmp-mine", ".x.part"}
    for name in (*kept, ".0123456789abcdef.part", ".tmpAbCdEf"):
        (tmp_path / name).write_text("x")
    for name in (".folder", ".tmpFolder", ".fedcba9876543210.part"):
        (tmp_path / name).mkdir()
    checkpoint.tidy(tmp_path)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {*kept, ".folder", ".tmpFolder", ".fedcba9876543210.part"}


def test_a_later_one_that_is_damaged_takes_no_place(two: Path) -> None:
    (two / "step-00000009.safetensors").write_bytes(b"half")
    checkpoint.save(two, 3, TENSORS, FACTS)
    assert [path.name for path in checkpoint.checkpoints(two)] == [f"step-0000000{n}.safetensors" for n in (2, 3, 9)]


# -- whole runs --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A run of two steps, and its pictures."""
    folder = tmp_path_factory.mktemp("data")
    photos, drawings = pictures(folder / "photos", 2, 1), pictures(folder / "drawings", 2, 2)
    run(folder / "run", photos, drawings, *TINY, steps=2, save_every=1)
    return folder / "run", photos, drawings


def copied(run_: Path, to: Path) -> Path:
    (to / "checkpoints").mkdir(parents=True)
    (to / "run.yaml").write_text((run_ / "run.yaml").read_text())
    for path in checkpoint.checkpoints(run_ / "checkpoints"):
        (to / "checkpoints" / path.name).write_bytes(path.read_bytes())
    return to


@pytest.mark.parametrize("what", ["a name", "a shape", "a number"])
def test_an_optimisers_state_that_is_not_of_these_networks(
    data: tuple[Path, Path, Path], tmp_path: Path, what: str
) -> None:
    def change(tensors: dict[str, Tensor], _: object) -> None:
        name = next(name for name in tensors if name.endswith("/exp_avg") and tensors[name].ndim)
        tensor = tensors.pop(name)
        if what == "a shape":
            tensors[name] = torch.zeros(1, 2, 3)
        elif what == "a number":
            tensors[name.replace("/0/", "/999/").replace("exp_avg", "exp")] = tensor

    out = copied(data[0], tmp_path / "run")
    for path in checkpoint.checkpoints(out / "checkpoints"):
        crafted(path, change)
    with pytest.raises(IntegrityError, match="do not fit these networks"):
        run(out, *data[1:], *TINY, steps=3)


def test_weights_that_became_no_numbers(
    data: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the loss, in the last step: nothing is saved of it, and nobody says done."""
    real = Engine._update_average

    def spoil(engine: Engine) -> None:
        if engine.step == 2:
            with torch.no_grad():
                next(engine.networks["draw"].parameters()).view(-1)[0] = torch.nan
        real(engine)

    monkeypatch.setattr(Engine, "_update_average", spoil)
    out = copied(data[0], tmp_path / "run")
    with pytest.raises(ZooError, match=r"draw\..* of the networks is not finite after step 3"):
        run(out, *data[1:], *TINY, steps=3)
    assert [path.name for path in checkpoint.checkpoints(out / "checkpoints")][-1] == "step-00000002.safetensors"


def test_weights_that_are_not_finite_are_not_packed(data: tuple[Path, Path, Path], tmp_path: Path) -> None:
    def spoil(tensors: dict[str, Tensor], _: object) -> None:
        name = next(name for name in sorted(tensors) if name.startswith("average/"))
        tensors[name].view(-1)[-1] = torch.inf

    out = copied(data[0], tmp_path / "run")
    for path in checkpoint.checkpoints(out / "checkpoints"):
        crafted(path, spoil)
    with pytest.raises(IntegrityError, match="holds values that are not finite"):
        pack(out)
    assert not (out / "packed").exists()


def test_weights_that_are_not_finite_are_neither_loaded_nor_published(
    data: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    folder = pack(data[0], tmp_path / "packed", licence="mit")
    path = folder / "model.safetensors"
    tensors, about = content(path)
    name = sorted(tensors)[0]
    tensors[name].view(-1)[0] = torch.nan
    save_file(tensors, path, about)
    with pytest.raises(IntegrityError, match=f"{name} holds values that are not finite"):
        publish(str(folder), "user/name", dry_run=True)
    module = nn.Linear(2, 1)
    with pytest.raises(IntegrityError, match="bias holds values that are not finite"):
        save_weights(tmp_path / "a.safetensors", {**module.state_dict(), "bias": torch.tensor([torch.nan])}, {})
    save_file({**module.state_dict(), "bias": torch.tensor([-torch.inf])}, tmp_path / "b.safetensors")
    before = module.bias.clone()
    with pytest.raises(IntegrityError, match="bias holds values that are not finite"):
        load_weights(tmp_path / "b.safetensors", module)
    assert torch.equal(module.bias, before)
    large = {**module.state_dict(), "bias": torch.tensor([3e38])}  # finite, though sums of such are not
    save_weights(tmp_path / "c.safetensors", {**large, "more": torch.full((9,), 3e38)}, {})


def test_what_somebody_else_packed_is_not_replaced(data: tuple[Path, Path, Path], tmp_path: Path) -> None:
    """Neither a clone of a model of the same recipe and facts, nor the run's own files."""
    clone = pack(copied(data[0], tmp_path / "theirs"), tmp_path / "clone")
    before = {path.name: path.read_bytes() for path in clone.iterdir()}
    mine = copied(data[0], tmp_path / "mine")
    with pytest.raises(UsageError, match=r"model\.safetensors that zoo pack did not write from this run"):
        pack(mine, clone, licence="mit")
    assert {path.name: path.read_bytes() for path in clone.iterdir()} == before
    for folder in (mine, mine / "checkpoints", mine / "previews", tmp_path / "theirs" / "checkpoints"):
        with pytest.raises(UsageError, match="belongs to a training run"):
            pack(mine, folder)
    for _ in range(2):
        pack(mine)
    (mine / "packed" / "config.json").write_text("mine")
    with pytest.raises(UsageError, match=r"holds a config\.json"):
        pack(mine)


def test_what_an_older_zoo_packed_into_the_run_is_replaced(data: tuple[Path, Path, Path], tmp_path: Path) -> None:
    mine = copied(data[0], tmp_path / "mine")
    pack(mine)
    (mine / ".packed").unlink()
    (mine / "packed" / "README.md").write_text("completed by hand")
    assert pack(mine, licence="mit") == mine / "packed"
    assert (mine / "packed" / "README.md").read_text() == "completed by hand"
