"""Folders of pictures as people have them: kinds, links, spellings, results of earlier work."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest
from conftest import leave
from PIL import Image
from training import pictures

from zoo.errors import ImageError, UsageError
from zoo.evaluate.compare import match
from zoo.pictures import find
from zoo.pictures.image import find_pictures, read


def below(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in find_pictures([folder])]


def test_every_kind_that_can_be_read_is_found_and_the_others_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    find.reads_heif()  # registers HEIC's names with Pillow, whose list of names is then read anew
    find.suffixes.cache_clear()
    monkeypatch.setattr(find, "reads_heif", lambda: False)
    names = ("a.JPG", "b.jfif", "c.jpe", "d.mpo", "e.tga", "f.psd", "g.jp2", "h.pbm", "i.apng")
    for name in (
        *names,
        "IMG_1.HEIC",
        "IMG_2.heic",
        "raw.cr2",
        "walk.mp4",
        "scan.pdf",
        "plain",
        "notes.txt",
        "aus.csv",
    ):
        (tmp_path / name).touch()
    assert below(tmp_path) == sorted(names)
    [told] = [record.getMessage() for record in caplog.records]
    assert "1 .cr2, 2 .heic, 1 .mp4, 1 .pdf, 1 without suffix" in told and "zoo-core[heic]" in told
    assert "txt" not in told


def test_heic_is_read_where_pillow_heif_is(tmp_path: Path) -> None:
    pytest.importorskip("pillow_heif")
    assert find.reads_heif()
    Image.new("RGB", (96, 64), (200, 40, 40)).save(tmp_path / "IMG_1.HEIC", "HEIF")
    shutil.copy(tmp_path / "IMG_1.HEIC", tmp_path / "other.jpg")
    assert below(tmp_path) == ["IMG_1.HEIC", "other.jpg"]
    for path in find_pictures([tmp_path]):
        assert read(path).rgb.shape == (3, 64, 96)


def test_heic_without_pillow_heif_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo.pictures.opening.reads_heif", lambda: False)
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypnone")
    with pytest.raises(ImageError, match="is HEIC, which needs pillow-heif"):
        read(tmp_path / "a.heic")


def test_linked_folders_are_followed_once(tmp_path: Path) -> None:
    top, real = tmp_path / "top", tmp_path / "real"
    for name in ("top/own/x.jpg", "real/r.jpg", "real/deep/s.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (top / "a").symlink_to(real)
    (top / "b").symlink_to(real / "deep")  # seen already, below a
    (top / "c").symlink_to(top / "own")
    (top / "up").symlink_to(tmp_path)  # leads to where it lies itself
    (real / "round").symlink_to(real)
    (real / "other").symlink_to(top)
    assert below(top) == ["a/r.jpg", "a/deep/s.jpg", "own/x.jpg"]


def test_the_folder_of_a_run_holds_no_photographs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pictures(tmp_path, 2)
    pictures(tmp_path / "runs" / "mine" / "previews", 1)
    (tmp_path / "runs" / "mine" / "checkpoints").mkdir()
    (tmp_path / "runs" / "mine" / "run.yaml").touch()
    assert below(tmp_path) == ["0.png", "1.png"]
    assert "the folder of a training run" in caplog.text
    assert below(tmp_path / "runs" / "mine" / "previews") == ["0.png"]  # asked for by name


def test_names_are_the_same_in_the_spellings_of_a_mac_and_of_linux(tmp_path: Path) -> None:
    for folder, name in (("photos", "Zo\u00eb.jpg"), ("drawings", "Zoe\u0308.png")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).touch()
    [sitter] = match(tmp_path / "photos", tmp_path / "drawings")
    assert sitter.photo and sitter.drawing and sitter.name == "Zo\u00eb"
    (tmp_path / "photos" / "Zoe\u0308.jpg").touch()
    with pytest.raises(UsageError, match="have one name"):
        match(tmp_path / "photos", tmp_path / "drawings")


def test_translated_pictures_of_one_name_and_other_kinds_do_not_collide(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    from zoo.bulk.plan import plan
    from zoo.helpers.inputs import Inputs

    for name in ("x.jfif", "x.mpo", "x.tga", "y.jpg"):
        (tmp_path / name).touch()
    caplog.set_level(logging.WARNING)
    targets = [Path(job.target).name for job in plan([str(tmp_path)], str(tmp_path / "out"), None, Inputs()).jobs()]
    assert targets == ["x.png", "x.mpo.png", "x.tga.png", "y.jpg"]


@pytest.mark.parametrize("precision", ["fp16", "fp8"])
def test_accelerate_may_ask_for_bf16_alone(
    precision: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", precision)
    code, _, err = leave(capsys, "train", "cycleda-small", "--photos", "p", "--drawings", "d", "--bf16")
    assert code == 2 and err.startswith(f"zoo: accelerate launch --mixed_precision {precision} is not for zoo train\n")
