"""`hub:USER/REPO`: what somebody published is used by its name, with the Hub's real client against loopback."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from shared import Cli
from tiny_plugin import NETWORK, TinyPlugin, tiny  # noqa: F401  (a fixture)

import zoo
from zoo.cli import train
from zoo.errors import IntegrityError, NetworkError, NotFoundError, UsageError, ZooError
from zoo.evaluate.models import label_of
from zoo.publish.model_page import front_matter
from zoo.testing.hub import LoopbackHub
from zoo.weights import cache
from zoo.weights.file import weights_bytes
from zoo.weights.resolve import called

FIRST, SECOND = "1" * 40, "2" * 40
NAME, REPO, FILE = "hub:someone/pencil", "someone/pencil", "pencil.safetensors"
WHITE = Image.new("RGB", (16, 16), "white")


def weights(tone: float = 1.0, **network: object) -> bytes:
    facts = {"licence": "CC BY 4.0", "trained": {"steps": 9}}
    return weights_bytes("it", {"tone": torch.tensor([tone])}, {**NETWORK, **network}, facts=facts)


def page(library: str = "zoo") -> bytes:
    return front_matter("CC BY 4.0", "tiny").replace("library_name: zoo", f"library_name: {library}").encode()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tiny: TinyPlugin) -> Iterator[LoopbackHub]:  # noqa: F811
    """One repository of two commits: white stays white, then white becomes black. The tag `v1` is the first."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True, raising=False)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    with LoopbackHub() as server:
        for revision, tone in ((FIRST, 1.0), (SECOND, -1.0)):
            server.add(REPO, revision, FILE, weights(tone))
            server.add(REPO, revision, "README.md", page())
            server.add(REPO, revision, "config.json", b"{}")
        server.repositories[REPO].refs["v1"] = FIRST
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


def drawn(name: str) -> int:
    """What becomes of white."""
    return int(zoo.load(name, device="cpu").translate(WHITE).getpixel((0, 0))[0])


def asked(hub: LoopbackHub) -> set[str]:
    return {request.path for request in hub.requests}


def test_a_name_leads_to_the_newest_commit_and_says_which(hub: LoopbackHub) -> None:
    translator = zoo.load(NAME, device="cpu")
    assert translator.origin == f"{NAME}@{SECOND}" and translator.origin in repr(translator)
    assert drawn(NAME) == 0
    assert drawn(f"{NAME}@v1") == drawn(f"{NAME}@{FIRST}") == drawn(f"{NAME}/{FILE}@v1") == 255
    api, file = f"/api/models/{REPO}", f"/{REPO}/resolve/{{}}/{FILE}"
    assert asked(hub) == {api, f"{api}/revision/v1", file.format(FIRST), file.format(SECOND)}, "nothing else is read"


def test_nobody_is_asked_for_a_commit_that_is_here(hub: LoopbackHub) -> None:
    origin = zoo.load(NAME, device="cpu").origin
    before = len(hub.requests)
    assert zoo.load(origin, device="cpu").origin == origin
    assert len(hub.requests) == before


def test_what_is_newer_is_taken(hub: LoopbackHub) -> None:
    assert drawn(NAME) == 0
    hub.add(REPO, "3" * 40, FILE, weights(1.0))
    assert drawn(NAME) == 255


def test_offline_it_is_what_it_was(hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn(NAME), drawn(f"{NAME}@v1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    before = len(hub.requests)
    assert drawn(NAME) == drawn(f"{NAME}@{SECOND}") == 0
    assert drawn(f"{NAME}@v1") == 255
    assert zoo.published(NAME).weights.hub.revision == SECOND  # type: ignore[union-attr]
    for other in ("hub:someone/ink", f"{NAME}@v2"):
        with pytest.raises(NetworkError, match=f"{other} is not on this machine.*zoo download {other} --to"):
            zoo.load(other)
    assert len(hub.requests) == before


def test_a_hub_that_is_gone_is_told(
    hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(NetworkError, match="cannot ask"):
        monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
        zoo.load(NAME)
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    drawn(NAME)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert drawn(NAME) == 0
    assert f"as it was when the Hub last answered, {NAME}@{SECOND}" in caplog.text


def test_what_the_hubs_own_command_brought_is_used(hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import hf_hub_download

    hf_hub_download(REPO, FILE, endpoint=hub.url, cache_dir=cache.hub_cache())  # as hf download USER/REPO FILE
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert drawn(NAME) == 0


def test_a_damaged_file_is_fetched_again(hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> None:
    path = zoo.download(f"{NAME}@{SECOND}")
    path.write_bytes(path.read_bytes()[:-1])
    assert drawn(f"{NAME}@{SECOND}") == 0
    path.write_bytes(weights(0.5))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(NetworkError, match="not on this machine"):
        zoo.load(f"{NAME}@{SECOND}")
    assert not path.exists()


def test_other_bytes_than_the_hub_promised(hub: LoopbackHub) -> None:
    hub.wrong = True
    with pytest.raises(IntegrityError, match="SHA-256"):
        zoo.load(NAME)
    assert not [*cache.hub_cache().rglob("*.safetensors")]


def test_a_mirror_serves_it(hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_MIRRORS", hub.mirror)
    assert drawn(f"{NAME}@v1") == 255
    assert not any("/resolve/" in path for path in asked(hub))


def nothing(hub: LoopbackHub) -> None: ...


def gated(hub: LoopbackHub) -> None:
    hub.gated = True


def private(hub: LoopbackHub) -> None:
    hub.token = "hf_secret"


def portal(hub: LoopbackHub) -> None:
    hub.portal = True


def down(hub: LoopbackHub) -> None:
    hub.down = 1000


def of_diffusers(hub: LoopbackHub) -> None:
    hub.add(REPO, "3" * 40, "README.md", page("diffusers").replace(b"- zoo\n", b""))
    hub.add(REPO, "3" * 40, FILE, weights())


def two(hub: LoopbackHub) -> None:
    hub.add(REPO, "3" * 40, FILE, weights())
    hub.add(REPO, "3" * 40, "ink.safetensors", weights())


def pickled(hub: LoopbackHub) -> None:
    hub.add(REPO, "3" * 40, "model.bin", b"pickle")


def strange(hub: LoopbackHub) -> None:
    hub.add(REPO, "3" * 40, FILE, weights_bytes("it", {"a": torch.zeros(1)}, {}))


def misfit(hub: LoopbackHub) -> None:
    hub.add(REPO, "3" * 40, FILE, weights_bytes("it", {"hue": torch.zeros(1)}, NETWORK))


def of_a_stranger(hub: LoopbackHub) -> None:
    hub.add(REPO, "3" * 40, FILE, weights(plugin="zoo-ink"))


def of_no_plugin(hub: LoopbackHub) -> None:
    hub.add(REPO, "3" * 40, FILE, weights(plugin="ink --index-url http://a.example"))


@pytest.mark.parametrize(
    "change, name, error, told",
    [
        (nothing, "hub:pencil", UsageError, "not a name of the Hub.*hub:USER/REPO"),
        (nothing, "hub:someone/pencil@../x", UsageError, "not a name of the Hub"),
        (nothing, "hub:no/one", NotFoundError, "no repository no/one.*private.*zoo list --hub.*HF_TOKEN"),
        (nothing, f"{NAME}@v3", NotFoundError, "someone/pencil has no revision v3"),
        (nothing, f"{NAME}/ink.safetensors", NotFoundError, f"someone/pencil has: {FILE}"),
        (gated, NAME, NetworkError, "gated.*accept them at .*hf auth login"),
        (private, NAME, NotFoundError, "or it is private.*HF_TOKEN"),
        (portal, NAME, NetworkError, "what answers there is no Hub"),
        (down, NAME, NetworkError, "cannot ask .*500"),
        (of_diffusers, NAME, UsageError, "made for diffusers, not for the zoo"),
        (two, NAME, UsageError, rf"2 weights files: ink.safetensors, {FILE} \(name one: {NAME}/ink.safetensors\)"),
        (pickled, NAME, NotFoundError, "no weights file.*pickles are not read"),
        (strange, NAME, NotFoundError, "does not say which network"),
        (misfit, NAME, IntegrityError, "does not fit this network: missing: tone; unexpected: hue"),
        (of_a_stranger, NAME, NotFoundError, "zoo-ink, which is not installed.*pip install zoo-ink, if you trust it"),
        (of_no_plugin, NAME, IntegrityError, "network's plugin is"),
    ],
)
def test_what_goes_wrong_is_one_line(
    hub: LoopbackHub, change: Callable[[LoopbackHub], None], name: str, error: type[ZooError], told: str
) -> None:
    change(hub)
    with pytest.raises(error, match=told) as caught:
        zoo.load(name)
    assert type(caught.value) is error and "\n" not in str(caught.value)


def test_two_files_are_named(hub: LoopbackHub) -> None:
    two(hub)
    assert drawn(f"{NAME}/ink.safetensors") == 255


def test_a_token_that_is_wrong(hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.token = "hf_rightright"
    monkeypatch.setenv("HF_TOKEN", "hf_wrongwrong")
    with pytest.raises(NetworkError, match="does not accept your token") as caught:
        zoo.load(NAME)
    assert "hf_wrong" not in str(caught.value)
    monkeypatch.setenv("HF_TOKEN", "hf_rightright")
    assert drawn(NAME) == 0


def test_weights_of_the_hub_for_a_recipe_here(hub: LoopbackHub) -> None:
    assert zoo.load("tiny", weights=NAME, device="cpu").translate(WHITE).getpixel((0, 0)) == (0, 0, 0)


def test_a_slip_is_told(hub: LoopbackHub) -> None:
    for name in (REPO, f"https://huggingface.co/{REPO}"):
        with pytest.raises(NotFoundError, match=f"is it on the Hub[?] then {NAME}"):
            zoo.load(name)
    with pytest.raises(UsageError, match=r"zoo\.published"):
        zoo.info(NAME)


# -- commands


def test_translate_says_the_commit(hub: LoopbackHub, cli: Cli, tmp_path: Path) -> None:
    WHITE.save(tmp_path / "a.png")
    code, out, err = cli("translate", NAME, tmp_path / "a.png", "-o", tmp_path / "b.png", "--invert", "--json")
    assert (code, err) == (0, f"1 translated, 0 skipped, 0 failed, by {NAME}@{SECOND}\n")
    assert json.loads(out)["model"] == f"{NAME}@{SECOND}"
    assert Image.open(tmp_path / "b.png").getpixel((0, 0)) == (255, 255, 255)
    assert sum(request.path.startswith("/api/") for request in hub.requests) == 1, "asked once"


def test_info_reads_the_beginning_only(hub: LoopbackHub, cli: Cli) -> None:
    code, out, _ = cli("info", NAME)
    assert code == 0
    for told in (f"{NAME}@{SECOND}", "CC BY 4.0", "zoo-tiny 1.0, installed", "Hub", "steps 9", "mix: "):
        assert told in out
    assert any("range" in request.headers for request in hub.requests)
    assert not [*cache.hub_cache().rglob("*.safetensors")]
    of_a_stranger(hub)
    told = json.loads(cli("info", NAME, "--json")[1])
    assert (told["plugin"], told["installed"], told["revision"]) == ("zoo-ink", False, "3" * 40)
    assert [control["name"] for control in told["controls"]] == ["hand", "invert", "mix"]
    hub.gated = True
    code, _, err = cli("info", NAME)
    assert code == 4 and "gated" in err
    strange(hub)
    hub.gated = False
    assert cli("info", NAME)[0] == 5


def test_download(hub: LoopbackHub, cli: Cli, tmp_path: Path) -> None:
    code, out, _ = cli("download", NAME, "--to", tmp_path, "--json")
    (told,) = json.loads(out)
    assert code == 0 and (told["name"], told["from"]) == (f"{NAME}@{SECOND}", "Hub")
    assert drawn(str(tmp_path / FILE)) == 0
    assert "cached" in cli("download", NAME, "tiny", "--dry-run")[1]
    assert cli("download", "hub:no/one")[0] == 3


def test_list(hub: LoopbackHub, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add("keeper/animals", FIRST, "README.md", page("pytorch"))  # has the tag, and is another zoo
    hub.add("someone/ink", FIRST, "README.md", page())
    found: Any = json.loads(cli("list", "--hub", "--json")[1])
    assert {one["name"] for one in found} == {NAME, "hub:someone/ink"}
    assert next(one for one in found if one["name"] == NAME) == {
        "name": NAME, "licence": "cc-by-4.0", "recipes": ["tiny"], "downloads": 3, "changed": "2026-01-02", "gated": False,
    }  # fmt: skip
    code, out, _ = cli("list", "--hub", "pencil")
    assert code == 0 and NAME in out and "ink" not in out
    code, out, err = cli("list", "--hub", "oil")
    assert code == 0 and "called oil" in err
    assert cli("list", "oil")[0] == 2
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    code, _, err = cli("list", "--hub")
    assert code == 4 and "HF_HUB_OFFLINE" in err


def test_a_run_begins_with_it(hub: LoopbackHub) -> None:
    path = train._weights(NAME)
    assert path.read_bytes() == weights(-1.0)
    assert called(path.resolve()) == f"{NAME}@{SECOND}", "what zoo pack tells of the run"
    assert called(Path(__file__)) == ""


@pytest.mark.parametrize(
    "name, label",
    [
        (NAME, "pencil"),
        (f"{NAME}@refs/pr/1", "pencil-refs-pr-1"),
        ("hub:a/b/c.safetensors@v1", "b-c-v1"),
        ("x.safetensors", "x"),
    ],
)
def test_what_a_table_calls_it(name: str, label: str) -> None:
    assert label_of(name) == label
