"""What style transfer did inside and outside of an object, in numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from zoo.blocks.vgg import VGG19
from zoo.errors import ImageError
from zoo.losses.perceptual import gram
from zoo.pictures.fit import resize
from zoo.pictures.image import read

LAYERS = ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1")
VISIBLE = 0.05
"""A pixel has changed if its colour, in 0 … 1, is this far from the photograph's on average over the channels."""
NOTHING = 1e-6
"""A smaller change is rounding."""


@dataclass(frozen=True)
class Scene:
    """A photograph and where its object is."""

    name: str
    photo: Tensor  # (3,H,W) in [-1,1]
    object: Tensor  # (H,W) bool


def scene(name: str, photo: Path, mask: Path, size: int) -> Scene:
    """The photograph no longer than ``size``, 0 for as it is. ImageError if it or its mask cannot be used."""
    rgb = fitted(read(photo).on_white().rgb, size)
    return Scene(name, rgb, _object(mask, rgb))


def _object(path: Path, photo: Tensor) -> Tensor:
    """The mask (H,W) at the photograph's size: what is brighter than half of the brightest. ImageError if useless."""
    light = (read(path).rgb.amax(0) + 1) / 2
    height, width = photo.shape[-2:]
    if abs(math.log(light.shape[1] / light.shape[0] * height / width)) > 0.05:
        raise ImageError(
            f"the mask {path} is {light.shape[1]}×{light.shape[0]}, the photograph {width}×{height} pixels"
        )
    white = (light > light.amax() / 2) & (light > 0)
    mask = F.interpolate(white[None, None].float(), (height, width), mode="area")[0, 0] > 0.5
    if not mask.any() or mask.all():
        raise ImageError(f"the mask {path} is all {'white' if mask.any() else 'black'}")
    return mask


def fitted(image: Tensor, size: int) -> Tensor:
    """(3,h,w), scaled down to the long side ``size`` if that is not 0."""
    scale = min(1.0, size / max(image.shape[-2:])) if size else 1.0
    return resize(image, (max(1, round(image.shape[-2] * scale)), max(1, round(image.shape[-1] * scale))))


class Scale:
    """One photograph and one style, against which results are held."""

    def __init__(self, vgg: VGG19, scene: Scene, style: Tensor) -> None:
        self.vgg, self.scene = vgg, scene
        self.areas = {"inside": scene.object, "outside": ~scene.object}
        seen = self._features(fitted(style, max(scene.photo.shape[-2:])))
        self.style = [gram(features) for features in seen]
        self.before = self._distances(scene.photo)

    def measure(self, made: Tensor) -> dict[str, Any]:
        change = (made - self.scene.photo).abs().mean(0) / 2
        facts: dict[str, Any] = {name: float(change[area].mean()) for name, area in self.areas.items()}
        facts["ratio"] = ratio(facts["inside"], facts["outside"])
        after = self._distances(made)
        for name in self.areas:
            facts[f"style_{name}"] = ratio(fmean(after[name]), fmean(self.before[name]))
        facts["changed"] = float((change[self.scene.object] > VISIBLE).float().mean())
        facts["layers"] = {
            name: {layer: ratio(*pair) for layer, *pair in zip(LAYERS, after[name], self.before[name])}
            for name in self.areas
        }
        return facts

    def _distances(self, image: Tensor) -> dict[str, list[float]]:
        """‖G - G_style‖ / ‖G_style‖ of each layer, inside and outside."""
        seen = self._features(image)
        found = {}
        for name, area in self.areas.items():
            weights = [F.interpolate(area[None, None].to(f), f.shape[-2:], mode="area") for f in seen]
            grams = [gram(features, weight) for features, weight in zip(seen, weights)]
            found[name] = [float((made - style).norm() / style.norm()) for made, style in zip(grams, self.style)]
        return found

    def _features(self, image: Tensor) -> list[Tensor]:
        height, width = (max(side, VGG19.minimum) for side in image.shape[-2:])
        return self.vgg(resize(image, (height, width))[None].to(self.vgg.shift), LAYERS)


def ratio(above: float, below: float) -> float | None:
    """None where there is nothing to divide by."""
    return above / below if below > NOTHING else None


def mean(label: str, results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means over photographs and styles; ``ratio`` is that of the means, None if nothing changed outside."""
    facts: dict[str, Any] = {"model": label, "n": len(results), "ratio": None}
    for name in ("inside", "outside", "style_inside", "style_outside", "changed", "seconds"):
        values = [result[name] for result in results if result[name] is not None]
        facts[name] = fmean(values) if values else None
    if results:
        facts["ratio"] = ratio(facts["inside"], facts["outside"])
    return facts


def row(model: Mapping[str, Any]) -> dict[str, str]:
    forms = {"inside": ".4f", "outside": ".4f", "ratio": ".2f", "style_inside": ".3f", "style_outside": ".3f"}
    forms |= {"changed": ".3f", "seconds": ".1f"}
    cells = {name: "–" if model[name] is None else f"{model[name]:{form}}" for name, form in forms.items()}
    if model["ratio"] is None and (model["inside"] or 0) > NOTHING:
        cells["ratio"] = "∞"
    return {"model": model["model"], "n": str(model["n"]), **{k.replace("_", " "): cell for k, cell in cells.items()}}
