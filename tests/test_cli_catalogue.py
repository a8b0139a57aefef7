"""``zoo list``, ``info``, ``plugins``, ``parts`` and ``download`` as a user runs them, in a process of their own."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import forks
import pytest
from installed import DATA, FILE, HUB, REVISION, SHA256, install

import zoo.cli
from zoo.catalogue.registry import registry
from zoo.errors import ZooError
from zoo.testing.hub import LoopbackHub

Run = Callable[..., subprocess.CompletedProcess[str]]
HEAVY = {"torch", "torchvision", "numpy", "PIL", "safetensors", "accelerate", "zoo_x", "zoo_cycleda"}
QUICK = (["--help"], ["list"], ["info", "x"], ["plugins"], ["parts"])


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """``zoo`` with the plugin zoo-x on the path, whose code fails when imported."""
    twice = {
        "large": {**FILE, "file": "x-large.safetensors", "hub": HUB},
        "lost": {**FILE, "file": "x-lost.safetensors"},
    }
    install(tmp_path, {"small": {**FILE, "hub": HUB}, **twice})

    def run(*words: str, **settings: str) -> subprocess.CompletedProcess[str]:
        return forks.run("-m", "zoo", *words, env={**os.environ, "PYTHONPATH": str(tmp_path), **settings}, timeout=60)

    return run


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    with LoopbackHub() as server:
        server.add(HUB["repo"], REVISION, FILE["file"], DATA)
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


@pytest.mark.parametrize("words", [*QUICK, ["download", "--all", "--dry-run"], ["info", "cycleda", "--json"]])
def test_nothing_heavy_is_imported(tmp_path: Path, words: list[str]) -> None:
    install(tmp_path, {"small": FILE})
    code = f"""
import sys
from zoo.cli import main
try:
    main({words!r})
except SystemExit as exit:
    assert not exit.code, exit.code
sys.exit(", ".join({HEAVY!r} & sys.modules.keys()) or 0)
"""
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_import_zoo_is_light() -> None:
    heavy = HEAVY | {"pydantic", "yaml", "rich", "pluggy"}
    code = f"import sys, zoo; sys.exit(', '.join({heavy!r} & sys.modules.keys()) or 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_command_has_its_module_and_its_line() -> None:
    for name, (target, text) in zoo.cli.COMMANDS.items():
        assert importlib.util.find_spec(target.partition(":")[0]), name
        assert text.endswith("."), name


def test_list(run: Run) -> None:
    lines = run("list").stdout.splitlines()
    assert lines[0].split() == ["MODEL", "TASK", "WEIGHTS", "PLUGIN", "SUMMARY"]
    assert {line.split()[0] for line in lines[1:]} >= {"cycleda", "cyclegan", "x", "x.large", "x.lost"}
    own = next(line for line in lines if line.startswith("x "))
    assert "small, 0.1 MB, Hub" in own and "zoo-x" in own and "Portrait drawings" in own
    assert run("list", "--task", "nothing").stdout.splitlines() == ["MODEL  TASK  WEIGHTS  PLUGIN  SUMMARY"]


def test_list_and_info_as_json(run: Run) -> None:
    cards = {card["name"]: card for card in json.loads(run("list", "--json").stdout)}
    assert cards["x"]["installed"] is True
    assert {tag: weights["where"] for tag, weights in cards["x"]["weights"].items()} == {
        "small": "Hub",
        "large": "Hub",
        "lost": "none",
    }
    info = json.loads(run("info", "x", "--json").stdout)
    assert info.pop("controls")[0]["name"] == "smile"
    assert info == cards["x"]


def test_info(run: Run) -> None:
    told = run("info", "x.large").stdout
    for part in ("A, B: On X, 2020", "code MIT", "research only", "zoo-x 1.5, installed", SHA256, REVISION):
        assert part in told
    assert "smile: a number from 0 to 1. How much" in told


def test_a_model_whose_plugin_is_missing_is_listed(run: Run) -> None:
    assert "zoo-cycleda (not installed)" in run("list", ZOO_PLUGINS="zoo-x").stdout
    assert "pip install zoo-cycleda" in run("info", "cycleda", ZOO_PLUGINS="zoo-x").stdout


def test_plugins(run: Run, tmp_path: Path) -> None:
    row = next(line for line in run("plugins").stdout.splitlines() if line.startswith("zoo-x"))
    assert row.split(maxsplit=3) == ["zoo-x", "1.5", "found", "1 model, 1 recipe"]
    checked = run("plugins", "--check", ZOO_PLUGINS="zoo-x")
    assert checked.returncode == 2
    assert "broken" in checked.stdout and "the plugin was imported" in checked.stdout
    assert checked.stderr.startswith("zoo: broken: zoo-x\nhint: ")
    (tmp_path / "zoo_x" / "zoo.yaml").write_text("parts: {blok: [x]}")
    broken = run("plugins", "--json")
    assert broken.returncode == 0
    state = {row["name"]: row for row in json.loads(broken.stdout)}["zoo-x"]
    assert state["state"] == "broken" and "did you mean block" in state["faults"][0]
    assert run("list").returncode == 0


def test_parts(run: Run) -> None:
    assert "recipe  x     zoo-x" in run("parts", "recipe", ZOO_PLUGINS="zoo-x").stdout
    parts = json.loads(run("parts", "--json").stdout)
    assert {"kind": "recipe", "name": "x", "owner": "zoo-x"} in parts
    wrong = run("parts", "reciep")
    assert (wrong.returncode, wrong.stdout) == (2, "") and "did you mean recipe?" in wrong.stderr


def test_download(run: Run, hub: LoopbackHub, tmp_path: Path) -> None:
    dry = run("download", "x", "--dry-run", "--json")
    assert json.loads(dry.stdout) == [{"name": "x", **FILE, "from": "Hub", "path": None}]
    assert hub.requests == []
    done = run("download", "x")
    assert done.returncode == 0 and done.stderr == "", "no progress bar off a terminal"
    path = Path(done.stdout.splitlines()[1].split()[-1])
    assert path.read_bytes() == DATA
    asked = len(hub.requests)
    again = json.loads(run("download", "x", "--to", str(tmp_path / "out"), "--json").stdout)
    assert again[0]["from"] == "cached" and len(hub.requests) == asked
    assert Path(again[0]["path"]).read_bytes() == DATA
    assert "zoo_x" not in done.stderr


def test_some_of_many_fail(run: Run, hub: LoopbackHub) -> None:
    done = run("download", "--all")
    assert done.returncode == 6
    assert "x " in done.stdout and "x.large" not in done.stdout
    assert "x.large: there is no x-large.safetensors" in done.stderr and "x.lost: " in done.stderr
    every = sum(len(card.weights) for card in registry().cards.values()) + 3  # ours, and those of x
    assert done.stderr.splitlines()[-2:] == [
        f"zoo: 2 of {every} downloads failed",
        "hint: again: zoo download x.large x.lost",
    ]


def test_what_goes_wrong_has_its_exit_code(run: Run, hub: LoopbackHub) -> None:
    def told(*words: str, **settings: str) -> tuple[int, str]:
        done = run(*words, **settings)
        assert done.stdout == "" and len(done.stderr.splitlines()) == 2, done.stderr
        assert done.stderr.startswith("zoo: ") and "\nhint: " in done.stderr
        return done.returncode, done.stderr

    for words, code, part in [
        (["download"], 2, "--all"),
        (["download", "x", "--all"], 2, "--all"),
        (["download", "--al"], 2, "No such option"),
        (["downlaod"], 2, "did you mean download?"),
        (["info"], 2, "zoo info --help"),
        (["download", "x", "cyclda"], 3, "did you mean cycleda"),
        (["download", "x.lost"], 3, "ZOO_MIRRORS"),
        (["info", "x.smal"], 3, "small"),
    ]:
        ended, said = told(*words)
        assert ended == code and part in said, words
    assert hub.requests == [], "one wrong name stops all"
    assert told("download", "x", HF_HUB_OFFLINE="1")[0] == 4
    hub.wrong = True
    assert told("download", "x")[0] == 5


def test_a_card_without_weights(tmp_path: Path) -> None:
    install(tmp_path, {})
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return forks.run("-m", "zoo", *words, env=environment)

    done = run("download", "x")
    assert done.returncode == 3 and "x has no published weights yet" in done.stderr
    assert "none yet" in run("list").stdout


def test_tracebacks_only_when_asked_for(run: Run) -> None:
    for words, settings in ((["info", "cyclda", "--debug"], {}), (["info", "cyclda"], {"ZOO_DEBUG": "1"})):
        done = run(*words, **settings)
        assert "Traceback" in done.stderr and "NotFoundError" in done.stderr


@pytest.mark.parametrize(
    "raised, code, told",
    [
        (ZeroDivisionError("oh"), 1, "zoo: ZeroDivisionError: oh"),
        (KeyboardInterrupt(), 130, ""),
        (ZooError("a\nb"), 1, "zoo: a b"),
        (OSError(28, "No space left", "log.jsonl"), 1, "zoo: log.jsonl: No space left\nhint: check the disk"),
    ],
)
def test_whatever_happens_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], raised: BaseException, code: int, told: str
) -> None:
    def fail() -> None:
        raise raised

    monkeypatch.setattr("zoo.cli.parts.command", fail)
    with pytest.raises(SystemExit) as exit:
        zoo.cli.main(["parts"])
    assert exit.value.code == code
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith(told) and "Traceback" not in captured.err


def test_version_and_bare_call(run: Run) -> None:
    assert run("--version").stdout == f"zoo {zoo.__version__}\n"
    assert run().stdout == run("--help").stdout
