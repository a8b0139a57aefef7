"""What this plugin brings to the zoo."""

from __future__ import annotations

from zoo import Registrar, hookimpl
from zoo_cycleda.blocks import DualAttentionBlock, SqueezeExcitationBlock
from zoo_cycleda.losses import SkinLoss
from zoo_cycleda.networks import ResnetGenerator
from zoo_cycleda.one_way import OneWayTrainer
from zoo_cycleda.trainer import CycleTrainer


@hookimpl
def zoo_register(register: Registrar) -> None:
    register.block("squeeze-excitation", SqueezeExcitationBlock)
    register.block("dual-attention", DualAttentionBlock)
    register.loss("skin", SkinLoss)
    register.generator("resnet", ResnetGenerator)
    register.trainer("cycle", CycleTrainer)
    register.trainer("one-way", OneWayTrainer)
