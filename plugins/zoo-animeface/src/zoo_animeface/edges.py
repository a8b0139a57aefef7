"""Anime pictures with blurred edges, which a discriminator shall take for fakes (thesis 2.5; Chen et al. 2018, 3.2).

Canny's detector finds the edges' pixels, these are widened, and within them the picture is smoothed. Flat areas stay.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import Tensor

from zoo.errors import ImageError, NotFoundError, UsageError
from zoo.pictures.image import find_pictures, read, to_pil, write
from zoo.progress import tell

LOW, HIGH = 100, 200
"""Canny's two thresholds, of the gradient of 8-bit pictures: what is above HIGH is an edge, and what is above LOW and
hangs together with it (Canny 1986)."""

WIDE = 5
"""Pixels of the training's size, width of the zone around an edge that is smoothed, and of the Gaussian kernel."""


def edge_blurred(picture: Tensor) -> Tensor:
    """A picture (3,H,W) in [-1,1], or uint8 -> the same in the same form with its edges blurred."""
    import cv2  # here, since it changes the environment

    coarse = picture.dtype == torch.uint8
    levels = picture if coarse else picture.add(1).mul(127.5).round().clamp(0, 255).byte()
    image = np.ascontiguousarray(levels.permute(1, 2, 0).cpu().numpy())
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    zone = cv2.dilate(cv2.Canny(grey, LOW, HIGH), np.ones((WIDE, WIDE), np.uint8)) > 0
    smooth = torch.from_numpy(cv2.GaussianBlur(image, (WIDE, WIDE), 0)).permute(2, 0, 1)
    if not coarse:
        smooth = smooth.to(picture) / 127.5 - 1
    return torch.where(torch.from_numpy(zone), smooth, picture)


def grey(picture: Tensor) -> Tensor:
    """(…,3,H,W) -> the same form, its luma (BT.601) in all three channels."""
    return luma(picture).expand_as(picture).contiguous()


def luma(picture: Tensor) -> Tensor:
    """(…,3,H,W) -> Y of BT.601, (…,1,H,W), in the picture's range."""
    weights = picture.new_tensor(LUMA)
    return (picture * weights[:, None, None]).sum(-3, keepdim=True)


LUMA = (0.299, 0.587, 0.114)


def edge_blur(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A folder of drawings; also those below it.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="For the results: a folder that is not there, or empty.")],
    grey_too: Annotated[bool, typer.Option("--grey", help="Grey ones, as AnimeGAN learns from.")] = False,
) -> dict[str, Any]:
    """Write what a training makes of drawings on the fly, to look at: OUT/blurred, with --grey OUT/grey too.

    Example: zoo edge-blur drawings edges --grey
    """
    if not folder.is_dir():
        raise NotFoundError(f"there is no folder {folder}", "give a folder of drawings")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is there already", "give a folder that is not there, or empty")
    if out.resolve().is_relative_to(folder.resolve()):
        raise UsageError(f"{out} lies in {folder}: results would be taken for drawings", "give another OUT")
    if not (found := find_pictures([folder])):
        raise UsageError(f"there is no picture in {folder}", "give a folder of drawings")
    unreadable = []
    for number, path in enumerate(found):
        tell("blurring edges", number, len(found))
        name = path.relative_to(folder).with_suffix(".png")
        try:
            picture = read(path).on_white().rgb
        except (ImageError, NotFoundError):  # not found: a link that leads nowhere
            unreadable.append(path)
            continue
        blurred = edge_blurred(picture)
        write(to_pil(grey(blurred) if grey_too else blurred), out / "blurred" / name, replace=False)
        if grey_too:
            write(to_pil(grey(picture)), out / "grey" / name, replace=False)
    tell("blurring edges", len(found), len(found))
    rows = [{"picture": str(path), "fault": "cannot be read"} for path in unreadable]
    return {
        "rows": rows,
        "lines": [f"{out}: edges blurred in {len(found) - len(unreadable)} of {len(found)} drawings"],
        "pictures": len(found) - len(unreadable),
        "failed": f"{len(unreadable)} pictures could not be read" if unreadable else "",
    }
