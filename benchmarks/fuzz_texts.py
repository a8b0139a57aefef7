"""Damaged headers, cards, recipes and manifests through the front doors of the zoo: an answer, soon, in little memory.

usage: python benchmarks/fuzz_texts.py [--inputs 1000] [--seed 0] [--first 0] [--kind KIND] [--memory 1.0]

So many of each kind, in a process that may take so many GB beyond its libraries. Each ends within five seconds, in one of
the zoo's errors or none, and nothing that a terminal obeys is printed. ``--kind KIND --first N --inputs 1`` repeats one.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from fuzzing.texts import KINDS, ask, judged, make
from PIL import Image
from tiny_plugin import install_tiny

from zoo.loading import load


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--inputs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--kind", choices=KINDS, action="append")
    parser.add_argument("--memory", type=float, default=1.0)
    options = parser.parse_args()
    faults = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ |= {"ZOO_CACHE": f"{folder}/cache", "HF_HOME": f"{folder}/hub"}
        sys.path.insert(0, str(folder / "site"))
        tiny = install_tiny(folder / "site")
        for kind in KINDS:  # imports what is imported once
            ask(kind, make(kind, -1, 0), tiny, folder)
        translator = load("tiny", device="cpu")
        translator.translate(Image.new("RGB", (16, 16)))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        limit = _address_space() + int(options.memory * 2**30)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        for kind in options.kind or KINDS:
            begun, slowest, taken, refused = time.monotonic(), 0.0, 0, 0
            for number, answer, fault in judged(
                kind, options.seed, range(options.first, options.first + options.inputs), tiny, folder
            ):
                if fault:
                    faults += 1
                    sys.stdout.write(f"{kind} {number}: {fault}\n  {ascii(answer.text[:400]) if answer else ''}\n")
                if answer:
                    slowest = max(slowest, answer.seconds)
                    taken, refused = taken + (answer.code == 0), refused + (answer.code != 0)
            grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e6
            sys.stdout.write(
                f"{kind}: {options.inputs} inputs, {taken} taken, {refused} refused, slowest {slowest:.2f} s, "
                f"{grown:.2f} GB more at the peak so far, {time.monotonic() - begun:.0f} s\n"
            )
    sys.stdout.write(f"{faults} faults\n")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
