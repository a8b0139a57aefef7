"""Pictures of drawn faces in, 40 named points of each out, or the pictures with the points drawn on them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import repeat
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.errors import ControlError, ImageError, IntegrityError
from zoo.faces import apart
from zoo.pictures import video
from zoo.pictures.batches import Batches
from zoo.pictures.image import Picture, Source, read
from zoo.translator import Translator
from zoo_animeface.dan import Dan
from zoo_animeface.finder import Square, find, place, within
from zoo_animeface.points import NAMES
from zoo_animeface.sheet import drawn

log = logging.getLogger("zoo")

Points = dict[str, tuple[float, float]]

FILLS = 0.75
"""Share of a picture's shorter side from which one face fills it, as in the pictures of the training: it is not cut out."""


class LandmarkTranslator(Translator):
    """Finds the drawn faces of a picture, and the points of each. The control ``face`` says of which: 1 is the largest; 0 for a
    picture that a face fills; all unless given. A picture in which none is found is taken for one."""

    generator: Dan
    framing = frozenset({"face"})

    def __init__(self, generator: Dan, *args: Any, **settings: Any) -> None:
        super().__init__(generator, *args, **settings)
        self.working = 0  # points are drawn on the picture as it is; the network scales what it sees itself

    def detect(self, image: Source | list[Any] | tuple[Any, ...], *, face: int = 1) -> Points | list[Points]:
        """The points of a face by name, x and y in the picture's pixels: 0 at the left and upper edges; a list for a list.

        ``face`` is as the control. ImageError: a picture that cannot be used, or has no such face."""
        if isinstance(image, list | tuple):
            return [self._detected(read(one).rgb, face)[0] for one in image]
        return self._detected(read(image).rgb, face)[0]

    def detect_all(self, image: Source) -> list[Points]:
        """The points of every face that a picture shows, the largest first, as of `detect`."""
        return self._detected(read(image).rgb, None)

    def draw(self, image: Tensor, **_: Any) -> Tensor:
        return drawn(image, self._shape(image))

    def results(self, images: Iterable[Source], batches: Batches, framing: dict[str, Any]) -> Iterator[Any]:
        return apart.results(images, batches, repeat(partial(self.cut, **framing)))

    def filmed(
        self, controls: dict[str, Any], *, size: int | None, batch: int | None, tile: int | None
    ) -> Callable[[video.Film], Callable[[Iterable[np.ndarray]], Iterable[Any]]]:
        batches, framing = self.prepared(size, batch, tile, None, controls)
        return lambda _: lambda images: self.results(images, batches, framing)

    def cut(self, picture: Picture, face: int | None = None) -> apart.Parts | Picture:
        """The squares of a picture that are drawn on; the picture where a face fills it."""
        squares = self._squares(picture.rgb, face)
        if not squares:
            return picture

        def join(made: list[Tensor]) -> Tensor:
            """What was drawn is added: squares may lie on each other."""
            whole = picture.rgb.clone()
            for square, part, one in zip(squares, parts, made):
                top, left, side = place(square)
                height, width = whole.shape[1:]
                rows, columns = (
                    slice(max(0, top), min(height, top + side)),
                    slice(max(0, left), min(width, left + side)),
                )
                drawn = (one - part)[:, rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
                whole[:, rows, columns] = (whole[:, rows, columns] + drawn).clamp(-1, 1)
            return whole

        parts = [within(picture.rgb, square) for square in squares]
        return apart.Parts(picture, parts, join)

    def _squares(self, rgb: Tensor, face: int | None) -> list[Square]:
        """The faces that are meant; none where the picture is taken for one. ImageError if there is no such face."""
        if face is not None and (isinstance(face, bool) or not isinstance(face, int) or face < 0):
            raise ControlError(f"face = {face!r} is not a whole number of at least 0", "1 is the largest face")
        if face == 0:
            return []
        found = find(rgb)
        if face is not None and face > max(1, len(found)):
            raise ImageError(
                f"there is no face {face}: {len(found)} found", "1 is the largest; 0: a face fills the picture"
            )
        if not found:
            log.warning("no drawn face found: the picture is taken for one; face=0 says so beforehand")
        if len(found) == 1 and found[0].side >= FILLS * min(rgb.shape[1:]):
            return []
        return found if face is None else found[face - 1 : face]

    def _detected(self, rgb: Tensor, face: int | None) -> list[Points]:
        found = []
        parts = [(within(rgb, square), *place(square)) for square in self._squares(rgb, face)]
        for part, top, left, _ in parts or [(rgb, 0, 0, 0)]:
            with self.inference():
                (shape,) = self._shape(self.on_device(part[None])).float().cpu()
            if not shape.isfinite().all():
                raise IntegrityError(f"{self!r} found no points but NaN", "its weights are damaged")
            height, width = part.shape[-2:]
            found.append({name: (left + x * width, top + y * height) for name, (x, y) in zip(NAMES, shape.tolist())})
        return found

    def _shape(self, image: Tensor) -> Tensor:
        """(N,3,H,W) -> (N,40,2) in shares. The network sees a square, filled up by the picture's edges."""
        height, width = image.shape[-2:]
        side = cast(int, torch.sym_max(height, width))  # of any size in a graph that is exported
        left, top = (side - width) // 2, (side - height) // 2
        square = F.pad(image, (left, side - width - left, top, side - height - top), mode="replicate")
        pixels = self.generator.points(square) * side - torch.tensor([left, top], device=image.device)
        return pixels / torch.tensor([width, height], device=image.device)
