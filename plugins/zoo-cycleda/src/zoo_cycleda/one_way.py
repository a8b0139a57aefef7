"""Training without a way back: what an hour on a CPU is best spent on.

Of the six passes through generators that a step of CycleGAN takes, one makes a drawing. This trainer takes that one.
What the cycle held, that a drawing shows its photograph, losses hold that compare the two by features (`content`), or
the artist's own drawing of the sitter (`pixel`, `perceptual`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, cast

from torch import Tensor, nn

from zoo.blocks.diffaugment import diff_augment
from zoo.blocks.pool import ImagePool
from zoo.generator import Generator, build_generator, build_part, initialise
from zoo.losses.adversarial import gradient_norm
from zoo.recipe import Recipe
from zoo.trainer import Batch, Count, Step, Trainer, logits_of, parts_of


class OneWayTrainer(Trainer):
    """One generator, photograph x -> drawing y, one discriminator, an image pool.

    The losses read ``source``, the photograph as it was taken, of which x may be a variation (`data.augment`), ``target`` y, ``hand``, ``output`` G(x), ``logits`` D(G(x)), ``identity`` G(y) and what
    else G(x) makes; then ``real_logits``, ``fake_logits`` and ``gradient_norm``. With paired data also ``paired_target``, the drawing of the
    same sitter. In the first ``head_start`` steps the generator rests: a discriminator that knows nothing would pull at
    one that draws already.
    """

    exported = "draw"
    phases: ClassVar = {"generator": ("draw",), "discriminator": ("judge",)}
    provides: ClassVar = {
        "generator": frozenset({"source", "target", "hand", "paired_target", "output", "identity", "logits"}),
        "discriminator": frozenset({"real_logits", "fake_logits", "gradient_norm"}),
    }
    passes_on: ClassVar = {"generator": {"": "draw"}}
    gives: ClassVar = frozenset({"hand"})

    def __init__(self, recipe: Recipe, pool: int = 50, head_start: int = 0) -> None:
        self.networks = nn.ModuleDict(
            {
                "draw": build_generator({"generator": recipe.generator}),
                "judge": build_part("discriminator", recipe.discriminator),
            }
        )
        initialise(self.networks)
        self.memory = nn.ModuleDict({"drawings": ImagePool(pool, (3, *recipe.data.size)), "steps": Count()})
        self.policy = recipe.data.augment.differentiable
        self.paired = recipe.data.pairs
        self.hands = bool(recipe.generator.get("labels"))
        self.head_start = head_start

    def step(self, batch: Batch) -> Iterator[Step]:
        x, y, hand = batch["source"], batch["target"], batch["hand"]
        taken = batch["sitter"]  # a likeness is with this one: the drawing of it is that of x
        steps = cast(Count, self.memory["steps"])
        resting = steps.total < self.head_start
        steps.total += 1
        label = {"hand": hand} if self.hands else {}
        made = cast(Generator, self.networks["draw"]).parts(x, **label)
        output = made["image"]
        if resting:
            yield {}
        else:
            tensors = {**parts_of(made), "source": taken, "target": y, "hand": hand, "output": output}
            if self.paired:
                tensors["paired_target"] = y
            if "identity" in self.wanted:
                tensors["identity"] = self.networks["draw"](y, **label)
            tensors["logits"] = self._judge(output, hand, batch, 1)
            yield tensors

        pool = cast(ImagePool, self.memory["drawings"])  # one for all processes: each takes its share back
        share = slice(self.rank * len(output), (self.rank + 1) * len(output))
        pooled = pool.swap(self.gather(output.detach().float()), self.gather(hand), self.gather(batch["seed"]))
        fakes, hands = (tensors[share] for tensors in pooled)
        judged = {
            "real_logits": self._judge(y, hand, batch, 3),
            "fake_logits": self._judge(fakes, hands, batch, 4),
        }
        if "gradient_norm" in self.wanted:
            judge, known = self.networks["judge"], (hand,) if self.hands else ()
            judged["gradient_norm"] = gradient_norm(lambda z: logits_of(judge, z, *known), y, fakes, batch["seed"])
        yield judged

    @classmethod
    def held(cls) -> frozenset[str]:
        return super().held() | {"hand"}

    def judge(self, image: Tensor, step: Step, salt: int) -> Tensor:
        return self._judge(image, step["hand"], step, salt)

    def draw(self, exported: nn.Module, photo: Tensor, hand: Tensor) -> Tensor:
        return exported(photo, **({"hand": hand} if self.hands else {}))

    def previews(self, batch: Batch, exported: nn.Module) -> dict[str, Tensor]:
        drawing = self.draw(exported, batch["source"], batch["hand"])
        return {"photo": batch["source"], "drawing": drawing, "artist": batch["target"]}

    def _judge(self, image: Tensor, hand: Tensor, batch: Batch, salt: int) -> Tensor:
        label = (hand,) if self.hands else ()
        return logits_of(self.networks["judge"], diff_augment(image, self.policy, batch["seed"], salt), *label)
