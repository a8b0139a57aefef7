"""``zoo face-crops``: what is cut out, what is left out and why, and that nothing is lost or overwritten."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from zoo import faces
from zoo.cli import main
from zoo.errors import ConfigError
from zoo.faces.folders import AWAY, FACELESS, UNREADABLE
from zoo.generator import build_generator
from zoo.pictures.image import read, to_pil, write
from zoo.recipe import load_recipe
from zoo.weights.file import read_header, save_weights
from zoo_expression import crops
from zoo_expression.data import Faces
from zoo_expression.table import COLUMNS, read_table

SAMPLE = Path(__file__).parents[3] / "docs/sample/eileen-collins.jpg"
UNITS = tuple(i / 4 for i in range(17))
OPENFACE = ("face", " confidence", " gaze_0_x", *(f" {name}" for name in COLUMNS), " AU01_c")
"""The head of FaceLandmarkImg's tables, shortened: with a space before each name but the first."""


def head(side: int = 160) -> Tensor:
    """(3, side, side): one face, seen from the front; 46 pixels high of 160."""
    part = read(SAMPLE).rgb[None, :, 20:320, 60:360]
    return F.interpolate(part, size=(side, side), mode="bicubic", antialias=True)[0].clamp(-1, 1)


def tilted(image: Tensor, angle: float) -> Tensor:
    c, s = torch.tensor(angle).cos(), torch.tensor(angle).sin()
    turn = torch.tensor([[c, -s, 0], [s, c, 0]])[None]
    grid = F.affine_grid(turn, [1, *image.shape], align_corners=False)
    return F.grid_sample(image[None], grid, padding_mode="border", align_corners=False)[0]


def put(image: Tensor, path: Path) -> None:
    write(to_pil(image), path)


def table(path: Path, heads: tuple[str, ...], *rows: tuple[object, ...]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([heads, *rows])
    return path


def openface(path: Path, confidence: float = 0.98, units: tuple[float, ...] = UNITS, rows: int = 1) -> Path:
    return table(path, OPENFACE, *((i, f" {confidence}", 0.1, *units, 1) for i in range(rows)))


def written(out: Path) -> dict[str, tuple[float, ...]]:
    return {row.file: row.units for row in read_table(out / "aus.csv")}


def skipped(out: Path) -> dict[str, str]:
    with (out / "skipped.csv").open(newline="") as file:
        return {row["file"]: row["reason"] for row in csv.DictReader(file)}


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


Zoo = Callable[..., tuple[int, Any, str]]


@pytest.fixture
def zoo(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Zoo:
    """``zoo face-crops …`` in a folder of its own -> exit code, what it printed as JSON, stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> tuple[int, Any, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main(["face-crops", *map(str, words), "--json"])
        told, errors = capsys.readouterr()
        return int(left.value.code or 0), json.loads(told) if told else None, errors

    return run


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three photographs of one face, one of them turned and one below, and what FaceLandmarkImg says of them."""
    folder = tmp_path / "photos"
    for i, name in enumerate(("a.png", "b.jpg", "below/c.webp")):
        put(tilted(head(), 0.3) if name == "b.jpg" else head(), folder / name)
        openface(tmp_path / "csv" / Path(name).with_suffix(".csv").name, units=(i, *UNITS[1:]))
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return weights(tmp_path / "tiny.safetensors")


def weights(path: Path, **options: Any) -> Path:
    meter = {"width": 8, "layers": 4, "widest": 16, "size": 32}
    network = load_recipe("ganimation").network()
    network["generator"] = {"name": "stargan", "width": 8, "blocks": 1, "meter": meter, **options}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_weights(path, build_generator(network).state_dict(), network, bits=32)
    return path


# -- what is cut out --------------------------------------------------------------------------------------------------


def test_crops_are_upright_and_alike_and_can_be_trained_on(zoo: Zoo, photos: Path) -> None:
    code, told, _ = zoo("photos", "--out", "out", "--labels", "csv")
    out = Path("out")
    assert code == 0 and told["crops"] == told["pictures"] == 3 and told["rows"] == []
    assert "zoo train ganimation-convnext-small --photos out" in told["lines"][-1]
    assert written(out) == {name: (i, *UNITS[1:]) for i, name in enumerate(("a.jpg", "b.jpg", "below/c.jpg"))}
    for name in written(out):
        image = read(out / name).rgb
        (face,) = faces.find(image)
        assert image.shape == (3, 128, 128) and abs(face.angle) < 0.06
        assert 128 / face.height == pytest.approx(faces.FACE.scale, rel=0.06)
    sample = Faces([out], load_recipe("ganimation").data, seed=0)
    assert len(sample.photos[0]) == 3 and sample[0]["source"].shape == (3, 128, 128)


def test_the_largest_face_is_the_one_that_labels_are_of(zoo: Zoo, tmp_path: Path) -> None:
    group = torch.cat([F.pad(head(160), (0, 0, 40, 40), value=0.5), head(240)], dim=2)
    put(group, tmp_path / "photos/group.png")
    table(tmp_path / "t.csv", ("filename", " success", *COLUMNS), ("group.png", 1, *UNITS))
    assert zoo("photos", "--out", "out", "--labels", "t.csv", "--size", 64)[0] == 0
    expected = faces.crop(group, faces.find(group)[0], 64).image
    assert list(written(Path("out"))) == ["group.jpg"]
    assert (read("out/group.jpg").rgb - expected).abs().mean() < 0.03
    assert faces.find(group)[0].landmarks[:, 0].min() > 160


def test_a_meter_reads_every_face_that_is_large_enough(zoo: Zoo, model: Path, tmp_path: Path) -> None:
    heads = [F.pad(head(side), (0, 0, 0, 240 - side), value=0.5) for side in (120, 160, 240)]
    put(torch.cat(heads, dim=2), tmp_path / "photos/group.png")
    put(head(), tmp_path / "photos/group-2.png")
    code, told, _ = zoo("photos", "--out", "out", "--meter", model, "--device", "cpu")
    made = written(Path("out"))
    assert code == 0 and set(made) == {"group.jpg", "group-2.jpg", "group-3.jpg"} and told["crops"] == 3
    generator = build_generator(read_header(model).network)
    generator.load(model)
    group = read("photos/group.png").rgb
    *large, small = faces.find(group)
    assert small.height < 40
    for name, face in zip(("group.jpg", "group-3.jpg"), large, strict=True):
        units = (5 * generator.meter(faces.crop(group, face).image[None])[0]).clamp(0, 5)  # type: ignore[operator]
        assert made[name] == pytest.approx(units.tolist(), abs=0.0051) and sum(made[name]) > 0


def test_pictures_of_one_name_get_crops_of_two(zoo: Zoo, photos: Path) -> None:
    put(head(), photos / "A.jpg")
    table(Path("t.csv"), ("file", *COLUMNS), *((name, *UNITS) for name in ("A.jpg", "a.png", "b.jpg")))
    assert zoo("photos", "--out", "out", "--labels", "t.csv")[0] == 0
    assert set(written(Path("out"))) == {"A.jpg", "a-2.jpg", "b.jpg"}


# -- what is left out -------------------------------------------------------------------------------------------------


def test_reasons_are_counted_and_listed(zoo: Zoo, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(torch.zeros(3, 90, 120), photos / "grey.png")
    (photos / "text.jpg").write_text("no picture")
    put(F.pad(head(120), (100, 100, 100, 100), value=0), photos / "small.png")
    labels = Path("csv")
    for name in ("grey", "text", "small", "several", "unsure"):
        openface(labels / f"{name}.csv", confidence=0.5 if name == "unsure" else 0.9, rows=1 + (name == "several"))
    for name in ("unlabelled", "several", "unsure"):
        put(head(), photos / f"{name}.png")
    code, told, errors = zoo("photos", "--out", "out", "--labels", labels)
    assert code == 6 and "1 pictures could not be read" in errors
    assert skipped(Path("out")) == {
        "grey.png": FACELESS,
        "several.png": crops.SEVERAL,
        "small.png": "face smaller than 40 pixels",
        "text.jpg": UNREADABLE,
        "unlabelled.png": crops.UNLABELLED,
        "unsure.png": crops.UNSURE,
    }
    assert {row["reason"]: row["pictures"] for row in told["rows"]} == dict.fromkeys(skipped(Path("out")).values(), 1)
    assert set(written(Path("out"))) == {"a.jpg", "b.jpg", "below/c.jpg"}

    put(head(), photos / "text.jpg")  # mended
    assert zoo("photos", "--out", "out", "--labels", labels)[0] == 0
    assert "text.jpg" in written(Path("out")) and "text.jpg" not in skipped(Path("out"))

    monkeypatch.setattr(crops, "TURNED", -1.0)
    _, told, _ = zoo("photos", "--out", "none", "--labels", labels)
    assert {"reason": AWAY, "pictures": 4} in told["rows"] and told["crops"] == 0
    assert not any("zoo train" in line for line in told["lines"])


@pytest.mark.parametrize(("success", "confidence"), [(0, 0.99), (1, 0.79)])
def test_where_openface_was_not_sure_its_numbers_may_be_anything(
    zoo: Zoo, photos: Path, success: int, confidence: float
) -> None:
    nothing = ("-nan",) * 17
    heads = ("file", " success", " confidence", *(f" {name}" for name in COLUMNS))
    table(Path("t.csv"), heads, ("a.png", success, confidence, *nothing), ("b.jpg", 1, 0.8, *UNITS))
    assert zoo("photos", "--out", "out", "--labels", "t.csv")[0] == 0
    assert skipped(Path("out"))["a.png"] == crops.UNSURE and list(written(Path("out"))) == ["b.jpg"]


def test_a_bare_name_counts_where_it_is_alone(zoo: Zoo, photos: Path) -> None:
    put(head(), photos / "below/b.jpg")
    table(Path("t.csv"), ("file", *COLUMNS), ("c.webp", *UNITS), ("b.jpg", *UNITS), ("../photos/a.png", *UNITS))
    assert zoo("photos", "--out", "out", "--labels", "t.csv")[0] == 0
    assert set(written(Path("out"))) == {"b.jpg", "below/c.jpg"}
    assert skipped(Path("out")) == {"a.png": crops.UNLABELLED, "below/b.jpg": crops.UNLABELLED}


# -- going on ---------------------------------------------------------------------------------------------------------


def test_a_run_that_was_stopped_goes_on(zoo: Zoo, photos: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = "photos", "--meter", model, "--device", "cpu", "--out"
    zoo(*arguments, "whole")
    find, seen = faces.find, 0

    def stopped(image: Tensor) -> list[faces.Face]:
        nonlocal seen
        seen += 1
        if seen == 3:
            raise KeyboardInterrupt
        return find(image)

    monkeypatch.setattr(faces, "find", stopped)
    assert zoo(*arguments, "out")[0] == 130
    assert set(written(Path("out"))) == {"a.jpg", "b.jpg"}
    with Path("out/face-crops.jsonl").open("a") as file:
        file.write('{"file": "below/c.webp", "cro')  # as a killed one leaves it
    code, told, _ = zoo(*arguments, "out")
    assert code == 0 and told["crops"] == 3 and seen == 4
    assert content(Path("out")) == content(Path("whole"))
    assert zoo(*arguments, "out")[0] == 0 and seen == 4


def test_corrected_labels_are_taken(zoo: Zoo, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zoo("photos", "--out", "out", "--labels", "csv")
    openface(Path("csv/a.csv"), units=(3.5,) * 17)
    openface(Path("csv/b.csv"), confidence=0.1)
    monkeypatch.delattr(faces, "find")  # nothing is looked at again
    assert zoo("photos", "--out", "out", "--labels", "csv")[0] == 0
    assert written(Path("out"))["a.jpg"] == (3.5,) * 17
    assert skipped(Path("out")) == {"b.jpg": crops.UNSURE} and "b.jpg" not in written(Path("out"))


# -- what is refused --------------------------------------------------------------------------------------------------


def test_what_it_did_not_make_or_made_otherwise_stays_as_it_is(zoo: Zoo, photos: Path, model: Path) -> None:
    Path("mine").mkdir()
    Path("mine/aus.csv").write_text("precious")
    zoo("photos", "--out", "out", "--labels", "csv")
    before = content(Path())
    for words, reason in (
        (("--out", "mine", "--labels", "csv"), "did not make it"),
        (("--out", "csv/a.csv", "--labels", "csv"), "did not make it"),
        (("--out", "out", "--labels", "csv", "--size", 64), "other settings: size 128"),
        (("--out", "out", "--meter", model), "other settings: labels"),
        (("--out", "photos/out", "--labels", "csv"), "would be taken for photographs"),
    ):
        code, _, errors = zoo("photos", *words)
        assert code == 2 and reason in errors
    code, _, errors = zoo("photos/below", "--out", "out", "--labels", "csv")
    assert code == 2 and "other settings: photos" in errors
    assert content(Path()) == before

    journal = Path("out/face-crops.jsonl")
    journal.write_text(journal.read_text().replace('"crops"', '"corps"'))
    code, _, errors = zoo("photos", "--out", "out", "--labels", "csv")
    assert code == 2 and "is damaged" in errors


def test_calls_that_cannot_work_say_what_to_do(zoo: Zoo, photos: Path) -> None:
    table(Path("video.csv"), ("frame", " face_id", " timestamp", *COLUMNS), (1, 0, 0.0, *UNITS))
    table(Path("unnamed.csv"), OPENFACE, (0, 0.9, 0.1, *UNITS, 1))
    table(Path("strange.csv"), ("file", *COLUMNS), ("z.png", *UNITS))
    table(Path("few.csv"), ("file", *COLUMNS[1:]), ("a.png", *UNITS[1:]))
    table(Path("much.csv"), ("file", *COLUMNS), ("a.png", *UNITS[1:], 6))
    table(Path("words.csv"), ("file", *COLUMNS), ("a.png", *UNITS[1:], "high"))
    Path("empty").mkdir()
    weights(Path("stargan.safetensors"), labels=True, attention=False)
    for words, code, said in (
        (("photos",), 2, "give one of them"),
        (("photos", "--labels", "csv", "--meter", "x"), 2, "give one of them"),
        (("photos", "--labels", "video.csv"), 2, "FaceLandmarkImg -fdir"),
        (("photos", "--labels", "unnamed.csv"), 2, "no column file or filename"),
        (("photos", "--labels", "strange.csv"), 2, "names no picture of photos"),
        (("photos", "--labels", "few.csv"), 2, "no column AU01_r"),
        (("photos", "--labels", "much.csv"), 2, "line 2: an intensity"),
        (("photos", "--labels", "words.csv"), 2, "'high', not a number"),
        (("photos", "--labels", "photos/a.png"), 2, "not a CSV table"),
        (("photos", "--labels", "nowhere"), 3, "there is no table"),
        (("photos", "--labels", "empty"), 3, "there is no CSV file"),
        (("photos", "--meter", "stargan.safetensors"), 2, "does not read action units"),
        (("empty", "--labels", "csv"), 2, "no picture"),
        (("nowhere", "--labels", "csv"), 3, "no folder"),
    ):
        left, _, errors = zoo(*words, "--out", "out")
        assert (left, said in errors) == (code, True), (words, errors)
        assert not Path("out").exists()


def test_a_table_to_train_on_names_its_pictures(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no column file"):
        list(read_table(openface(tmp_path / "a.csv")))
