"""`zoo pack`: a run made into weights to use and share."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file
from training import TINY, pictures, run, state

import zoo
from zoo.cli import main
from zoo.errors import ConfigError, IntegrityError, NotFoundError, UsageError
from zoo.recipe import Recipe
from zoo.train.engine import Options
from zoo.train.pack import pack
from zoo.train.run import train
from zoo.weights.file import read_header

FILES = {"model.safetensors", "config.json", "README.md"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("data")
    out = data / "secret" / "run"
    run(out, pictures(data / "photos", 3, 1), pictures(data / "drawings", 3, 2), "data.batch=2", steps=2, seed=7)
    return out


def test_the_average_is_packed_in_half_precision(trained: Path, tmp_path: Path) -> None:
    folder = pack(trained, tmp_path / "packed", licence="cc-by-4.0")
    assert {path.name for path in folder.iterdir()} == FILES
    weights, all_of_it = load_file(folder / "model.safetensors"), state(trained)
    assert weights.keys() == {n.removeprefix("average/") for n in all_of_it if n.startswith("average/")}
    differs = False
    for name, tensor in weights.items():
        assert tensor.dtype == torch.float16 and torch.equal(tensor, all_of_it[f"average/{name}"].half())
        differs |= not torch.equal(tensor, all_of_it[f"networks/draw.{name}"].half())
    assert differs
    full = load_file(pack(trained, tmp_path / "full", bits=32) / "model.safetensors")
    assert all(torch.equal(tensor, all_of_it[f"average/{name}"]) for name, tensor in full.items())


def test_eight_bits_draw_nearly_the_same_and_a_run_begins_with_them(trained: Path, tmp_path: Path) -> None:
    for bits in ("32", "8"):
        with pytest.raises(SystemExit, match="0"):
            main(["pack", str(trained), "--out", str(tmp_path / bits), "--bits", bits])
    full, small = (tmp_path / bits / "model.safetensors" for bits in ("32", "8"))
    assert small.stat().st_size < 0.6 * full.stat().st_size  # so small a network is half header and norms
    assert any(dtype == "I8" for dtype, _ in read_header(small).tensors.values())
    photo = Image.effect_mandelbrot((32, 32), (-2, -1.5, 1, 1.5), 50).convert("RGB")
    drawn = [np.asarray(zoo.load(weights).translate(photo)).astype(int) for weights in (full, small)]
    assert 0 < abs(drawn[0] - drawn[1]).max() <= 4
    data = trained.parents[1]
    run(tmp_path / "on", data / "photos", data / "drawings", "data.batch=2", steps=1, start_from=small)
    with pytest.raises(SystemExit, match="2"):
        main(["pack", str(trained), "--bits", "12"])


def test_a_card_that_was_completed_is_kept(trained: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    card = pack(trained, tmp_path) / "README.md"
    pack(trained, tmp_path, licence="cc0-1.0")
    assert "cc0-1.0" in card.read_text() and not caplog.records
    card.write_text("mine")
    for _ in range(2):
        pack(trained, tmp_path)
        assert card.read_text() == "mine" and "edited and is kept" in caplog.text


def test_header_config_and_card_are_whole(trained: Path, tmp_path: Path) -> None:
    folder = pack(trained, tmp_path, licence="cc-by-4.0")
    header, config = read_header(folder / "model.safetensors"), json.loads((folder / "config.json").read_text())
    recipe = Recipe.model_validate(config["recipe"])
    assert header.network == config["network"] == recipe.network()
    assert header.network["recipe"] == "cycleda" and header.network["plugin"] == "zoo-cycleda"
    assert header.network["generator"]["width"] == 4
    facts = header.facts["trained"]
    assert facts == config["trained"] and header.facts["licence"] == config["licence"] == "cc-by-4.0"
    assert (facts["steps"], facts["samples_per_step"], facts["seed"], facts["precision"]) == (2, 2, 7, "fp32")
    assert (facts["photos"], facts["drawings"]) == (["photos"], ["drawings"])
    assert config["recipe"]["data"]["batch"] == 2 and config["zoo"] == zoo.__version__
    _, front, card = (folder / "README.md").read_text().split("---\n", 2)
    assert yaml.safe_load(front) == {
        "library_name": "zoo",
        "pipeline_tag": "image-to-image",
        "license": "cc-by-4.0",
        "tags": ["zoo", "cycleda"],
    }
    for wanted in ("pip install zoo-core zoo-cycleda", 'zoo.load("model.safetensors")', "| steps | 2 |", "cc-by-4.0"):
        assert wanted in card
    for file in FILES:  # where the pictures lie is nobody's business
        assert b"secret" not in (folder / file).read_bytes()


def test_what_is_packed_draws(trained: Path, tmp_path: Path) -> None:
    path = pack(trained, tmp_path) / "model.safetensors"
    translator = zoo.load(str(path), device="cpu")
    drawn = translator.translate(Image.new("RGB", (50, 37), "teal"))
    assert drawn.size == (50, 37) and drawn.mode == "RGB"
    average = {n.removeprefix("average/"): t for n, t in state(trained).items() if n.startswith("average/")}
    for name, tensor in translator.generator.state_dict().items():
        assert torch.equal(tensor, average[name].half().float())


def test_hands_are_choices(tmp_path: Path) -> None:
    sides = {name: pictures(tmp_path / name, 2, seed) for seed, name in enumerate(("photos", "first", "second"))}
    train(
        "conditional-cyclepix",
        [sides["photos"], sides["photos"]],
        [("a", sides["first"]), ("b", sides["second"])],
        Options(out=tmp_path / "run", steps=2, device="cpu"),
        overrides=TINY,
    )
    path = pack(tmp_path / "run") / "model.safetensors"
    (control,) = (one for one in read_header(path).network["controls"] if one["name"] == "hand")
    assert control["choices"] == ["a", "b"] and control["default"] == "a"
    translator, picture = zoo.load(str(path), device="cpu"), Image.open(sides["photos"] / "0.png")
    a, b = (translator.translate(picture, hand=hand).tobytes() for hand in "ab")
    assert a != b and a == translator.translate(picture).tobytes()
    assert json.loads((path.parent / "config.json").read_text())["trained"]["drawings"] == ["a", "b"]


def test_packing_again_replaces_its_own_files_alone(trained: Path, tmp_path: Path) -> None:
    folder = pack(trained, tmp_path / "packed", licence="mit")
    before = (folder / "model.safetensors").read_bytes()
    (folder / "notes.txt").write_text("mine")
    pack(trained, folder, licence="mit")
    assert (folder / "model.safetensors").read_bytes() == before  # equal weights, equal bytes
    pack(trained, folder, licence="bsd")
    assert read_header(folder / "model.safetensors").facts["licence"] == "bsd"
    assert {path.name for path in folder.iterdir()} == {*FILES, "notes.txt"}
    assert (folder / "notes.txt").read_text() == "mine"
    (tmp_path / "README.md").write_text("my thesis")
    with pytest.raises(UsageError, match=r"holds a README\.md that zoo pack did not write"):
        pack(trained, tmp_path)
    assert (tmp_path / "README.md").read_text() == "my thesis"
    with pytest.raises(UsageError, match="is not a folder"):
        pack(trained, tmp_path / "README.md")


def test_what_cannot_be_packed(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(NotFoundError, match="is not the folder of a training run"):
        pack(tmp_path)
    settings = (trained / "run.yaml").read_text()
    (tmp_path / "run.yaml").write_text(settings)
    with pytest.raises(NotFoundError, match="holds no checkpoint yet"):
        pack(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "step-00000001.safetensors").write_bytes(b"damaged")
    with pytest.raises(IntegrityError, match=r"no checkpoint in .* is whole"):
        pack(tmp_path)
    for text in ("recipe: [", "", "5", "recipe: {}", settings.replace("generator", "genrator", 1)):
        (tmp_path / "run.yaml").write_text(text)
        with pytest.raises(ConfigError, match=r"run\.yaml is damaged"):
            pack(tmp_path)
    with pytest.raises(SystemExit) as caught:
        main(["pack", str(tmp_path / "none")])
    assert caught.value.code == 3 and len(capsys.readouterr().err.splitlines()) == 2


def test_a_damaged_newest_checkpoint_is_passed_over(
    trained: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoints = tmp_path / "checkpoints"
    checkpoints.mkdir()
    (tmp_path / "run.yaml").write_text((trained / "run.yaml").read_text())
    whole = trained / "checkpoints" / "step-00000002.safetensors"
    (checkpoints / whole.name).write_bytes(whole.read_bytes())
    (checkpoints / "step-00000009.safetensors").write_bytes(whole.read_bytes()[:-9])
    folder = pack(tmp_path)
    assert "step-00000009.safetensors is not a whole checkpoint" in caplog.text
    assert json.loads((folder / "config.json").read_text())["trained"]["steps"] == 2


def test_the_command(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["pack", str(trained), "--out", str(tmp_path / "mine"), "--licence", "mit"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"{tmp_path / 'mine' / 'model.safetensors'}\n"
