"""Damaged, odd and hostile pictures: a picture or one line, nothing lost, and no word of any library."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import pytest
import torch
from PIL import Image
from tiny_plugin import TinyPlugin, tiny  # noqa: F401  (a fixture)

import zoo
from zoo.cli import main
from zoo.cli.output import quiet_libraries
from zoo.errors import ImageError
from zoo.pictures.image import read

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))  # the script that makes ten thousand of them
from fuzzing import judge as judging
from fuzzing.damaged import KINDS, Input, make
from fuzzing.judge import judge, judge_command, spoken
from fuzzing.whole import chunk, encoded, photograph, png, seeds

EACH = 15
SMALL = [kind for kind in KINDS if kind != "decompression bomb"]  # those take gigabytes


@pytest.mark.parametrize("kind", SMALL)
def test_a_picture_or_one_line(tmp_path: Path, tiny: TinyPlugin, kind: str) -> None:  # noqa: F811
    folder = tmp_path / "pictures"
    folder.mkdir()
    inputs = [make(folder, 1, number, kind) for number in range(EACH)]
    with spoken(tmp_path / "stderr.txt") as said:
        verdicts = [*judge(inputs, zoo.load("tiny", device="cpu"), said)]
    assert [verdict for verdict in verdicts if verdict.result == "fault"] == []
    assert len(verdicts) == EACH


def test_all_formats_are_among_them() -> None:
    kinds = {name.split()[0] for name in seeds()}
    assert kinds >= {"png", "jpeg", "webp", "tiff", "multi", "bmp", "gif", "jp2", "ppm", "pgm", "ico"}
    assert len(seeds()) >= 40


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (lambda path: 1 / 0, "ZeroDivisionError"),
        (lambda path: read(photograph(3, 3)), "expected"),
        (lambda path: path.unlink() or read(path), "refused"),
        (lambda path: path.touch() or read(path), "the file was changed"),
        (lambda path: sys.stderr.write("Traceback") and read(path), "stderr: Traceback"),
    ],
)
def test_the_judge_is_not_blind(
    tmp_path: Path,
    tiny: TinyPlugin,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    fault: object,
    told: str,
) -> None:
    path = tmp_path / "000000.png"
    photograph().save(path)
    monkeypatch.setattr(judging, "read", fault)
    with spoken(tmp_path / "stderr.txt") as said, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", open(2, "w", closefd=False))  # noqa: SIM115
        [verdict, *_] = judge([Input("whole", path, (45, 31))], zoo.load("tiny", device="cpu"), said)
    assert verdict.result == "fault" and told in verdict.why


@pytest.mark.slow
def test_the_command_on_a_folder_of_them(tmp_path: Path, tiny: TinyPlugin, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setenv("PYTHONPATH", str(tiny.weights.parents[2]))
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(60):
        make(folder, 2, number, SMALL[number % len(SMALL)])
    verdict = judge_command(folder, tmp_path / "drawn", 0)
    assert verdict.result == "picture", verdict.why


# -- what the fuzzing found ---------------------------------------------------------------------------------------------


def test_names_and_links_of_all_kinds_on_the_command_line(
    tmp_path: Path,
    tiny: TinyPlugin,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "in"
    folder.mkdir()
    photograph().save(folder / "good.png")
    photograph().save(folder / "\udcff.png")
    (folder / "red\x1b[31m\n.png").write_text("no picture")
    (folder / "round.png").symlink_to("about.png")
    (folder / "about.png").symlink_to("round.png")
    with pytest.raises(SystemExit, match="6"):
        main(["translate", "tiny", "in", "-o", "out", "--json", "--device", "cpu"])
    out, err = capfd.readouterr()
    told = json.loads(out)
    assert [item["input"] for item in told["translated"]] == ["in/good.png", "in/\udcff.png"]
    assert len(told["failed"]) == 3 and err.count("\n") == 5 and "\x1b" not in err and r"red\x1b[31m .png" in err
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_libraries_are_not_heard_on_the_command_line(
    tmp_path: Path,
    tiny: TinyPlugin,  # noqa: F811
    capfd: pytest.CaptureFixture[str],
) -> None:
    """libtiff writes to stderr by itself, and Pillow warns of what it passes over."""
    content = bytearray(seeds()["tiff fax"][1])
    content[20:60] = bytes(40)
    (tmp_path / "a.tif").write_bytes(content)
    (tmp_path / "b.jpg").write_bytes(encoded(photograph(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\xff\xff"))
    with warnings.catch_warnings(), pytest.raises(SystemExit):
        warnings.simplefilter("always")
        main(["translate", "tiny", str(tmp_path), "-o", str(tmp_path / "out"), "--device", "cpu"])
    assert [line for line in capfd.readouterr().err.splitlines() if not line.startswith(("zoo: ", "hint: "))] in (
        [],
        ["2 translated, 0 skipped, 0 failed"],
    )


def test_stderr_is_as_before_when_libraries_may_speak_again(capfd: pytest.CaptureFixture[str]) -> None:
    import os

    before = sys.stderr
    with pytest.raises(KeyError), quiet_libraries():
        os.write(2, b"a library\n")
        print("ours", file=sys.stderr)  # noqa: T201
        raise KeyError
    os.write(2, b"a library again\n")
    assert sys.stderr is before and capfd.readouterr().err == "ours\na library again\n"


def test_postscript_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    photograph().save(path, "EPS")
    with pytest.raises(ImageError, match="PostScript"):
        read(path)


def test_too_little_memory_is_not_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(self: Image.Image) -> None:
        raise MemoryError

    path = tmp_path / "a.png"
    photograph().save(path)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
    with pytest.raises(ImageError, match=r"a\.png does not fit the memory"):
        read(path)


def test_too_little_memory_after_drawing_is_one_line(
    tiny: TinyPlugin,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def finite(self: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 147000000 bytes.")

    translator = zoo.load("tiny", device="cpu")
    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "isfinite", finite)
        [result] = translator.stream([photograph()])
    assert isinstance(result, ImageError) and "45×31 pixels do not fit the memory" in result.message


def test_a_large_profile_is_not_damage(tmp_path: Path) -> None:
    import zlib

    rows = zlib.compress(bytes(4))
    path = tmp_path / "a.png"
    path.write_bytes(png(1, 1, rows, chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(2_000_000)))))
    with pytest.raises(ImageError, match="more than a megabyte"):
        read(path)
