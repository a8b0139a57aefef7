"""How the page looks: the reader's own fonts, two quiet colours, light and dark."""

from __future__ import annotations

import base64
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import gradio as gr
from PIL import Image

from zoo.page.shown import Shown
from zoo.pictures.image import encode, write

HEAD = '<meta name="color-scheme" content="light dark">'

TILE = 144
"""Pixels of a preview's side in the choice of models; shown at half of that."""


def theme() -> gr.themes.Base:
    fonts = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "sans-serif"]
    mono = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"]
    return gr.themes.Base(
        primary_hue="stone", secondary_hue="stone", neutral_hue="stone", font=fonts, font_mono=mono, radius_size="md"
    )


def css(models: Sequence[Shown]) -> str:
    tiles = map(_tile, models) if len(models) > 1 else ()  # of cards alone, whose names are plain
    return Path(__file__).with_name("page.css").read_text(encoding="utf-8") + "".join(tiles)


@dataclass(frozen=True)
class Example:
    """A photograph, what a model makes of it, and whose it is."""

    before: Path
    after: Path
    credit: str = ""


@functools.cache
def example(preview: Path, folder: Path) -> Example:
    """The two halves of a plugin's preview as files in ``folder``. Its comment says whose the photograph is."""
    with Image.open(preview) as image:
        half, comment = image.width // 2, image.info.get("comment", b"")
        halves = image.crop((0, 0, half, image.height)), image.crop((image.width - half, 0, image.width, image.height))
    paths = folder / preview.stem / "portrait.jpg", folder / preview.stem / "result.jpg"
    for path, picture in zip(paths, halves):
        write(picture, path)
    return Example(*paths, comment.decode("utf-8", "replace") if isinstance(comment, bytes) else comment)


def _tile(shown: Shown) -> str:
    """The rule that puts a preview above the name of a model, or a letter where there is none."""
    place = f'#models input[value="{shown.name}"] + span::before'
    if not shown.preview:
        return f'{place} {{content: "{shown.title[:1]}"}}\n'
    with Image.open(shown.preview) as image:
        small = image.crop((image.width // 2, 0, image.width, image.height)).convert("RGB")
    small.thumbnail((TILE, TILE))
    encoded = base64.b64encode(encode(small, ".jpg")).decode()
    return f'{place} {{background-image: url("data:image/jpeg;base64,{encoded}")}}\n'
