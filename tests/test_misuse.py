"""Calls that cannot be meant are told so in one line, from Python as from the shell; Ctrl-C never shows a traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tiny_plugin import TinyPlugin, tiny  # noqa: F401  (a fixture)

import zoo
from zoo.cli import main
from zoo.errors import UsageError

PICTURE = Image.new("RGB", (20, 20))


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: zoo.load(None), "None is neither a model's name nor a path"),
        (lambda: zoo.load(3), "3 is neither"),
        (lambda: zoo.load(["tiny"]), "neither"),
        (lambda: zoo.load("tiny", weights=3), "weights = 3 is not a path"),
        (lambda: zoo.load("tiny", compile="x"), "compile = 'x' is neither True nor False"),
        (lambda: zoo.load("tiny", dtype=[]), r"dtype \[\] is not known"),
        (lambda: zoo.load("tiny", dtype="fp8"), "dtype 'fp8' is not known"),
        (lambda: zoo.load("tiny", dtype=torch.float64), "is not known"),
        (lambda: zoo.load("tiny", device=[]), "no device is called"),
        (lambda: zoo.load("tiny", device=3), "not available here"),
        (lambda: zoo.load("tiny").translate(PICTURE, size="big"), "size = 'big' is not a size"),
        (lambda: zoo.load("tiny").translate(PICTURE, size=1.5), "size = 1.5 is not a size"),
        (lambda: zoo.load("tiny").translate(PICTURE, size=-1), "size = -1 is not a size"),
        (lambda: zoo.load("tiny").translate(PICTURE, batch="x"), "batch = 'x' is not a number of pictures"),
        (lambda: zoo.load("tiny").translate(PICTURE, batch=0), "batch = 0 is not a number of pictures"),
    ],
)
def test_python_calls(tiny: TinyPlugin, call: Any, told: str) -> None:  # noqa: F811
    with pytest.raises(UsageError, match=told) as caught:
        call()
    assert caught.value.hint and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["translate", "cycleda", "x.png", "-o", ""], "nothing is given after -o"),
        (["translate", "cycleda", "x.png", "--out="], "nothing is given after --out"),
        (["translate", "cycleda", "", "-o", "y.png"], "nothing is given after cycleda"),
        (["download", "cycleda", "--to", ""], "nothing is given after --to"),
        (["train", "cycleda", "--photos", "a", "--drawings", "b", "--out", ""], "nothing is given after --out"),
        ([""], "nothing is given after zoo"),
    ],
)
def test_an_empty_word_is_no_folder(
    words: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    PICTURE.save("x.png")
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 2
    assert capsys.readouterr().err.startswith(f"zoo: {told}\nhint: ")
    assert [path.name for path in tmp_path.iterdir()] == ["x.png"]


INTERRUPTED = """
import atexit, os, runpy, signal, sys

moment, *words = sys.argv[1:]
signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever the shell of the tests does


class CtrlC:
    def find_spec(self, name, path=None, target=None):
        if name == moment:
            os.kill(os.getpid(), signal.SIGINT)


sys.meta_path.insert(0, CtrlC())
if moment == "the end":
    atexit.register(os.kill, os.getpid(), signal.SIGINT)
sys.argv = ["zoo", *words]
runpy.run_module("zoo", run_name="__main__")
"""


@pytest.mark.parametrize(
    "moment", ["zoo.cli", "typer", "zoo.cli.list", "pydantic", "zoo.weights.sources", "yaml", "the end"]
)
def test_ctrl_c_while_a_command_starts_and_ends(moment: str) -> None:
    done = subprocess.run([sys.executable, "-c", INTERRUPTED, moment, "list"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "")


@pytest.mark.parametrize("moment", ["torch", "torch.nn", "zoo.pictures.image", "zoo_tiny.plugin"])
def test_ctrl_c_while_torch_is_imported(
    tiny: TinyPlugin,  # noqa: F811
    moment: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tiny.weights.parents[2]))
    PICTURE.save(tmp_path / "x.png")
    words = ["translate", "tiny", str(tmp_path / "x.png"), "-o", str(tmp_path / "y.png"), "--device", "cpu"]
    done = subprocess.run([sys.executable, "-c", INTERRUPTED, moment, *words], capture_output=True, text=True)
    assert done.returncode == 130 and "Traceback" not in done.stderr, done.stderr
    assert not (tmp_path / "y.png").exists()
