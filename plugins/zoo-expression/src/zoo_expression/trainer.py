"""The training step of StarGAN and GANimation (thesis, chapter 4)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from zoo import faces
from zoo.blocks.diffaugment import diff_augment
from zoo.generator import Generator, build_generator, build_part, initialise
from zoo.losses.adversarial import gradient_norm
from zoo.recipe import Recipe
from zoo.trainer import Batch, Count, Step, Trainer, parts_of
from zoo_expression.data import Faces
from zoo_expression.networks import Discriminator, StarGANGenerator
from zoo_expression.units import EXPRESSIONS, LABELLED, MOST, UNITS, pattern

OF_UNITS, OF_LABELS = ("units", "read"), ("label", "scores")
"""What is asked of a picture, and what is read off it."""


class ExpressionTrainer(Trainer):
    """One generator, one discriminator that judges pictures and reads what they show.

    The generator's losses read ``source`` I, ``output`` G(I, t), ``reconstruction`` G(G(I, t), s), ``units`` t,
    ``read`` from the output, ``logits``, where asked for ``own``, s, and ``landmarks`` (N,68,2) in shares of I's side, by
    dlib, and what else G makes; the discriminator's ``units`` s, ``read`` from the
    photographs, ``real_logits``, ``fake_logits`` and ``gradient_norm`` (N,), the length of the realness's gradient
    by the picture, at a random place between photograph and result. s are the photographs' own units, t those of others.
    A generator of labels has ``label`` in the place of ``units`` and ``scores`` in that of ``read``.

    ``share`` of a batch is edited, all of it is read: reading is cheap, and the meter has to be good before the editor
    can be. In ``single`` of the edits the target is not another face's, but the face's own with some units of another
    and one anywhere up to its ``most``; in ``posed`` it is one of the thesis's expressions in any share, up to the same:
    what users ask for. In the first ``head_start`` steps the discriminator is alone and
    learns to read: an editor that is judged by one that cannot yet learns to leave pictures as they are.
    """

    exported = "edit"
    domains = 1
    samples = Faces
    phases: ClassVar = {"generator": ("edit",), "discriminator": ("judge",)}
    provides: ClassVar = {
        "generator": frozenset({"source", "output", "reconstruction", "logits", "landmarks", *OF_UNITS, "own"}),
        "discriminator": frozenset({"real_logits", "fake_logits", "gradient_norm", *OF_UNITS}),
    }
    passes_on: ClassVar = {"generator": {"": "edit"}}
    gives: ClassVar = frozenset({"units"})
    uses: ClassVar = frozenset({"meter"})
    judges: ClassVar = frozenset({"meter"})

    def __init__(
        self,
        recipe: Recipe,
        share: float = 1.0,
        single: float = 0.0,
        posed: float = 0.0,
        most: Sequence[float] = (2.5,) * 17,
        follow: float = 0.01,
        head_start: int = 0,
    ) -> None:
        if not (0 < share <= 1 and 0 <= single <= 1 and 0 < follow <= 1):
            raise ValueError("share, single and follow are from 0 to 1")
        if posed < 0 or single + posed > 1:
            raise ValueError("single and posed are shares of the edits, together at most 1")
        if not isinstance(most, Sequence) or len(most) != 17 or not all(0 <= value <= MOST for value in most):
            raise ValueError("most is 17 numbers from 0 to 5")
        generator = cast(StarGANGenerator, build_generator({"generator": recipe.generator}))
        meter = {**recipe.generator.get("meter", {}), "units": generator.meter.units.out_channels}
        judge: Discriminator = build_part("discriminator", {**recipe.discriminator, **meter})
        self.networks = nn.ModuleDict({"edit": generator, "judge": judge})
        initialise(generator)
        if generator.residual:
            nn.init.normal_(generator.head.weight, 0.0, 1e-3)
        if generator.flow is not None:
            nn.init.normal_(generator.flow.weight, 0.0, 1e-3)
        self.memory = nn.ModuleDict({"steps": Count()})
        self.share, self.single, self.posed = share, single, posed
        self.most, self.follow, self.head_start = most, follow, head_start
        self.labels = generator.labels
        self.words = OF_LABELS if generator.labels else OF_UNITS
        self.policy = recipe.data.augment.differentiable

    def provided(self, phase: str) -> frozenset[str]:
        names = super().provided(phase)
        return names - {*OF_UNITS, "own"} | {*OF_LABELS} if self.labels else names

    def step(self, batch: Batch) -> Iterator[Step]:
        edit, judge = cast(StarGANGenerator, self.networks["edit"]), cast(Discriminator, self.networks["judge"])
        n = max(1, round(self.share * len(batch["source"])))
        x, seeds = batch["source"][:n], batch["seed"]
        own, wanted = self._condition(batch["units"]), self._wanted(batch, n)
        steps = cast(Count, self.memory["steps"])
        alone = steps.total < self.head_start
        made = {} if alone else edit.parts(x, units=wanted)
        yield {} if alone else self._edited(x, own[:n], wanted, made, seeds)

        logits, read = self._judged(batch["source"], seeds, 2)
        tensors = {**dict(zip(self.words, (own, read))), "real_logits": logits, "fake_logits": logits}
        if not alone:
            output = made["image"].detach()
            tensors["fake_logits"], _ = self._judged(output, seeds, 3)
        if "gradient_norm" in self.wanted:
            tensors["gradient_norm"] = (
                torch.ones_like(seeds[:n]) if alone else gradient_norm(self._realness, x, output, seeds)
            )
        yield tensors
        self._follow(edit.meter, judge.meter)
        steps.total += 1

    def _edited(self, x: Tensor, own: Tensor, wanted: Tensor, made: Mapping[str, Tensor], seeds: Tensor) -> Step:
        output = made["image"]
        logits, read = self._judged(output, seeds, 1)
        tensors = {**parts_of(made), "source": x, "output": output, "logits": logits}
        tensors |= dict(zip(self.words, (wanted, read)))
        if "landmarks" in self.wanted:
            seen = [faces.landmarks(image) for image in x.float().cpu()]
            tensors["landmarks"] = torch.stack(seen).to(x.device) / x.shape[-1]
        if not self.labels:
            tensors["own"] = own
        if "reconstruction" in self.wanted:
            tensors["reconstruction"] = self.networks["edit"](output, units=own)
        return tensors

    def _judged(self, image: Tensor, seeds: Tensor, salt: int) -> tuple[Tensor, Tensor]:
        """Realness and what is read, of a picture that was moved and recoloured at random: an edit that only fools the
        reader does not survive that, one that a face could make does."""
        realness, read = self.networks["judge"](diff_augment(image, self.policy, seeds[: len(image)], salt))
        return realness, read

    def judge(self, image: Tensor, step: Step, salt: int) -> Tensor:
        return self._judged(image, step["seed"], salt)[0]

    def draw(self, exported: nn.Module, photo: Tensor, hand: Tensor) -> Tensor:
        """With what the meter reads off it: as it is."""
        editor = cast(StarGANGenerator, exported)
        return editor(photo, units=editor.own(photo))

    def previews(self, batch: Batch, exported: nn.Module) -> dict[str, Tensor]:
        own, other = self._condition(batch["units"]), self._condition(batch["target_units"])
        made = cast(Generator, exported).parts(batch["source"], units=other)
        columns = {"photo": batch["source"], "own": exported(batch["source"], units=own), "edited": made["image"]}
        if "attention" in made:
            columns |= {"attention": made["attention"].expand(-1, 3, -1, -1) * 2 - 1}
        return columns

    def _condition(self, units: Tensor) -> Tensor:
        """Intensities (N,17) as the generator takes them."""
        return labels(units) if self.labels else units / MOST

    def _wanted(self, batch: Batch, n: int) -> Tensor:
        units, other = batch["units"][:n], batch["target_units"][:n].clone()
        for i, seed in enumerate(batch["seed"][:n].tolist()):
            rng = torch.Generator().manual_seed(seed)
            whole, kept, which, much = (torch.rand(k, generator=rng) for k in (1, 17, 1, 1))
            if float(whole) < self.single:
                other[i] = torch.where((kept < 0.5).to(other.device), units[i], other[i])
                unit = int(which * 17)
                other[i, unit] = float(much) * self.most[unit]
            elif float(whole) < self.single + self.posed:
                pose = pattern(list(EXPRESSIONS)[int(which * len(EXPRESSIONS))])
                other[i] = torch.lerp(units[i], units.new_tensor(list(map(min, pose, self.most))), float(much))
        return self._condition(other)

    def _realness(self, image: Tensor) -> Tensor:
        logits: Tensor = self.networks["judge"](image)[0]
        return logits

    @torch.no_grad()
    def _follow(self, meter: nn.Module, learnt: nn.Module) -> None:
        """The meter that is shipped is a running mean of the discriminator's."""
        for mean, value in zip(meter.buffers(), learnt.parameters(), strict=True):
            mean.lerp_(value, self.follow)


def labels(units: Tensor) -> Tensor:
    """Intensities (N,17) -> StarGAN's five expressions (N,5), one-hot, by the thesis's own formulas.

    The expression whose units are strongest on average; neutral where none of them reaches ``NOTHING``.
    """
    scores = shown(units)
    return torch.nn.functional.one_hot(scores.argmax(1), scores.shape[1]).to(units.dtype)


def shown(units: Tensor) -> Tensor:
    """How much each of the five is in intensities (N,17): the mean of its units, ``NOTHING`` for neutral; (N,5)."""
    numbers = list(UNITS)
    means = [units[:, [numbers.index(u) for u in EXPRESSIONS[of]]].mean(1) for of in LABELLED.values()]
    return torch.stack([torch.full_like(means[0], NOTHING), *means], dim=1)


NOTHING = 0.5
