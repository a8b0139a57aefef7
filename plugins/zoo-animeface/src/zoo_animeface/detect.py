"""Pictures of drawn faces in, 40 named points out, or the pictures with the points drawn on them."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.errors import IntegrityError
from zoo.pictures.image import Source, read
from zoo.translator import Translator
from zoo_animeface.dan import Dan
from zoo_animeface.points import NAMES
from zoo_animeface.sheet import drawn

Points = dict[str, tuple[float, float]]


class LandmarkTranslator(Translator):
    """The face fills the picture, as it does in the pictures of the training."""

    generator: Dan

    def __init__(self, generator: Dan, *args: Any, **settings: Any) -> None:
        super().__init__(generator, *args, **settings)
        self.working = 0  # points are drawn on the picture as it is; the network scales what it sees itself

    def detect(self, image: Source | list[Any] | tuple[Any, ...]) -> Points | list[Points]:
        """The points of a picture by name, x and y in its pixels: 0 at the left and upper edges; a list for a list.

        ImageError: a picture that cannot be used."""
        if isinstance(image, list | tuple):
            return [self._detected(one) for one in image]
        return self._detected(image)

    def draw(self, image: Tensor, **_: Any) -> Tensor:
        return drawn(image, self._shape(image))

    def _detected(self, image: Source) -> Points:
        rgb = read(image).rgb
        with self.inference():
            (shape,) = self._shape(self.on_device(rgb[None])).float().cpu()
        if not shape.isfinite().all():
            raise IntegrityError(f"{self!r} found no points but NaN", "its weights are damaged")
        height, width = rgb.shape[-2:]
        return {name: (x * width, y * height) for name, (x, y) in zip(NAMES, shape.tolist())}

    def _shape(self, image: Tensor) -> Tensor:
        """(N,3,H,W) -> (N,40,2) in shares. The network sees a square, filled up by the picture's edges."""
        height, width = image.shape[-2:]
        side = cast(int, torch.sym_max(height, width))  # of any size in a graph that is exported
        left, top = (side - width) // 2, (side - height) // 2
        square = F.pad(image, (left, side - width - left, top, side - height - top), mode="replicate")
        pixels = self.generator.points(square) * side - torch.tensor([left, top], device=image.device)
        return pixels / torch.tensor([width, height], device=image.device)
