"""Commands that plugins bring: listed without an import, parsed and printed by the core."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from conftest import leave
from installed import announce

from zoo.catalogue.host import host
from zoo.errors import UsageError
from zoo.progress import tell


def count(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR", help="Folders of pictures.")],
    least: Annotated[int, typer.Option(min=0, help="Leave out smaller ones.")] = 0,
) -> dict[str, Any]:
    """Count the pictures of folders.

    Nothing else.
    """
    rows = []
    for done, folder in enumerate(folders, 1):
        if not folder.is_dir():
            raise UsageError(f"{folder} is no folder", "give a folder")
        tell(f"counting {folder}", done, len(folders))
        rows.append({"folder": folder.name, "pictures": len([*folder.iterdir()])})
    rows = [row for row in rows if row["pictures"] >= least]
    empty = [row["folder"] for row in rows if not row["pictures"]]
    failed = f"nothing in {', '.join(empty)}" if empty else ""
    total = sum(row["pictures"] for row in rows)
    return {"rows": rows, "lines": [f"{len(rows)} folders"], "total": total, "failed": failed}


@pytest.fixture
def folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[str, str]:
    monkeypatch.setitem(host()._objects, ("command", "count"), count)
    monkeypatch.setitem(host()._owners, ("command", "count"), ["zoo-core"])
    for name, pictures in (("few", 1), ("many", 3)):
        (tmp_path / name).mkdir()
        for i in range(pictures):
            (tmp_path / name / f"{i}.png").touch()
    return str(tmp_path / "few"), str(tmp_path / "many")


def test_what_it_returns_is_a_table_and_lines(folders: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert leave(capsys, "count", *folders) == (0, "FOLDER  PICTURES\nfew     1\nmany    3\n2 folders\n", "")
    assert leave(capsys, "count", *folders, "--least", "2")[1].splitlines() == [
        "FOLDER  PICTURES",
        "many    3",
        "1 folders",
    ]


def test_or_json(folders: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = leave(capsys, "count", *folders, "--json")
    told = json.loads(out)
    assert (code, told["total"], told["lines"]) == (0, 4, ["2 folders"])


def test_what_failed_of_a_batch_is_told_after_the_rest(
    folders: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "none").mkdir()
    code, out, err = leave(capsys, "count", *folders, tmp_path / "none")
    assert (code, out.splitlines()[-1], err.splitlines()[0]) == (6, "3 folders", "zoo: nothing in none")
    assert leave(capsys, "count", tmp_path / "none", "--json")[0] == 6


def test_its_errors_are_the_cores(folders: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert leave(capsys, "count", "nowhere")[::2] == (2, "zoo: nowhere is no folder\nhint: give a folder\n")
    code, _, err = leave(capsys, "count", *folders, "--least", "-1")
    assert code == 2 and "--least" in err
    code, _, err = leave(capsys, "cuont", *folders)
    assert code == 2 and "did you mean count?" in err


def test_its_help_is_the_docstring(folders: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = leave(capsys, "count", "--help")
    assert code == 0
    for text in (
        "Count the pictures of folders.",
        "Folders of pictures.",
        "--least",
        "Leave out smaller ones.",
        "--json",
    ):
        assert text in out


def test_help_lists_it_without_an_import(tmp_path: Path) -> None:
    package = tmp_path / "zoo_slow"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemError('the plugin was imported')\n")
    (package / "zoo.yaml").write_text("parts: {command: [dawdle, list]}\n")
    announce(tmp_path, "slow")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from zoo.cli import main; main(sys.argv[1:])"
    told = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=True).stdout
    commands = told.partition("Commands of plugins:")[2].split()
    assert "dawdle" in commands and "zoo-slow" in commands
    assert "list" not in commands, "the core's own commands cannot be replaced"
    done = subprocess.run([sys.executable, "-c", code, "dawdle"], capture_output=True, text=True)
    assert done.returncode == 2 and "plugin zoo-slow 1.0 cannot be used" in done.stderr
