"""A face alone, as the losses of fusions see it: all of the output is the source's."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from zoo.provider import Provider


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
