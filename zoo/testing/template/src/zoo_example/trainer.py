"""One step of the paper's training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, cast

from torch import Tensor, nn

from zoo.generator import Generator, build_generator, build_part, initialise
from zoo.recipe import Recipe
from zoo.trainer import Batch, Step, Trainer, parts_of


class DrawingTrainer(Trainer):
    """A generator draws the photograph; a discriminator tells its drawings from the artist's."""

    exported = "draw"
    phases: ClassVar = {"generator": ("draw",), "discriminator": ("judge",)}
    provides: ClassVar = {
        "generator": frozenset({"source", "output", "logits"}),
        "discriminator": frozenset({"real_logits", "fake_logits"}),
    }
    passes_on: ClassVar = {"generator": {"": "draw"}}

    def __init__(self, recipe: Recipe) -> None:
        self.networks = nn.ModuleDict(
            {
                "draw": build_generator(recipe.network()),
                "judge": build_part("discriminator", recipe.discriminator),
            }
        )
        initialise(self.networks)
        self.memory = nn.ModuleDict()

    def step(self, batch: Batch) -> Iterator[Step]:
        draw, judge = cast(Generator, self.networks["draw"]), self.networks["judge"]
        made = draw.parts(batch["source"])
        output = made["image"]
        yield {**parts_of(made), "source": batch["source"], "output": output, "logits": judge(output)}
        yield {"real_logits": judge(batch["target"]), "fake_logits": judge(output.detach())}

    def previews(self, batch: Batch, exported: nn.Module) -> dict[str, Tensor]:
        return {"photo": batch["source"], "drawing": exported(batch["source"]), "artist": batch["target"]}
