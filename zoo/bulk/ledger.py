"""What is under way, kept outside of the processes that do it: who takes over from one that died reads here how far it was.

So a picture is named once, and a result that a dead process has placed is not taken for somebody else's file.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Trace(NamedTuple):
    """Of a job that was begun: so many times, and the SHA-256 of a result that may have its name by now."""

    begun: int = 0
    digest: str = ""


class Ledger:
    """Only of jobs that were begun and are not ended: it does not grow with their number."""

    def __init__(self) -> None:
        self._traces: dict[int, Trace] = {}

    def begins(self, number: int) -> None:
        trace = self._traces.get(number, Trace())
        self._traces[number] = trace._replace(begun=trace.begun + 1)

    def claims(self, number: int, digest: str) -> None:
        self._traces[number] = self._traces[number]._replace(digest=digest)

    def known(self, numbers: Iterable[int]) -> dict[int, Trace]:
        """What is known of those that were begun before."""
        return {number: self._traces[number] for number in numbers if number in self._traces}

    def ends(self, number: int) -> None:
        self._traces.pop(number, None)
