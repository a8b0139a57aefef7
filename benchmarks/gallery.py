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
MODELS = ("cyclegan", "cyclese", "cycleda", "cyclepix")
HANDS = ("portraits", "second-hand", "line", "soft")
TITLE = 24


def main() -> None:
    several = zoo.load("conditional-cyclepix", device="cpu")
    rows = [
        [
            ("photograph", Image.open(SAMPLE)),
            *((name, zoo.load(name, device="cpu").translate(SAMPLE)) for name in MODELS),
        ],
        [(several.name, None), *((hand, several.translate(SAMPLE, hand=hand)) for hand in HANDS)],
    ]
    width, height = HEAD[2] - HEAD[0], HEAD[3] - HEAD[1] + TITLE
    sheet = Image.new("RGB", (width * len(rows[0]), height * len(rows)), "white")
    draw = ImageDraw.Draw(sheet)
    for y, row in enumerate(rows):
        for x, (title, picture) in enumerate(row):
            draw.text((x * width + 8, y * height + 4), title, "black", ImageFont.load_default(14))
            if picture:
                sheet.paste(picture.crop(HEAD), (x * width, y * height + TITLE))
    sheet.quantize(256).save(ROOT / "docs" / "results.png", optimize=True)


if __name__ == "__main__":
    main()
