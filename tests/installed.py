"""A plugin as pip would install it, in a folder for ``sys.path``. Its code fails when it is imported."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

DATA = bytes(range(256)) * 300
SHA256 = hashlib.sha256(DATA).hexdigest()
REVISION = "0123456789abcdef0123456789abcdef01234567"
HUB = {"repo": "someone/x", "revision": REVISION}
FILE = {"file": "x-small.safetensors", "sha256": SHA256, "bytes": len(DATA)}
FACTS: dict[str, Any] = {
    "summary": "Portrait drawings",
    "plugin": "zoo-x",
    "task": "photo-to-drawing",
    "recipe": "x",
    "paper": {"title": "On X", "authors": ["A", "B"], "year": 2020},
    "licence": {"code": "MIT", "weights": "research use only", "data": "research only"},
}
RECIPE = {
    "generator": {"name": "resnet"},
    "trainer": {"name": "cycle"},
    "losses": {},
    "controls": [{"name": "smile", "type": "number", "maximum": 1, "minimum": 0, "help": "How much"}],
}


def announce(site: Path, name: str, version: str = "1.0") -> None:
    """What pip leaves beside ``zoo_<name>`` in ``site``: it is ``zoo-<name>``, and ``zoo_<name>.plugin`` has its hook."""
    meta = site / f"zoo_{name}-{version}.dist-info"
    meta.mkdir()
    (meta / "METADATA").write_text(f"Metadata-Version: 2.1\nName: zoo-{name}\nVersion: {version}\n", encoding="utf-8")
    (meta / "entry_points.txt").write_text(f"[zoo]\n{name} = zoo_{name}.plugin\n", encoding="utf-8")


def install(site: Path, weights: Mapping[str, Any] | None = None, bundle: bytes | None = None) -> None:
    """``zoo-x`` with the model ``x`` and the recipe ``x``; ``bundle`` is what lies where its bundled weights should."""
    package = site / "zoo_x"
    (package / "recipes").mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemError('the plugin was imported')\n", encoding="utf-8")
    cards = {"x": {**FACTS, "weights": dict(weights or {})}}
    (package / "zoo.yaml").write_text(yaml.safe_dump({"cards": cards}, sort_keys=False), encoding="utf-8")
    (package / "recipes" / "x.yaml").write_text(yaml.safe_dump(RECIPE), encoding="utf-8")
    if bundle is not None:
        (package / "weights").mkdir()
        (package / "weights" / FILE["file"]).write_bytes(bundle)
    announce(site, "x", "1.5")
