"""What of an aligned face is hair, skin, eyes …: by masks that people drew, or by the network of `zoo.faces.parsing`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from zoo import faces
from zoo.errors import ImageError, UsageError
from zoo.faces.geometry import resampled
from zoo.faces.parsing import Parsed, parsed_crop
from zoo.pictures.image import find_pictures, read
from zoo.progress import tell
from zoo_facefusion.align import FINER, align, average, shape_free, square

PARTS: dict[str, tuple[tuple[str, ...], tuple[int, ...]]] = {
    "hair": (("hair", "hat"), (13, 14)),
    "skin": (("skin", "ears"), (1, 8, 9)),
    "eyes": (("eyes", "glasses"), (3, 4, 5)),
    "brows": (("brows",), (6, 7)),
    "nose": (("nose",), (2,)),
    "mouth": (("mouth",), (10, 11, 12)),
    "clothes": (("neck", "clothes"), (15, 16, 17, 18)),
    "backdrop": (("background",), (0,)),
}
"""Of `zoo.faces.parsing`, and the values that CelebAMask-HQ's masks have there."""

VALUES = 19
"""Of CelebAMask-HQ."""


def by_network(images: Tensor) -> Tensor:
    """Aligned faces (N,3,S,S) -> their parts (N,P,S,S) from 0 to 1, in the order of `PARTS`, 1 in all at every pixel."""
    side = images.shape[-1]
    crops = (faces.Crop(image.cpu(), average().float() * side, torch.eye(2, 3).double()) for image in images)
    return torch.stack([planes_of(parsed_crop(crop), crop) for crop in crops]).to(images)


def planes_of(seen: Parsed, crop: faces.Crop) -> Tensor:
    """The parts (P,S,S) of a crop, in the order of `PARTS`, of what was ``seen`` in it."""
    planes = torch.stack(
        [
            seen.over(crop.image, seen.crop.matrix, *names, outside=float("background" in names))
            for names, _ in PARTS.values()
        ]
    )
    return planes / planes.sum(0).clamp(min=1e-6)


def by_people(folder: Path, count: int, seed: int, side: int) -> tuple[Tensor, Tensor]:
    """Of FOLDER/images so many as the seed draws and in which a face is found, aligned (N,3,side,side), and the parts
    (N,P,side,side) by FOLDER/masks. UsageError, ImageError."""
    pictures = find_pictures([folder / "images"]) if (folder / "images").is_dir() else []
    images, masks = list[Tensor](), list[Tensor]()
    order = torch.randperm(len(pictures), generator=torch.Generator().manual_seed(seed)).tolist()
    for number in order:
        if len(images) == count:
            break
        tell("faces with masks", len(images), count)
        image = read(pictures[number]).on_white().rgb
        values = _values(folder / "masks" / f"{pictures[number].stem}.png", image.shape[-2:])
        if found := faces.find(image, thorough=False):
            crop = align(image, found[0], side)
            each = torch.stack([torch.isin(values, torch.tensor(which)).float() for _, which in PARTS.values()])
            own = square(image, found[0], FINER * side)
            planes = shape_free(resampled(each, own.matrix, own.image.shape[-2:]), own.landmarks)
            images.append(crop.image)
            masks.append(F.avg_pool2d(planes.clamp(0, 1), FINER))
    if len(images) < 2:
        raise UsageError(f"{folder} has {len(images)} faces with masks", "give a folder with images/ and masks/")
    planes = torch.stack(masks)
    return torch.stack(images), planes / planes.sum(1, keepdim=True).clamp(min=1e-6)


def _values(path: Path, size: torch.Size) -> Tensor:
    """A mask (H,W) as CelebAMask-HQ has them, of a picture of this size."""
    if not path.is_file():
        raise UsageError(f"there is no mask {path}", "each picture of images/ has a .png of its name in masks/")
    try:
        with Image.open(path) as mask:
            values = torch.from_numpy(np.array(mask)).long()
    except (OSError, ValueError) as error:
        raise ImageError(f"{path} cannot be read: {error}", "masks are .png files") from error
    if values.dim() != 2 or values.max() >= VALUES:
        raise ImageError(f"{path} is no mask of parts", "its pixels are numbers from 0 to 18, as in CelebAMask-HQ")
    return F.interpolate(values[None, None].float(), tuple(size))[0, 0].long()
