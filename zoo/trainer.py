"""The Trainer contract: what one paper computes in a training step. The engine does everything else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, cast

import torch
from torch import Tensor, nn

from zoo.generator import Generator
from zoo.vocabulary import PAIRED as PAIRED

if TYPE_CHECKING:
    from rich.console import Console

    from zoo.recipe import Data
    from zoo.train.data import Pictures

Batch = Mapping[str, Tensor]
Step = Mapping[str, Tensor]


class Trainer:
    """One paper's training step.

    ``networks`` are trained, saved, averaged and moved by the engine. ``phases`` names the phases of a step in
    order, each with the networks it trains. ``step`` yields once per phase the named tensors that this phase's
    losses read; the engine sums the losses, backpropagates and updates before the step goes on:

        phases: ClassVar = {"generator": ("g",), "discriminator": ("d",)}
        provides: ClassVar = {"generator": frozenset({"output", "logits"}), "discriminator": frozenset({"real_logits", …})}

        def step(self, batch):
            output = self.g(batch["source"])
            yield {"output": output, "logits": self.d(output)}          # trains g; d is frozen here
            yield {"real_logits": …, "fake_logits": self.d(output.detach())}   # trains d

    A step that yields nothing, ``{}``, leaves its phase out: nothing is updated in it.

    ``provides`` stands on the class, for the catalogue: all names that a phase can yield, those of paired data
    (``paired_…``) included. `zoo.vocabulary` says what is to stand under which name; what a loss needs beside it,
    providers may compute (`zoo.provider`). What else a generator makes is passed on without being known here: ``passes_on`` names for
    each phase the generators whose parts it yields, by what is put in front of their names, and `parts_of` writes
    them:

        passes_on: ClassVar = {"generator": {"": "draw", "reverse_": "photo"}}
        …
            made = self.networks["draw"].parts(x)
            yield {**parts_of(made), "output": made["image"]}

    ``wanted`` holds the names that the configured losses need: a step may leave out what
    nobody wants. Randomness comes from ``batch["seed"]`` alone (one integer a sample), which makes resume exact and
    independent of how a batch is spread over processes. ``memory`` is state beside the networks (image pools) that a
    checkpoint must hold. ``exported`` is the network that ``zoo pack`` writes. ``domains`` is 1 where photographs are all
    that it learns from: ``zoo train`` then takes no drawings. ``samples`` is the class of what steps are made of, called
    as ``samples(photos, drawings, data, seed, console)``, without drawings where there are none.

    ``gives`` are the inputs that it hands to its generator beside the picture, ``uses`` what it calls of it beside
    ``parts``, and ``teaches`` which of the parts it shapes: what does not fit is refused before anything is built.
    ``judges`` is what it calls of its discriminator beside ``forward``, None where it has none; `logits_of` takes the
    logits of any.

    ``watched`` are numbers worth a look beside the losses: behind its last ``yield`` a step may set it, and the log shows
    them as ``watch.NAME``. Nothing is trained on them.
    """

    networks: nn.ModuleDict
    memory: nn.ModuleDict
    phases: ClassVar[Mapping[str, tuple[str, ...]]]
    provides: ClassVar[Mapping[str, frozenset[str]]]
    passes_on: ClassVar[Mapping[str, Mapping[str, str]]] = {}
    exported: str
    domains: ClassVar[int] = 2
    gives: ClassVar[frozenset[str]] = frozenset()
    uses: ClassVar[frozenset[str]] = frozenset()
    teaches: ClassVar[str] = "image"
    judges: ClassVar[frozenset[str] | None] = frozenset()
    samples: ClassVar[Callable[..., Pictures] | None] = None
    wanted: frozenset[str] = frozenset()
    watched: Mapping[str, Tensor] = MappingProxyType({})
    rank: int = 0

    def provided(self, phase: str) -> frozenset[str]:
        """All that losses may read in ``phase``: what the trainer provides, and what its generators make."""
        passed = self.passes_on.get(phase, {}).items()
        made = {before + name for before, network in passed for name in cast(Generator, self.networks[network]).makes}
        return self.provides[phase] | made

    @classmethod
    def held(cls) -> frozenset[str]:
        """What every batch holds: the phases that train the exported network have it, and providers in all phases."""
        return frozenset({"source", "seed", *(["target"] if cls.domains > 1 else [])})

    def judge(self, image: Tensor, step: Step, salt: int) -> Tensor:
        """The logits of pictures that are not the step's own; ``step`` has what is `held`, and ``salt``, from 100 on, tells
        apart what is augmented by one seed."""
        raise NotImplementedError

    @classmethod
    def pictures(
        cls,
        photos: Sequence[Path],
        drawings: Sequence[tuple[str, Path]],
        data: Data,
        seed: int,
        console: Console | None = None,
    ) -> Pictures:
        """The samples that steps are made of: photographs and drawings, until a trainer says otherwise."""
        if cls.samples is not None:
            return cls.samples(photos, *([drawings] if cls.domains > 1 else []), data, seed, console)
        from zoo.train.data import Portraits

        return Portraits(photos, drawings, data, seed, console)

    def gather(self, tensor: Tensor) -> Tensor:
        """The tensors (N,…) of all processes as one; the engine replaces this when there are several."""
        return tensor

    def step(self, batch: Batch) -> Iterator[Step]:
        """For each phase, in their order, the named tensors that its losses read."""
        raise NotImplementedError

    def draw(self, exported: nn.Module, photo: Tensor, hand: Tensor) -> Tensor:
        """What ``exported`` makes of photographs (N,3,H,W) in the hand (N,) of the folder of drawings: for people who
        are held out of training, by whom a run is measured."""
        return exported(photo)

    def previews(self, batch: Batch, exported: nn.Module) -> dict[str, Tensor]:
        """Pictures (N,3,H,W) in [-1,1] for the preview grid, by column name; ``exported`` is the averaged network."""
        raise NotImplementedError


class Count(nn.Module):
    """How many steps there have been, for a trainer's ``memory``."""

    total: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("total", torch.zeros((), dtype=torch.int64))


def logits_of(judge: nn.Module, image: Tensor, *label: Tensor) -> Tensor:
    """The logits of a discriminator, which may read more off a picture beside them."""
    made = judge(image, *label)
    logits: Tensor = made if isinstance(made, Tensor) else made[0]
    return logits


def parts_of(made: Mapping[str, Tensor], before: str = "") -> Step:
    """What a generator made beside the picture, for a step to pass on; the names begin with ``before``."""
    return {before + name: tensor for name, tensor in made.items() if name != "image"}
