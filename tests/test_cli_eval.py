"""``zoo eval`` through its entry, on tiny pictures, with a tiny model and weights that mean nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import leave
from PIL import Image
from safetensors.torch import save_file
from test_evaluate import CONVS, noise
from tiny_plugin import TinyPlugin, tiny

from zoo.weights import networks

__all__ = ["tiny"]
Zoo = Callable[..., tuple[int, str, str]]


@pytest.fixture
def zoo(capsys: pytest.CaptureFixture[str], tiny: TinyPlugin) -> Zoo:
    """Runs ``zoo eval`` and gives exit code, stdout and stderr."""

    def run(*words: object) -> tuple[int, str, str]:
        return leave(capsys, "eval", *words)

    return run


@pytest.fixture(scope="module")
def lpips_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    state = {f"lpips.lin{i}.weight": torch.ones(1, c[0], 1, 1) for i, c in enumerate(CONVS.values())}
    for name, (outer, inner, side) in CONVS.items():
        state[f"features.{name}.weight"] = noise(outer, inner, side, side) * (2 / (inner * side**2)) ** 0.5
        state[f"features.{name}.bias"] = torch.zeros(outer)
    path = tmp_path_factory.mktemp("weights") / "alex.safetensors"
    save_file(state, path)
    return path


@pytest.fixture
def data(tmp_path: Path) -> list[object]:
    """Seven sitters; the drawing is the photograph in grey, and of ``6`` there is none."""
    for side in ("photos", "drawings"):
        (tmp_path / side).mkdir()
    for i in range(7):
        pixels = (np.asarray(noise(48, 40, 3, seed=i)).clip(-1, 1) * 127 + 128).astype(np.uint8)
        photo = Image.fromarray(pixels)
        photo.save(tmp_path / "photos" / f"{i}.png")
        if i < 6:
            photo.convert("L").save(tmp_path / "drawings" / f"{i}.png")
    return ["--photos", tmp_path / "photos", "--drawings", tmp_path / "drawings", "--device", "cpu"]


def results(out: str) -> dict[str, dict[str, Any]]:
    return {model: {r["name"]: r for r in of} for model, of in json.loads(out).items()}


def test_pairs_are_measured_and_told_with_n_seed_and_protocol(zoo: Zoo, data: list[object], lpips_file: Path) -> None:
    wanted = ("--metrics", "lpips", "--metrics", "ssim", "--lpips-weights", lpips_file, "--baselines", "--seed", 3)
    code, out, err = zoo("tiny", *data, *wanted)
    assert code == 0 and err == "1 photographs without a drawing: 6\n"
    lines = [line.split() for line in out.splitlines()]
    assert lines[0] == ["METRIC", "MODEL", "VALUE", "STD", "N", "SEED"]
    assert [line[:2] for line in lines[1:7]] == [
        [metric, model] for metric in ("lpips", "ssim") for model in ("grey-photo", "dodge-and-burn", "tiny")
    ]
    assert lines[1][2:] == ["0.0000", "0.0000", "6", "3"]  # the drawing itself
    assert lines[4][2:] == ["1.0000", "0.0000", "6", "3"]
    assert float(lines[3][2]) > 0.01 and float(lines[6][2]) < 0.99  # tiny leaves the colour in
    assert "data: 7 photos, 6 drawings, sha256" in out and "size: the drawing's" in out

    code, out, _ = zoo("tiny", *data, *wanted, "--json")
    measured = results(out)["tiny"]["lpips"]
    assert measured["n"] == 6 and measured["seed"] == 3 and f"{measured['value']:.4f}" == lines[3][2]
    assert measured["protocol"]["network"].startswith("AlexNet with LPIPS 0.1 heads, sha256 ")


def test_a_weights_file_and_a_control(zoo: Zoo, data: list[object], tiny: TinyPlugin, tmp_path: Path) -> None:
    file = tiny.other(tmp_path / "mine.safetensors", tone=-1)  # the negative
    plain = results(zoo("tiny", file, *data, "--metrics", "ssim", "--json")[1])
    assert plain["mine"]["ssim"]["value"] < 0 < plain["tiny"]["ssim"]["value"]
    second = results(zoo("tiny", file, *data, "--metrics", "ssim", "--json", "--control", "hand=second")[1])
    assert second["tiny"]["ssim"] == plain["mine"]["ssim"] and second["mine"]["ssim"] == plain["tiny"]["ssim"]


def test_packed_runs_are_called_by_their_folders(
    zoo: Zoo, data: list[object], tiny: TinyPlugin, tmp_path: Path
) -> None:
    files = []
    for name in ("one", "other"):
        (tmp_path / name / "packed").mkdir(parents=True)
        files.append(tiny.other(tmp_path / name / "packed" / "model.safetensors", tone=-1))
    assert list(results(zoo(*files, *data, "--metrics", "ssim", "--json")[1])) == ["one", "other"]


def test_without_a_wish_metrics_whose_files_are_missing_are_left_out(
    zoo: Zoo, data: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = replace(networks.FILES["inception"], installed=("no-such-package", "none.pt"))
    monkeypatch.setitem(networks.FILES, "inception", missing)  # it may be installed here
    code, out, err = zoo("tiny", *data, "--json")
    assert code == 0 and list(results(out)["tiny"]) == ["ssim"]
    left_out = [line for line in err.splitlines() if "left out" in line]
    assert [line.split()[0] for line in left_out] == ["lpips", "fid", "kid"]
    assert "--lpips-weights FILE" in left_out[0] and "--features FILE" in left_out[1]


def test_what_is_kept(zoo: Zoo, data: list[object], tmp_path: Path) -> None:
    report = tmp_path / "report"
    wanted = ("--metrics", "ssim", "--save", report, "--sitters", "1,4", "--json")
    code, out, _ = zoo("tiny", *data, *wanted)
    assert code == 0 and json.loads((report / "results.json").read_text()) == json.loads(out)
    assert sorted(path.name for path in (report / "tiny").iterdir()) == [f"{i}.png" for i in range(7)]
    made, photo = Image.open(report / "tiny" / "4.png"), Image.open(tmp_path / "photos" / "4.png")
    assert np.abs(np.asarray(made).astype(int) - np.asarray(photo)).max() <= 1
    strip = Image.open(report / "strip.png")
    assert strip.width == 3 * (40 + 8) + 8 and strip.height == 24 + 2 * (48 + 8)
    again = zoo("tiny", *data, *wanted, "--overwrite")
    assert again[:2] == (code, out)


def test_a_broken_picture_is_reported_and_the_rest_is_done(zoo: Zoo, data: list[object], tmp_path: Path) -> None:
    (tmp_path / "photos" / "2.png").write_bytes(b"")
    (tmp_path / "photos" / "\x1b]0;owned\x07\u202e.png").write_bytes(b"none")
    (tmp_path / "drawings" / "\x1b]0;owned\x07\u202e.png").write_bytes(b"none")
    code, out, err = zoo("tiny", *data, "--metrics", "ssim", "--json", "--save", tmp_path / "report")
    assert code == 6 and results(out)["tiny"]["ssim"]["n"] == 5
    assert any("left out" in line and "2.png" in line for line in err.splitlines())
    assert not (tmp_path / "report" / "tiny" / "2.png").exists()
    assert r"\x1b]0;owned\x07\u202e.png" in err
    assert not [sign for sign in out + err if not sign.isprintable() and sign != "\n"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--metrics", "lpips"], "give --lpips-weights FILE"),
        (["--metrics", "lpips", "--lpips-weights", "none.safetensors"], "there is no file none.safetensors"),
        (["--lpips-weights", "none.safetensors"], "there is no file none.safetensors"),
        (["--metrics", "ssmi"], "did you mean ssim?"),
        (["--metrics", "fid", "--features", __file__], "not a whole safetensors file"),
        (["--metrics", "ssim", "--control", "hnd=second"], "did you mean hand?"),
        (["--metrics", "ssim", "--control", "hand"], "--control NAME=VALUE"),
        (["--metrics", "ssim", "--sitters", "9"], "no picture is called 9"),
        (["--metrics", "ssim", "--drawings", "none"], "none is not a folder"),
        (["--metrics", "ssim", "tiny"], "two models are called tiny"),
        (["--metrics", ","], "no metric"),
    ],
)
def test_a_wrong_call_gets_one_line_and_a_hint(zoo: Zoo, data: list[object], words: list[str], told: str) -> None:
    code, out, err = zoo("tiny", *data, *words)
    assert code in (2, 3, 5) and out == "" and told in err
    lines = [line for line in err.splitlines() if "without a drawing" not in line]
    assert lines[0].startswith("zoo: ") and lines[1].startswith("hint: ") and len(lines) == 2


def test_folders_without_a_common_name_have_no_pairs(zoo: Zoo, data: list[object], tmp_path: Path) -> None:
    for path in (tmp_path / "drawings").iterdir():
        path.rename(path.with_name(f"x{path.name}"))
    code, _, err = zoo("tiny", *data, "--metrics", "ssim")
    assert code == 2 and "no drawing has the name of a photograph" in err


def test_results_never_go_among_the_inputs(zoo: Zoo, data: list[object], tmp_path: Path) -> None:
    for folder in (tmp_path / "photos", tmp_path / "photos" / "below"):
        code, _, err = zoo("tiny", *data, "--metrics", "ssim", "--save", folder)
        assert code == 2 and "would mix" in err
    assert len(list((tmp_path / "photos").iterdir())) == 7
