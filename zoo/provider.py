"""The Provider contract: what a loss needs and a trainer does not give, computed of what the step holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor, nn

if TYPE_CHECKING:
    from zoo.trainer import Trainer


class Provider(nn.Module):
    """Makes the tensor of the name that it is registered under, with hyphens where that has underscores.

    ``needs`` are the names that it reads; those may come from other providers. It is called only if a loss asks for its
    name and the trainer does not give it, then for all that ask: once in a phase, or once in a step if it is ``of_batch``,
    made by the batch alone and no network that learns. Its networks stay as they are and are in no checkpoint.
    ``trainer`` is the one whose steps it completes. Options come from the recipe's ``providers``.
    """

    needs: frozenset[str] = frozenset()
    of_batch: bool = False
    trainer: Trainer
    _last: tuple[list[Tensor], Tensor] | None = None

    @classmethod
    def misfit(cls, trainer: type[Trainer], phase: str) -> str:
        """Why it can do nothing in ``phase`` of ``trainer``; "" if it can."""
        return ""

    def made(self, step: Mapping[str, Tensor]) -> Tensor:
        """What it makes of the step; again the same if it is ``of_batch`` and reads what it read last."""
        read = [step[name] for name in sorted(self.needs)]
        if self._last and all(one is other for one, other in zip(read, self._last[0])):
            return self._last[1]
        made: Tensor = self(step)
        made = made.float() if made.is_floating_point() else made
        self._last = (read, made) if self.of_batch else None
        return made

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        """The step's tensors by name -> the one that is provided, float32 unless it is a number of something."""
        raise NotImplementedError
