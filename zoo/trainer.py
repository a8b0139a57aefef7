"""The Trainer contract: what one paper computes in a training step. The engine does everything else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from torch import Tensor, nn

Batch = Mapping[str, Tensor]
Step = Mapping[str, Tensor]
PAIRED = "paired_"
"""What a step provides under names that begin so shows the same sitter twice: there with paired data only."""


class Trainer:
    """One paper's training step.

    ``networks`` are trained, saved, averaged and moved by the engine. ``phases`` names the phases of a step in
    order, each with the networks it trains. ``step`` yields once per phase the named tensors that this phase's
    losses read; the engine sums the losses, backpropagates and updates before the step goes on::

        phases: ClassVar = {"generator": ("g",), "discriminator": ("d",)}
        provides: ClassVar = {"generator": frozenset({"output", "logits"}), "discriminator": frozenset({"real_logits", …})}

        def step(self, batch):
            output = self.g(batch["source"])
            yield {"output": output, "logits": self.d(output)}          # trains g; d is frozen here
            yield {"real_logits": …, "fake_logits": self.d(output.detach())}   # trains d

    ``provides`` stands on the class, for the catalogue: all names that a phase can yield, those of paired data
    (``paired_…``) included. ``wanted`` holds the names that the configured losses need: a step may leave out what
    nobody wants. Randomness comes from ``batch["seed"]`` alone (one integer a sample), which makes resume exact and
    independent of how a batch is spread over processes. ``memory`` is state beside the networks (image pools) that a
    checkpoint must hold. ``exported`` is the network that ``zoo pack`` writes.
    """

    networks: nn.ModuleDict
    memory: nn.ModuleDict
    phases: ClassVar[Mapping[str, tuple[str, ...]]]
    provides: ClassVar[Mapping[str, frozenset[str]]]
    exported: str
    wanted: frozenset[str] = frozenset()
    rank: int = 0

    def gather(self, tensor: Tensor) -> Tensor:
        """The tensors (N,…) of all processes as one; the engine replaces this when there are several."""
        return tensor

    def step(self, batch: Batch) -> Iterator[Step]:
        raise NotImplementedError

    def previews(self, batch: Batch, exported: nn.Module) -> dict[str, Tensor]:
        """Pictures (N,3,H,W) in [-1,1] for the preview grid, by column name; ``exported`` is the averaged network."""
        raise NotImplementedError
