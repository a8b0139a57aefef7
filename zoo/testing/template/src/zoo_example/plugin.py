"""What this plugin brings to the zoo."""

from __future__ import annotations

from zoo import Registrar, hookimpl
from zoo_example.blocks import GatedBlock
from zoo_example.losses import EdgesLoss
from zoo_example.networks import DrawingGenerator
from zoo_example.trainer import DrawingTrainer


@hookimpl
def zoo_register(register: Registrar) -> None:
    register.block("example-gate", GatedBlock)
    register.loss("example-edges", EdgesLoss)
    register.generator("example", DrawingGenerator)
    register.trainer("example", DrawingTrainer)
