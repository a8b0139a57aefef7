"""Damaged, odd and hostile pictures through the front doors of the zoo: a picture or one line, and nothing lost.

usage: python benchmarks/fuzz_pictures.py [--inputs 10000] [--seed 0] [--first 0] [--workers 2] [--memory 2.0] [--out DIR]

Each input goes through `zoo.pictures.image.read`, and in batches through `Translator.stream` of a tiny model, in a process
that may take so many GB of memory beyond its libraries; one batch of twenty also through `zoo translate FOLDER -o OUT`
of a process of its own. Input ``--first N --inputs 1`` repeats number N.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1"}
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from fuzzing.damaged import KINDS, make
from fuzzing.judge import Verdict, judge, judge_command, spoken
from tiny_plugin import install_tiny

BATCH = 50
COMMANDS = 20  # one batch of so many goes through the command, too
PATIENCE = 60.0  # seconds for one input


@dataclass(frozen=True)
class Done:
    """A batch is done, and so much memory was the most so far."""

    bytes: int


def work(talk: Connection, options: argparse.Namespace, folder: Path) -> None:
    """A worker: takes the number of a batch, tells each input that it begins with, and gives its verdict."""
    import torch

    from zoo.loading import load

    torch.set_num_threads(1)
    translator = load("tiny", device="cpu")
    limit = _address_space() + int(options.memory * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    with spoken(folder / "stderr.txt") as said:
        while (batch := talk.recv()) is not None:
            place = folder / f"batch-{batch[0]}"
            place.mkdir()
            for verdict in judge((make(place, options.seed, number) for number in batch), translator, said, talk.send):
                talk.send(verdict)
            if batch[0] // BATCH % COMMANDS == 0:
                talk.send(judge_command(place, place / "drawn", batch[0]))
            shutil.rmtree(place)
            talk.send(Done(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024))


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


class Worker:
    """A process that is started again when an input ends it, or when it takes too long."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options, self.folder, self.starts = options, folder, 0
        self.batch: list[int] = []
        self.at = -1
        self.start()

    def start(self) -> None:
        self.starts += 1
        self.talk, theirs = multiprocessing.Pipe()
        place = self.folder / f"start-{self.starts}"
        place.mkdir(parents=True)
        self.process = multiprocessing.get_context("fork").Process(target=work, args=(theirs, self.options, place))
        self.process.start()
        theirs.close()
        self.since = time.monotonic()

    def give(self, batch: list[int] | None) -> None:
        self.batch, self.since = batch or [], time.monotonic()
        self.talk.send(batch)

    def late(self) -> bool:
        return bool(self.batch) and time.monotonic() - self.since > PATIENCE

    def lost(self, why: str) -> Verdict:
        """What ended it is the input that it was at; the rest of the batch is given again."""
        self.process.kill()
        self.process.join()
        rest = [number for number in self.batch if number > self.at]
        verdict = Verdict(self.at, "?", "fault", f"{why} (exit code {self.process.exitcode})")
        self.start()
        if rest:
            self.give(rest)
        return verdict


def run(options: argparse.Namespace, folder: Path) -> tuple[list[Verdict], int]:
    numbers = range(options.first, options.first + options.inputs)
    batches = [[*numbers[i : i + BATCH]] for i in range(0, len(numbers), BATCH)][::-1]
    workers = [Worker(options, folder / f"worker-{i}") for i in range(options.workers)]
    verdicts: list[Verdict] = []
    largest = 0
    while batches or any(worker.batch for worker in workers):
        for worker in workers:
            if not worker.batch and batches:
                worker.give(batches.pop())
        talks = {worker.talk: worker for worker in workers if worker.batch}
        for talk in multiprocessing.connection.wait([*talks], timeout=1):
            worker = talks[talk]  # type: ignore[index]
            try:
                told = worker.talk.recv()
            except (EOFError, ConnectionResetError):
                verdicts.append(worker.lost("the process died"))
                continue
            worker.since = time.monotonic()
            if isinstance(told, Verdict):
                verdicts.append(told)
            elif isinstance(told, int):
                worker.at = told
            else:
                largest, worker.batch = max(largest, told.bytes), []
        verdicts += [worker.lost(f"no answer for {PATIENCE:.0f} s") for worker in workers if worker.late()]
    for worker in workers:
        worker.give(None)
        worker.process.join()
    return verdicts, largest


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--memory", type=float, default=2.0, help="GB that a worker may take")
    parser.add_argument("--out", type=Path, help="where to work; default a folder that is removed again")
    options = parser.parse_args()
    folder = options.out or Path(tempfile.mkdtemp(prefix="fuzz-"))
    install_tiny(folder / "site")
    sys.path.insert(0, str(folder / "site"))
    os.environ["PYTHONPATH"] = str(folder / "site")
    started = time.monotonic()
    verdicts, largest = run(options, folder)
    sys.stdout.write(table(options, verdicts, largest, time.monotonic() - started))
    if not options.out:
        shutil.rmtree(folder)
    return int(any(verdict.result == "fault" for verdict in verdicts))


def table(options: argparse.Namespace, verdicts: list[Verdict], largest: int, seconds: float) -> str:
    import PIL
    import torch

    versions = f"Python {platform.python_version()}, Pillow {PIL.__version__}, torch {torch.__version__}"
    call = " ".join([Path(sys.argv[0]).as_posix(), *sys.argv[1:]])
    faults = [verdict for verdict in verdicts if verdict.result == "fault"]
    lines = [
        f"`python {call}`: seed {options.seed}, {seconds:.0f} s, {options.workers} workers of at most {options.memory:g} GB "
        f"(largest resident size {largest / 2**30:.2f} GB), {versions}",
        "",
        "| | inputs | pictures | refused in one line | faults |",
        "|---|---|---|---|---|",
    ]
    for kind in [*KINDS, "zoo translate"]:
        last = {verdict.number: verdict.result for verdict in verdicts if verdict.kind == kind}
        count = Counter(last.values())
        lines.append(f"| {kind} | {len(last)} | {count['picture']} | {count['refused']} | {count['fault']} |")
    fuzzed = {verdict.number for verdict in verdicts if verdict.kind != "zoo translate"}
    lines += [
        "",
        f"{len(fuzzed)} inputs, {len(faults)} faults",
        *(f"{v.number} ({v.kind}): {v.why}" for v in faults),
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
