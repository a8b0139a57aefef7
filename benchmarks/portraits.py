"""Anime faces and fusion against the plain way: time and difference, from one run.

usage: python benchmarks/portraits.py [--quick]

The paper-size recipes at 128×128. The plain way is the same network and the same step, eager, fp32, NCHW, with torch's own
layers in the place of the zoo's (`plainly`); networks of torch's own layers, as fusion's, are the same on both sides. Both
have the same weights, CycleGAN's initialisation. They are timed in one process, by turns, after one warm-up each.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zoo  # noqa: F401  # isort: skip  (in front of torch: it tells OpenMP how to wait)

import torch
from expression import row, say
from speed import machine, picture
from torch import Tensor, nn

from zoo.blocks.conv import Conv2d
from zoo.blocks.norm import InstanceNorm2d
from zoo.generator import build_generator, initialise
from zoo.recipe import load_recipe
from zoo.train.engine import Engine, Options
from zoo.translator import Translator

SIZE = 128
BATCH = 8
INFERENCE = ("cartoongan", "dan-anime", "facefusion")
TRAINING = {  # batches of BATCH, past the first phase
    "animegan-landmark": ["trainer.warm_up=0"],
    "facefusion": ["trainer.first=0"],
}


def plainly(module: nn.Module) -> nn.Module:
    """The same network of torch's own layers."""
    for name, child in module.named_children():
        own: nn.Module | None = None
        if isinstance(child, Conv2d):
            own = nn.Conv2d(
                child.in_channels, child.out_channels, child.kernel_size, padding=child.padding,
                bias=child.bias is not None,
            )  # fmt: skip
            own.load_state_dict(child.state_dict())
        elif isinstance(child, InstanceNorm2d):
            own = nn.InstanceNorm2d(child.num_features)
        if own is None:
            plainly(child)
        else:
            setattr(module, name, own)
    return module


def inference(model: str, dtype: str, device: str) -> dict[str, Callable[[], Tensor]]:
    torch.manual_seed(0)
    network = build_generator(load_recipe(model).network())
    initialise(network)
    translator = Translator(network.eval(), device=device, dtype=dtype)
    plain = plainly(copy.deepcopy(network)).float().eval().to(device)
    faces = (picture(SIZE) * 2 - 1).expand(BATCH, -1, -1, -1).contiguous().to(device)
    given: dict[str, Any] = {"other": [faces.flip(-1)]} if model == "facefusion" else {}

    def ours() -> Tensor:
        with translator.inference():
            placed = {name: [translator.on_device(one) for one in value] for name, value in given.items()}
            return translator.generator(translator.on_device(faces), **placed).float().cpu()

    def plain_way() -> Tensor:
        with torch.inference_mode():
            return plain(faces, **given).float().cpu()

    return {"plain": plain_way, "ours": ours}


def training(model: str, dtype: str, device: str) -> dict[str, Callable[[], Tensor]]:
    """Calls take one step and give its losses."""
    recipe = load_recipe(model, [f"data.batch={BATCH}", f"data.size=[{SIZE},{SIZE}]", *TRAINING[model]])
    noise = torch.Generator().manual_seed(0)
    pictures = {
        name: torch.rand(BATCH, 3, SIZE, SIZE, generator=noise) * 2 - 1
        for name in ("source", "target", "other", "blurred")
    }
    points = torch.rand(BATCH, 40, 2, generator=noise)
    batch = {**pictures, "points": points, "seed": torch.arange(BATCH)}

    def side(kind: str) -> Callable[[], Tensor]:
        torch.manual_seed(0)
        options = Options(
            Path(tempfile.gettempdir()), steps=10**6, device=device, bf16=kind == "ours" and dtype == "bf16"
        )
        engine = Engine(recipe, None, options)  # type: ignore[arg-type]  # its batches are given to it
        if kind == "plain":
            plainly(engine.networks)
            engine.optimisers = {phase: engine._optimiser(names) for phase, names in engine.trainer.phases.items()}
            for terms in engine.losses.values():
                for _, loss in terms.terms.values():
                    plainly(loss)
        return lambda: torch.stack([*engine._step(iter([batch])).values()]).cpu()

    return {kind: side(kind) for kind in ("plain", "ours")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two turns each")
    turns = 2 if parser.parse_args().quick else 7
    say(machine())
    say("| | plain, s (best / median) | ours, s (best / median) | ratio | largest difference |")
    say("| --- | --- | --- | --- | --- |")
    for device in ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]:
        for dtype in ("fp32", "bf16"):
            told = dtype + (", CUDA" if device == "cuda" else "")
            for model in INFERENCE:
                say(row(f"inference, {BATCH} faces, {model}, {told}", inference(model, dtype, device), turns))
            for model in TRAINING:
                what = f"training step, {BATCH} faces, {model}, {told}"
                say(row(what, training(model, dtype, device), max(2, turns // 3)))


if __name__ == "__main__":
    main()
