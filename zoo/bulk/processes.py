"""Several processes of this machine, started anew (spawn), each with the model. One that dies costs its pictures' time."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

import torch

from zoo.bulk.ledger import Ledger
from zoo.bulk.model import Model
from zoo.bulk.plan import Job
from zoo.bulk.work import DEATHS, Became, How, Watch, translated
from zoo.errors import ZooError, describe
from zoo.helpers.interrupt import tidy_up

BLOCK = 8
"""Jobs that a process is given at once."""

PATIENCE = 10
"""Seconds that a process has to tidy up when all is over."""

log = logging.getLogger("zoo")


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    device: str | None
    jobs: dict[int, Job] = field(default_factory=dict)  # that it has not answered for
    heard: bool = False

    @classmethod
    def started(cls, model: Model, how: How, device: str | None, threads: int) -> _Worker:
        spawn = multiprocessing.get_context("spawn")
        ours, theirs = spawn.Pipe()
        process = spawn.Process(target=_work, args=(theirs, model, how, device, threads), daemon=True)
        process.start()
        theirs.close()
        return cls(process, ours, device)

    def give(self, jobs: list[Job], ledger: Ledger) -> None:
        self.jobs = {job.number: job for job in jobs}
        with suppress(OSError):  # it has died: that is found out when its answer is read
            self.pipe.send((jobs, ledger.known(self.jobs)))


def by_processes(model: Model, how: How, jobs: Iterator[Job], count: int) -> Iterator[Became]:
    """What became of the jobs, as it comes. One GPU after the other for as many processes, or the cores divided."""
    devices: list[str | None] = [model.device]
    if model.device in (None, "cuda") and torch.cuda.is_available():
        devices = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    settings = model, how
    threads = max(1, torch.get_num_threads() // count)
    crew = [_Worker.started(*settings, devices[number % len(devices)], threads) for number in range(count)]
    ledger, again, silent = Ledger(), deque[Job](), 0
    try:
        while True:
            for worker in crew:
                if not worker.jobs and (block := _block(again, jobs)):
                    worker.give(block, ledger)
            if not (busy := {worker.pipe: worker for worker in crew if worker.jobs}):
                return
            for pipe in wait([*busy]):
                worker = busy[pipe]  # type: ignore[index]
                try:
                    word, *rest = worker.pipe.recv()
                    worker.heard = True
                except (EOFError, OSError):
                    worker.process.join()
                    silent = 0 if worker.heard else silent + 1
                    if silent == DEATHS:
                        raise ZooError(
                            f"the processes end before they have loaded the model (exit code {worker.process.exitcode})",
                            "does the memory suffice? take fewer --workers",
                        ) from None
                    again.extend(worker.jobs.values())
                    crew[crew.index(worker)] = _Worker.started(*settings, worker.device, threads)
                    continue
                if word == "became":
                    (became,) = rest
                    ledger.ends(became.job.number)
                    del worker.jobs[became.job.number]
                    yield became
                elif word == "broken":
                    raise rest[0]
                elif word == "said":
                    log.warning("%s", rest[0])
                elif word != "ready":
                    getattr(ledger, word)(*rest)
    finally:
        for worker in crew:
            worker.process.terminate()
        for worker in crew:
            worker.process.join(PATIENCE)
            worker.process.kill()
            worker.pipe.close()


def _block(again: deque[Job], jobs: Iterator[Job]) -> list[Job]:
    """Those of processes that died come first."""
    return [again.popleft() for _ in range(min(BLOCK, len(again)))] or [*islice(jobs, BLOCK)]


class _Told(Watch, logging.Handler):
    """Tells the process that gave the work: what is begun, and what the zoo logs."""

    def __init__(self, pipe: Connection) -> None:
        logging.Handler.__init__(self)
        self.pipe = pipe

    def begins(self, number: int) -> None:
        self.pipe.send(("begins", number))

    def claims(self, number: int, digest: str) -> None:
        self.pipe.send(("claims", number, digest))

    def emit(self, record: logging.LogRecord) -> None:
        self.pipe.send(("said", record.getMessage()))


def _work(pipe: Connection, model: Model, how: How, device: str | None, threads: int) -> None:
    """All that a process does. The one that started it says when it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tidy_up()
    torch.set_num_threads(threads)
    told = _Told(pipe)
    log.addHandler(told)
    log.propagate = False
    try:
        try:
            translator = model.built(device)
            pipe.send(("ready",))
            while True:
                jobs, told.known = pipe.recv()
                for became in translated(translator, jobs, how, None, told):
                    pipe.send(("became", became))
        except ZooError as error:
            pipe.send(("broken", error))
        except (EOFError, OSError):
            raise
        except Exception as error:
            pipe.send(("broken", ZooError(describe(error), "--debug shows where, without --workers")))
    except (EOFError, OSError):  # who started it is no more
        os._exit(1)
