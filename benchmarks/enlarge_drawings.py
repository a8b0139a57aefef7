"""Drawings in twice their size, redrawn by a network that learned it: what the anime faces of 256 pixels were trained on.

usage: python benchmarks/enlarge_drawings.py MODEL FOLDER OUT     (MODEL: weights of the generator cartoon-fine)
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from zoo.generator import generator_of
from zoo.pictures.image import find_pictures, read, to_pil
from zoo.weights.file import read_header
from zoo_animeface.networks import FineCartoonGenerator


def main(model: Path, folder: Path, out: Path) -> None:
    generator = generator_of(model, read_header(model).network).eval()
    if not isinstance(generator, FineCartoonGenerator):
        raise SystemExit(f"{model} redraws nothing: a training of animegan-landmark-small does")
    out.mkdir(parents=True, exist_ok=True)
    with torch.inference_mode():
        for path in find_pictures([folder]):
            drawing = read(path).on_white().rgb[None]
            to_pil(generator.redrawn(drawing)[0]).save(out / f"{path.stem}.png")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
