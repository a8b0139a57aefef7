"""Training pictures: a stream of samples out of folders. Two domains of them, unpaired or paired by file name."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from zoo.errors import ImageError, NotFoundError, UsageError
from zoo.pictures.image import find_pictures, read
from zoo.recipe import Data
from zoo.train.augment import backdrop, frame, new_backdrop, recolour

if TYPE_CHECKING:
    from rich.console import Console

SMALLEST = 64  # pixels on the short side; below that there is no face to learn from
ROOM = 2**31  # bytes of decoded pictures that are kept; what is beyond is decoded again each time
log = logging.getLogger("zoo.train")


@dataclass
class Folder:
    """The usable pictures of one folder, and those of them that are kept decoded."""

    name: str
    paths: list[Path] = field(default_factory=list)
    decoded: dict[Path, Tensor] = field(default_factory=dict)  # (3,H',W') uint8

    def __len__(self) -> int:
        return len(self.paths)


class Pictures(Dataset[dict[str, Tensor]]):
    """An endless stream of samples out of folders: a pure function of seed and index, so that a run can go on anywhere
    and be spread over any processes. What a sample holds, and what an ``epoch`` is, a subclass says; it sets ``photos``.
    """

    photos: list[Folder]

    def __init__(self, data: Data, seed: int, console: Console | None = None) -> None:
        self.data, self.seed, self.console, self.room = data, seed, console, ROOM

    @property
    def epoch(self) -> int:
        """Samples in which every photograph has been seen once."""
        return len(self.photos) * max(map(len, self.photos))

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Sample ``index``; among others ``seed``, the one source of all chance in a step."""
        raise NotImplementedError

    def _read(self, name: str, path: Path) -> Folder:
        from rich.progress import track  # draws random numbers when it is imported

        if not path.is_dir():
            raise NotFoundError(f"there is no folder {path}", "give a folder of pictures")
        folder, found = Folder(name), find_pictures([path])
        quiet = self.console is None or not self.console.is_terminal
        for file in track(found, f"reading {name}", console=self.console, disable=quiet, transient=True):
            try:
                picture = self._fit(file)
            except (ImageError, NotFoundError) as exc:  # not found: a link that leads nowhere
                log.warning("skipped %s: %s", file, exc.message.removeprefix(f"{file} "))
                continue
            folder.paths.append(file)
            if picture.numel() <= self.room:
                self.room -= picture.numel()
                folder.decoded[file] = picture
        if not folder.paths:
            raise UsageError(
                f"no usable picture in {path} ({len(found)} files looked at)", "give a folder of portraits"
            )
        return folder

    def _picture(self, folder: Folder, i: int) -> Tensor:
        """Picture i of the folder (3,H',W') in [-1,1]."""
        path = folder.paths[i]
        kept = folder.decoded.get(path)
        return (self._fit(path) if kept is None else kept).float() / 127.5 - 1

    def _fit(self, file: Path) -> Tensor:
        """The picture (3,H',W') uint8, scaled to cover the training size, with a margin for the random crop."""
        picture = read(file).rgb  # (3,H',W')
        if min(picture.shape[1:]) < SMALLEST:
            raise ImageError(f"{picture.shape[2]}×{picture.shape[1]} is smaller than {SMALLEST} pixels")
        goal = [round(side * self.data.augment.scale) for side in self.data.size]
        factor = max(goal[0] / picture.shape[1], goal[1] / picture.shape[2])
        size = [max(g, round(side * factor)) for g, side in zip(goal, picture.shape[1:])]
        scaled = F.interpolate(picture[None], size, mode="bicubic", antialias=True, align_corners=False)[0]
        return ((scaled.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)

    def _choose(self, folders: list[Folder], index: int, salt: int) -> tuple[int, int]:
        turn, which = divmod(index, len(folders))
        epoch, place = divmod(turn, len(folders[which]))
        rng = torch.Generator().manual_seed(mixed(self.seed, epoch, which, salt))
        return which, int(torch.randperm(len(folders[which]), generator=rng)[place])

    def preview(self, count: int) -> dict[str, Tensor]:
        """A batch of ``count`` samples, the same ones at every call, with no augmentation but the crop."""
        plain = copy.copy(self)
        plain.data = self.data.model_copy(update={"augment": self.data.augment.model_copy(update=_PLAIN)})
        samples = [plain[i] for i in range(count)]
        return {name: torch.stack([s[name] for s in samples]) for name in samples[0]}


_PLAIN = {"flip": False, "rotate": 0.0, "colour": 0.0, "background": 0.0}


class Portraits(Pictures):
    """Sample ``index``: ``source`` and ``target`` (3,H,W) in [-1,1], ``hand`` and ``seed``.

    Several folders take turns, whatever their sizes: one of 50 and one of 5 000 photographs give half of the steps each.
    Each passes through all its pictures in random order before it begins again. With several folders of drawings
    ``hand`` is the number of the folder. With ``pairs`` the i-th folders belong together and equal file names make
    the pairs.
    """

    def __init__(
        self,
        photos: Sequence[Path],
        drawings: Sequence[tuple[str, Path]],
        data: Data,
        seed: int,
        console: Console | None = None,
    ) -> None:
        super().__init__(data, seed, console)
        self.photos = [self._read(path.name, path) for path in photos]
        self.drawings = [self._read(name, path) for name, path in drawings]
        if data.pairs:
            self._pair()
        self.masks: list[list[Tensor | None]] = [[None] * len(folder) for folder in self.photos]

    @property
    def epoch(self) -> int:
        """Samples in which every photograph or every drawing, whichever are more, has been seen once."""
        return max(len(side) * max(map(len, side)) for side in (self.photos, self.drawings))

    def _pair(self) -> None:
        if len(self.photos) != len(self.drawings):
            raise UsageError(
                f"{len(self.photos)} folders of photographs and {len(self.drawings)} of drawings cannot be paired",
                "with --pairs give as many --photos as --drawings, in the same order",
            )
        for photos, drawings in zip(self.photos, self.drawings):
            by_name = {path.stem: i for i, path in enumerate(drawings.paths)}
            alone = {path.stem for path in photos.paths} ^ by_name.keys()
            for name in sorted(alone):
                log.warning("skipped %s: no partner in %s or %s", name, photos.name, drawings.name)
            keep = [i for i, path in enumerate(photos.paths) if path.stem in by_name]
            if not keep:
                raise UsageError(
                    f"no file name occurs both in {photos.name} and {drawings.name}",
                    "name both pictures of a sitter alike",
                )
            drawings.paths = [drawings.paths[by_name[photos.paths[i].stem]] for i in keep]
            photos.paths = [photos.paths[i] for i in keep]

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = torch.Generator().manual_seed(mixed(self.seed, index))
        augment, size = self.data.augment, self.data.size
        which, i = self._choose(self.photos, index, salt=1)
        hand, j = (which, i) if self.data.pairs else self._choose(self.drawings, index, salt=2)
        photo, drawing = self._picture(self.photos[which], i), self._picture(self.drawings[hand], j)
        if augment.background and torch.rand((), generator=rng) < augment.background:
            if (mask := self.masks[which][i]) is None:
                mask = self.masks[which][i] = backdrop(photo).bool()
            photo = new_backdrop(photo, mask.float(), rng)
        if self.data.pairs:
            photo, drawing = frame([photo, drawing], size, augment, rng)
        else:
            (photo,), (drawing,) = frame([photo], size, augment, rng), frame([drawing], size, augment, rng)
        if augment.colour:
            photo = recolour(photo, augment.colour, rng)
        seed = torch.tensor(mixed(self.seed + 1, index))
        return {"source": photo, "target": drawing, "hand": torch.tensor(hand), "seed": seed}


class Share:
    """The indices of one process: from ``start`` on, in every global batch its own contiguous part."""

    def __init__(self, start: int, stop: int, batch: int, rank: int, processes: int) -> None:
        self.range = range(start, stop)
        self.batch, self.rank, self.processes = batch, rank, processes

    def __iter__(self) -> Iterator[list[int]]:
        for number in self.range:
            first = (number * self.processes + self.rank) * self.batch
            yield list(range(first, first + self.batch))

    def __len__(self) -> int:
        return len(self.range)


def mixed(*numbers: int) -> int:
    """One 63-bit seed of several numbers (splitmix64 over them), so that neighbours have nothing in common."""
    state = 0
    for number in numbers:
        state = (state + number + 0x9E3779B97F4A7C15) % 2**64
        state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        state = (state ^ (state >> 27)) * 0x94D049BB133111EB % 2**64
        state ^= state >> 31
    return state >> 1
