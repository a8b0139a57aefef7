"""What fusions are trained with beside the adversarial loss, which is the core's (Takagi & Okadome, eq. 4 to 10).

``source`` A, ``other`` B (N,3,H,W) in [-1,1]; ``output`` C their fusion by ``mix`` Λ (N,E) in [0,1]; ``reconstruction``
A', ``other_reconstruction`` B'. The paper's norms are means here, so that weights do not depend on the picture's size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.blocks.vgg import VGG19
from zoo.loss import Loss
from zoo.losses.perceptual import FeatureLoss, TotalVariationLoss, gram
from zoo_facefusion.regions import region_maps

LEAST = 2e-3
"""Mean absolute difference of colours that counts as none: of two people whose mouths are nearly alike."""

PAIR = ("reconstruction", "source"), ("other_reconstruction", "other")


class AutoencoderLoss(Loss):
    """Both faces come back: mean absolute difference of A' to A and of B' to B (eq. 10); of A' to A alone where there is
    one face."""

    needs = frozenset({"source", "reconstruction"})

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        pairs = [(made, face) for made, face in PAIR if made in step]
        return sum((F.l1_loss(step[made], step[face]) for made, face in pairs), start=step["source"].new_zeros(()))


class ReconstructionLoss(AutoencoderLoss):
    """`AutoencoderLoss`, and C is A where Λ is all 1, and B where it is all 0 (eq. 7)."""

    needs = AutoencoderLoss.needs | {"other", "output", "mix"}

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        ends = [
            (step["mix"] == share).all(1).float() * (step["output"] - step[face]).abs().mean((1, 2, 3))
            for share, face in ((1, "source"), (0, "other"))
        ]
        return super().forward(step) + torch.stack(ends).sum(0).mean()


class FusionVariationLoss(TotalVariationLoss):
    """The total variation of C, and of A' and B' where they are made (eq. 9)."""

    needs = frozenset({"output"})

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        total = step["output"].new_zeros(())
        for name in ("other_reconstruction", "output", "reconstruction"):
            if name in step:
                total = total + super().forward({"output": step[name]})
        return total


class _Nearness(FeatureLoss):
    """C's features against A's and B's, by the share that each has in the ``elements``, all of them unless given.

    VGG costs more than all else, so it may see ``samples`` of a batch, all unless given, and pictures of 1/``smaller`` of
    their size."""

    needs = frozenset({"source", "other", "output", "mix"})

    def __init__(
        self,
        layers: Sequence[str],
        elements: Sequence[int] | None,
        smaller: int,
        samples: int | None,
        vgg: VGG19 | str | None,
    ) -> None:
        super().__init__(layers, vgg)
        if smaller < 1 or samples == 0:
            raise ValueError("smaller and samples are 1 or more")
        self.elements, self.smaller, self.samples = elements, smaller, samples

    def compared(self, features: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        mix = step["mix"] if self.elements is None else step["mix"][:, list(self.elements)]
        share = mix.mean(1)[: self.samples]
        made, *faces = (self._features(step[name][: self.samples]) for name in ("output", "source", "other"))
        near, far = ([(c - f).square().flatten(1).mean(1) for c, f in zip(made, face)] for face in faces)
        layers = [share * a + (1 - share) * b for a, b in zip(near, far)]
        return torch.stack(layers).mean(1).sum()

    def _features(self, image: Tensor) -> list[Tensor]:
        small = F.avg_pool2d(image, self.smaller) if self.smaller > 1 else image
        return [self.compared(features).float() for features in self.features(small)]


class FusionContentLoss(_Nearness):
    """Shapes: deep features, mean squared difference (eq. 4). For each element its λ says whose; as the mean over the
    elements that is the share each face has."""

    def __init__(
        self,
        layers: Sequence[str] = ("conv4_1", "conv5_1"),
        elements: Sequence[int] | None = None,
        smaller: int = 1,
        samples: int | None = None,
        vgg: VGG19 | str | None = None,
    ) -> None:
        super().__init__(layers, elements, smaller, samples, vgg)

    def compared(self, features: Tensor) -> Tensor:
        return features


class FusionStyleLoss(_Nearness):
    """Colours and textures: Gram matrices of shallow features, squared Frobenius distance (eq. 5 and 6)."""

    def __init__(
        self,
        layers: Sequence[str] = ("conv1_1", "conv2_1", "conv3_1"),
        elements: Sequence[int] | None = None,
        smaller: int = 1,
        samples: int | None = None,
        vgg: VGG19 | str | None = None,
    ) -> None:
        super().__init__(layers, elements, smaller, samples, vgg)

    def compared(self, features: Tensor) -> Tensor:
        return gram(features)


class CompositeLoss(FeatureLoss):
    """C shows of each person the parts that Λ says: near ``composite`` (N,4,H,W), pixels, and how sure they are.

    The mean absolute difference of colours, in which hair, skin, eyes, nose and mouth of an average face count alike, small
    as some are, and ``perceptual`` times that of features (Johnson et al. 2016), of so many ``samples`` of a batch, all unless
    given, since VGG costs more than all else. Where nothing is sure any picture will do."""

    needs = frozenset({"output", "composite"})

    def __init__(
        self,
        layers: Sequence[str] = ("conv1_2", "conv2_2", "conv3_2"),
        perceptual: float = 0.1,
        samples: int | None = None,
        vgg: VGG19 | str | None = None,
    ) -> None:
        super().__init__(layers, vgg)
        if perceptual < 0 or samples == 0:
            raise ValueError("perceptual is 0 or more, samples 1 or more")
        self.perceptual, self.samples = perceptual, samples
        self.maps = torch.empty(0)

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        made, (wanted, sure) = step["output"].float(), step["composite"].split([3, 1], 1)
        if self.maps.shape[-2:] != made.shape[-2:]:
            maps = region_maps((made.shape[-2], made.shape[-1]), close=True).to(made)
            self.maps = (maps / maps.mean((1, 2), keepdim=True)).mean(0)  # 1 in the mean
        wanted = torch.lerp(made.detach(), wanted, sure)
        pixels = (self.maps * (made - wanted).abs()).mean()
        if not self.perceptual:
            return pixels
        pairs = zip(self.features(made[: self.samples]), self.features(wanted[: self.samples]))
        features = [F.l1_loss(one.float(), other.float()) for one, other in pairs]
        return pixels + self.perceptual * torch.stack(features).mean()


class ChangesLoss(Loss):
    """An element changes what is its own, and nothing else: where one λ is turned round, ``flipped`` differs from C as
    ``flipped_composite`` differs from ``composite``.

    The mean absolute difference of both changes, of colours and where they are sure, over that of the composites: 0 for a
    change that is as it shall be, 1 for none, above for one that reaches farther."""

    needs = frozenset({"output", "flipped", "composite", "flipped_composite"})

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        (before, sure), (after, as_sure) = (step[name].split([3, 1], 1) for name in ("composite", "flipped_composite"))
        where, wanted = torch.minimum(sure, as_sure), after - before
        off = where * ((step["flipped"] - step["output"]).float() - wanted).abs()
        whole = (where * wanted.abs()).mean((1, 2, 3))
        return (off.mean((1, 2, 3)) / (whole + LEAST)).mean()


class ElementsLoss(Loss):
    """Each element carries something: ``flipped`` is C with one λ turned round, and shall differ from it.

    Not in the paper, which found elements that do nothing (section 4.4). The change, a mean absolute difference, is held
    against an equal share of what lies between the two faces, |A' − B'| / E: 1 for no change at all, one half for that
    share, towards 0 above."""

    needs = frozenset({"output", "flipped", "mix", "reconstruction", "other_reconstruction"})

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        between = (step["reconstruction"] - step["other_reconstruction"]).detach().float().abs().mean((1, 2, 3))
        share = between / step["mix"].shape[1] + 1e-6
        change = (step["flipped"] - step["output"]).float().abs().mean((1, 2, 3))
        return (share / (share + change)).mean()
