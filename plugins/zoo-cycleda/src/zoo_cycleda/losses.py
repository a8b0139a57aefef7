"""What the paper wished for and did not build: no wrinkles and double chins copied into the drawing (its future work)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from zoo.loss import Loss
from zoo.losses.pixelwise import unevenness


class SkinLoss(Loss):
    """Skin between brows, eyes, nose and mouth is left calm: the mean absolute difference of neighbouring pixels there, one
    below and one beside the other. Contours and the parts of the face are free."""

    needs = frozenset({"output", "skin"})

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        return unevenness(step["output"].float(), step["skin"])
