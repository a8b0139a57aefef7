"""`zoo download`, killed."""

from __future__ import annotations

import hashlib
import json
import os
import random
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import huggingface_hub  # noqa: F401  (before forking: it takes its time)
import numpy as np
from installed import HUB, install

import zoo.cli.download  # noqa: F401
from crashing.scene import Moment, Scene, is_temporary, need
from zoo.testing.hub import LoopbackHub


class Downloading(Scene):
    """From the Hub and from a mirror, into the cache and into a folder of one's own."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.content = np.random.default_rng(0).bytes(60_000_000)
        self.digest = hashlib.sha256(self.content).hexdigest()
        facts = {"file": "x.safetensors", "sha256": self.digest, "bytes": len(self.content), "hub": HUB}
        install(folder / "site", {"small": facts})
        ours, theirs = get_context("fork").Pipe()
        self.server = get_context("fork").Process(target=serve, args=(theirs, self.content), daemon=True)
        self.server.start()
        self.url, self.mirror = ours.recv()
        self.seconds = self.time(folder / "first", random.Random(0))

    def begin(self, folder: Path, rng: random.Random) -> None:
        folder.mkdir()
        self.folder, self.to = folder, folder / "mine" if rng.random() < 0.4 else None
        home = {"HF_HUB_CACHE": str(folder / "hub"), "ZOO_CACHE": str(folder / "zoo")}
        source = {"HF_ENDPOINT": self.url} if rng.random() < 0.6 else {"ZOO_MIRRORS": self.mirror}
        self.environment = {**home, **source, "PYTHONPATH": str(self.home / "site")}

    def words(self) -> list[str]:
        return ["download", "x", "--json", *(["--to", str(self.to)] if self.to else [])]

    def moment(self, rng: random.Random) -> Moment:
        if rng.random() < 0.4:
            return "at any time", lambda: True, rng.uniform(0, self.seconds)

        wanted = rng.choice((0, rng.randrange(len(self.content))))

        def begun() -> bool:
            found = (Path(folder, name) for folder, _, names in os.walk(self.folder) for name in names)
            return any(is_temporary(path) and size(path) >= wanted for path in found)

        return "writing", begun, 0.02 * rng.random() ** 3

    def check(self) -> tuple[str, int]:
        """A file that has its name has its bytes."""
        large = [path for path in self.folder.rglob("*") if path.is_file() and size(path) > 100_000]
        whole = [path for path in large if not is_temporary(path)]
        need(all(path.read_bytes() == self.content for path in whole), f"half of {whole}")
        return ("the file" if whole else "part of it" if large else "nothing"), 0

    def compare(self) -> None:
        [told] = json.loads((self.folder / "said.txt").read_text())
        need(Path(told["path"]).read_bytes() == self.content, "it is another file")
        left = [path for path in self.traces() if path.parent != self.to]  # there others may write: it goes after a day
        need(not left, f"left behind: {left}")


def size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def serve(answer: Connection, content: bytes) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # it complains of clients that are gone
    with LoopbackHub() as hub:
        hub.add(HUB["repo"], HUB["revision"], "x.safetensors", content)
        answer.send((hub.url, hub.mirror))
        answer.poll(None)  # until the other end is closed
