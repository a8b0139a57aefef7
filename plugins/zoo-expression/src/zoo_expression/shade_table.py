"""``zoo shade-table``: where faces get lighter and darker for one unit of each action unit, learned from labelled faces.

As ``zoo motion-table``, by least squares within persons. Each face is laid upon the mean one by all of its landmarks, so that
what moved is back in its place and what is left is light: of that only what is finer than the light of a room, folds and
bulges. How strong a picture's contrast is stands beside units and pose.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from safetensors.torch import save_file
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from zoo.errors import ImageError, NotFoundError
from zoo.faces.geometry import resampled, spline
from zoo.helpers.files import atomic
from zoo.pictures.fit import warped
from zoo.pictures.image import read
from zoo.progress import tell
from zoo_expression.motion_table import Labelled, Overwrite, check_free, labelled, laid_upon_mean, pose, within
from zoo_expression.shade import BLACK
from zoo_expression.units import NAMES

SIDE = 128
FINE, COARSE = 1.0, 9.0
"""Pixels of the side between which a fold is as wide (the σ of two Gaussians)."""

AROUND = 0.8
"""Share of the square that landmarks fill."""

MOST = 0.6
"""Differences of light beyond this are glasses and hair."""

LUMA = (0.299, 0.587, 0.114)

Array = np.ndarray[Any, np.dtype[Any]]


def shade_table(
    folder: Labelled,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The table, a .safetensors file.")],
    overwrite: Overwrite = False,
) -> dict[str, Any]:
    """Learn from labelled faces what folds and shades one unit of each action unit makes: a table of shades.

    aus.csv is as for zoo motion-table. Least squares within persons; pose and contrast do not count.

    Example: zoo shade-table faces -o shade.safetensors
    """
    check_free(out, overwrite)
    rows, points, people, lost = labelled(folder, "shades")
    mean = torch.from_numpy(SIDE * _in_square(points).mean(0))
    folds, known = [], []
    for number, (row, face) in enumerate(zip(rows, points)):
        tell("light", number, len(rows))
        try:
            folds.append(_folds(read(folder / row.file).on_white().rgb, torch.from_numpy(face), mean))
            known.append(number)
        except (ImageError, NotFoundError):
            lost += 1
    tell("light", len(rows), len(rows))
    light = torch.stack(folds).flatten(1).numpy().astype(np.float32)
    people = np.unique(people[known], return_inverse=True)[1]
    units = np.array([rows[i].units for i in known])
    contrast = light.std(1, keepdims=True)
    terms = within(np.concatenate([units, pose(laid_upon_mean(points[known])), contrast], 1), people)
    differs = within(light, people)
    weights = np.linalg.lstsq(terms, differs, rcond=None)[0]
    maps = torch.from_numpy(weights[: len(NAMES)]).reshape(-1, SIDE, SIDE)
    with atomic(out) as part:
        save_file({"maps": maps.half().contiguous(), "mean": mean.float().contiguous()}, part)
    told = f"{len(known)} faces of {people.max() + 1} people: {out}"
    failed = f"{lost} pictures left out: no face found, or unreadable" if lost else ""
    return {"lines": [*[failed] * bool(lost), told], "out": str(out), "faces": len(known)}


def _in_square(points: Array) -> Array:
    """Landmarks (N,68,2) in shares of a square around them."""
    low, high = points.min(1, keepdims=True), points.max(1, keepdims=True)
    return AROUND * (points - (low + high) / 2) / (high - low).max(2, keepdims=True) + 0.5


def _folds(picture: Tensor, points: Tensor, mean: Tensor) -> Tensor:
    """What is fine in the light of a face (3,H,W) in [-1,1], laid upon the ``mean`` one, (SIDE,SIDE)."""
    low, high = points.amin(0), points.amax(0)
    scale = float((high - low).max()) / AROUND
    corner = (low + high) / 2 - scale / 2
    square = torch.cat([torch.eye(2).double() * scale / SIDE, corner[:, None]], 1)
    light = ((picture + 1) / 2 * picture.new_tensor(LUMA)[:, None, None]).sum(0, keepdim=True)
    flow = spline(mean, (points - corner) * SIDE / scale - mean, SIDE)
    seen = warped(resampled(light, square, (SIDE, SIDE))[None], flow[None])[0]
    logs = torch.log(seen.clamp(min=0) + BLACK)
    blurred = [gaussian_blur(logs, [2 * round(3 * s) + 1] * 2, [s, s]) for s in (FINE, COARSE)]
    return (blurred[0] - blurred[1])[0].clamp(-MOST, MOST)
