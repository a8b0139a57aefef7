"""A transfer by another's code that ends: it is left where too little comes or goes, and so is whatever it waits for."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

from zoo.weights.connection import Pace

LOOK = 0.2  # seconds between two looks
LEAVE = 2.0  # seconds in which work that is to stop may do so

Result = TypeVar("Result")


def watched(work: Callable[[], Result], size: Callable[[], int], minutes: int = 1) -> Result:
    """What ``work`` returns or raises. ``size`` tells how many bytes have moved; SlowError if they are too few in
    ``minutes``.

    The work is done in a thread, which is stopped where it hangs, or where this one is interrupted: Ctrl-C leaves nothing
    at work. A thread that hears nothing, since it waits in a library for a server that is silent, is stopped when that wait
    ends, and nobody waits for it.
    """
    done: Future[Result] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as exc:
            done.set_exception(exc)

    thread = threading.Thread(target=run, daemon=True, name="zoo-transfer")
    pace, before = Pace(minutes=minutes), size()
    try:
        thread.start()
        while thread.is_alive():
            thread.join(LOOK)
            now = size()
            pace.add(max(0, now - before))
            before = now
    finally:
        _stop(thread)
    return done.result()


def _stop(thread: threading.Thread) -> None:
    """Ctrl-C for a thread: clients end well at that, with files closed and locks given back."""
    if not thread.is_alive():
        return
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(KeyboardInterrupt))
    thread.join(LEAVE)


def size_of(folder: Path) -> int:
    """Bytes of the files in ``folder``, which come and go."""
    total = 0
    for path in folder.glob("*"):
        try:
            total += path.stat().st_size
        except OSError:
            continue
    return total
