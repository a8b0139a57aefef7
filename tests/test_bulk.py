"""Pictures by the million, without a cluster: the plan, addresses, tables, several processes that may die."""

from __future__ import annotations

import copy
import io
import json
import os
import pickle
import platform
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import forks
import numpy as np
import pytest
from conftest import forget, leave
from dying import install_dying
from PIL import Image
from tiny_plugin import TinyPlugin, tiny  # noqa: F401  (a fixture)

import zoo
import zoo.bulk
import zoo.bulk.plan
from zoo.bulk.ledger import Trace
from zoo.bulk.model import Model
from zoo.bulk.plan import plan
from zoo.bulk.work import How, Watch, translated
from zoo.catalogue.host import host
from zoo.errors import ExistsError, IntegrityError, NotFoundError, UsageError
from zoo.helpers.inputs import Inputs
from zoo.pictures.image import Encoded, read

Zoo = Callable[..., tuple[int, str, str]]
COLOURS = np.random.default_rng(0).integers(0, 250, (9, 7, 3), dtype=np.uint8)


@pytest.fixture
def run(
    tiny: TinyPlugin,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Zoo:
    """``zoo translate tiny …`` in an empty folder -> exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    return lambda *words: leave(capsys, "translate", "tiny", "--device", "cpu", *words)


def encoded(array: np.ndarray = COLOURS) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def folder(count: int, name: str = "in") -> None:
    Path(name).mkdir(parents=True)
    for number in range(count):
        Path(name, f"{number}.png").write_bytes(encoded())


def whole(name: str) -> bool:
    with Image.open(name) as image:
        return np.array_equal(np.asarray(image), COLOURS)


# -- a translator on its way -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])  # noqa: S301
def test_a_translator_can_be_copied_and_sent(run: Zoo, way: Callable[[zoo.Translator], zoo.Translator]) -> None:
    translator = zoo.load("tiny", device="cpu")
    other = way(translator)
    assert np.array_equal(other.translate(COLOURS, invert=True), translator.translate(COLOURS, invert=True))
    assert (other.card, other.controls) == (translator.card, translator.controls)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_translator_works_after_a_fork_whoever_held_it(run: Zoo) -> None:
    translator = zoo.load("tiny", device="cpu")
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with translator._lock:
            held.set()
            done.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    if not (child := os.fork()):
        os._exit(0 if np.array_equal(translator.translate(COLOURS), COLOURS) else 1)
    done.set()
    holder.join()
    assert os.waitpid(child, 0)[1] == 0


def test_errors_are_the_same_in_another_process() -> None:
    error = pickle.loads(pickle.dumps(ExistsError("a.png")))  # noqa: S301
    assert (type(error), str(error)) == (ExistsError, str(ExistsError("a.png")))


def test_bytes_are_a_picture_too() -> None:
    assert np.array_equal(read(Encoded("a", encoded)).rgb, read(COLOURS).rgb)
    with pytest.raises(UsageError, match="row 3 is empty"):
        read(Encoded("row 3", bytes))
    with pytest.raises(UsageError, match="row 3 is not a picture"):
        read(Encoded("row 3", lambda: b"none"))


def test_weights_come_from_who_sends_them_and_only_those(run: Zoo, tiny: TinyPlugin) -> None:  # noqa: F811
    mine = tiny.other(Path("mine.safetensors"))
    model, content = Model.of(str(mine)), mine.read_bytes()
    mine.unlink()  # as on another machine
    with pytest.raises(IntegrityError, match="is not the file that its card promises"):
        model.built_elsewhere(lambda: content[:-1] + b"x")
    drawn = model.built_elsewhere(lambda: content).translate(COLOURS)
    assert np.array_equal(drawn, COLOURS)
    assert np.array_equal(model.built_elsewhere(bytes).translate(COLOURS), drawn), "they are there by now"
    host().plugins.pop("zoo-tiny")
    with pytest.raises(NotFoundError, match=f"{platform.node()}: tiny needs the plugin zoo-tiny"):
        model.built_elsewhere(bytes)


# -- the plan ----------------------------------------------------------------------------------------------------------


def test_a_plan_takes_hardly_any_memory(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    seen = forks.run("-c", MEMORY, cwd=tmp_path)
    assert seen.returncode == 0, seen.stderr
    assert int(seen.stdout) < 2_000_000, "300 MB for a million"


# In a process of its own: threads of what other tests have used take memory, too. What is imported is no plan's.
MEMORY = """
import tracemalloc
from pathlib import Path
import zoo.bulk.plan
from zoo.helpers.inputs import Inputs

def peak(count):
    def names(_):
        return (Path(f"in/{number // 1000}/photograph-{number:06}.jpg") for number in range(count))
    zoo.bulk.plan.pictures = names
    tracemalloc.start()
    jobs = zoo.bulk.plan.plan(["in"], "out", None, Inputs())
    assert sum(1 for _ in jobs.jobs(there=False)) == len(jobs) == count
    return tracemalloc.get_traced_memory()[1]

peak(1)
tracemalloc.stop()
print(peak(5_000))
"""


def test_a_plan_can_be_gone_through_while_it_is(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.png").touch()
    jobs = plan([str(tmp_path)], str(tmp_path / "out"), None, Inputs())
    pairs = [(one.number, other.number) for one in jobs.jobs() for other in jobs.jobs()]
    assert pairs == [(one, other) for one in range(3) for other in range(3)]


# -- several processes -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_processes_that_die_cost_nothing_but_time(
    tmp_path_factory: pytest.TempPathFactory,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    site = tmp_path_factory.mktemp("site")
    install_dying(site)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", str(site))
    monkeypatch.setenv("DYING", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    forget()
    folder(5)
    Path("in/3.png").write_bytes(encoded(np.full_like(COLOURS, 255)))  # at which a process dies each time
    Path("in/none.png").write_bytes(b"none")
    Path("after").touch()  # the first who has placed a result dies before it can say so
    code, out, err = leave(
        capsys, "translate", "tiny", "in", "-o", "out", "--workers", "1", "--device", "cpu", "--json"
    )
    for name in ("zoo_tiny", "zoo_tiny.plugin"):
        sys.modules.pop(name, None)
    assert code == 6, err
    told = json.loads(out)
    assert {row["output"] for row in told["translated"]} == {f"out/{n}.png" for n in range(5) if n != 3}
    assert sorted(row["input"] for row in told["failed"]) == ["in/3.png", "in/none.png"]
    assert err.count("in/3.png") == err.count("in/none.png") == 1 and "ended 3 times" in err
    assert not Path("after").exists()
    assert all(whole(row["output"]) for row in told["translated"])


def test_a_result_of_a_process_that_died_is_no_one_elses(run: Zoo) -> None:
    folder(2)
    translator = zoo.load("tiny", device="cpu")
    jobs = [*plan(["in"], "out", None, Inputs()).jobs()]
    watch = Watch()
    claimed: dict[int, str] = {}
    watch.claims = claimed.__setitem__  # type: ignore[method-assign]
    assert [one.what for one in translated(translator, jobs, How(), None, watch)] == ["translated"] * 2
    assert [one.what for one in translated(translator, jobs, How())] == ["failed"] * 2
    watch.known = {number: Trace(1, digest) for number, digest in claimed.items()}
    Path("out/1.png").write_bytes(b"theirs")
    again = [*translated(translator, jobs, How(), None, watch)]
    assert [one.what for one in again] == ["translated", "failed"]
    assert Path("out/1.png").read_bytes() == b"theirs"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--workers", "0"), "0 workers draw nothing"),
        (("--cluster", "nowhere.invalid:1", "--workers", "0"), "0 workers draw nothing"),
        (("--cluster",), "a cluster needs Ray, which is not installed"),
        (("--cluster=10.0.0.1:6379",), "a cluster needs Ray, which is not installed"),
        (("--workers", "1", "--mix", "7"), "mix"),
    ],
)
def test_refusals_come_before_any_work(run: Zoo, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], told: str):
    monkeypatch.setitem(sys.modules, "ray", None)
    folder(1)
    code, out, err = run(*words, "in", "-o", "out")
    assert (code, out, Path("out").exists()) == (2, "", False)
    assert told in err


# -- addresses and tables ----------------------------------------------------------------------------------------------


def test_addresses_are_as_folders(run: Zoo) -> None:
    memory = pytest.importorskip("fsspec").filesystem("memory")
    memory.store.clear()
    for name in ("/in/a.png", "/in/x/b.tga", "/in/x/c.jpg", "/in/notes.txt", "/in/.hidden.png"):
        memory.pipe(name, b"none" if name.endswith("jpg") else encoded())
    code, out, err = run("memory://in", "-o", "memory://out", "--json")
    assert code == 6 and err.count("memory://in/x/c.jpg") == 1
    assert [row["output"] for row in json.loads(out)["translated"]] == ["memory://out/a.png", "memory://out/x/b.png"]
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(memory.cat("/out/x/b.png")))), COLOURS)
    code, _, err = run("memory://in", "-o", "memory://out")
    assert code == 2 and "2 of 3 results are there already, such as memory://out/a.png" in err
    memory.pipe("/in/x/c.jpg", encoded())
    assert "1 translated, 2 skipped, 0 failed" in run("memory://in", "-o", "memory://out", "--on-exists", "skip")[2]
    assert "would overwrite the input" in run("memory://in/a.png", "-o", "memory://in/a.png", "--on-exists", "skip")[2]
    assert run("memory://in/a.png", "-o", "one.png")[0] == 0 and whole("one.png")
    assert run("memory://nowhere", "-o", "out")[0] == 3
    assert "nosuch" in run("nosuch://a/b.png", "-o", "out")[2]
    assert not [name for name in memory.find("/out") if name.endswith(".part")]


def test_what_came_meanwhile_behind_an_address_stays(run: Zoo) -> None:
    from zoo.bulk import addresses

    memory = pytest.importorskip("fsspec").filesystem("memory")
    memory.store.clear()
    addresses.put(b"mine", "memory://out/a", replace=False)
    with pytest.raises(ExistsError):
        addresses.put(b"others", "memory://out/a", replace=False)
    assert memory.cat("/out/a") == b"mine"
    addresses.put(b"others", "memory://out/a", replace=True)
    assert memory.cat("/out/a") == b"others"


def test_tables_in_and_out(run: Zoo) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = pa.table({"name": ["a", "b", "c"], "image": [encoded(), b"none", encoded()], "price": [1.0, 2.0, 3.0]})
    pq.write_table(table, "shop.parquet", row_group_size=2)
    code, out, err = run("shop.parquet", "-o", "out.parquet", "--invert", "--format", "webp", "--json")
    assert code == 6 and "2 translated, 0 skipped, 1 failed" in err and err.count("shop.parquet row 1 (b)") == 1
    assert [row["output"] for row in json.loads(out)["translated"]] == [
        "out.parquet/shop-00000.parquet",
        "out.parquet/shop-00001.parquet",
    ]
    rows = pq.read_table("out.parquet").to_pylist()
    assert [(row["name"], row["price"], row["image"] is None) for row in rows] == [
        ("a", 1.0, False),
        ("b", 2.0, True),
        ("c", 3.0, False),
    ]
    assert rows[0]["error"] is None and "not a picture" in rows[1]["error"]
    assert rows[0]["image"][8:12] == b"WEBP"
    Path("out.parquet/shop-00000.parquet").unlink()
    again = run("shop.parquet", "-o", "out.parquet", "--on-exists", "skip")
    assert again[0] == 6 and "1 translated, 1 skipped, 1 failed" in again[2]


def test_a_folder_becomes_a_table_and_a_table_a_folder(run: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr("zoo.bulk.folders.PART", 2)
    folder(2)
    folder(1, "in/below")
    Path("in/none.jpg").write_bytes(b"none")
    words = ("in", "-o", "drawn.parquet", "--format", "webp")
    code, _, err = run(*words)
    assert code == 6 and "3 translated, 0 skipped, 1 failed" in err and err.count("in/none.jpg") == 1
    assert [path.name for path in sorted(Path("drawn.parquet").iterdir())] == [
        f"pictures-0000{n}.parquet" for n in range(2)
    ]
    rows = {row["path"]: row for row in pq.read_table("drawn.parquet").to_pylist()}
    assert {*rows} == {"0.png", "1.png", "below/0.png", "none.jpg"}
    assert rows["0.png"]["image"][8:12] == b"WEBP" and rows["none.jpg"]["image"] is None
    assert "2 of 2 results are there already" in run(*words)[2]
    Path("drawn.parquet/pictures-00001.parquet").unlink()
    assert "1 translated, 1 skipped, 1 failed" in run(*words, "--on-exists", "skip")[2]  # a part counts as one
    Path("in/0.png").unlink()  # now all would move up
    code, _, err = run(*words, "--on-exists", "skip")
    assert code == 2 and "holds other pictures" in err
    code, _, err = run("drawn.parquet", "-o", "back", "--format", "png")
    assert code == 6 and "3 translated, 0 skipped, 1 failed" in err and err.count("row") == 1
    assert {path.relative_to("back").as_posix() for path in Path("back").rglob("*.*")} == {
        "0.png",
        "1.png",
        "below/0.png",
    }
    Path("back/1.png").unlink()
    again = run("drawn.parquet", "-o", "back", "--format", "png", "--on-exists", "skip")
    assert "1 translated, 2 skipped, 1 failed" in again[2]


def test_a_table_without_pyarrow(run: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    folder(1)
    Path("shop.parquet").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    for words in (("in", "-o", "out.parquet"), ("shop.parquet", "-o", "out")):
        code, _, err = run(*words)
        assert code == 2 and err.endswith(
            "parquet needs pyarrow, which is not installed\nhint: pip install 'zoo-core[cluster]'\n"
        )
    assert {path.name for path in Path().iterdir()} == {"in", "shop.parquet"}


def test_rows_are_called_as_they_say_but_never_leave_the_folder(run: Zoo) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    names = ["../a.png", "/etc/b", "https://x.org/c.png?v=1", "..", None, "d/e.tga", "a.png", "C:\\f.png"]
    pq.write_table(pa.table({"image": [encoded()] * len(names), "path": names}), "shop.parquet", row_group_size=3)
    code, _, err = run("shop.parquet", "-o", "out")
    assert code == 0, err
    assert {path.relative_to("out").as_posix() for path in Path("out").rglob("*.png")} == {
        "a.png", "b.png", "c.png", "shop-000003.png", "shop-000004.png", "d/e.png", "a-000006.png", "f.png",
    }  # fmt: skip
    assert whole("out/d/e.png") and {path.name for path in Path().iterdir()} == {"shop.parquet", "out"}


def test_what_are_no_tables_of_pictures(run: Zoo) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    folder(1)
    Path("broken.parquet").write_bytes(b"none")
    pq.write_table(pa.table({"a": [b""], "b": [b""]}), "two.parquet")
    pq.write_table(pa.table({"a": [1]}), "numbers.parquet")
    for words, told in (
        (("in", "two.parquet", "-o", "out.parquet"), "two.parquet is a table, and the rest is none"),
        (("two.parquet", "-o", "out.png"), "two.parquet is a table, and out.png is one file"),
        (("two.parquet", "-o", "out"), "two.parquet has several columns of bytes: a, b"),
        (("broken.parquet", "-o", "out.parquet"), "broken.parquet is no Parquet file"),
        (("two.parquet", "-o", "out.parquet"), "two.parquet has several columns of bytes: a, b"),
        (("numbers.parquet", "-o", "out.parquet"), "numbers.parquet has no column of bytes"),
    ):
        code, out, err = run(*words)
        assert (code, out) == (2, "") and told in err


def test_a_step_of_a_pipeline(run: Zoo) -> None:
    step = zoo.bulk.Drawing("tiny", device="cpu", invert=True)
    column = np.empty(3, dtype=object)
    column[:] = [encoded(), b"none", None]
    made = step({"id": np.arange(3), "bytes": column})
    assert [*made["id"]] == [0, 1, 2] and [one is None for one in made["bytes"]] == [False, True, True]
    assert [error is None for error in made["error"]] == [True, False, False]
    negative = np.asarray(Image.open(io.BytesIO(made["bytes"][0]))).astype(int)
    assert np.abs(255 - negative - COLOURS).max() <= 1
    arrays = step({"image": np.stack([COLOURS, COLOURS])})["image"]
    assert arrays.shape == (2, *COLOURS.shape) and np.array_equal(arrays[0], negative)
    with pytest.raises(UsageError, match="there is no column"):
        step({"id": np.arange(3)})
    with pytest.raises(UsageError, match="mix"):
        zoo.bulk.Drawing("tiny", device="cpu", mix=7)
