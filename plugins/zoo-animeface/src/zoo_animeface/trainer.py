"""The training step of CartoonGAN and AnimeGAN (thesis, sections 2.5, 2.6 and 5.4)."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from zoo.blocks.diffaugment import diff_augment
from zoo.generator import Generator, build_generator, build_part, initialise
from zoo.losses.adversarial import gradient_norm
from zoo.recipe import Recipe
from zoo.trainer import Batch, Step, Trainer, logits_of, parts_of
from zoo_animeface.data import AnimeFaces
from zoo_animeface.edges import grey

log = logging.getLogger("zoo.train")

LEAST_VARIETY = 0.5
"""Below that share of the anime's own variety results are much the same picture."""

LEAST_CHANGE = 0.03
"""Mean absolute difference, of pictures in [-1,1], below which the result is the photograph."""

SETTLED = 200
"""Steps behind the warm-up after which the two are judged."""


SHOWN = frozenset({"source", "target", "grey_target", "output", "points", "paired_source", "paired_target"})
"""What the generator's losses read in both of its phases."""


class AnimeTrainer(Trainer):
    """One generator and one discriminator, which judges patches; first a warm-up without it.

    In the first ``warm_up`` steps the phase ``warm-up`` is alone: with the content loss the generator learns to hand
    photographs on, since from nothing it does not get beyond noise (section 5.4). From then on the others are at work.

    Losses of the generator, and of the warm-up but for the logits, read ``source`` x, ``target`` y, ``grey_target``,
    ``output`` G(x), ``points`` (see `AnimeFaces`), ``logits`` D(G(x)), and what else G makes; those of the
    discriminator ``real_logits``, ``fake_logits``, ``blurred_logits`` and ``grey_logits``: D of y, G(x), y with blurred
    edges and grey y, and ``gradient_norm``. With paired data also ``paired_source`` and ``paired_target``.

    It watches for what went wrong in the thesis (section 5.7): ``variety``, how much the results of a batch differ from
    each other, as a share of how much its drawings do, and ``changed``, how much the results differ from the photographs.
    """

    exported = "translate"
    samples = AnimeFaces
    phases: ClassVar = {"warm-up": ("translate",), "generator": ("translate",), "discriminator": ("judge",)}
    provides: ClassVar = {
        "warm-up": SHOWN,
        "generator": SHOWN | {"logits"},
        "discriminator": frozenset({"real_logits", "fake_logits", "blurred_logits", "grey_logits", "gradient_norm"}),
    }
    passes_on: ClassVar = {"warm-up": {"": "translate"}, "generator": {"": "translate"}}

    def __init__(self, recipe: Recipe, warm_up: int = 0) -> None:
        if warm_up < 0:
            raise ValueError("warm_up is a number of steps, 0 or more")
        generator = build_generator({"generator": recipe.generator})
        judge = build_part("discriminator", recipe.discriminator)
        self.networks = nn.ModuleDict({"translate": generator, "judge": judge})
        initialise(self.networks)
        self.memory = nn.ModuleDict({"watch": Watch()})
        self.warm_up = warm_up
        self.policy = recipe.data.augment.differentiable
        self.paired = recipe.data.pairs

    def step(self, batch: Batch) -> Iterator[Step]:
        watch = cast(Watch, self.memory["watch"])
        x, y = batch["source"], batch["target"]
        warm = bool(watch.steps < self.warm_up)
        made = cast(Generator, self.networks["translate"]).parts(x)
        output = made["image"]
        tensors = {**parts_of(made), "source": x, "target": y, "output": output, "points": batch["points"]}
        if self.paired:
            tensors |= {"paired_source": x, "paired_target": y}
        if "grey_target" in self.wanted:
            tensors["grey_target"] = grey(y)
        yield tensors if warm else {}
        yield {} if warm else {**tensors, "logits": self._judged(output, batch, 1)}
        yield {} if warm else self._critic(y, output.detach(), batch)

        self.watched = self._watched(output.detach().float(), x, y)
        watch.steps += 1
        if not warm and self.rank == 0:
            watch.warn(self.watched, settled=bool(watch.steps >= self.warm_up + SETTLED))

    def _critic(self, real: Tensor, fake: Tensor, batch: Batch) -> Step:
        tensors = {"real_logits": self._judged(real, batch, 2), "fake_logits": self._judged(fake, batch, 3)}
        if "blurred_logits" in self.wanted:
            tensors["blurred_logits"] = self._judged(batch["blurred"], batch, 4)
        if "grey_logits" in self.wanted:
            tensors["grey_logits"] = self._judged(grey(real), batch, 5)
        if "gradient_norm" in self.wanted:
            judge = self.networks["judge"]
            tensors["gradient_norm"] = gradient_norm(lambda z: logits_of(judge, z), real, fake, batch["seed"])
        return tensors

    def judge(self, image: Tensor, step: Step, salt: int) -> Tensor:
        return self._judged(image, step, salt)

    def _judged(self, image: Tensor, batch: Batch, salt: int) -> Tensor:
        return logits_of(self.networks["judge"], diff_augment(image, self.policy, batch["seed"], salt))

    @torch.no_grad()
    def _watched(self, output: Tensor, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        """``variety`` needs two pictures; all processes' together are looked at."""
        output, x, y = (self.gather(pictures) for pictures in (output, x, y))
        numbers = {"changed": (output - x).abs().mean()}
        if len(output) > 1:
            numbers["variety"] = output.std(0).mean() / y.std(0).mean().clamp(min=1e-6)
        return numbers

    def previews(self, batch: Batch, exported: nn.Module) -> dict[str, Tensor]:
        return {"photo": batch["source"], "drawing": exported(batch["source"]), "anime": batch["target"]}


class Watch(nn.Module):
    """Counts the steps, and says once in a run what is going wrong; a checkpoint holds what it knows."""

    steps: Tensor
    changed: Tensor
    variety: Tensor
    told: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("changed", torch.tensor(torch.nan))  # running means; nothing is known yet
        self.register_buffer("variety", torch.tensor(torch.nan))
        self.register_buffer("told", torch.zeros(2, dtype=torch.bool))

    def warn(self, numbers: Step, settled: bool) -> None:
        """Take in what a step watched, and say what is wrong if it has ``settled``."""
        for name, number in numbers.items():
            mean = self.get_buffer(name)
            mean.copy_(number if mean.isnan() else torch.lerp(mean, number, 0.02))
        if settled and self.variety < LEAST_VARIETY and not self.told[0]:
            self.told[0] = True
            log.warning(
                "every input gives nearly the same picture: results vary %.2f times as much as the drawings do; "
                "raise the weight of the content or colour loss, or lower those of adversarial and landmark",
                self.variety,
            )
        if settled and self.changed < LEAST_CHANGE and not self.told[1]:
            self.told[1] = True
            log.warning(
                "results are the photographs: they differ by %.3f; lower the weight of the content or colour loss, "
                "or raise that of adversarial",
                self.changed,
            )
