"""Call a function in a process of its own, which may crash, hang or leave without taking this one along."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from zoo.helpers.forks import Forks


class Lost(Exception):
    """The process did not come back with a result; the message says what became of it."""


def call(target: str, *words: str, timeout: float, forks: Forks | None = None) -> Any:
    """``module:function``, called with ``words`` in a new Python, or in one of ``forks`` -> its result, which is plain data.

    What it prints goes nowhere. Lost if it crashes, ends Python or takes more than ``timeout`` seconds.
    """
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
        command = ["-P", "-m", "zoo.doctor.isolated", str(answer), target, *words]
        try:
            with nullcontext(forks) if forks else Forks() as python:
                done = python.run(*command, env={**os.environ, "PYTHONPATH": path}, timeout=timeout)
        except subprocess.TimeoutExpired:
            raise Lost(f"it hangs: no answer in {timeout:g} seconds") from None
        except OSError as exc:  # no memory for a process; a Python inside another program
            raise Lost(f"no process can be started: {exc}") from exc
        if answer.exists():
            return json.loads(answer.read_text(encoding="utf-8"))
    if (code := done.returncode) < 0:
        raise Lost(f"it crashes Python with {signal.Signals(-code).name}")
    raise Lost(f"it ends Python with exit code {code}")


def _answer(path: str, target: str, *words: str) -> None:
    module, _, function = target.partition(":")
    result = getattr(importlib.import_module(module), function)(*words)
    part = Path(f"{path}.part")  # half an answer is none
    part.write_text(json.dumps(result), encoding="utf-8")
    part.rename(path)


if __name__ == "__main__":
    _answer(*sys.argv[1:])
