"""Style transfer the plain way, against which benchmarks/style_transfer.py measures: Gatys et al. 2016 as first written down.

Eager, fp32, NCHW, torch's own layers; the whole of VGG-19; the targets are computed anew at every step; one size; L-BFGS.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WIDTHS = {1: (64, 64), 2: (128, 128), 3: (256,) * 4, 4: (512,) * 4, 5: (512,) * 4}
MEAN = (103.939, 116.779, 123.68)  # of ImageNet, blue first


class VGG19(nn.Module):
    """All 16 convolutions of VGG-19. Pictures in [-1,1] -> the rectified features by layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleDict()
        inner = 3
        for block, widths in WIDTHS.items():
            for i, outer in enumerate(widths, 1):
                self.layers[f"conv{block}_{i}"] = nn.Conv2d(inner, outer, 3, padding=1)
                inner = outer
        self.requires_grad_(False)

    def take(self, weights: Mapping[str, Tensor]) -> None:
        """Those of Gatys' normalised network. Layers that it does not have stay random: only their time counts."""
        for name, layer in self.layers.items():
            if f"{name}.weight" in weights:
                layer.load_state_dict({kind: weights[f"{name}.{kind}"] for kind in ("weight", "bias")})

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        x = image.flip(1) * 127.5 + (127.5 - image.new_tensor(MEAN).view(1, 3, 1, 1))
        seen = {}
        for name, layer in self.layers.items():
            if name.endswith("_1") and name != "conv1_1":
                x = F.max_pool2d(x, 2)
            x = F.relu(layer(x))
            seen[name] = x
        return seen


def gram(features: Tensor) -> Tensor:
    flat = features.flatten(2)
    return flat @ flat.transpose(1, 2) / flat.shape[2]


@dataclass(frozen=True)
class Weights:
    """Of the terms, and the layers that they look at."""

    content: float
    content_layers: Sequence[str]
    style: float
    style_layers: Sequence[str]
    variation: float


@dataclass(frozen=True)
class Reached:
    """How the plain way got on: its loss, the evaluations and seconds it took, and whether it came to the goal."""

    loss: float
    evaluations: int
    seconds: float
    there: bool


class Plain:
    """One photograph and one style, (1,3,H,W) in [-1,1]."""

    def __init__(self, vgg: VGG19, photo: Tensor, style: Tensor, weights: Weights) -> None:
        self.vgg, self.photo, self.style, self.weights = vgg, photo, style, weights

    def total(self, picture: Tensor) -> Tensor:
        """content · α + style · β + total variation · γ"""
        w = self.weights
        with torch.no_grad():
            of_photo, of_style = self.vgg(self.photo), self.vgg(self.style)
        seen = self.vgg(picture)
        content = [F.mse_loss(seen[layer], of_photo[layer]) for layer in w.content_layers]
        style = [F.mse_loss(gram(seen[layer]), gram(of_style[layer])) for layer in w.style_layers]
        variation = picture.diff(dim=-1).square().mean() + picture.diff(dim=-2).square().mean()
        content_part = w.content * torch.stack(content).mean()
        return content_part + w.style * torch.stack(style).mean() + w.variation * variation

    def until(self, goal: float, most: float, clock: Callable[[], float] = time.perf_counter) -> Reached:
        """Begins with the photograph and goes on until the loss is ``goal``, or for ``most`` seconds."""
        picture = self.photo.clone().requires_grad_()
        evaluations, loss, started = 0, float("inf"), clock()

        def evaluate() -> Tensor:
            nonlocal evaluations, loss
            picture.grad = None
            value = self.total(picture)
            loss = float(value.detach())
            evaluations += 1
            if loss <= goal or clock() - started > most:
                raise _DoneError
            value.backward()
            return value

        optimiser = torch.optim.LBFGS(
            [picture],
            max_iter=10**6,
            max_eval=10**6,
            tolerance_grad=0,
            tolerance_change=0,
            line_search_fn="strong_wolfe",
        )
        with suppress(_DoneError):
            optimiser.step(evaluate)
        return Reached(loss, evaluations, clock() - started, loss <= goal)


class _DoneError(Exception):
    """Enough."""
