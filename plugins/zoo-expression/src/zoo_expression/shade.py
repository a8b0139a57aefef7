"""Folds and shades of an expression: by how much lighter or darker each place of a face gets for one unit of each action unit,
as a map on the mean face (`zoo shade-table` makes it; expression ratio images, Liu et al. 2001). A smile is more than a mouth
that goes up: cheeks bulge, and folds run from nose to mouth.

Units 4, 6, 9, 10 and 12 have folds that are seen in their maps; those of the others show light, beards and glasses. The maps are
too faint, as the table of motion is too small, since there is noise in the intensities: gains make up for it.
S is the side of the maps, which are logarithms of light.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.transforms.functional import gaussian_blur

from zoo.errors import ConfigError
from zoo.faces import MIRRORED
from zoo.faces.geometry import spline
from zoo.pictures.fit import warped
from zoo.weights.file import read_tensors
from zoo_expression.units import NAMES, ROW

TABLE = Path(__file__).parent / "shade.safetensors"
BLACK = 0.05
"""Light in [0,1] that everything has, so that logarithms of black are finite, and black hair stays black."""

DARKEST, LIGHTEST = -0.6, 0.2
CHANNELS = 0.9, 1.04, 1.1
"""By how much red, green and blue light change with it: skin in a fold is redder. Medians of what is fine in the skin of 135 faces (0.89
to 0.93, 1.03 to 1.06 and 1.05 to 1.16)."""

FADING = 0.4
"""Share of a unit's folds that go when it goes: one's own are not where the map has them, and what is taken from it is a stain."""

FACE, EYES, BROWS = [*range(17), 26, 25, 24, 19, 18, 17], (range(36, 42), range(42, 48)), (range(17, 22), range(22, 27))
LIPS, NOSE = range(48, 60), [21, 22, 42, 47, 35, 54, 48, 31, 40, 39]


def complete(maps: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
    """Maps (17,S,S) and the mean face's landmarks (68,2) in pixels of S, halves alike, each unit in its region of the skin.
    Eyes, brows and lips move: what a map has there is mostly that they do not lie on each other."""
    side = maps.shape[-1]
    mirrored = mean[list(MIRRORED)] * torch.tensor([-1.0, 1.0]) + torch.tensor([side, 0.0])
    mean, maps = (mean + mirrored) / 2, (maps + maps.flip(2)) / 2
    scale = float((mean[42:48].mean(0) - mean[36:42].mean(0)).norm())
    skin = _area(mean[FACE], side, 0, 0.09 * scale)
    for points, grow in ((LIPS, 0.02), *((eye, 0.04) for eye in EYES), *((brow, 0.06) for brow in BROWS)):
        skin = skin * (1 - _area(mean[list(points)], side, grow * scale, 0.03 * scale))
    nose = skin * _area(mean[NOSE], side, 0.05 * scale, 0.09 * scale)
    frown = _spot(mean[[21, 22]].mean(0), side, 0.27 * scale)
    kept = torch.zeros_like(maps)
    for number, (gain, region) in {
        4: (2.0, frown),
        6: (1.4, skin),
        9: (1.4, nose),
        10: (1.4, skin),
        12: (1.4, skin),
    }.items():
        kept[ROW[number]] = gain * region
    return kept * maps, mean


def _area(corners: Tensor, side: int, grow: float, soft: float) -> Tensor:
    """(S,S): 1 in a polygon (K,2) and ``grow`` pixels around it, 0 outside, its edge ``soft`` pixels wide."""
    fine, reach = 4, round(grow)
    drawn = Image.new("L", (fine * side, fine * side))
    ImageDraw.Draw(drawn).polygon([(fine * x, fine * y) for x, y in corners.tolist()], fill=255)
    inside = torch.from_numpy(np.array(drawn.resize((side, side), Image.Resampling.BOX))).float()[None] / 255
    inside = F.max_pool2d(inside, 2 * reach + 1, 1, reach)
    return gaussian_blur(inside, [2 * round(2 * soft) + 1] * 2, [soft, soft])[0]


def _spot(middle: Tensor, side: int, wide: float) -> Tensor:
    """(S,S): 1 in the middle, nothing some ``wide`` pixels off."""
    across, down = (torch.exp(-(((torch.arange(side) + 0.5 - at) / wide) ** 2)) for at in middle.tolist())
    return across * down[:, None]


class Shade(nn.Module):
    """Folds and shades of expressions; ``gain`` multiplies them."""

    maps: Tensor
    mean: Tensor

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        maps, mean = complete(*read_shade())
        self.register_buffer("maps", gain * maps, persistent=False)
        self.register_buffer("mean", mean, persistent=False)

    def forward(self, image: Tensor, landmarks: Tensor, change: Tensor) -> Tensor:
        """What is added (3,S',S') to a crop (3,S',S') in [-1,1] with its landmarks (68,2) where intensities change by (2,17),
        in the face's left half and in its right one."""
        size, side = image.shape[-1], self.maps.shape[-1]
        change = change.clamp(min=0) + FADING * change.clamp(max=0)
        left, right = _frontal(landmarks) * torch.einsum("su,uij->sij", change.to(self.maps), self.maps)
        across = (
            ((torch.arange(side) + 0.5) / side - 0.5).div(0.15).add(0.5).clamp(0, 1)
        )  # an owner's left is on the right
        change = torch.lerp(right, left, across)
        most = torch.where(change < 0, -DARKEST, LIGHTEST)
        change = most * (change / most).tanh()
        if not change.any():
            return torch.zeros_like(image)
        large = F.interpolate(change[None, None], (size, size), mode="bicubic")
        flow = spline(landmarks, self.mean * (size / side) - landmarks, size)
        factor = (image.new_tensor(CHANNELS)[:, None, None] * warped(large, flow[None])[0]).exp()
        light = (image + 1) / 2
        return 2 * (((light + BLACK) * factor - BLACK).clamp(0, 1) - light)


def _frontal(landmarks: Tensor) -> float:
    """1 for a face that looks into the camera, less the more it is turned, down to 0: the map does not turn with it."""
    left, nose, right = landmarks[[0, 30, 16], 0].tolist()
    turned = abs((nose - left) - (right - nose)) / max(right - left, 1e-6)
    return min(1.0, max(0.0, 1.25 - 2 * turned))


def read_shade(path: Path = TABLE) -> tuple[Tensor, Tensor]:
    """The maps (17,S,S) and the mean face's landmarks (68,2) in pixels of S. ConfigError if they are none."""
    hint = "zoo shade-table makes one"
    tensors = read_tensors(path)
    maps, mean = tensors.get("maps"), tensors.get("mean")
    if maps is None or mean is None or mean.shape != (68, 2) or maps.dim() != 3 or len(maps) != len(NAMES):
        raise ConfigError(f"{path} is no table of shades", hint)
    if maps.shape[1] != maps.shape[2] or not (maps.isfinite().all() and mean.isfinite().all()):
        raise ConfigError(f"{path} is no table of shades", hint)
    return cast(Tensor, maps.float()), cast(Tensor, mean.float())
