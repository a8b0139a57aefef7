"""The numbers of ``zoo style-eval``, by results that are known, and what it says of bad input."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from zoo.blocks.vgg import VGG19
from zoo.catalogue.registry import registry
from zoo.cli import main
from zoo.errors import ControlError, NotFoundError, UsageError, ZooError
from zoo.generator import Generator, SizeRule
from zoo.progress import Stopped, listening, tell
from zoo.translator import Translator
from zoo.weights.sources import locate
from zoo_partstyle import evaluate
from zoo_partstyle.evaluate import style_eval
from zoo_partstyle.measure import LAYERS, Scale, Scene, scene

H, W = 32, 48
STYLE = {"name": "style", "type": "image", "many": True}
OBJECT = {"name": "object", "type": "text", "default": "dog"}
MASK = {"name": "mask", "type": "image", "many": True, "required": False}
ITERATIONS = {"name": "iterations", "type": "integer"}


class Painter(Generator):
    """Does to a picture what it is told; remembers what it was given."""

    size = SizeRule(whole=True)

    def __init__(self, paint: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.paint = paint
        self.given: list[dict[str, Any]] = []

    def parts(self, image: Tensor, **controls: Any) -> dict[str, Tensor]:
        self.given.append(controls)
        return {"image": self.paint(image)}


def half(image: Tensor) -> Tensor:
    """0.2 of white more on the upper left quarter, 0.02 on the right half, where colours go from -1 to 1."""
    result = image.clone()
    result[..., : H // 2, : W // 2] += 0.4
    result[..., W // 2 :] += 0.04
    return result


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> dict[str, Translator]:
    """Models by name, which ``style_eval`` takes in the place of the zoo's."""
    known: dict[str, Translator] = {}
    monkeypatch.setattr(evaluate, "load", lambda name, **_: known[name])
    return known


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Any]:
    """Two grey photographs; the object is the left half of one, and of the other, too, in a mask of another form."""
    for name in ("photos", "masks"):
        (tmp_path / name).mkdir()
    for name in ("a", "b"):
        Image.new("RGB", (W, H), (100, 110, 120)).save(tmp_path / "photos" / f"{name}.png")
    mask(tmp_path / "masks" / "a.png", W, H)
    mask(tmp_path / "masks" / "b.gif", 2 * W, 2 * H, 1)
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    return {"photos": tmp_path / "photos", "masks": tmp_path / "masks", "style": [tmp_path / "noise.png"]}


def mask(path: Path, width: int, height: int, white: int = 255) -> None:
    values = np.zeros((height, width), np.uint8)
    values[:, : width // 2] = white
    Image.fromarray(values).save(path)


def painter(paint: Callable[[Tensor], Tensor] = half, *controls: dict[str, Any]) -> Translator:
    return Translator(Painter(paint), {"controls": [STYLE, *controls]}, device="cpu")


def vgg() -> VGG19:
    return VGG19(locate(registry().card("vgg19")[0]))


# -- the numbers --------------------------------------------------------------------------------------------------------


def test_change_is_its_mean_inside_and_outside(models: dict[str, Translator], folders: dict[str, Any]) -> None:
    models["half"] = painter()
    found = style_eval(["half"], **folders)
    assert [result["photo"] for result in found["results"]] == ["a", "b"]
    for result in (*found["results"], *found["models"]):
        assert result["inside"] == pytest.approx(0.1, abs=1e-6)
        assert result["outside"] == pytest.approx(0.02, abs=1e-6)
        assert result["ratio"] == pytest.approx(5, abs=1e-3)
        assert result["changed"] == 0.5
    assert found["models"][0]["n"] == 2 and found["rows"][0]["ratio"] == "5.00"


def test_no_change_outside_has_no_ratio(models: dict[str, Translator], folders: dict[str, Any]) -> None:
    def left(image: Tensor) -> Tensor:
        return torch.cat([image[..., : W // 2] + 0.2, image[..., W // 2 :]], -1)

    models |= {"left": painter(left), "nothing": painter(lambda image: image)}
    first, second = style_eval(["left", "nothing"], **folders)["rows"]
    assert (first["ratio"], second["ratio"]) == ("∞", "–")
    assert first["changed"] == "1.000" and second["changed"] == "0.000"
    assert second["style inside"] == second["style outside"] == "1.000"


def test_style_is_the_distance_of_weighted_gram_matrices() -> None:
    noise = torch.rand(2, 3, H, W, generator=torch.Generator().manual_seed(0)) * 2 - 1
    area = torch.zeros(H, W, dtype=torch.bool)
    area[8:, :16] = True
    photo, style, made = torch.zeros(3, H, W), noise[0], noise[1] * 0.5
    network = vgg()
    found = Scale(network, Scene("", photo, area), style).measure(made)

    def distance(image: Tensor) -> Tensor:
        of_image, of_style = (network(picture[None], ["conv1_1"])[0][0] for picture in (image, style))
        inside = of_image[:, area]
        wanted = torch.einsum("ihw,jhw->ij", of_style, of_style) / (H * W)
        return (inside @ inside.T / inside.shape[1] - wanted).norm()

    assert found["layers"]["inside"]["conv1_1"] == pytest.approx(float(distance(made) / distance(photo)), rel=1e-4)
    assert list(found["layers"]["outside"]) == list(LAYERS)
    assert found["style_inside"] < 1


def test_the_style_itself_has_no_distance() -> None:
    style = torch.rand(3, H, W, generator=torch.Generator().manual_seed(0)) * 2 - 1
    everything = Scene("", torch.zeros(3, H, W), torch.ones(H, W, dtype=torch.bool))
    scale = Scale(vgg(), everything, style)
    assert max(scale._distances(style)["inside"]) < 1e-5


def test_a_model_gets_only_its_own_controls(models: dict[str, Translator], folders: dict[str, Any]) -> None:
    models |= {"whole": painter(half, ITERATIONS), "part": painter(half, OBJECT, MASK)}
    found = style_eval(["whole", "part"], **folders, object="cat", iterations=7, with_mask=True)
    assert [row["model"] for row in found["rows"]] == ["whole", "part", "part with mask"]
    whole, part = (models[name].generator.given for name in ("whole", "part"))
    assert [*whole[0]] == ["style", "iterations"] and int(whole[0]["iterations"]) == 7
    assert [[*given] for given in part] == [["style", "object"], ["style", "object", "mask"]] * 2
    assert part[0]["object"] == "cat"
    given = part[1]["mask"][0][0]
    assert (given[:, :, : W // 2] == 1).all() and (given[:, :, W // 2 :] == -1).all()


def test_all_of_it_is_told(models: dict[str, Translator], folders: dict[str, Any]) -> None:
    def tells(image: Tensor) -> Tensor:
        for done in (1, 2):
            tell("of one picture", done, 2)
        return image

    heard: list[tuple[str, int, int]] = []
    models["tells"] = painter(tells)
    with listening(lambda what, done, total, image=None: heard.append((what, done, total))):
        style_eval(["tells"], **folders)
    assert heard == [(f"tells, {photo}, noise", done, 4) for photo, done in (("a", 1), ("a", 2), ("b", 3), ("b", 4))]


def test_ctrl_c_ends_it(models: dict[str, Translator], folders: dict[str, Any]) -> None:
    def stops(image: Tensor) -> Tensor:
        tell("", 1, 2)
        raise Stopped(image)

    models["stops"] = painter(stops)
    with pytest.raises(KeyboardInterrupt):
        style_eval(["stops"], **folders)
    assert len(models["stops"].generator.given) == 1


@pytest.mark.parametrize("model", ["gatys", "partstyle-paper", "partstyle"])
def test_the_models_of_the_paper(model: str, folders: dict[str, Any]) -> None:
    found = style_eval([model], **folders, iterations=2, size=32)
    assert found["models"][0]["n"] == 2
    assert found["results"][0]["inside"] >= 0


def test_the_command(folders: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--photos", folders["photos"], "--masks", folders["masks"], "--style", folders["style"][0]]
    with pytest.raises(SystemExit) as left:
        main(["style-eval", "gatys", *map(str, words), "--iterations", "2", "--json"])
    assert not left.value.code
    found = json.loads(capsys.readouterr().out)
    assert found["models"][0]["model"] == found["rows"][0]["model"] == "gatys" and len(found["results"]) == 2


# -- what is kept -------------------------------------------------------------------------------------------------------


def test_results_are_kept_and_never_overwritten(
    models: dict[str, Translator], folders: dict[str, Any], tmp_path: Path
) -> None:
    models |= {"one": painter(), "two": painter()}
    style_eval(["one", "two"], **folders, save=tmp_path / "out")
    written = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*"))
    pictures = [f"{model}/{photo}--noise.png" for model in ("one", "two") for photo in "ab"]
    assert written == sorted([*pictures, "results.json", "strip-noise.png"])
    with Image.open(tmp_path / "out" / "strip-noise.png") as strip:
        assert strip.width > 4 * W and strip.height > 2 * H
    with pytest.raises(UsageError, match="there already"):
        style_eval(["two"], **folders, save=tmp_path / "out")
    assert len(models["two"].generator.given) == 2


# -- bad input ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda path: Image.new("L", (W, H)).save(path), "all black"),
        (lambda path: Image.new("L", (W, H), 255).save(path), "all white"),
        (lambda path: mask(path, H, W), "32×48, the photograph 48×32 pixels"),
        (lambda path: path.write_bytes(b"no picture"), "not a picture"),
    ],
)
def test_a_mask_without_use_is_named_and_its_photograph_left_out(
    models: dict[str, Translator], folders: dict[str, Any], spoil: Callable[[Path], None], told: str
) -> None:
    models["half"] = painter()
    spoil(folders["masks"] / "a.png")
    found = style_eval(["half"], **folders)
    assert [result["photo"] for result in found["results"]] == ["b"]
    assert told in found["lines"][0] and found["lines"][0].startswith("left out: ")
    (folders["masks"] / "b.gif").unlink()
    with pytest.raises(UsageError, match="no photograph has a mask that can be used") as raised:
        style_eval(["half"], **folders)
    assert told in str(raised.value) and "\n" not in str(raised.value)


def test_names_that_do_not_pair(models: dict[str, Translator], folders: dict[str, Any]) -> None:
    models["half"] = painter()
    (folders["masks"] / "a.png").rename(folders["masks"] / "c.png")
    lines = style_eval(["half"], **folders)["lines"]
    assert lines[:2] == ["left out: 1 photographs without a mask: a", "left out: 1 masks without a photograph: c"]
    (folders["masks"] / "b.gif").rename(folders["masks"] / "d.gif")
    with pytest.raises(UsageError, match="2 photographs without a mask: a, b"):
        style_eval(["half"], **folders)


def test_no_masks(models: dict[str, Translator], folders: dict[str, Any], tmp_path: Path) -> None:
    models["half"] = painter()
    (tmp_path / "nothing").mkdir()
    for masks, told in ((tmp_path / "nothing", "no picture in"), (tmp_path / "nowhere", "not a folder")):
        with pytest.raises(UsageError, match=told):
            style_eval(["half"], **{**folders, "masks": masks})


def test_a_photograph_on_which_the_model_fails_is_left_out(
    models: dict[str, Translator], folders: dict[str, Any]
) -> None:
    def fails(image: Tensor) -> Tensor:
        if len(models["fails"].generator.given) == 1:
            raise MemoryError
        return image

    models["fails"] = painter(fails)
    found = style_eval(["fails"], **folders)
    assert found["lines"][0].startswith("left out: fails, a: 48×32 pixels do not fit the memory")
    assert found["models"][0]["n"] == 1


def test_models_that_are_none(models: dict[str, Translator], folders: dict[str, Any]) -> None:
    models["drawing"] = Translator(Painter(half), {}, device="cpu")
    models["half"] = painter()
    with pytest.raises(UsageError, match="drawing is no model of style transfer"):
        style_eval(["half", "drawing"], **folders)
    with pytest.raises(UsageError, match="two models are called half"):
        style_eval(["half", "half"], **folders)
    assert not models["half"].generator.given


def test_what_does_not_exist(folders: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="gatis"):
        style_eval(["gatis"], **folders)
    with pytest.raises(ControlError, match="unicorn"):
        style_eval(["gatys", "partstyle-paper"], **folders, object="unicorn")
    with pytest.raises(NotFoundError, match="no picture"):
        style_eval(["gatys"], **{**folders, "style": [tmp_path / "nowhere.png"]})
    with pytest.raises(ZooError, match="two styles"):
        style_eval(["gatys"], **{**folders, "style": folders["style"] * 2})


def test_a_mask_of_another_size_and_of_ones(folders: dict[str, Any]) -> None:
    area = scene("b", folders["photos"] / "b.png", folders["masks"] / "b.gif", 24).object
    assert area.shape == (16, 24) and area[:, :12].all() and not area[:, 12:].any()
