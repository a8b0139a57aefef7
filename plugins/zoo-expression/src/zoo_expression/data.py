"""Training pictures: face crops with their action units."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from zoo.errors import UsageError
from zoo.recipe import Data
from zoo.train.augment import frame, recolour
from zoo.train.data import Folder, Pictures, mixed
from zoo_expression.table import TABLE, read_table

if TYPE_CHECKING:
    from rich.console import Console

log = logging.getLogger("zoo.train")


class Faces(Pictures):
    """Sample ``index``: ``source`` (3,H,W) in [-1,1] and its ``units`` (17,) in intensities, ``target_units``,
    those of another face, which the first shall show, and ``seed``.

    Folders hold pictures and ``aus.csv``; pictures without a usable row are left out.
    """

    def __init__(self, photos: Sequence[Path], data: Data, seed: int, console: Console | None = None) -> None:
        super().__init__(data, seed, console)
        self.photos = [self._read(path.name, path) for path in photos]
        self.units = [self._label(folder, path) for folder, path in zip(self.photos, photos)]

    def _label(self, folder: Folder, path: Path) -> Tensor:
        """Intensities (len(folder),17); the folder keeps what has some."""
        rows = {row.file: row.units for row in read_table(path / TABLE) if row.usable}
        names = {file: file.relative_to(path).as_posix() for file in folder.paths}
        known = [file for file in folder.paths if names[file] in rows]
        if not known:
            raise UsageError(f"{path / TABLE} names no picture of {path}", "its column file holds their names")
        if len(known) < len(folder.paths):
            log.warning("left out %d pictures of %s that %s does not name", len(folder.paths) - len(known), path, TABLE)
        folder.paths = known
        return torch.tensor([rows[names[file]] for file in known])

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = torch.Generator().manual_seed(mixed(self.seed, index))
        which, i = self._choose(self.photos, index, salt=1)
        (photo,) = frame([self._picture(self.photos[which], i)], self.data.size, self.data.augment, rng)
        if self.data.augment.colour:
            photo = recolour(photo, self.data.augment.colour, rng)
        other, j = self._choose(self.photos, index, salt=2)
        return {
            "source": photo,
            "units": self.units[which][i],
            "target_units": self.units[other][j],
            "seed": torch.tensor(mixed(self.seed + 1, index)),
        }
