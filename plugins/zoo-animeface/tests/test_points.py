"""The 40 points: where they come from among iBUG's 68, their mirror images, and the table they are kept in."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from zoo.cli import main
from zoo.errors import ConfigError, NotFoundError
from zoo.pictures.image import read
from zoo_animeface.photos import photo_points
from zoo_animeface.points import COLUMNS, FRONTAL, GROUPS, NAMES, TABLE, Row, mirrored, of_68, read_points, write_points

SAMPLE = Path(__file__).parents[3] / "docs/sample/eileen-collins.jpg"


def test_the_thesis_takes_these_of_68() -> None:
    numbers = torch.arange(68.0)
    shape = of_68(torch.stack([numbers, 100 + numbers], -1), drop=0.5)
    taken = [*range(17), 17, 19, 21, 22, 24, 26, *range(36, 48), 30, 59, 66, 55, 57]
    assert shape[:, 0].tolist() == taken
    lowered = {number: y - number for number, y in zip(taken, (shape[:, 1] - 100).tolist()) if y != number}
    lids, corners, lips = (40, 41, 46, 47), (36, 39, 42, 45), (55, 57, 59, 66)
    by = {**dict.fromkeys(lids, 0.5), **dict.fromkeys(corners, 0.25), **dict.fromkeys(lips, 0.075)}
    assert lowered == pytest.approx(by, abs=1e-4)


def test_a_mirrored_photograph_has_mirrored_points() -> None:
    landmarks = torch.rand(68, 2, generator=torch.Generator().manual_seed(0))
    other_way = [*range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1)]
    other_way += [45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40]  # eyes
    other_way += [54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65]  # mouth
    flipped = landmarks[other_way] * torch.tensor([-1.0, 1.0]) + torch.tensor([1.0, 0.0])
    of_eyes = slice(23, 35)
    assert torch.allclose(of_68(flipped)[of_eyes], mirrored(of_68(landmarks))[of_eyes])


def test_the_lids_go_down_by_the_thesis_s_share_and_what_is_given_stays() -> None:
    landmarks = torch.zeros(2, 68, 2)
    shape = of_68(landmarks)
    assert shape.shape == (2, 40, 2)
    assert 112 * float(shape[..., 1].max()) == pytest.approx(8.8)
    assert not landmarks.any()


def test_every_point_has_a_name_and_a_group() -> None:
    assert len(set(NAMES)) == 40
    assert sorted(i for part, _ in GROUPS.values() for i in range(part.start, part.stop)) == [*range(40)]
    assert NAMES[GROUPS["eye-left"][0]][0] == "eye-left1" and NAMES[35] == "nose"


def test_mirroring_twice_changes_nothing_and_a_frontal_face_is_its_own_mirror_image() -> None:
    shape = torch.rand(3, 40, 2, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(mirrored(mirrored(shape)), shape)
    assert not torch.allclose(mirrored(shape), shape)
    frontal = torch.tensor(FRONTAL)
    assert (mirrored(frontal) - frontal).abs().max() < 0.002


def test_a_table_gives_back_what_it_got(tmp_path: Path) -> None:
    shape = torch.rand(40, 2, generator=torch.Generator().manual_seed(1))
    write_points(tmp_path / TABLE, [Row("a, b.png", 640, 480, shape), Row("none.png", 3, 4, None)])
    rows = read_points(tmp_path / TABLE)
    assert [*rows] == ["a, b.png", "none.png"]
    assert rows["none.png"].shape is None and (rows["none.png"].width, rows["none.png"].height) == (3, 4)
    found = rows["a, b.png"].shape
    assert found is not None and (found - shape).abs().max() < 1e-5


GOOD = ["a.png", "100", "50", *["1"] * 80]


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        (["", *GOOD[1:]], "names no picture"),
        ([*GOOD[:5], "nan", *GOOD[6:]], "x1 is 'nan'"),
        ([*GOOD[:4], "", *GOOD[5:]], "y0 is ''"),
        (GOOD[:20], "is ''"),
        (["a.png", "0", *GOOD[2:]], "0×50 is not a picture's size"),
        (["a.png", "wide", *GOOD[2:]], "width is 'wide'"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, cells: list[str], told: str) -> None:
    (tmp_path / TABLE).write_text("\n".join(",".join(line) for line in (COLUMNS, GOOD, cells)) + "\n")
    with pytest.raises(ConfigError, match=told) as caught:
        read_points(tmp_path / TABLE)
    assert f"{TABLE}, line 3" in caught.value.message and "\n" not in str(caught.value)


def test_no_table_and_no_points(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no table"):
        read_points(tmp_path / TABLE)
    (tmp_path / TABLE).write_text("file,width\na.png,3\n")
    with pytest.raises(ConfigError, match="no column height"):
        read_points(tmp_path / TABLE)
    (tmp_path / TABLE).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not a CSV table"):
        read_points(tmp_path / TABLE)


def test_photographs_are_looked_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    faces = pytest.importorskip("zoo.faces")
    pytest.importorskip("dlib")
    (tmp_path / "below").mkdir()
    (tmp_path / "below/astronaut.jpg").write_bytes(SAMPLE.read_bytes())
    (tmp_path / "grey.png").write_bytes(_grey())
    paths = [tmp_path / "grey.png", tmp_path / "below/astronaut.jpg"]
    shapes = photo_points(paths, tmp_path)
    assert shapes.shape == (2, 40, 2) and shapes[0].isnan().all()

    image = read(SAMPLE).rgb
    landmarks = faces.find(image)[0].landmarks / torch.tensor(image.shape[:0:-1])
    assert torch.allclose(shapes[1], of_68(landmarks), atol=1e-5)

    table = tmp_path / TABLE
    table.write_text(
        table.read_text().replace("grey.png,32,32" + "," * 80, ",".join(["grey.png", "32", "32", *["8"] * 80]))
    )
    again = photo_points(paths, tmp_path)
    assert (again[0] == 0.25).all() and torch.allclose(again[1], shapes[1])

    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(SystemExit) as caught:
        main(["photo-points", str(tmp_path)])
    assert caught.value.code == 6
    assert "2 of 3 photographs" in capsys.readouterr().out


def _grey() -> bytes:
    from PIL import Image

    from zoo.pictures.image import encode

    return encode(Image.new("RGB", (32, 32), "grey"), ".png")
