"""What an exported file says about itself: enough for a stranger to prepare a picture and to know whose work it is."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from zoo.catalogue.registry import registry
from zoo.control import Control, Image
from zoo.generator import SizeRule
from zoo.loading import weights_file
from zoo.translator import Translator
from zoo.weights.file import read_header
from zoo.weights.sources import locate


def metadata(
    name: str | os.PathLike[str], translator: Translator, controls: Sequence[Control], rule: SizeRule
) -> dict[str, Any]:
    """Text by key; what is no text is JSON in the file. ``rule`` is what the file's own sizes follow."""
    if file := weights_file(name):
        model, about = translator.origin or translator.network["recipe"], read_header(file).facts
        licence = about.get("licence", "unknown")
    else:
        card, tag = registry().card(str(name))
        assert tag is not None  # the translator has weights
        file, model, licence = locate(card, tag), card.tagged(tag), card.licence.model_dump()
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    return {
        "model": model,
        "zoo": version("zoo-core"),
        "network": translator.network,
        "weights_sha256": digest,
        "licence": licence,
        "preprocessing": {
            "read": "upright by the EXIF orientation, RGB in sRGB, without alpha",
            "part": translator.part(),
            "scale": "to fit into fixed; else by working / longer side if that is less than 1; bicubic, antialiased",
            "fixed": rule.fixed,
            "working": translator.working or None,
            "pad": "to fixed; else each side to the next multiple_of that is no less than minimum",
            "multiple_of": rule.multiple_of,
            "minimum": rule.minimum,
            "before": "(padded - side) // 2 of the padding is above and left of the picture",
            "mode": "reflect; edge where the padding is not smaller than the side",
            "layout": "NCHW",
            "dtype": "float32",
            "values": "x / 127.5 - 1",
            "range": [-1, 1],
        },
        "postprocessing": {
            "range": [-1, 1],
            "crop": "the padding",
            "scale": "to the size of the picture, or of the part of it that was cut out, bicubic, antialiased",
            "values": "(y + 1) * 127.5",
        },
        "controls": [_control(control) for control in controls],
    }


def _control(control: Control) -> dict[str, Any]:
    """A control as an input: ``default`` is what the input takes for one picture."""
    declared = control.model_dump(exclude={"required", "default"})
    known = {key: value for key, value in declared.items() if value not in (math.inf, -math.inf)}
    if isinstance(control, Image):
        return {**known, "dtype": "float32"}  # prepared as the picture itself, to the same size
    value: Any = control.default_value()
    default = control.tensor(value, 1)[0]
    return {**known, "dtype": str(default.dtype).removeprefix("torch."), "default": default.tolist()}
