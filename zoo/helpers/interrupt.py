"""Ctrl-C and the signals that end a process: at once while nothing is at stake, tidily while a command runs."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType

_ENDS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


def leave_at_once() -> None:
    """From here on Ctrl-C ends the process without a word: while modules are imported, and when all is done."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where it is ignored, as under nohup
        signal.signal(signal.SIGINT, _leave)


def tidy_up() -> None:
    """From here on Ctrl-C raises KeyboardInterrupt, and the end of a job or a terminal SystemExit: half-written files
    are removed, a run is saved."""
    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if threading.current_thread() is not threading.main_thread():  # which alone may say what a signal does
        return
    for number in _ENDS:
        if signal.getsignal(number) is signal.SIG_DFL:  # not where it is ignored, as under nohup
            signal.signal(number, _end)


def _leave(*_: object) -> None:
    os._exit(130)


def _end(number: int, _: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)  # a second one ends it at once
    sys.exit(128 + number)
