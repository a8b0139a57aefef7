"""Metrics on sets: all that a model made beside all that the artist drew, in Inception's features; needs no pairs."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from zoo.evaluate.inception import Inception
from zoo.evaluate.metric import Metric, MetricResult, Tools, View

FEW = 2048  # pictures; with fewer the covariance of 2048 features has no full rank


class Moments:
    """Mean and covariance of vectors, streaming: count, sum and sum of outer products in float64, on the CPU."""

    def __init__(self) -> None:
        self.n = 0

    def add(self, features: Tensor) -> None:
        """``features`` (N, D)."""
        x = features.cpu().double()
        if self.n == 0:
            self.sum, self.outer = x.new_zeros(x.shape[1]), x.new_zeros(x.shape[1], x.shape[1])
        self.n += len(x)
        self.sum += x.sum(dim=0)
        self.outer += x.T @ x

    def mean(self) -> Tensor:
        return self.sum / self.n

    def covariance(self) -> Tensor:
        """Unbiased, (D, D); needs two vectors."""
        return (self.outer - torch.outer(self.sum, self.sum) / self.n) / (self.n - 1)


def frechet_distance(a: Moments, b: Moments) -> float:
    """|μa − μb|² + tr(Σa + Σb − 2 (Σa Σb)^½), the squared Fréchet distance of two Gaussians."""
    first, second = a.covariance(), b.covariance()
    values, vectors = torch.linalg.eigh(first)
    sure = values > values[-1] * len(values) * torch.finfo(values.dtype).eps  # the rest is rounding: few pictures
    root = vectors[:, sure] * values[sure].sqrt()  # Σa = root rootᵀ
    # Σa Σb has the eigenvalues of the symmetric rootᵀ Σb root, which are real and not negative
    cross = torch.linalg.eigvalsh(root.T @ second @ root).clamp_min(0).sqrt().sum()
    distance = (a.mean() - b.mean()).square().sum() + first.trace() + second.trace() - 2 * cross
    return max(0.0, float(distance))


def kernel_distance(x: Tensor, y: Tensor) -> float:
    """Unbiased squared maximum mean discrepancy of x (N, D) and y (M, D), kernel (x·y / D + 1)³; may be below 0."""
    x, y = x.cpu().double(), y.cpu().double()

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T / a.shape[1] + 1) ** 3

    def within(a: Tensor) -> Tensor:
        k = kernel(a, a)
        return (k.sum() - k.trace()) / (len(a) * (len(a) - 1))

    return float(within(x) + within(y) - 2 * kernel(x, y).mean())


class _InceptionMetric(Metric):
    def __init__(self, tools: Tools) -> None:
        super().__init__(tools)
        self.network = tools.network(Inception, "inception")
        self.protocol = {
            "network": f"Inception-v3 of 2015-12-05, 2048 features, {tools.identity('inception')}",
            "size": "299×299, antialiased bicubic in float",
            "colour": "8-bit RGB in [-1, 1], grey repeated",
        }


class FidMetric(_InceptionMetric):
    """Fréchet Inception distance (Heusel et al. 2017); smaller is better. Compare it at equal n only."""

    name = "fid"

    def __init__(self, tools: Tools) -> None:
        super().__init__(tools)
        self.made, self.drawn = Moments(), Moments()

    def update(self, made: View | None, drawn: View | None) -> None:
        for view, moments in ((made, self.made), (drawn, self.drawn)):
            if view is not None:
                moments.add(view.features(self.network))

    def result(self) -> MetricResult | None:
        if min(self.made.n, self.drawn.n) < 2:
            return None
        protocol = {**self.protocol, "drawings": str(self.drawn.n)}
        if min(self.made.n, self.drawn.n) < FEW:
            protocol["bias"] = f"fewer than {FEW} pictures: compare at equal n only"
        value = frechet_distance(self.made, self.drawn)
        return MetricResult(name=self.name, value=value, n=self.made.n, seed=self.tools.seed, protocol=protocol)


class KidMetric(_InceptionMetric):
    """Kernel Inception distance (Bińkowski et al. 2018); smaller is better, and about 0 for sets of one kind.

    Up to ``subset`` pictures a side all are compared at once; of more, ``subsets`` random ones, drawn by the seed.
    """

    name = "kid"
    subset, subsets = 1000, 100

    def __init__(self, tools: Tools) -> None:
        super().__init__(tools)
        self.made: list[Tensor] = []
        self.drawn: list[Tensor] = []

    def update(self, made: View | None, drawn: View | None) -> None:
        for view, features in ((made, self.made), (drawn, self.drawn)):
            if view is not None:
                features.append(view.features(self.network).cpu())

    def result(self) -> MetricResult | None:
        if min(len(self.made), len(self.drawn)) < 2:
            return None
        values = torch.tensor([kernel_distance(x, y) for x, y in self._subsets()], dtype=torch.float64)
        split = "all at once" if len(values) == 1 else f"{self.subsets} subsets of {self.subset}"
        return MetricResult(
            name=self.name,
            value=float(values.mean()),
            std=float(values.std()) if len(values) > 1 else None,
            n=len(self.made),
            seed=self.tools.seed,
            protocol={**self.protocol, "drawings": str(len(self.drawn)), "kernel": f"(x·y/2048 + 1)³, {split}"},
        )

    def _subsets(self) -> Iterator[tuple[Tensor, Tensor]]:
        made, drawn = torch.cat(self.made), torch.cat(self.drawn)
        if max(len(made), len(drawn)) <= self.subset:
            yield made, drawn
            return
        dice = torch.Generator().manual_seed(self.tools.seed)
        for _ in range(self.subsets):
            yield self._draw(made, dice), self._draw(drawn, dice)

    def _draw(self, features: Tensor, dice: torch.Generator) -> Tensor:
        return features[torch.randperm(len(features), generator=dice)[: self.subset]]
