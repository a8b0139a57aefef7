"""Training pictures: aligned faces, two of them a sample."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from zoo.recipe import Data
from zoo.train.augment import frame, recolour
from zoo.train.data import Pictures, mixed

if TYPE_CHECKING:
    from rich.console import Console


class Couples(Pictures):
    """Sample ``index``: ``source`` A and ``other`` B (3,H,W) in [-1,1], two faces drawn independently, and ``seed``.

    Folders take turns, and each passes through all its pictures before it begins again; B's passes are others than A's.
    """

    def __init__(self, photos: Sequence[Path], data: Data, seed: int, console: Console | None = None) -> None:
        super().__init__(data, seed, console)
        self.photos = [self._read(path.name, path) for path in photos]

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = torch.Generator().manual_seed(mixed(self.seed, index))
        faces = []
        for salt in (1, 2):
            which, i = self._choose(self.photos, index, salt)
            (face,) = frame([self._picture(self.photos[which], i)], self.data.size, self.data.augment, rng)
            faces.append(recolour(face, self.data.augment.colour, rng) if self.data.augment.colour else face)
        return {"source": faces[0], "other": faces[1], "seed": torch.tensor(mixed(self.seed + 1, index))}
