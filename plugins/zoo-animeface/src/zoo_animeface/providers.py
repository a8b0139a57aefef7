"""What the losses of this plugin need, for trainers of others: points of faces, drawings grey and with blurred edges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.provider import Provider
from zoo.train.data import mixed
from zoo.trainer import Trainer
from zoo_animeface.edges import edge_blurred, grey
from zoo_animeface.points import of_68


class FacePoints(Provider):
    """``points``: the 40 of the photograph's face, its eyes as large as drawn ones."""

    needs = frozenset({"landmarks"})

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        return of_68(step["landmarks"].float())


class GreyTarget(Provider):
    """``grey_target``: the target's luma."""

    needs = frozenset({"target"})

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        return grey(step["target"])


class BlurredTarget(Provider):
    """``blurred``: the target with its edges blurred."""

    needs = frozenset({"target"})
    of_batch = True

    @torch.no_grad()
    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        target = step["target"]
        return torch.stack([edge_blurred(picture) for picture in target.float().cpu()]).to(target.device)


class RedrawnTarget(Provider):
    """``redrawn_target``: a quarter of the target, anywhere in it, which shows enough of what lines are like."""

    needs = frozenset({"target", "seed"})
    of_batch = True

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        target = step["target"]
        height, width = (max(4, side // 8 * 4) for side in target.shape[2:])
        quarters = []
        for drawing, seed in zip(target, step["seed"]):
            rng = torch.Generator().manual_seed(mixed(int(seed), 8))
            down, right = torch.rand(2, generator=rng).tolist()
            top, left = round(down * (target.shape[2] - height)), round(right * (target.shape[3] - width))
            quarters.append(drawing[:, top : top + height, left : left + width])
        return torch.stack(quarters)


class Redrawn(Provider):
    """``redrawn``: the quarter of the target, as small and coarse as what the generator draws first, redrawn by it."""

    needs = frozenset({"redrawn_target", "source", "coarse", "seed"})

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        generator = cast(Redraws, self.trainer.networks[self.trainer.exported])
        smaller = step["source"].shape[-1] // step["coarse"].shape[-1]
        quarters = step["redrawn_target"].float()
        return generator.redrawn(
            torch.stack([coarse(q, smaller, int(seed)) for q, seed in zip(quarters, step["seed"])])
        )


class Redraws(Protocol):
    """A generator that makes ``coarse``."""

    def redrawn(self, coarse: Tensor) -> Tensor:
        """Pictures (N,3,h,w) that were drawn first, in the size of the result."""


@torch.no_grad()
def coarse(drawing: Tensor, smaller: int, seed: int) -> Tensor:
    """A drawing (3,H,W) in [-1,1] so many times smaller, its lines lost as far as chance wants, with blots of colour."""
    rng = torch.Generator().manual_seed(mixed(seed, 7))
    kept, fine, strong = torch.rand(3, generator=rng).tolist()
    small = F.avg_pool2d(drawing[None], smaller)
    size = height, width = small.shape[2], small.shape[3]
    lost = F.interpolate(small, [round(side * (0.5 + kept / 2)) for side in size], mode="area")
    noise = torch.randn(1, 3, *(max(1, round(side * (0.1 + 0.9 * fine))) for side in size), generator=rng)
    blots = F.interpolate(0.12 * strong * noise.to(drawing.device), (height, width), mode="bilinear")
    return (F.interpolate(lost, (height, width), mode="bilinear") + blots).clamp(-1, 1)[0]


class _Judged(Provider):
    """What the trainer's discriminator says of the picture ``of``, while it learns."""

    of: str
    salt: int  # apart from the other pictures of the step

    @classmethod
    def misfit(cls, trainer: type[Trainer], phase: str) -> str:
        if trainer.judge is Trainer.judge:
            return "the trainer judges no pictures but those of its step"
        return "it is of the discriminator's phase" if trainer.exported in trainer.phases[phase] else ""

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        return self.trainer.judge(step[self.of], step, self.salt)


class BlurredLogits(_Judged):
    """``blurred_logits``, of drawings without clear edges."""

    needs, of, salt = frozenset({"blurred"}), "blurred", 100


class GreyLogits(_Judged):
    """``grey_logits``, of drawings without colours."""

    needs, of, salt = frozenset({"grey_target"}), "grey_target", 101
