"""`zoo pack`, killed."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

from training import EVEN, RICH, arguments, pictures

import zoo.cli.pack
import zoo.train.run  # noqa: F401  (before forking: it brings torch)
from crashing.process import Process
from crashing.scene import Moment, Scene, appeared, need


class Packing(Scene):
    """Into a new folder, over an earlier packing, and over one whose card somebody has completed."""

    STATES = ("new", "over an older one", "with a card that was completed")

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        sides = pictures(folder / "photos", 2, 1), pictures(folder / "drawings", 2, 2)
        self.run = folder / "run"
        wide = [*RICH, EVEN, "generator.width=32"]
        for steps in ("1", "2"):
            said = folder / f"said-{steps}.txt"
            Process(arguments(self.run, *sides, "--steps", steps, overrides=wide)[1:], said, {}).finish()
            if steps == "1":
                Process(["pack", str(self.run), "--out", str(folder / "old")], said, {}).finish()
        self.reference: dict[str, dict[str, bytes]] = {}
        self.seconds = 0.0
        for state in self.STATES:
            self.seconds = self.time(folder / state, random.Random(0))
            self.reference[state] = files(self.out)

    def begin(self, folder: Path, rng: random.Random) -> None:
        folder.mkdir()
        self.folder, self.out = folder, folder / "packed"
        self.state = folder.name if folder.name in self.STATES else rng.choice(self.STATES)
        if self.state != "new":
            shutil.copytree(self.home / "old", self.out)
        if self.state == self.STATES[2]:
            with (self.out / "README.md").open("a") as card:
                card.write("The sitters agreed.\n")
        self.before = files(self.out) if self.out.exists() else {}

    def words(self) -> list[str]:
        return ["pack", str(self.run), "--out", str(self.out), "--licence", "cc-by-4.0"]

    def moment(self, rng: random.Random) -> Moment:
        if rng.random() < 0.4:
            return "at any time", lambda: True, rng.uniform(0, self.seconds)
        return "writing", appeared([self.out], rng.randint(1, 3)), 0.02 * rng.random() ** 3

    def check(self) -> tuple[str, int]:
        """Each file is the old one or the new one."""
        wanted, state = self.reference[self.state], []
        for name, content in files(self.out).items() if self.out.exists() else ():
            if name in wanted:
                need(content in (wanted[name], self.before.get(name)), f"{name} is half")
                state.append(name if content == wanted[name] else "")
        return f"{sum(map(bool, state))} of 3 new files", 0

    def compare(self) -> None:
        ours, theirs = files(self.out), self.reference[self.state]
        need(ours.keys() == theirs.keys(), f"{sorted(ours.keys() ^ theirs.keys())} is left behind or missing")
        for name in theirs:
            need(ours[name] == theirs[name], f"{name} differs ({self.state})")


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}
