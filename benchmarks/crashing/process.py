"""Commands of the zoo in processes of their own, which SIGKILL ends at a chosen moment.

Most are forked from this process, which has torch imported but has never used it: a real process, started in
milliseconds instead of seconds. ``fresh`` ones are started as a user does, by ``python -m zoo``.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

POLL = 0.0005  # seconds


class Process:
    """``zoo WORDS``; what it says goes into the file ``said``."""

    def __init__(self, words: Sequence[str], said: Path, environment: Mapping[str, str], fresh: bool = False) -> None:
        self.said, self.started = said, time.monotonic()
        self.status: int | None = None
        if fresh:
            with said.open("wb") as file:
                command = [sys.executable, "-m", "zoo", *words]
                child = subprocess.Popen(command, stdout=file, stderr=file, env={**os.environ, **environment})
            child.returncode = 0  # we wait for it, by its number
            self.number = child.pid
        else:
            self.number = os.fork() or _be(words, said, environment)

    def ended(self) -> bool:
        if self.status is None:
            number, status = os.waitpid(self.number, os.WNOHANG)
            self.status = status if number else None
        return self.status is not None

    def kill(self, ready: Callable[[], bool], delay: float) -> bool:
        """SIGKILL so many seconds after ``ready`` became true; False if the process had ended by then."""
        due = None
        while due is None or time.monotonic() < due:
            if due is None and ready():
                due = time.monotonic() + delay
            if self.ended():
                return False
            time.sleep(POLL)
        os.kill(self.number, signal.SIGKILL)
        _, self.status = os.waitpid(self.number, 0)
        return os.WIFSIGNALED(self.status)

    def finish(self) -> float:
        """Wait for a good end, and give the seconds since the start. RuntimeError with what it said for a bad one."""
        while not self.ended():
            time.sleep(POLL)
        if self.status:
            raise RuntimeError(f"it ended with status {self.status}: {self.said.read_text()[-600:]}")
        return time.monotonic() - self.started


def _be(words: Sequence[str], said: Path, environment: Mapping[str, str]) -> NoReturn:
    """The rest of a forked process's life."""
    code: object = 70
    try:
        file = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, 1)
        os.dup2(file, 2)
        os.environ.update(environment)
        sys.path[:0] = environment.get("PYTHONPATH", "").split(os.pathsep)
        from zoo.cli import main

        main(words)
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 70)
