"""A judge of action units: it never sees a generator, so what it reads off edited faces is evidence.

The discriminator's own head is not: a generator is trained until that head is content. The judge is of another
architecture, a small residual network with batch norm (He et al. 2016; average pooling in the short cuts by He et al.
2019), and sees faces shifted, scaled, turned, mirrored and in other light, which the discriminator hardly does.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.errors import ImageError, IntegrityError, NotFoundError, UsageError, one_line
from zoo.helpers.inputs import Inputs
from zoo.machine.device import pick_device
from zoo.pictures.fit import resize
from zoo.pictures.image import read
from zoo.progress import tell
from zoo.weights.file import load_weights, read_header, save_weights
from zoo_expression.measure import correlation
from zoo_expression.table import TABLE, read_table
from zoo_expression.units import NAMES

SIZE = 128
BATCH = 64
RATE = 2e-3
WARM_UP = 100  # steps


class Block(nn.Module):
    """(N,C,H,W) -> (N,D,H/s,W/s): relu(two 3×3 convolutions + short cut)."""

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inner, outer, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outer),
            nn.ReLU(inplace=True),
            nn.Conv2d(outer, outer, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outer),
        )
        self.short = nn.Sequential(nn.AvgPool2d(stride), nn.Conv2d(inner, outer, 1, bias=False), nn.BatchNorm2d(outer))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.short(x))


class Judge(nn.Module):
    """Faces (N,3,H,W) in [-1,1], scaled to 128×128 -> (N,17) intensities, about 0 to 5, in the order of ``UNITS``."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 32, 5, 2, 2, bias=False), nn.BatchNorm2d(32), nn.ReLU(inplace=True), nn.AvgPool2d(2)
        )  # (N,32,32,32)
        self.body = nn.Sequential(Block(32, 48, 1), Block(48, 96, 2), Block(96, 160, 2), Block(160, 256, 2))
        self.head = nn.Sequential(nn.Dropout(0.3), nn.Linear(256, len(NAMES)))

    def forward(self, image: Tensor) -> Tensor:
        if image.shape[2:] != (SIZE, SIZE):
            image = F.interpolate(image, (SIZE, SIZE), mode="bilinear", align_corners=False, antialias=True)
        x = self.body(self.stem(image))  # (N,256,4,4)
        return self.head(x.mean(dim=(2, 3))).float()


def load_judge(path: Path) -> Judge:
    """The judge in a file of ``zoo au-judge``, ready to read.

    NotFoundError without such a file, IntegrityError if it is damaged or something else.
    """
    if read_header(path).facts.get("what") != "au-judge":
        raise IntegrityError(f"{path} is no judge of action units", "zoo au-judge makes one")
    judge = Judge()
    load_weights(path, judge)
    return judge.eval().requires_grad_(False)


# -- faces with known units -------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Labelled:
    """Faces whose action units are known, in memory."""

    names: Sequence[str]
    images: Tensor  # (N,3,S,S) uint8
    units: Tensor  # (N,17) intensities
    faults: Sequence[str] = ()  # a line on each picture that was left out

    def __len__(self) -> int:
        return len(self.names)

    def floats(self, which: Tensor | slice) -> Tensor:
        """Some of the pictures, (n,3,S,S) float32 in [-1,1]."""
        return self.images[which].float() / 127.5 - 1

    @property
    def fingerprint(self) -> str:
        digest = hashlib.sha256(self.images.numpy().tobytes() + self.units.numpy().tobytes())
        return f"{len(self)} faces, sha256 {digest.hexdigest()[:16]}"


def read_faces(folder: Path, size: int = SIZE, count: int | None = None, seed: int = 0) -> Labelled:
    """The pictures of a folder that its ``aus.csv`` has usable rows for, scaled to ``size``; ``count`` by ``seed``.

    NotFoundError, ConfigError for the table; UsageError if no picture can be used.
    """
    rows = {row.file: row.units for row in read_table(folder / TABLE) if row.usable}
    names = sorted(rows)
    if count is not None:
        drawn = torch.randperm(len(names), generator=torch.Generator().manual_seed(seed))[:count]
        names = [names[i] for i in drawn.sort().values.tolist()]
    images, known, faults = [], [], []
    for i, name in enumerate(names):
        tell("reading faces", i, len(names))
        try:
            image = resize(read(folder / name).on_white().rgb, (size, size))
        except (ImageError, NotFoundError) as error:
            faults.append(f"left out: {one_line(str(error))}")
        else:
            images.append((image.clamp(-1, 1) + 1).mul(127.5).round().byte())
            known.append(name)
    tell("reading faces", len(names), len(names))
    if not known:
        told = faults[0].removeprefix("left out: ") if faults else f"{folder / TABLE} has no usable row"
        raise UsageError(f"no face of {folder} can be used", told)
    return Labelled(known, torch.stack(images), torch.tensor([rows[name] for name in known]), faults)


# -- training ---------------------------------------------------------------------------------------------------------


def train(faces: Labelled, epochs: int, seed: int, device: torch.device, bf16: bool = False) -> tuple[Judge, int]:
    """A judge that has seen the faces ``epochs`` times, and its number of steps. Equal seeds give equal judges.

    AdamW, the rate rises over the first steps and falls to 0 along a cosine. A unit's error counts by its own spread
    over the faces: rare units as much as common ones. The caller's random numbers stay as they are.
    """
    batch = min(BATCH, len(faces))
    batches = len(faces) // batch
    steps = epochs * batches
    weight = 1 / (faces.units.std(0, correction=0) + 0.1).to(device)
    dice = torch.Generator().manual_seed(seed)
    half = torch.autocast(device.type, torch.bfloat16) if bf16 else nullcontext()
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        judge = Judge().to(device)
        optimiser = torch.optim.AdamW(judge.parameters(), RATE, weight_decay=0.02)
        for step in range(steps):
            tell("training the judge", step, steps)
            if step % batches == 0:
                order = torch.randperm(len(faces), generator=dice).split(batch)
            which = order[step % batches]
            for group in optimiser.param_groups:
                group["lr"] = RATE * min(1, (step + 1) / WARM_UP) * (1 + math.cos(math.pi * step / steps)) / 2
            with half:
                found = judge(augmented(faces.floats(which).to(device), dice))
            loss = ((found - faces.units[which].to(device)) * weight).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    tell("training the judge", steps, steps)
    return judge.eval().requires_grad_(False), steps


def augmented(images: Tensor, dice: torch.Generator) -> Tensor:
    """Faces (N,3,S,S) in [-1,1] shifted, scaled, turned by up to 10°, mirrored, in other light and other colours."""

    def around(width: float, *shape: int) -> Tensor:
        return (torch.rand(len(images), *shape, generator=dice) - 0.5) * width

    angle, scale, shift = around(0.35), 1 + around(0.2), around(0.14, 2)
    mirror = torch.where(around(1) < 0, -1.0, 1.0)
    x, y = scale * angle.cos(), scale * angle.sin()
    rows = [torch.stack([mirror * x, -y, shift[:, 0]], 1), torch.stack([mirror * y, x, shift[:, 1]], 1)]
    grid = F.affine_grid(torch.stack(rows, 1).to(images), list(images.shape), align_corners=False)
    images = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    saturation, contrast, light = (
        one.to(images) for one in (0.65 + around(1.3, 1, 1, 1), 1 + around(0.8, 1, 1, 1), around(0.4, 1, 1, 1))
    )
    grey = images.mean(1, keepdim=True)
    return (torch.lerp(grey, images, saturation) * contrast + light).clamp(-1, 1)


@torch.no_grad()
def accuracy(judge: Judge, faces: Labelled, device: torch.device) -> dict[str, float | None]:
    """Correlation of what the judge reads with what is known, by unit; None for a unit that all faces have alike."""
    found = torch.cat([judge(faces.floats(part).to(device)).cpu() for part in torch.arange(len(faces)).split(BATCH)])
    pairs = zip(NAMES, faces.units.T, found.T)
    return {name: correlation(known, read) if known.unique().numel() > 1 else None for name, known, read in pairs}


def au_judge(
    faces: Annotated[Path, typer.Argument(metavar="FACES", help="A folder of face crops and their aus.csv.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The judge, .safetensors.")],
    test: Annotated[Path | None, typer.Option(metavar="DIR", help="Other faces, to see how well it reads.")] = None,
    epochs: Annotated[int, typer.Option(min=1, help="How often each face is seen.")] = 16,
    seed: Annotated[int, typer.Option(min=0, help="Equal seeds give equal judges.")] = 0,
    bf16: Annotated[bool, typer.Option("--bf16", help="Train faster, in shorter numbers.")] = False,
    device: Annotated[str | None, typer.Option(help="cuda, cuda:1, mps or cpu; else the best there is.")] = None,
) -> dict[str, Any]:
    """Train a judge of action units, which zoo expression-eval measures edited faces by.

    Its faces are best those of other people than in --test, and of expression-eval's. Exit code 6: some were left out.

    Example: zoo au-judge crops/train --test crops/test --out judge.safetensors
    """
    if out.suffix != ".safetensors":
        raise UsageError(f"{out} does not end in .safetensors", "weights files do")
    Inputs().ready(out)
    place = pick_device(device)
    known, others = read_faces(faces), read_faces(test) if test else None
    judge, steps = train(known, epochs, seed, place, bf16)
    trained = {"data": known.fingerprint, "steps": steps, "batch": min(BATCH, len(known)), "epochs": epochs}
    facts: dict[str, Any] = {"what": "au-judge", "units": NAMES, "trained": {**trained, "seed": seed, "bf16": bf16}}
    lines = [f"trained on {known.fingerprint}: {steps} steps, seed {seed}"]
    if others:
        found = accuracy(judge, others, place)
        facts["test"] = {"data": others.fingerprint, "correlation": found}
        told = "  ".join(f"{name} {'–' if r is None else f'{r:.2f}'}" for name, r in found.items())
        lines += [f"correlation on {others.fingerprint}:", told]
    save_weights(out, judge.state_dict(), {}, facts=facts, bits=32, replace=False)
    faults = [*known.faults, *(others.faults if others else ())]
    failed = f"{len(faults)} pictures were left out" if faults else ""
    return {**facts, "out": str(out), "lines": [*faults, *lines, f"the judge is {out}"], "failed": failed}
