"""A plugin on disk for the tests of the page: `easel` has a control of every type, `slow` takes its time, both say what
they were given by the colour of what they draw."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
import yaml
from installed import FACTS, announce
from PIL import Image

from zoo.weights.file import save_weights

CODE = """
import logging
import time
import torch
from torch import nn
from zoo.catalogue.hooks import hookimpl
from zoo.errors import ImageError
from zoo.generator import Generator, SizeRule
from zoo.pictures.image import read
from zoo.pictures.morph import Morph, shares
from zoo.progress import Stopped, tell
from zoo.translator import Translator

class Easel(Generator):
    def __init__(self):
        super().__init__()
        self.tone = nn.Parameter(torch.ones(1))

    def parts(self, image, tint, hand, invert, mix, word, count=None, shade=None, other=None, more=None):
        if word[:1] == "r":
            logging.getLogger("zoo").warning("the word is rare")
        if word == "bug":
            raise AttributeError("a fault of the plugin")
        drawn = image * 0 + (0.9 if hand[0] == 1 else -0.9)
        drawn[:, 0] = tint.view(-1, 1, 1) * self.tone
        return {"image": -drawn if invert[0] else drawn}

class Slow(Generator):
    def __init__(self):
        super().__init__()
        self.tone = nn.Parameter(torch.ones(1))

    def parts(self, image, seconds):
        best = image
        try:
            for step in range(200):
                best = image * (1 - step / 200) - step / 200
                tell("painting", step, 200, best)
                time.sleep(float(seconds[0]) / 200)
        except KeyboardInterrupt:
            raise Stopped(best) from None
        return {"image": best}

class EaselTranslator(Translator):
    def morph(self, image, *, steps=8, **controls):
        return Morph([self.translate(image, **{**controls, "tint": share}) for share in shares(steps)])

@hookimpl
def zoo_register(register):
    register.generator("easel", Easel)
    register.generator("slow", Slow)
    register.translator("easel", EaselTranslator)
"""

CONTROLS: list[dict[str, Any]] = [
    {"type": "image", "name": "other", "required": False, "help": "another picture"},
    {"type": "image", "name": "more", "required": False, "many": True, "help": "further pictures"},
    {"type": "number", "name": "tint", "default": 0, "minimum": -1, "maximum": 1, "help": "how red"},
    {"type": "choice", "name": "hand", "choices": ["first", "second"]},
    {"type": "flag", "name": "invert"},
    {"type": "numbers", "name": "mix", "default": [0.5], "minimum": 0, "maximum": 1},
    {"type": "text", "name": "word", "default": "plain"},
    {"type": "integer", "name": "count", "help": "so many"},
    {"type": "number", "name": "shade", "default": None, "minimum": 0, "maximum": 2, "help": "how dark, unless given"},
]
SECONDS: list[dict[str, Any]] = [{"type": "number", "name": "seconds", "default": 8, "minimum": 0}]


def install_easel(site: Path) -> Path:
    """The plugin as pip would install it -> the weights of `easel`."""
    package = site / "zoo_easel"
    for folder in ("recipes", "weights", "previews"):
        (package / folder).mkdir(parents=True)
    cards = {}
    for name, controls, extra in (("easel", CONTROLS, {"translator": "easel"}), ("slow", SECONDS, {})):
        recipe = {"generator": {"name": name}, "trainer": {"name": "none"}, "losses": {}, "controls": controls, **extra}
        (package / "recipes" / f"{name}.yaml").write_text(yaml.safe_dump(recipe))
        path = package / "weights" / f"{name}.safetensors"
        network = {"recipe": name, "plugin": "zoo-easel", "generator": {"name": name}, "controls": controls, **extra}
        save_weights(path, {"tone": torch.ones(1)}, network, facts={"licence": "CC BY 4.0"})
        data = path.read_bytes()
        weights = {"file": path.name, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data), "bundled": True}
        card = {**FACTS, "plugin": "zoo-easel", "summary": f"A <b>{name}</b> & more", "recipe": name}
        cards[name] = {**card, "task": f"{name}-task", "weights": {"plain": weights}}
    parts = {"generator": ["easel", "slow"], "translator": ["easel"]}
    (package / "zoo.yaml").write_text(yaml.safe_dump({"parts": parts, "cards": cards}, sort_keys=False))
    (package / "__init__.py").write_text("")
    (package / "plugin.py").write_text(CODE)
    Image.new("RGB", (128, 64), "teal").save(package / "previews" / "easel.jpg", comment="Nobody's.")
    announce(site, "easel")
    return package / "weights" / "easel.safetensors"
