"""Ctrl-C: at once while nothing is at stake, tidily while a command runs."""

from __future__ import annotations

import os
import signal


def leave_at_once() -> None:
    """From here on Ctrl-C ends the process without a word: while modules are imported, and when all is done."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where it is ignored, as under nohup
        signal.signal(signal.SIGINT, _leave)


def tidy_up() -> None:
    """From here on Ctrl-C raises KeyboardInterrupt: half-written files are removed, a run is saved."""
    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _leave(*_: object) -> None:
    os._exit(130)
