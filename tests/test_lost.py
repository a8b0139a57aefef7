"""Nothing of the user's is lost or overwritten: what is there, what came meanwhile, what a call reads, what a cache links to."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import leave
from PIL import Image
from tiny_plugin import CONTROLS, TinyPlugin, tiny  # noqa: F401  (a fixture)

from zoo.card import HubFile, Weights
from zoo.errors import ExistsError, IntegrityError, UsageError
from zoo.helpers.files import atomic, place
from zoo.helpers.inputs import Inputs
from zoo.weights.cache import hub_cache, own_place
from zoo.weights.sources import fetch

Zoo = Callable[..., tuple[int, str, str]]
STYLED = [*CONTROLS, {"type": "image", "name": "style", "required": False}, {"type": "text", "name": "object"}]


@pytest.fixture
def zoo(
    tiny: TinyPlugin,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Zoo]:
    """``zoo …`` in an empty folder -> exit code, stdout, stderr. Signals are as before afterwards."""
    monkeypatch.chdir(tmp_path)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield lambda *words: leave(capsys, *words)
    for number, handler in before.items():
        signal.signal(number, handler)


def picture(name: str, grey: int = 100) -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (16, 16), (grey, grey, grey)).save(path)
    return path


def tree(folder: str = ".") -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(Path(folder).rglob("*")) if p.is_file()}


# -- placing without replacing -----------------------------------------------------------------------------------------


class _Nothing:
    """A C library without the call."""


@pytest.mark.parametrize("disk", ["with links", "without links", "without the call"])
@pytest.mark.parametrize("there", ["nothing", "a file", "a link", "a dead link", "a folder"])
def test_what_is_there_is_not_replaced_on_any_disk(
    tmp_path: Path, disk: str, there: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "no links here")

    path, mine = tmp_path / "out.txt", tmp_path / "mine.txt"
    mine.write_text("mine")
    links = os.symlink
    made = {
        "a file": lambda: path.write_text("theirs"),
        "a link": lambda: links(mine, path),
        "a dead link": lambda: links("nowhere", path),
        "a folder": path.mkdir,
    }
    if disk != "with links":
        monkeypatch.setattr(os, "link", refuse)
    if disk == "without the call":
        monkeypatch.setattr(ctypes, "CDLL", lambda _: _Nothing())

    def write() -> None:
        with atomic(path, replace=False) as part:
            part.write_text("new")
            made.get(there, lambda: None)()  # while it was written

    if there == "nothing":
        write()
        assert path.read_text() == "new" and {p.name for p in tmp_path.iterdir()} == {"mine.txt", "out.txt"}
        return
    with pytest.raises(ExistsError, match=r"out\.txt is there already"):
        write()
    assert mine.read_text() == "mine" and {p.name for p in tmp_path.iterdir()} == {"mine.txt", "out.txt"}
    assert path.is_dir() if there == "a folder" else path.is_symlink() == ("link" in there)
    assert there != "a file" or path.read_text() == "theirs"


@pytest.mark.parametrize("call", [True, False])
def test_a_folder_is_placed_as_a_file_is(tmp_path: Path, call: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not call:
        monkeypatch.setattr(ctypes, "CDLL", lambda _: _Nothing())
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "a").write_text("a")
    (tmp_path / "there").mkdir()
    with pytest.raises(ExistsError):
        place(tmp_path / "new", tmp_path / "there")
    assert not [*(tmp_path / "there").iterdir()]
    place(tmp_path / "new", tmp_path / "free")
    assert (tmp_path / "free" / "a").read_text() == "a" and not (tmp_path / "new").exists()


# -- inputs ------------------------------------------------------------------------------------------------------------


def test_all_that_a_call_reads_is_its_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b.json", "c.png", "free.png"):
        Path(name).write_text("x")
    os.link("a.png", "hard.png")
    Path("link.png").symlink_to("c.png")
    read = Inputs(None, 3, "dog,b.json", ["style=a.png", (Path("link.png"),)], "\0", "x" * 5000)
    for target in ("a.png", "hard.png", "b.json", "c.png", "link.png", "./a.png"):
        with pytest.raises(UsageError, match="would overwrite the input"):
            read.spare(Path(target))
    read.spare(Path("free.png"), Path("none.png"))
    read.ready(Path("free.png"), replace=True)
    with pytest.raises(ExistsError):
        read.ready(Path("free.png"))


@pytest.mark.parametrize("out", ["style.png", "link.png", "hard.png", "model.png", "set.png"])
def test_controls_and_weights_are_inputs(zoo: Zoo, tiny: TinyPlugin, out: str) -> None:  # noqa: F811
    weights = tiny.other(Path("mine.safetensors"), controls=STYLED)
    picture("a.png"), picture("style.png", 50), Path("set.png").write_bytes(b"a set of filters")
    Path("link.png").symlink_to("style.png")
    os.link("style.png", "hard.png")
    os.link(weights, "model.png")
    before = tree()
    words = ("a.png", "--style", "link.png", "--object", "dog,set.png", "-o", out, "--on-exists", "overwrite")
    code, _, err = zoo("translate", weights, *words)
    assert code == 2 and f"{out} would overwrite the input" in err
    assert tree() == before and Path("link.png").is_symlink()


def test_previews_do_not_replace_an_input(zoo: Zoo, tiny: TinyPlugin) -> None:  # noqa: F811
    weights = tiny.other(Path("mine.safetensors"), controls=STYLED)
    picture("a.png"), picture("way/style.png")
    words = ("a.png", "--style", "way/style.png", "-o", "b.png", "--previews", "way", "--on-exists", "overwrite")
    code, _, err = zoo("translate", weights, *words)
    assert code == 2 and "would overwrite the input way/style.png" in err


# -- results above, beside and below the pictures ----------------------------------------------------------------------


def test_results_above_the_pictures(zoo: Zoo) -> None:
    picture("photos/a.png"), picture("photos/x/b.png"), picture("c.bmp")
    assert "2 translated, 0 skipped" in zoo("translate", "tiny", "photos", "-o", ".")[2]
    code, _, err = zoo("translate", "tiny", "photos", "c.bmp", "-o", ".", "--format", "webp")
    assert code == 0 and "3 translated" in err
    assert tree().keys() >= {"a.png", "x/b.png", "a.webp", "x/b.webp", "c.webp"}


def test_pictures_where_the_results_go_are_left_out_with_a_word(zoo: Zoo) -> None:
    picture("photos/a.png"), picture("photos/holiday/h.png", 7)
    words = ("translate", "tiny", "photos", "-o", "photos/holiday")
    code, out, err = zoo(*words, "--json")
    assert code == 0 and "1 pictures in photos/holiday, where the results go, are left out" in err
    assert json.loads(out)["left_out"] == ["photos/holiday/h.png"]
    assert tree().keys() == {"photos/a.png", "photos/holiday/a.png", "photos/holiday/h.png"}
    code, _, err = zoo(*words, "--on-exists", "overwrite")  # is a.png there a result, or a picture like h.png?
    assert code == 2 and "photos/holiday/a.png may be a picture of yours" in err
    Path("photos/holiday/h.png").unlink()
    code, _, err = zoo(*words, "--on-exists", "overwrite")
    assert (code, err) == (0, "1 translated, 0 skipped, 0 failed\n")


# -- what comes meanwhile ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("on_exists", "code"), [("error", 6), ("skip", 0), ("overwrite", 0)])
def test_a_result_that_somebody_makes_meanwhile(
    zoo: Zoo, on_exists: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture("in/a.png"), picture("in/b.png"), picture("in/c.png")
    real = os.fsync

    def meanwhile(handle: int) -> None:
        if not Path("out/b.png").exists():
            Path("out/b.png").write_bytes(b"theirs")
        real(handle)

    monkeypatch.setattr(os, "fsync", meanwhile)
    left, out, err = zoo("translate", "tiny", "in", "-o", "out", "--on-exists", on_exists, "--json")
    assert left == code
    counts = {name: len(made) for name, made in json.loads(out).items() if name != "model"}
    assert (Path("out/b.png").read_bytes() == b"theirs") == (on_exists != "overwrite")
    assert (
        counts
        == {
            "error": {"translated": 2, "skipped": 0, "failed": 1},
            "skip": {"translated": 2, "skipped": 1, "failed": 0},
            "overwrite": {"translated": 3, "skipped": 0, "failed": 0},
        }[on_exists]
    )
    assert on_exists != "error" or "out/b.png is there already" in err
    assert not [*Path("out").glob(".*")]


def test_planning_compares_no_picture_with_every_other(zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    from zoo.bulk.plan import Job

    count, asked = 300, []
    for number in range(count):
        for folder in ("in", "out"):
            Path(folder).mkdir(exist_ok=True)
            Path(folder, f"{number}.png").write_bytes(b"")
    real = Job.__eq__
    monkeypatch.setattr(Job, "__eq__", lambda one, other: asked.append(1) or real(one, other))
    assert f"0 translated, {count} skipped" in zoo("translate", "tiny", "in", "-o", "out", "--on-exists", "skip")[2]
    assert len(asked) < 10 * count


# -- reports, pages, graphs --------------------------------------------------------------------------------------------


def test_a_report_is_not_replaced_unasked(zoo: Zoo) -> None:
    for number in range(2):
        picture(f"photos/{number}.png", 40 * number), picture(f"drawings/{number}.png", 90)
    words = ("eval", "tiny", "--photos", "photos", "--drawings", "drawings", "--metrics", "ssim", "--device", "cpu")
    assert zoo(*words, "--save", "report")[0] == 0
    for kept in ("results.json", "strip.png", "tiny/1.png"):
        for path in Path("report").rglob("*.*"):
            path.unlink()
        Path("report", kept).write_bytes(b"mine")
        code, _, err = zoo(*words, "--save", "report")
        assert code == 2 and f"report/{kept} is there already" in err
        assert tree("report") == {kept: b"mine"}
    assert zoo(*words, "--save", "report", "--overwrite")[0] == 0
    assert b"mine" not in tree("report").values()


def test_a_page_does_not_replace_its_questions(zoo: Zoo) -> None:
    picture("photos/a.png")
    Path("page.key.json").write_text("- my questions")
    words = ("survey", "make", "tiny", "tiny", "--photos", "photos", "-o", "page.html", "--overwrite")
    code, _, err = zoo(*words, "--questions", "page.key.json")
    assert code == 2 and "would overwrite the input" in err
    assert Path("page.key.json").read_text() == "- my questions"


def test_a_graph_does_not_replace_its_weights(zoo: Zoo, tiny: TinyPlugin) -> None:  # noqa: F811
    weights = tiny.other(Path("mine.safetensors"))
    os.link(weights, "mine.onnx")
    code, _, err = zoo("export", weights, "-o", "mine.onnx", "--on-exists", "overwrite")
    assert code == 2 and "would overwrite the input" in err


# -- the end of a process ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_leaves_no_half_video(
    zoo: Zoo, number: signal.Signals, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("av")
    from zoo.pictures import video

    video.write([np.full((16, 16, 3), grey, np.uint8) for grey in range(80)], "in.mp4", 25)
    real, seen = video._frame, []

    def end(*words: object) -> object:
        seen.append([*Path("out").glob(".*.part")])
        if len(seen) == 75:
            os.kill(os.getpid(), number)
        return real(*words)

    signal.signal(number, signal.SIG_DFL)
    monkeypatch.setattr(video, "_frame", end)
    assert zoo("translate", "tiny", "in.mp4", "-o", "out/b.mp4")[0] == code
    assert len(seen) == 75 and seen[-1] and tree("out") == {}


# -- caches ------------------------------------------------------------------------------------------------------------


def damaged(hub: HubFile | None = None) -> Weights:
    return Weights(file="a.safetensors", sha256=hashlib.sha256(b"right").hexdigest(), bytes=5, hub=hub)


def test_what_a_link_in_the_cache_leads_to_stays(tmp_path: Path) -> None:
    mine = tmp_path / "thesis.doc"
    mine.write_bytes(b"wrong")
    path = own_place(damaged())
    path.parent.mkdir(parents=True)
    path.symlink_to(mine)
    with pytest.raises(IntegrityError):
        fetch(damaged(), "mine", offline=True)
    assert mine.read_bytes() == b"wrong" and not path.is_symlink()


def test_a_folder_that_a_link_in_the_cache_leads_to_stays(tmp_path: Path) -> None:
    mine = tmp_path / "models" / "a.safetensors"
    mine.parent.mkdir()
    mine.write_bytes(b"wrong")
    place = own_place(damaged()).parent
    place.parent.mkdir(parents=True)
    place.symlink_to(mine.parent)
    with pytest.raises(IntegrityError):
        fetch(damaged(), "mine", offline=True)
    assert mine.read_bytes() == b"wrong"


@pytest.mark.parametrize("elsewhere", [False, True])
def test_of_the_hubs_cache_only_what_its_client_keeps_is_removed(tmp_path: Path, elsewhere: bool) -> None:
    hub = HubFile(repo="user/name", revision="0" * 40)
    repo = hub_cache() / "models--user--name"
    blob = tmp_path / "mine.bin" if elsewhere else repo / "blobs" / "abc"
    shown = repo / "snapshots" / hub.revision / "a.safetensors"
    for path in (blob, shown):
        path.parent.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(b"wrong")
    shown.symlink_to(os.path.relpath(blob, shown.parent))
    with pytest.raises(IntegrityError):
        fetch(damaged(hub), "mine", offline=True)
    assert blob.exists() == elsewhere and not shown.is_symlink()
