"""The page without a browser: the call that it opens with, what its widgets give a model, and the Space that shows it."""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
import yaml
from conftest import forget
from easel import install_easel
from packaging.requirements import Requirement
from test_publish import folder, hub
from tiny_plugin import TinyPlugin, tiny

from zoo.cli import main
from zoo.control import Image, Number, Numbers, Text
from zoo.errors import ControlError, ExistsError, UsageError
from zoo.page.serve import Guard
from zoo.testing.hub import LoopbackHub

pytest.importorskip("gradio")
__all__ = ["hub", "tiny"]


@pytest.fixture
def easel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The weights of the plugin of the page's tests, which is installed."""
    weights = install_easel(tmp_path / "site")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setenv("ZOO_PLUGINS", "zoo-easel")
    forget()
    for name in [name for name in sys.modules if name.partition(".")[0] == "zoo_easel"]:
        del sys.modules[name]
    return weights


def run(*words: str) -> int:
    """The exit code of ``zoo``."""
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    return int(str(ended.value.code or 0))


def told(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = run("page", *words)
    return code, capsys.readouterr().err


# -- the call -----------------------------------------------------------------------------------------------------


def test_what_cannot_be_served_is_two_lines(
    easel: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bad.safetensors").write_bytes(b"no weights")
    (tmp_path / "empty").write_text("\n")
    for words, code, text in (
        (["nothing-like-it", "--port", "0"], 3, "nothing-like-it"),
        ([str(tmp_path / "bad.safetensors"), "--port", "0"], 5, "bad.safetensors"),
        (["--auth", "me", "--port", "0"], 2, "--auth is not NAME:PASSWORD"),
        (["--auth", str(tmp_path / "empty"), "--port", "0"], 2, "a file with a line of it for each visitor"),
        (["--host", "no.such.host.invalid", "--port", "0"], 2, "cannot listen at no.such.host.invalid:0"),
        (["--space", str(tmp_path / "space")], 2, "a Space is of one model"),
    ):
        found, error = told(capsys, *words)
        assert found == code and text in error and "Traceback" not in error, words
    monkeypatch.setitem(sys.modules, "gradio", None)
    code, error = told(capsys, "--port", "0")
    assert code == 2 and "pip install 'zoo-core[page]'" in error


def test_a_port_that_is_taken(easel: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with LoopbackHub() as other:
        code, error = told(capsys, "easel", "--port", str(other.port))
    assert code == 2 and f"cannot listen at 127.0.0.1:{other.port}" in error and "--port" in error


def test_a_file_of_ones_own(easel: Path, tmp_path: Path) -> None:
    from zoo.page import words
    from zoo.page.shown import one

    mine = tmp_path / "pencil.safetensors"
    mine.write_bytes(easel.read_bytes())
    shown = one(str(mine))
    assert (shown.title, shown.task, shown.card) == ("pencil", "one of your own", None)
    assert [control.name for control in shown.controls][:3] == ["other", "more", "tint"] and shown.goes
    assert "<dt>Licence of the weights</dt><dd>CC BY 4.0</dd>" in words.about(shown)
    assert str(tmp_path) not in words.about(shown)


def test_every_model_that_can_draw_is_shown(easel: Path) -> None:
    from zoo.page.shown import installed

    shown, notes = installed()
    assert {one.name: one.task for one in shown} == {"easel": "easel-task", "slow": "slow-task"} and not notes
    assert shown[0].preview and not shown[1].preview


# -- who may ask --------------------------------------------------------------------------------------------------


def test_accounts(tmp_path: Path) -> None:
    from zoo.page.serve import accounts

    (tmp_path / "who").write_text("anna:a:b\n\nben: secret\n")
    assert accounts("anna:a:b") == [("anna", "a:b")]
    assert accounts(str(tmp_path / "who")) == [("anna", "a:b"), ("ben", "secret")]
    (tmp_path / "who").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="cannot be read"):
        accounts(str(tmp_path / "who"))


def test_only_a_page_for_this_machine_says_that_nothing_leaves_it() -> None:
    from zoo.page.words import head

    assert "Nothing leaves" in head(None, True) and "Nothing leaves" not in head(None, False)


# -- widgets ------------------------------------------------------------------------------------------------------


def test_what_is_typed_names_no_file() -> None:
    from zoo.page.widgets import given

    word = Text(name="word", default="plain")
    assert given([word], ["bold"]) == {"word": "bold"} and given([word], ["plain"]) == {} == given([word], [" "])
    for typed in ("/etc/passwd", "~/x", "..", "notes.txt", "a, b/c", "C:\\x"):
        with pytest.raises(ControlError, match="is a file, and a page reads only pictures"):
            given([word], [typed])


def test_only_what_was_picked_is_given(tmp_path: Path) -> None:
    from zoo.page.widgets import given

    shade = Number(name="shade", default=None, minimum=0, maximum=2)
    tint = Number(name="tint", default=0.5, minimum=0, maximum=1)
    assert given([shade, tint], [1.5, 0.5, []]) == {}
    assert given([shade, tint], [1.5, 0.25, ["shade"]]) == {"shade": 1.5, "tint": 0.25}
    assert given([Numbers(name="mix", default=[0.0], minimum=0, maximum=1)], ["0.25, 1"]) == {"mix": (0.25, 1.0)}
    style, two = Image(name="style", required=True), [(str(tmp_path / name), None) for name in "ab"]
    assert given([style], [two[:1]]) == {"style": tmp_path / "a"}
    for pictures, said in ((two, "takes one picture, not 2"), ([], "style")):
        with pytest.raises(ControlError, match=said):
            given([style], [pictures])


# -- the work -----------------------------------------------------------------------------------------------------


def test_a_result_that_is_the_photograph_is_explained(easel: Path, tmp_path: Path) -> None:
    from zoo.page.work import Made, Task

    def heard(colour: tuple[int, int, int], **given: float) -> Sequence[object]:
        picture = tmp_path / "me.png"
        PIL.Image.new("RGB", (32, 32), colour).save(picture)
        task = Task("easel", [picture], given, tmp_path / f"results{colour[0]}{len(given)}")
        task.run()
        events = [task.events.get() for _ in range(task.events.qsize())]
        assert task.over.is_set() and any(isinstance(event, Made) for event in events)
        return events

    same = "nothing changes before a control is turned"
    assert same in heard((128, 13, 13)) and same not in heard((0, 0, 0)) and same not in heard((128, 13, 13), tint=0.0)


# -- a Space ------------------------------------------------------------------------------------------------------


def front(page: str) -> dict[str, Any]:
    return yaml.safe_load(page.split("---\n")[1])  # type: ignore[no-any-return]


def test_a_space_of_a_card(easel: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import gradio

    place = tmp_path / "new" / "space"
    assert run("page", "easel", "--space", str(place)) == 0
    assert {Path(line).name for line in capsys.readouterr().out.split()} == {*(path.name for path in place.iterdir())}
    about = front((place / "README.md").read_text())
    assert (about["sdk"], about["sdk_version"], about["app_file"]) == ("gradio", gradio.__version__, "app.py")
    assert about["license_name"] == "research-use-only"
    lines = (place / "requirements.txt").read_text().splitlines()
    pinned = {wanted.name: str(wanted.specifier) for wanted in map(Requirement, lines)}
    for name in ("zoo-core", "zoo-easel", "gradio", "torch", "pillow", "huggingface-hub"):
        assert pinned[name] == f"=={importlib.metadata.version(name).partition('+')[0]}"
    assert all(pinned.values()) and "page" in Requirement(lines[0]).extras
    assert run("page", "easel", "--space", str(place)) == ExistsError.exit_code
    assert "give a new folder" in capsys.readouterr().err


def test_a_space_of_ones_own_weights_serves_them(easel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from zoo.page.shown import one

    mine, place, served = tmp_path / "pencil.safetensors", tmp_path / "space", []
    mine.write_bytes(easel.read_bytes())
    assert run("page", str(mine), "--space", str(place)) == 0
    assert (place / "model.safetensors").read_bytes() == mine.read_bytes()
    assert "*.safetensors filter=lfs" in (place / ".gitattributes").read_text()
    assert front((place / "README.md").read_text())["license"] == "cc-by-4.0"
    monkeypatch.setattr("zoo.page.serve.serve", lambda names, **settings: served.append((names, settings)))
    monkeypatch.chdir(place)
    runpy.run_path("app.py")
    [(names, settings)] = served
    assert one(names[0]).facts["licence"] == "CC BY 4.0"
    assert (settings["host"], settings["port"]) == ("0.0.0.0", 7860) and "huggingface.co" in settings["frames"]


def test_weights_without_a_licence_are_no_space(
    tiny: TinyPlugin, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packed = folder(tmp_path / "packed", licence="unknown") / "model.safetensors"
    assert run("page", str(packed), "--space", str(tmp_path / "space")) == 2
    assert "without a licence" in capsys.readouterr().err and not (tmp_path / "space").exists()


def test_a_space_is_published(
    tiny: TinyPlugin, hub: LoopbackHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packed = folder(tmp_path / "packed")
    words = ["publish", str(packed), "--space", "me/pencil"]
    assert run(*words, "--dry-run") == 0 and not hub.repositories
    assert "would upload to" in capsys.readouterr().err
    assert run(*words, "--private", "--json") == 0
    out = json.loads(capsys.readouterr().out)
    assert out["state"] == "uploaded" and out["space"] == f"{hub.url}/spaces/me/pencil"
    space = hub.repositories["spaces/me/pencil"]
    files = {
        name: data for (repo, at, name), data in hub.files.items() if (repo, at) == ("spaces/me/pencil", space.head)
    }
    assert space.private and files["model.safetensors"] == (packed / "model.safetensors").read_bytes()
    assert sorted(files) == out["files"] and b"serve(" in files["app.py"]
    head = space.head
    assert run(*words) == 0 and hub.repositories["spaces/me/pencil"].head == head
    assert "already at" in capsys.readouterr().err


def test_a_space_that_cannot_be_published(
    tiny: TinyPlugin,
    hub: LoopbackHub,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    packed = str(folder(tmp_path / "packed"))
    assert run("publish", packed) == 2 and "give --repo USER/REPO" in capsys.readouterr().err
    assert run("publish", packed, "--space", "pencil") == 2 and "is not a Space's name" in capsys.readouterr().err
    hub.read_only = True
    assert run("publish", packed, "--space", "me/pencil") == 4
    assert "your token may not write to me/pencil" in capsys.readouterr().err
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    assert run("publish", packed, "--space", "me/pencil") == 4 and "hf auth login" in capsys.readouterr().err


# -- what a visitor may name ----------------------------------------------------------------------------------------------


def asked(folder: Path, body: bytes, path: str = "/gradio_api/queue/join") -> tuple[int, bytes]:
    """What becomes of a request: the status, and the body that reaches Gradio."""
    reached, statuses = [b""], []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        more = True
        while more:
            message = await receive()
            reached[0] += message.get("body", b"")
            more = message.get("more_body", False)
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message: Any) -> None:
        statuses.append(message.get("status"))

    parts = [body[:7], body[7:]]

    async def receive() -> Any:
        return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

    headers = [(b"host", b"localhost"), (b"content-length", str(len(body)).encode())]
    scope = {"type": "http", "path": path, "method": "POST", "headers": headers}
    asyncio.run(Guard(app, folder, True)(scope, receive, send))
    return statuses[0], reached[0]


def test_files_that_were_uploaded_reach_the_model(tmp_path: Path) -> None:
    (tmp_path / "uploads").mkdir()
    here = str(tmp_path / "uploads" / "0123" / "me.png")
    body = json.dumps(
        {"data": ["easel", [{"image": {"path": here}, "caption": None}], 0.5, "path"], "fn_index": 8}
    ).encode()
    assert asked(tmp_path, body) == (200, body)
    nothing = json.dumps({"data": [], "fn_index": 1}).encode()
    assert asked(tmp_path, nothing) == (200, nothing)


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "{here}/uploads/../secret.png",
        "{here}/uploads-of-others/me.png",
        "{here}/uploads/link/secret.png",
        "secret.png",
        "http://169.254.169.254/",
        "",
        "a\0b",
    ],
)
def test_no_other_file_is_read(tmp_path: Path, path: str) -> None:
    (tmp_path / "uploads").mkdir()
    (tmp_path / "uploads" / "link").symlink_to(tmp_path)
    named = {"image": {"path": path.format(here=tmp_path), "url": "http://localhost/file=me.png"}}
    for data in ([named], [[{"deep": [named]}]], [{"path": {"path": path.format(here=tmp_path)}}]):
        status, reached = asked(tmp_path, json.dumps({"data": data}).encode())
        assert status == 403 and reached == b""


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 100_000, b'{"path": "/etc/passwd", "path": "/etc/passwd"}'])
def test_what_cannot_be_understood_is_refused(tmp_path: Path, body: bytes) -> None:
    assert asked(tmp_path, body)[0] == 403
