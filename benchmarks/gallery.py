"""Make docs/results.png: the sample photograph as every model of zoo-cycleda draws it.

usage: python benchmarks/gallery.py
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

import zoo

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "docs" / "sample" / "eileen-collins.jpg"
HEAD = (80, 0, 368, 360)  # of the 512×512 picture
MODELS = [
    ("cyclegan", {}),
    ("cyclese", {}),
    ("cycleda", {}),
    ("cyclepix", {}),
    ("conditional-cyclepix", {"hand": "portraits"}),
    ("conditional-cyclepix", {"hand": "second-hand"}),
]
TITLE = 24


def main() -> None:
    panels = [("photograph", Image.open(SAMPLE))]
    for name, controls in MODELS:
        title = " ".join([name.removesuffix("-cyclepix"), *controls.values()])
        panels.append((title, zoo.load(name, device="cpu").translate(SAMPLE, **controls)))
    width, height = HEAD[2] - HEAD[0], HEAD[3] - HEAD[1]
    sheet = Image.new("RGB", (width * len(panels), height + TITLE), "white")
    draw = ImageDraw.Draw(sheet)
    for i, (title, picture) in enumerate(panels):
        sheet.paste(picture.crop(HEAD), (i * width, TITLE))
        draw.text((i * width + 8, 4), title, "black", ImageFont.load_default(14))
    sheet.quantize(256).save(ROOT / "docs" / "results.png", optimize=True)


if __name__ == "__main__":
    main()
