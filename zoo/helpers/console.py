"""Rich's console, behind the same gate as all that is printed: its own colours pass, those in a file's name do not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO, Any

import rich.console
from rich.segment import Segment

from zoo.helpers.terminal import plain
from zoo.helpers.words import printable


class Console(rich.console.Console):
    """Cleans each piece of text before it is given its colours, and so writes past the gate."""

    @property
    def file(self) -> IO[str]:
        return plain(rich.console.Console.file.fget(self))  # type: ignore[attr-defined]

    @file.setter
    def file(self, new: IO[str]) -> None:
        rich.console.Console.file.fset(self, new)  # type: ignore[attr-defined]

    def render(self, renderable: Any, options: rich.console.ConsoleOptions | None = None) -> Iterable[Segment]:
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else printable(text), style, control)
