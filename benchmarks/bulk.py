"""Pictures a second by one process, by several, and by actors of Ray; and the constants of docs/large-scale.md.

usage: python benchmarks/bulk.py [--pictures 96] [--side 256] [--rounds 3] [--model cyclegan] [--without WAY …]

All compute with one thread a process. The ways are timed by turns in each round, so that a machine which others use slows
all of them; the ratios are the medians over the rounds. The clock of a way runs from its first answer to its last: how
long it takes until then, with the start of processes and the model, is told apart.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from PIL import Image

from zoo.bulk.cluster import Cluster, _Desk, installed
from zoo.bulk.model import Model
from zoo.bulk.plan import Plan, plan
from zoo.bulk.processes import by_processes
from zoo.bulk.run import todo
from zoo.bulk.work import Became, How, translated
from zoo.helpers.inputs import Inputs

SAMPLE = Path(__file__).parents[1] / "docs/sample/eileen-collins.jpg"
HOW = How(on_exists="overwrite", options={"batch": 1})  # or else some answers come at once


def rate(results: Iterator[Became]) -> tuple[float, float]:
    """Seconds until the first answer, and pictures a second from then on. Answers may come several at once."""
    started = time.perf_counter()
    times = [time.perf_counter() for _ in results]
    together = sum(moment - times[0] < 1e-2 for moment in times)
    return times[0] - started, (len(times) - together) / (times[-1] - times[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=96)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default="cyclegan")
    parser.add_argument("--without", nargs="*", default=[], metavar="WAY", help="of those that the table names")
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        jobs = pictures(Path(folder), given.pictures, given.side)
        measure(jobs, Model.of(given.model, device="cpu"), given.rounds, given.without)


def pictures(folder: Path, count: int, side: int) -> Plan:
    (folder / "in").mkdir()
    with Image.open(SAMPLE) as sample:
        small = sample.convert("RGB").resize((side, side))
    for number in range(count):
        small.save(folder / f"in/{number:05}.jpg", quality=95)
    return plan([str(folder / "in")], str(folder / "out"), None, Inputs())


def measure(jobs: Plan, model: Model, rounds: int, without: list[str]) -> None:
    translator = model.built()
    with Cluster("local", model.weights.bytes) as ray:

        def by_ray(actors: int) -> Iterator[Became]:
            return ray.work(model, HOW, todo(jobs, HOW), len(jobs), actors, {}, cores=1)

        ways: dict[str, Callable[[], Iterator[Became]]] = {
            "one process": lambda: translated(translator, todo(jobs, HOW), HOW),
            "--workers 1": lambda: by_processes(model, HOW, todo(jobs, HOW), 1),
            "--workers 2": lambda: by_processes(model, HOW, todo(jobs, HOW), 2),
            "Ray, 1 actor": lambda: by_ray(1),
            "Ray, 2 actors": lambda: by_ray(2),
        }
        for name in without:
            del ways[name]
        say(f"the desk answers {answers():.0f} calls a second to one caller")
        rows: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for number in range(rounds):
            for name, way in ways.items():
                first, speed = rate(way())
                rows[name].append((first, speed))
                say(f"round {number + 1}: {name}: {speed:.2f} pictures a second, first answer after {first:.1f} s")
        alone = [speed for _, speed in rows["one process"]]
        for name, row in rows.items():
            ratios = [speed / one for (_, speed), one in zip(row, alone)]
            told = ", ".join(f"{ratio:.2f}" for ratio in ratios)
            say(
                f"{name:14} {statistics.median(speed for _, speed in row):6.2f} pictures a second, "
                f"{statistics.median(ratios):.2f} of one process ({told}); first answer after "
                f"{statistics.median(first for first, _ in row):.1f} s"
            )


def answers(count: int = 1000) -> float:
    ray = installed()
    desk = ray.remote(_Desk).options(num_cpus=0).remote()
    ray.get(desk.begins.remote(0))
    started = time.perf_counter()
    for _ in range(count):
        ray.get(desk.claims.remote(0, "0" * 64))
    return count / (time.perf_counter() - started)


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
