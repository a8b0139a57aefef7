"""`zoo publish`: from a packed folder to somebody else's `zoo.load`, with the Hub's real client against loopback."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import forks
import pytest
import torch
import yaml
from conftest import forget
from packaging.version import Version
from PIL import Image
from tiny_plugin import NETWORK, TinyPlugin, tiny  # noqa: F401  (a fixture)
from training import pictures, run

import zoo
from zoo.card import Weights
from zoo.cli import main
from zoo.errors import ConfigError, IntegrityError, NetworkError, NotFoundError, UsageError, ZooError
from zoo.publish.model_page import front_matter
from zoo.publish.publish import publish
from zoo.publish.upload import upload_space
from zoo.testing.hub import LoopbackHub
from zoo.train.pack import pack
from zoo.weights.file import save_weights
from zoo.weights.hub import search
from zoo.weights.sources import fetch

TOKEN = "hf_secret"
LATER = pytest.mark.skipif(
    Version(version("huggingface_hub")) < Version("1"), reason="early clients want HF_ENDPOINT before they start"
)
MANIFEST = """# the plugin's own notes
parts: {{generator: [tiny]}}
cards:
  tiny:   # a model
    summary: As it is
    task: nothing
    recipe: tiny
    paper: {{title: Nothing, authors: [Nobody]}}
    licence: {{code: MIT, weights: CC BY 4.0, data: none}}

    weights:
      # the first is the default
      plain:
        file: tiny.safetensors
        sha256: {sha256}
        bytes: {bytes}   # small
        bundled: true
        trained: {{data: nothing, steps: 1}}

  untrained:
    summary: No weights
    task: nothing
    recipe: tiny
    paper: {{title: Nothing, authors: [Nobody]}}
    licence: {{code: MIT, weights: MIT, data: none}}
    weights: {{}}   # not yet
"""


@pytest.fixture
def card(tiny: TinyPlugin) -> Path:  # noqa: F811
    """The plugin's zoo.yaml, with comments."""
    path = tiny.weights.parents[1] / "zoo.yaml"
    data = tiny.weights.read_bytes()
    path.write_text(MANIFEST.format(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data)))
    forget()
    return path


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True, raising=False)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")  # for processes of their own
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with LoopbackHub() as server:
        server.token = TOKEN
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    return folder(tmp_path / "packed")


def folder(path: Path, licence: str = "CC BY 4.0", tone: float = -1.0, **network: object) -> Path:
    """As ``zoo pack`` writes it."""
    trained = {"steps": 9, "seed": 3, "hours": 0.5, "photos": ["album"], "drawings": ["pencil"]}
    facts = {"licence": licence, "trained": trained}
    save_weights(path / "model.safetensors", {"tone": torch.tensor([tone])}, {**NETWORK, **network}, facts=facts)
    (path / "config.json").write_text("{}")
    (path / "README.md").write_text(
        f"{front_matter(licence)}\n# Mine\n\n```\nzoo translate model.safetensors a.jpg\n```\n"
    )
    return path


def commits(hub: LoopbackHub) -> int:
    return sum("/commit/" in request.path for request in hub.requests)


def negative() -> None:
    """The tiny model with tone -1."""
    assert zoo.load("tiny.v2", device="cpu").translate(Image.new("RGB", (16, 16), "white")).getpixel((0, 0)) == (
        0,
        0,
        0,
    )


# -- what it does -------------------------------------------------------------------------------------------------


def test_new_weights_for_a_card(card: Path, hub: LoopbackHub, packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = card.read_text()
    done = publish("tiny.v2", "me/tiny", folder=packed)
    assert done.new and hub.repositories["me/tiny"].private is False
    entry = yaml.safe_load(card.read_text())["cards"]["tiny"]["weights"]["v2"]
    data = (packed / "model.safetensors").read_bytes()
    assert entry == {
        "file": "tiny-v2.safetensors",
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "hub": {"repo": "me/tiny", "revision": hub.repositories["me/tiny"].head},
        "trained": {"data": "album, pencil", "steps": 9, "seed": 3, "hours": 0.5},
    }
    added = [line for line in card.read_text().splitlines() if line not in before.splitlines()]
    kept = [line for line in card.read_text().splitlines() if line not in added]
    assert kept == before.splitlines() and added[0] == "      v2:"
    revision = hub.repositories["me/tiny"].head
    assert {name for _, v, name in hub.files if v == revision} == {"tiny-v2.safetensors", "config.json", "README.md"}
    page = hub.files["me/tiny", revision, "README.md"].decode()
    assert "zoo translate tiny.v2 a.jpg" in page and "license: cc-by-4.0" in page

    forget()  # somebody else, with the next release of the plugin
    shutil.rmtree(packed)
    monkeypatch.delenv("HF_TOKEN")
    hub.token = ""
    negative()


def test_weights_of_a_smaller_recipe(card: Path, hub: LoopbackHub, tmp_path: Path) -> None:
    options = {"name": "tiny", "tone": 0.1, "upsample": "resize"}
    small = folder(tmp_path / "small", recipe="tiny-small", generator=options)
    assert publish("tiny.v2", "me/tiny", folder=small, dry_run=True).entry()["trained"]["recipe"] == "tiny-small"


def test_the_first_weights_of_a_card(card: Path, hub: LoopbackHub, packed: Path) -> None:
    publish("untrained.v1", "me/first", folder=packed)
    forget()
    assert (
        "zoo translate untrained a.jpg"
        in hub.files["me/first", hub.repositories["me/first"].head, "README.md"].decode()
    )
    assert zoo.load("untrained", device="cpu").translate(Image.new("L", (16, 16))).size == (16, 16)


def test_the_weights_that_a_card_has(card: Path, hub: LoopbackHub, tiny: TinyPlugin) -> None:  # noqa: F811
    before = card.read_text().splitlines()
    done = publish("tiny", "me/tiny")
    lines = card.read_text().splitlines()
    at = lines.index("        bundled: true") + 1
    assert lines[at] == "        hub:" and lines[:at] + lines[at + 3 :] == before
    page = hub.files["me/tiny", hub.repositories["me/tiny"].head, "README.md"].decode()
    assert all(text in page for text in ("zoo translate tiny p", "license: cc-by-4.0", done.weights.sha256, "Nobody"))
    tiny.weights.unlink()
    forget()
    assert zoo.download("tiny").read_bytes() == hub.files["me/tiny", done.weights.hub.revision, "tiny.safetensors"]  # type: ignore[union-attr]


@pytest.mark.slow
def test_from_training_to_somebody_elses_machine(
    hub: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A packed run without a card; then every command of its page, as a reader would run them."""
    photos, drawings = pictures(tmp_path / "photos", 2, 1), pictures(tmp_path / "drawings", 2, 2)
    run(tmp_path / "run", photos, drawings, steps=1)
    done = publish(str(pack(tmp_path / "run", licence="CC BY-NC 4.0")), "me/My.Model_2")
    assert done.card is None and done.tag == "my-model-2"
    page = hub.files["me/My.Model_2", done.weights.hub.revision, "README.md"].decode()  # type: ignore[union-attr]
    assert "zoo pack" not in page and "license: cc-by-nc-4.0\n" in page

    other = tmp_path / "elsewhere"
    other.mkdir()
    pictures(other, 1, 3)
    Image.open(other / "0.png").save(other / "portrait.jpg")
    monkeypatch.chdir(other)
    (shell,) = re.findall(r"^```\n(.*?)^```$", page, re.M | re.S)
    for line in shell.splitlines()[1:]:  # not: pip install
        words = shlex.split(line)
        if words[0] == "zoo":
            called = forks.run("-m", *words)
        else:
            program = str(Path(sys.executable).parent / words[0])
            called = subprocess.run([program, *words[1:]], capture_output=True, text=True)
        assert called.returncode == 0, called.stderr
    assert Image.open("drawing.png").size == Image.open("portrait.jpg").size
    Path("drawing.png").unlink()
    (python,) = re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S)
    exec(python, {})
    assert Path("drawing.png").exists()

    entry = yaml.safe_load(yaml.safe_dump(done.entry()))  # pasted into a card
    assert fetch(Weights.model_validate(entry), "pasted").read_bytes() == hub.blobs[entry["sha256"]]
    assert entry["trained"]["recipe"] == "cycleda"


@LATER
def test_once_more_changes_nothing(
    card: Path, hub: LoopbackHub, packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tiny").mkdir()  # a model's name means the model
    first = publish("tiny.v2", "me/tiny", folder=packed)
    text = card.read_text()
    forget()
    again = publish("tiny.v2", "me/tiny", folder=packed)
    assert (first.new, again.new) == (True, False) and again.weights == first.weights
    assert card.read_text() == text and commits(hub) == 1
    (packed / "README.md").write_text("# Better words")
    forget()
    third = publish("tiny.v2", "me/tiny", folder=packed)
    assert third.new and third.weights.hub != first.weights.hub and commits(hub) == 2
    assert sum(request.method == "PUT" for request in hub.requests) == 1, "the weights were there"
    forget()
    negative()


def test_dry_run(card: Path, hub: LoopbackHub, packed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = card.read_text()
    with pytest.raises(SystemExit) as caught:
        main(["publish", "tiny.v2", "--repo", "me/tiny", "--folder", str(packed), "--dry-run", "--json"])
    assert caught.value.code == 0
    out, told = capsys.readouterr()
    said = json.loads(out)
    assert said["state"] == "would" and said["files"].keys() == {"tiny-v2.safetensors", "README.md", "config.json"}
    assert said["entry"]["v2"]["hub"] == {"repo": "me/tiny", "revision": None}
    assert "would upload to" in told and f"would write cards.tiny.weights.v2 in {card}" in told
    assert hub.requests == [] and card.read_text() == before


def test_the_command(card: Path, hub: LoopbackHub, packed: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(card.parents[1])}
    words = (str(packed), "--repo", "me/mine", "--private", "--message", "Hello")
    done = forks.run("-m", "zoo", "publish", *words, env=environment)
    assert done.returncode == 0, done.stderr
    assert hub.repositories["me/mine"].private
    entry = yaml.safe_load(done.stdout)["mine"]
    assert entry["hub"] == {"repo": "me/mine", "revision": hub.repositories["me/mine"].head}
    assert TOKEN not in done.stdout + done.stderr + card.read_text()
    assert f"uploaded to {hub.url}/me/mine" in done.stderr and "pasted" in done.stderr
    hub.read_only = True
    done = forks.run("-m", "zoo", "publish", "tiny", "--repo", "me/tiny", env=environment)
    assert done.returncode == 4 and done.stdout == ""
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == ["zoo", "hint"]


@pytest.mark.parametrize("name", ["cyclegan", "cyclese", "cycleda", "cyclepix", "conditional-cyclepix"])
def test_the_catalogue_can_be_published(name: str, hub: LoopbackHub) -> None:
    plan = publish(name, f"someone/{name}", dry_run=True)
    assert plan.card is not None and plan.card.name == "registry.yaml"
    before, after = plan.card.read_text().splitlines(), plan.edited().splitlines()
    assert len(after) == len(before) + 3 and [line for line in after if line in before] == before


# -- what the Hub refuses -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault, told",
    [
        ({"token": "another"}, r"does not accept your token.*hf auth login"),
        ({"read_only": True}, r"your token may not write to me/tiny.*settings/tokens; me must be you"),
        ({"limited": True}, r"too many requests.*minutes"),
        ({"down": 1000}, r"cannot upload to me/tiny.*500"),
        ({"cuts": 1000}, r"cannot upload to me/tiny"),
        ({"portal": True}, r"cannot upload to me/tiny"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_the_hub_refuses(card: Path, hub: LoopbackHub, packed: Path, fault: dict[str, Any], told: str) -> None:
    before, well = card.read_text(), dict(vars(hub))
    vars(hub).update(fault)
    with pytest.raises(NetworkError, match=told) as caught:
        publish("tiny.v2", "me/tiny", folder=packed)
    assert "\n" not in str(caught.value) and TOKEN not in str(caught.value)
    assert card.read_text() == before and hub.files == {}
    vars(hub).update({name: well[name] for name in fault})
    publish("tiny.v2", "me/tiny", folder=packed)
    forget()
    negative()


def test_a_hub_that_takes_a_byte_at_a_time(
    card: Path, hub: LoopbackHub, packed: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is left, for weights and for a Space; nothing was published, and nobody waits for it."""
    before = card.read_text()
    (large := tmp_path / "a.bin").write_bytes(bytes(300))
    hub.sips = 0.05
    with monkeypatch.context() as patch:
        patch.setattr("zoo.weights.connection.MINUTE", 0.06)
        patch.setattr("zoo.weights.watch.LEAVE", 0.1)
        with pytest.raises(NetworkError, match=r"cannot upload to me/tiny.*only \d+ bytes moved in"):
            publish("tiny.v2", "me/tiny", folder=packed)
        with pytest.raises(NetworkError, match=r"cannot upload to me/space.*only \d+ bytes moved in"):
            upload_space("me/space", {"a.bin": large}, "first")
    assert card.read_text() == before and hub.files == {}
    hub.sips = 0
    publish("tiny.v2", "me/tiny", folder=packed)
    forget()
    negative()


def test_a_short_trouble_is_waited_for(card: Path, hub: LoopbackHub, packed: Path) -> None:
    hub.cuts = 1
    publish("tiny.v2", "me/tiny", folder=packed)
    assert commits(hub) == 1


@pytest.mark.parametrize(
    "settings, told", [({"HF_TOKEN": ""}, "no token"), ({"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE")]
)
def test_nobody_is_asked(
    card: Path, hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], told: str
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(NetworkError, match=told):
        publish("tiny", "me/tiny")
    assert hub.requests == []


def test_a_private_wish_and_a_public_repository(card: Path, hub: LoopbackHub, packed: Path) -> None:
    publish("tiny", "me/tiny")
    with pytest.raises(UsageError, match="public"):
        publish(str(packed), "me/tiny", private=True)
    assert commits(hub) == 1


def test_a_page_that_the_hub_does_not_take(card: Path, hub: LoopbackHub, packed: Path) -> None:
    before = card.read_text()
    (packed / "README.md").write_text("---\nlicense: my own\n---\n# Mine\n")
    with pytest.raises(ConfigError, match=r"refuses README\.md.*license"):
        publish("tiny.v2", "me/tiny", folder=packed)
    assert card.read_text() == before and commits(hub) == 0


@pytest.mark.parametrize("name, end, told", [("", b"!", "is not what was uploaded"), ("x", b"", "does not hold what")])
def test_a_hub_that_holds_something_else(
    card: Path, hub: LoopbackHub, packed: Path, monkeypatch: pytest.MonkeyPatch, name: str, end: bytes, told: str
) -> None:
    before, add = card.read_text(), hub.add
    monkeypatch.setattr(hub, "add", lambda repo, revision, file, data: add(repo, revision, name + file, data + end))
    with pytest.raises(IntegrityError, match=told):
        publish("tiny.v2", "me/tiny", folder=packed)
    assert card.read_text() == before


@LATER
def test_a_card_that_cannot_be_written(
    card: Path, hub: LoopbackHub, packed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path) -> Any:
        raise OSError(28, "No space left on device", str(path))

    before = card.read_text()
    with monkeypatch.context() as patch:
        patch.setattr("zoo.publish.card_file.atomic", full)
        with pytest.raises(ZooError, match=r"me/tiny has the weights.*No space left.*publish again"):
            publish("tiny.v2", "me/tiny", folder=packed)
    assert card.read_text() == before
    assert publish("tiny.v2", "me/tiny", folder=packed).new is False
    forget()
    negative()


# -- what is refused here -----------------------------------------------------------------------------------------


def test_refused_before_anything_is_sent(card: Path, hub: LoopbackHub, packed: Path, tmp_path: Path) -> None:
    def refused(error: type[ZooError], told: str, name: str, repo: str = "me/tiny", **options: Any) -> None:
        with pytest.raises(error, match=told):
            publish(name, repo, **options)

    for repo in ("tiny", "me/", "me/a/b", "../x", "me/é"):
        refused(UsageError, "not a repository's name", "tiny", repo)
    refused(NotFoundError, "no model 'tini'.*tiny", "tini")
    refused(NotFoundError, "no weights 'v9'", "tiny.v9")
    refused(UsageError, "'V2' is not a tag", "tiny.V2", folder=packed)
    refused(UsageError, "no weights yet.*zoo publish untrained.TAG", "untrained")
    refused(UsageError, "need a tag", "untrained", folder=packed)
    refused(NotFoundError, "no folder", "runs/none/packed")
    refused(NotFoundError, "no folder", str(packed / "model.safetensors"))
    refused(UsageError, "leave out --folder", str(packed), folder=packed)
    refused(UsageError, "other weights already", "tiny.plain", folder=packed)
    for licence in ("unknown", ""):
        refused(UsageError, "without a licence", "tiny.v2", folder=folder(tmp_path / f"no {licence}", licence))
    for number, change in enumerate(
        ({"generator": {"name": "tiny", "block": "residual"}}, {"controls": []}, {"plugin": "x"})
    ):
        other = folder(tmp_path / f"other {number}", recipe="tiny-other", **change)
        refused(UsageError, "recipe tiny-other, whose network is not that of tiny", "tiny.v2", folder=other)
    for file in ("README.md", "config.json", "model.safetensors"):
        hurt = folder(tmp_path / f"without {file}")
        (hurt / file).unlink()
        refused(NotFoundError, file, str(hurt))
    whole = packed / "model.safetensors"
    whole.write_bytes(whole.read_bytes()[:-1])
    refused(IntegrityError, "not a whole safetensors file", "tiny.v2", folder=packed)
    assert hub.requests == []


def test_an_entry_that_two_cards_share(card: Path, hub: LoopbackHub, packed: Path) -> None:
    text = card.read_text().replace("    weights:\n", "    weights: &all\n").replace("weights: {}", "weights: *all")
    card.write_text(text)
    forget()
    with pytest.raises(ConfigError, match="without changing other entries"):
        publish("tiny.v2", "me/tiny", folder=packed)
    assert hub.requests == [] and card.read_text() == text


def test_the_card_of_an_installed_wheel(card: Path, hub: LoopbackHub, packed: Path) -> None:
    record = next(card.parents[1].glob("zoo_tiny-*.dist-info")) / "RECORD"
    record.write_text("zoo_tiny/__init__.py,,\nzoo_tiny/zoo.yaml,,\n")
    with pytest.raises(UsageError, match=r"belongs to an installed wheel.*pip install -e"):
        publish("tiny.v2", "me/tiny", folder=packed)
    assert hub.requests == []
    publish(str(packed), "me/tiny")


@pytest.mark.parametrize(
    "licence, told",
    [
        ("MIT", {"license": "mit"}),
        ("CC BY-NC-SA 4.0", {"license": "cc-by-nc-sa-4.0"}),
        ("Apache 2.0", {"license": "apache-2.0"}),
        ("cc0-1.0", {"license": "cc0-1.0"}),
        ("research use only", {"license": "other", "license_name": "research-use-only"}),
        ("研究用", {"license": "other", "license_name": "see-below"}),
    ],
)
def test_licences_in_the_hubs_own_names(licence: str, told: dict[str, str]) -> None:
    front = yaml.safe_load(front_matter(licence).split("---")[1])
    assert {key: value for key, value in front.items() if key.startswith("license")} == told


def test_everybody_has_it_by_its_name(hub: LoopbackHub, tiny: TinyPlugin, packed: Path) -> None:  # noqa: F811
    done = publish(str(packed), "hub:me/My-Pencil")
    name = "hub:me/My-Pencil"
    assert f"zoo translate {name} a.jpg" in done.page
    translator = zoo.load(name, device="cpu")
    assert done.weights.hub and translator.origin == f"{name}@{done.weights.hub.revision}"
    assert translator.translate(Image.new("RGB", (16, 16), "white")).getpixel((0, 0)) == (0, 0, 0)
    assert [one["name"] for one in search()] == [name]
