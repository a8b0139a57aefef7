"""What this plugin brings to the zoo."""

from __future__ import annotations

from zoo import Registrar, hookimpl
from zoo_animeface.align import LandmarkTrainer, ShapeLoss
from zoo_animeface.crops import anime_crops
from zoo_animeface.dan import Dan
from zoo_animeface.detect import LandmarkTranslator
from zoo_animeface.drawn import DrawnFeaturesLoss
from zoo_animeface.edges import edge_blur
from zoo_animeface.evaluate import anime_eval, landmark_eval
from zoo_animeface.label import anime_points
from zoo_animeface.losses import (
    CartoonContentLoss,
    ColourLoss,
    EdgeCriticLoss,
    GreyStyleLoss,
    LandmarkLoss,
    MouthLoss,
    PlainSkinLoss,
    PlainWallLoss,
    RedrawLoss,
)
from zoo_animeface.networks import CartoonDiscriminator, CartoonGenerator, FineCartoonGenerator
from zoo_animeface.photos import photo_points_of
from zoo_animeface.providers import (
    BlurredLogits,
    BlurredTarget,
    FacePoints,
    GreyLogits,
    GreyTarget,
    Redrawn,
    RedrawnTarget,
)
from zoo_animeface.trainer import AnimeTrainer
from zoo_animeface.translator import AnimeTranslator


@hookimpl
def zoo_register(register: Registrar) -> None:
    register.generator("dan", Dan)
    register.trainer("landmarks", LandmarkTrainer)
    register.loss("shape", ShapeLoss)
    register.translator("landmarks", LandmarkTranslator)
    register.command("anime-points", anime_points)
    register.command("photo-points", photo_points_of)
    register.translator("portrait", AnimeTranslator)
    register.generator("cartoon", CartoonGenerator)
    register.generator("cartoon-fine", FineCartoonGenerator)
    register.discriminator("cartoon", CartoonDiscriminator)
    register.loss("cartoon-content", CartoonContentLoss)
    register.loss("grey-style", GreyStyleLoss)
    register.loss("colour", ColourLoss)
    register.loss("edge-critic", EdgeCriticLoss)
    register.loss("landmark", LandmarkLoss)
    register.loss("redraw", RedrawLoss)
    register.loss("plain-skin", PlainSkinLoss)
    register.loss("plain-wall", PlainWallLoss)
    register.loss("mouth", MouthLoss)
    register.loss("drawn-features", DrawnFeaturesLoss)
    register.provider("points", FacePoints)
    register.provider("redrawn", Redrawn)
    register.provider("redrawn-target", RedrawnTarget)
    register.provider("grey-target", GreyTarget)
    register.provider("blurred", BlurredTarget)
    register.provider("grey-logits", GreyLogits)
    register.provider("blurred-logits", BlurredLogits)
    register.trainer("anime", AnimeTrainer)
    register.command("anime-crops", anime_crops)
    register.command("edge-blur", edge_blur)
    register.command("anime-eval", anime_eval)
    register.command("landmark-eval", landmark_eval)
