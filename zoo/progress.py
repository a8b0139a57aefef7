"""How far a long piece of work is: who does it tells, who waits for it listens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor


class Progress(Protocol):
    """Is called with what is being done, in words that may change, how much of it is done, and how much there is.

    ``image``, (N, 3, H, W) in [-1, 1], is the picture as it is by now, where there is one."""

    def __call__(self, what: str, done: int, total: int, image: Tensor | None = None) -> None: ...


_LISTENER: ContextVar[Progress | None] = ContextVar("listener", default=None)


class Stopped(KeyboardInterrupt):
    """Ctrl-C while a picture was being made that is good for something already: the best so far.

    A generator that goes on and on towards a picture raises it in the place of KeyboardInterrupt."""

    def __init__(self, image: Tensor) -> None:
        super().__init__()
        self.image = image


def tell(what: str, done: int, total: int, image: Tensor | None = None) -> None:
    """Tell whoever waits; nothing happens if nobody does."""
    if listener := _LISTENER.get():
        listener(what, done, total, image)


@contextmanager
def listening(progress: Progress | None) -> Iterator[None]:
    """``progress`` hears what is told within."""
    token = _LISTENER.set(progress)
    try:
        yield
    finally:
        _LISTENER.reset(token)
