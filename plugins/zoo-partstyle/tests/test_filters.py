"""Choosing filters over labelled pictures, and the sets that come of it."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.errors import ConfigError, ControlError, NotFoundError, UsageError
from zoo.pictures.image import read, to_pil, write
from zoo_partstyle import filters
from zoo_partstyle.choose import choose
from zoo_partstyle.objects import Labels, Layer, ObjectSet, has_class, names, object_set, read_labels, width
from zoo_partstyle.sheet import Top


class Seer:
    """Stands in for VGG-19: in each layer filter 7 sees red, the others see green."""

    def to(self, device: object) -> Seer:
        return self

    def __call__(self, image: Tensor, layers: Sequence[str]) -> list[Tensor]:
        red, green = (image[:, :1] - image[:, 2:]).clamp(min=0), image[:, 1:2] + 1
        made = []
        for layer in layers:
            scale = 2 ** (int(layer[4]) - 1)
            mix = torch.rand(1, width(layer), 1, 1, generator=torch.Generator().manual_seed(int(layer[4])))
            x = F.max_pool2d(green, scale, ceil_mode=True) * mix
            x[:, 7] = 5 * F.max_pool2d(red, scale, ceil_mode=True)[:, 0]
            made.append(x)
        return made


def picture(seed: int, red: bool, side: int = 64) -> Tensor:
    """Grey-green noise (1, 3, side, side), with a red square somewhere."""
    chance = torch.Generator().manual_seed(seed)
    image = torch.rand(1, 3, side, side, generator=chance) * 0.2 - torch.tensor([0.6, 0.2, 0.6]).view(1, 3, 1, 1)
    if red:
        y, x = torch.randint(side // 8, side // 2, (2,), generator=chance).tolist()
        image[:, 0, y : y + side * 3 // 8, x : x + side * 3 // 8] += 1.2
    return image.clamp(-1, 1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten pictures with the object and fifteen without."""
    for i in range(25):
        name = f"tomato-{i}" if i % 5 < 2 else f"lawn-{i}"
        write(to_pil(picture(i, i % 5 < 2)[0]), tmp_path / "pictures" / f"{name}.png")
    return tmp_path / "pictures"


def pictures(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


TOMATO = Labels(["tomato-*"])
LAYERS = ("conv1_1", "conv2_1")  # small, so quick


# -- choosing -----------------------------------------------------------------------------------------------------------


def test_the_filter_that_sees_the_object_is_chosen(folder: Path) -> None:
    made = choose(Seer(), pictures(folder), layers=LAYERS, shows=TOMATO, object="tomato")
    assert made.set.layers["conv2_1"].filters[0] == 7 and made.set.layers["conv2_1"].purity[0] == 1
    assert made.set.made is not None and (made.set.made.pictures, made.set.made.showing) == (25, 10)
    assert not made.left_out


def test_streaming_gives_what_all_at_once_gives() -> None:
    """Values with many ties, in the order in which the pictures came."""
    peaks = torch.randint(0, 4, (40, 16), generator=torch.Generator().manual_seed(0)).float()
    shows = [i % 3 == 0 for i in range(40)]
    top = Top.empty(16, 9)
    for number, row in enumerate(peaks):
        top.add(F.pad(row.view(16, 1, 1), (2, 1, 0, 3)), number, shows[number])
    order = peaks.argsort(dim=0, descending=True, stable=True)[:9].T
    assert torch.equal(top.picture, order)
    assert torch.equal(top.value, peaks.T.gather(1, order))
    assert torch.equal(top.shows, torch.tensor(shows)[order])
    assert torch.allclose(top.where[top.value > 0], torch.tensor([0.125, 0.625]))


def test_fewer_pictures_than_places_are_no_pure_filter() -> None:
    top = Top.empty(2, 9)
    top.add(torch.ones(2, 3, 3), 0, True)
    assert top.purity().tolist() == [0, 0] and top.picture[0].tolist() == [0] + [-1] * 8


def test_no_filter_passes(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"best purity is 0\.\d\d, conv\d_1 filter \d+.*lower --threshold"):
        choose(
            Seer(),
            pictures(folder),
            Labels(["*-1", "*-2", "*-7", "*-8", "*-13", "*-4", "*-9", "*-14", "*-19"]),
            "thing",
        )


def test_too_few_pictures_of_the_object_are_said(folder: Path) -> None:
    with pytest.raises(ConfigError, match="only 1 pictures show a thing"):
        choose(Seer(), pictures(folder), layers=LAYERS, shows=Labels(["lawn-3"]), object="thing")


@pytest.mark.parametrize(("classes", "told"), [(["cat"], "none of the 25"), (["*"], "each of the 25")])
def test_all_or_none_show_it(folder: Path, classes: list[str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        choose(Seer(), pictures(folder), layers=LAYERS, shows=Labels(classes), object="thing")


def test_a_damaged_picture_is_left_out_and_named(folder: Path) -> None:
    (folder / "lawn-99.png").write_bytes((folder / "lawn-2.png").read_bytes()[:200])
    made = choose(Seer(), pictures(folder), layers=LAYERS, shows=TOMATO, object="tomato")
    assert len(made.left_out) == 1 and "lawn-99.png" in made.left_out[0]
    assert made.set.made is not None and made.set.made.pictures == 25


def test_only_damaged_pictures(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(ConfigError, match="no picture that can be used"):
        choose(Seer(), [tmp_path / "a.png"], TOMATO, "tomato")


def test_auc_needs_few_pictures(folder: Path) -> None:
    few = [path for path in pictures(folder) if "lawn" in path.name or path.stem in ("tomato-0", "tomato-6")]
    made = choose(Seer(), few, layers=LAYERS, shows=TOMATO, object="tomato", by="auc")
    layer = made.set.layers["conv2_1"]
    assert layer.filters[0] == 7 and layer.score is not None
    assert layer.score[0] == 1 and layer.purity[0] == 0.222


def test_masks_rank_by_inside_against_outside(folder: Path, tmp_path: Path) -> None:
    for path in folder.glob("tomato-*"):
        rgb = read(path).rgb
        write(
            to_pil(((rgb[:1] - rgb[2:]) > 0.5).float().expand(3, -1, -1) * 2 - 1),
            tmp_path / "masks" / path.name,
        )
    made = choose(
        Seer(), pictures(folder), layers=LAYERS, shows=TOMATO, object="tomato", by="contrast", masks=tmp_path / "masks"
    )
    layer = made.set.layers["conv2_1"]
    assert layer.filters[0] == 7 and layer.score is not None and layer.score[0] > 3


# -- labels -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "classes", "is_one"),
    [
        ("n02088364_beagle", ["beagle"], True),
        ("n02088364_beagle", ["n02085620..n02113978"], True),
        ("n02114367_timber_wolf", ["n02085620..n02113978"], False),
        ("n02497673_Madagascar_cat", ["cat"], False),
        ("n02085936_Maltese_dog", ["*_dog"], True),
        ("Dog", ["dog"], True),
        ("hotdog", ["dog"], False),
    ],
)
def test_classes(label: str, classes: list[str], is_one: bool) -> None:
    assert has_class(label, classes) is is_one


def test_labels_of_a_csv_and_of_folders(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("picture,label\n001.jpg,dog\n001.jpg,ball\n002,cat\n")
    listed = Labels(["ball", "cat"], read_labels(tmp_path / "labels.csv"))
    assert listed(Path("a/001.jpg")) and listed(Path("002.png")) and not listed(Path("cat/003.jpg"))
    assert Labels(["cat"])(Path("cat/003.jpg"))


def test_a_csv_with_a_fault(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("001.jpg,dog\n002.jpg\n")
    with pytest.raises(ConfigError, match="line 2"):
        read_labels(tmp_path / "labels.csv")
    with pytest.raises(NotFoundError):
        read_labels(tmp_path / "other.csv")


# -- the command --------------------------------------------------------------------------------------------------------


@pytest.fixture
def run(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(filters, "find", lambda kind, given: given)
    monkeypatch.setattr(filters, "VGG19", type("VGG19", (Seer,), {"minimum": 16, "__init__": lambda *_, **__: None}))
    options = {
        "images": folder,
        "object": "tomato",
        "out": tmp_path / "tomato.json",
        "classes": "tomato-*",
        "layers": ",".join(LAYERS),
    }
    return lambda **more: filters.command(**{**options, "device": "cpu", **more})


def test_command_writes_set_and_sheet(run: Any, tmp_path: Path) -> None:
    told = run(sheet=tmp_path / "tomato.png", near="x,y")
    made = object_set(tmp_path / "tomato.json")
    assert made.made is not None and made.made.classes == ("tomato-*",) and made.made.near == ("x", "y")
    assert {"layer": "conv2_1", "filter": 7, "purity": 1.0, "score": None} in told["filters"]
    assert read(tmp_path / "tomato.png").rgb.shape[0] == 3
    assert json.loads(json.dumps(told))["showing"] == 10 and len(told["lines"]) == len(told["filters"]) + 2
    with pytest.raises(UsageError, match="is there already"):
        run()
    run(overwrite=True, threshold="conv1_1=0.9,conv2_1=0.9")


@pytest.mark.parametrize(
    "options",
    [
        {"layers": "conv9_1"},
        {"layers": ""},
        {"layers": "conv5_1,conv5_1"},
        {"threshold": "much"},
        {"threshold": "-1"},
        {"threshold": "conv8_1=0.5"},
        {"out": Path("tomato.yaml")},
        {"sheet": Path("sheet.xyz")},
        {"masks": Path("masks")},
        {"by": "contrast"},
    ],
)
def test_command_refuses(run: Any, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        run(**options)


def test_command_without_folder(run: Any, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no folder"):
        run(images=tmp_path / "nowhere")


# -- sets ---------------------------------------------------------------------------------------------------------------


def small_set(**changes: Any) -> dict[str, Any]:
    return {"version": 1, "object": "dog", "layers": {"conv5_1": {"filters": [7, 3], "purity": [1.0, 0.8]}}, **changes}


def test_a_set_is_read_as_it_was_written(tmp_path: Path, folder: Path) -> None:
    made = choose(Seer(), pictures(folder), layers=LAYERS, shows=TOMATO, object="tomato").set
    made.save(tmp_path / "tomato.json")
    assert object_set(tmp_path / "tomato.json") == made
    assert ObjectSet.model_validate(small_set()).chosen() == {"conv5_1": (7, 3)}


def test_shipped_sets() -> None:
    assert {"bird", "car", "cat", "dog", "flower", "horse"} <= set(names())
    for name in names():
        shipped = object_set(name)
        assert shipped.object == name and shipped.place is not None and shipped.made is not None and shipped.made.note
        assert shipped.layers["conv5_1"].filters and shipped.made.network


def test_unknown_object() -> None:
    with pytest.raises(ControlError, match=r"'dgo'.*did you mean dog.*FILE\.json"):
        object_set("dgo")
    with pytest.raises(ControlError, match="no file"):
        object_set("nowhere/dog.json")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"version": 1, "object": "dog", "layers": {}, "more": 1}',
        json.dumps(small_set(version=2)),
        json.dumps(small_set(object="a\nb")),
        json.dumps(small_set(layers={})),
        json.dumps(small_set(layers={"conv9_1": {"filters": [1], "purity": [1]}})),
        json.dumps(small_set(layers={"conv5_1": {"filters": [512], "purity": [1]}})),
        json.dumps(small_set(layers={"conv5_1": {"filters": [-1], "purity": [1]}})),
        json.dumps(small_set(layers={"conv5_1": {"filters": [1, 1], "purity": [1, 1]}})),
        json.dumps(small_set(layers={"conv5_1": {"filters": [1], "purity": [1.5]}})),
        json.dumps(small_set(layers={"conv5_1": {"filters": [1, 2], "purity": [1]}})),
        json.dumps(small_set(place={"layers": ["conv5_1"], "weights": [[1.0]]})),
        json.dumps(small_set(place={"layers": ["conv1_1"], "weights": [[float("nan")] * 64]})),
    ],
)
def test_a_bad_file_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(ConfigError, match=r"bad\.json is no set of filters: .+") as told:
        object_set(tmp_path / "bad.json")
    assert "\n" not in str(told.value)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(pipe := tmp_path / "pipe.json")
    signal.signal(signal.SIGALRM, lambda *_: pytest.fail("it waits for somebody to write"))
    signal.alarm(60)
    for look in (object_set, read_labels):
        with pytest.raises(ConfigError, match="cannot be read: it is not a file"):
            look(pipe)
    signal.alarm(0)


def test_no_file_but_a_folder(tmp_path: Path) -> None:
    (tmp_path / "dog.json").mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        object_set(tmp_path / "dog.json")


def test_layers_have_widths() -> None:
    assert [width(f"conv{block}_1") for block in range(1, 6)] == [64, 128, 256, 512, 512]
    assert Layer(filters=(1,), purity=(0.5,)).score is None
