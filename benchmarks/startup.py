"""How long the commands take that answer without torch: best and median of seven, in seconds of wall time.

usage: python benchmarks/startup.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

COMMANDS = (["--help"], ["list"], ["info", "cycleda"], ["plugins"], ["parts"], ["download", "--all", "--dry-run"])


def main() -> None:
    for words in COMMANDS:
        times = []
        for _ in range(8):  # the first one warms the disk's cache
            started = time.perf_counter()
            subprocess.run([sys.executable, "-m", "zoo", *words], capture_output=True, check=True)
            times.append(time.perf_counter() - started)
        best, median = min(times[1:]), statistics.median(times[1:])
        sys.stdout.write(f"zoo {' '.join(words):28} best {best:.3f}  median {median:.3f}\n")


if __name__ == "__main__":
    main()
