"""The training step of CycleGAN (Zhu et al. 2017, section 3), of all models of this plugin."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, cast

from torch import Tensor, nn

from zoo.blocks.diffaugment import diff_augment
from zoo.blocks.pool import ImagePool
from zoo.generator import Generator, build_generator, build_part, initialise
from zoo.losses.adversarial import gradient_norm
from zoo.recipe import Recipe
from zoo.trainer import Batch, Step, Trainer, logits_of, parts_of


class CycleTrainer(Trainer):
    """Two generators, photograph x -> drawing y and back, two discriminators, an image pool for each.

    The losses read, with ``reverse_`` for the way back: ``source`` x, ``target`` y, ``output`` G(x),
    ``reconstruction`` F(G(x)), ``identity`` G(y), ``logits`` D(G(x)), and what else G(x) and F(y) make; then ``real_logits``, ``fake_logits`` and
    ``gradient_norm``. With paired data also ``paired_source`` and ``paired_target``, which show the same sitter. ``hand`` labels the drawing.
    """

    exported = "draw"
    phases: ClassVar = {"generator": ("draw", "photo"), "discriminator": ("judge_drawing", "judge_photo")}
    provides: ClassVar = {
        "generator": frozenset(
            {
                *("source", "target", "hand", "paired_source", "paired_target"),
                *("output", "reconstruction", "identity", "logits"),
                *("reverse_output", "reverse_reconstruction", "reverse_identity", "reverse_logits"),
            }
        ),
        "discriminator": frozenset(
            {
                *("real_logits", "fake_logits", "gradient_norm"),
                *("reverse_real_logits", "reverse_fake_logits", "reverse_gradient_norm"),
            }
        ),
    }
    passes_on: ClassVar = {"generator": {"": "draw", "reverse_": "photo"}}
    gives: ClassVar = frozenset({"hand"})

    def __init__(self, recipe: Recipe, pool: int = 50) -> None:
        back, judge_back = (
            {key: value for key, value in spec.items() if key != "labels"}  # all photographs are of one kind
            for spec in (recipe.generator, recipe.discriminator)
        )
        self.networks = nn.ModuleDict(
            {
                "draw": build_generator({"generator": recipe.generator}),
                "photo": build_generator({"generator": back}),
                "judge_drawing": build_part("discriminator", recipe.discriminator),
                "judge_photo": build_part("discriminator", judge_back),
            }
        )
        initialise(self.networks)
        shape = (3, *recipe.data.size)
        self.memory = nn.ModuleDict({"drawings": ImagePool(pool, shape), "photos": ImagePool(pool, shape)})
        self.policy = recipe.data.augment.differentiable
        self.paired = recipe.data.pairs
        self.hands = bool(recipe.generator.get("labels"))

    def step(self, batch: Batch) -> Iterator[Step]:
        x, y, hand = batch["source"], batch["target"], batch["hand"]
        label = {"hand": hand} if self.hands else {}
        made = cast(Generator, self.networks["draw"]).parts(x, **label)
        back = cast(Generator, self.networks["photo"]).parts(y)
        output, photo = made["image"], back["image"]
        tensors = {**parts_of(made), **parts_of(back, "reverse_")}
        tensors |= {"source": x, "target": y, "hand": hand, "output": output, "reverse_output": photo}
        if self.paired:
            tensors |= {"paired_source": x, "paired_target": y}
        if self.wanted & {"reconstruction", "reverse_reconstruction"}:
            tensors["reconstruction"] = self.networks["photo"](output)
            tensors["reverse_reconstruction"] = self.networks["draw"](photo, **label)
        if self.wanted & {"identity", "reverse_identity"}:
            tensors["identity"] = self.networks["draw"](y, **label)
            tensors["reverse_identity"] = self.networks["photo"](x)
        tensors["logits"] = self._judge_drawing(output, hand, batch, 1)
        tensors["reverse_logits"] = self._judge_photo(photo, batch, 2)
        yield tensors

        seeds = self.gather(batch["seed"])
        fakes, hands = self._pooled("drawings", output, hand, seeds)
        photos, _ = self._pooled("photos", photo, hand, seeds)
        judged = {
            "real_logits": self._judge_drawing(y, hand, batch, 3),
            "fake_logits": self._judge_drawing(fakes, hands, batch, 4),
            "reverse_real_logits": self._judge_photo(x, batch, 5),
            "reverse_fake_logits": self._judge_photo(photos, batch, 6),
        }
        if self.wanted & {"gradient_norm", "reverse_gradient_norm"}:
            known = (hand,) if self.hands else ()
            of_drawing, of_photo = (self.networks[name] for name in ("judge_drawing", "judge_photo"))
            judged["gradient_norm"] = gradient_norm(lambda z: logits_of(of_drawing, z, *known), y, fakes, batch["seed"])
            judged["reverse_gradient_norm"] = gradient_norm(lambda z: logits_of(of_photo, z), x, photos, batch["seed"])
        yield judged

    @classmethod
    def held(cls) -> frozenset[str]:
        return super().held() | {"hand"}

    def judge(self, image: Tensor, step: Step, salt: int) -> Tensor:
        return self._judge_drawing(image, step["hand"], step, salt)

    def draw(self, exported: nn.Module, photo: Tensor, hand: Tensor) -> Tensor:
        return exported(photo, **({"hand": hand} if self.hands else {}))

    def previews(self, batch: Batch, exported: nn.Module) -> dict[str, Tensor]:
        drawing = self.draw(exported, batch["source"], batch["hand"])
        back = self.networks["photo"](drawing)
        return {"photo": batch["source"], "drawing": drawing, "back": back, "artist": batch["target"]}

    def _judge_drawing(self, image: Tensor, hand: Tensor, batch: Batch, salt: int) -> Tensor:
        label = (hand,) if self.hands else ()
        return logits_of(self.networks["judge_drawing"], diff_augment(image, self.policy, batch["seed"], salt), *label)

    def _judge_photo(self, image: Tensor, batch: Batch, salt: int) -> Tensor:
        return logits_of(self.networks["judge_photo"], diff_augment(image, self.policy, batch["seed"], salt))

    def _pooled(self, name: str, image: Tensor, hand: Tensor, seeds: Tensor) -> tuple[Tensor, Tensor]:
        """The pool is one for all processes: each sees all results and takes its own share back."""
        pool = cast(ImagePool, self.memory[name])
        images, hands = pool.swap(self.gather(image.detach().float()), self.gather(hand), seeds)
        share = slice(self.rank * len(image), (self.rank + 1) * len(image))
        return images[share], hands[share]
