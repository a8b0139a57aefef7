"""A model on its way to other processes and machines: what it is, and whose bytes its weights are."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from zoo.card import Weights
from zoo.errors import IntegrityError, NetworkError, NotFoundError, ZooError, describe
from zoo.helpers.files import atomic
from zoo.loading import Found, build, find
from zoo.translator import Translator
from zoo.weights.cache import own_place, verify
from zoo.weights.sources import fetch


@dataclass(frozen=True)
class Model:
    """``found`` is what is built, from weights with this SHA-256. Options as of `zoo.load`."""

    name: str
    found: Found
    weights: Weights
    device: str | None = None
    bf16: bool = False
    compile: bool = False

    @classmethod
    def of(cls, name: str, weights: str = "default", **options: Any) -> Model:
        """The model that ``zoo.load`` would load, its weights on this disk by now. Errors as of ``zoo.load``."""
        found = find(name, weights)
        assert found.path is not None
        if theirs := found.weights:
            return cls(name, found, theirs.model_copy(update={"hub": None}), **options)
        try:
            with found.path.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            size = found.path.stat().st_size
        except OSError as error:
            raise NotFoundError(f"there are no weights {found.path}: {describe(error)}", "check the path") from error
        return cls(name, found, Weights(file="model.safetensors", sha256=sha256, bytes=size), **options)

    def built(self, device: str | None = None) -> Translator:
        """From the weights on this disk."""
        dtype = "bf16" if self.bf16 else None
        return build(self.found, device=device or self.device, dtype=dtype, compile=self.compile)

    def checked(self, options: dict[str, Any]) -> None:
        """The errors that the first picture would meet, before any work: of weights, plugin, controls and options."""
        replace(self, compile=False).built("cpu").stream([], **options)

    def built_elsewhere(self, content: Callable[[], bytes]) -> Translator:
        """On a machine that has other disks: from its cache, its plugins, its mirrors, or these bytes.

        What goes wrong there names the machine."""
        try:
            return replace(self, found=replace(self.found, path=self._here(content))).built()
        except ZooError as error:
            error.message = f"{platform.node()}: {error.message}"
            raise

    def _here(self, content: Callable[[], bytes]) -> Path:
        """The weights on this machine's disk. Nobody is asked for them but mirrors: not by each of many machines."""
        card = self.found.card
        with suppress(NotFoundError, NetworkError, IntegrityError):
            return fetch(self.weights, self.name, card.plugin if card else "")
        path = own_place(self.weights)
        with atomic(path) as part:
            part.write_bytes(content())
        verify(path, self.weights)
        return path
