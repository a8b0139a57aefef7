"""Progress bars on stderr, in a terminal only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from zoo.helpers.console import Console

if TYPE_CHECKING:
    from torch import Tensor


class Bars(Progress):
    """A bar for each task; called, it shows what the present piece of work tells of itself (`zoo.progress`)."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        super().__init__(*columns, console=console, disable=not console.is_terminal)
        self._told = self.add_task("", visible=False)

    def __call__(self, what: str, done: int, total: int, image: Tensor | None = None) -> None:
        self.update(self._told, description=what, completed=done, total=total, visible=True)

    def silence(self) -> None:
        """What was told is over."""
        self.update(self._told, visible=False)
