"""The weights that the plugin ships."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import zoo
from zoo.catalogue.registry import registry
from zoo.weights.file import read_header
from zoo.weights.sources import locate

MODELS = ["cyclegan", "cyclese", "cycleda", "cyclepix", "conditional-cyclepix"]
GOLDEN = Path(__file__).parent / "golden"
SAMPLE = Path(__file__).parents[3] / "docs" / "sample" / "eileen-collins.jpg"


@pytest.fixture(scope="module")
def head() -> Image.Image:
    return Image.open(SAMPLE).crop((128, 0, 320, 224))


@pytest.mark.parametrize("name", MODELS)
def test_cards_tell_the_truth(name: str) -> None:
    card = registry().card(name)[0]
    header = read_header(locate(card))
    assert header.network["recipe"] == f"{name}-small"
    assert all(dtype == "F16" for dtype, _ in header.tensors.values())
    weights = card.get()
    assert weights.bundled and weights.trained and {m.name for m in weights.metrics} >= {"lpips", "ssim"}
    assert next(m.value for m in weights.metrics if m.name == "lpips") < 0.25


@pytest.mark.parametrize("name", MODELS)
def test_a_head_is_drawn_as_before(name: str, head: Image.Image) -> None:
    """Against a picture that was looked at: dark hair and pupils on white paper."""
    drawn = zoo.load(name, device="cpu").translate(head).convert("L")
    golden = Image.open(GOLDEN / f"{name}.png")
    difference = np.abs(np.asarray(drawn, dtype=float) - np.asarray(golden, dtype=float))
    assert drawn.size == head.size and difference.mean() < 1


def test_the_hands_differ(head: Image.Image) -> None:
    model = zoo.load("conditional-cyclepix", device="cpu")
    drawn = {
        hand: np.asarray(model.translate(head, hand=hand), dtype=float)
        for hand in ("portraits", "second-hand", "line", "soft")
    }
    for one, other in itertools.combinations(drawn, 2):
        assert np.abs(drawn[one] - drawn[other]).mean() > 4, (one, other)
