"""Killed at any moment: what is there is whole, and the same command goes on as if nothing had happened."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import forks
import pytest
from training import EVEN, TINY, arguments, call, environment, pictures, run, same

import zoo.helpers.files
from zoo.errors import UsageError
from zoo.helpers.files import atomic
from zoo.train import checkpoint
from zoo.train.pack import pack

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pictures(tmp_path_factory.mktemp("data") / "photos", 3, seed=1)


@pytest.fixture(scope="module")
def drawings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pictures(tmp_path_factory.mktemp("data") / "drawings", 3, seed=2)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, photos: Path, drawings: Path) -> Path:
    out = tmp_path_factory.mktemp("data") / "run"
    run(out, photos, drawings, EVEN, steps=1)
    return out


def lines(out: Path) -> list[dict]:
    """The log without the times."""
    found = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [{key: line[key] for key in line if key != "seconds"} for line in found]


class Killed(BaseException):
    """The end of a process, as far as one process can show it."""


def killed_at(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Before the ``count``-th file takes its name all ends, and what was half written stays."""
    left = iter(range(count))

    def sync(path: Path) -> None:
        if next(left) == count - 1:
            monkeypatch.setattr(Path, "unlink", lambda self, missing_ok=False: None)
            raise Killed

    monkeypatch.setattr(zoo.helpers.files, "sync", sync)


# -- files --------------------------------------------------------------------------------------------------------------


def test_what_a_killed_process_left_goes_after_a_day(tmp_path: Path) -> None:
    for name, age in ((".0123456789abcdef.part", 2), (".fedcba9876543210.part", 0), ("mine.part", 2), (".x.part", 2)):
        (tmp_path / name).write_text("half")
        then = time.time() - age * 24 * 3600 - 60
        os.utime(tmp_path / name, (then, then))
    with atomic(tmp_path / "a.txt") as part:
        part.write_text("whole")
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"a.txt", ".fedcba9876543210.part", "mine.part", ".x.part"}


# -- training -----------------------------------------------------------------------------------------------------------


def test_a_run_that_was_killed_before_it_began(tmp_path: Path, photos: Path, drawings: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    for name in (".0123456789abcdef.part", ".lock"):
        (out / name).touch()
    run(out, photos, drawings, steps=1)
    assert not list(out.glob("*.part")) and not list(out.glob(".*.part"))
    other = tmp_path / "other"
    other.mkdir()
    (other / ".secret.part").touch()
    with pytest.raises(UsageError, match="holds no run"):
        run(other, photos, drawings, steps=1)


def test_what_was_half_written_goes_when_the_run_goes_on(tmp_path: Path, photos: Path, drawings: Path) -> None:
    out = tmp_path / "run"
    run(out, photos, drawings, EVEN, steps=1)
    half = [out / "checkpoints" / ".0123456789abcdef.part", out / "checkpoints" / ".tmpAbCdEf",
            out / "previews" / ".0123456789abcdef.part"]  # fmt: skip
    for path in half:
        path.write_text("half")
    run(out, photos, drawings, EVEN, steps=2)
    assert not any(path.exists() for path in half)


def test_the_log_is_the_same_after_a_step_between_two_lines(tmp_path: Path, photos: Path, drawings: Path) -> None:
    """A line is the mean of two steps; the run goes on in the middle of them."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run(whole, photos, drawings, EVEN, steps=4, save_every=3, log_every=2)
    shutil.copytree(whole, killed)
    (killed / "checkpoints" / "step-00000004.safetensors").unlink()
    run(killed, photos, drawings, EVEN, steps=4, save_every=3, log_every=2)
    assert [line["step"] for line in lines(killed)] == [2, 4]
    assert lines(killed) == lines(whole) and same(killed, whole)


@pytest.mark.parametrize("moment", [1, 2, 3])
def test_killed_while_run_yaml_log_or_preview_is_written(
    trained: Path, tmp_path: Path, photos: Path, drawings: Path, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    whole, killed = trained, tmp_path / "killed"
    with monkeypatch.context() as patch, pytest.raises(Killed):
        killed_at(patch, moment)
        run(killed, photos, drawings, EVEN, steps=1)
    assert list(killed.rglob(".*.part"))
    run(killed, photos, drawings, EVEN, steps=1)
    assert lines(killed) == lines(whole) and same(killed, whole)
    assert not list(killed.rglob(".*.part"))


def test_killed_while_later_lines_are_taken_back(
    tmp_path: Path, photos: Path, drawings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(self: Path, text: str, *_: object, **__: object) -> None:
        self.write_bytes(text.encode()[: len(text) // 2])
        raise Killed

    out = tmp_path / "run"
    run(out, photos, drawings, EVEN, steps=2, save_every=1)
    before = lines(out)
    (out / "checkpoints" / "step-00000002.safetensors").unlink()
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Path, "write_text", half)
        run(out, photos, drawings, EVEN, steps=2, save_every=1)
    assert lines(out) == before
    run(out, photos, drawings, EVEN, steps=2, save_every=1)
    assert lines(out) == before


def test_a_folder_in_which_another_process_trains(trained: Path, photos: Path, drawings: Path) -> None:
    code = "import fcntl, sys; f = open(sys.argv[1], 'ab'); fcntl.lockf(f, fcntl.LOCK_EX); print(flush=True); input()"
    words = [sys.executable, "-c", code, str(trained / ".lock")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline()
        with pytest.raises(UsageError, match="another process is training in"):
            run(trained, photos, drawings, EVEN, steps=1)
        other.kill()
    run(trained, photos, drawings, EVEN, steps=1)


@pytest.mark.slow
def test_one_process_at_a_time_and_kill_9(tmp_path: Path, photos: Path, drawings: Path) -> None:
    out = tmp_path / "run"
    words = arguments(out, photos, drawings, "--save-every", "1", "--workers", "1")
    first = forks.start("-m", *words, "--steps", "100000", env=environment())
    deadline = time.monotonic() + 120
    while len(checkpoint.checkpoints(out / "checkpoints")) < 2:
        assert first.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    try:
        said = call([*words, "--steps", "100000"], code=2).splitlines()[-2:]  # behind what it will do
    except BaseException:
        first.kill()
        raise
    assert said == [f"zoo: another process is training in {out}", "hint: wait for it, or give --out a new folder"]
    first.kill()  # its worker lives on for some seconds
    assert first.wait() == -signal.SIGKILL
    step = checkpoint.load(checkpoint.checkpoints(out / "checkpoints")[-1])[1]["step"]
    assert f"going on at step {step}" in call([*words, "--steps", str(step + 1)])
    call(arguments(tmp_path / "whole", photos, drawings, "--steps", str(step + 1)))
    assert same(out, tmp_path / "whole") and lines(out)[-1]["losses"] == lines(tmp_path / "whole")[-1]["losses"]


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_costs_no_checkpoint(tmp_path: Path, photos: Path, drawings: Path) -> None:
    out = tmp_path / "run"
    run(out, photos, drawings, EVEN, steps=1)
    [first] = checkpoint.checkpoints(out / "checkpoints")
    before = first.read_bytes()
    words = arguments(out, photos, drawings, "--steps", "2", overrides=[EVEN])
    words += [word for text in TINY for word in ("--set", text)]
    full = "import resource, runpy; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)); "
    done = forks.run("-c", full + "runpy.run_module('zoo', run_name='__main__')", *words[1:], env=environment())
    assert done.returncode == 1
    told = done.stderr.splitlines()[-2:]
    assert "step-00000002.safetensors cannot be written" in told[0] and "make room" in told[1]
    assert [path.name for path in (out / "checkpoints").iterdir()] == [first.name] and first.read_bytes() == before
    run(out, photos, drawings, EVEN, steps=2)
    run(tmp_path / "whole", photos, drawings, EVEN, steps=2)
    assert same(out, tmp_path / "whole")


# -- packing ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "moment"),
    [("new", 1), ("new", 2), ("new", 4), ("older", 1), ("older", 3), ("older", 4), ("completed", 2), ("completed", 3)],
)
def test_killed_while_packing(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str, moment: int
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        if state != "new":
            card = pack(trained, folder, licence="mit") / "README.md"
        if state == "completed":
            card.write_text(card.read_text().replace("Trained with", "The sitters agreed. Trained with"))
    pack(trained, whole, licence="cc0-1.0")
    with monkeypatch.context() as patch, pytest.raises(Killed):
        killed_at(patch, moment)
        pack(trained, killed, licence="cc0-1.0")
    assert list((trained if moment == 1 else killed).glob(".*.part"))  # at first the run notes what is packed
    pack(trained, killed, licence="cc0-1.0")
    assert content(killed) == content(whole)
    assert ("The sitters agreed" in (killed / "README.md").read_text()) == (state == "completed")
    assert ("cc0-1.0" in (killed / "README.md").read_text()) == (state != "completed")


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# -- everything ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_one_of_many_kills(tmp_path: Path) -> None:
    """The benchmark that is meant for hundreds works."""
    words = [sys.executable, BENCHMARKS / "crash.py", "--phase", "pack", "--kills", "1", "--out", tmp_path / "out"]
    done = subprocess.run(list(map(str, words)), env=environment(), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 kill" in done.stdout and ", 0 faults" in done.stdout
