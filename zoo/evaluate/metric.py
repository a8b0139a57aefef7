"""The Metric contract, and the record that a measurement gives: a number is nothing without its protocol."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from zoo.weights import networks


class MetricResult(BaseModel):
    """One number of one model. Two of them may only be compared when their protocols are equal."""

    model_config = ConfigDict(frozen=True)

    name: str
    value: float
    std: float | None = None  # over pictures (lpips, ssim, vgg) or subsets (kid)
    n: int  # pictures of the model that count
    seed: int
    protocol: dict[str, str]  # what was compared, in which size and colour, by which network and its sha256, on what

    def card(self) -> dict[str, Any]:
        """As a card's ``metrics`` entry."""
        protocol = "; ".join(f"{key}: {value}" for key, value in self.protocol.items())
        return {"name": self.name, "value": round(self.value, 4), "n": self.n, "protocol": protocol, "seed": self.seed}


class Tools:
    """What metrics share in one evaluation: weights files by kind, the networks made of them, seed, device.

    NotFoundError if a file that is given is not there.
    """

    def __init__(
        self, given: Mapping[str, Path | None] | None = None, *, seed: int = 0, device: torch.device | str = "cpu"
    ) -> None:
        self.seed = seed
        self.device = torch.device(device)
        self._given = {kind: networks.find(kind, path) for kind, path in (given or {}).items() if path}
        self._networks: dict[str, nn.Module] = {}
        self._identities: dict[str, str] = {}

    def file(self, kind: str) -> Path:
        """The file of ``kind`` that was given or is found (``zoo.weights.networks``); NotFoundError if there is none."""
        return networks.find(kind, self._given.get(kind))

    def network(self, build: type[nn.Module], kind: str) -> nn.Module:
        """``build(file)`` of that kind, made once for all metrics."""
        if kind not in self._networks:
            self._networks[kind] = build(self.file(kind)).to(self.device)
        return self._networks[kind]

    def identity(self, kind: str) -> str:
        """The sha256 of the file of ``kind``, for a protocol."""
        if kind not in self._identities:
            with self.file(kind).open("rb") as file:
                self._identities[kind] = f"sha256 {hashlib.file_digest(file, 'sha256').hexdigest()[:16]}"
        return self._identities[kind]


class View:
    """A picture (1, 3, H, W) in [-1, 1] as metrics see it; what a network makes of it is computed once."""

    def __init__(self, picture: Tensor) -> None:
        self.picture = picture
        self._features: dict[nn.Module, Any] = {}

    def features(self, network: nn.Module) -> Any:
        if network not in self._features:
            self._features[network] = network(self.picture)
        return self._features[network]


class Metric(ABC):
    """Collects views one by one, then gives a result.

    ``update`` gets what a model made and what the artist drew of the same sitter; one of them is None when there
    is no partner or it could not be read. A metric on pairs leaves such calls out, one on sets takes what is there.
    """

    name: ClassVar[str]

    def __init__(self, tools: Tools) -> None:
        self.tools = tools

    @abstractmethod
    def update(self, made: View | None, drawn: View | None) -> None:
        """Look at a result and the drawing of the same sitter, or at the one of them that there is."""

    @abstractmethod
    def result(self) -> MetricResult | None:
        """None when too little was seen for a number."""
