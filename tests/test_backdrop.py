"""What is behind the people in a portrait is told from them, and made white."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from shared import SAMPLE
from test_photograph import FRAMING, Same
from torch import Tensor

from zoo import faces
from zoo.errors import ConfigError
from zoo.faces import backdrop
from zoo.faces.backdrop import people
from zoo.faces.parsing import network, parsed
from zoo.faces.photograph import PhotographTranslator
from zoo.pictures.image import read, to_pil
from zoo.recipe import Data, Recipe, load_recipe
from zoo.train.data import Portraits, drawn_in_colours
from zoo.train.plan import FEW, tell, warnings

BACKDROP = {"type": "choice", "name": "backdrop", "choices": ["white", "keep"], "help": "which"}


@pytest.fixture(scope="module")
def portrait() -> Image.Image:
    with Image.open(SAMPLE) as sample:
        return sample.convert("RGB").crop((90, 0, 350, 260))


@pytest.fixture(scope="module")
def pixels(portrait: Image.Image) -> Tensor:
    return read(portrait).rgb


def within(face: faces.Face) -> tuple[slice, slice, slice]:
    """From the brows to the chin, from one eye to the other."""
    points = face.landmarks
    top, bottom = points[19, 1], points[8, 1]
    left, right = points[36, 0], points[45, 0]
    return slice(None), slice(int(top), int(bottom)), slice(int(left), int(right))


def corners(picture: Tensor) -> Tensor:
    return torch.cat([picture[:, :20, :20], picture[:, :20, -20:]], 1)


def test_the_parts_lie_where_the_landmarks_do(pixels: Tensor) -> None:
    (face,) = faces.find(pixels)
    seen = parsed(pixels, face)
    assert torch.allclose(seen.planes.sum(0), torch.ones(()), atol=1e-5)
    at = (seen.crop.landmarks - 0.5).round().long()
    x, y = at.T
    for part, points in {"eyes": [37, 38, 40, 41, 43, 44, 46, 47], "nose": [29, 30], "mouth": [62, 66, 51, 57]}.items():
        assert seen.of(part)[y[points], x[points]].mean() > 0.6, part
    above = y[27] - (y[8] - y[27])  # as far above the bridge of the nose as the chin is below
    assert seen.of("hair")[above:, x[27]].max() > 0.8
    assert seen.of("background")[:20, :20].mean() > 0.8 and seen.of("background")[y[33], x[33]] < 0.01
    assert torch.allclose(seen.of("eyes", "nose"), seen.of("eyes") + seen.of("nose"))


def test_white_behind_a_person(pixels: Tensor) -> None:
    white = backdrop.cleared(pixels)
    assert corners(pixels).max() < 0.8 and corners(white).min() > 0.97
    (face,) = faces.find(pixels)
    assert (white - pixels)[within(face)].abs().mean() < 0.01
    assert white.abs().max() <= 1


def test_a_large_picture_is_made_white_in_strips(pixels: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = backdrop.cleared(pixels)
    monkeypatch.setattr(backdrop, "STRIP", 260 * 7)
    assert torch.allclose(backdrop.cleared(pixels), at_once, atol=1e-6)


DARK = "#484848"
GREY = 0x48 / 127.5 - 1


def test_paper_of_another_colour_behind_a_person(pixels: Tensor) -> None:
    dark = backdrop.cleared(pixels, DARK)
    assert (corners(dark) - GREY).abs().max() < 0.1
    (face,) = faces.find(pixels)
    assert (dark - pixels)[within(face)].abs().mean() < 0.01


def drawing(ground: float, level: float = 0.5) -> Tensor:
    """Something on plain ground."""
    made = torch.full((3, 60, 50), ground)
    made[:, 20:50, 15:35] = level
    return made


def test_the_paper_that_drawings_are_on() -> None:
    blue = drawing(-0.5)
    blue[2] += 0.4
    assert backdrop.paper_of([blue, blue + 0.1, blue - 0.1]) == "#404073"
    assert backdrop.paper_of([*[drawing(GREY)] * 3, drawing(0.9)]) == DARK
    for others in ([], [drawing(0.98)] * 3, [drawing(0.6)], [drawing(-0.9), drawing(0.0), drawing(0.8), drawing(-0.5)]):
        assert backdrop.paper_of(others) == backdrop.WHITE


def test_what_is_no_portrait_stays_as_it_is(pixels: Tensor) -> None:
    wide = torch.zeros(3, 800, 800)
    wide[:, :260, :260] = pixels  # a face of a ninth of the picture
    for picture in (wide, torch.zeros(3, 64, 80), torch.rand(3, 33, 7) * 2 - 1):
        assert torch.equal(backdrop.cleared(picture), picture)


@pytest.mark.parametrize("share", [1.0, 0.4])
def test_two_people_are_both_in_the_portrait(pixels: Tensor, share: float) -> None:
    other = torch.nn.functional.interpolate(pixels[None], scale_factor=share, mode="bilinear", antialias=True)[0]
    wall = pixels[:, :1, :1].expand(3, pixels.shape[1] - other.shape[1], other.shape[2])
    both = torch.cat([pixels, torch.cat([wall, other.flip(-1)], 1)], 2)
    white = backdrop.cleared(both)
    for face in faces.find(both):
        assert (white - both)[within(face)].abs().mean() < 0.01
    assert corners(white).min() > 0.97


def translator(**control: str) -> PhotographTranslator:
    controls = [FRAMING, {**BACKDROP, **control}]
    return PhotographTranslator(Same().eval(), {"controls": controls, "working": 512}, device="cpu")


def test_the_network_sees_white(portrait: Image.Image, pixels: Tensor) -> None:
    white, kept = translator(), translator(default="keep")
    for options in ({}, {"framing": "whole"}, {"size": 260}):
        assert corners(read(white.translate(portrait, **options)).rgb).min() > 0.95
        drawn = kept.translate(portrait, **options), white.translate(portrait, backdrop="keep", **options)
        for one in drawn:  # a face that is drawn by itself is scaled there and back
            assert (
                np.array_equal(one, portrait) if options else corners(read(one).rgb).equal(corners(read(portrait).rgb))
            )


def test_the_network_sees_the_paper_that_it_learned_on(portrait: Image.Image) -> None:
    network = {"controls": [FRAMING, BACKDROP], "working": 512, "paper": DARK}
    dark = PhotographTranslator(Same().eval(), network, device="cpu")
    for options in ({}, {"framing": "whole"}):
        assert (corners(read(dark.translate(portrait, **options)).rgb) - GREY).abs().max() < 0.1
    kept = dark.translate(portrait, backdrop="keep", framing="whole")
    assert np.array_equal(kept, portrait)


class Echoes(Same):
    """Draws on grey paper, and an echo of the head above it."""

    def parts(self, image: Tensor, **controls: Tensor) -> dict[str, Tensor]:
        drawn = image - 0.3
        drawn[..., 6:9, :] = -1
        return {"image": drawn.clamp(min=-1)}


def test_what_a_network_draws_behind_people_is_left_out(portrait: Image.Image, pixels: Tensor) -> None:
    controls = {"controls": [FRAMING, BACKDROP], "working": 512}
    echoing = PhotographTranslator(Echoes().eval(), controls, device="cpu")
    (face,) = faces.find(pixels)
    for options in ({}, {"framing": "whole"}):
        empty, kept = (read(echoing.translate(portrait, backdrop=how, **options)).rgb for how in ("white", "keep"))
        assert (corners(empty) - 0.7).abs().max() < 0.02 and corners(kept).min() == -1
        assert (empty - kept)[within(face)].abs().mean() < 0.01
    drawn = torch.rand(3, 300, 200)
    assert torch.equal(backdrop.emptied(drawn.clone(), torch.zeros(30, 20)), drawn)
    paper = backdrop.emptied(drawn, torch.ones(30, 20))
    assert paper.flatten(1).std(1).max() < 1e-6 and 0.3 < paper.mean() < 0.7


def test_beside_a_person_lines_stay_and_what_is_lighter_than_paper_does_not() -> None:
    white = torch.zeros(60, 60)
    white[:, 30:] = 1
    drawn = torch.full((3, 60, 60), 0.5)
    drawn[:, :, 29], drawn[:, :, 31], drawn[:, :, 32] = 1.0, -1.0, 1.0  # of the person; an outline; an edge beside it
    made = backdrop.emptied(drawn.clone(), white)
    assert torch.equal(made[:, :, :30], drawn[:, :, :30])
    assert (made[:, 5:-5, 31] < -0.9).all() and (made[:, 5:-5, 32:] - 0.5).abs().max() < 0.05


def test_beside_a_person_lines_on_dark_paper_stay() -> None:
    made = torch.zeros(60, 60)
    made[:, 30:] = 1
    drawn = torch.full((3, 60, 60), -0.5)
    drawn[:, :, 31] = 1.0
    assert (backdrop.emptied(drawn.clone(), made)[:, 5:-5, 31] > 0.9).all()


def test_a_person_who_has_been_cut_out_stays_so(portrait: Image.Image) -> None:
    cut = portrait.copy()
    cut.putalpha(255)
    assert not np.array_equal(translator().translate(cut), cut)
    cut.putpixel((0, 0), (*cut.getpixel((0, 0))[:3], 0))
    assert np.array_equal(np.asarray(translator().translate(cut, framing="whole"))[1:], np.asarray(cut)[1:])


def test_without_dlib_a_line_says_that_it_stays(
    portrait: Image.Image, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "dlib", None)
    with caplog.at_level(logging.WARNING):
        assert np.array_equal(translator().translate(portrait, framing="whole"), portrait)
        assert "what is behind people stays" in caplog.text and "zoo-core[faces]" in caplog.text
        caplog.clear()
        seen = training(portrait, tmp_path)
        assert corners(seen.photograph(seen.photos[0].paths[0])).max() < 0.8
        seen = training(portrait, tmp_path / "others", sitters=1.0)[0]
        assert torch.equal(seen["source"], seen["sitter"])
    assert caplog.text.count("what is behind people stays in the photographs") == 2
    assert caplog.text.count("people in photographs keep their skin and eyes") == 1


def training(portrait: Image.Image, folder: Path, how: str = "white", **augment: float) -> Portraits:
    """Two folders, of one photograph and of the same picture as a drawing."""
    for name in ("photos", "drawings"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        if not (folder / name / "a.png").exists():
            portrait.save(folder / name / "a.png")
    data = Data(size=(256, 256), backdrop=how, augment={"scale": 1.0, "flip": False, **augment})
    return Portraits([folder / "photos"], [("hand", folder / "drawings")], data, seed=0)


def test_training_sees_photographs_so_and_drawings_as_they_are(portrait: Image.Image, tmp_path: Path) -> None:
    data = training(portrait, tmp_path)
    sample = data[0]
    assert corners(sample["source"]).min() > 0.95 and corners(sample["target"]).max() < 0.8
    (photo,) = data.photos[0].paths
    assert corners(data.photograph(photo)).min() > 0.95 and corners(data.whole(photo)).max() < 0.8


def test_training_sees_photographs_on_the_paper_of_the_drawings(portrait: Image.Image, tmp_path: Path) -> None:
    """And the recipe of what it makes says so, as do those of several hands that agree."""
    (tmp_path / "drawings").mkdir()
    to_pil(drawing(GREY)).resize((300, 360)).save(tmp_path / "drawings" / "a.png")
    data = training(portrait, tmp_path, "paper")
    assert data.paper == DARK and (corners(data[0]["source"]) - GREY).abs().max() < 0.1
    recipe = load_recipe("cyclegan").for_drawings(data.paper)
    assert recipe.data.backdrop == recipe.network()["paper"] == DARK
    assert "paper" not in load_recipe("cyclegan").for_drawings("white").network()
    assert load_recipe("cyclegan", ["data.backdrop=keep"]).for_drawings(DARK).data.backdrop == "keep"

    def light(recipe: Recipe) -> str:
        return next(control["default"] for control in recipe.controls if control["name"] == "light")

    assert light(recipe) == "even" and not drawn_in_colours([tmp_path / "drawings"])
    portrait.save(tmp_path / "drawings" / "a.png")
    data = training(portrait, tmp_path, "paper")
    assert drawn_in_colours([tmp_path / "drawings"])
    assert light(load_recipe("cyclegan", ["data.colours=true"]).for_drawings(data.paper)) == "keep"

    def papers(*levels: float) -> str:
        folders = []
        for number, level in enumerate(levels):
            folders.append((f"hand-{number}", tmp_path / f"{level}-{number}"))
            folders[-1][1].mkdir(exist_ok=True)
            to_pil(drawing(level)).resize((300, 360)).save(folders[-1][1] / "a.png")
        data = Data(size=(64, 64), backdrop="paper")
        return Portraits([tmp_path / "photos"], folders, data, seed=0).paper

    assert papers(GREY, GREY) == DARK
    folders = [("dark", tmp_path / f"{GREY}-0"), ("light", tmp_path / "drawings")]
    to_pil(drawing(0.9)).resize((300, 360)).save(tmp_path / "drawings" / "a.png")
    both = Portraits([tmp_path / "photos"], folders, Data(size=(64, 64), backdrop="paper"), seed=0)
    assert any(f"different colours (dark {DARK}, light #ffffff)" in one for one in warnings(recipe, both))
    assert not any("different colours" in one for one in warnings(recipe, data))
    assert papers(GREY, 0.9) == papers(GREY, -0.9) == "white"


def test_training_sees_other_sitters(portrait: Image.Image, pixels: Tensor, tmp_path: Path) -> None:
    data = training(portrait, tmp_path, sitters=1.0, light=0.5)
    sample, plain = data[0], training(portrait, tmp_path / "plain")[0]
    assert torch.equal(sample["sitter"], plain["source"]), "losses see the photograph as it was taken"
    assert corners(sample["source"]).min() > 0.95, "white stays white"
    (face,) = people(sample["sitter"])
    left, top, right, bottom = (round(edge) for edge in face.box)
    within = (slice(None), slice(top, bottom), slice(left, right))
    assert (sample["source"] - sample["sitter"])[within].abs().mean() > 0.05
    assert torch.equal(data.preview(1)["source"][0], plain["source"])


def test_the_plan_says_so(portrait: Image.Image, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = training(portrait, tmp_path)
    given = [("photos", tmp_path / "photos"), ("hand", tmp_path / "drawings")]
    with caplog.at_level(logging.INFO):
        tell(load_recipe("cyclegan"), data, given, [])
    assert "behind people in photos is made white where their faces are found: in 1 of 1" in caplog.text
    data.data, data.papers = data.data.model_copy(update={"backdrop": DARK}), [DARK]
    with caplog.at_level(logging.INFO):
        tell(load_recipe("cyclegan"), data, given, [])
    assert f"is made {DARK}, as the paper of the drawings, where" in caplog.text and "in colours" not in caplog.text
    with caplog.at_level(logging.INFO):
        tell(load_recipe("cyclegan", ["data.colours=true"]).for_drawings(DARK), data, given, [])
    assert "skin is drawn in its own, as by --light keep" in caplog.text
    assert "--set data.backdrop=keep" in next(warnings(load_recipe("cyclegan"), busy(data)))


def busy(data: Portraits) -> Portraits:
    """The same with drawings full of things."""
    for path in data.drawings[0].paths:
        Image.effect_noise((300, 300), 200).convert("RGB").save(path)
    few = data.drawings + data.photos
    for folder in few:
        folder.paths *= FEW
    return data


def test_a_model_draws_as_it_was_trained() -> None:
    for value, default in (
        ("white", "white"),
        ("paper", "white"),
        ("#484848", "white"),
        ("'#484848'", "white"),
        ("keep", "keep"),
    ):
        recipe = load_recipe("cyclegan", [f"data.backdrop={value}"])
        (control,) = (one for one in recipe.network()["controls"] if one["name"] == "backdrop")
        assert control["default"] == default
    with pytest.raises(ConfigError, match=r"data\.backdrop: .*'grey' is not white, paper, keep, or a colour"):
        load_recipe("cyclegan", ["data.backdrop=grey"])


def test_what_runs_elsewhere_takes_the_parser_away_from_nobody() -> None:
    here, there = network(), network("meta")
    assert {p.device.type for p in here.parameters()} == {"cpu"} and {p.device.type for p in there.parameters()} == {
        "meta"
    }
    assert network() is here and network("meta") is there


def test_hair_that_the_photograph_cuts_off_reaches_its_border(pixels: Tensor) -> None:
    """Far above a face the parser sees nothing, and a border is mostly what is behind people."""
    tall = torch.nn.functional.pad(pixels, (0, 0, 160, 0), value=0.6)
    tall[:, :200, 70:190] = pixels[:, 30:50, 120:140].mean((1, 2))[:, None, None]
    (face,) = faces.find(tall)
    _, made = backdrop.on_paper(tall, [face])
    high, wide = made.shape
    assert made[1, wide // 2 - 8 : wide // 2 + 8].max() < 0.3 and made[1, :20].min() > 0.9
    assert high > wide


def test_a_light_wall_leaves_no_seam_around_heads_on_dark_paper(pixels: Tensor) -> None:
    (face,) = faces.find(pixels)
    wall = backdrop.cleared(pixels)
    dark, made = backdrop.on_paper(wall, [face], "#303030")
    paper = torch.full_like(wall, 0x30 / 127.5 - 1)
    share = torch.nn.functional.interpolate(made[None, None], wall.shape[1:], mode="bilinear")[0]
    plain = torch.lerp(wall, paper, share)
    rim = ((share > 0.3) & (share < 0.9)).expand_as(wall) & (torch.arange(wall.shape[1])[:, None] < face.box[1])
    assert rim.sum() > 500 and dark.abs().max() <= 1
    assert plain[rim].mean() > paper.mean() + 0.2, "which is what this is about"
    assert dark[rim].mean() < paper.mean() + 0.5 * (plain[rim].mean() - paper.mean())
    assert (dark - wall)[within(face)].abs().mean() < 0.01
