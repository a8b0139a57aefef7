"""The core registers the parts that belong to no single paper."""

from __future__ import annotations

from zoo.blocks.features import FeatureDiscriminator
from zoo.blocks.patchgan import PatchGAN
from zoo.blocks.residual import ResidualBlock
from zoo.catalogue.hooks import Registrar, hookimpl
from zoo.evaluate.pairs import LpipsMetric, SsimMetric, VggMetric
from zoo.evaluate.sets import FidMetric, KidMetric
from zoo.faces.photograph import PhotographTranslator
from zoo.losses.adversarial import AdversarialLoss, CriticLoss, GradientPenalty
from zoo.losses.perceptual import (
    ContentLoss,
    GeometryConsistencyLoss,
    HueLoss,
    PerceptualLoss,
    StructureLoss,
    StyleLoss,
    ToneLoss,
    TotalVariationLoss,
)
from zoo.losses.pixelwise import CycleLoss, IdentityLoss, PixelLoss
from zoo.providers.faces import FaceObject, Landmarks, Skin
from zoo.providers.pictures import Identity, Steadied, Target


@hookimpl
def zoo_register(register: Registrar) -> None:
    register.block("residual", ResidualBlock)
    register.discriminator("features", FeatureDiscriminator)
    register.discriminator("patchgan", PatchGAN)
    register.loss("adversarial", AdversarialLoss)
    register.loss("content", ContentLoss)
    register.loss("critic", CriticLoss)
    register.loss("cycle", CycleLoss)
    register.loss("geometry-consistency", GeometryConsistencyLoss)
    register.loss("gradient-penalty", GradientPenalty)
    register.loss("identity", IdentityLoss)
    register.loss("perceptual", PerceptualLoss)
    register.loss("pixel", PixelLoss)
    register.loss("structure", StructureLoss)
    register.loss("style", StyleLoss)
    register.loss("tone", ToneLoss)
    register.loss("hue", HueLoss)
    register.loss("total-variation", TotalVariationLoss)
    register.provider("identity", Identity)
    register.provider("landmarks", Landmarks)
    register.provider("object", FaceObject)
    register.provider("skin", Skin)
    register.provider("steadied", Steadied)
    register.provider("target", Target)
    register.metric("fid", FidMetric)
    register.metric("kid", KidMetric)
    register.metric("lpips", LpipsMetric)
    register.metric("ssim", SsimMetric)
    register.metric("vgg", VggMetric)
    register.translator("photograph", PhotographTranslator)
