"""`zoo translate`: trees, what is there already, and one bad file among good ones."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from conftest import leave
from PIL import Image
from tiny_plugin import TinyPlugin, tiny  # noqa: F401  (a fixture)

Zoo = Callable[..., tuple[int, str, str]]
COLOURS = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)


@pytest.fixture
def run(tiny: TinyPlugin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Zoo:  # noqa: F811
    """``zoo translate tiny …`` in an empty folder -> exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def zoo(*words: object, model: str = "tiny") -> tuple[int, str, str]:
        return leave(capsys, "translate", model, "--device", "cpu", *words)

    return zoo


def picture(name: str, array: np.ndarray = COLOURS) -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def pixels(name: str) -> np.ndarray:
    with Image.open(name) as image:
        return np.asarray(image)


def tree(folder: str = ".") -> set[str]:
    return {path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file()}


def test_one_picture_into_one_file(run: Zoo):
    picture("a.png")
    code, out, err = run("a.png", "-o", "new/b.png")
    assert (code, out) == (0, "")
    assert "1 translated" in err
    assert np.array_equal(pixels("new/b.png"), COLOURS)
    assert tree() == {"a.png", "new/b.png"}


def test_what_ends_like_a_folder_is_one(run: Zoo):
    picture("a.png")
    code, _, err = run("a.png", "-o", "drawings.v2/")
    assert (code, tree()) == (0, {"a.png", "drawings.v2/a.png"}), err


def test_a_tree_is_kept(run: Zoo):
    for name in ("in/a.png", "in/x/a.png", "in/x/y/b.bmp"):
        picture(name)
    picture("c.gif")
    Path("in/notes.txt").write_text("no picture")
    assert run("in", "c.gif", "-o", "out")[0] == 0
    assert tree("out") == {"a.png", "x/a.png", "x/y/b.bmp", "c.png"}
    assert np.array_equal(pixels("out/x/y/b.bmp"), COLOURS)


@pytest.mark.parametrize("format", ["png", "jpg", "webp"])
def test_the_format_can_be_chosen(run: Zoo, format):
    picture("in/a.bmp")
    assert run("in", "-o", "out", "--format", format)[0] == 0
    assert tree("out") == {f"a.{format}"}
    with Image.open(f"out/a.{format}") as image:
        assert image.format == {"png": "PNG", "jpg": "JPEG", "webp": "WEBP"}[format]


def test_a_weights_file_in_place_of_a_name(run: Zoo, tiny: TinyPlugin):  # noqa: F811
    picture("a.png")
    path = tiny.other(Path("mine.safetensors"), tone=-1)
    assert run("a.png", "-o", "b.png", model=str(path))[0] == 0
    assert np.array_equal(pixels("b.png"), 255 - COLOURS)
    assert run("a.png", "-o", "c.png", "--weights", path)[0] == 0
    assert np.array_equal(pixels("c.png"), 255 - COLOURS)


@pytest.mark.parametrize(
    "words",
    [
        ("--hand", "second", "a.png"),
        ("a.png", "--hand", "second"),
        ("a.png", "--hand=second"),
        ("--invert", "a.png"),
        ("a.png", "--mix", "-1"),
        ("a.png", "--hand", "second", "--no-invert"),
    ],
)
def test_controls_are_options(run: Zoo, words):
    picture("a.png")
    assert run(*words, "-o", "b.png") == (0, "", "1 translated, 0 skipped, 0 failed\n")
    assert np.array_equal(pixels("b.png"), 255 - COLOURS)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--hnad", "second"), "did you mean --hand"),
        (("--devcie", "cpu"), "did you mean --device"),
        (("--no-hand",), "there is no option --no-hand"),
        (("--hand", "secnd"), "did you mean second"),
        (("--mix", "3"), "a number from -1 to 1"),
        (("--mix",), "--mix has no value"),
        (("--mix", "1", "--mix=0"), "--mix is given twice"),
        (("--size", "-4"), "size = -4"),
        (("--on-exists", "ask"), "ask"),
        (("--format", "gif"), "gif"),
        (("--device", "cuda:99"), "not available"),
        (("--format", "webp"), "is not what b.png says"),
    ],
)
def test_wrong_options_are_one_line_and_no_work(run: Zoo, words, told):
    picture("a.png")
    code, out, err = run("a.png", *words, "-o", "b.png")
    assert (code, out) == (2, "")
    assert told in err
    assert "Traceback" not in err
    assert tree() == {"a.png"}


def test_the_name_comes_first(run: Zoo):
    picture("a.png")
    code, _, err = run("tiny", "a.png", "-o", "b.png", model="--hand")
    assert code == 2
    assert "model's name" in err


def test_results_that_are_there_stop_before_any_work(run: Zoo):
    picture("in/a.png")
    picture("in/b.png")
    picture("out/b.png", COLOURS[:1])
    code, _, err = run("in", "-o", "out")
    assert code == 2
    assert "1 of 2 results are there already, such as out/b.png" in err
    assert "--on-exists" in err
    assert tree("out") == {"b.png"}
    assert pixels("out/b.png").shape == (1, 7, 3)


def test_results_that_are_there_can_be_skipped_or_overwritten(run: Zoo):
    picture("in/a.png")
    picture("in/b.png")
    picture("out/b.png", COLOURS[:1])
    assert "1 translated, 1 skipped" in run("in", "-o", "out", "--on-exists", "skip")[2]
    assert pixels("out/b.png").shape == (1, 7, 3)
    assert "2 translated, 0 skipped" in run("in", "-o", "out", "--on-exists", "overwrite")[2]
    assert pixels("out/b.png").shape == (9, 7, 3)


@pytest.mark.parametrize("out", ["a.png", ".", "link.png", "hard.png", "sub/../a.png"])
def test_an_input_is_never_overwritten(run: Zoo, out):
    content = picture("a.png").read_bytes()
    Path("sub").mkdir()
    Path("link.png").symlink_to("a.png")
    os.link("a.png", "hard.png")
    code, _, err = run("a.png", "-o", out, "--on-exists", "overwrite")
    assert code == 2
    assert "would overwrite the input" in err
    assert Path("a.png").read_bytes() == content
    assert Path("link.png").is_symlink()


def test_results_may_not_replace_another_input(run: Zoo):
    picture("in/a.bmp")
    content = picture("in/a.png").read_bytes()
    code, _, err = run("in/a.bmp", "in/a.png", "-o", "in", "--format", "png", "--on-exists", "overwrite")
    assert code == 2
    assert "in/a.png" in err
    assert Path("in/a.png").read_bytes() == content


def test_two_inputs_for_one_result(run: Zoo):
    picture("x/a.png")
    picture("y/a.png")
    picture("z/a.png")
    picture("z/a.bmp")
    for words in (("x", "y"), ("x/a.png", "y/a.png"), ("z", "--format", "png")):
        code, _, err = run(*words, "-o", "out")
        assert code == 2
        assert "would both become out/a.png" in err
    assert not Path("out").exists()


def test_one_picture_given_twice_is_one(run: Zoo):
    picture("in/a.png")
    assert "1 translated" in run("in", "in/a.png", "-o", "out")[2]


def test_results_below_the_pictures_are_not_pictures_again(run: Zoo):
    picture("in/a.png")
    for _ in range(2):
        assert run("in", "-o", "in/out", "--on-exists", "overwrite")[0] == 0
    assert tree("in") == {"a.png", "out/a.png"}


def test_one_bad_file_does_not_stop_the_rest(run: Zoo):
    picture("in/a.png")
    Path("in/b.png").write_bytes(b"no picture")
    Path("in/c.png").write_bytes(b"")
    picture("in/d.png")
    code, out, err = run("in", "-o", "out", "--json")
    assert code == 6
    report = json.loads(out)
    assert [item["input"] for item in report["failed"]] == ["in/b.png", "in/c.png"]
    assert [item["output"] for item in report["translated"]] == ["out/a.png", "out/d.png"]
    assert "in/b.png is not a picture" in err
    assert "2 translated, 0 skipped, 2 failed" in err
    assert tree("out") == {"a.png", "d.png"}


def test_a_single_bad_file_is_its_own_error(run: Zoo):
    Path("b.png").write_bytes(b"no picture")
    code, _, err = run("b.png", "-o", "out")
    assert code == 2
    assert err.startswith("zoo: b.png is not a picture")
    assert "hint: " in err


def test_json_is_all_of_stdout(run: Zoo):
    picture("a.png")
    _, out, _ = run("a.png", "-o", "b.png", "--json")
    assert json.loads(out) == {
        "model": "tiny",
        "translated": [{"input": "a.png", "output": "b.png"}],
        "skipped": [],
        "failed": [],
    }


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("none.png", "-o", "out"), 3, "there is no picture none.png"),
        (("https://example.org/a.png", "-o", "out"), 2, "web address"),
        (("", "-o", "out"), 2, "nothing is given"),
        (("empty", "-o", "out"), 3, "no pictures in empty"),
        (("a.png", "-o", "b.doc"), 2, "cannot write .doc"),
        (("a.png", "-o", "a.png/b"), 2, "a.png is not a folder"),
        (("a.png", "-o", "folder"), 2, "folder/a.png is a folder"),
        (("-o", "out"), 2, "IN"),
        (("--invert", "-o", "out"), 2, "no picture to translate"),
        (("a.png",), 2, "--out"),
    ],
)
def test_wrong_inputs_and_outputs(run: Zoo, words, code, told):
    picture("a.png")
    Path("empty").mkdir()
    Path("folder/a.png").mkdir(parents=True)
    left, out, err = run(*words)
    assert (left, out) == (code, "")
    assert told in err
    assert tree() == {"a.png"}


def test_an_unknown_model_names_the_near_one(run: Zoo):
    picture("a.png")
    code, _, err = run("a.png", "-o", "b.png", model="tinny")
    assert code == 3
    assert "did you mean tiny" in err


@pytest.mark.parametrize("model", ["runs/mine", "generator.pth", "./tiny"])
def test_a_path_that_is_no_weights_file(run: Zoo, model):
    picture("a.png")
    code, _, err = run("a.png", "-o", "b.png", model=model)
    assert code == 3
    assert f"{model} is not a weights file" in err and "zoo pack" in err


def test_what_was_packed_is_named_by_its_folder(run: Zoo, tiny: TinyPlugin, capsys: pytest.CaptureFixture[str]):  # noqa: F811
    picture("a.png")
    for folder in ("packed", "runs/mine/packed"):  # beside a model's name this would be the model
        Path(folder).mkdir(parents=True)
        shutil.copy(tiny.weights, Path(folder, "model.safetensors"))
        assert run("a.png", "-o", f"{folder}.png", model=folder)[0] == 0
    assert np.array_equal(pixels("packed.png"), pixels("runs/mine/packed.png"))
    for name in ("packed", "runs/mine/packed/model.safetensors"):
        code, told, err = leave(capsys, "info", name)
        assert code == 0 and "recipe tiny" in told and sha256(tiny.weights.read_bytes()).hexdigest() in told, err
        assert "mix: a number from -1 to 1" in told
        facts = json.loads(leave(capsys, "info", name, "--json")[1])
        assert facts["plugin"] == "zoo-tiny" and facts["bytes"] == tiny.weights.stat().st_size
    Path("runs/mine/run.yaml").write_text("")
    assert leave(capsys, "info", "runs/mine")[0] == leave(capsys, "info", "./nothing.safetensors")[0] == 3
    code, _, err = run("a.png", "-o", "b.png", model="runs/mine")
    assert code == 3 and "hint: it is a run: zoo pack runs/mine" in err


def test_size_and_alpha(run: Zoo):
    Image.fromarray(np.dstack([COLOURS, COLOURS[..., 0] | 1]), "RGBA").save("a.png")
    assert run("a.png", "-o", "b.png", "--size", "16")[0] == 0
    assert np.array_equal(pixels("b.png")[..., 3], COLOURS[..., 0] | 1)
    assert run("a.png", "-o", "b.jpg", "--size", "0")[0] == 0
    assert pixels("b.jpg").shape == (9, 7, 3)


def test_interrupting_leaves_whole_files_only(run: Zoo, monkeypatch: pytest.MonkeyPatch):
    for name in "abc":
        picture(f"in/{name}.png")
    real = os.fsync
    calls: list[Path] = []

    def interrupted(descriptor: int) -> None:
        calls.extend(Path("out").glob(".*.part"))
        if len(calls) == 2:
            raise KeyboardInterrupt
        real(descriptor)

    monkeypatch.setattr(os, "fsync", interrupted)
    assert run("in", "-o", "out")[0] == 130
    assert tree("out") == {"a.png"}
