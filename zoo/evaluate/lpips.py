"""LPIPS: how far apart two pictures look to a network trained on photographs.

Zhang, Isola, Efros, Shechtman, Wang: *The Unreasonable Effectiveness of Deep Features as a Perceptual Metric*,
CVPR 2018, eq. 1, with AlexNet and the linear heads of version 0.1. The weights are one safetensors file:
AlexNet's convolutions under torchvision's names (``features.0.weight`` …) and the heads ``lpips.lin0.weight`` …
``lin4``. torchvision and torchmetrics bring both as pickles, which the zoo itself does not read. Who trusts them
makes the file by::

    import torch, torchvision, torchmetrics, safetensors.torch
    heads = torchmetrics.__path__[0] + "/functional/image/lpips_models/alex.pth"
    heads = torch.load(heads, weights_only=True, map_location="cpu")
    alexnet = torchvision.models.alexnet(weights="IMAGENET1K_V1").state_dict()
    state = {k: v for k, v in alexnet.items() if k.startswith("features")}
    state |= {f"lpips.lin{i}.weight": heads[f"lin{i}.model.1.weight"] for i in range(5)}
    safetensors.torch.save_file(state, "lpips-alex.safetensors")
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from zoo.weights.file import load_weights

_SHIFT = (-0.030, -0.088, -0.188)  # ImageNet's mean and deviation for pictures in [-1, 1]
_SCALE = (0.458, 0.448, 0.450)


class LPIPS(nn.Module):
    """Distance of two batches of pictures (N, 3, H, W) in [-1, 1] -> (N,): 0 when equal, near 1 when unlike.

    Differentiable in both pictures and frozen in its own weights, so it serves as a loss as well. Pictures must
    be at least ``minimum`` pixels on each side. NotFoundError or IntegrityError if the file of ``weights`` is
    not there or does not fit.
    """

    minimum = 31  # below this AlexNet's second pooling has nothing left
    shift: Tensor
    scale: Tensor

    def __init__(self, weights: str | Path) -> None:
        super().__init__()
        self.features = nn.ModuleDict(
            {
                "0": nn.Conv2d(3, 64, 11, stride=4, padding=2),
                "3": nn.Conv2d(64, 192, 5, padding=2),
                "6": nn.Conv2d(192, 384, 3, padding=1),
                "8": nn.Conv2d(384, 256, 3, padding=1),
                "10": nn.Conv2d(256, 256, 3, padding=1),
            }
        )
        widths = (64, 192, 384, 256, 256)
        self.lpips = nn.ModuleDict({f"lin{i}": nn.Conv2d(c, 1, 1, bias=False) for i, c in enumerate(widths)})
        self.register_buffer("shift", torch.tensor(_SHIFT).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(_SCALE).view(1, 3, 1, 1), persistent=False)
        load_weights(weights, self)
        self.requires_grad_(False).eval()

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        distance = first.new_zeros(len(first))
        for head, a, b in zip(self.lpips.values(), self._layers(first), self._layers(second), strict=True):
            difference = (_unit(a) - _unit(b)).square()  # (N, C, h, w)
            distance = distance + head(difference).mean(dim=(1, 2, 3))
        return distance

    def _layers(self, image: Tensor) -> list[Tensor]:
        """The five rectified layers of AlexNet, pooled before the second and the third."""
        x, layers = (image - self.shift) / self.scale, []
        for index, conv in enumerate(self.features.values()):
            if index in (1, 2):
                x = nn.functional.max_pool2d(x, 3, 2)
            x = torch.relu(conv(x))
            layers.append(x)
        return layers


def _unit(features: Tensor) -> Tensor:
    """Each position's features, scaled to length one."""
    length = features.square().sum(dim=1, keepdim=True).sqrt()
    return features / (length + 1e-10)
