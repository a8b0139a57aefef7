"""How the Deep Alignment Network learns: stage by stage, from drawn faces with 40 points each (sections 2.7.6 and 4.2)."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.errors import UsageError
from zoo.generator import build_generator
from zoo.loss import Loss
from zoo.recipe import Data, Recipe
from zoo.train.augment import recolour
from zoo.train.data import Folder, Pictures, mixed
from zoo.trainer import Batch, Count, Step, Trainer
from zoo_animeface.dan import Dan
from zoo_animeface.points import TABLE, mirrored, read_points
from zoo_animeface.sheet import drawn

if TYPE_CHECKING:
    from rich.console import Console

log = logging.getLogger("zoo.train")


class ShapeLoss(Loss):
    """Mean distance of the points over the diagonal of the true points' box, as the thesis's listing has it.

    Reads ``shape`` (T,N,40,2) of the stages in training and ``points`` (N,40,2), in shares of a square picture.
    """

    needs = frozenset({"shape", "points"})

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        shape, points = step["shape"].float(), step["points"].float()
        distance = ((shape - points).square().sum(-1) + 1e-8).sqrt().mean(-1)  # (T,N)
        diagonal = (points.amax(1) - points.amin(1)).norm(dim=-1)
        return (distance / diagonal).mean()


class PointedFaces(Pictures):
    """Sample ``index``: ``source`` (3,H,W) in [-1,1], its ``points`` (40,2) in shares, ``mean_shape`` (40,2), the same
    for all, and ``seed``.

    Folders hold pictures and ``points.csv``; pictures without points are left out. `moved` says what chance does with a
    picture and its points.
    """

    def __init__(self, photos: Sequence[Path], data: Data, seed: int, console: Console | None = None) -> None:
        super().__init__(data, seed, console)
        self.photos = [self._read(path.name, path) for path in photos]
        self.points = [self._label(folder, path) for folder, path in zip(self.photos, photos)]
        mean = torch.stack([points.mean(0) for points in self.points]).mean(0)
        self.mean = (mean + mirrored(mean)) / 2 if data.augment.flip else mean

    def _label(self, folder: Folder, path: Path) -> Tensor:
        """Shapes (len(folder),40,2); the folder keeps the pictures that have some."""
        rows = read_points(path / TABLE)
        shapes = [row.shape if (row := rows.get(file.relative_to(path).as_posix())) else None for file in folder.paths]
        known = [file for file, shape in zip(folder.paths, shapes) if shape is not None]
        if not known:
            raise UsageError(
                f"{path / TABLE} names no picture of {path}", "zoo anime-points makes a table for a folder"
            )
        if len(known) < len(folder.paths):
            log.warning("left out %d pictures of %s without points in %s", len(folder.paths) - len(known), path, TABLE)
        folder.paths = known
        return torch.stack([shape for shape in shapes if shape is not None])

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = torch.Generator().manual_seed(mixed(self.seed, index))
        which, i = self._choose(self.photos, index, salt=1)
        image, points = moved(self._picture(self.photos[which], i), self.points[which][i], self.data, rng)
        if self.data.augment.colour:
            image = recolour(image, self.data.augment.colour, rng)
        return {
            "source": image,
            "points": points,
            "mean_shape": self.mean,
            "seed": torch.tensor(mixed(self.seed + 1, index)),
        }


def moved(image: Tensor, shape: Tensor, data: Data, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """A picture (3,H',W') and its shape (40,2) -> (3,*data.size) and the shape there, in one resampling.

    All of the picture is seen in the middle, but for what chance does with it: it is mirrored, scaled by up to
    ``augment.scale`` either way, moved by half of what that is over 1, turned by up to ``augment.rotate`` degrees. What
    comes in from outside is reflected.
    """
    mirror, zoom, turn, x, y = torch.rand(5, generator=rng).tolist()
    augment, (height, width) = data.augment, data.size
    if augment.flip and mirror < 0.5:
        image, shape = image.flip(2), mirrored(shape)
    angle = math.radians(augment.rotate) * (2 * turn - 1)
    large = max(image.shape[1] / height, image.shape[2] / width) / augment.scale ** (2 * zoom - 1)
    cos, sin = large * math.cos(angle), large * math.sin(angle)
    linear = torch.tensor([[cos, -sin], [sin, cos]])  # from the new pixels to the old, about the middles
    old, new = torch.tensor([image.shape[2], image.shape[1]]), torch.tensor([width, height])
    shift = linear @ ((torch.tensor([x, y]) * 2 - 1) * new * (augment.scale - 1) / 2)
    theta = torch.cat([linear * new, 2 * shift[:, None]], 1) / old[:, None]  # affine_grid counts from -1 to 1
    grid = F.affine_grid(theta[None], [1, 3, height, width], align_corners=False)
    image = F.grid_sample(image[None], grid, padding_mode="reflection", align_corners=False)[0]
    return image, ((shape - 0.5) * old - shift) @ torch.linalg.inv(linear).T / new + 0.5


class LandmarkTrainer(Trainer):
    """The network looks at drawn faces; its shape is compared with theirs.

    With ``first`` the stages are trained one after the other as in the thesis: so many steps the first alone, then the
    second behind it, which stays as it is, and so on. Without it all stages are trained together.
    """

    exported = "detect"
    domains = 1
    samples = PointedFaces
    phases: ClassVar = {"detect": ("detect",)}
    provides: ClassVar = {"detect": frozenset({"source", "shape", "points"})}
    uses: ClassVar = frozenset({"shapes"})
    teaches: ClassVar = "points"
    judges: ClassVar = None

    def __init__(self, recipe: Recipe, first: int | None = None) -> None:
        if first is not None and first < 1:
            raise ValueError("first is a number of steps from 1 on, or null for all stages together")
        dan = build_generator({"generator": recipe.generator})
        if not isinstance(dan, Dan):
            raise ValueError("the trainer landmarks needs the generator dan")
        self.networks = nn.ModuleDict({"detect": dan})
        self.memory = nn.ModuleDict({"steps": Count()})
        self.first = first

    def step(self, batch: Batch) -> Iterator[Step]:
        dan, steps = cast(Dan, self.networks["detect"]), cast(Count, self.memory["steps"])
        dan.mean_shape.copy_(batch["mean_shape"][0])
        count = len(dan.stages)
        done = 0 if self.first is None else min(int(steps.total) // self.first, count - 1)
        for i, stage in enumerate(dan.stages):
            stage.train(i >= done)  # batch norm keeps the statistics of a stage that is done
        with _chance(batch["seed"]):
            found = dan.shapes(batch["source"], frozen=done, last=count if self.first is None else done + 1)
        yield {"source": batch["source"], "shape": torch.stack(found[done:]), "points": batch["points"]}
        steps.total += 1

    def previews(self, batch: Batch, exported: nn.Module) -> dict[str, Tensor]:
        dan, training = cast(Dan, exported), exported.training
        found = dan.eval().points(batch["source"])
        dan.train(training)
        return {"points": drawn(batch["source"], batch["points"]), "found": drawn(batch["source"], found)}


@contextmanager
def _chance(seeds: Tensor) -> Iterator[None]:
    """Dropout draws from the batch's seeds; whatever else draws random numbers notices nothing."""
    with torch.random.fork_rng([seeds.device] if seeds.is_cuda else []):
        torch.manual_seed(int(seeds[0]))
        yield
