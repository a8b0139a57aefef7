"""The two commands that measure: detectors of landmarks and translators, a perfect one and those that failed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from zoo.cli import main
from zoo.evaluate import sets
from zoo.generator import build_generator
from zoo.pictures.image import read, to_pil, write
from zoo.recipe import load_recipe
from zoo.weights.file import save_weights
from zoo_animeface import evaluate
from zoo_animeface.dan import Dan, load_dan
from zoo_animeface.measure import FAR, Accuracy, Variety
from zoo_animeface.points import GROUPS, SIDE, TABLE, Row, write_points

SMALL = ["generator.width=4", "generator.size=32", "generator.hidden=16", "generator.features=8"]
Cli = Callable[..., tuple[int, dict[str, Any], str]]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """``zoo … --json`` in this process -> exit code, what it found, stderr."""

    def call(*words: object) -> tuple[int, dict[str, Any], str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main([*map(str, words), "--json"])
        out, told = capsys.readouterr()
        return int(left.value.code or 0), json.loads(out) if out.strip() else {}, told

    return call


def smooth(seed: int, side: int = 40) -> Tensor:
    coarse = torch.rand(1, 3, 5, 5, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return nn.functional.interpolate(coarse, (side, side), mode="bicubic").clamp(-1, 1)[0]


def folder(path: Path, seeds: range) -> Path:
    path.mkdir()
    for seed in seeds:
        write(to_pil(smooth(seed)), path / f"{seed}.png")
    return path


@pytest.fixture
def dan(tmp_path: Path) -> Path:
    recipe = load_recipe("dan-anime", SMALL)
    torch.manual_seed(0)
    save_weights(
        tmp_path / "dan.safetensors", build_generator(recipe.network()).state_dict(), recipe.network(), bits=32
    )
    return tmp_path / "dan.safetensors"


# -- numbers ---------------------------------------------------------------------------------------------------------------


def test_accuracy_by_hand() -> None:
    true = torch.rand(2, 40, 2, generator=torch.Generator().manual_seed(0))
    found = true.clone()
    nose = GROUPS["nose"][0].start
    found[0, nose, 0] += 6 / SIDE  # one point of one face, six pixels off
    score = Accuracy.of(found, true)
    assert score.n == 2 and score.faces == 0.5 and score.outliers == pytest.approx(1 / 80) and FAR < 6
    assert score.rmse == pytest.approx((36 / 40) ** 0.5 / 2, rel=1e-4)
    assert score.groups == pytest.approx(dict.fromkeys(GROUPS, 0.0) | {"nose": 3.0}, abs=1e-4)


def test_variety_by_hand() -> None:
    pictures, variety = torch.rand(7, 3, 5, 4), Variety()
    for picture in pictures:
        variety.add(picture)
    assert float(variety.value) == pytest.approx(float(pictures.std(0, correction=0).mean()), rel=1e-4)


# -- landmark-eval -----------------------------------------------------------------------------------------------------------


def test_a_detector_is_measured_against_the_table(cli: Cli, dan: Path, tmp_path: Path) -> None:
    faces, rows = folder(tmp_path / "faces", range(4)), []
    detector = load_dan(dan)
    for i in range(4):
        shape = detector.points(read(faces / f"{i}.png").rgb[None])[0]
        rows.append(Row(f"{i}.png", 40, 40, shape + (0.1 if i == 3 else 0)))
    write_points(faces / TABLE, [*rows, Row("unlabelled.png", 40, 40, None)])
    code, told, _ = cli("landmark-eval", dan, "--faces", faces, "--device", "cpu")
    (facts,) = told["models"]
    assert code == 0 and facts["n"] == 4 and facts["faces"] == 0.25 == facts["outliers"]
    # pictures of 40 pixels are seen as if they were of 112: nearly, not quite the same points
    assert facts["rmse"] == pytest.approx(SIDE * 0.1 * 2**0.5 / 4, rel=0.1)
    assert set(facts["groups"]) == set(GROUPS)
    (faces / "2.png").write_bytes(b"no picture")
    code, told, _ = cli("landmark-eval", dan, "--faces", faces)
    assert code == 6 and told["models"][0]["n"] == 3 and "2.png" in told["lines"][-1]


def test_what_landmark_eval_refuses(cli: Cli, dan: Path, tmp_path: Path) -> None:
    faces = folder(tmp_path / "faces", range(1))
    code, _, told = cli("landmark-eval", dan, "--faces", faces)
    assert code in (2, 3) and TABLE in told
    write_points(faces / TABLE, [Row("gone.png", 40, 40, torch.rand(40, 2))])
    code, _, told = cli("landmark-eval", dan, "--faces", faces)
    assert code == 2 and "no face" in told


# -- anime-eval ---------------------------------------------------------------------------------------------------------------


class Pooled(nn.Module):
    """In Inception's place: what can be told apart by coarse colours."""

    def __init__(self, _: Path) -> None:
        super().__init__()

    def forward(self, image: Tensor) -> Tensor:
        return nn.functional.adaptive_avg_pool2d(image, 4).flatten(1)


def translator(path: Path, gain: float, shift: float) -> Path:
    """A file whose model makes nearly ``shift`` + ``gain`` times the picture."""
    network = load_recipe("cartoongan", tiny=True).network()
    network["controls"] = [control for control in network["controls"] if control["name"] != "skin"]  # these have none
    generator = build_generator(network)
    for name, weight in generator.named_parameters():
        if name.startswith("head"):
            weight.data.zero_()
    last = [module for module in generator.modules() if isinstance(module, nn.Conv2d)][-1]
    assert last.bias is not None
    last.bias.data.fill_(shift)
    if gain:
        torch.nn.init.normal_(last.weight, std=gain)
    save_weights(path, generator.state_dict(), network)
    return path


def test_collapse_and_change_are_seen(cli: Cli, dan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sets, "Inception", Pooled)

    def places(paths: list[Path], _: Path) -> list[Tensor]:
        """One photograph has no face."""
        return [torch.full((40, 2), torch.nan if i == 0 else 0.5) for i in range(len(paths))]

    monkeypatch.setattr(evaluate, "photo_points", places)
    photos, drawings = folder(tmp_path / "photos", range(5)), folder(tmp_path / "drawings", range(10, 14))
    (tmp_path / "features.pt").write_bytes(b"")
    same = translator(tmp_path / "same.safetensors", 0, 0.3)
    busy = translator(tmp_path / "busy.safetensors", 0.2, 0)
    report = tmp_path / "report"
    words = ["anime-eval", same, busy, "--photos", photos, "--drawings", drawings, "--dan", dan]
    words += ["--features", tmp_path / "features.pt", "--device", "cpu"]
    code, told, _ = cli(*words, "--save", report)
    facts = {one["model"]: one for one in told["models"]}
    assert code == 0 and list(facts) == ["photographs", "same", "busy"], told["lines"]
    assert facts["same"]["variety"] < 1e-3 < facts["busy"]["variety"]  # one picture is made of every photograph
    assert facts["photographs"]["changed"] == 0 < facts["busy"]["changed"]
    assert all(one["n"] == 5 and one["faces"] == 4 for one in facts.values())
    assert facts["same"]["kid"] != facts["busy"]["kid"] and facts["photographs"]["kid"] is not None
    found = cast(Dan, load_dan(dan)).points(read(to_pil(torch.full((3, SIDE, SIDE), 0.2913))).rgb[None])  # tanh(0.3)
    off = SIDE * (found - 0.5).norm(dim=-1).square().mean().sqrt()
    assert facts["same"]["landmarks"] == pytest.approx(float(off), rel=0.02)
    assert json.loads((report / "results.json").read_text())["models"] == told["models"]
    assert (report / "strip.png").is_file()
    code, _, told_again = cli(*words, "--save", report)
    assert code == 2 and "results.json is there already" in told_again
    (photos / "3.png").write_bytes(b"no picture")
    code, told, _ = cli(*words)
    assert code == 6 and told["models"][1]["n"] == 4
