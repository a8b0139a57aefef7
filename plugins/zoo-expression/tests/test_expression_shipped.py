"""The weights that the plugin ships."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import zoo
from zoo import faces
from zoo.catalogue.registry import registry
from zoo.pictures.image import read
from zoo.weights.file import read_header
from zoo.weights.sources import locate

MODELS = ["ganimation", "ganimation-convnext"]
BLOCKS = [f"ganimation-convnext-{block}" for block in ("x4", "x6", "more")]
SAMPLE = Path(__file__).parents[3] / "docs" / "sample" / "eileen-collins.jpg"


@pytest.mark.parametrize("name", [*MODELS, *BLOCKS])
def test_cards_tell_the_truth(name: str) -> None:
    card = registry().card(name)[0]
    header = read_header(locate(card))
    assert header.network["recipe"] == f"{name}-small"
    assert {dtype for dtype, _ in header.tensors.values()} == {"I8", "F16", "F32"}  # 8 bits a weight, with their scales
    weights = card.get()
    assert weights.bundled and weights.trained
    told = {metric.name: metric for metric in weights.metrics}
    assert told.keys() >= ({"meter-correlation", "judged-correlation"} if name in MODELS else {"meter-correlation"})
    assert "AU12 0.9" in told["meter-correlation"].protocol


@pytest.mark.parametrize("name", [*MODELS, *BLOCKS, "stargan"])
def test_nothing_is_painted_on_a_face(name: str) -> None:
    generator = read_header(locate(registry().card(name)[0])).network["generator"]
    assert generator["paint"] == 0 and generator["motion"] == generator["shade"] == 1


def test_the_wheel_stays_small() -> None:
    sizes = [registry().card(name)[0].get().bytes for name in (*MODELS, *BLOCKS, "stargan", "au-judge")]
    assert sum(sizes) < 25_000_000


def test_labels_are_read_and_asked_for() -> None:
    model = zoo.load("stargan", device="cpu")
    read = model.measure(SAMPLE)
    assert max(read, key=lambda label: read[label]) == "happy"
    with Image.open(SAMPLE) as image:
        before = np.asarray(image.convert("RGB")).astype(int)
    assert np.abs(np.asarray(model.translate(SAMPLE, expression="happy")).astype(int) - before).max() == 0
    assert np.abs(np.asarray(model.translate(SAMPLE, expression="surprised")).astype(int) - before).max() > 40


@pytest.mark.parametrize("name", [*MODELS, *BLOCKS])
def test_a_smile_is_read_off_a_photograph(name: str) -> None:
    read = zoo.load(name, device="cpu").measure(SAMPLE)
    assert read["AU12"] > 1 and read["AU6"] > 0.5 and read["AU25"] > 1  # she laughs
    assert read["AU4"] < 0.5 and read["AU15"] < 0.5


@pytest.mark.parametrize("name", MODELS)
def test_a_unit_that_is_asked_for_comes(name: str) -> None:
    model = zoo.load(name, device="cpu")
    image = read(SAMPLE).rgb
    face = faces.find(image)[0]

    def brows(value: float) -> float:
        crop = faces.crop(read(model.translate(SAMPLE, AU4=value)).rgb, face, 256)
        return float(faces.landmarks(crop.image)[17:27, 1].mean())

    assert brows(0) < brows(2) - 1
    before, after = (np.asarray(image, float) for image in (Image.open(SAMPLE), model.translate(SAMPLE, AU4=2)))
    changed = np.abs(after - before).max(2) > 0
    rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
    face = changed[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    assert face.size < 0.2 * changed.size  # the rest of the photograph is as it was
