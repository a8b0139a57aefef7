"""What a run tells: a progress bar, JSON lines, TensorBoard, preview grids."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from zoo.helpers.console import Console
from zoo.helpers.files import atomic
from zoo.pictures.image import to_pil, write
from zoo.train.heldout import Watch
from zoo.train.page import Course, column, place, write_page

log = logging.getLogger("zoo.train")


class Report:
    """``log.jsonl`` (one line every few steps), ``tensorboard/`` and ``previews/`` in the run's folder.

    When a run goes on at an earlier step than its log reached, the later lines are taken back first. ``untold`` is
    what ``keep`` gave at that step.
    """

    def __init__(self, out: Path, start: int, untold: Mapping[str, Any], every: int, console: Console | None) -> None:
        self.out, self.every = out, every
        self.sums = {name: torch.tensor(value) for name, value in untold.get("sums", {}).items()}
        self.counts: dict[str, int] = untold.get("counts", {})
        self.looks: list[dict[str, Any]] = untold.get("looks", [])  # for the next line
        self.held = ""
        path = out / "log.jsonl"
        kept = [line for line in path.read_text().splitlines() if _step(line) <= start] if path.exists() else []
        with atomic(path) as part:
            part.write_text("".join(line + "\n" for line in kept))
        self.file = path.open("a", encoding="utf-8")
        self.board = _tensorboard(out / "tensorboard", start)
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[terms]}"),
            console=console or Console(stderr=True),
            disable=console is None or not console.is_terminal,
        )
        self.task = self.progress.add_task("training", completed=start, total=None, terms="")

    def __enter__(self) -> Report:
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()
        self.file.close()
        if self.board is not None:
            self.board.close()

    def step(self, step: int, total: int | None, seconds: float, rate: float, terms: dict[str, Tensor]) -> None:
        for name, value in terms.items():
            self.sums[name] = self.sums.get(name, torch.zeros_like(value)).to(value) + value
            self.counts[name] = self.counts.get(name, 0) + 1
        self.progress.update(self.task, completed=step, total=total)
        if step % self.every and step != total:
            return
        means = {name: round(float(value) / self.counts[name], 6) for name, value in self.sums.items()}
        line: dict[str, Any] = {"step": step, "of": total, "seconds": round(seconds, 2), "rate": rate, "losses": means}
        if self.looks:
            line["held_out"] = self.looks
        self.sums, self.counts, self.looks = {}, {}, []
        self.file.write(json.dumps(line) + "\n")
        self.file.flush()
        terms_ = "  ".join(f"{n.partition('.')[2]} {v:.3f}" for n, v in means.items())
        self.progress.update(self.task, terms=f"{self.held}{terms_}")
        if self.board is not None:
            for name, mean in {**means, "rate": rate}.items():
                self.board.add_scalar(name, mean, step)

    def keep(self) -> dict[str, Any]:
        """Before a checkpoint: put all lines on the disk, and give what the next line has to know of the steps so far."""
        os.fsync(self.file.fileno())
        if self.board is not None:
            self.board.flush()
        sums = {name: float(value) for name, value in self.sums.items()}
        return {"counts": self.counts, "sums": sums, "looks": self.looks}

    def look(self, watch: Watch) -> None:
        """What the held-out sitters say: in the bar, in the next line of the log, and as a column of drawings."""
        told = watch.told()
        self.looks.append(told)
        self.held = watch.line() + "  "
        if not self.progress.disable:
            self.progress.update(self.task, terms=self.held)
        columns = {f"{told['step']:08d}": watch.drawn}
        if not place(self.out, "photo").exists():
            columns["photo"] = watch.held.photos
            columns |= {"artist": [drawing for drawing in watch.held.drawings if drawing is not None]}
        for name, pictures in columns.items():
            if pictures:
                write(to_pil(column(pictures)), place(self.out, name))
        if self.board is not None:
            for name in ("distance", "began", "best"):
                self.board.add_scalar(f"held-out/{name}", told[name], told["step"])

    def page(self, course: Course) -> None:
        """``index.html``: how the run goes, for people."""
        self.file.flush()
        write_page(course)

    def previews(self, step: int, make: Callable[[], dict[str, Tensor]]) -> None:
        """One row a sample, one column a kind of picture."""
        columns = make()
        grid = torch.cat([torch.cat(list(images), dim=1) for images in columns.values()], dim=2)
        folder = self.out / "previews"
        write(to_pil(grid), folder / f"step-{step:08d}.png")
        if self.board is not None:
            self.board.add_image("previews", (grid + 1) / 2, step)


class NoReport(Report):
    """For the processes that are not the first."""

    def __init__(self) -> None:
        pass

    def __enter__(self) -> Report:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def step(self, *_: object) -> None:
        pass

    def keep(self) -> dict[str, Any]:
        return {}

    def previews(self, *_: object) -> None:
        pass

    def look(self, *_: object) -> None:
        pass

    def page(self, *_: object) -> None:
        pass


def _step(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):  # a line cut short when the machine went down
        return float("inf")


def _tensorboard(folder: Path, start: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        log.warning("no TensorBoard log: pip install 'zoo-core[train]' brings it")
        return None
    return SummaryWriter(str(folder), purge_step=start + 1)
