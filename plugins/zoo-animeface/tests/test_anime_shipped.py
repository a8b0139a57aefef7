"""The weights that the plugin ships: four translators of one budget, and what comes with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import zoo
from zoo.catalogue.registry import registry
from zoo.pictures.image import read
from zoo.weights.file import read_header
from zoo.weights.sources import locate

TRANSLATORS = [f"{gan}{loss}" for gan in ("cartoongan", "animegan") for loss in ("", "-landmark")]
SAMPLE = Path(__file__).parents[3] / "docs/sample/eileen-collins.jpg"


@pytest.mark.parametrize("name", TRANSLATORS)
def test_cards_tell_the_truth(name: str) -> None:
    card = registry().card(name)[0]
    header, weights = read_header(locate(card)), card.get()
    assert header.network["recipe"] == f"{name}-small" and weights.bundled and weights.trained
    assert {metric.name for metric in weights.metrics} >= {"kid", "variety", "landmark-rmse"}


@pytest.mark.parametrize("name", TRANSLATORS)
def test_a_portrait_is_drawn_and_flat(name: str) -> None:
    model = zoo.load(name, device="cpu")
    drawn = model.translate(SAMPLE)
    assert min(drawn.size) >= 200
    seen = model.framed(read(Image.open(SAMPLE).convert("RGB"))).rgb
    before = np.asarray((seen + 1) * 127.5).transpose(1, 2, 0)
    after = np.asarray(drawn.convert("RGB"), float)
    assert np.abs(after - before).mean() > 8  # it is no photograph
    patches = [
        after[row - 4 : row + 4, column - 4 : column + 4].std((0, 1)).max()
        for row, column in (
            (round(y * after.shape[0]), round(x * after.shape[1]))
            for x in (0.4, 0.45, 0.5, 0.55, 0.6)
            for y in (0.62, 0.68)
        )
    ]
    assert sorted(patches)[len(patches) // 4] < 12  # flat, where no line is


def test_a_portrait_of_more_pixels_is_redrawn_and_its_lines_are_sharper(monkeypatch: pytest.MonkeyPatch) -> None:
    model = zoo.load("animegan-landmark", device="cpu")
    with Image.open(SAMPLE) as whole:
        photo = whole.resize((512, 512), Image.Resampling.BICUBIC)
    fine = model.translate(photo, face=0)
    monkeypatch.setattr(model, "finer", lambda drawn: drawn)
    soft = model.translate(photo, face=0)
    assert fine.size == soft.size == photo.size
    edges = [np.abs(np.diff(np.asarray(one.convert("L"), float), axis=1)) for one in (fine, soft)]
    assert np.quantile(edges[0], 0.99) > 1.2 * np.quantile(edges[1], 0.99)
    little = [np.asarray(one.convert("RGB").resize((64, 64), Image.Resampling.BOX), float) for one in (fine, soft)]
    assert np.abs(little[0] - little[1]).mean() < 6  # the same drawing


def test_the_wheel_stays_small() -> None:
    cards = [registry().card(name)[0] for name in (*TRANSLATORS, "dan-anime", "anime-faces")]
    assert sum(card.get().bytes for card in cards) < 25_000_000
