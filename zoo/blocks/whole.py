"""What layers know of the whole picture while the network sees a part of it.

An instance norm divides by the spread over all positions, a squeeze takes their mean, an attention looks at each of
them. Such a layer needs of the rest of the picture no more than a summary: moments, a mean, a sample of positions.
``Look`` hands these out. Networks are not changed for it: it stands between them and torch's own functions (`torch.
overrides`), so that it knows every layer made of ``F.instance_norm``, ``F.group_norm``, ``F.adaptive_avg_pool2d`` to
one position, and means over height and width. What torch has no function for is here: ``gram`` and ``everywhere``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode, handle_torch_function, has_torch_function

POSITIONS = 4096
"""How many positions stand for all of them in ``everywhere``, at most, when the picture is drawn in tiles."""


def gram(x: Tensor) -> Tensor:
    """x (N,C,H,W) -> (N,C,C): products of channels, summed over all positions of the picture."""
    if has_torch_function((x,)):
        return handle_torch_function(gram, (x,), x)
    flat = x.flatten(2)
    return flat @ flat.transpose(1, 2)


def everywhere(x: Tensor) -> Tensor:
    """x (N,C,H,W) -> (N,C,P): all positions of the picture; of one drawn in tiles a regular sample of them."""
    if has_torch_function((x,)):
        return handle_torch_function(everywhere, (x,), x)
    return x.flatten(2)


class Summary(NamedTuple):
    """What one layer took from the picture; float64 on the CPU, so that sums over many tiles lose nothing."""

    kind: str  # moments: mean and mean square (2,N,C,1,1); mean: (N,…); sample: (N,C,P)
    value: Tensor

    def joined(self, other: Summary, share: float) -> Summary:
        """With another tile's, which is ``share`` of the picture."""
        if self.kind == "sample":
            return Summary(self.kind, torch.cat([self.value, other.value], -1))
        return Summary(self.kind, self.value + share * other.value)

    def corrected(self, tiles: Summary, glance: Summary) -> Summary:
        """This one of the small picture, moved as the tiles' differs from the glance's before."""
        if self.kind == "sample":
            return tiles
        if self.kind == "mean":
            return Summary(self.kind, self.value + tiles.value - glance.value)
        (mean, spread), (theirs, wide), (before, narrow) = self.spread(), tiles.spread(), glance.spread()
        mean = mean + (theirs - before) * spread / narrow
        spread = spread * wide / narrow
        return Summary(self.kind, torch.stack([mean, spread.square() + mean.square()]))

    def spread(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of moments."""
        mean, square = self.value
        return mean, (square - mean.square()).clamp_min(1e-12).sqrt()


class Look(TorchFunctionMode):
    """While it is entered, layers of this thread are told of the whole picture what ``known`` says.

    Without ``known`` they are told what they see, set right by ``before``: pairs of what the tiles and what the small
    picture had shown. ``seen`` is what all runs saw together, ``told`` what the layers of the last one were told: one
    Summary for each question, in the order of asking. ``area`` is the whole picture's, ``extent`` that of what is run
    in parts: the same, or the small picture's.
    """

    def __init__(
        self,
        area: int,
        extent: int,
        known: Sequence[Summary] = (),
        before: Sequence[tuple[Summary, Summary]] = (),
    ) -> None:
        super().__init__()
        self.area, self.extent, self.known, self.before = area, extent, known, before
        self.seen: list[Summary] = []
        self.told: list[Summary] = []

    def at(self, size: tuple[int, int], core: tuple[slice, slice]) -> Look:
        """The next run sees (H, W) pixels, of which ``core`` counts: the rest is in the core of other tiles."""
        self.size, self.core, self.told = size, core, []
        return self

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        handler = _HANDLERS.get(func)
        answer = handler(self, *args, **(kwargs or {})) if handler else None
        return func(*args, **(kwargs or {})) if answer is None else answer

    def ask(self, kind: str, x: Tensor, measure: Callable[[Tensor], Tensor]) -> Tensor:
        """The whole picture's summary in place of ``measure`` of x (N,C,H,W), as float64 on the CPU."""
        height, width = self.size
        rows, columns = self.core
        scale = x.shape[-2] / height, x.shape[-1] / width
        own = x[
            ...,
            round(rows.start * scale[0]) : round(rows.stop * scale[0]),
            round(columns.start * scale[1]) : round(columns.stop * scale[1]),
        ]
        there = own.numel() > 0  # a core that counts for nothing may be given
        own = own if there else x
        share = (rows.stop - rows.start) * (columns.stop - columns.start) / self.extent
        with torch.autocast(x.device.type, enabled=False):
            summary = Summary(
                kind,
                measure(own.float()).double().cpu() if x.device.type != "mps" else measure(own.float()).cpu().double(),
            )
        turn = len(self.told)
        if turn == len(self.seen):
            empty = summary.value[..., :0] if kind == "sample" else torch.zeros_like(summary.value)
            self.seen.append(Summary(kind, empty))
        if there:
            self.seen[turn] = self.seen[turn].joined(summary, share)
        if self.known:
            summary = self.known[turn]
        elif self.before:
            summary = summary.corrected(*self.before[turn])
        self.told.append(summary)
        return summary.value

    def positions(self, x: Tensor, area: int) -> float:
        """How many positions a picture of ``area`` has in the layer of x."""
        return x.shape[-2] * x.shape[-1] * area / (self.size[0] * self.size[1])

    # Each of these answers in place of one of torch's or the zoo's functions, or None where that is to answer itself.

    def _mean(self, x: Tensor, dim: Any = None, keepdim: bool = False, **options: Any) -> Tensor | None:
        axes = (dim,) if isinstance(dim, int) else tuple(dim or ())
        if x.ndim != 4 or {axis % 4 for axis in axes} != {2, 3} or options.get("dtype"):
            return None
        mean = self.ask("mean", x, lambda own: own.mean((2, 3), keepdim=True)).to(x)
        return mean if keepdim else mean[..., 0, 0]

    def _pool(self, x: Tensor, output_size: Any) -> Tensor | None:
        if x.ndim != 4 or output_size not in (1, (1, 1), [1, 1]):
            return None
        return self._mean(x, (2, 3), keepdim=True)

    def _instance_norm(
        self,
        x: Tensor,
        running_mean: Tensor | None = None,
        running_var: Tensor | None = None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        use_input_stats: bool = True,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor | None:
        return self._group_norm(x, x.shape[1], weight, bias, eps) if use_input_stats else None

    def _group_norm(
        self, x: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
    ) -> Tensor | None:
        if x.ndim != 4:
            return None
        samples, channels = x.shape[:2]
        moments = self.ask("moments", x, _moments).reshape(2, samples, num_groups, -1)
        mean, square = moments.mean(-1).repeat_interleave(channels // num_groups, -1)[..., None, None]
        scale = (square - mean.square()).clamp_min(0).add(eps).rsqrt()
        shift = -mean * scale
        scale, shift = scale.to(x.device, torch.float32), shift.to(x.device, torch.float32)
        if weight is not None:
            scale, shift = scale * weight.view(-1, 1, 1), shift * weight.view(-1, 1, 1)
        if bias is not None:
            shift = shift + bias.view(-1, 1, 1)
        return torch.addcmul(shift, x.float(), scale).to(x.dtype)

    def _gram(self, x: Tensor) -> Tensor:
        def measure(own: Tensor) -> Tensor:
            flat = own.flatten(2)
            return flat @ flat.transpose(1, 2) / max(1, flat.shape[-1])

        return (self.ask("mean", x, measure) * self.positions(x, self.area)).to(x)

    def _everywhere(self, x: Tensor) -> Tensor:
        step = math.ceil(math.sqrt(self.positions(x, self.extent) / POSITIONS))
        return self.ask("sample", x, lambda own: own[..., step // 2 :: step, step // 2 :: step].flatten(2)).to(x)


def _moments(own: Tensor) -> Tensor:
    variance, mean = torch.var_mean(own, (2, 3), correction=0, keepdim=True)
    mean = mean.double()
    return torch.stack([mean, variance.double() + mean.square()])


_HANDLERS: dict[Any, Callable[..., Tensor | None]] = {
    F.instance_norm: Look._instance_norm,
    F.group_norm: Look._group_norm,
    F.adaptive_avg_pool2d: Look._pool,
    torch.mean: Look._mean,
    Tensor.mean: Look._mean,
    gram: Look._gram,
    everywhere: Look._everywhere,
}
