"""``zoo survey make`` through its entry: what a page holds, what it must not give away, and what it refuses."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from surveys import MODELS, Zoo, data, key, page_of, zoo
from tiny_plugin import TinyPlugin, tiny

__all__ = ["data", "key", "tiny", "zoo"]
ROOT = Path(__file__).parents[1]


def test_a_page_does_not_know_the_models(key: dict[str, Any], tmp_path: Path) -> None:
    text, page = (tmp_path / "page.html").read_text(encoding="utf-8"), page_of(tmp_path / "page.html")
    assert not any(word in text for word in (*MODELS, str(tmp_path), "drawings/"))
    assert key["models"] == [*MODELS] and sorted(key["items"].values()) == [*"abcd"]
    ids = [i["id"] for i in page["items"]] + [r["id"] for i in page["items"] for r in i["results"]]
    assert sorted(ids) == sorted([*key["items"], *key["results"]]) and len(set(ids)) == 12
    for item in page["items"]:
        assert {key["results"][r["id"]]["model"] for r in item["results"]} == {*MODELS}
        for address in (item["photo"], item["portrait"], *(r["picture"] for r in item["results"])):
            mark, _, encoded = address.partition(",")
            picture = Image.open(io.BytesIO(base64.b64decode(encoded)))
            assert mark == "data:image/jpeg;base64" and picture.size == (40, 50)
            assert not picture.getexif() and b"made by" not in base64.b64decode(encoded)


def test_nobody_can_make_the_same_ids_and_orders_again(zoo: Zoo, data: list[object], tmp_path: Path) -> None:
    ids, results, items = set(), set(), set()
    for i in range(8):
        path = tmp_path / f"{i}.html"
        assert zoo(*data, "--seed", 1, "--out", path)[0] == 0
        key = json.loads(path.with_suffix(".key.json").read_text())
        ids |= {key["page"], *key["items"], *key["results"]}
        order = [(key["results"][r["id"]], i["id"]) for i in page_of(path)["items"] for r in i["results"]]
        results.add(tuple(result["model"] for result, _ in order))
        items.add(tuple(key["items"][item] for _, item in order))
    assert len(ids) == 8 * 13 and len(results) > 1 and len(items) > 1


def test_models_draw_and_count_chooses_by_seed(zoo: Zoo, data: list[object], tiny: TinyPlugin, tmp_path: Path) -> None:
    file = tiny.other(tmp_path / "mine.safetensors", tone=-1)
    wanted = ("tiny", file, "--device", "cpu", "--count", 2, "--seed", 5, "--overwrite", "--title", "<b>Q & A</b>")
    code, out, err = zoo(*data, *wanted)
    assert code == 0 and out.strip() == str(tmp_path / "page.html") and "2 photographs, 4 models" in err
    key = json.loads((tmp_path / "page.key.json").read_text())
    assert key["models"] == ["tiny", "mine", *MODELS] and len(key["items"]) == 2
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<title>&lt;b&gt;Q &amp; A&lt;/b&gt;</title>" in text and "<b>Q" not in text
    chosen = sorted(key["items"].values())
    assert zoo(*data, *wanted)[0] == 0
    assert sorted(json.loads((tmp_path / "page.key.json").read_text())["items"].values()) == chosen
    for seed in range(20):
        zoo(*data, *wanted, "--seed", seed)
        if sorted(json.loads((tmp_path / "page.key.json").read_text())["items"].values()) != chosen:
            break
    else:
        raise AssertionError("the seed chooses nothing")


def test_one_is_asked_what_the_paper_asks_or_what_a_file_says(zoo: Zoo, data: list[object], tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    zoo(*data)
    assert [q["id"] for q in page_of(page)["questions"]] == ["similarity"]
    assert [p["ja"] for p in page_of(page)["scale"]][::4] == ["似ていない", "似ている"]
    alone = [word for word in data if word not in ("--drawings", tmp_path / "drawings")]
    zoo(*alone, "--overwrite")
    assert [q["id"] for q in page_of(page)["questions"]] == ["completeness"]
    assert page_of(page)["items"][0]["portrait"] is None
    asked = tmp_path / "mine.yaml"
    asked.write_text("questions: {lines: Are the lines clean?, 'eyes': {ja: 目は？}}", encoding="utf-8")
    assert zoo(*data, "--overwrite", "--questions", asked, "--no-consent")[0] == 0
    lines, eyes = page_of(page)["questions"]
    assert lines == {"id": "lines", "en": "Are the lines clean?", "ja": "Are the lines clean?"}
    assert eyes["en"] == "目は？" and page_of(page)["words"]["consent"]["en"] == ""


def test_the_questions_of_the_documentation_work(zoo: Zoo, data: list[object], tmp_path: Path) -> None:
    (block,) = re.findall(r"^```yaml\n(.*?)^```$", (ROOT / "docs/survey.md").read_text(encoding="utf-8"), re.M | re.S)
    (tmp_path / "mine.yaml").write_text(block, encoding="utf-8")
    assert zoo(*data, "--questions", tmp_path / "mine.yaml")[0] == 0
    page = page_of(tmp_path / "page.html")
    assert [q["id"] for q in page["questions"]] == ["lines", "eyes"] and page["scale"][0] == {"en": "No", "ja": "No"}


def test_a_sitter_with_a_picture_missing_is_left_out_for_all_models(
    zoo: Zoo, data: list[object], tmp_path: Path
) -> None:
    (tmp_path / "carbon" / "b.png").unlink()
    (tmp_path / "ochre" / "c.png").write_bytes(b"no picture")
    (tmp_path / "drawings" / "d.png").unlink()
    code, _, err = zoo(*data)
    assert code == 6 and "no result for" in err and "c.png is not a picture" in err
    assert "1 photographs without a drawing: d" in err
    assert [*json.loads((tmp_path / "page.key.json").read_text())["items"].values()] == ["a"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--results=carbon={}/carbon"], 2, "two models are called carbon"),
        (["--results=carbon"], 2, "cannot read --results 'carbon'"),
        (["--results=x={}/nowhere"], 2, "is not a folder"),
        (["--questions=simularity"], 2, "there is no question simularity | did you mean similarity?"),
        (["--questions={}/none.yaml"], 2, "cannot read"),
        (["--questions={}/bad.yaml"], 2, "bad.yaml: questions.Bad Name"),
        (["--count=5"], 2, "there are 4 photographs for the page, not 5"),
        (["--out={}/page.txt"], 2, "let it end in .html"),
        (["--out={}/there.html"], 2, "there.key.json is there already"),
        (["cyclegone"], 3, "cyclegone"),
    ],
)
def test_a_page_that_cannot_be(
    zoo: Zoo, data: list[object], tmp_path: Path, words: list[str], code: int, said: str
) -> None:
    (tmp_path / "there.key.json").write_text("{}")
    (tmp_path / "bad.yaml").write_text("questions: {Bad Name: why}")
    done, out, err = zoo(*data, *(word.format(tmp_path) for word in words))
    assert done == code and not out and all(part in err for part in said.split(" | "))
    assert not (tmp_path / "page.html").exists() and len(err.splitlines()) <= 2


def test_a_page_needs_two_models_and_drawings_for_similarity(zoo: Zoo, data: list[object], tmp_path: Path) -> None:
    one = [word for word in data if word != f"--results=ochre={tmp_path / 'ochre'}"]
    assert "at least two models" in zoo(*one)[2]
    photos = [word for word in data if word not in ("--drawings", tmp_path / "drawings")]
    assert "similarity compares with the artist's portraits" in zoo(*photos, "--questions", "similarity")[2]


@pytest.mark.parametrize("scheme", [0, 1])
def test_every_text_has_contrast(scheme: int) -> None:
    css = (ROOT / "zoo/survey/page.css").read_text(encoding="utf-8")
    colours = dict(re.findall(r"--([\w-]+): #(\w+);", css.split(":root {")[1 + scheme]))

    def light(name: str) -> float:
        hexadecimal = colours[name] if len(colours[name]) == 6 else "".join(2 * digit for digit in colours[name])
        parts = np.array([int(hexadecimal[i : i + 2], 16) / 255 for i in (0, 2, 4)])
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722]) + 0.05

    pairs = [(text, on) for text in ("ink", "quiet", "warning") for on in ("paper", "card", "chosen")]
    for text, on in [*pairs, ("on-accent", "accent"), ("accent", "paper")]:
        low, high = sorted((light(text), light(on)))
        assert high / low >= 4.5, (text, on)


@pytest.mark.skipif(sys.platform != "linux", reason="file names are text here")
def test_names_that_are_not_text(zoo: Zoo, data: list[object], tmp_path: Path) -> None:
    for folder in ("photos", "drawings", *MODELS):
        (tmp_path / folder / "a.png").rename(tmp_path / folder / os.fsdecode(b"\xff.png"))
    code, _, err = zoo(*data, "--title", os.fsdecode(b"\xfe?"))
    assert code == 0, err
    key = json.loads((tmp_path / "page.key.json").read_text())
    assert r"\udcff" in key["items"].values() and r"\udcfe?" in (tmp_path / "page.html").read_text()
