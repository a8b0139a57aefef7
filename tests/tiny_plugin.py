"""A plugin on disk with one model, `tiny`: the picture as it is, or by its second hand the negative."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from installed import announce

from zoo.catalogue.host import host
from zoo.catalogue.registry import registry
from zoo.weights.file import save_weights

CODE = """
import torch
from torch import nn
from zoo.generator import Generator, SizeRule
from zoo.catalogue.hooks import hookimpl

class Tiny(Generator):
    size = SizeRule(multiple_of=8, minimum=16)

    def __init__(self, tone=0.5):
        super().__init__()
        self.tone = nn.Parameter(torch.tensor([tone]) + 0 * torch.rand(1))  # as initialisation does

    def parts(self, image, hand, invert, mix):
        sign = torch.where((hand == 1) ^ invert, -1.0, 1.0) * mix
        return {"image": image * self.tone * sign.view(-1, 1, 1, 1)}

@hookimpl
def zoo_register(register):
    register.generator("tiny", Tiny)
"""

CONTROLS = [
    {"type": "choice", "name": "hand", "choices": ["first", "second"]},
    {"type": "flag", "name": "invert"},
    {"type": "number", "name": "mix", "default": 1, "minimum": -1, "maximum": 1},
]
NETWORK = {"recipe": "tiny", "plugin": "zoo-tiny", "generator": {"name": "tiny"}, "controls": CONTROLS}

RECIPE = """
generator: {name: tiny}
trainer: {name: none}
losses: {}
controls:
  - {type: choice, name: hand, choices: [first, second]}
  - {type: flag, name: invert}
  - {type: number, name: mix, default: 1, minimum: -1, maximum: 1}
"""

MANIFEST = """
parts: {{generator: [tiny]}}
cards:
  tiny:
    summary: As it is
    task: nothing
    recipe: tiny
    paper: {{title: Nothing, authors: [Nobody]}}
    licence: {{code: MIT, weights: MIT, data: none}}
    weights:
      plain: {{file: tiny.safetensors, sha256: {sha256}, bytes: {bytes}, bundled: true}}
  untrained:
    summary: No weights
    task: nothing
    recipe: tiny
    paper: {{title: Nothing, authors: [Nobody]}}
    licence: {{code: MIT, weights: MIT, data: none}}
"""


@dataclass
class TinyPlugin:
    weights: Path  # tone 1: the identity

    def other(self, path: Path, tone: float = 1.0, **network: object) -> Path:
        """Another weights file, with changes to the header."""
        save_weights(path, {"tone": torch.tensor([float(tone)])}, {**NETWORK, **network})
        return path


def install_tiny(site: Path) -> TinyPlugin:
    """The plugin as pip would install it."""
    package = site / "zoo_tiny"
    for folder in (package / "recipes", package / "weights"):
        folder.mkdir(parents=True)
    plugin = TinyPlugin(package / "weights" / "tiny.safetensors")
    plugin.other(plugin.weights)
    content = plugin.weights.read_bytes()
    (package / "__init__.py").write_text("")
    (package / "plugin.py").write_text(CODE)
    (package / "recipes" / "tiny.yaml").write_text(RECIPE)
    (package / "zoo.yaml").write_text(MANIFEST.format(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content)))
    announce(site, "tiny")
    return plugin


@pytest.fixture
def tiny(
    alone: None, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[TinyPlugin]:
    """The plugin, installed on ``sys.path`` for one test."""
    site = tmp_path_factory.mktemp("site")
    plugin = install_tiny(site)
    monkeypatch.syspath_prepend(str(site))
    host.cache_clear()
    registry.cache_clear()
    yield plugin  # conftest forgets it again
    for name in ("zoo_tiny", "zoo_tiny.plugin"):
        sys.modules.pop(name, None)
