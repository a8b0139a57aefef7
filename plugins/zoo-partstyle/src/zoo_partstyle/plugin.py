"""What this plugin brings to the zoo."""

from __future__ import annotations

from zoo import Registrar, hookimpl
from zoo_partstyle import filters
from zoo_partstyle.evaluate import style_eval
from zoo_partstyle.losses import GuidedContentLoss, GuidedStyleLoss, SelectedStyleLoss
from zoo_partstyle.networks import PictureOptimiser
from zoo_partstyle.translator import StyleTranslator


@hookimpl
def zoo_register(register: Registrar) -> None:
    register.generator("picture-optimiser", PictureOptimiser)
    register.loss("guided-content", GuidedContentLoss)
    register.loss("guided-style", GuidedStyleLoss)
    register.loss("selected-style", SelectedStyleLoss)
    register.translator("style", StyleTranslator)
    register.command("filters", filters.command)
    register.command("style-eval", style_eval)
