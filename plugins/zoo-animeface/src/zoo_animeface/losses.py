"""What the thesis trains with beside the adversarial loss, which is the core's (chapters 2 and 3)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.blocks.vgg import VGG19
from zoo.faces.parsing import PARTS
from zoo.loss import Loss, view
from zoo.losses.adversarial import OBJECTIVES
from zoo.losses.perceptual import FeatureLoss, PerceptualLoss, gram
from zoo.losses.pixelwise import unevenness
from zoo_animeface.dan import Dan, load_dan
from zoo_animeface.points import GROUPS, NAMES, SIDE
from zoo_animeface.skin import parts_of


class LandmarkLoss(Loss):
    """The points that a detector finds in the result against the photograph's (eq. 3.4), by the wing loss.

    Mean over coordinates, in pixels of pictures of 112, and over the faces; a photograph without a face counts
    nothing. The photograph's points are ``points`` (N,40,2), in shares, NaN where there is no face: the trainer's, or
    those that the provider of that name looks for, each time.

    ``without`` are groups of points that count nothing, by their names in `zoo_animeface.points.GROUPS`: a drawn nose is a dot
    that lies lower than a photograph's, and is drawn twice if it is wanted at both places.
    ``dan`` is the detector or its weights file, else the card dan-anime's. ``constant``: the value without its gradient, which is how
    the thesis's own program adds it: generated pictures leave the graph there on their way to the detector, so it
    teaches nothing. For comparison only.
    """

    needs = frozenset({"points", "output"})

    def __init__(
        self,
        dan: Dan | str | None = None,
        width: float = 5.0,
        epsilon: float = 2.0,
        constant: bool = False,
        without: Sequence[str] = (),
    ) -> None:
        super().__init__()
        if not (width > 0 and epsilon > 0):
            raise ValueError("width and epsilon are above 0")
        if unknown := sorted(set(without) - GROUPS.keys()):
            raise ValueError(f"there are no points {unknown[0]!r}: they are {', '.join(GROUPS)}")
        self.kept = [
            i for name, (part, _) in GROUPS.items() if name not in without for i in range(part.start, part.stop)
        ]
        if not self.kept:
            raise ValueError("some points have to count")
        self.dan = dan if isinstance(dan, Dan) else load_dan(dan)
        self.width, self.epsilon, self.constant = width, epsilon, constant

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        wanted = step["points"]
        output = step["output"].float()
        with torch.autocast(output.device.type, enabled=False):  # pixels are counted in fractions
            found = self.dan.points(output.detach() if self.constant else output)
        known = wanted.isfinite().flatten(1).all(1)
        off = ((found - wanted.nan_to_num()) * SIDE)[:, self.kept]
        each = wing(off, self.width, self.epsilon).flatten(1).mean(1)
        return torch.where(known, each, 0.0).sum() / known.sum().clamp(min=1)


def wing(x: Tensor, width: float = 5.0, epsilon: float = 2.0) -> Tensor:
    """The wing loss of each number (Feng et al. 2018, eq. 5): w·ln(1 + |x|/ε) below w, and |x| − C from there on.

    C = w − w·ln(1 + w/ε) makes it continuous. Deviation: the thesis prints another C in eq. 3.1, its listing has this one.
    """
    size = x.abs()
    shift = width - width * math.log1p(width / epsilon)
    return torch.where(size < width, width * torch.log1p(size / epsilon), size - shift)


class CartoonContentLoss(FeatureLoss):
    """The result's features against the photograph's: mean absolute difference at conv4_4 (eq. 2.7).

    The filters of the card vgg19's network have a mean activation of 1, so two different photographs are about 2 apart.
    With ``shrink`` it compares pictures made so many times smaller: where things are stays, how they look is free.
    """

    needs = frozenset({"output", "source"})

    def __init__(self, layers: Sequence[str] = ("conv4_4",), shrink: int = 1, vgg: VGG19 | str | None = None) -> None:
        super().__init__(layers, vgg, shrink)

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        pairs = zip(self.seen(step, "output"), view(step, "source", self.features))
        return torch.stack([F.l1_loss(made.float(), wanted.float()) for made, wanted in pairs]).mean()


class GreyStyleLoss(FeatureLoss):
    """The result's Gram matrices against those of a grey anime picture: mean absolute difference (eq. 2.9).

    It teaches textures and lines, not colours. With ``shrink`` it sees pictures so many times smaller.
    """

    needs = frozenset({"output", "grey_target"})

    def __init__(self, layers: Sequence[str] = ("conv4_4",), shrink: int = 1, vgg: VGG19 | str | None = None) -> None:
        super().__init__(layers, vgg, shrink)

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        pairs = zip(self.seen(step, "output"), view(step, "grey_target", self.grams))
        return torch.stack([F.l1_loss(gram(made), wanted) for made, wanted in pairs]).mean()


class RedrawLoss(PerceptualLoss):
    """Drawings that were made small and coarse, redrawn by the generator, against what they were: mean absolute difference of
    colours, and of VGG-19's features (Johnson et al. 2016).

    It teaches what lines are like in the full size (Wang et al. 2021, *Real-ESRGAN*, whose pairs are made of one picture, too).
    """

    needs = frozenset({"redrawn", "redrawn_target"})
    compared = ("redrawn", "redrawn_target")

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        return F.l1_loss(step["redrawn"].float(), step["redrawn_target"].float()) + super().forward(step)


class PlainSkinLoss(Loss):
    """Skin that a photograph shows bare is drawn bare and in one colour: mean absolute difference of neighbouring pixels there, one
    below and one beside the other, of the result and of the result made four times smaller; and of that one from its mean.

    Nearly all drawn faces have a fringe, so that a critic wants its strands, or its colour, on every forehead. What is skin, neck or
    hair is seen by the core's `zoo.faces.parsing`; its edges are free, and so are brows, eyes, nose and mouth, where ``points`` wants
    them drawn.
    """

    needs = frozenset({"output", "source", "points"})

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        bare = bare_skin(view(step, "source", parts_of), step["points"])
        image = step["output"].float()
        small = F.avg_pool2d(image, 4)
        few = F.interpolate(bare, small.shape[2:], mode="bilinear")
        colour = (small * few).sum((2, 3), keepdim=True) / few.sum((2, 3), keepdim=True).clamp(min=1)
        apart = ((small - colour).abs().mean(1, keepdim=True) * few).sum() / few.sum().clamp(min=1)
        return unevenness_twice(image, bare) + apart


class PlainWallLoss(Loss):
    """What is behind a person and even in the photograph is even in the result: mean absolute difference of neighbouring pixels there,
    one below and one beside the other, of the result and of the result made four times smaller.

    Networks that are taught to outline heads go on outlining before a wall, like the rings around a stone in water.
    """

    needs = frozenset({"output", "source"})

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        return unevenness_twice(step["output"].float(), view(step, "source", even_wall))


class MouthLoss(Loss):
    """A mouth stays as open as the photograph's: mean absolute difference of brightness, the mean of the channels, where it has
    lips and teeth, of pictures in half the size.

    A drawn mouth is a short line, nearly always, so that a critic shuts every smile. What colour lips have is left to it."""

    needs = frozenset({"output", "source"})

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        parts = view(step, "source", parts_of)
        made, given = (F.avg_pool2d(step[name].float().mean(1, keepdim=True), 2) for name in ("output", "source"))
        mouth = F.interpolate(parts[:, [PARTS.index("mouth")]], made.shape[2:], mode="bilinear")
        return ((made - given).abs() * mouth).sum() / mouth.sum().clamp(min=1)


def unevenness_twice(image: Tensor, where: Tensor) -> Tensor:
    """`unevenness` of pictures (N,3,H,W) and of the same made four times smaller, where a mask (N,1,h,w) of any size is."""
    both = (image, F.avg_pool2d(image, 4))
    fine, coarse = (unevenness(x, F.interpolate(where, x.shape[2:], mode="bilinear")) for x in both)
    return fine + coarse


def inner(masks: Tensor) -> Tensor:
    """Masks (N,C,h,w) of `parts_of` without their edges, which are free."""
    return -F.max_pool2d(-masks, 7, 1, 3)


@torch.no_grad()
def even_wall(photo: Tensor) -> Tensor:
    """(N,1,h,w) from 0 to 1: where photographs (N,3,H,W) in [-1,1] show something behind people that is even around there."""
    parts = parts_of(photo)
    behind = inner(parts[:, [PARTS.index("background")]])
    small = F.interpolate(photo.float(), parts.shape[2:], mode="bilinear", antialias=True)
    spread = (F.max_pool2d(small, 7, 1, 3) + F.max_pool2d(-small, 7, 1, 3)).amax(1, keepdim=True)
    return behind * (1.5 - spread / EVEN).clamp(0, 1)


EVEN = 0.2
"""By how much colours in [-1,1] differ within 7 of 128 pixels of what is even, at most by half more."""


def bare_skin(parts: Tensor, points: Tensor) -> Tensor:
    """(N,1,h,w) from 0 to 1: where there is skin in planes (N,12,h,w) of `parts_of` and nothing is to be drawn; 0 without a face."""
    skin, nose, neck = (parts[:, PARTS.index(part)] for part in ("skin", "nose", "neck"))
    bare = inner(torch.stack([skin + nose, neck], 1))
    y, x = ((torch.arange(side, device=parts.device) + 0.5) / side for side in parts.shape[2:])
    places = torch.stack([x.expand(len(y), -1), y[:, None].expand(-1, len(x))], -1)
    pupils = torch.stack([points[:, GROUPS[eye][0]].mean(1) for eye in ("eye-right", "eye-left")], 1)
    spots = torch.cat([points, pupils], 1).nan_to_num().to(places)
    away = torch.cdist(places.flatten(0, 1)[None], spots)  # (N,hw,42), in shares of the side
    free = (away > away.new_tensor(DRAWN)).all(2).view(-1, *places.shape[:2])
    known = points.isfinite().flatten(1).all(1)[:, None, None]
    return (bare.sum(1) * free * known)[:, None]


NEAR = {"jaw": 0.0, "brow": 0.02, "eye": 0.035, "nose": 0.05, "mouth": 0.03}
"""How near a point of these groups something is drawn, in shares of the side."""

DRAWN = [*(NEAR[name.rstrip("0123456789").split("-")[0]] for name in NAMES), 0.06, 0.06]
"""The same of each point, and of the pupils."""


class ColourLoss(Loss):
    """The photograph's colours stay: YUV of pictures in [0,1], Y by absolute difference, U and V by Huber's (eq. 2.10).

    Deviation: the thesis prints Y twice; the second is U, as in AnimeGAN (Chen et al. 2020, eq. 5).
    """

    needs = frozenset({"output", "source"})
    matrix: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("matrix", torch.tensor(YUV), persistent=False)

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        made, wanted = (torch.einsum("kc,nchw->knhw", self.matrix, step[k].float() / 2) for k in ("output", "source"))
        return F.l1_loss(made[0], wanted[0]) + F.huber_loss(made[1], wanted[1]) + F.huber_loss(made[2], wanted[2])


YUV = ((0.299, 0.587, 0.114), (-0.147, -0.289, 0.436), (0.615, -0.515, -0.100))
"""Rows make Y, U and V of red, green and blue (BT.601)."""


class EdgeCriticLoss(Loss):
    """The discriminator's side: anime is real; results, and anime with blurred edges, are fakes (eq. 2.6).

    With ``blurred`` and ``grey`` the blurred and grey anime count so much; AnimeGAN wants both, so that results get
    clear edges, and colours. ``objective`` is one of the core's `zoo.losses.adversarial`.
    """

    needs = frozenset({"real_logits", "fake_logits", "blurred_logits"})

    def __init__(self, objective: str = "logistic", blurred: float = 1.0, grey: float = 0.0) -> None:
        super().__init__()
        if objective not in OBJECTIVES:
            raise ValueError(f"objective {objective!r} is not one of {', '.join(OBJECTIVES)}")
        self.score = OBJECTIVES[objective]
        self.fakes = {"fake_logits": 1.0, "blurred_logits": blurred, "grey_logits": grey}
        self.fakes = {name: weight for name, weight in self.fakes.items() if weight}
        self.needs = frozenset({"real_logits", *self.fakes})

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        real = self.score(step["real_logits"], True)
        return torch.stack([real, *(w * self.score(step[name], False) for name, w in self.fakes.items())]).sum()
