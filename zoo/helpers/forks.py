"""Processes of their own, all of them at the price of one import of what is heavy.

A Python that has imported it waits, and forks for each command. What is of the zoo, or of a plugin, is imported anew
there. Outside Linux, where libraries of the system do not survive a fork, each command is a new Python.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import random
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

NUMBER = struct.Struct("<q")  # what is said of a fork: which process it is, and then its exit code


class Process:
    """``python *words`` as it runs, in a session of its own; what it prints can be read at any time."""

    def __init__(
        self, words: Sequence[str], pid: int, files: Sequence[IO[bytes]], end: Callable[[float | None], int]
    ) -> None:
        self.args, self.pid = words, pid
        self.returncode: int | None = None
        self._files, self._end = files, end
        self._said: list[str] = []

    @property
    def stdout(self) -> str:
        return self._texts()[0]

    @property
    def stderr(self) -> str:
        return self._texts()[1]

    def _texts(self) -> list[str]:
        return self._said or [_text(file) for file in self._files]

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, or minus the number of the signal. TimeoutExpired after so many seconds."""
        if self.returncode is None:
            self.returncode = self._end(timeout)
            self._said = self._texts()
            for file in self._files:
                file.close()
        return self.returncode

    def poll(self) -> int | None:
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Forks:
    """``start`` is ``subprocess.Popen``, ``run`` is ``subprocess.run`` of a Python that has imported ``modules``, where it
    can."""

    def __init__(self, *modules: str) -> None:
        self.modules = modules
        self._waiting: subprocess.Popen[bytes] | None = None
        self._door: socket.socket | None = None
        self._turn = threading.Lock()

    def start(
        self,
        *words: str,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Process:
        """``python *words``, which are ``[-P] -m module …`` or ``-c code …``. Nothing is there to be read.

        OSError: no process can be started. TimeoutExpired: what is heavy is not imported after so many seconds."""
        files = [tempfile.TemporaryFile("w+b"), tempfile.TemporaryFile("w+b")]  # noqa: SIM115  (as long as the process)
        place, settings = str(cwd or Path.cwd()), dict(os.environ if env is None else env)
        if sys.platform != "linux":
            streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": files[0], "stderr": files[1]}
            command = [sys.executable, *words]
            started = subprocess.Popen(command, cwd=place, env=settings, start_new_session=True, **streams)
            return Process(words, started.pid, files, started.wait)
        line, theirs = socket.socketpair()
        with theirs, self._turn:
            waiting, door = self._opened()
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # nobody is there, as is read below
                socket.send_fds(door, [b"1"], [theirs.fileno(), *(file.fileno() for file in files)])

        def number(timeout: float | None) -> int | None:
            if not select.select([line], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(words, timeout or 0)
            with contextlib.suppress(ConnectionResetError):
                if told := line.recv(NUMBER.size):
                    return int(NUMBER.unpack(told)[0])
            return None

        def end(timeout: float | None) -> int:
            code = number(timeout)
            line.close()
            return -signal.SIGKILL if code is None else code  # it is none's child: who would say has been killed, too

        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            line.sendall(json.dumps([words, place, settings]).encode() + b"\n")
        try:
            pid = number(timeout)
        except subprocess.TimeoutExpired:  # it still imports
            self.close()
            line.close()
            for file in files:
                file.close()
            raise
        if pid is None:  # what is heavy has ended it
            self.close()
            line.close()
            return Process(words, waiting.pid, files, waiting.wait)
        return Process(words, pid, files, end)

    def run(
        self,
        *words: str,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """``start`` to its end. TimeoutExpired: it was killed."""
        process = self.start(*words, cwd=cwd, env=env, timeout=timeout)
        try:
            code = process.wait(timeout)
        except BaseException:
            process.kill()
            process.wait()
            raise
        return subprocess.CompletedProcess(words, code, process.stdout, process.stderr)

    def _opened(self) -> tuple[subprocess.Popen[bytes], socket.socket]:
        if not (self._waiting and self._door):
            self._door, theirs = socket.socketpair()
            path = [entry or str(Path.cwd()) for entry in sys.path]
            kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}  # each command has its own
            streams: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
            streams["pass_fds"] = [theirs.fileno()]
            words = [sys.executable, "-P", __file__, str(theirs.fileno()), json.dumps(path), *self.modules]
            with theirs:
                self._waiting = subprocess.Popen(words, env=kept, start_new_session=True, **streams)
            atexit.register(self.close)
        return self._waiting, self._door

    def close(self) -> None:
        """The waiting Python ends; the next command starts another."""
        with self._turn:
            atexit.unregister(self.close)
            if self._waiting and self._door:
                self._door.close()
                if self._waiting.poll() is None:
                    self._waiting.kill()
                self._waiting.wait()
            self._waiting = self._door = None

    def __enter__(self) -> Forks:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _text(file: IO[bytes]) -> str:
    return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode(errors="replace")  # where it writes stays


# -- in the Python that waits -----------------------------------------------------------------------------------------


def _wait(door: socket.socket) -> tuple[list[str], str, dict[str, str]]:
    """What a fork has to do: words, folder, environment; only forks return."""
    running: set[int] = set()
    while fds := socket.recv_fds(door, 1, 3)[1]:
        running = {fork for fork in running if os.waitpid(fork, os.WNOHANG) == (0, 0)}
        if not (fork := os.fork()):
            door.close()
            return _born(*fds)
        running.add(fork)
        for fd in fds:
            os.close(fd)
    os._exit(0)


def _born(line: int, *said: int) -> tuple[list[str], str, dict[str, str]]:
    """One process stays to say how the other has ended."""
    with socket.socket(fileno=line) as parent:
        with parent.makefile() as told:
            words, place, settings = json.loads(told.readline())
        if pid := os.fork():
            for fd in said:
                os.close(fd)
            with contextlib.suppress(OSError):  # nobody waits
                parent.sendall(NUMBER.pack(pid))
                parent.sendall(NUMBER.pack(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])))
            os._exit(0)
    os.setsid()
    for number, fd in enumerate(said, 1):
        os.dup2(fd, number)
        os.close(fd)
    return words, place, settings


def _become(words: list[str], place: str, settings: Mapping[str, str], path: Sequence[str]) -> list[str]:
    """This process is as a new Python with this folder, environment and path -> the words without its options."""
    os.chdir(place)
    os.environ.clear()
    os.environ.update(settings)
    safe = words[0] == "-P"
    first = [] if safe else ["" if words[0] == "-c" else str(Path.cwd())]
    given = os.environ.get("PYTHONPATH", "")
    sys.path[:] = [*first, *(given.split(os.pathsep) if given else ()), *path]
    random.seed()
    return words[safe:]


def _run(option: str, what: str, *words: str) -> int:
    """-> the exit code. All is done that Python does at its end, but nothing taken apart: with torch that takes a second."""
    sys.argv = ["-c" if option == "-c" else what, *words]
    try:
        if option == "-c":
            sys.modules["__main__"] = main = types.ModuleType("__main__")
            exec(compile(what, "<string>", "exec"), main.__dict__)
        else:
            runpy.run_module(what, run_name="__main__", alter_sys=True)
        return 0
    except SystemExit as left:
        if left.code is None or isinstance(left.code, int):
            return left.code or 0
        print(left.code, file=sys.stderr)  # noqa: T201
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush(), sys.stderr.flush()
    return 1


def _main(door: str, path: str, *modules: str) -> None:
    own = [*sys.path]
    sys.path[:] = json.loads(path)
    with contextlib.suppress(Exception):
        importlib.import_module("zoo")  # it says how torch shall compute, before torch is imported
    for name in modules:
        with contextlib.suppress(Exception):  # a command that needs it fails by itself
            importlib.import_module(name)
    for name in [name for name in sys.modules if name.partition(".")[0] == "zoo"]:
        del sys.modules[name]
    gc.freeze()  # what nobody touches is not copied
    os._exit(_run(*_become(*_wait(socket.socket(fileno=int(door))), own)) & 0xFF)


if __name__ == "__main__":
    _main(*sys.argv[1:])
