"""From card to verified file, with the Hub's real client against a Hub on loopback."""

from __future__ import annotations

import hashlib
import os
import pwd
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from conftest import forget, leave
from installed import DATA, FILE, HUB, REVISION, SHA256, install
from packaging.version import Version

import zoo
from zoo.card import Weights
from zoo.errors import IntegrityError, NetworkError, NotFoundError, UsageError, ZooError
from zoo.testing.hub import LoopbackHub
from zoo.weights import cache
from zoo.weights.sources import fetch, where

ON_HUB = Weights.model_validate({**FILE, "hub": HUB})
BUNDLED = Weights.model_validate({**FILE, "hub": HUB, "bundled": True})
PATIENT = pytest.mark.skipif(
    Version(version("huggingface_hub")) < Version("2"), reason="older clients give up; the next call goes on"
)
UNPUBLISHED = Weights.model_validate(FILE)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    with LoopbackHub() as server:
        assert server.add(HUB["repo"], REVISION, FILE["file"], DATA) == SHA256
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client waits between attempts."""
    monkeypatch.setattr(time, "sleep", lambda seconds: None)


def test_from_the_hub_once_then_from_the_cache(hub: LoopbackHub) -> None:
    assert where(ON_HUB) == "Hub"
    path = fetch(ON_HUB, "x")
    assert path.read_bytes() == DATA
    assert path.is_relative_to(cache.hub_cache())
    assert {request.path for request in hub.requests} == {f"/someone/x/resolve/{REVISION}/{FILE['file']}"}
    assert {request.method for request in hub.requests} == {"HEAD", "GET"}
    asked = len(hub.requests)
    assert where(ON_HUB) == "cached"
    assert fetch(ON_HUB, "x") == path
    assert len(hub.requests) == asked


def test_offline_uses_the_cache_and_asks_nobody(hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(NetworkError, match=r"HF_HUB_OFFLINE.*zoo download x --to DIR"):
        fetch(ON_HUB, "x")
    assert hub.requests == []
    fetch(ON_HUB, "x", offline=False)
    assert fetch(ON_HUB, "x").read_bytes() == DATA


def test_other_bytes_are_refused_and_removed(hub: LoopbackHub) -> None:
    hub.wrong = True
    with pytest.raises(IntegrityError, match="SHA-256"):
        fetch(ON_HUB, "x")
    assert not [path for path in cache.hub_cache().rglob("*") if path.is_file() and path.stat().st_size == len(DATA)]
    hub.wrong = False
    assert fetch(ON_HUB, "x").read_bytes() == DATA


@pytest.mark.parametrize("damaged", [bytes(len(DATA)), DATA[:-1]])
def test_a_damaged_cache_is_mended(hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch, damaged: bytes) -> None:
    path = fetch(ON_HUB, "x")
    path.write_bytes(damaged)
    assert fetch(ON_HUB, "x").read_bytes() == DATA
    path.write_bytes(damaged)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(IntegrityError, match="not the file"):
        fetch(ON_HUB, "x")
    assert not path.exists()


def test_an_unchanged_file_is_hashed_once(hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> None:
    path = fetch(ON_HUB, "x")
    monkeypatch.setattr(hashlib, "file_digest", lambda *_: pytest.fail("hashed again"))
    assert fetch(ON_HUB, "x") == path
    os.utime(path, ns=(0, 0))
    with pytest.raises(pytest.fail.Exception):
        fetch(ON_HUB, "x")


@PATIENT
def test_a_broken_download_goes_on(hub: LoopbackHub, no_pause: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)
    hub.cuts = 1
    assert fetch(ON_HUB, "x").read_bytes() == DATA
    assert hub.requests[-1].headers["range"] == f"bytes={len(DATA) // 2 // 1000 * 1000}-"


@PATIENT
def test_a_short_outage_is_waited_for(hub: LoopbackHub, no_pause: None) -> None:
    hub.down = 2
    assert fetch(ON_HUB, "x").read_bytes() == DATA


def test_a_long_outage_is_told(hub: LoopbackHub, no_pause: None) -> None:
    hub.down = 1000
    with pytest.raises(NetworkError, match="500"):
        fetch(ON_HUB, "x")


def test_nobody_there(monkeypatch: pytest.MonkeyPatch, no_pause: None) -> None:
    with pytest.raises(NetworkError, match=r"127\.0\.0\.1:9"):
        fetch(ON_HUB, "x")


def test_gated(hub: LoopbackHub) -> None:
    hub.gated = True
    with pytest.raises(NetworkError, match=rf"gated.*{hub.url}/someone/x.*HF_TOKEN"):
        fetch(ON_HUB, "x")


@pytest.mark.parametrize(
    "change, told",
    [({"repo": "no/one"}, "no repository no/one"), ({"revision": "f" * 40}, "f" * 40), ({}, "there is no")],
)
def test_not_on_the_hub(hub: LoopbackHub, change: dict[str, str], told: str) -> None:
    other = Weights.model_validate({**FILE, "file": "other.safetensors", "hub": {**HUB, **change}})
    with pytest.raises(NotFoundError, match=told):
        fetch(other, "x")


def test_a_token_goes_to_the_hub_and_no_further(hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.token, hub.redirect = "hf_secret", True
    with pytest.raises(NotFoundError, match="HF_TOKEN"):
        fetch(ON_HUB, "x")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert fetch(ON_HUB, "x").read_bytes() == DATA
    content = [request for request in hub.requests if request.path.startswith("/content/")]
    assert content and all("authorization" not in request.headers for request in content)


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    install(tmp_path, {"small": BUNDLED.model_dump(mode="json", exclude_none=True)}, bundle=DATA)
    monkeypatch.syspath_prepend(str(tmp_path))
    forget()
    return tmp_path / "zoo_x" / "weights" / FILE["file"]


def test_bundled_comes_before_the_hub(hub: LoopbackHub, plugin: Path) -> None:
    assert where(BUNDLED, "zoo-x") == "bundled"
    assert zoo.download("x") == plugin
    assert hub.requests == []


def test_a_damaged_wheel_is_left_alone_and_another_source_used(hub: LoopbackHub, plugin: Path) -> None:
    plugin.write_bytes(bytes(len(DATA)))
    assert zoo.download("x.small").read_bytes() == DATA
    assert plugin.exists()
    hub.gated = True
    assert zoo.download("x").is_relative_to(cache.hub_cache()), "the cache comes before the wheel"


def test_a_missing_plugin_is_named() -> None:
    alone = Weights.model_validate({**FILE, "bundled": True})
    with pytest.raises(NotFoundError, match=r"pip install zoo-none"):
        fetch(alone, "x", "zoo-none")


def test_nowhere_says_so() -> None:
    assert where(UNPUBLISHED) == "none"
    with pytest.raises(NotFoundError, match=r"nowhere.*ZOO_MIRRORS"):
        fetch(UNPUBLISHED, "x")


@pytest.mark.parametrize("name", [FILE["file"], SHA256])
def test_a_folder_as_mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (tmp_path / name).write_bytes(DATA)
    monkeypatch.setenv("ZOO_MIRRORS", f"/nowhere/at/all, {tmp_path}")
    assert where(UNPUBLISHED) == "mirror"
    assert fetch(UNPUBLISHED, "x", offline=True) == tmp_path / name


def test_a_mirror_with_other_bytes_is_passed_over(
    hub: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / FILE["file"]
    other.write_bytes(b"mine")
    monkeypatch.setenv("ZOO_MIRRORS", str(tmp_path))
    assert fetch(ON_HUB, "x").is_relative_to(cache.hub_cache())
    with pytest.raises(IntegrityError, match="4 bytes"):
        fetch(UNPUBLISHED, "x")
    assert other.read_bytes() == b"mine"


def test_a_url_as_mirror(hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_MIRRORS", f"{hub.url}/nothing/here, {hub.mirror}/")
    renamed = Weights.model_validate({**FILE, "file": "renamed.safetensors"})  # found by its SHA-256
    for weights in (UNPUBLISHED, renamed):
        assert fetch(weights, "x").read_bytes() == DATA
        assert where(weights) == "cached"
    asked = len(hub.requests)
    assert fetch(UNPUBLISHED, "x", offline=True).name == FILE["file"]
    assert len(hub.requests) == asked


@pytest.mark.parametrize(
    "fault, error", [({"wrong": True}, IntegrityError), ({"cuts": 9}, NetworkError), ({"down": 9}, NetworkError)]
)
def test_a_mirror_at_fault(
    hub: LoopbackHub, no_pause: None, monkeypatch: pytest.MonkeyPatch, fault: dict[str, Any], error: type[ZooError]
) -> None:
    monkeypatch.setenv("ZOO_MIRRORS", hub.mirror)
    vars(hub).update(fault)
    with pytest.raises(error):
        fetch(UNPUBLISHED, "x")
    assert not [path for path in cache.cache_folder().rglob("*") if path.is_file() and path.name != ".lock"]
    vars(hub).update(wrong=False, cuts=0, down=0)
    assert fetch(UNPUBLISHED, "x").read_bytes() == DATA


def test_a_cache_that_cannot_be_written(hub: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "file"))
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "file"))
    for mirrors in ("", hub.mirror):
        monkeypatch.setenv("ZOO_MIRRORS", mirrors)
        with pytest.raises(ZooError, match=r"cannot write to .*HF_HOME") as caught:
            fetch(UNPUBLISHED if mirrors else ON_HUB, "x")
        assert caught.value.exit_code == 1


def test_a_folder_for_other_machines(plugin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "out"
    copy = zoo.download("x", target)
    assert copy == target / FILE["file"] and copy.read_bytes() == DATA
    assert zoo.download("x", target) == copy
    assert list(target.iterdir()) == [copy]
    monkeypatch.setenv("ZOO_MIRRORS", str(target))
    assert fetch(UNPUBLISHED, "x", offline=True) == copy
    copy.write_bytes(b"mine")
    with pytest.raises(UsageError, match="another file"):
        zoo.download("x", target)
    assert copy.read_bytes() == b"mine"
    with pytest.raises(UsageError, match="cannot write"):
        zoo.download("x", copy)


@pytest.mark.parametrize(
    "settings",
    [{}, {"HF_HOME": "/a/b"}, {"HF_HUB_CACHE": "~/c", "HF_HOME": "/a"}, {"XDG_CACHE_HOME": "/d", "HF_HOME": ""}],
)
def test_the_cache_is_the_clients(settings: dict[str, str]) -> None:
    environment = {**os.environ, **settings}
    if not settings.get("HF_HOME", "x"):
        del environment["HF_HOME"]
    code = "from huggingface_hub import constants; from zoo.weights.cache import hub_cache; print(constants.HF_HUB_CACHE, hub_cache())"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    theirs, ours = done.stdout.split()
    assert theirs == ours


@pytest.mark.parametrize(
    "words", [["list"], ["info", "cyclegan"], ["doctor", "--json"], ["download", "cyclegan"]], ids=" ".join
)
def test_a_user_without_a_home_needs_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    def nobody(_: int) -> None:
        raise KeyError("getpwuid(): uid not found")

    for name in (
        "HOME",
        "USER",
        "LOGNAME",
        "LNAME",
        "USERNAME",
        "ZOO_CACHE",
        "XDG_CACHE_HOME",
        "HF_HOME",
        "HF_HUB_CACHE",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    code, out, err = leave(capsys, *words)
    assert code in (0, 1 if words[0] == "doctor" else 0), err
    assert "Traceback" not in err and out
