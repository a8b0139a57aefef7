"""Feeding a class label to a convolutional network."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def with_label(image: Tensor, label: Tensor | None, labels: int) -> Tensor:
    """Image (N,C,H,W) and label (N,) in [0, labels) -> (N,C+labels,H,W): one constant map a class, as in StarGAN.

    ``labels`` 0 gives the image back. A network with labels refuses to run without one.
    """
    if not labels:
        return image
    if label is None:
        raise ValueError(f"this network draws in {labels} hands and needs a label for each picture")
    maps = F.one_hot(label, labels).to(image.dtype)[:, :, None, None]  # (N,labels,1,1)
    return torch.cat([image, maps.expand(-1, -1, *image.shape[2:])], dim=1)
