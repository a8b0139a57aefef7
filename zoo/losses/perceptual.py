"""Losses over VGG-19's features (Gatys et al. 2016; Johnson et al. 2016), and what is told of pixels beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.blocks.vgg import LAYERS, VGG19
from zoo.loss import Loss, view
from zoo.weights.networks import find


class FeatureLoss(Loss):
    """A loss over the features of ``layers``, by the paper's names, of pictures that are made ``shrink`` times smaller.

    ``vgg`` is the network or its weights file, else the card vgg19's."""

    def __init__(self, layers: Sequence[str], vgg: VGG19 | str | None = None, shrink: int = 1) -> None:
        super().__init__()
        if not layers or (unknown := [layer for layer in layers if layer not in LAYERS]):
            raise ValueError(f"VGG-19 has no layer {unknown[0]}" if layers else "it needs a layer")
        if shrink < 1:
            raise ValueError("shrink is a whole number, 1 or more")
        self.layers, self.shrink = tuple(layers), shrink
        if not isinstance(vgg, VGG19):
            vgg = VGG19(find("vgg", Path(vgg) if vgg else None, "the loss its option vgg:"), max(layers))
        self.vgg = vgg

    def seen(self, step: Mapping[str, Tensor], name: str) -> list[Tensor]:
        """The features of the step's picture ``name``, which change from step to step."""
        if self.shrink > 1:
            return self.features(step[name])
        features = view(step, name, self.vgg.features)
        return [features[layer] for layer in self.layers]

    def features(self, image: Tensor) -> list[Tensor]:
        """Those of a picture that stays: see `zoo.loss.view`."""
        return self.vgg(F.avg_pool2d(image, self.shrink), self.layers)

    def grams(self, image: Tensor) -> list[Tensor]:
        return [gram(features) for features in self.features(image)]


class PerceptualLoss(FeatureLoss):
    """The result's features against those of the artist's picture of the same sitter (Johnson et al. 2016, eq. 2).

    The mean absolute difference instead of the squared one: lines that are slightly off count less.
    """

    needs = frozenset({"output", "paired_target"})
    compared: ClassVar[tuple[str, str]] = ("output", "paired_target")

    def __init__(
        self, layers: Sequence[str] = ("conv1_2", "conv2_2", "conv3_2"), vgg: VGG19 | str | None = None
    ) -> None:
        super().__init__(layers, vgg)

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        made, wanted = self.compared
        pairs = zip(self.seen(step, made), view(step, wanted, self.features))
        return torch.stack([F.l1_loss(one.float(), other.float()) for one, other in pairs]).mean()


class GeometryConsistencyLoss(PerceptualLoss):
    """What is made of a picture that is moved is what was made of it, moved (Fu et al. 2019, GcGAN): the result against ``steadied``,
    the mean absolute difference of colours and ``perceptual`` times that of features.

    Deviation: the paper's move is a quarter turn or a mirroring, whose results come from a network of their own, and both networks
    are taught. Here moves are small, and the middle of several is the target.
    """

    needs = frozenset({"output", "steadied"})
    compared = ("output", "steadied")

    def __init__(
        self,
        layers: Sequence[str] = ("conv1_2", "conv2_2", "conv3_2"),
        perceptual: float = 0.1,
        vgg: VGG19 | str | None = None,
    ) -> None:
        super().__init__(layers, vgg)
        if perceptual < 0:
            raise ValueError("perceptual is 0 or more")
        self.perceptual = perceptual

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        colours = F.l1_loss(step["output"].float(), step["steadied"])
        return colours + self.perceptual * super().forward(step) if self.perceptual else colours


class ContentLoss(FeatureLoss):
    """The result's features against the photograph's: mean squared difference (Gatys et al. 2016, eq. 1)."""

    needs = frozenset({"output", "source"})

    def __init__(self, layers: Sequence[str] = ("conv4_2",), vgg: VGG19 | str | None = None) -> None:
        super().__init__(layers, vgg)

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        pairs = zip(self.seen(step, "output"), view(step, "source", self.features))
        return torch.stack([F.mse_loss(made.float(), wanted.float()) for made, wanted in pairs]).mean()


class StructureLoss(FeatureLoss):
    """What looks alike in the photograph looks alike in the result (Kolkin et al. 2019, *STROTSS*, eq. 4): where a drawing
    shows what, and not how dark it is.

    For all pairs of positions the cosine distance of their features, each row over its sum; mean absolute difference,
    where 1 is as different as a row is long.
    """

    needs = frozenset({"output", "source"})

    def __init__(self, layers: Sequence[str] = ("conv4_1",), vgg: VGG19 | str | None = None) -> None:
        super().__init__(layers, vgg)

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        pairs = zip(self.seen(step, "output"), view(step, "source", self.distances))
        return torch.stack([(distances(made) - wanted).abs().sum(-1).mean() for made, wanted in pairs]).mean()

    def distances(self, image: Tensor) -> list[Tensor]:
        return [distances(features) for features in self.features(image)]


class StyleLoss(FeatureLoss):
    """The result's Gram matrices against those of a picture of the target domain (Gatys et al. 2016, eq. 3 to 5).

    The Gram matrix is divided by the number of positions; the layers count alike.
    """

    needs = frozenset({"output", "target"})

    def __init__(
        self, layers: Sequence[str] = ("conv1_1", "conv2_1", "conv3_1"), vgg: VGG19 | str | None = None
    ) -> None:
        super().__init__(layers, vgg)

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        pairs = zip(self.seen(step, "output"), view(step, "target", self.grams))
        return torch.stack([F.mse_loss(gram(made), wanted) for made, wanted in pairs]).mean()


class TotalVariationLoss(Loss):
    """The mean squared difference of neighbouring pixels, one below and one beside the other: less noise.

    ``chroma``: of colours only, when each pixel's brightness, the mean of its channels, is taken away: coloured fringes
    go, lines stay."""

    needs = frozenset({"output"})

    def __init__(self, chroma: bool = False) -> None:
        super().__init__()
        self.chroma = chroma

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        image = step["output"].float()
        if self.chroma:
            image = image - image.mean(1, keepdim=True)
        return image.diff(dim=-1).square().mean() + image.diff(dim=-2).square().mean()


class ToneLoss(Loss):
    """What is dark in the photograph is not what is light in the result: how far the correlation of their brightness is below
    ``least``, in pictures ``shrink`` times smaller; mean over the pictures.

    A network that knows nothing may begin with a negative, which `StructureLoss` does not mind, and out of which it does not
    find. Above ``least`` nothing is said: how light an artist draws hair is the artist's own.
    """

    needs = frozenset({"output", "source"})

    def __init__(self, least: float = 0.2, shrink: int = 8) -> None:
        super().__init__()
        if not -1 < least < 1 or shrink < 1:
            raise ValueError("least is between -1 and 1, shrink 1 or more")
        self.least, self.shrink = least, shrink

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        return self.missing(step).mean()

    def missing(self, step: Mapping[str, Tensor]) -> Tensor:
        """(N,): how far the correlation of each picture is below ``least``."""
        made, given = (self.compared(step[name].float()) for name in ("output", "source"))
        return F.relu(self.least - F.cosine_similarity(made, given, dim=1, eps=1e-4))

    def compared(self, image: Tensor) -> Tensor:
        """(N,3,H,W) -> (N,P): the brightness, less its mean."""
        shrink = min(self.shrink, *image.shape[2:])
        small = F.avg_pool2d(image.mean(1, keepdim=True), shrink).flatten(1)
        return small - small.mean(1, keepdim=True)


class HueLoss(ToneLoss):
    """What is red in the photograph is not blue in the result, where the artist works in colours: how far the correlation of their
    colours, less their brightness, is below ``least``, in pictures ``shrink`` times smaller; mean over the pictures.

    A network that has drawn in pencil so far knows no colours, and what holds the likeness (`StructureLoss`) does not mind which it
    takes: lips become black, and eyes red. How strong the colours are is the artist's own, and so is a tint of all. Beside a target
    in grey nothing is said.
    """

    needs = frozenset({"output", "source", "target"})

    def __init__(self, least: float = 0.7, shrink: int = 8) -> None:
        super().__init__(least, shrink)

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        return torch.where(in_colours(step["target"].float(), self.shrink), self.missing(step), 0.0).mean()

    def compared(self, image: Tensor) -> Tensor:
        return hues(image, self.shrink)


def hues(image: Tensor, shrink: int) -> Tensor:
    """(N,3,H,W) -> (N,3P): each channel less the mean of the three, and less its own mean, ``shrink`` times smaller."""
    small = F.avg_pool2d(image - image.mean(1, keepdim=True), min(shrink, *image.shape[2:])).flatten(2)
    return (small - small.mean(2, keepdim=True)).flatten(1)


def in_colours(image: Tensor, shrink: int = 4) -> Tensor:
    """(N,3,H,W) -> (N,): is it more than grey, or of one tint?"""
    return hues(image, shrink).square().mean(1).sqrt() > GREY


GREY = 0.03
"""Root mean square of such colours, in [-1, 1], up to which a drawing is grey: the paper's tint, and what JPEG adds."""


def gram(features: Tensor, weight: Tensor | None = None) -> Tensor:
    """features (N,C,h,w) -> how much any two of them occur together, (N,C,C): a mean over positions.

    ``weight`` (N,1,h,w), at least 0, says how much each position counts (Gatys et al. 2017, eq. 8)."""
    flat = features.flatten(2).float()
    with torch.autocast(flat.device.type, enabled=False):
        if weight is None:
            return flat @ flat.transpose(1, 2) / flat.shape[-1]
        shares = weight.flatten(2) / weight.flatten(2).sum(-1, keepdim=True).clamp(min=1e-8)
        return flat * shares @ flat.transpose(1, 2)


def distances(features: Tensor) -> Tensor:
    """features (N,C,h,w) -> the cosine distances of all positions to each other (N,P,P), each row over its sum."""
    with torch.autocast(features.device.type, enabled=False):
        unit = F.normalize(features.flatten(2).float(), dim=1, eps=1e-6)
        apart = 1 - unit.transpose(1, 2) @ unit
        return apart / apart.sum(-1, keepdim=True).clamp(min=1e-6)
