"""Edges are blurred, flat areas are not; what a training makes of drawings can be looked at."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from zoo.cli import main
from zoo.pictures.image import read
from zoo_animeface.edges import WIDE, edge_blurred, grey


def drawing(side: int = 64) -> Image.Image:
    """A red disc with a black outline on white, and a shade of pink far from any line that is no edge."""
    image = Image.new("RGB", (side, side), "white")
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, side // 6, side // 6), fill=(255, 250, 250))
    draw.ellipse((side // 4, side // 4, side - 4, side - 4), fill=(200, 40, 40), outline="black")
    return image


def tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def test_only_the_surroundings_of_edges_are_blurred() -> None:
    levels = tensor(drawing())
    blurred = edge_blurred(levels)
    assert blurred.shape == levels.shape and blurred.dtype == torch.uint8
    changed = (blurred != levels).any(0)
    assert not changed[:14, :14].any()  # the shade's border is no edge
    assert not changed[28:44, 28:44].any()  # the inside of the disc
    outline = levels.float().mean(0) < 20
    assert changed[outline].float().mean() > 0.95
    near = torch.nn.functional.max_pool2d(outline.float()[None], 2 * WIDE + 1, 1, WIDE)[0] > 0
    assert not changed[~near].any()
    contrast = [(x.float().diff(dim=1).abs().amax(), x.float().diff(dim=2).abs().amax()) for x in (levels, blurred)]
    assert contrast[1][0] < 0.7 * contrast[0][0] and contrast[1][1] < 0.7 * contrast[0][1]


def test_pictures_in_floats_are_blurred_alike() -> None:
    levels = tensor(drawing())
    picture = levels.float() / 127.5 - 1
    before = picture.clone()
    blurred = edge_blurred(picture)
    assert torch.allclose(blurred, edge_blurred(levels).float() / 127.5 - 1, atol=1e-6)
    assert torch.equal(picture, before)


def test_a_picture_without_edges_stays() -> None:
    flat = torch.full((3, 40, 48), 90, dtype=torch.uint8)
    assert torch.equal(edge_blurred(flat), flat)


def test_grey_has_the_light_of_the_colours() -> None:
    colours = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [0.3, 0.3, 0.3]]).T[:, None]
    made = grey(colours)
    assert made.shape == colours.shape and torch.allclose(made[0], made[1]) and torch.allclose(made[0], made[2])
    assert made[0, 0].tolist() == pytest.approx([0.299, 0.587, 0.114, 0.3], abs=1e-6)


def edge_blur(*words: object) -> int:
    with pytest.raises(SystemExit) as left:
        main(["edge-blur", *map(str, words)])
    return int(left.value.code or 0)


def test_the_command_writes_what_a_training_sees(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = tmp_path / "drawings", tmp_path / "out"
    (folder / "below").mkdir(parents=True)
    drawing().save(folder / "one.png")
    drawing(80).save(folder / "below/two.png")
    assert edge_blur(folder, out, "--json") == 0
    assert json.loads(capsys.readouterr().out)["pictures"] == 2
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*.png")) == [
        "blurred/below/two.png",
        "blurred/one.png",
    ]
    assert torch.allclose(read(out / "blurred/one.png").rgb, edge_blurred(read(folder / "one.png").rgb), atol=1e-4)


def test_the_command_makes_grey_sets_too(tmp_path: Path) -> None:
    folder, out = tmp_path / "drawings", tmp_path / "out"
    folder.mkdir()
    drawing().save(folder / "one.png")
    assert edge_blur(folder, out, "--grey") == 0
    picture = read(folder / "one.png").rgb
    assert torch.allclose(read(out / "grey/one.png").rgb, grey(picture), atol=0.01)
    assert torch.allclose(read(out / "blurred/one.png").rgb, grey(edge_blurred(picture)), atol=0.01)


def test_what_the_command_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, empty, full = tmp_path / "drawings", tmp_path / "empty", tmp_path / "full"
    for path in (folder, empty, full):
        path.mkdir()
    drawing().save(folder / "one.png")
    (full / "something").touch()
    for words, code, told in (
        ((tmp_path / "nowhere", tmp_path / "out"), 3, "there is no folder"),
        ((empty, tmp_path / "out"), 2, "there is no picture in"),
        ((folder, full), 2, "is there already"),
        ((folder, folder / "out"), 2, "would be taken for drawings"),
    ):
        assert edge_blur(*words) == code
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 2 and told in lines[0]
    (folder / "broken.png").write_bytes(b"no picture")
    assert edge_blur(folder, tmp_path / "out") == 6
    assert (tmp_path / "out/blurred/one.png").is_file()
