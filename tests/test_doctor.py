"""``zoo doctor``: one page for a bug report, with what is broken, and without secrets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import forget, leave
from faulty import IMPORTED, LETHAL, OUTSIDE, install
from tiny_plugin import TinyPlugin, tiny  # noqa: F401  (a fixture)

import zoo.doctor.page
from zoo.doctor import isolated
from zoo.doctor.isolated import Lost
from zoo.helpers.forks import Forks
from zoo.machine.kernels import told
from zoo.testing.hub import LoopbackHub
from zoo.weights.remote import answers

SECTIONS = ["zoo", "packages", "machine", "devices", "caches", "network", "plugins", "models", "environment"]


@pytest.fixture
def well(monkeypatch: pytest.MonkeyPatch) -> None:
    """What would start other processes answers at once."""

    def call(target: str, *words: str, timeout: float, forks: Forks | None = None) -> Any:
        return (
            [{"name": "cpu", "about": "a torch", "works": "fp32 works", "kernels": told("cpu")}]
            if target == "zoo.doctor.machine:devices"
            else ""
        )

    monkeypatch.setattr(isolated, "call", call)
    monkeypatch.setattr(zoo.doctor.page, "check_plugins", lambda *_: {"zoo-core": [], "zoo-cycleda": []})


@pytest.fixture
def hub() -> Iterator[LoopbackHub]:
    with LoopbackHub() as server:
        yield server


def doctor(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    return leave(capsys, "doctor", *words)


def facts(capsys: pytest.CaptureFixture[str], section: str, *words: str) -> dict[str, dict[str, Any]]:
    return {fact["name"]: fact for fact in json.loads(doctor(capsys, "--json", *words)[1])[section]}


def test_the_page(
    well: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ZOO_MEMORY", "3G")
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / ("long" * 20)))
    code, out, err = doctor(capsys)
    assert (code, err) == (0, ""), out
    lines = out.splitlines()
    assert [line for line in lines if not line.startswith((" ", "!"))] == SECTIONS
    assert all(len(line) <= 80 or " " not in line[20:] for line in lines)  # a path stays whole, however long it is
    for name, text in (
        ("zoo-core", "0.1.0, "),
        ("torch", "2."),
        ("cores", ""),
        ("cpu", "a torch; fp32 works"),
        ("cpu kernels", "fp32 with channels"),
    ):
        assert any(line.startswith(f"  {name} ") and text in line for line in lines), name
    assert any(line.split() == ["ZOO_MEMORY", "3G"] for line in lines)
    assert "cyclegan, cyclese" in out and not any(line.startswith("!") for line in lines)
    data = json.loads(doctor(capsys, "--json")[1])
    assert list(data) == ["faults", *SECTIONS] and data["faults"] == []


def test_no_secret_and_no_name_is_told(
    well: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    home = tmp_path / "home" / "alice"
    home.mkdir(parents=True)
    secrets = {
        "HF_TOKEN": "hf_abcdefghijklmnop",
        "HTTPS_PROXY": "http://alice:s3cr3t-word@proxy.example:3128",
        "ZOO_MIRRORS": f"https://alice:other-word@mirror.example/x?sig=hf_qrstuvwxyz0123, {tmp_path}/data/alice/mirror",
        "HF_HOME": str(home / "hf"),
        "ZOO_SECRET": "another-word",
        "HOME": str(home),
        "LOGNAME": "alice",
        "MY_API_KEY": "fourth-word",
        "HF_ENDPOINT": "http://fourth-word.example",
    }
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    for words in ([], ["--json"]):
        _, out, err = doctor(capsys, *words)
        for word in ("hf_", "s3cr3t-word", "other-word", "another-word", "fourth-word", "alice"):
            assert word not in out + err
        assert "~/hf" in out and "proxy.example:3128" in out and "mirror.example" in out and "USER/mirror" in out
    found = {fact["name"]: fact["text"] for fact in json.loads(doctor(capsys, "--json")[1])["environment"]}
    assert found["HF_TOKEN"] == found["ZOO_SECRET"] == "set" and "MY_API_KEY" not in found
    assert facts(capsys, "network")["token"]["text"] == "yes"


def test_what_is_broken_is_marked(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    tiny: TinyPlugin,  # noqa: F811
) -> None:
    def call(target: str, *words: str, timeout: float, forks: Forks | None = None) -> Any:
        if target == "zoo.doctor.machine:devices":
            raise Lost("it crashes Python with SIGSEGV")
        return "gaierror: nobody knows it"

    monkeypatch.setattr(isolated, "call", call)
    monkeypatch.setattr(zoo.doctor.page, "check_plugins", lambda *_: {"zoo-tiny": ["one fault", "another"]})
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "file"))
    monkeypatch.setenv("ZOO_MIRRORS", f"{tmp_path}/nowhere,{tmp_path},http://127.0.0.1:9/m")
    monkeypatch.setenv("ZOO_PLUGINS", "zoo-tiny,zoo-tyni")
    tiny.weights.write_bytes(bytes(tiny.weights.stat().st_size))
    forget()
    code, out, err = doctor(capsys, "--verify")
    assert code == 1 and err == "zoo: 8 things do not work\nhint: see the lines that begin with !\n"
    marked = [line.split()[1] for line in out.splitlines() if line.startswith("!")]
    assert marked == ["torch", "zoo", "mirror", "mirror", "zoo-tiny", "another", "names", "tiny"]
    whole = " ".join(out.split())
    for text in (
        "crashes Python with SIGSEGV",
        "file, cannot be written: ",
        "nowhere: no such folder",
        "m: not reached: gaierror: nobody knows it",
        "1.0, broken: one fault",
        "ZOO_PLUGINS names zoo-tyni, which is not installed; did you mean zoo-tiny",
        "tiny.safetensors is damaged",
        "no plugin cyclegan, cyclese, cycleda",
        "Hub http://127.0.0.1:9: not reached: gaierror",  # no fault
    ):
        assert text in whole, text
    assert "damaged" not in doctor(capsys)[1]


def test_a_section_that_fails_leaves_the_others(
    well: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zoo.doctor.page, "cache_folder", lambda: 1 / 0)
    code, out, _ = doctor(capsys)
    assert code == 1 and "! fault             cannot be looked at: ZeroDivisionError" in out
    assert out.splitlines()[-1].startswith("  ") and "zoo-cycleda" in out


def test_packages_that_are_missing_or_too_old(
    well: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = ["numpy>=99", "no-such-thing>=1", "no-such-extra>=1; extra == 'faces'", "pillow>=1; python_version < '3'"]
    monkeypatch.setattr("importlib.metadata.requires", lambda _: wanted)
    found = facts(capsys, "packages")
    assert found["numpy"]["bad"] and "but zoo-core needs >=99" in found["numpy"]["text"]
    assert found["no-such-thing"] == {"name": "no-such-thing", "text": "not installed", "bad": True}
    assert found["no-such-extra"]["text"] == "not installed: pip install 'zoo-core[faces]'"
    assert not found["no-such-extra"]["bad"] and "pillow" not in found


def test_an_extra_may_ask_for_more_than_the_core(
    well: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = ["numpy>=1", "numpy>=99; extra == 'export'", "pillow>=1", "pillow>=1; extra == 'export'"]
    monkeypatch.setattr("importlib.metadata.requires", lambda _: wanted)
    told = [fact for fact in json.loads(doctor(capsys, "--json")[1])["packages"] if fact["name"] in ("numpy", "pillow")]
    assert [fact["name"] for fact in told] == ["numpy", "numpy", "pillow"]
    assert "but zoo-core[export] needs >=99" in told[1]["text"]
    assert not any(fact["bad"] for fact in told), "an extra that nobody may want is no fault"


# -- the network ----------------------------------------------------------------------------------------------------


def test_who_answers(hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_abcdefghijklmnop")
    assert answers(hub.url) == answers(f"{hub.url}/not/there") == ""
    assert [request.method for request in hub.requests] == ["HEAD", "HEAD"]
    assert not any("hf_" in value for request in hub.requests for value in request.headers.values())
    hub.down = 1
    assert "500" in answers(hub.url)
    assert "refused" in answers("http://127.0.0.1:9")
    for url in ("http://", "http://a b/", "ftp://127.0.0.1:9/x", "http://[::1", "x"):
        assert answers(url)


def test_offline_nobody_is_asked(
    hub: LoopbackHub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setenv("ZOO_MIRRORS", hub.mirror)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(zoo.doctor.page, "_devices", lambda: iter(()))
    monkeypatch.setattr(zoo.doctor.page, "check_plugins", lambda *_: {})
    asked = facts(capsys, "network")
    assert {asked[name]["bad"] for name in ("Hub", "mirror")} == {False} and hub.requests == []
    assert all(asked[name]["text"].endswith(": not asked, HF_HUB_OFFLINE forbids it") for name in ("Hub", "mirror"))
    monkeypatch.delenv("HF_HUB_OFFLINE")
    asked = facts(capsys, "network")
    assert all(asked[name]["text"].endswith(": reached") for name in ("Hub", "mirror")) and len(hub.requests) == 2


# -- a process of its own ---------------------------------------------------------------------------------------------

STRANGE = """
import os, signal, sys, time

def talk(*words):
    print("hello")
    print("hello", file=sys.stderr)
    return {"words": words, "interactive": sys.stdin.read()}

def crash(): os.kill(os.getpid(), signal.SIGSEGV)
def leave(): os._exit(3)
def fail(): raise ValueError("no")
def hang(): time.sleep(600)
"""


@pytest.mark.parametrize("shared", [False, True])
def test_a_process_of_its_own(
    shared: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "strange.py").write_text(STRANGE)
    monkeypatch.syspath_prepend(str(tmp_path))
    with Forks("decimal", "no_such_module") as forks:

        def call(function: str, *words: str, timeout: float = 60) -> Any:
            return isolated.call(f"strange:{function}", *words, timeout=timeout, forks=forks if shared else None)

        for _ in range(2):
            assert call("talk", "a", "ü") == {"words": ["a", "ü"], "interactive": ""}
            assert capfd.readouterr() == ("", "")
            for function, why, seconds in (
                ("crash", "it crashes Python with SIGSEGV", 60),
                ("leave", "it ends Python with exit code 3", 60),
                ("fail", "it ends Python with exit code 1", 60),
                ("hang", "it hangs: no answer in 1 seconds", 1),
            ):
                with pytest.raises(Lost, match=why):
                    call(function, timeout=seconds)
        monkeypatch.setenv("MINE", "of this call")
        (tmp_path / "fresh.py").write_text("import os\n\n\ndef mine(): return os.environ['MINE']\n")
        assert isolated.call("fresh:mine", timeout=60, forks=forks if shared else None) == "of this call"
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    with pytest.raises(Lost, match="no process can be started"):
        isolated.call("strange:talk", timeout=60)


def test_what_is_heavy_may_be_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "strange.py").write_text(STRANGE)
    for name, line in (("crashing", "strange.crash()"), ("hanging", "strange.hang()"), ("failing", "strange.fail()")):
        (tmp_path / f"{name}.py").write_text(f"import strange\n\n{line}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name, why in (("crashing", "it crashes Python with SIGSEGV"), ("hanging", "it hangs: no answer in 1 seconds")):
        with Forks(name) as forks:
            for _ in range(2):
                with pytest.raises(Lost, match=why):
                    isolated.call("strange:talk", timeout=1 if name == "hanging" else 60, forks=forks)
    with Forks("failing") as forks:
        assert isolated.call("strange:talk", timeout=60, forks=forks)["words"] == []


# -- all of it ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_real_page(tmp_path: Path, hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("crashes", "leaves", "badyaml", "syntax"):
        install(tmp_path, name, {**OUTSIDE, **IMPORTED, **LETHAL}[name])
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "HF_ENDPOINT": hub.url}
    done = subprocess.run([sys.executable, "-m", "zoo", "doctor"], env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.startswith("zoo: 4 things do not work\n"), done.stderr
    whole = " ".join(done.stdout.split())
    for text in ("it crashes Python with SIGSEGV", "exit code 7", "cannot read zoo.yaml: line", "SyntaxError"):
        assert text in whole
    for text in ("fp32 and bf16 work", f"{hub.url}: reached", "works: 5 models", "for a picture"):
        assert text in whole, text
    assert done.stdout.count("\n!") == 4
