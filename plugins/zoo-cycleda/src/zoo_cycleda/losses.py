"""What the paper wished for and did not build: no wrinkles and double chins copied into the drawing (its future work)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from zoo.loss import Loss


class SkinLoss(Loss):
    """Skin between brows, eyes, nose and mouth is left calm: the mean absolute difference of neighbouring pixels there, one
    below and one beside the other. Contours and the parts of the face are free."""

    needs = frozenset({"output", "skin"})

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        image, skin = step["output"].float(), step["skin"]
        across = image.diff(dim=-1).abs().mean(1, keepdim=True) * skin[..., 1:]
        down = image.diff(dim=-2).abs().mean(1, keepdim=True) * skin[..., 1:, :]
        return (across.sum() + down.sum()) / skin.sum().clamp(min=1)
