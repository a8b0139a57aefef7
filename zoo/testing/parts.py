"""Checks of blocks and losses, which have to fit into everybody's generators and trainers."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zoo.catalogue.host import host
from zoo.errors import ConfigError
from zoo.testing.check import Contract, check
from zoo.testing.drawing import SAME
from zoo.testing.lesson import Lesson, lesson
from zoo.testing.networks import useful
from zoo.testing.provision import provision
from zoo.testing.subject import stir
from zoo.testing.words import strange as wrong
from zoo.vocabulary import WORDS

CHANNELS = 8


class PartChecks(Contract):
    """A block fits any generator, a loss any trainer that has what it needs, itself or from a provider."""

    # -- blocks -------------------------------------------------------------------------------------------------------

    @check
    def test_block_keeps_shapes(self, block: str) -> None:
        """`block(channels)` must give back (N,C,H,W) as it got it, at any size: that is why it fits any generator."""
        for channels in (CHANNELS, 3 * CHANNELS):
            made = build_block(block, channels)
            for shape in ((1, channels, 8, 8), (2, channels, 7, 5)):
                out = made(torch.rand(shape))
                assert out.shape == shape, f"block {block!r} makes {tuple(out.shape)} of {shape}"
                assert out.isfinite().all(), f"block {block!r} makes NaN or infinity"

    @check
    def test_block_sees_pictures_alone(self, block: str) -> None:
        """What a block makes of one picture must not depend on the others of the batch."""
        made, x = build_block(block, CHANNELS).eval(), torch.rand(3, CHANNELS, 8, 6)
        with torch.no_grad():
            off = float((made(x)[:1] - made(x[:1])).abs().max())
        assert off < SAME, f"block {block!r}: a picture's features differ by {off:.2g} when others are there"

    @check
    def test_block_gradients(self, block: str) -> None:
        """Every parameter of a block, and what goes into it, must get a gradient."""
        missing: set[str] = set()
        for seed in range(4):  # a ReLU may be shut for one set of weights
            made, x = build_block(block, CHANNELS, seed), torch.randn(2, CHANNELS, 8, 8, requires_grad=True)
            made(x).square().sum().backward()
            found = {name for name, p in made.named_parameters() if useful(p.grad)} | (
                {"x"} if useful(x.grad) else set()
            )
            missing = (missing if seed else {"x", *(name for name, _ in made.named_parameters())}) - found
        assert not missing, f"block {block!r}: {min(missing)} gets no gradient"

    # -- providers ----------------------------------------------------------------------------------------------------

    @check
    def test_provider_keeps_its_word(self, provider: str, pictures: Path, tmp_path: Path) -> None:
        """A provider must make what the vocabulary says of its name, the same each time, and read what is in `needs` alone.

        A word of the plugin's own must be a tensor with a row for each picture."""
        name, step, found, size = provision(provider, pictures, tmp_path)
        told = found({need: step[need] for need in found.needs} | {one: step[one] for one in found.trainer.held()})
        assert isinstance(told, Tensor) and told.dim(), f"provider {provider!r} makes {_form(told)}"
        assert not (odd := wrong(name, told, size)), f"provider {provider!r}: {odd}"
        rows = len(step["source"])
        assert name in WORDS or len(told) == rows, f"provider {provider!r} makes {len(told)} rows for {rows} pictures"
        assert torch.equal(told.nan_to_num(), found(step).nan_to_num()), (
            f"provider {provider!r} makes another each time"
        )
        trained = [key for key, one in found.named_parameters() if one.requires_grad]
        assert not trained, f"provider {provider!r}: {trained and trained[0]} is not frozen, and nobody trains it"

    # -- losses -------------------------------------------------------------------------------------------------------

    @check
    def test_loss_is_a_number(self, loss: str, pictures: Path, tmp_path: Path) -> None:
        """A loss must be one finite float32 number, and finite under bf16 as well.

        Take the mean; leave autocast, or add a small number below roots and logarithms, where it overflows."""
        found = lesson(self.plugin, loss, pictures, tmp_path)
        value = found.loss(found.step)
        assert isinstance(value, Tensor) and not value.dim(), f"loss {loss!r} is no single number: {_form(value)}"
        assert value.dtype == torch.float32, f"loss {loss!r} is {value.dtype}, not float32"
        with torch.autocast("cpu", torch.bfloat16):
            short = found.loss(found.step)
        assert value.isfinite() and short.isfinite(), f"loss {loss!r} is {float(value)}, under bf16 {float(short)}"

    @check
    def test_loss_reads_what_it_needs(self, loss: str, pictures: Path, tmp_path: Path) -> None:
        """All names that a loss reads must be in `needs`: they are checked before the first step, not in the middle."""
        found = lesson(self.plugin, loss, pictures, tmp_path)
        try:
            found.loss({name: found.step[name] for name in found.loss.needs})
        except (KeyError, StopIteration) as error:
            raise AssertionError(f"loss {loss!r} reads {error}, which is not in its needs") from error
        for name in sorted(found.loss.needs - _had_elsewhere(found)):
            try:
                _refuse_without(found, name)
            except ConfigError as error:
                assert name in str(error), f"loss {loss!r}: the error does not name {name}"
                continue
            raise AssertionError(f"loss {loss!r} is taken by a trainer that does not provide {name}")

    @check
    def test_loss_has_a_gradient(self, loss: str, pictures: Path, tmp_path: Path) -> None:
        """A loss must have a gradient: without one it teaches nothing, though its number looks well in the log.

        Look for detach, argmax, rounding, numpy and no_grad between what it reads and its value."""
        found = lesson(self.plugin, loss, pictures, tmp_path)
        value = found.loss(found.step)
        assert value.requires_grad, f"loss {loss!r} has no gradient: it is a constant to the networks"
        value.sum().backward()
        made = sorted(name for name in found.loss.needs if found.step[name].requires_grad)
        reached = [name for name in made if useful(found.step[name].grad)]
        assert reached, f"loss {loss!r}: the gradient to {', '.join(made)} is 0 or not finite"

    @check
    def test_loss_is_linear_in_its_weight(self, loss: str, pictures: Path, tmp_path: Path) -> None:
        """Three times the weight must be three times the value and three times the gradient.

        The weight is the recipe's: a loss neither weighs itself, nor counts its calls, nor scales its gradient."""
        found = lesson(self.plugin, loss, pictures, tmp_path)
        totals, slopes = zip(*(_weighed(found, weight) for weight in (1.0, 3.0)))
        assert torch.isclose(totals[1], 3 * totals[0], rtol=1e-4, atol=1e-6), (
            f"loss {loss!r} is not linear in its weight"
        )
        off = max((_relative(3 * one, three) for one, three in zip(*slopes)), default=0.0)
        assert off < 1e-3, f"loss {loss!r}: its gradient is not linear in its weight"


def build_block(name: str, channels: int, seed: int = 0) -> nn.Module:
    """A block as a generator gets it, with all its gates open."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return stir(host().part("block", name)(channels), seed)


def _form(value: Any) -> str:
    return f"a tensor {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__


def _refuse_without(found: Lesson, name: str) -> None:
    from zoo.train.objective import build_losses

    poor, spec = copy.copy(found.trainer), {found.name: {**found.options, "weight": 1.0}}
    poor.provided = lambda phase: found.trainer.provided(phase) - {name}  # type: ignore[method-assign]
    build_losses(found.recipe.model_copy(update={"losses": {found.phase: spec}}), poor)


def _had_elsewhere(found: Lesson) -> frozenset[str]:
    """What the loss needs and would get if the trainer did not provide it: of the batch, or from a provider."""
    from zoo.train.supply import supply

    given, trainer = found.trainer.provided(found.phase), type(found.trainer)
    needs = found.loss.needs
    return frozenset(name for name in needs if not supply([name], given - {name}, trainer, found.phase).missing)


def _weighed(found: Lesson, weight: float) -> tuple[Tensor, list[Tensor]]:
    """The weighted term, and its gradients."""
    from zoo.train.objective import Terms

    leaves = {name: t.detach().clone().requires_grad_(t.requires_grad) for name, t in found.step.items()}
    total, _ = Terms({found.name: (weight, found.loss)})(leaves)
    if total.requires_grad:
        total.backward()
    return total.detach(), [t.grad for t in leaves.values() if t.grad is not None]


def _relative(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max() / one.abs().max().clamp(min=1e-12))
