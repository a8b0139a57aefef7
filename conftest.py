"""What holds for every test here, however the tests were started."""

from __future__ import annotations

import os
import signal
from functools import partial

import pytest

os.environ.pop("HF_HUB_OFFLINE", None)
import huggingface_hub.constants  # noqa: F401  (it reads the environment once, whichever test comes first)

# Before torch is imported, and for the processes that tests start: tiny tensors gain nothing from several threads.
os.environ["OMP_NUM_THREADS"] = "1"

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in the background of a script; whoever is started inherits it
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Three to two cores with ``-n auto``: a third of the time of the slowest tests is waiting for other programs."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(2, cores * 3 // 2)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> partial[tuple[int, str, str]]:
    """``zoo …`` in this process -> exit code, stdout, stderr."""
    from shared import leave

    return partial(leave, capsys)
