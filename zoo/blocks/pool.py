"""The image pool of Shrivastava et al. 2017: discriminators also see results of earlier steps."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ImagePool(nn.Module):
    """Keeps up to ``size`` pictures of ``shape`` (C,H,W). Its buffers go into the checkpoint."""

    pictures: Tensor
    labels: Tensor
    count: Tensor

    def __init__(self, size: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("pictures", torch.zeros(size, *shape))
        self.register_buffer("labels", torch.zeros(size, dtype=torch.int64))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def swap(self, images: Tensor, labels: Tensor, seeds: Tensor) -> tuple[Tensor, Tensor]:
        """Images (N,C,H,W), labels (N,), seeds (N,) -> as many images with their labels.

        While the pool fills, the images come back. Then each is, by its seed, given back (one half) or exchanged
        for an older one.
        """
        images, labels = images.detach().float().clone(), labels.clone()
        size = len(self.pictures)
        for i, seed in enumerate(seeds.tolist()):
            if int(self.count) < size:
                place = int(self.count)
                self.pictures[place], self.labels[place] = images[i], labels[i]
                self.count += 1
                continue
            generator = torch.Generator().manual_seed(seed)
            if size and torch.rand((), generator=generator) < 0.5:
                place = int(torch.randint(size, (), generator=generator))
                images[i], self.pictures[place] = self.pictures[place].clone(), images[i].clone()
                labels[i], self.labels[place] = self.labels[place].clone(), labels[i].clone()
        return images, labels
