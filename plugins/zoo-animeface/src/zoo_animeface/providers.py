"""What the losses of this plugin need, for trainers of others: points of faces, drawings grey and with blurred edges."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from zoo.provider import Provider
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
