"""Shipped weights, trained on by their own recipe: does what they can survive?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from zoo.catalogue.host import host
from zoo.catalogue.registry import registry
from zoo.errors import ZooError
from zoo.loading import load
from zoo.recipe import load_recipe
from zoo.testing.subject import write_pictures
from zoo.trainer import Trainer
from zoo.weights.file import read_header
from zoo.weights.sources import locate

SURVIVED = 6  # steps of all phases, behind a head start
DRIFT = 0.05  # of the way from drawing to photograph; an untrained discriminator at full rate goes three times as far
WINDOW = "data.size=[32,32]"  # small, for speed
PHOTOS = 4


@dataclass(frozen=True)
class Shipped:
    """A model with weights in its plugin's wheel, and the recipe that they were trained by."""

    name: str
    recipe: str
    weights: Path

    def drift(self, folder: Path) -> tuple[float, float]:
        """How far training moves drawings of the kit's photographs from those of the shipped weights, which are what it
        learns from; and how far the photographs are from these."""
        from zoo.train.engine import Engine, Options
        from zoo.train.report import NoReport

        photos, drawings = write_pictures(folder, PHOTOS) / "photos-0", folder / "artist"
        drawings.mkdir()
        artist = load(self.weights, device="cpu")
        for path in photos.iterdir():
            artist.translate(path).save(drawings / path.name)
        recipe = load_recipe(self.recipe, [WINDOW])
        kind: type[Trainer] = host().part("trainer", str(recipe.trainer.get("name")))
        data = kind.pictures([photos], [("artist", drawings)], recipe.data, 0)
        steps = int(recipe.trainer.get("head_start", 0)) + SURVIVED
        engine = Engine(recipe, data, Options(folder / "run", device="cpu", steps=steps, start_from=self.weights))
        seen = torch.stack([data.whole(path)[:, :48, :48] for path in data.photos[0].paths])
        with torch.no_grad():
            before = engine.average(seen)
        engine.run(NoReport)
        with torch.no_grad():
            after = engine.average(seen)
        return float((after - before).abs().mean()), float((seen - before).abs().mean())


def shipped(plugin: str) -> Iterator[Shipped]:
    """Those of a plugin that one hand's photographs and drawings train."""
    for card in registry().cards.values():
        for tag, weights in card.weights.items():
            if card.plugin != plugin or not weights.bundled or card.recipe is None:
                continue
            path = locate(card, tag)
            name = read_header(path).network.get("recipe", "")
            try:
                recipe = load_recipe(name)
                kind: type[Trainer] = host().part("trainer", str(recipe.trainer.get("name")))
            except ZooError:  # a recipe that is trained no more, or never was
                continue
            if kind.domains > 1 and not recipe.controls and not recipe.generator.get("labels"):
                yield Shipped(card.tagged(tag), name, path)
