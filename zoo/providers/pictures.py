"""Pictures that a step could hold: what the target domain looks like, and what becomes of it."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from zoo.provider import Provider
from zoo.trainer import Trainer


class Target(Provider):
    """``target`` where photographs are all there is: results shall look like these."""

    needs = frozenset({"source"})

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        return step["source"]


class Identity(Provider):
    """``identity``: what the generator makes of a picture that is as results shall be."""

    needs = frozenset({"target"})

    @classmethod
    def misfit(cls, trainer: type[Trainer], phase: str) -> str:
        if trainer.teaches != "image":
            return "the trainer makes no pictures"
        return "" if trainer.exported in trainer.phases[phase] else "it is of the generator's phase"

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        target, trainer = step["target"], self.trainer
        hand = step["hand"] if "hand" in step else target.new_zeros(len(target)).long()
        return trainer.draw(trainer.networks[trainer.exported], target, hand)
