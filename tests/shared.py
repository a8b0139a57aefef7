"""What the tests of the core and of several plugins share: a command in this process, a face in a photograph."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from zoo.cli import main

SAMPLE = Path(__file__).parents[1] / "docs/sample/eileen-collins.jpg"
Cli = Callable[..., tuple[int, str, str]]


def leave(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    """``zoo …`` in this process -> exit code, stdout, stderr."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    return int(left.value.code or 0), *capsys.readouterr()


def head(side: int = 160, angle: float = 0) -> Image.Image:
    """One face, seen from the front, 0.3 of the side high."""
    with Image.open(SAMPLE) as whole:
        turned = whole.convert("RGB").rotate(angle, Image.Resampling.BICUBIC, center=(210, 130))
        return turned.crop((60, 20, 360, 320)).resize((side, side), Image.Resampling.LANCZOS)


def beside(*pictures: Image.Image) -> Image.Image:
    whole = Image.new("RGB", (sum(picture.width for picture in pictures), max(p.height for p in pictures)))
    x = 0
    for picture in pictures:
        whole.paste(picture, (x, 0))
        x += picture.width
    return whole
