"""Processes that begin with torch imported: ``python -m zoo …`` as a user starts it, but for the seconds that this takes.

One process imports torch and forks for each that a test asks for. What comes of it has its own number, is killed and
leaves as any other, and imports what is the zoo's itself. Where torch does not like to be forked, it starts afresh.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any


class Process:
    """``python -m words`` in a group of its own; what it prints can be read at any time."""

    def __init__(self, words: Sequence[object], cwd: Path | None = None, env: Mapping[str, str] | None = None) -> None:
        self._files = [TemporaryFile("w+b"), TemporaryFile("w+b")]  # noqa: SIM115  (they stay open as long as this)
        self.args = [*map(str, words)]
        self.returncode: int | None = None
        self._afresh: subprocess.Popen[bytes] | None = None
        place, settings = str(cwd or Path.cwd()), dict(os.environ if env is None else env)
        if sys.platform == "linux":
            self._line, theirs = socket.socketpair()
            with theirs:
                fds = [theirs.fileno(), *(file.fileno() for file in self._files)]
                socket.send_fds(_nursery(), [b"1"], fds)
            self._told = self._line.makefile("rw")
            print(json.dumps([self.args, place, settings]), file=self._told, flush=True)
            self.pid = int(self._told.readline())
        else:
            command = [sys.executable, "-m", *self.args]
            out, err = self._files
            pipes: dict[str, Any] = {"stdout": out, "stderr": err}
            self._afresh = subprocess.Popen(command, cwd=place, env=settings, start_new_session=True, **pipes)
            self.pid = self._afresh.pid

    @property
    def stdout(self) -> str:
        return _text(self._files[0])

    @property
    def stderr(self) -> str:
        return _text(self._files[1])

    def poll(self) -> int | None:
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float = 300) -> int:
        """The exit code, or minus the number of the signal. TimeoutExpired after so many seconds."""
        if self.returncode is None:
            self.returncode = self._afresh.wait(timeout) if self._afresh else self._heard(timeout)
        return self.returncode

    def _heard(self, timeout: float) -> int:
        if not select.select([self._line], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired(self.args, timeout)
        with self._line, self._told:
            return int(self._told.readline())

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def run(
    words: Sequence[object], cwd: Path | None = None, env: Mapping[str, str] | None = None, timeout: float = 300
) -> subprocess.CompletedProcess[str]:
    """``python -m words`` to its end."""
    process = Process(words, cwd, env)
    try:
        process.wait(timeout)
    finally:
        process.kill()
    return subprocess.CompletedProcess(process.args, process.wait(), process.stdout, process.stderr)


def _text(file: IO[bytes]) -> str:
    return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode()  # where it writes stays


@cache
def _nursery() -> socket.socket:
    ours, theirs = socket.socketpair()
    settings = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, __file__, str(theirs.fileno())]
    with theirs:
        process = subprocess.Popen(command, env=settings, pass_fds=[theirs.fileno()], start_new_session=True)

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


# -- the process that forks ---------------------------------------------------------------------------------------------


def serve(line: socket.socket) -> tuple[list[str], str, dict[str, str]]:
    """Returns in each process that is to become one, with its words, folder and environment."""
    running: set[int] = set()
    while fds := socket.recv_fds(line, 1, 3)[1]:
        running = {pid for pid in running if os.waitpid(pid, os.WNOHANG) == (0, 0)}
        if not (pid := os.fork()):
            line.close()
            return _born(*fds)
        running.add(pid)
        for fd in fds:
            os.close(fd)
    for pid in running:
        os.waitpid(pid, 0)
    os._exit(0)


def _born(line: int, out: int, err: int) -> tuple[list[str], str, dict[str, str]]:
    """One process stays to say how the other has ended."""
    with socket.socket(fileno=line) as parent, parent.makefile("rw") as told:
        order = json.loads(told.readline())
        if pid := os.fork():
            os.close(out), os.close(err)
            print(pid, file=told, flush=True)
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            with suppress(OSError):  # nobody waits
                print(code, file=told, flush=True)
            os._exit(0)
    os.setsid()
    for fd, place in ((out, 1), (err, 2)):
        os.dup2(fd, place)
        os.close(fd)
    return order


if __name__ == "__main__":
    import gc
    import runpy

    import torch._dynamo  # noqa: F401  (the compiler, which optimisers import)

    gc.freeze()  # what nobody touches is not copied

    (module, *sys.argv[1:]), folder, settings = serve(socket.socket(fileno=int(sys.argv[1])))
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(settings)
    sys.path[:1] = [folder, *filter(None, settings.get("PYTHONPATH", "").split(os.pathsep))]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
