"""Facial expression against the plain way (benchmarks/plain_expression.py): time and difference, from one run.

usage: python benchmarks/expression.py [--quick]

The paper-size recipes, 128×128. Both sides have the same weights, CycleGAN's initialisation; inference is of a batch,
a training step takes one batch; losses are not compared, since the published
code trains the discriminator first. They are timed in one process, by turns, after one warm-up each.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import zoo  # noqa: F401  # isort: skip  (in front of torch: it tells OpenMP how to wait)

import torch
from plain_expression import ConvNeXt, Generator, Residual, Step
from speed import machine, picture
from torch import Tensor

from zoo.generator import build_generator, initialise
from zoo.recipe import load_recipe
from zoo.train.engine import Engine, Options
from zoo.translator import Translator

BLOCKS = {"ganimation": Residual, "ganimation-convnext": ConvNeXt}
SIZE = 128
BATCH = 8


def inference(model: str, dtype: str, device: str, n: int) -> dict[str, Callable[[], Tensor]]:
    """Calls give ``n`` edited faces (n,3,128,128)."""
    torch.manual_seed(0)
    network = build_generator(load_recipe(model).network())
    initialise(network)
    translator = Translator(network.eval(), device=device, dtype=dtype)
    plain = Generator(BLOCKS[model]).eval()
    plain.load_state_dict({name: t for name, t in network.state_dict().items() if not name.startswith("meter.")})
    plain.to(device)
    faces = (picture(SIZE) * 2 - 1).expand(n, -1, -1, -1).contiguous().to(device)
    units = torch.rand(n, 17, generator=torch.Generator().manual_seed(1)).to(device) / 2

    def ours() -> Tensor:
        with translator.inference():
            return translator.generator(translator.on_device(faces), units=units).float().cpu()

    def plainly() -> Tensor:
        with torch.inference_mode():
            return plain(faces, units)[0].cpu()

    return {"plain": plainly, "ours": ours}


def training(model: str, dtype: str, device: str, n: int) -> dict[str, Callable[[], Tensor]]:
    """Calls take one step with ``n`` faces and give two of its losses."""
    recipe = load_recipe(model, [f"data.batch={n}"])
    options = Options(Path(tempfile.gettempdir()), steps=10**6, device=device, bf16=dtype == "bf16")
    engine = Engine(recipe, None, options)  # type: ignore[arg-type]  # its batches are given to it
    step = Step(BLOCKS[model])
    known = step.networks.state_dict()
    step.networks.load_state_dict({name: t for name, t in engine.networks.state_dict().items() if name in known})
    step.networks.to(device)
    noise = torch.Generator().manual_seed(0)
    x = torch.rand(n, 3, SIZE, SIZE, generator=noise) * 2 - 1
    own, wanted = (torch.rand(n, 17, generator=noise) * 2 for _ in range(2))
    batch = {"source": x, "units": own, "target_units": wanted, "seed": torch.arange(n)}
    given = [tensor.to(device) for tensor in (x, own / 5, wanted / 5)]

    def ours() -> Tensor:
        terms = engine._step(iter([batch]))
        return torch.stack([terms["generator.cycle"], terms["generator.action-units"]]).cpu()

    return {"plain": lambda: torch.tensor(list(step(*given).values())), "ours": ours}


def row(what: str, sides: dict[str, Callable[[], Tensor]], turns: int) -> str:
    first = {side: call() for side, call in sides.items()}
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(turns):
        for side, call in sides.items():
            started = time.perf_counter()
            call()
            seconds[side].append(time.perf_counter() - started)
    best = {side: min(times) for side, times in seconds.items()}
    times = [f"{best[side]:.3f} / {statistics.median(seconds[side]):.3f}" for side in sides]
    off = f"{float((first['ours'] - first['plain']).abs().max()):.1e}" if first["ours"].dim() > 1 else "–"
    return f"| {what} | {' | '.join(times)} | {best['plain'] / best['ours']:.2f}× | {off} |"


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two turns each")
    turns = 2 if parser.parse_args().quick else 7
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    say(machine())
    say("| | plain, s (best / median) | ours, s (best / median) | ratio | largest difference |")
    say("| --- | --- | --- | --- | --- |")
    for device in devices:
        for model in BLOCKS:
            for dtype in ("fp32", "bf16"):
                told = f"{model}, {dtype}" + (", CUDA" if device == "cuda" else "")
                sides = inference(model, dtype, device, BATCH)
                say(row(f"inference, {BATCH} faces, {told}", sides, turns))
                sides = training(model, dtype, device, BATCH)
                say(row(f"training step, {BATCH} faces, {told}", sides, max(2, turns // 2)))


if __name__ == "__main__":
    main()
