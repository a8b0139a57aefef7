"""What this plugin brings to the zoo."""

from __future__ import annotations

from zoo import Registrar, hookimpl
from zoo_facefusion import losses
from zoo_facefusion.commands import fusion_grid, fusion_strip
from zoo_facefusion.crops import fusion_crops
from zoo_facefusion.evaluate import fusion_eval
from zoo_facefusion.networks import FusionCritic, FusionGenerator
from zoo_facefusion.providers import Composite, FlippedComposite, Mix, Other, OtherParts, Parts
from zoo_facefusion.trainer import FusionTrainer
from zoo_facefusion.translator import FusionTranslator


@hookimpl
def zoo_register(register: Registrar) -> None:
    register.command("fusion-crops", fusion_crops)
    register.command("fusion-strip", fusion_strip)
    register.command("fusion-grid", fusion_grid)
    register.command("fusion-eval", fusion_eval)
    register.generator("fusion", FusionGenerator)
    register.discriminator("fusion", FusionCritic)
    register.loss("autoencoder", losses.AutoencoderLoss)
    register.loss("fusion-reconstruction", losses.ReconstructionLoss)
    register.loss("fusion-variation", losses.FusionVariationLoss)
    register.loss("fusion-content", losses.FusionContentLoss)
    register.loss("fusion-style", losses.FusionStyleLoss)
    register.loss("changes", losses.ChangesLoss)
    register.loss("composite", losses.CompositeLoss)
    register.loss("elements", losses.ElementsLoss)
    register.provider("composite", Composite)
    register.provider("flipped-composite", FlippedComposite)
    register.provider("other-parts", OtherParts)
    register.provider("parts", Parts)
    register.provider("mix", Mix)
    register.provider("other", Other)
    register.trainer("fusion", FusionTrainer)
    register.translator("fusion", FusionTranslator)
