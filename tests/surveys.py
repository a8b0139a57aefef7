"""What the tests of ``zoo survey`` share: four sitters with results of two models, and raters' files."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import leave
from PIL import Image

Zoo = Callable[..., tuple[int, str, str]]
HEAD = "page,rater,item,result,question,rating,seconds,time"
MODELS = ("carbon", "ochre")


@pytest.fixture
def zoo(capsys: pytest.CaptureFixture[str]) -> Zoo:
    """Runs ``zoo survey`` and gives exit code, stdout and stderr."""

    def run(*words: object) -> tuple[int, str, str]:
        return leave(capsys, "survey", *words)

    return run


def paint(path: Path, seed: int, size: tuple[int, int] = (40, 50)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x010E] = f"made by {path.parent.name}"
    Image.fromarray(pixels).save(path, exif=exif)


@pytest.fixture
def data(tmp_path: Path) -> list[object]:
    """Four sitters with photograph, drawing, and results of two models made already; one has another shape."""
    for i, name in enumerate("abcd"):
        for j, folder in enumerate(("photos", "drawings", *MODELS)):
            paint(tmp_path / folder / f"{name}.png", 10 * i + j, (60, 50) if folder == "ochre" else (40, 50))
    made = [f"--results={model}={tmp_path / model}" for model in MODELS]
    out = ["--out", tmp_path / "page.html"]
    return ["make", "--photos", tmp_path / "photos", "--drawings", tmp_path / "drawings", *made, *out]


def page_of(path: Path) -> dict[str, Any]:
    """What the page holds for its script."""
    text = path.read_text(encoding="utf-8")
    return json.loads(re.search(r'<script type="application/json" id="survey">(.*?)</script>', text)[1])


def answer(key: dict[str, Any], rate: Callable[[str, str], int], rater: str = "Ada", day: int = 1) -> list[str]:
    """A rater's lines; ``rate`` gets model and photograph's name."""
    return [
        f'{key["page"]},"{rater}",{r["item"]},{name},"{question}",{rate(r["model"], key["items"][r["item"]])},2.5,'
        f"2026-01-{day:02}T10:00:00.000Z"
        for name, r in key["results"].items()
        for question in key["questions"]
    ]


@pytest.fixture
def key(zoo: Zoo, data: list[object], tmp_path: Path) -> dict[str, Any]:
    assert zoo(*data)[0] == 0
    return json.loads((tmp_path / "page.key.json").read_text())


@pytest.fixture
def tell(zoo: Zoo, key: dict[str, Any], tmp_path: Path) -> Callable[..., tuple[int, str, str]]:
    """Writes files of answers, given as lines, and runs ``zoo survey table`` on them."""

    def run(*files: list[str], head: str = HEAD, options: tuple[object, ...] = ()) -> tuple[int, str, str]:
        paths = [tmp_path / f"{i}.csv" for i in range(len(files))]
        for path, lines in zip(paths, files):
            path.write_bytes("\r\n".join([head, *lines, ""]).encode("utf-8-sig"))
        return zoo("table", *paths, "--key", tmp_path / "page.key.json", *options)

    return run
