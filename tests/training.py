"""Tiny runs of `zoo train`, in this process and in processes of their own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import forks
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from zoo.train import checkpoint
from zoo.train.engine import Options
from zoo.train.run import train

RECIPE = "cycleda"
TINY = [
    "generator.width=4",
    "generator.blocks=1",
    "discriminator.width=4",
    "discriminator.layers=2",
    "data.size=[32,32]",
    "trainer.pool=2",
]
RICH = [  # all that draws random numbers
    *TINY,
    "data.augment={flip: true, rotate: 10, colour: 0.5, background: 0.5, differentiable: [colour, translation, cutout]}",
]
EVEN = "schedule.decay=0"  # a rate that does not depend on the length of the run


def pictures(folder: Path, count: int, seed: int = 0, size: tuple[int, int] = (80, 72)) -> Path:
    """``count`` smooth random pictures ``0.png``, ``1.png`` …"""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (5, 4, 3), dtype=np.uint8))
        coarse.resize((size[1] + i, size[0]), Image.Resampling.BICUBIC).save(folder / f"{i}.png")
    return folder


def run(
    out: Path, photos: Path, drawings: Path, *overrides: str, recipe: str = RECIPE, pairs: bool = False, **options: Any
) -> str:
    """``zoo train`` in this process, tiny unless ``overrides`` say otherwise."""
    settings: dict[str, Any] = {"device": "cpu", "log_every": 1, **options}
    return train(
        recipe,
        [photos],
        [(drawings.name, drawings)],
        Options(out=out, **settings),
        overrides=[*TINY, *overrides],
        pairs=pairs,
    )


def arguments(
    out: Path, photos: Path, drawings: Path, *more: str, overrides: Sequence[str] = (*RICH, EVEN)
) -> list[str]:
    """``zoo train …``: a tiny run with all kinds of augmentation."""
    options = [word for override in overrides for word in ("--set", override)]
    folders = ["--photos", str(photos), "--drawings", str(drawings), "--out", str(out)]
    return [
        "zoo",
        "train",
        RECIPE,
        *folders,
        "--device",
        "cpu",
        "--log-every",
        "1",
        *options,
        *more,
    ]


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", **more}


def call(words: Sequence[str], code: int = 0) -> str:
    """Run ``python -m words`` to its end, and give what it says on stderr."""
    done = forks.run("-m", *words, env=environment())
    assert done.returncode == code, done.stderr
    return done.stderr


def state(out: Path) -> dict[str, Tensor]:
    """All tensors of a run's newest checkpoint."""
    newest = checkpoint.newest(out / "checkpoints")
    assert newest is not None
    return newest[0]


def same(one: Path, other: Path) -> bool:
    """Are two runs alike, bit for bit?"""
    ours, theirs = state(one), state(other)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def distance(one: Path, other: Path) -> float:
    """The largest difference of any number in the networks, averages and pools of two runs."""
    ours, theirs = state(one), state(other)
    assert ours.keys() == theirs.keys()
    names = [name for name in ours if name.startswith(("networks/", "average/", "memory/"))]
    return max(float((ours[name].double() - theirs[name].double()).abs().max()) for name in names)
