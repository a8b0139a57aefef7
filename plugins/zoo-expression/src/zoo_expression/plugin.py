"""What this plugin brings to the zoo."""

from __future__ import annotations

from zoo import Registrar, hookimpl
from zoo_expression import commands
from zoo_expression.blocks import ConvNeXtBlock
from zoo_expression.crops import face_crops
from zoo_expression.evaluate import expression_eval
from zoo_expression.films import FilmTranslator
from zoo_expression.judge import au_judge
from zoo_expression.losses import (
    ActionUnitLoss,
    AttentionAreaLoss,
    AttentionVariationLoss,
    ExpressionClassLoss,
    MotionLoss,
    PaintLoss,
)
from zoo_expression.motion_table import motion_table
from zoo_expression.mouths import mouth_painter
from zoo_expression.networks import Discriminator, StarGANGenerator
from zoo_expression.providers import LabelOfUnits, ScoresOfUnits, UnitsOfOutput, UnitsOfSource
from zoo_expression.shade_table import shade_table
from zoo_expression.trainer import ExpressionTrainer


@hookimpl
def zoo_register(register: Registrar) -> None:
    register.block("convnext", ConvNeXtBlock)
    register.command("morph", commands.morph)
    register.command("expression-grid", commands.grid)
    register.command("face-crops", face_crops)
    register.command("au-judge", au_judge)
    register.command("expression-eval", expression_eval)
    register.command("motion-table", motion_table)
    register.command("shade-table", shade_table)
    register.command("mouth-painter", mouth_painter)
    register.generator("stargan", StarGANGenerator)
    register.discriminator("stargan", Discriminator)
    register.loss("action-units", ActionUnitLoss)
    register.loss("expression-class", ExpressionClassLoss)
    register.loss("attention-area", AttentionAreaLoss)
    register.loss("attention-variation", AttentionVariationLoss)
    register.loss("paint", PaintLoss)
    register.loss("landmark-motion", MotionLoss)
    register.provider("units", UnitsOfSource)
    register.provider("read", UnitsOfOutput)
    register.provider("label", LabelOfUnits)
    register.provider("scores", ScoresOfUnits)
    register.trainer("expression", ExpressionTrainer)
    register.translator("expression", FilmTranslator)
