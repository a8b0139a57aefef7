"""The Provider contract: what a loss needs and a trainer does not give, computed of what the step holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor, nn

if TYPE_CHECKING:
    from zoo.trainer import Trainer


class Provider(nn.Module):
    """Makes the tensor of the name that it is registered under, with hyphens where that has underscores.

    ``needs`` are the names that it reads; those may come from other providers. It is called once in a phase, and only
    if a loss of that phase asks for its name and the trainer does not give it; then for all that ask. Its networks
    stay as they are and are in no checkpoint. ``trainer`` is the one whose steps it completes. Options come from the
    recipe's ``providers``.
    """

    needs: frozenset[str] = frozenset()
    trainer: Trainer

    @classmethod
    def misfit(cls, trainer: type[Trainer], phase: str) -> str:
        """Why it can do nothing in ``phase`` of ``trainer``; "" if it can."""
        return ""

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        """The step's tensors by name -> the one that is provided, float32 unless it is a number of something."""
        raise NotImplementedError
