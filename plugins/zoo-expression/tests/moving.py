"""What the tests of motion and of shades share: a tiny model that is moved by the tables, and a head."""

from __future__ import annotations

from pathlib import Path

from PIL import Image
from shared import SAMPLE

from zoo.generator import build_generator
from zoo.loading import load
from zoo.recipe import load_recipe
from zoo.weights.file import save_weights
from zoo_expression.translator import ExpressionTranslator


def mover_in(folder: Path, recipe: str, **options: float) -> ExpressionTranslator:
    """A tiny network that reads next to nothing: what is moved is what is asked for."""
    network = load_recipe(recipe, tiny=True).network()
    network["generator"] |= {"motion": 1.0, "paint": 0.0, **options}
    generator = build_generator(network)
    generator.meter.units.weight.zero_()
    save_weights(folder / "moves.safetensors", generator.state_dict(), network)
    made = load(str(folder / "moves.safetensors"), device="cpu")
    assert isinstance(made, ExpressionTranslator)
    return made


def sample_head() -> Image.Image:
    with Image.open(SAMPLE) as whole:
        return whole.convert("RGB").crop((90, 20, 350, 280))
