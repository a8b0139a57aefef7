"""What the losses of fusions read: what a fusion is to look like, and for a face alone that all of the output is the source's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, cast

import torch
from torch import Tensor

from zoo.faces.parsing import network
from zoo.provider import Provider
from zoo_facefusion.composite import composite


class Mix(Provider):
    """``mix``: 1, the output is made of the source alone."""

    needs = frozenset({"source"})

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        return step["source"].new_ones(len(step["source"]), 1)


class Other(Provider):
    """``other``: the next picture of the batch."""

    needs = frozenset({"source"})

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        return step["source"].roll(1, 0)


class Parts(Provider):
    """``parts`` (N,12,H,W): how likely each pixel of the source, an aligned face, belongs to which of `zoo.faces.parsing.PARTS`."""

    needs = frozenset({"source"})
    of_batch = True
    of: ClassVar[str] = "source"

    def __init__(self) -> None:
        super().__init__()
        self.parser = network()

    @torch.no_grad()
    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        face = step[self.of].float()
        self.parser.to(face.device)
        with torch.autocast(face.device.type, enabled=False):
            return cast(Tensor, self.parser(face)).softmax(1)


class OtherParts(Parts):
    """``other_parts``: the same of the other face."""

    needs, of = frozenset({"other"}), "other"


class Composite(Provider):
    """``composite`` (N,4,H,W): each part of the face of whom ``mix`` says, colours in [-1, 1], and how sure they are.

    Features have the light and the colour of the skin that they lie in: they are divided by the smooth light of their own
    face's skin and multiplied by that of the other (ratio images, Liu et al. 2001). Hair, and all around the face, lies over
    the face; where it is taken away the other's skin, in the same light, is a guess, and less ``sure``."""

    needs = frozenset({"source", "other", "parts", "other_parts", "mix"})
    by: ClassVar[str] = "mix"

    @torch.no_grad()
    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        names = getattr(self.trainer.networks[self.trainer.exported], "names", ())
        a, b, parts, others, mix = (step[name].float() for name in ("source", "other", "parts", "other_parts", self.by))
        with torch.autocast(a.device.type, enabled=False):
            return composite(a, b, parts, others, mix, names)


class FlippedComposite(Composite):
    """``flipped_composite``: the same by ``flipped_mix``, in which one λ is turned round."""

    needs, by = frozenset({"source", "other", "parts", "other_parts", "flipped_mix"}), "flipped_mix"
