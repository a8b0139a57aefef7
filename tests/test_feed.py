"""Pictures on their way into training: what is known of files, faults that show late, batches ahead of time."""

from __future__ import annotations

import json
import logging
import multiprocessing
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml
from conftest import leave
from PIL import Image
from rich.console import Console
from torch import Tensor
from torch.nn import functional as F
from training import EVEN, RECIPE, RICH, TINY, pictures, run, same

from zoo.pictures.glance import glance
from zoo.pictures.image import read
from zoo.recipe import Augment, Data
from zoo.train.data import Portraits, Share
from zoo.train.feed import batches
from zoo.train.index import Index, remembering


def portraits(photos: Path, drawings: Path, pairs: bool = False, index: Index | None = None) -> Portraits:
    augment = Augment(rotate=10, colour=0.8, background=0.7)
    with remembering(index or Index()):
        data = Data(size=(32, 32), batch=2, pairs=pairs, augment=augment)
        return Portraits([photos], [("drawings", drawings)], data, 0, Console(quiet=True))


def damage(path: Path) -> None:
    """In its middle: beginning and end are as they were."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 60] = bytes(60)
    path.write_bytes(content)


def alike(one: Iterator[dict[str, Tensor]], other: Iterator[dict[str, Tensor]]) -> bool:
    return all(torch.equal(a[name], b[name]) for a, b in zip(one, other, strict=True) for name in a)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    return pictures(tmp_path / "photos", 4, 1), pictures(tmp_path / "drawings", 4, 2)


SHARE = Share(1, 9, batch=2, rank=0, processes=1)


def test_readers_leave_the_casts_of_a_step_alone(folders: tuple[Path, Path]) -> None:
    """Two uses of a weight within autocast share its cast, and add up their gradients there, also while pictures are read."""
    weight, x = torch.ones(2, 2, requires_grad=True), torch.ones(1, 2)

    def cast() -> object:
        node = F.linear(x, weight).grad_fn
        while "ToCopy" not in type(node).__name__:
            node = node.next_functions[-1][0]
        return node

    class Autocasting(Portraits):
        def __getitem__(self, index: int) -> dict[str, Tensor]:
            with torch.autocast("cpu", enabled=False):
                return super().__getitem__(index)

    data = Autocasting([folders[0]], [("drawings", folders[1])], Data(size=(32, 32), batch=2), 0, Console(quiet=True))
    with torch.autocast("cpu", torch.bfloat16):
        first = cast()
        assert len([*batches(data, SHARE, 0)]) == 8 and cast() is first


# -- faults that show late ------------------------------------------------------------------------------------------------


def test_a_fault_in_the_middle_of_a_file_is_told_once_and_the_next_picture_comes(
    folders: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    photos, drawings = folders
    damage(photos / "1.png")
    data, backwards = portraits(photos, drawings), portraits(photos, drawings)
    assert len(data.photos[0]) == 4 and not caplog.records
    ahead = list(batches(data, SHARE, 0))
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 1 and f"skipped {photos / '1.png'}: is damaged" in told[0] and "next one" in told[0]
    behind = [backwards[i] for i in reversed(range(2, 18))][::-1]
    for number, batch in enumerate(ahead):
        assert torch.equal(batch["source"], torch.stack([s["source"] for s in behind[2 * number : 2 * number + 2]]))


def test_of_a_pair_neither_is_used_when_one_is_faulty(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    photos, drawings = pictures(tmp_path / "photos", 3, 1), pictures(tmp_path / "drawings", 3, 1)
    damage(drawings / "2.png")
    data = portraits(photos, drawings, pairs=True)
    assert {data._choose(data.photos, i, 1)[1] for i in range(12)} == {0, 1}
    assert "drawings/2.png: is damaged" in caplog.text


def test_a_run_over_a_faulty_picture_goes_on_exactly(
    tmp_path: Path, folders: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    damage(folders[0] / "2.png")
    run(tmp_path / "whole", *folders, *RICH, EVEN, steps=4)
    run(tmp_path / "parts", *folders, *RICH, EVEN, steps=2)
    caplog.clear()
    run(tmp_path / "parts", *folders, *RICH, EVEN, steps=4)
    assert same(tmp_path / "whole", tmp_path / "parts")
    assert [record.getMessage() for record in caplog.records if "2.png" in record.getMessage()] == [
        f"skipped {folders[0] / '2.png'}: it cannot be decoded; the next one takes its place"
    ]


# -- what is remembered ---------------------------------------------------------------------------------------------------


def test_files_that_are_as_they_were_are_not_opened_again(
    tmp_path: Path, folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    photos, drawings = folders
    (photos / "broken.png").write_bytes((photos / "0.png").read_bytes()[:2000])
    portraits(photos, drawings, index=(index := Index())).remember().save(tmp_path / "pictures.json")
    assert index.changes() == ""
    opened: list[str] = []
    monkeypatch.setattr("zoo.train.index.glance", lambda path: opened.append(path.name) or glance(path))
    again = Index(tmp_path / "pictures.json")
    data = portraits(photos, drawings, index=again)
    assert opened == ["broken.png"]  # it may have been repaired
    assert len(data.photos[0]) == 4 and again.changes() == ""
    opened.clear()
    (photos / "0.png").write_bytes((drawings / "3.png").read_bytes())
    (photos / "1.png").unlink()
    pictures(tmp_path / "more", 1)
    (tmp_path / "more" / "0.png").rename(photos / "7.png")
    later = Index(tmp_path / "pictures.json")
    portraits(photos, drawings, index=later)
    assert sorted(opened) == ["0.png", "7.png", "broken.png"]
    assert later.changes() == "1 gone: 1.png; 1 new: 7.png; 1 changed: 0.png"


@pytest.mark.parametrize("spoil", [lambda text: text[:-40], lambda text: text.replace('"files"', '"f"'), lambda _: ""])
def test_a_damaged_index_is_not_believed(
    tmp_path: Path, folders: tuple[Path, Path], spoil, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "pictures.json"
    portraits(*folders, index=(index := Index())).remember().save(path)
    assert json.loads(path.read_text())["files"] and index.now
    path.write_text(spoil(path.read_text()))
    assert Index(path).before == {} and "is damaged" in caplog.text
    path.write_text(json.dumps({"sha256": "0", "files": {"a": [1, 2, 3, 4, 5, False]}}))
    assert Index(path).before == {}


def test_a_folder_that_changed_between_two_calls_is_told(
    tmp_path: Path, folders: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    out = folders[0] / "runs" / "mine"
    run(out, *folders, steps=1)
    run(out, *folders, steps=2)
    assert "the pictures are not those" not in caplog.text  # the previews are no photographs
    (folders[0] / "0.png").unlink()
    run(out, *folders, steps=3)
    assert "the pictures are not those of the run so far, it goes on with what is there: 1 gone: 0.png" in caplog.text
    assert yaml.safe_load((out / "run.yaml").read_text())["recipe"]["name"] == RECIPE


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"])
def test_a_file_that_is_cut_short_is_found_without_decoding_the_others(tmp_path: Path, kind: str) -> None:
    whole, short = tmp_path / f"whole.{kind.lower()}", tmp_path / f"short.{kind.lower()}"
    Image.effect_mandelbrot((120, 90), (-2, -1, 1, 1), 50).save(whole, kind)
    content = whole.read_bytes()
    short.write_bytes(content[: len(content) * 2 // 3])
    seen = glance(whole)
    assert (seen.width, seen.height) == (120, 90)
    with pytest.raises(Exception, match="damaged"):
        glance(short)


# -- smaller, sooner ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("kind", ["jpg", "png"])
def test_large_pictures_are_decoded_small_and_look_the_same(tmp_path: Path, kind: str, orientation: int) -> None:
    path, exif = tmp_path / f"large.{kind}", Image.Exif()
    exif[0x0112] = orientation
    smooth = pictures(tmp_path / "parts", 1, size=(60, 80)) / "0.png"
    Image.open(smooth).resize((1600, 1200), Image.Resampling.BICUBIC).save(path, exif=exif, quality=95)
    full, small = read(path).rgb, read(path, (60, 80) if orientation == 1 else (80, 60)).rgb
    assert 2 * 60 <= min(small.shape[1:]) < 4 * 60 and 2 * 80 <= max(small.shape[1:]) < 4 * 80
    assert (small.shape[1] > small.shape[2]) == (full.shape[1] > full.shape[2])
    exact = torch.nn.functional.interpolate(full[None], small.shape[1:], mode="bicubic", antialias=True)[0]
    assert float((exact - small).abs().mean()) < 0.01
    assert torch.equal(small, read(path, (60, 80) if orientation == 1 else (80, 60)).rgb)


# -- processes ------------------------------------------------------------------------------------------------------------


def test_pictures_go_to_another_process(folders: tuple[Path, Path]) -> None:
    data = portraits(*folders)
    data[0], data.preview(1)
    there = pickle.loads(pickle.dumps(data))  # noqa: S301
    assert not there.shelf.kept and not there.index.now and there.console is None
    assert alike(batches(data, SHARE, 0), batches(there, SHARE, 0))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_workers_start_however_processes_do(
    tmp_path: Path, folders: tuple[Path, Path], method: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = multiprocessing.get_start_method()
    damage(folders[0] / "2.png")
    words = [word for override in TINY for word in ("--set", override)]
    multiprocessing.set_start_method(method, force=True)
    try:
        code, _, err = leave(
            capsys, "train", RECIPE, "--photos", folders[0], "--drawings", folders[1], "--out", tmp_path / "run",
            "--device", "cpu", "--steps", 4, "--workers", 1, *words,
        )  # fmt: skip
    finally:
        multiprocessing.set_start_method(before, force=True)
        logging.getLogger("zoo").setLevel(logging.NOTSET)
    assert code == 0, err
    run(tmp_path / "threads", *folders, steps=4)
    assert same(tmp_path / "run", tmp_path / "threads")
    doubtful = [known for known in Index(tmp_path / "run" / "pictures.json").before.items() if known[1].doubtful]
    assert [name for name, _ in doubtful] == [str(folders[0] / "2.png")]  # what a worker found came back
