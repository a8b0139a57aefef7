"""Going downhill towards a picture: L-BFGS or Adam, the best so far at any time, coarse to fine."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.blocks.vgg import VGG19
from zoo.progress import Stopped, tell

log = logging.getLogger(__name__)

SMALLEST = VGG19.minimum
"""A picture is not begun smaller than this along its short side."""

Objective = Callable[[Tensor], tuple[Tensor, dict[str, float]]]
"""A picture (1,3,H,W) -> what shall become small, and the terms that it is the sum of."""


@dataclass(frozen=True)
class Plan:
    """How an optimisation is run. ``iterations`` are the pictures that are tried, over all ``levels`` together."""

    iterations: int
    levels: int = 1
    optimiser: str = "lbfgs"
    rate: float = 0.02  # Adam's step in [-1, 1]; L-BFGS finds its own

    def sizes(self, height: int, width: int) -> list[tuple[int, int]]:
        """The sizes to work at, from a power of two below up to the whole."""
        deepest = 1 + int(math.log2(max(min(height, width) / SMALLEST, 1)))
        levels = min(self.levels, self.iterations, deepest)
        return [(round(height / 2**k), round(width / 2**k)) for k in reversed(range(levels))]

    def shares(self, levels: int) -> list[int]:
        """Iterations by level: the same for each, and what is left for the last."""
        each = self.iterations // levels
        return [each] * (levels - 1) + [self.iterations - (levels - 1) * each]


def optimise(start: Tensor, source: Tensor, at_size: Callable[[tuple[int, int]], Objective], plan: Plan) -> Tensor:
    """The picture (1,3,H,W) that ``plan`` finds from ``start``, which has the size of ``source``.

    ``at_size`` gives the objective for pictures of a size. From a level to the next goes what was changed, so that the
    photograph's detail is not lost. Ctrl-C raises `Stopped` with the best so far."""
    sizes = plan.sizes(*source.shape[-2:])
    done = 0
    picture = scaled(start, sizes[0])
    for size, share in zip(sizes, plan.shares(len(sizes))):
        if picture.shape[-2:] != size:
            picture = scaled(source, size) + scaled(picture - scaled(source, size_of(picture)), size)
        run = _Run(picture, at_size(size), done, plan.iterations)
        try:
            run.go(share, plan)
        except KeyboardInterrupt:
            log.warning("stopped after %d of %d iterations: this is the best so far", max(run.done, 0), plan.iterations)
            found = run.best
            if found.shape != source.shape:
                found = source + scaled(found - scaled(source, size), size_of(source))
            raise Stopped(found.clamp(-1, 1)) from None
        picture, done = run.best, run.done
    return picture.clamp(-1, 1)


FIRST = 0.02
"""How far L-BFGS goes with its first step, mean over the colours in [-1, 1]. The others it finds itself."""


class _Enough(Exception):
    """All evaluations are used up: an optimiser asks for more in the middle of its search."""


class _Run:
    """One level: evaluates, tells, and remembers the best.

    L-BFGS does not mind how a problem is scaled but for its first step, the gradient over the sum of its parts, and for
    curvature below 1e-10, which torch takes for none. So it sees the picture over ``unit``, and the objective times
    ``factor``: the first step is FIRST, and nothing is small."""

    def __init__(self, picture: Tensor, objective: Objective, done: int, total: int) -> None:
        picture = picture.detach().clone(memory_format=torch.contiguous_format)  # as L-BFGS wants it and its gradient
        self.best, self.least = picture, math.inf
        self._objective, self.done, self._total = objective, done, total
        self.unit, self.factor, self._left = 1.0, 1.0, 0
        self.variable = picture.clone().requires_grad_()

    def go(self, share: int, plan: Plan) -> None:
        """Evaluate the beginning, and ``share`` pictures after it."""
        self._left, self.done = share + 1, self.done - 1
        with suppress(_Enough):
            if plan.optimiser == "adam":
                adam = torch.optim.Adam([self.variable], plan.rate)
                while True:
                    adam.step(self._evaluate)
            value = self._evaluate()
            if self.variable.grad is None or float(self.variable.grad.abs().sum()) < 1e-20:
                return  # nothing to change: no object, say
            known = [self._scale(value)]
            before = math.inf
            while self.least < before:  # its memory may lead it uphill, where it stops: then begin anew from the best
                before = self.least
                lbfgs = torch.optim.LBFGS(
                    [self.variable],
                    max_iter=share,
                    history_size=20,
                    tolerance_grad=0,
                    tolerance_change=0,
                    line_search_fn="strong_wolfe",
                )
                lbfgs.step(lambda: known.pop() if known else self._evaluate())
                self.variable = (self.best / self.unit).requires_grad_()

    def _scale(self, value: float) -> float:
        """Choose ``unit`` and ``factor``; what was found at the beginning is still known."""
        gradient = self.variable.grad
        assert gradient is not None
        self.unit = FIRST * gradient.numel()
        self.factor = 1e6 / (self.unit * float(gradient.abs().sum()))
        self.variable = (self.best / self.unit).requires_grad_()
        self.variable.grad = gradient * (self.unit * self.factor)
        return value * self.factor

    def _evaluate(self) -> float:
        if not self._left:
            raise _Enough
        self._left -= 1
        self.variable.grad = None
        picture = self.variable * self.unit
        loss, terms = self._objective(picture)
        (loss * self.factor).backward()
        value = float(loss.detach())
        if value < self.least:
            self.least = value
            self.best.copy_(picture.detach())
        self.done += 1
        what = "  ".join(f"{name} {number:.3g}" for name, number in terms.items())
        tell(what, self.done, self._total, self.best.clamp(-1, 1))
        return value * self.factor


def size_of(image: Tensor) -> tuple[int, int]:
    """Height and width."""
    return image.shape[-2], image.shape[-1]


def scaled(image: Tensor, size: tuple[int, int]) -> Tensor:
    """image (N,C,H,W) at another size, antialiased."""
    if image.shape[-2:] == size:
        return image
    return F.interpolate(image, size, mode="bicubic", antialias=True)
