"""``zoo anime-points``: the outline of a drawn face is found, what does not fit is left out, bad tables are refused."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from zoo.cli import main
from zoo.errors import ConfigError, UsageError
from zoo_animeface import label
from zoo_animeface.detections import BOXES, POINTS, SEVERAL, UNSURE, read_detections
from zoo_animeface.label import anime_points
from zoo_animeface.points import TABLE, read_points

MIDDLE, RADII = (64.0, 58.0), (26.0, 38.0)
"""Of the ellipse that is the face of `draw`, in 128 pixels."""

FACE: dict[str, float] = {
    **{"rex": 42.0, "rey": 48.0, "rew": 14.0, "reh": 16.0, "lex": 72.0, "ley": 48.0, "lew": 14.0, "leh": 16.0},
    **{"mx": 58.0, "my": 82.0, "mw": 12.0, "mh": 5.0, "nx": 64.0, "ny": 72.0, "cx": 65.0, "cy": 94.0},
}
"""What a detector finds in it; the chin 2 pixels too high and 1 too far to the right."""


def draw(path: Path, side: int = 128, neck: bool = True) -> None:
    """Eyes and a mouth in an ellipse of skin with a dark outline, hair around it, a neck below."""
    large = Image.new("RGB", (512, 512), (120, 140, 200))
    pen = ImageDraw.Draw(large)

    def ellipse(x: float, y: float, rx: float, ry: float, **options: Any) -> None:
        pen.ellipse([4 * (x - rx), 4 * (y - ry), 4 * (x + rx), 4 * (y + ry)], **options)

    ellipse(64, 50, 42, 46, fill=(90, 60, 40))
    if neck:
        pen.rectangle([4 * 56, 4 * 85, 4 * 72, 4 * 128], fill=(225, 190, 170))
    ellipse(*MIDDLE, *RADII, fill=(250, 222, 205), outline=(70, 40, 30), width=5)
    for box in ("re", "le", "m"):
        x, y, width, height = (4 * FACE[f"{box}{kind}"] for kind in "xywh")
        pen.ellipse([x, y, x + width, y + height], fill=(40, 60, 120) if box != "m" else (200, 90, 90))
    large.resize((side, side), Image.Resampling.LANCZOS).save(path)


def table(path: Path, *rows: dict[str, object]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*rows[0]])
        writer.writeheader()
        writer.writerows(rows)
    return path


def boxes(file: str, **changes: object) -> dict[str, object]:
    return {"file": file, "n": 1, "likelihood": 1.0, **FACE, **changes}


def off(points: np.ndarray) -> np.ndarray:
    """Distances (n,) of points in 128 pixels from the ellipse."""
    turns = np.linspace(0, 2 * np.pi, 2000)
    ellipse = MIDDLE + np.stack([np.cos(turns), np.sin(turns)], 1) * RADII
    return np.linalg.norm(points[:, None] - ellipse, axis=2).min(1)


@pytest.mark.parametrize("side", [128, 300])
def test_the_jaw_is_found(tmp_path: Path, side: int) -> None:
    draw(tmp_path / "face.png", side)
    scaled = {name: value * side / 128 for name, value in FACE.items()}
    detections = table(tmp_path / "found.csv", boxes("face.png", **scaled))
    made = anime_points(tmp_path, detections, sheet=tmp_path / "sheet.png")
    assert (made["kept"], made["faces"], made["rows"]) == (1, 1, [])
    shape = read_points(tmp_path / TABLE)["face.png"].shape
    assert shape is not None
    points = 128 * shape.numpy()
    assert off(points[:17]).max() < 2
    assert np.linalg.norm(points[8] - (64, 96)) < 2  # the chin, not where the detector has it
    assert (np.diff(points[:17, 0]) > 0).all()  # from the picture's left to its right
    steps = np.linalg.norm(np.diff(points[:9], axis=0), axis=1)
    assert steps.max() < 1.05 * steps.min()
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (6 * 256, 256)


def test_eyes_brows_nose_and_mouth_are_where_the_boxes_are(tmp_path: Path) -> None:
    draw(tmp_path / "face.png")
    anime_points(tmp_path, table(tmp_path / "found.csv", boxes("face.png")))
    shape = read_points(tmp_path / TABLE)["face.png"].shape
    assert shape is not None
    points = 128 * shape.numpy()
    assert points[23] == pytest.approx((42, 56)) and points[26] == pytest.approx((56, 56))  # corners of the right eye
    assert (points[24:26, 1] < 50).all() and (points[27:29, 1] > 62).all()  # upper and lower lid
    assert points[32] == pytest.approx((86, 56))
    assert (points[17:20, 1] < 48).all() and points[17:20, 0].tolist() == pytest.approx([42, 49, 56])
    assert points[35] == pytest.approx((64, 72))
    assert points[36:].tolist() == [pytest.approx(at) for at in ((58, 84.5), (64, 82), (70, 84.5), (64, 87))]


def test_five_points_of_a_jaw_become_17(tmp_path: Path) -> None:
    """The layout that the thesis had; what is known stays where it is."""
    draw(tmp_path / "face.png")
    turns = np.radians([175, 135, 90, 45, 5])
    jaw = np.array(MIDDLE) + np.stack([np.cos(turns), np.sin(turns)], 1) * RADII
    eyes = [[(x, 50), (x + 7, 48), (x + 14, 50), (x, 60), (x + 7, 64), (x + 14, 60)] for x in (42, 72)]
    brows = [[(x, 42), (x + 7, 40), (x + 14, 42)] for x in (42, 72)]
    mouth = [(58, 84), (64, 82), (70, 84), (64, 87)]
    points = np.concatenate([jaw, *brows, *eyes, [(64, 72)], mouth])
    row = {"file": "face.png", **dict(zip(POINTS, points.flatten().tolist()))}
    anime_points(tmp_path, table(tmp_path / "found.csv", row))
    shape = read_points(tmp_path / TABLE)["face.png"].shape
    assert shape is not None
    found = 128 * shape.numpy()
    assert off(found[:17]).max() < 2
    assert np.linalg.norm(found[[0, 16]] - jaw[[0, 4]], axis=1).max() < 0.01
    assert found[17:23].tolist() == [pytest.approx(at) for at in points[5:11].tolist()]
    assert found[23] == pytest.approx((42, 55)) and found[26] == pytest.approx((56, 55))


def test_what_does_not_fit_is_left_out_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw(tmp_path / "face.png")
    draw(tmp_path / "odd.png")
    Image.new("RGB", (128, 128), (250, 222, 205)).save(tmp_path / "blank.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    reasons = {
        "two.png": (SEVERAL, {"n": 2}),
        "unsure.png": (UNSURE, {"likelihood": 0.5}),
        "odd.png": (label.ODD, {"my": 30.0}),
        "blank.png": (label.HIDDEN, {}),
        "broken.png": (label.UNREADABLE, {}),
        "away.png": (label.UNREADABLE, {}),
    }
    rows = [boxes("face.png"), *(boxes(name, **changes) for name, (_, changes) in reasons.items())]
    detections = table(tmp_path / "found.csv", *rows)
    with pytest.raises(SystemExit) as caught:
        main(["anime-points", str(tmp_path), "--detections", str(detections), "--json"])
    assert caught.value.code == 6
    made = json.loads(capsys.readouterr().out)
    assert made["left_out"] == {name: reason for name, (reason, _) in reasons.items()}
    assert {row["reason"]: row["faces"] for row in made["rows"]}[label.UNREADABLE] == 2
    assert [*read_points(tmp_path / TABLE)] == ["face.png"]


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    draw(tmp_path / "face.png")
    detections = table(tmp_path / "found.csv", boxes("face.png"))
    (tmp_path / TABLE).write_text("mine")
    with pytest.raises(UsageError, match="is there already"):
        anime_points(tmp_path, detections)
    assert (tmp_path / TABLE).read_text() == "mine"
    anime_points(tmp_path, detections, overwrite=True)
    assert [*read_points(tmp_path / TABLE)] == ["face.png"]


def test_no_face_at_all_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="none of the 1 faces") as caught:
        anime_points(tmp_path, table(tmp_path / "found.csv", boxes("face.png", n=3)))
    assert "not one face: 1" in str(caught.value)
    assert not (tmp_path / TABLE).exists()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"file": ""}, "names no picture"),
        ({"rex": "left"}, "rex is 'left'"),
        ({"n": "inf"}, "n is 'inf'"),
        ({"cy": ""}, "cy is ''"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, changes: dict[str, object], told: str) -> None:
    detections = table(tmp_path / "found.csv", boxes("a.png"), {**boxes("b.png"), **changes})
    with pytest.raises(ConfigError, match=told) as caught:
        list(read_detections(detections))
    assert "found.csv, line 3" in caught.value.message


def test_a_table_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"no column {BOXES[0]}"):
        list(read_detections(table(tmp_path / "found.csv", {"file": "a.png", "x": 3})))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    looks: list[Callable[[Path], object]] = [read_points, lambda path: [*read_detections(path)]]
    for look in looks:
        with pytest.raises(ConfigError, match=r"pipe\.csv.*it is not a file"):
            look(tmp_path / "pipe.csv")


def turned(file: str, **changes: Any) -> dict[str, Any]:
    """What is found in the mirror image: the person's right eye is where the left one was."""
    face = boxes(file, **changes)
    for eye, other in (("le", "re"), ("re", "le")):
        x, width = float(boxes(file, **changes)[f"{other}x"]), float(face[f"{other}w"])
        face |= {f"{eye}x": 128 - x - width, f"{eye}w": width}
        face |= {f"{eye}{name}": boxes(file, **changes)[f"{other}{name}"] for name in "yh"}
    face |= {"mx": 128 - float(face["mx"]) - float(face["mw"]), "nx": 128 - float(face["nx"])}
    return {**face, "cx": 128 - float(face["cx"])}


def test_two_looks_are_better_than_one(tmp_path: Path) -> None:
    for name in ("face.png", "apart.png", "once.png"):
        draw(tmp_path / name)
    detections = table(tmp_path / "found.csv", *(boxes(name) for name in ("face.png", "apart.png", "once.png")))
    low = {name: float(FACE[name]) + 4 for name in ("rey", "ley")}
    far = {name: float(FACE[name]) + 9 for name in ("rey", "ley")} | {"nx": 76.0, "my": 88.0}
    again = table(tmp_path / "again.csv", turned("face.png", **low), turned("apart.png", **far))
    made = anime_points(tmp_path, detections, mirrored=again)
    assert made["kept"] == 1
    assert made["left_out"] == {"apart.png": label.APART, "once.png": label.UNSEEN}
    assert any("of their mirror images are" in line and "(2 faces)" in line for line in made["lines"])
    shape = read_points(tmp_path / TABLE)["face.png"].shape
    assert shape is not None
    points = 128 * shape.numpy()
    assert points[23] == pytest.approx((42, 58)) and points[26] == pytest.approx((56, 58))  # the mean of 56 and 60
    assert points[32] == pytest.approx((86, 58)) and points[35] == pytest.approx((64, 72))
    assert off(points[:17]).max() < 2
    alone = anime_points(tmp_path, detections, overwrite=True)
    assert alone["kept"] == 3 and len(alone["lines"]) == 1
