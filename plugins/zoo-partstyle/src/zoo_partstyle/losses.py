"""The losses of style transfer to one kind of object (新家 ほか), and those that are guided by a map of the object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.blocks.vgg import VGG19
from zoo.loss import view
from zoo.losses.perceptual import FeatureLoss, gram
from zoo_partstyle.objects import object_set


class SelectedStyleLoss(FeatureLoss):
    """Gram entries of the object's filters go to the style, all others stay the photograph's (equations 7 to 10).

    An entry belongs to the object if one of its two filters is chosen (7). The two kinds of entries are balanced by
    k1 = 1/(1-r) and k2 = 1/r, r being the share of the chosen ones (8 to 10); with the 1/(N²M²) of (3) that makes the
    mean over each kind. The first sum of (8) is printed over pairs with both filters chosen, which (9) and (10) do not
    fit: it is taken over those with neither. ``layers`` count alike; one of them without chosen filters is left out.
    """

    needs = frozenset({"output", "source", "target"})

    def __init__(
        self, layers: Sequence[str] = ("conv4_1", "conv5_1"), object: str = "dog", vgg: VGG19 | str | None = None
    ) -> None:
        chosen = object_set(object).chosen()
        if not (used := [layer for layer in layers if layer in chosen]):
            raise ValueError(f"no filter of {', '.join(layers)} is chosen for {object}")
        super().__init__(used, vgg)
        self.kinds = [_entries(chosen[layer], self.vgg.width(layer)) for layer in self.layers]

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        pairs = zip(
            self.kinds, self.seen(step, "output"), view(step, "source", self.grams), view(step, "target", self.grams)
        )
        return torch.stack([self._layer(kind, gram(made), *wanted) for kind, made, *wanted in pairs]).mean()

    @staticmethod
    def _layer(chosen: Tensor, made: Tensor, content: Tensor, style: Tensor) -> Tensor:
        chosen = chosen.to(made.device)
        wanted = torch.where(chosen, style, content)  # (7)
        squares = (made - wanted).square()
        means = [squares[:, kind].mean() for kind in (~chosen, chosen) if kind.any()]  # (8) to (10)
        return torch.stack(means).sum()


def _entries(filters: Sequence[int], width: int) -> Tensor:
    """(width, width): is one of the two filters chosen?"""
    chosen = torch.zeros(width, dtype=torch.bool)
    chosen[list(filters)] = True
    return chosen[:, None] | chosen[None]


class GuidedStyleLoss(FeatureLoss):
    """The Gram matrices of what lies on the object against those of the style (Gatys et al. 2017, equation 8).

    ``object`` (N,1,H,W) of the step says in [0, 1] how much each pixel belongs to it."""

    needs = frozenset({"output", "target", "object"})

    def __init__(
        self,
        layers: Sequence[str] = ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1"),
        vgg: VGG19 | str | None = None,
    ) -> None:
        super().__init__(layers, vgg)

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        pairs = zip(self.seen(step, "output"), view(step, "target", self.grams))
        return torch.stack([F.mse_loss(gram(made, at(step["object"], made)), wanted) for made, wanted in pairs]).mean()


class GuidedContentLoss(FeatureLoss):
    """The features on the object against the photograph's: mean squared difference, weighted by the map ``object``."""

    needs = frozenset({"output", "source", "object"})

    def __init__(self, layers: Sequence[str] = ("conv4_2",), vgg: VGG19 | str | None = None) -> None:
        super().__init__(layers, vgg)

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        pairs = zip(self.seen(step, "output"), view(step, "source", self.features))
        return torch.stack([self._layer(made, wanted, at(step["object"], made)) for made, wanted in pairs]).mean()

    @staticmethod
    def _layer(made: Tensor, wanted: Tensor, weight: Tensor) -> Tensor:
        squares = (made.float() - wanted.float()).square().mean(1, keepdim=True)
        return (weight * squares).sum() / weight.sum().clamp(min=1e-8)


def at(mask: Tensor, features: Tensor) -> Tensor:
    """The map (N,1,H,W) at the size of ``features``."""
    return F.interpolate(mask.float(), features.shape[-2:], mode="area")
