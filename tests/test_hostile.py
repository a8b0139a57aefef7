"""Files, names and addresses that somebody made to harm: nobody gets in, nothing takes the machine, nothing is obeyed."""

from __future__ import annotations

import io
import json
import logging
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import forget, leave
from PIL import Image
from safetensors.torch import save_file
from tiny_plugin import CONTROLS, NETWORK, TinyPlugin, tiny  # noqa: F401  (a fixture)
from torch.nn.modules import module as modules

import zoo
from zoo.card import Weights
from zoo.errors import ConfigError, ImageError, IntegrityError, NetworkError, UsageError, ZooError
from zoo.helpers.console import Console
from zoo.helpers.files import atomic
from zoo.helpers.reading import parse_yaml, read_yaml
from zoo.helpers.terminal import Guarded, guarded
from zoo.helpers.untouched import untouched
from zoo.helpers.words import masked, printable
from zoo.pictures.image import read
from zoo.publish.publish import publish
from zoo.recipe import load_recipe
from zoo.survey.answers import find_answers, read_answers
from zoo.survey.key import Key, read_key
from zoo.survey.questions import choose
from zoo.testing.hub import LoopbackHub
from zoo.train.engine import Options
from zoo.train.run import train
from zoo.weights import cache, connection
from zoo.weights.cache import alone, own_place, verify
from zoo.weights.file import load_weights, read_header, save_weights

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))  # the script that makes a thousand of each
from fuzzing.texts import BODY, KINDS, judged

PICTURE = Image.new("RGB", (16, 16))


# -- numbers in files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_soon(kind: str, tiny: TinyPlugin, tmp_path: Path) -> None:  # noqa: F811
    faults = [(number, fault) for number, _, fault in judged(kind, 1, range(6), tiny, tmp_path) if fault]
    assert faults == []


@contextmanager
def counted() -> Iterator[dict[str, int]]:
    """Numbers in tensors that have memory, and modules, that are made meanwhile."""
    made = {"numbers": 0, "modules": 0}

    def tensor(_: object, name: str, value: Any) -> None:
        made["numbers"] += 0 if value is None or value.is_meta else value.numel()

    def child(*_: object) -> None:
        made["modules"] += 1

    hooks = [
        modules.register_module_parameter_registration_hook(tensor),
        modules.register_module_module_registration_hook(child),
    ]
    yield made
    for hook in hooks:
        hook.remove()


def header(path: Path, **network: Any) -> Path:
    """A weights file of one number whose header asks for more."""
    save_weights(
        path, {"tone": torch.ones(1)}, {"recipe": "small", "plugin": "zoo-cycleda", "generator": BODY, **network}
    )
    return path


@pytest.mark.parametrize("more", [{"width": 900}, {"blocks": 100_000}, {"width": 10**9}])
def test_a_header_is_compared_before_there_is_a_network(more: dict[str, int], tmp_path: Path) -> None:
    path = header(tmp_path / "a.safetensors", generator={**BODY, **more})
    with counted() as made, pytest.raises(ZooError) as caught:
        zoo.load(path, device="cpu")
    assert isinstance(caught.value, IntegrityError | ConfigError) and made["numbers"] == 0 and made["modules"] < 50_000


@pytest.mark.parametrize(
    ("network", "told"),
    [
        ({"working": -5}, "working size is -5"),
        ({"paper": "url(evil)"}, r"paper is 'url\(evil\)'"),
        ({"paper": 7}, "paper is 7"),
        ({"working": 10**30}, "working size is 1000"),
        ({"working": True}, "working is True"),
        ({"translator": "of-nobody"}, "no installed plugin brings the translator 'of-nobody'"),
        ({"controls": [{"type": "numbers", "name": "units", "length": 5 * 10**8}]}, "length"),
        ({"controls": [{"type": "blink", "name": "units"}]}, "type"),
        ({"controls": [*CONTROLS, {"type": "flag", "name": "blink"}]}, "a control blink, which Tiny does not take"),
        ({"generator": {"name": "tiny", "tone": float("inf")}}, "inf is out of range"),
        ({"generator": {"name": "tiny", "tone": [0] * 20_000}}, "20000 entries is too long"),
        ({"generator": {"name": "x" * 9_000}}, "no installed plugin brings the generator"),
    ],
)
def test_a_header_that_says_what_cannot_be(
    network: dict[str, Any],
    told: str,
    tiny: TinyPlugin,  # noqa: F811
    tmp_path: Path,
) -> None:
    path = tiny.other(tmp_path / "a.safetensors", **network)
    with pytest.raises(ZooError, match=told) as caught:
        zoo.load(path, device="cpu")
    assert len(str(caught.value)) < 5000


@pytest.mark.parametrize("kind", [torch.int8, torch.bool])
def test_whole_numbers_without_a_scale(kind: torch.dtype, tiny: TinyPlugin, tmp_path: Path) -> None:  # noqa: F811
    about = json.dumps({"version": 1, "network": NETWORK, "card": {}})
    save_file({"tone": torch.ones(1, dtype=kind)}, tmp_path / "a.safetensors", {"zoo": about})
    with pytest.raises(IntegrityError, match="of another kind: tone"):
        zoo.load(tmp_path / "a.safetensors", device="cpu")
    save_file(
        {"tone": torch.ones(1, dtype=torch.int8), "tone.scale": torch.ones(1)},
        tmp_path / "b.safetensors",
        {"zoo": about},
    )
    assert zoo.load(tmp_path / "b.safetensors", device="cpu").generator.tone == 1


@pytest.mark.parametrize("shape", [[-1, -1], [2**50], [1] * 9, [True], ["1"], [1.0]])
def test_a_shape_that_none_can_have(shape: list[Any], tmp_path: Path) -> None:
    text = json.dumps({"tone": {"dtype": "F32", "shape": shape, "data_offsets": [0, 4]}}).encode()
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + b"\0\0\0\0")
    with pytest.raises(IntegrityError, match="not a whole safetensors file"):
        read_header(tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: &a [x, x]\n" + "".join(f"{c}: &{c} [{', '.join(['*' + p] * 9)}]\n" for p, c in zip("abcdefgh", "bcdefghi")), "100000"),
        ("a: &a {b: *a}", "holds itself"),
        ("a: " + "9" * 5000, "so many digits"),
        ("a: " + "1:" * 5000 + "1", "so many digits"),
        ("[" * 5000, "recursion|nest|flow|expected|depth|exceeded"),
        ("? [a]\n: b", "unhashable"),
    ],
)  # fmt: skip
def test_yaml_has_a_budget(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told) as caught:
        parse_yaml(text)
    assert len(str(caught.value)) < 500


def test_many_names_are_read_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("".join(f"k{i}: 1\n" for i in range(10_000)))
    assert len(read_yaml(tmp_path / "a.yaml")) == 10_000
    (tmp_path / "b.yaml").write_text("a: " + "x" * 2**20)
    with pytest.raises(ConfigError, match="more than 1048576 bytes"):
        read_yaml(tmp_path / "b.yaml")


@pytest.mark.parametrize(
    "override",
    [
        "data.batch=1e9", "data.batch=100000", "data.size=[1000000, 64]", "data.working=1e9", "optimiser.lr=.inf",
        "optimiser.lr=1e300", "optimiser.betas=[.nan, 0.9]", "optimiser.weight_decay=.inf", "schedule.epochs=.inf",
        "data.augment.scale=1e9", "generator.width=.inf", f"generator.width={10**30}", "extends=x",
        "controls=[{type: numbers, name: n, length: 500000000}]",
    ],
)  # fmt: skip
def test_a_recipe_has_bounds(override: str, tmp_path: Path) -> None:
    with pytest.raises(ZooError) as caught:
        train("cyclegan-small", [tmp_path], [("a", tmp_path)], Options(tmp_path / "run"), overrides=[override])
    assert len(str(caught.value)) < 1000 and not isinstance(caught.value, IntegrityError)


def test_a_step_that_no_memory_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_MEMORY", "1G")
    with pytest.raises(ConfigError, match=r"data.batch 4096 .* takes 2\.0 GB for pictures alone"):
        train("cyclegan-small", [tmp_path], [("a", tmp_path)], Options(tmp_path / "run"), overrides=["data.batch=4096"])


@pytest.mark.parametrize("base", ["[a, b]", "7", "{a: b}", f"[{', '.join(['x'] * 5000)}]"])
def test_a_recipe_extends_one_name(base: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(f"extends: {base}\n")
    with pytest.raises(ConfigError, match="not one name") as caught:
        load_recipe(tmp_path / "a.yaml")
    assert len(str(caught.value)) < 500


def test_recipes_in_a_row(tmp_path: Path) -> None:
    for i in range(40):
        (tmp_path / f"{i}.yaml").write_text(f"extends: {i + 1}.yaml\n")
    with pytest.raises(ConfigError, match="one too many in a row"):
        load_recipe(tmp_path / "0.yaml")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """Each of these would wait for somebody to write, if the pipe were opened as a file is."""
    signal.signal(signal.SIGALRM, lambda *_: pytest.fail("it waits"))
    signal.alarm(60)
    os.mkfifo(pipe := tmp_path / "pipe.yaml")
    key = Key(page="a", questions=["similarity"], models=[], items={}, results={})
    looks: list[Callable[[Path], object]] = [
        read_yaml,
        load_recipe,
        read_key,
        read_header,
        lambda path: choose(str(path), portraits=True),
        lambda path: read_answers([path], key),
        lambda path: find_answers([path]),
    ]
    for look in looks:
        with pytest.raises(ZooError, match=r"not a file|no recipe file|no weights file|no file"):
            look(pipe)
    signal.alarm(0)


# -- pictures and films --------------------------------------------------------------------------------------------------


def test_a_small_file_of_a_large_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo.pictures.opening.LARGE", 2**20)
    Image.new("1", (3000, 3000)).save(tmp_path / "a.png", optimize=True)
    with pytest.raises(ImageError, match="suspiciously large: 9 megapixels in"):
        read(tmp_path / "a.png")
    Image.new("L", (1200, 1200), 255).save(tmp_path / "b.png")  # a white page, as scanners make them
    assert read(tmp_path / "b.png").rgb.shape == (3, 1200, 1200)


def test_a_jpeg_of_many_scans(tmp_path: Path) -> None:
    whole = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(whole, "JPEG", progressive=True)
    content = whole.getvalue()
    start = content.rindex(b"\xff\xda")
    (tmp_path / "a.jpg").write_bytes(content[:-2] + content[start:-2] * 500 + content[-2:])
    with pytest.raises(ImageError, match=r"a JPEG of 5\d\d scans"):
        read(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").write_bytes(content)
    assert read(tmp_path / "b.jpg").rgb.shape == (3, 64, 64)


@pytest.mark.parametrize(
    "name", ["12:30.mp4", "tcp:127.0.0.1:9?x.mp4", "file:other.mp4", "http:/host/x.mp4", "concat:a|b.mp4"]
)
def test_a_films_name_is_no_address(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("av")
    import numpy as np

    from zoo.pictures import video

    monkeypatch.chdir(tmp_path)
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    video.write([np.full((16, 16, 3), 90, np.uint8)] * 3, name, 10)
    assert [path.name for path in tmp_path.rglob("*.mp4")] == [Path(name).name]
    film = video.probe(name)
    assert len([*film.frames("looking")]) == 3
    (target := Path("1:2") / "o.mp4").parent.mkdir()
    video.rewrite(film, target, lambda images: images)
    assert len([*video.probe(target).frames("looking")]) == 3


@pytest.mark.parametrize(
    "list_",
    [
        "ffconcat version 1.0\nfile 'secret.mp4'\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nsecret.mp4\n#EXT-X-ENDLIST\n",
    ],
)
@pytest.mark.parametrize("name", ["list.mp4", "list.ts"])
def test_a_list_of_films_is_none(list_: str, name: str, tmp_path: Path) -> None:
    pytest.importorskip("av")
    import numpy as np

    from zoo.pictures import video

    video.write([np.full((16, 16, 3), 90, np.uint8)] * 3, tmp_path / "secret.mp4", 10)
    (tmp_path / name).write_text(list_)
    with pytest.raises(ImageError, match="not a video that can be read"):
        video.probe(tmp_path / name)


# -- secrets and terminals -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cannot download https://me:pass@word@host/x.safetensors?sig=abc&token=d: 404", "cannot download https://***@host/x.safetensors?***: 404"),
        ("http://host/a?X-Amz-Signature=123", "http://host/a?***"),
        ("hf_abcdefghijk and Bearer abc.def-ghij", "*** and Bearer ***"),
        ("is it there? see http://host/page", "is it there? see http://host/page"),
    ],
)  # fmt: skip
def test_secrets_are_masked(text: str, shown: str) -> None:
    assert masked(text) == shown and ZooError(text, text).message == ZooError(text, text).hint == shown


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("https_proxy", "someone:hunter2hunter@proxy.example:3128", "hunter2hunter"),
        ("http_proxy", "http://someone:p@ss@w0rd@proxy.example:3128", "p@ss@w0rd"),
        ("ALL_PROXY", "someone:pw@proxy.example", ":pw@"),
        ("ZOO_MIRRORS", "https://a.example/w?token=verysecret,/folder", "verysecret"),
        ("HF_ENDPOINT", "https://u:secretword@hub.example?sig=signature", "signature"),
        ("MY_API_TOKEN", "abcdefgh", "abcdefgh"),
    ],
)
def test_what_the_environment_hides(name: str, value: str, secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    for text in (f"{name}={value}", f"cannot reach {value}: {secret}", value.replace("@", "%40")):
        told = masked(text)
        assert secret not in told or secret == ":pw@", told
    assert "proxy.example" in masked(value) or "proxy" not in value


WORSE = "\x1b]0;owned\x07\x9b31m\u202egnp.exe\u2066"


def test_what_is_printed_is_shown_and_not_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    with guarded():
        sys.stdout.write(f"{WORSE}\n")
        sys.stderr.write(f"{WORSE}\t山田\u3000\n")
        assert logging.lastResort
        logging.lastResort.handle(logging.makeLogRecord({"msg": f"skipped {WORSE}\nzoo: done", "levelno": 30}))
    out, err = capsys.readouterr()
    shown = r"\x1b]0;owned\x07\x9b31m\u202egnp.exe\u2066"
    assert out == f"{shown}\n" and err == f"{shown}\t山田\u3000\nzoo: skipped {shown} zoo: done\n"


def test_a_table_of_rich_keeps_its_own_colours() -> None:
    from rich.progress import Progress
    from rich.table import Table

    stream = io.StringIO()
    console = Console(file=Guarded(stream), force_terminal=True, width=100)  # type: ignore[arg-type]
    table = Table("NAME")
    table.add_row(WORSE)
    console.print(table)
    with Progress(console=console) as progress:
        progress.add_task(WORSE.replace("[", ""), total=2)
    assert "\x1b[" in stream.getvalue()
    for sign in ("\x1b]", "\x07", "\x9b", "\u202e"):
        assert sign not in stream.getvalue()


def test_cards_and_plugins_reach_no_terminal(
    tiny: TinyPlugin,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    manifest = tiny.weights.parents[1] / "zoo.yaml"
    text = manifest.read_text()
    manifest.write_text(
        text.replace("summary: No weights", 'summary: "No \\u202eweights"').replace(
            "  untrained:", '  "un\\e[2Jtrained": {}\n  untrained:'
        )
    )
    recipe = manifest.parent / "recipes" / "tiny.yaml"
    recipe.write_text(recipe.read_text().replace("name: invert", 'name: invert, help: "a\\e]0;b\\a\\nzoo: c"'))
    (recipe.parent / "b\x1b[2J.yaml").write_text(recipe.read_text())
    (manifest.parent / "plugin.py").write_text("raise ValueError('a\\x1b]0;b\\u202e')")
    for words in (["list"], ["list", "--json"], ["plugins"], ["parts"], ["parts", "--json"], ["info", "tiny"], ["info", "untrained"], ["translate", "tiny", "x.png", "-o", "y.png"]):  # fmt: skip
        forget()
        _, out, err = leave(capsys, *words)
        assert not [c for c in out + err if not c.isprintable() and c != "\n"], words
        if "--json" in words:
            assert json.loads(out)


EVIL = "\x1b]0;owned\x07\x9b31m\u202e"


def test_names_reach_no_terminal_wherever_they_are_printed(
    tiny: TinyPlugin,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    server: Callable[[bytes, bytes], str],
) -> None:
    """Files' in train, survey and translate, a recipe's in export, a key that nobody knows, a mirror's reason."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(logging.root, "handlers", [])  # as in a program that has none
    for folder in ("photos", "drawings", "other"):
        Path(folder).mkdir()
        for name in "ab":
            Image.effect_noise((90, 90), 50).convert("RGB").save(f"{folder}/{name}.png")
        Path(folder, f"{EVIL}.png").write_bytes(b"none")
    recipe = (tiny.weights.parents[1] / "recipes" / "tiny.yaml").read_text()
    Path(f"{EVIL}.yaml").write_text(recipe)
    Path("key.yaml").write_text(f'{recipe}\n"\\e]0;owned\\a\\x9b31m\\u202e": 1\n')
    sheets = ["--photos", "photos", "--drawings", "drawings"]
    small = [
        "data.size=[32,32]",
        "generator.width=4",
        "discriminator.width=4",
        "trainer.pool=-1",
    ]  # the last is refused
    results = ["--results=x=drawings", "--results=y=other"]
    calls = [
        (2, "train", "cycleda", *sheets, "--out", "run", *(word for one in small for word in ("--set", one))),
        (2, "train", "key.yaml", *sheets, "--out", "run"),
        (6, "survey", "make", *results, *sheets, "--out", "page.html"),
        (2, "export", f"{EVIL}.yaml", "--out", "x.onnx"),
        (6, "translate", "tiny", "photos", "-o", "out", "--device", "cpu"),
        (3, "info", EVIL),
        (4, "download", "tiny"),
    ]
    for code, *words in calls:
        if words[0] == "download":
            tiny.weights.unlink()
            address = server(
                b"HTTP/1.1 418 " + EVIL.encode("latin-1", "ignore") + b"\r\nContent-Length: 0\r\n\r\n", b""
            )
            monkeypatch.setenv("ZOO_MIRRORS", address)
        left, out, err = leave(capsys, *words)
        assert left == code, (words, err)
        assert r"\x1b]0;owned\x07\x9b31m" in out + err, (words, err)
        assert not [sign for sign in out + err if not sign.isprintable() and sign not in "\n\t"], words


@pytest.mark.slow
@pytest.mark.parametrize(("closed", "code", "told"), [(">&-", 1, "zoo: standard output is closed"), ("2>&-", 0, "")])
def test_a_stream_that_is_closed(closed: str, code: int, told: str) -> None:
    done = subprocess.run(f'"{sys.executable}" -m zoo list {closed}', shell=True, capture_output=True, text=True)
    assert done.returncode == code and (told in done.stderr if told else not done.stderr)


def test_no_stream_at_all(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from zoo.cli import main

    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", None)
        with pytest.raises(SystemExit) as left:
            main(["list"])
    assert left.value.code == 1 and "zoo: standard output is closed" in capsys.readouterr().err
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", None)
        with pytest.raises(SystemExit) as left:
            main(["info", "of-nobody"])
    assert left.value.code == 3


# -- what is loaded is what was hashed -----------------------------------------------------------------------------------


@pytest.fixture
def shared(tiny: TinyPlugin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Weights]:  # noqa: F811
    """Weights in a folder that others may write, and what their card says."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    folder.chmod(0o777)
    path = tiny.other(folder / "tiny.safetensors")
    monkeypatch.setenv("ZOO_MIRRORS", str(folder))
    return path, zoo.info("tiny").get()


def test_a_note_in_a_shared_folder_is_not_believed(
    shared: tuple[Path, Weights], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, weights = shared
    stamps = tmp_path / "everybodys"
    stamps.mkdir()
    stamps.chmod(0o777)
    monkeypatch.setenv("ZOO_CACHE", str(stamps))
    verify(path, weights)
    planted = path.read_bytes()[:-2] + struct.pack("<e", 7.0)
    path.write_bytes(planted)
    state = path.stat()
    (stamps / "verified").mkdir(exist_ok=True)
    mark = f"{path.resolve()}\n{state.st_ino} {state.st_size} {state.st_mtime_ns} {state.st_ctime_ns}"
    (stamps / "verified" / weights.sha256).write_text(mark)
    with pytest.raises(IntegrityError, match="not the file that its card promises"):
        verify(path, weights)


def test_bytes_that_change_between_the_hash_and_the_use(shared: tuple[Path, Weights]) -> None:
    path, weights = shared
    verify(path, weights)
    network = torch.nn.ParameterDict({"tone": torch.zeros(1)})
    assert load_weights(path, network).network and network["tone"] == 1
    path.write_bytes(path.read_bytes()[:-2] + struct.pack("<e", 7.0))
    with pytest.raises(IntegrityError, match="was changed while it was used"):
        load_weights(path, network)
    assert network["tone"] == 1


def test_the_same_size_and_time_are_not_enough(tiny: TinyPlugin, tmp_path: Path) -> None:  # noqa: F811
    path, weights = tiny.other(tmp_path / "a.safetensors"), zoo.info("tiny").get()
    verify(path, weights)
    times = path.stat()
    path.write_bytes(path.read_bytes()[:-2] + struct.pack("<e", 7.0))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(IntegrityError):
        verify(path, weights)


def test_own_files_are_hashed_once(tiny: TinyPlugin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    path, weights = tiny.other(tmp_path / "a.safetensors"), zoo.info("tiny").get()
    monkeypatch.setattr(cache, "_private", lambda path: True)
    verify(path, weights)
    monkeypatch.setattr(cache.hashlib, "file_digest", lambda *_: pytest.fail("hashed again"))
    verify(path, weights)


# -- downloads -----------------------------------------------------------------------------------------------------------


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_byte_a_second_is_too_slow() -> None:
    clock = Clock()

    class Drip(io.RawIOBase):
        def readinto(self, buffer: Any) -> int:
            clock.now += 1
            buffer[:1] = b"x"
            return 1

    paced = connection._Paced(Drip(), clock)
    with pytest.raises(connection.SlowError, match="only 60 bytes moved in 60 seconds"):
        for _ in range(100):
            paced.readinto(bytearray(9))
    assert clock.now == 60


@pytest.fixture
def server() -> Iterator[Callable[[bytes, bytes], str]]:
    """Sends a text, then another again and again; the address."""
    sockets: list[socket.socket] = []

    def serve(first: bytes, then: bytes) -> str:
        listening = socket.create_server(("127.0.0.1", 0))
        sockets.append(listening)

        def talk() -> None:
            try:
                while True:
                    line, _ = listening.accept()
                    with line:
                        line.recv(4096)
                        line.sendall(first)
                        while then:
                            line.sendall(then)
            except OSError:
                return

        threading.Thread(target=talk, daemon=True).start()
        return f"http://127.0.0.1:{listening.getsockname()[1]}/x"

    yield serve
    for one in sockets:
        one.close()


def test_a_server_that_only_promises(server: Callable[[bytes, bytes], str]) -> None:
    address = server(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)
    with pytest.raises(Exception, match="a megabyte of headers"):
        connection.opened(urllib.request.Request(address), 5)


@pytest.mark.parametrize("there", ["ftp://127.0.0.1/x", "file:///etc/passwd", "data:,x"])
def test_a_redirect_stays_in_the_web(
    there: str, server: Callable[[bytes, bytes], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ftp_proxy", "http://127.0.0.1:9")
    address = server(f"HTTP/1.1 302 Found\r\nLocation: {there}\r\nContent-Length: 0\r\n\r\n".encode(), b"")
    with pytest.raises(urllib.error.URLError, match=r"not followed|not allowed"):
        connection.opened(urllib.request.Request(address), 5)


def test_who_waits_says_so(tiny: TinyPlugin, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:  # noqa: F811
    weights = zoo.info("tiny").get()
    monkeypatch.setattr(cache, "PATIENCE", 0.05)
    inside, done = threading.Event(), threading.Event()

    def hold() -> None:
        with alone(weights):
            inside.set()
            done.wait(10)

    holder = threading.Thread(target=hold)
    holder.start()
    inside.wait(10)
    threading.Timer(0.3, done.set).start()
    with alone(weights):
        assert own_place(weights).parent.is_dir()
    holder.join()
    assert "another process is downloading tiny.safetensors: waiting for it" in caplog.text


def test_who_waits_for_one_that_hangs_brings_it_himself(
    tiny: TinyPlugin,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The first one's half file stays meanwhile, and both end well."""
    weights = zoo.info("tiny").get()
    data = tiny.weights.read_bytes()
    tiny.weights.unlink()
    monkeypatch.setattr(cache, "PATIENCE", 0.05)
    monkeypatch.setattr(cache, "WAIT", 0.05)
    with LoopbackHub() as server:
        server.add("a/b", "5" * 40, weights.file, data)
        monkeypatch.setenv("ZOO_MIRRORS", server.mirror)
        with alone(weights) as folder, atomic(folder / weights.file) as part:
            part.write_bytes(data)
            assert zoo.download("tiny").read_bytes() == data
            assert part.read_bytes() == data
    assert "waiting for it" in caplog.text and "downloading it here, too" in caplog.text
    assert own_place(weights).read_bytes() == data
    assert {path.name for path in own_place(weights).parent.iterdir()} == {".lock", weights.file}


def test_a_mirrors_error_keeps_its_secrets(tiny: TinyPlugin, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setenv("ZOO_MIRRORS", "http://me:passw0rd@127.0.0.1:9/w?sig=abcdefgh")
    tiny.weights.unlink()
    with pytest.raises(NetworkError) as caught:
        zoo.download("tiny")
    assert "passw0rd" not in str(caught.value) and "abcdefgh" not in str(caught.value)


# -- threads -------------------------------------------------------------------------------------------------------------


def test_imports_in_threads_leave_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout
    first, second = threading.Event(), threading.Event()

    def load(mine: threading.Event, others: threading.Event) -> None:
        with untouched("plugin zoo-x"):
            print("from a plugin")  # noqa: T201
            mine.set()
            others.wait(0.3)

    threads = [threading.Thread(target=load, args=pair) for pair in ((first, second), (second, first))]
    for thread in threads:
        thread.start()
    first.wait(5)
    print("from elsewhere")  # noqa: T201
    for thread in threads:
        thread.join()
    assert sys.stdout is before
    out, err = capsys.readouterr()
    assert out == "from elsewhere\n" and err == "from a plugin\n" * 2


def test_a_picture_in_a_thread_leaves_random_numbers(tiny: TinyPlugin, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    translator = zoo.load("tiny", device="cpu")
    drawing, drew = threading.Event(), threading.Event()

    def slow(image: Any, **controls: Any) -> Any:
        drawing.set()
        drew.wait(10)
        return image

    monkeypatch.setattr(translator, "draw", slow)
    torch.manual_seed(3)
    wanted = torch.rand(4).tolist()
    torch.manual_seed(3)
    thread = threading.Thread(target=translator.translate, args=(PICTURE,))
    thread.start()
    drawing.wait(10)
    numbers = torch.rand(2).tolist()
    drew.set()
    thread.join()
    assert numbers + torch.rand(2).tolist() == wanted


def test_what_a_network_draws_is_put_back_beside_threads(tiny: TinyPlugin, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    translator = zoo.load("tiny", device="cpu")
    monkeypatch.setattr(translator, "draw", lambda image, **_: image + 0 * torch.rand(1))
    stop = threading.Event()
    threading.Thread(target=stop.wait, args=(10,)).start()
    before = torch.get_rng_state()
    translator.translate(PICTURE)
    stop.set()
    assert torch.equal(torch.get_rng_state(), before)


# -- what is published ---------------------------------------------------------------------------------------------------


@pytest.fixture
def packed(tiny: TinyPlugin, tmp_path: Path) -> Path:  # noqa: F811
    folder = tmp_path / "packed"
    folder.mkdir()
    save_weights(
        folder / "model.safetensors",
        {"tone": torch.ones(1)},
        NETWORK,
        facts={"licence": "MIT", "trained": {"steps": 5}},
    )
    config = {"network": NETWORK, "recipe": {}, "licence": "MIT", "trained": {"steps": 5}, "zoo": "0"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    return folder


@pytest.mark.parametrize("name", ["config.json", "README.md", "model.safetensors"])
def test_a_link_is_not_published(name: str, packed: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "token"
    (packed / name).rename(elsewhere)
    (packed / name).symlink_to(elsewhere)
    with pytest.raises(UsageError, match="is a link or no file, which zoo pack does not write"):
        publish(str(packed), "me/x", dry_run=True)


@pytest.mark.parametrize("change", [{"token": "hf_secretsecret"}, {"network": {}}])
def test_what_pack_did_not_write_is_not_published(change: dict[str, Any], packed: Path) -> None:
    config = json.loads((packed / "config.json").read_text())
    (packed / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(UsageError, match="not what zoo pack wrote"):
        publish(str(packed), "me/x", dry_run=True)


def test_a_dry_run_shows_each_file(packed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import hashlib

    code, _, err = leave(capsys, "publish", packed, "--repo", "me/x", "--dry-run")
    config = (packed / "config.json").read_bytes()
    assert code == 0
    assert f"  config.json, {len(config)} bytes, SHA-256 {hashlib.sha256(config).hexdigest()}\n" in err
    assert err.count("SHA-256") == 3


def test_printable_keeps_what_is_read() -> None:
    assert printable("山田 太郎\u3000é\n\t") == "山田 太郎\u3000é\n\t"
