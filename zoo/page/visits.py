"""Who visits the page, what each has asked for, and what they see while it is done."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gradio as gr

from zoo.errors import UsageError, ZooError
from zoo.page import look, words
from zoo.page.desk import Desk
from zoo.page.shown import Shown
from zoo.page.widgets import given, paths_of
from zoo.page.work import Event, Failed, Line, Made, Task, Told

MOST = 30
"""So many pictures at once."""

TICK = 0.1
"""Seconds between two looks at what has happened."""


@dataclass
class Visits:
    """All visits of a page; Gradio gives each a name. Results go into ``folder``."""

    models: Mapping[str, Shown]
    folder: Path
    pixels: float  # of an upload, at most
    line: Line = field(default_factory=Line)
    tasks: dict[str, Task] = field(default_factory=dict)  # the last of each visit
    made: int = 0

    def example(self, shown: Shown) -> look.Example | None:
        return look.example(shown.preview, self.folder / "examples") if shown.preview else None

    def leave(self, request: gr.Request) -> None:
        """The tab was closed, or a stop asked for."""
        if task := self.tasks.get(str(request.session_hash)):
            self.line.leave(task)

    async def drawn(
        self, shown: Shown, desk: Desk, visit: str, sources: Any, steps: int, values: Sequence[Any]
    ) -> AsyncIterator[dict[Any, Any]]:
        """What changes on the page, from the click to the result."""
        if (busy := self.tasks.get(visit)) and not busy.over.is_set():
            return  # its stop is on the way
        try:
            task = self._asked(shown, paths_of(sources), steps, given(shown.controls, values))
        except ZooError as error:
            yield {desk.status: words.outcome([Failed(error.message, error.hint)])}
            return
        self.tasks[visit] = task
        self.line.join(task)
        try:
            yield {desk.go: gr.Button(visible=False), desk.stop: gr.Button(visible=True)}
            async for text in self._turn(task):
                yield {desk.status: text}
            heard = _Heard()
            while not (task.over.is_set() and task.events.empty()):
                while not task.events.empty():
                    heard.hear(task.events.get())
                if new := heard.update(desk):
                    yield new
                await asyncio.sleep(TICK)
            yield desk.finished(shown, task, heard.made, heard.outcome(task.stop.is_set()))
        finally:
            self.line.leave(task)

    def _asked(self, shown: Shown, paths: Sequence[Path], steps: int, turned: Mapping[str, Any]) -> Task:
        if not paths:
            raise UsageError("there is no picture yet", "drop one above, paste it, or take one with the camera")
        if len(paths) > MOST:
            raise UsageError(f"{len(paths)} pictures are too many at once", f"give up to {MOST}")
        if steps and len(paths) > 1:
            raise UsageError("a film is of one picture", "remove the others, or untick the film")
        self.made += 1
        return Task(shown.name, paths, turned, self.folder / "results" / str(self.made), steps, self.pixels)

    async def _turn(self, task: Task) -> AsyncIterator[str]:
        """Where a visitor stands, until it is their turn; then the work begins."""
        last = 0
        while (before := self.line.before(task)) and not task.over.is_set():
            if before != last:
                yield words.waiting(before)
            last = before
            await asyncio.sleep(TICK)
        if not task.over.is_set():
            threading.Thread(target=task.run, daemon=True).start()


@dataclass
class _Heard:
    """What a task has told so far."""

    made: list[Made] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    told: Told | None = None  # and not shown yet
    image: Any = None  # the same of the picture by now

    def hear(self, event: Event) -> None:
        match event:
            case Told():
                self.told, self.image = event, event.image or self.image
            case Made():
                self.made.append(event)
            case Failed():
                self.failed.append(event)
            case str():
                self.remarks.append(event)

    def update(self, desk: Desk) -> dict[Any, Any]:
        """What is new of it, for the page."""
        update: dict[Any, Any] = {desk.status: words.status(self.told)} if self.told else {}
        if self.image:
            update |= {
                desk.becoming: gr.Markdown(words.becoming(self.image), visible=True),
                desk.pair: gr.ImageSlider(visible=False),
                desk.caption: "",
            }
        self.told = self.image = None
        return update

    def outcome(self, stopped: bool) -> str:
        return words.outcome(self.failed, self.remarks, len(self.made), stopped)
