"""Feeding a class label to a convolutional network."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def with_label(image: Tensor, label: Tensor | None, labels: int) -> Tensor:
    """Image (N,C,H,W) and label (N,) in [0, labels) -> (N,C+labels,H,W): one constant map a class, as in StarGAN.

    ``labels`` 0 gives the image back. A network with labels refuses to run without one. Not in front of a convolution
    with an instance norm: that takes away what is the same everywhere. See ``LabelScale``.
    """
    if not labels:
        return image
    maps = F.one_hot(_given(label, labels), labels).to(image.dtype)[:, :, None, None]  # (N,labels,1,1)
    return torch.cat([image, maps.expand(-1, -1, *image.shape[2:])], dim=1)


class LabelScale(nn.Module):
    """x (N,C,H,W), label (N,) -> relu((1 + γ)·x + β): γ and β (C,) are learned for each of ``labels`` classes.

    As in conditional instance normalisation (Dumoulin et al. 2017): behind a norm, where a label is not lost.
    """

    def __init__(self, channels: int, labels: int) -> None:
        super().__init__()
        self.table = nn.Embedding(labels, 2 * channels)
        nn.init.normal_(self.table.weight, 0.0, 0.25)  # classes differ from the first step on

    def forward(self, x: Tensor, label: Tensor | None) -> Tensor:
        scale, shift = self.table(_given(label, self.table.num_embeddings))[:, :, None, None].chunk(2, dim=1)
        return F.relu((1 + scale) * x + shift)


def _given(label: Tensor | None, labels: int) -> Tensor:
    if label is None:
        raise ValueError(f"this network draws in {labels} hands and needs a label for each picture")
    return label
