"""The patch discriminator of pix2pix (Isola et al. 2017, appendix 6.1.2)."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from zoo.blocks.label import with_label
from zoo.blocks.norm import InstanceNorm2d


class PatchGAN(nn.Module):
    """Image (N,3,H,W) -> one logit a patch (N,1,h,w). Three layers see patches of 70×70 pixels.

    C64-C128-C256-C512 with 4×4 kernels, stride 2 but for the last, instance norm but for the first, LeakyReLU 0.2.
    With ``labels`` n it judges the picture as one of class ``label`` (N,).
    """

    def __init__(self, width: int = 64, layers: int = 3, labels: int = 0) -> None:
        super().__init__()
        if width < 1 or layers < 1:
            raise ValueError("width and layers are 1 or more")
        self.labels = labels
        channels = [3 + labels, *(width * min(2**i, 8) for i in range(layers + 1))]
        body: list[nn.Module] = []
        for i, (before, after) in enumerate(pairwise(channels)):
            stride = 2 if i < layers else 1
            body += [nn.Conv2d(before, after, 4, stride, 1, bias=i == 0)]
            body += [InstanceNorm2d(after)] if i else []
            body += [nn.LeakyReLU(0.2, inplace=True)]
        self.body = nn.Sequential(*body, nn.Conv2d(channels[-1], 1, 4, 1, 1))

    def forward(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        return self.body(with_label(image, label, self.labels))
