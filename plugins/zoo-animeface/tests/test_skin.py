"""People keep their skin: drawn faces get as light as drawings are, then as dark as the photograph's, and nothing else does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from shared import SAMPLE
from torch import Tensor, nn

import zoo
from zoo import faces
from zoo.export import export
from zoo.faces.parsing import PARTS
from zoo.generator import Generator, SizeRule, build_generator
from zoo.pictures.image import read, to_pil
from zoo.recipe import load_recipe
from zoo.weights.file import save_weights
from zoo_animeface import skin
from zoo_animeface.translator import FRAME, AnimeTranslator

SIDE = 96
NETWORK = {
    "working": SIDE,
    "controls": [
        {"type": "integer", "name": "face", "minimum": 0},
        {"type": "number", "name": "skin", "default": 1, "minimum": 0, "maximum": 1},
    ],
}
SKIN, BLUE, INK = (0.9, 0.78, 0.7), (0.2, 0.3, 0.8), (0.1, 0.08, 0.08)


def planes(colour: tuple[float, float, float]) -> Tensor:
    return (2 * torch.tensor(colour) - 1)[:, None, None].expand(3, SIDE, SIDE)


def at() -> tuple[Tensor, Tensor]:
    x = (torch.arange(SIDE) + 0.5) / SIDE
    return x.expand(SIDE, SIDE), x[:, None].expand(SIDE, SIDE)


def eyes() -> Tensor:
    x, y = at()
    return ((x - 0.5).abs() - 0.1).square() + (y - 0.48).square() < 0.05**2


def face(reach: float) -> Tensor:
    x, y = at()
    return ((x - 0.5) / 0.22).square() + ((y - 0.58) / 0.28).square() < reach**2


class Drawn(Generator):
    """A flat face with white eyes in an outline before blue, whatever the photograph shows."""

    size = SizeRule(multiple_of=4, minimum=16)

    def parts(self, image: Tensor) -> dict[str, Tensor]:
        drawing = torch.where(face(1.0), planes(SKIN), torch.where(face(1.15), planes(INK), planes(BLUE)))
        return {"image": torch.where(eyes(), torch.ones(()), drawing).expand(len(image), -1, -1, -1)}


@pytest.fixture(scope="module")
def portrait() -> Tensor:
    """A real face (3,SIDE,SIDE) in [0,1], cut out as it is drawn."""
    picture = read(SAMPLE).rgb
    return (faces.crop(picture, faces.find(picture)[0], SIDE, FRAME).image + 1) / 2


def in_light(portrait: Tensor, cheek: tuple[float, float, float]) -> Tensor:
    return (portrait * (torch.tensor(cheek) / tone(portrait))[:, None, None]).clamp(0, 1)


def tone(picture: Tensor) -> Tensor:
    """(3,): the colour of the cheeks of a picture (3,SIDE,SIDE) in [0,1]."""
    return skin.cheeks(nn.functional.interpolate(picture[None], (skin.SIDE, skin.SIDE), mode="bilinear"))[0]


def drawn(
    portrait: Tensor, cheek: tuple[float, float, float], kind: type[Generator] = Drawn, **controls: Any
) -> Tensor:
    """The drawing (3,SIDE,SIDE) in [0,1] of the face in a light in which its cheeks have that colour."""
    translator = AnimeTranslator(kind(), NETWORK, device="cpu")
    picture = translator.translate(to_pil(2 * in_light(portrait, cheek) - 1), face=0, **controls)
    return torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1) / 255


def test_skin_is_drawn_as_dark_as_it_is_and_nothing_else(portrait: Tensor) -> None:
    as_learned, kept = drawn(portrait, (0.35, 0.22, 0.15), skin=0.0), drawn(portrait, (0.35, 0.22, 0.15))
    inside, ink = face(0.85) & ~eyes(), face(1.15) & ~face(1.0)
    assert float(kept[:, inside].mean()) < 0.7 * float(as_learned[:, inside].mean())
    assert float(kept[0, inside].std()) < 0.02  # flat, as it was
    red, green, blue = kept[:, inside].mean(1).tolist()
    assert red > green > blue
    x, y = at()
    still = (y < 0.18) | ((x - 0.5).abs() > 0.42)  # the photograph's hair and wall
    torch.testing.assert_close(kept[:, still], as_learned[:, still], atol=2 / 255, rtol=0)
    pupils = ((x - 0.5).abs() - 0.1).square() + (y - 0.48).square() < 0.025**2
    assert float(kept[:, pupils].min()) > 0.9  # the whites of the eyes
    assert float(kept[:, ink].mean()) <= float(as_learned[:, ink].mean()) + 0.01


class Shaded(Drawn):
    """The same with a jaw in shade."""

    def parts(self, image: Tensor) -> dict[str, Tensor]:
        return {"image": torch.where(jaw(), planes((0.45, 0.35, 0.4)), super().parts(image)["image"])}


def jaw() -> Tensor:
    x, y = at()
    return ((x - 0.37) / 0.05).square() + ((y - 0.72) / 0.07).square() < 1


def test_what_the_photograph_shows_as_skin_is_skin_however_it_is_drawn(portrait: Tensor) -> None:
    as_learned, kept = (drawn(portrait, (0.35, 0.22, 0.15), Shaded, skin=share) for share in (0.0, 1.0))
    assert float(kept[:, jaw()].mean()) < 0.7 * float(as_learned[:, jaw()].mean())


def test_the_darker_the_darker_and_half_of_it_lies_between(portrait: Tensor) -> None:
    tones = [float(drawn(portrait, (v, 0.7 * v, 0.6 * v))[:, face(0.8)].mean()) for v in (0.2, 0.4, 0.6)]
    assert tones[0] < tones[1] < tones[2]
    half = float(drawn(portrait, (0.2, 0.14, 0.12), skin=0.5)[:, face(0.8)].mean())
    assert tones[0] < half < float(drawn(portrait, (0.2, 0.14, 0.12), skin=0.0)[:, face(0.8)].mean())


@pytest.mark.parametrize("photo", [(0.9, 0.7, 0.6), (1.0, 1.0, 1.0)])
def test_light_skin_stays_as_that_of_drawings(portrait: Tensor, photo: tuple[float, float, float]) -> None:
    torch.testing.assert_close(drawn(portrait, photo), drawn(portrait, photo, skin=0.0), atol=1 / 254, rtol=0)


class Grey(Drawn):
    """The same with the skin that networks draw for everybody."""

    skin = (0.74, 0.65, 0.59)

    def parts(self, image: Tensor) -> dict[str, Tensor]:
        picture = super().parts(image)["image"]
        return {"image": torch.where(face(1.0) & ~eyes(), planes(self.skin), picture)}


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_skin_between_drawings_and_people_gets_as_light_as_that_of_drawings(portrait: Tensor, share: float) -> None:
    made = drawn(portrait, (0.9, 0.7, 0.6), Grey, skin=share)
    inside, pale = face(0.85) & ~eyes(), torch.tensor(skin.PALE)
    assert float((made[:, inside].mean(1) - pale).abs().max()) < 0.03


def test_between_light_skin_and_dark_lies_a_warm_one(portrait: Tensor) -> None:
    cheek = (0.55, 0.4, 0.33)
    inside = face(0.85) & ~eyes()
    red, _, blue = drawn(portrait, cheek, Grey)[:, inside].mean(1).tolist()
    assert red - blue > 0.2 > skin.PALE[0] - skin.PALE[2] < skin.DARK[0] - skin.DARK[2] < 0.21
    assert skin.DARK[0] < red < skin.PALE[0]


def test_a_drawing_without_a_face_where_it_should_be_still_comes_out() -> None:
    class Nothing(Drawn):
        def parts(self, image: Tensor) -> dict[str, Tensor]:
            return {"image": torch.full_like(image, -1)}

    translator = AnimeTranslator(Nothing(), NETWORK, device="cpu")
    picture = translator.translate(to_pil(planes((0.2, 0.1, 0.1))), face=0)
    assert all(high <= round(255 * colour) for (_, high), colour in zip(picture.getextrema(), (0.2, 0.1, 0.1)))


@pytest.mark.parametrize(("cheek", "lighter"), [((0.35, 0.22, 0.15), 0.2), ((0.9, 0.7, 0.6), 0.0)])
def test_a_network_sees_dark_skin_as_light_as_what_it_learned_beside(
    portrait: Tensor, cheek: tuple[float, float, float], lighter: float
) -> None:
    shown: list[Tensor] = []

    class Watching(Drawn):
        def parts(self, image: Tensor) -> dict[str, Tensor]:
            shown.append((image[0] + 1) / 2)
            return super().parts(image)

    drawn(portrait, cheek, Watching)
    photo, (seen,) = in_light(portrait, cheek), shown
    gained = (tone(seen) - tone(photo)) @ torch.tensor(skin.LUMA)
    assert gained == pytest.approx(0, abs=0.01) if lighter == 0 else gained > lighter
    assert (seen - photo)[:, :12].abs().max() < 0.03  # hair, and what is behind


def seen_in(cheek: float, white: float, tooth: float = 0.0, wide: int = 8, beard: float = 0.0) -> tuple[Tensor, Tensor]:
    """A grey photograph (1,3,128,128) in [-1,1] of nothing but skin, two eyes so many pixels high and a mouth, perhaps bearded below row 77, and
    its parts."""
    photo, parts = torch.full((1, 3, skin.SIDE, skin.SIDE), cheek), torch.zeros(1, len(PARTS), skin.SIDE, skin.SIDE)
    if beard:
        photo[:, :, 77:] = beard
    parts[:, PARTS.index("skin")] = 1
    for name, level, rows, columns in (
        ("eyes", white, slice(52, 52 + wide), slice(40, 56)),
        ("eyes", white, slice(52, 52 + wide), slice(72, 88)),
        ("mouth", tooth or 0.8 * cheek, slice(86, 94), slice(50, 78)),
    ):
        photo[:, :, rows, columns] = level
        parts[:, :, rows, columns] = 0
        parts[:, PARTS.index(name), rows, columns] = 1
    return 2 * photo - 1, parts


def kept(photo: Tensor, parts: Tensor) -> float:
    """How light light skin is drawn, beside what it was."""
    drawing = torch.full_like(photo, 0.6)
    made = skin.own_tone(drawing, photo, parts, torch.ones_like(parts[:, :1]), torch.ones(1))
    return float((made + 1).mean() / (drawing + 1).mean())


def test_dim_light_is_told_from_dark_skin_by_the_whites_of_eyes() -> None:
    dark, dim = kept(*seen_in(0.35, 0.7)), kept(*seen_in(0.35, 0.28))
    assert dark < 0.65 < 0.8 < dim
    assert kept(*seen_in(0.35, 0.28, tooth=0.7)) == pytest.approx(dark, abs=0.01)  # teeth are white, too
    assert kept(*seen_in(0.35, 0.28, wide=1)) == pytest.approx(dark, abs=0.01)  # eyes that are shut tell nothing
    assert kept(*seen_in(0.6, 0.3)) == kept(*seen_in(0.6, 0.9)) > 0.98
    assert kept(*seen_in(0.12, 0.1)) < 0.65  # how light what is as dark as that is is not known


def test_a_beard_makes_nobody_dark() -> None:
    assert kept(*seen_in(0.6, 0.7, beard=0.1)) == pytest.approx(kept(*seen_in(0.6, 0.7)), abs=0.02)


def test_below_a_chin_is_no_hat_and_no_hole() -> None:
    photo = faces.crop(read(SAMPLE).rgb, faces.find(read(SAMPLE).rgb)[0], 256, FRAME).image[None]
    photo[:, :, 222:] = photo[:, :, 222:223]  # as a photograph that ends there is continued
    parts = skin.parts_of(photo)
    torch.testing.assert_close(parts.sum(1), torch.ones_like(parts[:, 0]))
    assert parts[:, [PARTS.index(name) for name in ("hat", "eyes", "mouth")], 112:].abs().max() == 0
    assert (parts[0, PARTS.index("background"), 112:, 50:78] < 0.5).all()
    torch.testing.assert_close(skin.parts_of(photo.flip(-1)), parts.flip(-1), atol=1e-4, rtol=0)


def test_an_exported_network_keeps_skin_as_well(portrait: Tensor, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    recipe = load_recipe("cartoongan-small", tiny=True)
    torch.manual_seed(0)  # where skin ends is a matter of thresholds: of some untrained networks a pixel lies on one
    save_weights(tmp_path / "w.safetensors", build_generator(recipe.network()).state_dict(), recipe.network())
    export(
        tmp_path / "w.safetensors", tmp_path / "w.onnx", size=(portrait.shape[1], portrait.shape[2])
    )  # in half the time
    photo = 2 * in_light(portrait, (0.35, 0.22, 0.15))[None] - 1
    session = runtime.InferenceSession(str(tmp_path / "w.onnx"))
    made = session.run(None, {"image": photo.numpy(), "skin": np.ones(1, np.float32)})[0]
    model = zoo.load(tmp_path / "w.safetensors", device="cpu")
    with torch.inference_mode():
        drawn_here = model.draw(photo, skin=torch.ones(1))
        assert (drawn_here - model.draw(photo, skin=torch.zeros(1))).abs().max() > 0.05
    np.testing.assert_allclose(made, drawn_here.numpy(), atol=1e-4)
