"""Checks of training: steps of a trainer, runs of the real engine."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from zoo.card import Card
from zoo.testing.check import Contract, check, once_for
from zoo.testing.elsewhere import elsewhere, possible
from zoo.testing.networks import useful
from zoo.testing.shipped import DRIFT, SURVIVED, shipped
from zoo.testing.subject import Model, batch, stir, tensors_of, yielded
from zoo.testing.words import strange as wrong
from zoo.train.objective import Terms
from zoo.trainer import Step
from zoo.vocabulary import PAIRED

PLAIN = "data.augment={flip: false, scale: 1, rotate: 0, colour: 0, background: 0, differentiable: []}"
STEPS = 6, 16  # in which a loss has to fall: most do in a few


class TrainingChecks(Contract):
    """A run learns, and can be stopped anywhere."""

    @check
    @once_for("recipe")
    def test_step_keeps_its_promise(self, model: Model, pictures: Path, tmp_path: Path) -> None:
        """In each phase a step must yield the names that `provides` and `passes_on` promise, and no others; words of the
        vocabulary in the form and range that it says.

        A step may leave phases out with {}; within 16 steps each has to be there (`tiny:` can shorten a warm-up).
        Names that begin with paired_ are for paired data only."""
        model.needs_training()
        engine = model.engine(pictures, tmp_path)
        trainer, data = engine.trainer, batch(engine)
        trainer.wanted = frozenset().union(*map(trainer.provided, trainer.phases))
        times = len(list(trainer.step(data)))
        assert times == len(trainer.phases), f"{model.name}: a step yields {times} times, not once a phase"
        for phase, made in yielded(trainer, data):
            promised = {n for n in trainer.provided(phase) if engine.recipe.data.pairs or not n.startswith(PAIRED)}
            assert promised <= made.keys(), (
                f"{model.name}, {phase}: {min(promised - made.keys())} is promised, not yielded"
            )
            strange = made.keys() - trainer.provided(phase)
            assert not strange, f"{model.name}, {phase}: {min(strange)} is yielded, but not in provides"
            odd = [told for name, tensor in made.items() if (told := wrong(name, tensor, engine.recipe.data.size))]
            assert not odd, f"{model.name}, {phase}: {odd and odd[0]}"

    @check
    @once_for("facts")
    def test_every_network_learns(self, model: Model, pictures: Path, tmp_path: Path) -> None:
        """Each parameter of the trainer's networks must get a gradient from the losses of a phase that trains it.

        A network that no phase names belongs into a loss; one whose result is detached learns nothing."""
        model.needs_training()
        missing: set[str] = set()
        for seed in range(4):
            engine = model.engine(pictures, tmp_path, seed=seed)
            stir(engine.networks, seed)
            names = {
                f"{name}.{key}" for name, network in engine.networks.items() for key, _ in network.named_parameters()
            }
            found: set[str] = set()
            for phase, made in yielded(engine.trainer, batch(engine), engine.losses):
                engine.networks.zero_grad()
                total, _ = engine.losses[phase](made)
                assert total.requires_grad, f"{model.name}, {phase}: the losses have no gradient"
                total.backward(retain_graph=True)
                found |= {
                    f"{name}.{key}"
                    for name in engine.trainer.phases[phase]
                    for key, p in engine.networks[name].named_parameters()
                    if useful(p.grad)
                }
            missing = (missing if seed else names) - found
            if not missing:
                break
        assert not missing, f"{model.name}: {min(missing)} gets no gradient in any phase"

    @check
    @once_for("facts")
    def test_a_few_steps_lower_the_loss(self, model: Model, pictures: Path, tmp_path: Path) -> None:
        """On the same pictures, each phase trained alone must lower its own loss.

        Look for a sign, a detached tensor, a gradient that is changed on its way."""
        model.needs_training()
        overrides = (PLAIN, "optimiser.lr=5e-3", "schedule.decay=0")
        for number, phase in enumerate(model.trainer().phases):
            for steps in STEPS:
                engine = model.engine(pictures, tmp_path / f"{number}-{steps}", *overrides, steps=steps)
                first = batch(engine)
                engine.data = [{name: tensor[0] for name, tensor in first.items()}] * steps * engine.samples_per_step
                for other in engine.optimisers.keys() - {phase}:
                    engine.optimisers[other].step = lambda: None
                    engine.losses[other] = _Idle(**vars(engine.losses[other]))
                totals = _run(engine, phase)
                if totals and sum(totals[-3:]) / 3 < totals[0]:
                    break
            else:
                told = f"the {phase}'s loss goes from {totals[0]:.4g} to {totals[-1]:.4g} in {steps} steps"
                raise AssertionError(f"{model.name}: {told}")

    @check
    @once_for("facts")
    def test_resume_is_exact(self, model: Model, pictures: Path, tmp_path: Path) -> None:
        """A run that is stopped and goes on must end with the same bits as one that is not.

        Draw random numbers from batch["seed"] alone; what a step remembers belongs into `memory`."""
        from zoo.train import checkpoint

        model.needs_training()
        ends = []
        for parts in ([4], [2, 4]):
            out = tmp_path / str(len(parts))
            for steps in parts:
                random.seed(steps), np.random.seed(steps)  # nobody may count on these
                engine = model.engine(pictures, out, "schedule.decay=0", steps=steps)
                torch.manual_seed(len(parts))
                _run(engine)
            newest = checkpoint.newest(out / "checkpoints")
            assert newest is not None
            ends.append(newest[0])
        assert ends[0].keys() == ends[1].keys(), f"{model.name}: a run that went on saves other tensors"
        different = [name for name, tensor in ends[0].items() if not _alike(tensor, ends[1][name])]
        assert not different, f"{model.name}: after going on {different[0]} is another"

    @check
    @once_for("facts")
    def test_losses_stay_as_they_are(self, model: Model, pictures: Path, tmp_path: Path) -> None:
        """A loss is no part of a checkpoint, so its networks (VGG, landmarks) must not change: no training, no statistics.

        Put them into eval mode with requires_grad_(False), also after somebody calls train()."""
        model.needs_training()
        engine = model.engine(pictures, tmp_path, steps=2)
        losses = {name: loss for terms in engine.losses.values() for name, (_, loss) in terms.terms.items()}
        before = {name: [t.clone() for _, t in tensors_of(loss)] for name, loss in losses.items()}
        _run(engine)
        for name, loss in losses.items():
            changed = [
                key for (key, tensor), old in zip(tensors_of(loss), before[name]) if not torch.equal(tensor, old)
            ]
            assert not changed, f"{model.name}: training changes {changed[0]} of the loss {name!r}, which nobody saves"

    @check
    def test_shipped_weights_survive_training(self, card: tuple[Card, str], tmp_path: Path) -> None:
        """Trained for a few steps on what it draws already, from its own weights, a model must still draw it so.

        What begins untrained beside it must not pull at it: a discriminator learns alone first (`head_start` of the
        trainer `one-way`), what is trained learns at a lower rate (`optimiser.trained`). Asked of the first model of the
        plugin that ships weights and is trained on photographs and drawings."""
        found = next(shipped(self.plugin), None)
        if found is None or found.name != card[0].tagged(card[1]):
            pytest.skip("asked of the first model that ships weights and is trained on photographs and drawings")
        moved, apart = found.drift(tmp_path)
        told = f"{found.recipe}: {SURVIVED} steps move the shipped drawings by {moved:.3f}; photographs are {apart:.2f} away"
        assert moved < DRIFT * apart, told

    @check
    @once_for("facts")
    def test_another_device_gives_the_same(self, model: Model, pictures: Path, tmp_path: Path) -> None:
        """On a device that is not the CPU a step must have the CPU's losses, and gradients where its networks are.

        Make tensors where the batch is: `torch.zeros(3, device=x.device)`, `x.new_zeros(3)`, buffers of the module. No device
        is needed to check this: see `zoo.testing.elsewhere`."""
        model.needs_training()
        if not possible():
            pytest.skip("this torch knows no devices written in Python")
        found: list[dict[str, float]] = []
        data = batch(model.engine(pictures, tmp_path))
        for away in (False, True):
            engine = model.engine(pictures, tmp_path)
            with elsewhere() as there:
                where = there if away else torch.device("cpu")
                for terms in engine.losses.values():
                    for part in (*(loss for _, loss in terms.terms.values()), *terms.providers.values()):
                        part.to(where)
                engine.networks.to(where), engine.memory.to(where)
                given = {name: tensor.to(where) for name, tensor in data.items()}
                totals = {}
                for phase, made in yielded(engine.trainer, given, engine.losses):
                    total, _ = engine.losses[phase](made)
                    total.backward(retain_graph=True)
                    totals[phase] = float(total.detach())
                gradients = {p.grad.device for p in engine.networks.parameters() if p.grad is not None}
                with torch.no_grad():
                    engine.trainer.previews(given, engine.networks[engine.trainer.exported])
            assert gradients == {where}, f"{model.name}: gradients are on {gradients}"
            found.append(totals)
        here, others = found
        for phase, total in here.items():
            told = f"{model.name}, {phase}: the losses are {others[phase]:.6g} there and {total:.6g} on the CPU"
            assert abs(others[phase] - total) <= 1e-3 * max(1.0, abs(total)), told

    @check
    @once_for("recipe")
    def test_previews(self, model: Model, pictures: Path, tmp_path: Path) -> None:
        """`previews` must give finite pictures (N,3,H,W), all of one size, one for each sample."""
        model.needs_training()
        engine = model.engine(pictures, tmp_path)
        columns = engine.previews()
        assert columns, f"{model.name}: there are no previews"
        shapes = {name: tuple(images.shape) for name, images in columns.items()}
        wanted = (6, 3, *engine.recipe.data.size)
        wrong = [name for name, shape in shapes.items() if shape != wanted]
        assert not wrong, f"{model.name}: the preview {wrong[0]!r} is {shapes[wrong[0]]}, not {wanted}"
        assert all(images.isfinite().all() for images in columns.values()), f"{model.name}: a preview holds NaN"


class _Idle(Terms):
    """What a phase minimises that is not trained: nothing, at no cost."""

    def __call__(self, step: Step) -> tuple[Tensor, dict[str, Tensor]]:
        return torch.zeros((), requires_grad=True), {"idle": torch.zeros(())}


def _alike(one: Tensor, other: Tensor) -> bool:
    """Bit by bit; of what nothing is known yet, NaN, both."""
    known = one == one
    return one.shape == other.shape and torch.equal(known, other == other) and torch.equal(one[known], other[known])


def _run(engine: Any, phase: str | None = None) -> list[float]:
    """Train to the end; the weighted sums of the losses of ``phase``."""
    from zoo.train.report import NoReport

    totals: list[float] = []

    class Totals(NoReport):
        def step(self, *args: Any) -> None:
            if phase:
                weights = {f"{phase}.{name}": weight for name, (weight, _) in engine.losses[phase].terms.items()}
                if weights.keys() <= args[-1].keys():  # a step may leave a phase out
                    totals.append(sum(weight * float(args[-1][name]) for name, weight in weights.items()))

    engine.run(Totals)
    return totals
