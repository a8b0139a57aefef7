"""Metrics on pairs: what a model made of a sitter beside what the artist drew of the same sitter; the mean over pairs.

The pictures are compared as they are, at the drawing's size: LPIPS and SSIM change strongly with the resolution, so
nothing is scaled unless the model gives another size. Grey drawings are compared in RGB with the grey repeated; a
model that colours its lines is not forgiven.
"""

from __future__ import annotations

import statistics
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

from torch.nn import functional as F

from zoo.blocks.vgg import VGG19
from zoo.errors import ImageError, UsageError
from zoo.evaluate.lpips import LPIPS
from zoo.evaluate.metric import Metric, MetricResult, Tools, View


class PairMetric(Metric):
    """The mean of ``distance`` over pairs. ``minimum`` is the shortest side that the measure takes."""

    minimum = 1
    measure: dict[str, str]  # its part of the protocol

    def __init__(self, tools: Tools) -> None:
        super().__init__(tools)
        self.values: list[float] = []

    @abstractmethod
    def distance(self, made: View, drawn: View) -> float:
        """Of two pictures of one size."""

    def update(self, made: View | None, drawn: View | None) -> None:
        if made is None or drawn is None:
            return
        size = drawn.picture.shape[-2:]
        if min(size) < self.minimum:
            raise ImageError(f"{self.name} needs pictures of at least {self.minimum} pixels a side", "give larger ones")
        if made.picture.shape[-2:] != size:
            made = View(F.interpolate(made.picture, size, mode="bicubic", antialias=True).clamp(-1, 1))
        self.values.append(self.distance(made, drawn))

    def result(self) -> MetricResult | None:
        if not self.values:
            return None
        return MetricResult(
            name=self.name,
            value=statistics.fmean(self.values),
            std=statistics.stdev(self.values) if len(self.values) > 1 else None,
            n=len(self.values),
            seed=self.tools.seed,
            protocol={
                **self.measure,
                "size": "the drawing's; a result of another size is scaled to it, antialiased bicubic",
                "colour": "8-bit RGB, grey repeated",
            },
        )


class LpipsMetric(PairMetric):
    """Perceptual distance (Zhang et al. 2018); smaller is better."""

    name = "lpips"
    minimum = LPIPS.minimum

    def __init__(self, tools: Tools) -> None:
        super().__init__(tools)
        self.network = tools.network(LPIPS, "lpips")
        self.measure = {"network": f"AlexNet with LPIPS 0.1 heads, {tools.identity('lpips')}"}

    def distance(self, made: View, drawn: View) -> float:
        return float(self.network(made.picture, drawn.picture))


class VggMetric(PairMetric):
    """Mean squared difference of VGG-19's conv4_2 (Gatys et al. 2016, eq. 1, per feature); smaller is better."""

    name = "vgg"
    minimum = VGG19.minimum

    def __init__(self, tools: Tools) -> None:
        super().__init__(tools)
        self.network = tools.network(VGG19, "vgg")
        self.measure = {"network": f"normalised VGG-19, conv4_2, mean squared difference, {tools.identity('vgg')}"}

    def distance(self, made: View, drawn: View) -> float:
        return float(F.mse_loss(made.features(self.network)[0], drawn.features(self.network)[0]))


class SsimMetric(PairMetric):
    """Structural similarity (Wang et al. 2004), 1 for equal pictures; larger is better."""

    name = "ssim"
    minimum = 11

    def __init__(self, tools: Tools) -> None:
        super().__init__(tools)
        try:
            from torchmetrics.functional.image import structural_similarity_index_measure
        except ImportError as error:
            raise UsageError("ssim needs torchmetrics", "pip install 'zoo-core[eval]'") from error
        self.ssim: Callable[..., Any] = structural_similarity_index_measure
        self.measure = {"window": "Gaussian 11×11, sigma 1.5, K1 0.01, K2 0.03, in [0, 1], mean over the channels"}

    def distance(self, made: View, drawn: View) -> float:
        # its luminance term means light, so 0 is black; in float32 the variances of flat paper would cancel
        pair = ((view.picture.cpu().double() + 1) / 2 for view in (made, drawn))
        return float(self.ssim(*pair, data_range=1.0))
