"""What has been made of pictures and is kept in memory, within bounds. Several threads may use it at once."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from threading import Lock

from torch import Tensor

ROOM = 2**31  # bytes; what is beyond is made again each time
RECENT = 32  # of those beyond, so many are there for a while: a sample asks for a picture more than once


class Shelf:
    """Tensors by key. The first to come stay: pictures are seen in random order, so none is better to keep."""

    def __init__(self, room: int | None = None) -> None:
        self.room = ROOM if room is None else room
        self.kept: dict[Hashable, Tensor] = {}
        self.recent: dict[Hashable, Tensor] = {}
        self._lock = Lock()

    def __reduce__(self) -> tuple[type[Shelf], tuple[int]]:
        return Shelf, (self.room,)  # another process fills its own

    def get(self, key: Hashable, make: Callable[[], Tensor]) -> Tensor:
        """What is kept under ``key``, else what ``make`` gives."""
        with self._lock:
            for shelf in (self.kept, self.recent):
                if key in shelf:
                    return shelf[key]
        made = make()
        with self._lock:
            if key not in self.kept and made.nbytes <= self.room:
                self.room -= made.nbytes
                self.kept[key] = made
            elif key not in self.kept:
                self.recent[key] = made
                if len(self.recent) > RECENT:
                    del self.recent[next(iter(self.recent))]
        return made
