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
import struct
import subprocess
import sys
import threading
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

NUMBER = struct.Struct("<q")  # what the waiting Python says of a fork: which process it is, and its exit code


class Forks:
    """``run`` is ``subprocess.run`` of a Python that has imported ``modules``, where it can. One command at a time."""

    def __init__(self, *modules: str) -> None:
        self.modules = modules
        self._waiting: subprocess.Popen[bytes] | None = None
        self._turn = threading.Lock()

    def run(
        self,
        *words: str,
        said: Sequence[str | Path] = (os.devnull, os.devnull),
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> int:
        """The exit code of ``python *words``, which are ``[-P] -m module …`` or ``-c code …``. Nothing is there to be read;
        the files ``said`` take its stdout and stderr. OSError: no process can be started. TimeoutExpired: it was killed."""
        if sys.platform != "linux":
            with Path(said[0]).open("wb") as out, Path(said[1]).open("wb") as err:
                streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": err}
                return subprocess.run([sys.executable, *words], **streams, cwd=cwd, env=env, timeout=timeout).returncode
        wanted = {
            "words": words,
            "said": [str(Path(path).absolute()) for path in said],
            "cwd": str(cwd or Path.cwd()),
            "environment": dict(os.environ if env is None else env),
        }
        with self._turn:
            return self._ask(wanted, timeout)

    def _ask(self, wanted: Mapping[str, Any], timeout: float | None) -> int:
        waiting = self._waiting = self._waiting or self._start()
        assert waiting.stdin and waiting.stdout
        with contextlib.suppress(BrokenPipeError):
            waiting.stdin.write(json.dumps(wanted).encode() + b"\n")
            waiting.stdin.flush()
        process = waiting.pid
        for what in ("process", "code"):
            if not select.select([waiting.stdout], [], [], timeout)[0]:
                os.kill(process, 9)
                if what == "code":
                    os.read(waiting.stdout.fileno(), NUMBER.size)
                else:  # it still imports
                    self.close()
                raise subprocess.TimeoutExpired(list(wanted["words"]), timeout or 0)
            if not (number := os.read(waiting.stdout.fileno(), NUMBER.size)):  # what is heavy has ended it
                self._waiting = None
                return waiting.wait()
            (process,) = NUMBER.unpack(number)
        return process

    def _start(self) -> subprocess.Popen[bytes]:
        path = [entry or str(Path.cwd()) for entry in sys.path]
        kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}  # each command has its own
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        words = [sys.executable, "-P", __file__, json.dumps(path), *self.modules]
        atexit.register(self.close)
        return subprocess.Popen(words, **pipes, env=kept)

    def close(self) -> None:
        """The waiting Python ends; the next command starts another."""
        atexit.unregister(self.close)
        if waiting := self._waiting:
            self._waiting = None
            waiting.kill()
            waiting.communicate()

    def __enter__(self) -> Forks:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


# -- in the Python that waits -----------------------------------------------------------------------------------------


def _wait(asked: IO[str], told: int) -> dict[str, Any]:
    """What a fork has to do; only forks return."""
    for line in asked:
        if not (fork := os.fork()):
            os.close(told)
            return dict(json.loads(line))
        os.write(told, NUMBER.pack(fork))
        os.write(told, NUMBER.pack(os.waitstatus_to_exitcode(os.waitpid(fork, 0)[1])))
    os._exit(0)


def _become(wanted: Mapping[str, Any], path: Sequence[str]) -> list[str]:
    """This process is as a new Python with these streams, folder, environment and path -> the words without its options."""
    streams = [os.open(os.devnull, os.O_RDONLY)]
    streams += [os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666) for name in wanted["said"]]
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(wanted["cwd"])
    os.environ.clear()
    os.environ.update(wanted["environment"])
    words: list[str] = wanted["words"]
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


def _main(path: str, *modules: str) -> None:
    told, silence = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    own = [*sys.path]
    sys.path[:] = json.loads(path)
    with contextlib.suppress(Exception):
        importlib.import_module("zoo")  # it says how torch shall compute, before torch is imported
    for name in modules:
        with contextlib.suppress(Exception):  # a command that needs it fails by itself
            importlib.import_module(name)
    for name in [name for name in sys.modules if name.partition(".")[0] == "zoo"]:
        del sys.modules[name]
    gc.freeze()
    os._exit(_run(*_become(_wait(sys.stdin, told), own)) & 0xFF)


if __name__ == "__main__":
    _main(*sys.argv[1:])
