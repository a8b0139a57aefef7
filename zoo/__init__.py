"""A model zoo for picture-to-picture papers: any block in any generator, any loss in any trainer.

>>> import zoo
>>> zoo.load("cycleda").translate("me.jpg").save("portrait.png")  # doctest: +SKIP

Everything is imported when it is first used; ``import zoo`` itself costs next to nothing and needs no torch.
"""

from __future__ import annotations

import importlib
import os

from zoo.helpers import moved

# OpenMP's threads keep the cores busy while they wait, and NNPACK's (zoo.blocks.conv), which are others, then get none:
# a third of the speed on two cores. OpenMP reads this when torch is imported; whoever has chosen already keeps it.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Torch and oneDNN keep a kernel for each size of picture that they have met, 1 024 of each layer's and as many in all.
# They lie between the memory of pictures that are done, and none of that fits the next: 1.5 GB after some hundred sizes.
# A picture needs a few dozen. Read when torch computes with them for the first time; training wants more (zoo.train).
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
os.environ.setdefault("LRU_CACHE_CAPACITY", "64")

moved.install()

TYPE_CHECKING = False
if TYPE_CHECKING:  # what typing's own constant is for, without typing
    from typing import Any

    from zoo import errors
    from zoo.card import Card
    from zoo.catalogue.hooks import Registrar, hookimpl
    from zoo.catalogue.registry import info, list_models
    from zoo.control import Control, parse_controls
    from zoo.generator import Generator, SizeRule
    from zoo.loading import load
    from zoo.loss import Loss
    from zoo.provider import Provider
    from zoo.trainer import Trainer
    from zoo.translator import Translator
    from zoo.weights.sources import download, published

    __version__: str

_HOME = {  # of each public name
    "Card": "card",
    "Control": "control",
    "Generator": "generator",
    "Loss": "loss",
    "Provider": "provider",
    "Registrar": "catalogue.hooks",
    "SizeRule": "generator",
    "Trainer": "trainer",
    "Translator": "translator",
    "download": "weights.sources",
    "hookimpl": "catalogue.hooks",
    "info": "catalogue.registry",
    "list_models": "catalogue.registry",
    "load": "loading",
    "parse_controls": "control",
    "published": "weights.sources",
}

__all__ = [
    "Card",
    "Control",
    "Generator",
    "Loss",
    "Provider",
    "Registrar",
    "SizeRule",
    "Trainer",
    "Translator",
    "__version__",
    "download",
    "errors",
    "hookimpl",
    "info",
    "list_models",
    "load",
    "parse_controls",
    "published",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        value: Any = importlib.import_module("importlib.metadata").version("zoo-core")
    elif name == "errors":
        value = importlib.import_module("zoo.errors")
    elif name in _HOME:
        value = getattr(importlib.import_module(f"zoo.{_HOME[name]}"), name)
    else:
        raise AttributeError(f"module 'zoo' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
