"""Damaged, odd and hostile headers, cards, recipes and manifests, and what must be true of the answer to any of them."""

from __future__ import annotations

import contextlib
import io
import json
import re
import signal
import struct
import time
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import yaml
from PIL import Image
from tiny_plugin import CONTROLS, MANIFEST, NETWORK, TinyPlugin

from zoo.catalogue import registry as catalogue
from zoo.catalogue.host import host
from zoo.cli import main
from zoo.generator import build_generator
from zoo.recipe import load_recipe
from zoo.weights.file import save_weights

KINDS = ("header", "card", "recipe", "manifest")
PATIENCE = 5  # seconds for one answer
LONGEST = 5000  # characters of a line

WORDS = (
    "\x1b]0;owned\x07",
    "\x9b31m",
    "\u202egnp.exe",
    "a\nzoo: done",
    "x" * 100_000,
    "é\udcff",
    "../../etc/passwd",
    "",
)
NUMBERS = (-1, 0, 1, 900, 10**5, 5 * 10**8, 2**63, 10**40, 1e-300, 1e9, float("inf"), float("nan"))
OTHERS = (None, True, [], {}, [[]] * 5000, [0] * 20_000, {"name": {}})

FACTS: dict[str, Any] = {
    "summary": "As it is", "plugin": "zoo-tiny", "task": "nothing", "recipe": "tiny",
    "paper": {"title": "Nothing", "authors": ["Nobody"], "year": 2020},
    "licence": {"code": "MIT", "weights": "MIT", "data": "none"},
    "weights": {"plain": {
        "file": "x.safetensors", "sha256": "0" * 64, "bytes": 4, "hub": {"repo": "a/b", "revision": "0" * 40},
        "trained": {"data": "none", "steps": 1, "seed": 1, "hours": 1.5},
        "metrics": [{"name": "lpips", "value": 0.5, "n": 20, "protocol": "none", "seed": 0}],
    }},
}  # fmt: skip
BODY: dict[str, Any] = {"name": "resnet", "block": {"name": "residual"}, "width": 2, "blocks": 1}
RECIPE: dict[str, Any] = {
    "summary": "Small", "generator": BODY, "discriminator": {"name": "patchgan", "width": 2},
    "trainer": {"name": "cycle"}, "losses": {"generator": {"cycle": {"weight": 10}}, "discriminator": {}},
    "optimiser": {"lr": 2e-4, "betas": [0.5, 0.999]}, "schedule": {"epochs": 1, "decay": 0.5},
    "data": {"size": [64, 64], "working": 256, "batch": 1, "augment": {"scale": 1.1}},
    "controls": [*CONTROLS, {"type": "numbers", "name": "units", "length": 3}],
}  # fmt: skip


class Late(BaseException):
    """No answer in time."""


@dataclass(frozen=True)
class Answer:
    """What ``zoo`` said."""

    code: int
    text: str
    seconds: float  # of the processor, in the slowest call: others may use it, too

    def fault(self) -> str:
        """What must not be; "" if all is well."""
        if hidden := next((c for c in self.text if not c.isprintable() and c not in "\n\t\u3000\xa0"), ""):
            return f"{hidden!r} goes to the terminal"
        if "Traceback" in self.text or re.search(r"^zoo: \w*(Error|Exception): ", self.text, re.MULTILINE):
            return "a raw error"
        if (longest := max(map(len, self.text.splitlines()), default=0)) > LONGEST:
            return f"a line of {longest} characters"
        if not 0 <= self.code <= 6:
            return f"exit code {self.code}"
        return f"{self.seconds:.1f} seconds" if self.seconds > PATIENCE else ""


def make(kind: str, seed: int, number: int) -> bytes:
    """The file of this number; the same at every call."""
    chance = Random(f"{kind} {seed} {number}")
    recipe = chance.choice((RECIPE, {**RECIPE, "controls": []}))  # its network takes none: that is said at last
    tree = deepcopy({"header": _header(chance), "card": {"x": FACTS}, "recipe": recipe, "manifest": _manifest()}[kind])
    for _ in range(chance.choice((1, 1, 2, 4))):
        _spoil(tree, chance)
    content = _weights(tree) if kind == "header" else _yaml(tree, chance)
    for _ in range(chance.choice((0, 0, 0, 1, 3))):
        content = _scratch(content, chance)
    return content


def _header(chance: Random) -> dict[str, Any]:
    network = {**NETWORK, "translator": None, "working": 256, "controls": CONTROLS}
    other = {**network, "recipe": "small", "plugin": "zoo-cycleda", "generator": BODY, "controls": RECIPE["controls"]}
    return {
        "network": chance.choice((network, other)), "tensors": {"tone": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}},
        "card": {"licence": "MIT"}, "version": 1,
    }  # fmt: skip


def _manifest() -> dict[str, Any]:
    tree = yaml.safe_load(MANIFEST.format(sha256="0" * 64, bytes=4))
    return {"requires_core": ">=0.1", **tree, "cards": {**tree["cards"], "x": FACTS}}


def _spoil(tree: Any, chance: Random) -> None:
    """Another value, another name, or one less, anywhere."""
    places = [*_places(tree)]
    if not places:
        return
    holder, key = chance.choice(places)
    what = chance.random()
    if what < 0.7:
        holder[key] = deepcopy(chance.choice(chance.choice((WORDS, NUMBERS, NUMBERS, OTHERS))))
    elif what < 0.85 and isinstance(holder, dict):
        holder[chance.choice(WORDS) or "blank"] = holder.pop(key)
    elif isinstance(holder, dict):
        del holder[key]


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    for key in list(tree) if isinstance(tree, dict) else range(len(tree)):
        yield tree, key
        if isinstance(tree[key], dict | list) and len(tree[key]) < 100:
            yield from _places(tree[key])


def _weights(tree: dict[str, Any]) -> bytes:
    about = {name: value for name, value in tree.items() if name != "tensors"}
    tensors = tree.get("tensors")
    header = {
        **(tensors if isinstance(tensors, dict) else {"tone": tensors}),
        "__metadata__": {"zoo": json.dumps(about)},
    }
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + b"\0\0\x80?"


def _yaml(tree: Any, chance: Random) -> bytes:
    text = yaml.safe_dump(tree, allow_unicode=False)
    if chance.random() < 0.1:  # aliases of aliases
        depth = chance.choice((4, 9, 25))
        bomb = "\n".join(f"  - &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, depth))
        text += f"bomb:\n  - &a0 [x, x, x, x, x, x, x, x, x]\n{bomb}\n"
    if chance.random() < 0.05:
        text += f"deep: {'[' * 3000}\n"
    return text.encode("utf-8", "surrogateescape")


def _scratch(content: bytes, chance: Random) -> bytes:
    place = chance.randrange(len(content) + 1)
    junk = chance.choice(
        (b"", b"\0", b"\x1b[2J", b"\xff\xfe", b"&a ", b"*a ", b"]", b"}", b"9" * 5000, chance.randbytes(8))
    )
    return content[:place] + junk + content[chance.choice((place, place + len(junk), place + chance.randrange(40))) :]


def ask(kind: str, content: bytes, tiny: TinyPlugin, folder: Path) -> Answer:
    """Give it to ``zoo``, as a user would come by it."""
    picture, out = folder / "picture.png", str(folder / "out.png")
    if not picture.exists():
        Image.new("RGB", (16, 16)).save(picture)
    drawn = [str(picture), "-o", out, "--on-exists", "overwrite", "--device", "cpu"]
    if kind == "header":
        path = folder / "hostile.safetensors"
        path.write_bytes(content)
        return _said(["translate", str(path), *drawn])
    if kind == "recipe":
        path = folder / "hostile.yaml"
        path.write_bytes(content)
        return _said(["translate", str(path), *drawn, "--weights", str(_weights_of_recipe(folder))])
    if kind == "manifest":
        manifest = tiny.weights.parents[1] / "zoo.yaml"
        before = manifest.read_bytes()
        manifest.write_bytes(content)
        try:
            return _said(["plugins"], ["list"], ["info", "x"])
        finally:
            manifest.write_bytes(before)
    path = folder / "registry.yaml"
    path.write_bytes(content)
    there, catalogue.catalogue = catalogue.catalogue, lambda: path
    try:
        return _said(["list"], ["info", "x"], ["list", "--json"])
    finally:
        catalogue.catalogue = there


def _weights_of_recipe(folder: Path) -> Path:
    """Of the recipe as it was: what is asked of a damaged one comes as far as its network."""
    path = folder / "own.safetensors"
    if not path.exists():
        whole = folder / "hostile-as-it-was" / "hostile.yaml"
        whole.parent.mkdir()
        whole.write_text(yaml.safe_dump({**RECIPE, "controls": []}), encoding="utf-8")
        network = load_recipe(whole).network()
        save_weights(path, build_generator(network).state_dict(), network)
    return path


def _said(*calls: list[str]) -> Answer:
    text, code, slowest = "", 0, 0.0
    host.cache_clear()
    catalogue.registry.cache_clear()
    for words in calls:
        out, err, begun = io.StringIO(), io.StringIO(), time.process_time()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), _patience():
            try:
                main(words)
            except SystemExit as left:
                code = max(code, int(left.code or 0))
        text += out.getvalue() + err.getvalue()
        slowest = max(slowest, time.process_time() - begun)
    host.cache_clear()
    catalogue.registry.cache_clear()
    return Answer(code, text, slowest)


@contextlib.contextmanager
def _patience() -> Iterator[None]:
    def late(*_: object) -> None:
        raise Late

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(10 * PATIENCE)  # of the clock
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def judged(
    kind: str, seed: int, numbers: range, tiny: TinyPlugin, folder: Path
) -> Iterator[tuple[int, Answer | None, str]]:
    """Number, answer and fault of each; a fault is what must not be, "" if there is none."""
    for number in numbers:
        try:
            answer = ask(kind, make(kind, seed, number), tiny, folder)
            yield number, answer, answer.fault()
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt | GeneratorExit):
                raise
            yield number, None, f"{type(error).__name__}: {error}"


__all__ = ["KINDS", "Answer", "ask", "judged", "make"]
