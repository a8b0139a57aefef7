"""Cut captions and scanning borders from pairs of CUFS: the pictures that the shipped weights were trained on.

usage: python benchmarks/prepare_cufs.py FOLDER OUT     (FOLDER and OUT hold photo/ and drawing/)

Takes 16 pixels off the top and 8 off each side of the 200×250 pictures; leaves out a pair whose drawing still has a
black scanning border.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

BOX = (8, 16, 192, 250)


def main(source: Path, out: Path) -> None:
    kept = 0
    for drawing_path in sorted((source / "drawing").iterdir()):
        drawing = Image.open(drawing_path).convert("L").crop(BOX)
        pixels = np.asarray(drawing)
        edge = np.concatenate([pixels[:150, :4].ravel(), pixels[:150, -4:].ravel(), pixels[:4].ravel()])
        if (edge < 60).mean() > 0.05:
            continue
        kept += 1
        for side, picture in (
            ("photo", Image.open(source / "photo" / drawing_path.name).crop(BOX)),
            ("drawing", drawing),
        ):
            (out / side).mkdir(parents=True, exist_ok=True)
            picture.save(out / side / f"{drawing_path.stem}.png")
    sys.stderr.write(f"{kept} pairs in {out}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
