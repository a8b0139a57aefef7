"""The training engine: everything about a run that is not the paper's.

A run is a function of recipe, pictures and seed. All randomness is drawn from (seed, sample number), so a
checkpoint needs no generator states, and a run that was stopped goes on bit for bit (on the CPU).
"""

from __future__ import annotations

import atexit
import copy
import logging
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, cast

import torch
from accelerate import Accelerator
from torch import Tensor

from zoo.blocks.norm import heal_instance_norms
from zoo.errors import ConfigError, IntegrityError
from zoo.generator import Generator
from zoo.loss import Views
from zoo.machine.compiler import can_compile
from zoo.machine.kernels import LAYOUTS, kernels
from zoo.recipe import Recipe
from zoo.train import checkpoint
from zoo.train.begin import start_from
from zoo.train.data import Pictures, Share
from zoo.train.feed import batches
from zoo.train.folder import Diverged
from zoo.train.gradients import share, shorten
from zoo.train.heldout import HeldOut, Watch
from zoo.train.objective import build_losses, phases
from zoo.train.page import Course
from zoo.train.report import Report
from zoo.train.takes import build_trainer
from zoo.trainer import Trainer
from zoo.weights.file import not_finite

log = logging.getLogger("zoo.train")
WATCHED = "watch"  # in the log, before the names of what a trainer watches
CURE = "the same command with a lower --set optimiser.lr=…, or without --bf16, goes on from the last checkpoint"
TIMED = 20  # steps of one kind after which a budget of minutes becomes a number of steps
LOOKS, OFTEN, SELDOM = 12, 20, 500  # looks at the held-out sitters in a run; steps between two, at least and at most
WORTH = 60 * 60  # seconds left from which on generated code, a tenth faster, wins back the minutes that it costs


@dataclass(frozen=True)
class Options:
    """How to run: none of these changes what is learned but for rounding, precision and the budget."""

    out: Path
    seed: int = 0
    steps: int | None = None
    epochs: float | None = None
    minutes: float | None = None
    bf16: bool = False
    accumulate: int = 1
    compile: bool | None = None  # None: where it pays
    workers: int = 0
    device: str | None = None
    save_every: int = 500
    preview_every: int = 500
    measure_every: int | None = None
    log_every: int = 10
    start_from: Path | None = None


class Engine:
    """One run of a recipe on a set of pictures."""

    def __init__(self, recipe: Recipe, data: Pictures, options: Options) -> None:
        self.watch: Watch | None = None
        self.recipe, self.data, self.options = recipe, data, options
        self.accelerator = Accelerator(cpu=(options.device or "").startswith("cpu"))
        if self.accelerator.num_processes > 1:  # a group that is still up at the exit aborts the process now and then
            atexit.register(self.accelerator.end_training)
        self.device = self.accelerator.device
        torch.manual_seed(options.seed)
        self.trainer: Trainer = build_trainer(recipe)
        _check_size(recipe, self.trainer)
        _check_rates(recipe, self.trainer)
        self.losses = build_losses(recipe, self.trainer)
        self.trainer.wanted = frozenset().union(*(terms.needs() for terms in self.losses.values()))
        self.trainer.rank = self.accelerator.process_index
        if self.accelerator.num_processes > 1:
            self.trainer.gather = self.accelerator.gather  # type: ignore[method-assign]
        self.kernels = kernels(self.device.type, options.bf16)
        self.layout = LAYOUTS[self.kernels.training]
        self.networks = self.trainer.networks.to(self.device).to(memory_format=self.layout)
        self.memory = self.trainer.memory.to(self.device).to(memory_format=self.layout)
        for terms in self.losses.values():
            for loss in (*(loss for _, loss in terms.terms.values()), *terms.providers.values()):
                loss.to(self.device).to(memory_format=self.layout).requires_grad_(False)
        heal_instance_norms(self.networks)
        self.optimisers = {phase: self._optimiser(names) for phase, names in self.trainer.phases.items()}
        self.trained: frozenset[str] = frozenset()  # networks that begin trained
        if options.start_from is not None:
            self.trained = start_from(self.networks, self.trainer.exported, options.start_from)
        self.average = copy.deepcopy(self.networks[self.trainer.exported]).requires_grad_(False)
        self.step, self.total, self.seconds = 0, self._budget(), 0.0
        self.kind: tuple[str, ...] = ()  # the phases that the newest steps had
        self.timed = (0, 0.0)  # step and seconds since when they have; what is behind is timed
        self.timing, self.again = options.minutes is not None, 0  # again: the step from which it is timed once more
        self.untold: dict[str, Any] = {}  # what the report keeps in a checkpoint
        self.compiled = options.compile if self.kernels.compiled else bool(options.compile)  # None: not decided yet
        self.stopped = ""

    # -- set-up ---------------------------------------------------------------------------------------------------

    def _optimiser(self, names: tuple[str, ...]) -> torch.optim.Optimizer:
        parameters = [p for name in names for p in self.networks[name].parameters()]
        values = self.recipe.optimiser
        kind = torch.optim.AdamW if values.name == "adamw" else torch.optim.Adam
        return kind(parameters, lr=values.lr, betas=values.betas, weight_decay=values.weight_decay)

    @property
    def generator(self) -> Generator:
        """The network that is trained for use."""
        return cast(Generator, self.networks[self.trainer.exported])

    @property
    def samples_per_step(self) -> int:
        return self.recipe.data.batch * self.options.accumulate * self.accelerator.num_processes

    def _budget(self) -> int | None:
        """Steps in all; None while a budget of minutes waits for the first steps to be timed."""
        if self.options.steps is not None:
            return self.options.steps
        if self.options.minutes is not None:
            return None
        epochs = self.options.epochs or self.recipe.schedule.epochs
        return math.ceil(epochs * self.data.epoch / self.samples_per_step)

    def _rate(self) -> float:
        """Constant, then falling linearly to 0 over the last part of the run."""
        if self.total is None or not self.recipe.schedule.decay:
            return self.recipe.optimiser.lr
        left = (self.total - self.step) / (self.total * self.recipe.schedule.decay)
        return self.recipe.optimiser.lr * min(1.0, left)

    def _factor(self, phase: str) -> float:
        """What the rate of a phase is multiplied by."""
        values, networks = self.recipe.optimiser, self.trainer.phases[phase]
        return values.rates.get(phase, 1.0) * (values.trained if self.trained.issuperset(networks) else 1.0)

    # -- the run --------------------------------------------------------------------------------------------------

    def run(self, report: Callable[[], Report]) -> str:
        """Train to the end of the budget, or until SIGINT or SIGTERM; gives "" or the signal's name."""
        folder = self.options.out / "checkpoints"
        self._resume(folder)
        if self.total is not None and self.step >= self.total:
            log.info("nothing to do: the run has its %d steps; more --steps, --epochs or --minutes go on", self.step)
            return ""
        with self._signals(), report() as reporter:
            if not self.step:
                reporter.previews(0, self.previews)
                self._look(reporter)
            started, before = time.monotonic(), self.seconds
            batches = self._batches()
            if self.compiled:
                self._compile()
            while self.total is None or self.step < self.total:
                terms = self._step(batches)
                self.step += 1
                self.seconds = before + time.monotonic() - started
                if self.options.minutes is not None:
                    self._time(terms)
                if self.compiled is None and self.total is not None and self.step >= TIMED:
                    self.compiled = self._slowest() * (self.total - self.step) / self.step > WORTH
                    if self.compiled:
                        self._compile()
                last = self.step == self.total or self._stopping()
                if last or self._is_time_to_look():
                    self._look(reporter)
                reporter.step(self.step, self.total, self.seconds, self._rate(), terms)
                if last or self.step % self.options.save_every == 0:
                    self._check_finite()
                if last or self.step % self.options.preview_every == 0:
                    reporter.previews(self.step, self.previews)
                if last or self.step % self.options.save_every == 0:
                    self._save(folder, reporter.keep())
                if last:
                    break
            reporter.page(self._course())
        return self.stopped

    def _check_finite(self) -> None:
        """A loss can be a number and what it makes of the weights none: no checkpoint holds that."""
        for what, module in (("networks", self.networks), ("average", self.average)):
            if name := not_finite(module.state_dict()):
                raise Diverged(f"{name} of the {what} is not finite after step {self.step}", CURE, self.step)

    def _time(self, terms: dict[str, Tensor]) -> None:
        """Make the budget a number of steps once the pace is known; again when phases join or leave, which are slower
        or faster steps, and when half of what was left is done, since other work comes and goes on a machine. All
        processes must agree: the slowest one's clock counts."""
        kind = tuple(phase for phase in self.trainer.phases if any(name.startswith(f"{phase}.") for name in terms))
        if kind != self.kind:
            self.kind, self.timing, self.timed = kind, True, (self.step, self.seconds)
            if self.step > 1:
                return  # its time began with another kind of step
            self.timed = (0, 0.0)
        again = self.total is not None and self.again <= self.step <= self.total - TIMED
        if not self.timing and not again:
            return
        spent = torch.tensor([self.seconds, self.seconds - self.timed[1]], device=self.device)
        seconds, since = self.accelerator.gather(spent[None]).amax(0).tolist()
        steps, left = self.step - self.timed[0], 60 * (self.options.minutes or 0) - seconds
        if steps < TIMED and left > 0:
            return
        expected, self.total = self.total, self.step + max(0, int(left * steps / since))
        first, self.timing, self.timed = self.timing, False, (self.step, self.seconds)
        self.again = self.step + math.ceil((self.total - self.step) / 2)
        told = any(self.trainer.exported in self.trainer.phases[phase] for phase in kind)  # no mere head start
        if told and (first or expected is None or abs(self.total - expected) > expected / 10):
            log.info("%d steps are %sexpected in %g minutes", self.total, "" if first else "now ", self.options.minutes)

    def _course(self) -> Course:
        watch, out = self.watch, self.options.out
        return Course(out, self.recipe, self.step, self.total, self.seconds, self.recipe.optimiser.lr, watch)

    # -- the held-out sitters -------------------------------------------------------------------------------------

    def hold(self, held: HeldOut | None) -> None:
        """Measure the run on ``held`` as it goes."""
        self.watch = None if held is None else Watch(held)

    def _is_time_to_look(self) -> bool:
        every = self.options.measure_every or min(SELDOM, max(OFTEN, (self.total or 0) // LOOKS))
        return self.step % every == 0

    def _look(self, reporter: Report) -> None:
        if self.watch is None or not self.accelerator.is_main_process:
            return

        def draw(photo: Tensor, hand: Tensor) -> Tensor:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.options.bf16):
                return self.trainer.draw(self.average, photo, hand)

        self.watch.look(self.step, self.average, draw)
        reporter.look(self.watch)
        reporter.page(self._course())

    def _slowest(self) -> float:
        """The seconds of the slowest process."""
        return float(self.accelerator.gather(torch.tensor([self.seconds], device=self.device)).max())

    def _compile(self) -> None:
        """From here on the networks are generated code, which is made when they are next called."""
        if not can_compile(self.device.type):
            return
        log.info("compiles the networks, which takes minutes")
        for network in self.networks.values():
            network.compile()
            if isinstance(network, Generator):
                network.parts = torch.compile(network.parts)  # type: ignore[method-assign]

    def _batches(self) -> Iterator[dict[str, Tensor]]:
        accumulate, processes = self.options.accumulate, self.accelerator.num_processes
        stop = self.total if self.total is not None and self.options.minutes is None else 10**9
        share = Share(
            self.step * accumulate, stop * accumulate, self.recipe.data.batch, self.accelerator.process_index, processes
        )
        return batches(self.data, share, self.options.workers)

    def _step(self, batches: Iterator[dict[str, Tensor]]) -> dict[str, Tensor]:
        """One update of every phase. With accumulation the parts of the batch go through each phase side by side."""
        parts = []
        for _ in range(self.options.accumulate):
            parts.append(phases(self.trainer, self.losses, self._placed(next(batches))))
        for phase, optimiser in self.optimisers.items():
            for group in optimiser.param_groups:
                group["lr"] = self._rate() * self._factor(phase)
        logged: dict[str, Tensor] = {}
        for phase, names in self.trainer.phases.items():
            for name, network in self.networks.items():
                network.requires_grad_(name in names)
            optimiser = self.optimisers[phase]
            optimiser.zero_grad()
            for part in parts:
                with torch.autocast(self.device.type, torch.bfloat16, enabled=self.options.bf16):
                    if not (tensors := next(part)):
                        continue
                    made = Views({name: t.float() if t.is_floating_point() else t for name, t in tensors.items()})
                    total, terms = self.losses[phase](made)
                if not torch.isfinite(total):
                    raise Diverged(
                        f"the {phase}'s loss is {float(total.detach())} at step {self.step + 1}: "
                        + ", ".join(f"{name} {float(value):.3g}" for name, value in terms.items()),
                        CURE,
                        self.step,
                    )
                (total / len(parts)).backward()
                for name, value in terms.items():
                    logged[f"{phase}.{name}"] = logged.get(f"{phase}.{name}", 0) + value / len(parts)
            if any(name.startswith(f"{phase}.") for name in logged):
                if self.accelerator.num_processes > 1:
                    share(optimiser, self.accelerator)
                shorten(optimiser)
                optimiser.step()
        for part in parts:
            self.trainer.watched = {}
            next(part, None)  # to the end of the step
            for name, value in self.trainer.watched.items():
                number = value.detach().float().reshape(())
                logged[f"{WATCHED}.{name}"] = logged.get(f"{WATCHED}.{name}", 0) + number / len(parts)
        self._update_average()
        means = self.accelerator.reduce(torch.stack(list(logged.values())), "mean")
        return dict(zip(logged, means))

    def _placed(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A batch where the networks are, its pictures in their layout."""
        placed = {name: tensor.to(self.device) for name, tensor in batch.items()}
        return {n: t.contiguous(memory_format=self.layout) if t.dim() == 4 else t for n, t in placed.items()}

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(self.recipe.ema, (1 + self.step) / (10 + self.step))  # short at first: early weights are noise
        network = self.networks[self.trainer.exported]
        torch._foreach_lerp_(list(self.average.parameters()), list(network.parameters()), 1 - decay)
        for (name, mean), value in zip(self.average.named_buffers(), network.buffers()):
            if name.endswith(("running_mean", "running_var")):  # they belong to the weights: averaged as these are
                mean.lerp_(value, 1 - decay)
            else:
                mean.copy_(value)

    @torch.no_grad()
    def previews(self) -> dict[str, Tensor]:
        batch = self._placed(self.data.preview(6))
        rare = (
            torch.compiler.set_stance("force_eager") if self.compiled else nullcontext()
        )  # worth no code of their own
        with rare, torch.autocast(self.device.type, torch.bfloat16, enabled=self.options.bf16):
            columns = self.trainer.previews(batch, self.average)
        return {name: images.float().cpu() for name, images in columns.items()}

    # -- stopping -------------------------------------------------------------------------------------------------

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGINT and SIGTERM let the step finish, then save and stop. A second one stops at once.

        In a thread of somebody else's program, which has a say in what they do, they do what they did."""

        def note(number: int, _: FrameType | None) -> None:
            self.stopped = signal.Signals(number).name
            signal.signal(number, previous[signal.Signals(number)])

        ours = threading.current_thread() is threading.main_thread()
        ends = (signal.SIGINT, signal.SIGTERM) if ours else ()
        previous = {number: signal.signal(number, note) for number in ends}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _stopping(self) -> bool:
        """Has any process been told to stop?"""
        if self.accelerator.num_processes == 1:
            return bool(self.stopped)
        told = self.accelerator.gather(torch.tensor([int(bool(self.stopped))], device=self.device))
        if bool(told.any()) and not self.stopped:
            self.stopped = "SIGTERM"
        return bool(told.any())

    # -- saving and going on --------------------------------------------------------------------------------------

    def _save(self, folder: Path, untold: dict[str, Any]) -> None:
        if self.accelerator.is_main_process:
            tensors = checkpoint.flatten("networks", self.networks.state_dict())
            tensors |= checkpoint.flatten("memory", self.memory.state_dict())
            tensors |= checkpoint.flatten("average", self.average.state_dict())
            for phase, optimiser in self.optimisers.items():
                tensors |= checkpoint.flatten(f"optimiser/{phase}", checkpoint.optimiser_state(optimiser))
            facts: dict[str, Any] = {"total": self.total, "minutes": self.options.minutes, "seconds": self.seconds}
            facts |= {"untold": untold, "kind": self.kind, "compiled": self.compiled}
            if self.watch is not None:
                best, facts["watch"] = self.watch.state()
                tensors |= checkpoint.flatten("best", best)
            checkpoint.save(folder, self.step, tensors, facts)
        self.accelerator.wait_for_everyone()

    def _resume(self, folder: Path) -> None:
        if (newest := checkpoint.newest(folder)) is None:
            return
        tensors, facts = newest
        try:
            self.networks.load_state_dict(checkpoint.select("networks", tensors))
            self.memory.load_state_dict(checkpoint.select("memory", tensors))
            self.average.load_state_dict(checkpoint.select("average", tensors))
            for phase, optimiser in self.optimisers.items():
                checkpoint.load_optimiser(optimiser, checkpoint.select(f"optimiser/{phase}", tensors))
        except (RuntimeError, ValueError) as exc:
            raise IntegrityError(
                f"the checkpoints of {self.options.out} do not fit these networks: an older plugin wrote them",
                f"begin a new run with --start-from {self.options.out}",
            ) from exc
        self.step, self.seconds = int(facts["step"]), float(facts["seconds"])
        self.untold = facts.get("untold", {})
        if self.watch is not None and "watch" in facts:
            self.watch.load(checkpoint.select("best", tensors), facts["watch"])
        if self.compiled is None:  # as it was decided when the run began: it rounds in its own way
            self.compiled = facts.get("compiled")
        if self.total is None and self.options.minutes == facts.get("minutes", self.options.minutes):
            self.total = facts["total"]
        self.kind, self.timed = tuple(facts.get("kind", ())), (self.step, self.seconds)
        self.timing = self.options.minutes is not None and self.total is None
        log.info("going on at step %d", self.step)


def _check_size(recipe: Recipe, trainer: Trainer) -> None:
    generator = trainer.networks[trainer.exported]
    if not isinstance(generator, Generator):
        raise ConfigError(f"trainer {recipe.trainer['name']!r} exports no zoo.Generator", "report this to its author")
    rule, size = generator.size, recipe.data.size
    fits = size == rule.fixed if rule.fixed else not any(s % rule.multiple_of or s < rule.minimum for s in size)
    if not fits:
        takes = f"{rule.fixed}" if rule.fixed else f"multiples of {rule.multiple_of} from {rule.minimum} on"
        raise ConfigError(f"data.size {list(size)} does not suit {recipe.generator['name']!r}", f"it takes {takes}")


def _check_rates(recipe: Recipe, trainer: Trainer) -> None:
    if strange := sorted(recipe.optimiser.rates.keys() - trainer.phases.keys()):
        raise ConfigError(
            f"optimiser.rates.{strange[0]} is not a phase of the trainer {recipe.trainer['name']!r}",
            f"its phases are: {', '.join(trainer.phases)}",
        )
