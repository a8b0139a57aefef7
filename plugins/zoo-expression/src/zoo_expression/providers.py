"""What a face shows, for trainers that read no action units: a meter's reading of photograph and result.

The face is cut out of both alike, where the photograph has it, as the meter knows faces.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from zoo import faces
from zoo.catalogue.registry import registry
from zoo.errors import NotFoundError, UsageError
from zoo.generator import generator_of
from zoo.provider import Provider
from zoo.weights.file import read_header
from zoo.weights.sources import locate
from zoo_expression.networks import Meter, StarGANGenerator
from zoo_expression.trainer import labels, shown
from zoo_expression.units import MOST, NAMES

MODEL = "ganimation-convnext"
"""The card whose meter reads where none is named."""


def load_meter(weights: str | Path | None = None) -> Meter:
    """The meter that comes with a generator of action units, ready to read.

    NotFoundError without weights; UsageError for a file of another network."""
    if weights is None:
        try:
            weights = locate(*registry().card(MODEL))
        except NotFoundError as error:
            hint = "give the weights of a generator of action units: providers: {read: {meter: FILE}}"
            raise NotFoundError(f"there are no weights of {MODEL}: {error.message}", hint) from error
    path = Path(weights)
    generator = generator_of(path) if read_header(path).network else None
    if not isinstance(generator, StarGANGenerator) or generator.labels:
        raise UsageError(f"{path} reads no action units", f"give weights of {MODEL}")
    return generator.meter.eval().requires_grad_(False)


class _Reading(Provider):
    """``of`` a step's picture the units (N,17), in shares of the most; NaN where the photograph has no face.

    ``meter`` is the weights file of a generator of action units, else the card ganimation-convnext's."""

    of: str

    def __init__(self, meter: str | None = None) -> None:
        super().__init__()
        self.meter = load_meter(meter)

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        picture, landmarks = step[self.of].float(), step["landmarks"].float().cpu()
        sides = torch.tensor([picture.shape[-1], picture.shape[-2]])
        read = [
            self._read(image, points * sides) if points.isfinite().all() else picture.new_full((len(NAMES),), torch.nan)
            for image, points in zip(picture, landmarks)
        ]
        return torch.stack(read)

    def _read(self, image: Tensor, points: Tensor) -> Tensor:
        low, high = points.amin(0), points.amax(0)
        face = faces.Face((*low.tolist(), *high.tolist()), points)
        with torch.autocast(image.device.type, enabled=False):
            units: Tensor = self.meter(faces.crop(image, face, self.meter.size).image[None])[0]
        return units


class UnitsOfSource(_Reading):
    """``units``: those of the photograph, which the result shall have, too."""

    needs, of = frozenset({"source", "landmarks"}), "source"
    of_batch = True

    @torch.no_grad()
    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        return super().forward(step).clamp(0, 1)


class UnitsOfOutput(_Reading):
    """``read``: what the meter reads off the result."""

    needs, of = frozenset({"output", "landmarks"}), "output"


class LabelOfUnits(Provider):
    """``label``: the expression that the units make, by the thesis's formulas."""

    needs = frozenset({"units"})

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        units = MOST * step["units"]
        known = units.isfinite().all(1, keepdim=True)
        return torch.where(known, labels(units.nan_to_num()), torch.nan)


class ScoresOfUnits(Provider):
    """``scores``: how strong each of those expressions is in what is read."""

    needs = frozenset({"read"})

    def forward(self, step: Mapping[str, Tensor]) -> Tensor:
        return shown(MOST * step["read"])
