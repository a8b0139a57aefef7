"""Training pictures: photographs of faces with their points, and anime faces with and without their edges."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from zoo.recipe import Data
from zoo.train.augment import frame, recolour
from zoo.train.data import Folder, Portraits, mixed
from zoo_animeface.edges import edge_blurred
from zoo_animeface.photos import photo_points
from zoo_animeface.points import MIRROR
from zoo_animeface.skin import background

if TYPE_CHECKING:
    from rich.console import Console


class AnimeFaces(Portraits):
    """Sample ``index``: ``source`` and ``target`` (3,H,W) in [-1,1], ``blurred``, the target with its edges blurred,
    ``points`` (40,2), where the photograph's are in shares of its sides, NaN where it has no face, and ``seed``.

    Several folders take turns, whatever their sizes. With ``pairs`` both are of one sitter, in one crop.
    """

    def __init__(
        self,
        photos: Sequence[Path],
        drawings: Sequence[tuple[str, Path]],
        data: Data,
        seed: int,
        console: Console | None = None,
    ) -> None:
        super().__init__(photos, drawings, data, seed, console)
        self.points = [photo_points(folder.paths, path) for folder, path in zip(self.photos, photos)]

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = torch.Generator().manual_seed(mixed(self.seed, index))
        size, augment = self.data.size, self.data.augment
        which, i = self._choose(self.photos, index, salt=1)
        _, photo = self._changed(self.photos[which], i, rng)
        places = _places(photo)
        hand, j = (which, i) if self.data.pairs else self._choose(self.drawings, index, salt=2)
        drawing = self._picture(self.drawings[hand], j)
        blurred = self._blurred(self.drawings[hand], j, drawing)
        if self.data.pairs:  # all of them by one crop
            seen = frame([torch.cat([photo, places]), drawing, blurred], size, augment, rng)
            (photo, places), drawing, blurred = seen[0].split([3, 2]), *seen[1:]
        else:
            photo, places = frame([torch.cat([photo, places])], size, augment, rng)[0].split([3, 2])
            drawing, blurred = frame([drawing, blurred], size, augment, rng)
        if augment.colour:
            photo = recolour(photo, augment.colour, rng)
        return {
            "source": photo,
            "target": drawing,
            "blurred": blurred,
            "points": _carried(self.points[which][i], places),
            "seed": torch.tensor(mixed(self.seed + 1, index)),
        }

    @staticmethod
    def behind(photo: Tensor) -> Tensor:
        """All that is behind a face, however it looks: it is known where the face is."""
        return background(photo)

    def _blurred(self, folder: Folder, i: int, drawing: Tensor) -> Tensor:
        """Picture i of the folder (3,H',W') in [-1,1], with its edges blurred; kept where there is room."""
        blurred = self.shelf.get(("blurred", folder.paths[i]), lambda: edge_blurred(_bytes(drawing)))
        return blurred.float() / 127.5 - 1


def _bytes(picture: Tensor) -> Tensor:
    return picture.add(1).mul(127.5).round().to(torch.uint8)


def _places(picture: Tensor) -> Tensor:
    """(2,H,W): x and y of the middle of each pixel, in shares of the sides."""
    y, x = ((torch.arange(side) + 0.5) / side for side in picture.shape[1:])
    return torch.stack([x.expand(len(y), -1), y[:, None].expand(-1, len(x))])


def _carried(shape: Tensor, places: Tensor) -> Tensor:
    """A shape (40,2) of a picture -> that of the picture that was made of it by crop, turn and mirror.

    ``places`` (2,H,W) says of each pixel where it comes from; within the picture that is an affine map. Three pixels
    well inside, away from what was mirrored in from outside, give it.
    """
    height, width = places.shape[1:]
    top, bottom, left, right = height // 4, 3 * height // 4, width // 4, 3 * width // 4
    pixels = torch.tensor([[left, top], [right, top], [left, bottom]])  # x, y
    here = ((pixels + 0.5) / torch.tensor([width, height])).double()
    there = places[:, pixels[:, 1], pixels[:, 0]].T.double()
    linear = torch.linalg.solve(there[1:] - there[0], here[1:] - here[0])  # rows: there -> here
    moved = ((shape.double() - there[0]) @ linear + here[0]).float()
    return moved[list(MIRROR)] if torch.linalg.det(linear) < 0 else moved
