"""kill -9 at random moments of training, saving, packing and downloading: is everything whole, and as if nothing was?

usage: python benchmarks/crash.py [--kills 200] [--seed 0] [--phase train|pack|download] [--trial N] [--out DIR]

A trial is a chain: the command is killed, what it left is checked, the same command goes on, is killed again …, and at
last runs to its end. Then the result is compared, byte for byte, with that of a run nobody disturbed. The moment is a
random time after the start, or a random time after a temporary file has appeared (``writing``), which no run would
hit by chance often enough. Nothing in the zoo knows of this script: it watches folders from outside.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from crashing.downloading import Downloading
from crashing.packing import Packing
from crashing.scene import Kill, Scene
from crashing.training import Training

PHASES: dict[str, tuple[Callable[[Path], Scene], float]] = {  # and its share of the kills
    "train": (Training, 0.6),
    "pack": (Packing, 0.2),
    "download": (Downloading, 0.2),
}
FRESH = 12  # one kill of so many is of a process that was not forked


def chain(scene: Scene, folder: Path, rng: random.Random, most: int) -> Iterator[Kill]:
    """The kills of one trial, at most so many; RuntimeError at the first thing that is wrong."""
    scene.begin(folder, rng)
    for _ in range(min(most, rng.randint(1, 8))):
        moment, ready, delay = scene.moment(rng)
        fresh = rng.randrange(FRESH) == 0
        if not (process := scene.start(fresh)).kill(ready, delay + (rng.uniform(0, 4) if fresh else 0)):
            process.finish()
            break
        half = bool(scene.traces())
        yield Kill(moment, fresh, half, *scene.check())
    else:
        scene.start(fresh=False).finish()
    scene.compare()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--phase", choices=[*PHASES], help="only this one")
    parser.add_argument("--trial", type=int, help="only this one, to repeat a fault")
    parser.add_argument("--out", type=Path, help="where to work; default a folder that is removed again")
    options = parser.parse_args()
    folder = options.out or Path(tempfile.mkdtemp(prefix="crash-"))
    os.environ["HF_HOME"] = str(folder / "huggingface")
    started, faults = time.monotonic(), []
    kills: dict[str, list[Kill]] = {}
    trials: Counter[str] = Counter()
    for name, (make, share) in PHASES.items():
        if options.phase not in (None, name):
            continue
        wanted = options.kills if options.phase else round(options.kills * share)
        mine = kills.setdefault(name, [])
        scene = make(folder / name)
        while len(mine) < wanted:
            number = trials[name] if options.trial is None else options.trial
            place = folder / name / f"trial-{number}"
            trials[name] += 1
            try:
                mine.extend(chain(scene, place, random.Random(f"{options.seed} {name} {number}"), wanted - len(mine)))
            except Exception as error:
                faults.append(f"--seed {options.seed} --phase {name} --trial {number}: {error}")
                sys.stderr.write(f"{faults[-1]}\n")
            else:
                shutil.rmtree(place)
            if options.trial is not None:
                break
    sys.stdout.write(table(options.seed, kills, trials, faults, time.monotonic() - started))
    if not options.out and not faults:
        shutil.rmtree(folder)
    return 1 if faults else 0


def table(seed: int, kills: dict[str, list[Kill]], trials: Counter[str], faults: list[str], seconds: float) -> str:
    import safetensors
    import torch

    everything = [kill for mine in kills.values() for kill in mine]
    words = [
        f"`python {' '.join([Path(sys.argv[0]).as_posix(), *sys.argv[1:]])}`: seed {seed}, {len(everything)} kills"
    ]
    words += [f"{sum(kill.fresh for kill in everything)} of them of fresh processes, {seconds:.0f} s"]
    words += [f"Python {platform.python_version()}, torch {torch.__version__}, safetensors {safetensors.__version__}"]
    lines = [
        ", ".join(words),
        "",
        "| | killed while | kills | a file was half written | what the next process found |",
        "|---|---|---|---|---|",
    ]
    for name, mine in kills.items():
        for moment in sorted({kill.moment for kill in mine}):
            those = [kill for kill in mine if kill.moment == moment]
            half = sum(kill.half for kill in those)
            found = sorted(Counter(kill.found for kill in those).items())
            lines.append(
                f"| {name} | {moment} | {len(those)} | {half} | {', '.join(f'{n} × {what}' for what, n in found)} |"
            )
        if steps := [kill.step for kill in mine if kill.step]:
            lines[-1] = lines[-1].removesuffix(" |") + f" (in all: steps {min(steps)} to {max(steps)}) |"
    lines += ["", f"{sum(trials.values())} trials, {len(faults)} faults"]
    return "\n".join([*lines, *faults, ""])


if __name__ == "__main__":
    sys.exit(main())
