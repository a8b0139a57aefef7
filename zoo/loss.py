"""The Loss contract: named tensors of a training step in, one number out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from torch import Tensor, nn

T = TypeVar("T")


class Loss(nn.Module):
    """A term of a training objective.

    ``needs`` are the names it reads from the step; they are checked against what the trainer provides before the
    first step. ``forward`` gives a scalar in float32. The weight belongs to the recipe, not to the loss.
    """

    needs: frozenset[str] = frozenset()

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        """The step's tensors by name -> one number, float32."""
        raise NotImplementedError


class Views(dict[str, Tensor]):
    """A step's tensors by name, and what losses computed of them: features that several look at are computed once.

    ``others`` hold tensors that are seen elsewhere, too, such as those that stay from step to step."""

    def __init__(self, tensors: Mapping[str, Tensor], *others: Views) -> None:
        super().__init__()
        for other in others:
            self.update(other)
        self.update(tensors)
        self._others = {name: other for other in others for name in other if name not in tensors}
        self._made: dict[tuple[str, Callable[[Tensor], Any]], Any] = {}

    def view(self, name: str, make: Callable[[Tensor], T]) -> T:
        """``make`` of the tensor ``name``."""
        if name in self._others:
            return self._others[name].view(name, make)
        if (name, make) not in self._made:
            self._made[name, make] = make(self[name])
        return self._made[name, make]


def view(step: Mapping[str, Tensor], name: str, make: Callable[[Tensor], T]) -> T:
    """``make`` of the step's tensor ``name``; made once for all losses that ask, where the step remembers."""
    return step.view(name, make) if isinstance(step, Views) else make(step[name])
