"""What can go wrong between a card and its weights: each fault ends in verified weights or in one clear line."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import resource
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
import yaml
from conftest import forget
from packaging.version import Version
from PIL import Image
from tiny_plugin import NETWORK, TinyPlugin, tiny  # noqa: F401  (a fixture)

import zoo
from zoo.errors import IntegrityError, NetworkError, NotFoundError, ZooError
from zoo.testing.hub import LoopbackHub
from zoo.weights.cache import cache_folder, hub_cache
from zoo.weights.file import save_weights
from zoo.weights.watch import watched

PATIENT = Version(version("huggingface_hub")) >= Version("2")  # older clients give up earlier; the next call goes on
REVISION = "5" * 40
REPO, FILE = "someone/tiny", "tiny.safetensors"


@dataclass
class Source:
    """The Hub, or a mirror of the same server."""

    kind: str
    server: LoopbackHub
    data: bytes
    site: Path

    def leftovers(self) -> list[Path]:
        """What is in the caches and is neither a lock, a tag nor a log; older clients may go on with a part."""
        found = [p for folder in (hub_cache(), cache_folder()) for p in folder.rglob("*") if p.is_file()]
        kept = (".lock", ".TAG", ".log") if PATIENT else (".lock", ".TAG", ".log", ".incomplete")
        return [path for path in found if not path.name.endswith(kept)]

    def works(self) -> None:
        """The weights come, whole, and draw."""
        assert zoo.download("tiny").read_bytes() == self.data
        picture = Image.effect_noise((24, 24), 40).convert("RGB")
        assert zoo.load("tiny", device="cpu").translate(picture).tobytes() == picture.tobytes()

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "zoo", "download", "tiny", *words]

    def environment(self, **more: str) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(self.site), "PYTHONDONTWRITEBYTECODE": "1", **more}

    def call(self, code: int, *words: str, **environment: str) -> str:
        """`zoo download tiny` in a process of its own. On a fault: one line, one hint, nothing else."""
        done = subprocess.run(
            self.command(*words), env=self.environment(**environment), capture_output=True, text=True, timeout=100
        )
        assert done.returncode == code, done.stderr
        if code:
            lines = done.stderr.splitlines()
            assert [line.partition(":")[0] for line in lines] == ["zoo", "hint"], done.stderr
            assert done.stdout == ""
        return done.stderr if code else done.stdout


@pytest.fixture(params=["Hub", "mirror"])
def source(
    request: pytest.FixtureRequest,
    tiny: TinyPlugin,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Source]:
    save_weights(
        tiny.weights, {"tone": torch.tensor([1.0])}, NETWORK, facts={f"notes-{i}": "x" * 10_000 for i in range(20)}
    )
    data = tiny.weights.read_bytes()
    tiny.weights.unlink()
    facts: dict[str, Any] = {"file": FILE, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    if request.param == "Hub":
        facts["hub"] = {"repo": REPO, "revision": REVISION}
    path = tiny.weights.parents[1] / "zoo.yaml"
    manifest = yaml.safe_load(path.read_text())
    manifest["cards"]["tiny"]["weights"] = {"plain": facts}
    path.write_text(yaml.safe_dump(manifest, sort_keys=False))
    forget()
    with LoopbackHub() as server:
        server.add(REPO, REVISION, FILE, data)
        name, address = ("HF_ENDPOINT", server.url) if request.param == "Hub" else ("ZOO_MIRRORS", server.mirror)
        monkeypatch.setenv(name, address)
        yield Source(request.param, server, data, path.parents[1])


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pause between attempts, and silence is noticed soon."""
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DOWNLOAD_TIMEOUT", 0.2)
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)
    monkeypatch.setattr("zoo.weights.connection.TIMEOUT", 0.2)
    monkeypatch.setattr("zoo.weights.remote.CHUNK", 1000)


# -- faults that pass ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [{"redirect": True}, {"down": 2}, {"cuts": 1}, {"stalls": 1}], ids=str)
def test_a_fault_that_passes(source: Source, hasty: None, fault: dict[str, Any]) -> None:
    if "redirect" not in fault and source.kind == "Hub" and not PATIENT:
        pytest.skip("older clients give up; the next call goes on")
    vars(source.server).update(fault)
    source.works()
    spans = [request.headers.get("range") for request in source.server.requests if request.method == "GET"]
    broken = fault.keys() & {"cuts", "stalls"}
    assert bool(broken) == bool(spans[-1]), "goes on where it broke, and only then"
    if spans[-1]:
        assert 0 < int(spans[-1].removeprefix("bytes=").removesuffix("-")) <= len(source.data) // 2


# -- faults that stay ---------------------------------------------------------------------------------------------

FOREVER = 10_000
HUB_FAULTS: dict[str, tuple[dict[str, Any], type[ZooError], str]] = {
    "not there": ({"files": {("a/b", REVISION, "c"): b""}}, NotFoundError, "no repository"),
    "gated": ({"gated": True}, NetworkError, "gated"),
    "wrong bytes": ({"wrong": True}, IntegrityError, r"tiny\.safetensors of someone/tiny at http.* SHA-256"),
    "down": ({"down": FOREVER}, NetworkError, "500"),
    "cut": ({"cuts": FOREVER}, NetworkError, "cannot download"),
    "silent": ({"stalls": FOREVER}, NetworkError, "(?i)timed? ?out"),
    "too long": ({"endless": True}, NetworkError, "cannot download"),
    "a login page": ({"portal": True}, NetworkError, "no Hub.*login"),
    "a loop": ({"loop": True}, NetworkError, "(?i)redirects"),
}
MIRROR_FAULTS: dict[str, tuple[dict[str, Any], type[ZooError], str]] = {
    **HUB_FAULTS,
    "not there": ({"files": {}}, NotFoundError, "has no tiny.safetensors"),
    "wrong bytes": ({"wrong": True}, IntegrityError, "SHA-256"),
    "too long": ({"endless": True}, IntegrityError, r"\d+ bytes instead of"),
    "a login page": ({"portal": True}, IntegrityError, "50 bytes instead of"),
    "a loop": ({"loop": True}, NetworkError, "infinite loop"),
}
del MIRROR_FAULTS["gated"]


@pytest.mark.parametrize("name", HUB_FAULTS)
def test_a_fault_that_stays(source: Source, hasty: None, name: str) -> None:
    table = HUB_FAULTS if source.kind == "Hub" else MIRROR_FAULTS
    if name not in table:
        pytest.skip("not of a mirror")
    fault, error, told = table[name]
    before = dict(vars(source.server))
    vars(source.server).update(fault)
    with pytest.raises(error, match=told) as caught:
        zoo.load("tiny", device="cpu")
    assert caught.value.hint and "\n" not in str(caught.value)
    assert source.leftovers() == []
    vars(source.server).update({name: before[name] for name in fault})
    source.works()


@pytest.mark.parametrize("fault", [{"drips": 0.02}, {"promises": True}], ids=["a byte at a time", "100 continue"])
def test_a_server_that_is_too_slow(
    source: Source, fault: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is left for the next source; of the download nothing is at work any more, nor in a cache."""
    monkeypatch.setattr("zoo.weights.connection.MINUTE", 0.5)
    monkeypatch.setattr("zoo.weights.connection.MOST_HEADERS", 1 << 14)
    vars(source.server).update(fault)
    with pytest.raises(NetworkError, match=r"only \d+ bytes moved in|a megabyte of headers"):
        zoo.download("tiny")
    assert source.leftovers() == []
    assert not any(thread.name == "zoo-transfer" for thread in threading.enumerate())
    with LoopbackHub() as other:
        other.add(REPO, REVISION, FILE, source.data)
        mirrors = filter(None, [os.environ.get("ZOO_MIRRORS"), other.mirror])
        monkeypatch.setenv("ZOO_MIRRORS", ",".join(mirrors))
        source.works()
    told = [record.getMessage() for record in caplog.records if source.server.url in record.getMessage()]
    assert len(told) == (source.kind == "mirror"), "the first source is named, if another was needed"


def test_a_line_that_is_slow_and_not_too_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo.weights.connection.MINUTE", 0.1)
    monkeypatch.setattr("zoo.weights.connection.LEAST", 50)
    monkeypatch.setattr("zoo.weights.watch.LOOK", 0.01)
    sizes = itertools.count(0, 100)
    assert watched(lambda: threading.Event().wait(0.5), lambda: next(sizes)) is False


def test_an_interrupt_stops_what_is_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()

    def work() -> None:
        try:
            while True:
                threading.Event().wait(0.01)
        finally:
            ended.set()

    def size() -> int:
        if any(thread.name == "zoo-transfer" for thread in threading.enumerate()):
            raise KeyboardInterrupt
        return 0

    with pytest.raises(KeyboardInterrupt):
        watched(work, size)
    assert ended.wait(5)


@pytest.mark.parametrize("source", ["mirror"], indirect=True)
def test_a_mirror_that_does_not_end_is_cut_off(source: Source) -> None:
    source.server.endless = True
    with pytest.raises(IntegrityError, match=rf"{len(source.data) + 1} bytes instead of {len(source.data)}"):
        zoo.download("tiny")


@pytest.mark.parametrize("source", ["mirror"], indirect=True)
def test_a_mirror_with_another_file_of_this_name(source: Source) -> None:
    source.server.files = {("a/b", REVISION, FILE): b"other", ("a/b", REVISION, "renamed"): source.data}
    source.works()  # found by its SHA-256


@pytest.mark.parametrize("source", ["Hub"], indirect=True)
def test_storage_by_xet_is_no_way_around(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("hf_xet")
    if not hasattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET"):
        pytest.skip("an early client: Xet is used where it is installed")
    source.server.xet = True
    with pytest.raises(NetworkError, match="HF_HUB_DISABLE_XET=1"):
        zoo.download("tiny")
    assert source.leftovers() == []
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    source.works()


def test_a_server_with_a_certificate_of_its_own(
    source: Source, hasty: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key", "-out", "certificate"]
    try:
        subprocess.run([*made, "-subj", "/CN=127.0.0.1", "-days", "2"], cwd=tmp_path, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("there is no openssl to make a certificate with")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificate", tmp_path / "key")
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None  # type: ignore[assignment]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    variable = "HF_ENDPOINT" if source.kind == "Hub" else "ZOO_MIRRORS"
    monkeypatch.setenv(variable, f"https://127.0.0.1:{server.server_port}")
    with pytest.raises(NetworkError, match=r"CERTIFICATE_VERIFY_FAILED.*SSL_CERT_FILE"):
        zoo.download("tiny")
    server.shutdown()
    thread.join()
    server.server_close()


# -- the command --------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("source", ["Hub"], indirect=True)
@pytest.mark.parametrize("name, code", [("not there", 3), ("gated", 4), ("wrong bytes", 5), ("a login page", 4)])
def test_the_command_says_it_in_two_lines(source: Source, name: str, code: int) -> None:
    vars(source.server).update(HUB_FAULTS[name][0])
    source.call(code)
    assert source.leftovers() == []


@pytest.mark.slow
def test_offline_without_and_with_a_cache(source: Source) -> None:
    assert "HF_HUB_OFFLINE" in source.call(4, HF_HUB_OFFLINE="1")
    assert source.server.requests == []
    source.call(0)
    asked = len(source.server.requests)
    assert json.loads(source.call(0, "--json", HF_HUB_OFFLINE="1"))[0]["from"] == "cached"
    assert len(source.server.requests) == asked


@pytest.mark.slow
def test_through_a_proxy(source: Source) -> None:
    away = (
        {"HF_ENDPOINT": "http://hub.invalid"} if source.kind == "Hub" else {"ZOO_MIRRORS": "http://hub.invalid/mirror"}
    )
    source.call(0, **away, http_proxy=source.server.url)


@pytest.mark.slow
def test_settings_of_the_client(source: Source, tmp_path: Path) -> None:
    """Those that switch something off do not switch off the check."""
    names = ("SYMLINKS", "PROGRESS_BARS", "XET", "TELEMETRY", "IMPLICIT_TOKEN", "SYMLINKS_WARNING")
    settings = {f"HF_HUB_DISABLE_{name}": "1" for name in names}
    source.server.wrong = True
    source.call(5, **settings)
    assert source.leftovers() == []
    source.server.wrong = False
    (row,) = json.loads(source.call(0, "--json", **settings))
    assert Path(row["path"]).read_bytes() == source.data
    Path(row["path"]).write_bytes(bytes(len(source.data)))
    (row,) = json.loads(source.call(0, "--json", **settings))
    assert Path(row["path"]).read_bytes() == source.data


@pytest.mark.slow
def test_folders_and_addresses_in_any_script(source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "キャッシュ é % #"
    monkeypatch.setenv("HF_HOME", str(folder / "hf"))
    monkeypatch.setenv("ZOO_CACHE", str(folder / "zoo"))
    if source.kind == "mirror":
        monkeypatch.setenv("ZOO_MIRRORS", f"{source.server.mirror}/重み é")
    source.works()
    copied = tmp_path / "写し"
    source.call(0, "--to", str(copied))
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "other"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "other"))
    monkeypatch.setenv("ZOO_MIRRORS", str(copied))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    source.works()


@pytest.mark.parametrize("source", ["mirror"], indirect=True)
@pytest.mark.parametrize("address", ["http://[broken/", "http://127.0.0.1:port/", "http://127.0.0.1:9/"])
def test_an_address_that_is_none(source: Source, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("ZOO_MIRRORS", address)
    with pytest.raises(NetworkError, match="cannot download"):
        zoo.download("tiny")


# -- disks --------------------------------------------------------------------------------------------------------


def test_a_limit_to_the_size_of_files(source: Source) -> None:
    """As a full disk or a quota does, writing stops in the middle of the file."""
    done = subprocess.run(
        source.command(),
        env=source.environment(),
        capture_output=True,
        text=True,
        timeout=100,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)),
    )
    assert done.returncode == 1
    zoo_line, hint = done.stderr.splitlines()
    assert "cannot write to" in zoo_line and "make room" in hint
    assert source.leftovers() == []
    source.works()


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Callable[..., list[str]]:
    """Gives a command that runs others with HF_HOME and ZOO_CACHE on a disk of their own."""
    disk = tmp_path / "disk"
    disk.mkdir()

    def on_disk(size: str, script: str) -> list[str]:
        mount = f'mount -t tmpfs -o size={size} none "{disk}" && export HF_HOME="{disk}/hf" ZOO_CACHE="{disk}/zoo"'
        return ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", f"{mount} && {{ {script}\n}}"]

    try:
        subprocess.run(on_disk("64k", "true"), check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this system lets nobody mount a disk of his own")
    return on_disk


@pytest.mark.slow
def test_a_full_disk(source: Source, tiny_disk: Callable[..., list[str]]) -> None:
    zoo_download = " ".join(source.command())
    script = f'{zoo_download}; code=$?; find "$(dirname "$HF_HOME")" -type f -size +5k; exit $code'
    done = subprocess.run(tiny_disk("100k", script), env=source.environment(), capture_output=True, text=True)
    assert done.returncode == 1
    said, hint = done.stderr.splitlines()
    assert "No space left" in said and "make room" in hint
    assert done.stdout == "", "no part of a file is left"


@pytest.mark.slow
def test_a_disk_that_is_read_only(source: Source, tiny_disk: Callable[..., list[str]]) -> None:
    zoo_download = " ".join(source.command())
    remount = 'mount -o remount,ro "$(dirname "$HF_HOME")"'
    script = f"{zoo_download} && {remount} && {zoo_download}"
    done = subprocess.run(tiny_disk("1m", script), env=source.environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(FILE) == 2, "what is there is used"
    script = f"{remount}; {zoo_download}"
    done = subprocess.run(tiny_disk("1m", script), env=source.environment(), capture_output=True, text=True)
    assert done.returncode == 1
    said, hint = done.stderr.splitlines()
    assert "Read-only" in said and "permissions" in hint


# -- processes ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_five_processes_at_once(source: Source) -> None:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    calls = [subprocess.Popen(source.command("--json"), env=source.environment(), **pipes) for _ in range(5)]  # type: ignore[call-overload]
    ends = [(*call.communicate(timeout=100), call.returncode) for call in calls]
    assert [code for _, _, code in ends] == [0] * 5, ends
    (path,) = {json.loads(out)[0]["path"] for out, _, _ in ends}
    assert Path(path).read_bytes() == source.data
    assert sum(request.method == "GET" for request in source.server.requests) == 1, "the others wait for the first"
    whole = [p for p in source.leftovers() if p.stat().st_size >= len(source.data) and not p.is_symlink()]
    assert len(whole) == 1


def test_killed_in_the_middle(source: Source) -> None:
    source.server.stalls = 1
    with subprocess.Popen(source.command(), env=source.environment(), stderr=subprocess.PIPE) as call:
        folders = {"Hub": (hub_cache(), "*.incomplete"), "mirror": (cache_folder(), ".*.part")}
        folder, pattern = folders[source.kind]
        while source.server.stalls or not (parts := [*folder.rglob(pattern)]):
            assert call.poll() is None
            time.sleep(0.01)
        call.send_signal(signal.SIGKILL)
    (killed,) = parts
    assert killed.exists(), "nobody could clean up"
    source.works()
    assert not killed.exists()
