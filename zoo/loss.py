"""The Loss contract: named tensors of a training step in, one number out."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn


class Loss(nn.Module):
    """A term of a training objective.

    ``needs`` are the names it reads from the step; they are checked against what the trainer provides before the
    first step. ``forward`` gives a scalar in float32. The weight belongs to the recipe, not to the loss.
    """

    needs: frozenset[str] = frozenset()

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        raise NotImplementedError
