"""Expressions in photographs: what is edited, what stays, what is refused; morphs and grids; the command line.

The networks are tiny and untrained: they change a face much, in a way that depends on what is asked for.
"""

from __future__ import annotations

import logging
import re
import sys
from pathlib import Path
from typing import Any, cast

import forks
import numpy as np
import pytest
import torch
from PIL import Image
from shared import SAMPLE, Cli, beside, head

from zoo import faces
from zoo.errors import ControlError, ImageError, UsageError
from zoo.generator import build_generator
from zoo.loading import load
from zoo.pictures.image import read
from zoo.pictures.morph import Morph
from zoo.recipe import load_recipe
from zoo.weights.file import save_weights
from zoo_expression.commands import CLOSE
from zoo_expression.networks import StarGANGenerator
from zoo_expression.translator import ExpressionTranslator
from zoo_expression.units import EXPRESSIONS, LABELS, NAMES

SIDE = 160


def saved(path: Path, recipe: str, scale: float = 1.0) -> Path:
    """A weights file of a tiny network; ``scale`` makes its head read more."""
    network = load_recipe(recipe, tiny=True).network()
    torch.manual_seed(1)
    generator = build_generator(network)
    generator.meter.units.weight.mul_(scale)
    save_weights(path, generator.state_dict(), network)
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("models") / "units.safetensors", "ganimation-convnext-small", 1.5)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("models") / "labels.safetensors", "stargan-small", 10)


@pytest.fixture(scope="module")
def translator(model: Path) -> ExpressionTranslator:
    made = load(str(model), device="cpu")
    assert isinstance(made, ExpressionTranslator)
    return made


@pytest.fixture(scope="module")
def stargan(labelled: Path) -> ExpressionTranslator:
    made = load(str(labelled), device="cpu")
    assert isinstance(made, ExpressionTranslator)
    return made


def crowd() -> Image.Image:
    """A large face to the right of a smaller one."""
    small = Image.new("RGB", (150, 220), (90, 90, 90))
    small.paste(head(150), (0, 35))
    return beside(small, head(220))


def array(picture: Any) -> np.ndarray:
    return np.asarray(picture).astype(int)


def around(picture: Image.Image) -> list[np.ndarray]:
    """For each face, the largest first: (H, W), where the picture lies in the square that is cut out of it.

    With a pixel of the square around it, since pixels are resampled."""
    image, rows = read(picture).rgb, []
    for face in faces.find(image):
        matrix = faces.crop(image, face, 32).matrix
        y, x = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) + 0.5 for n in image.shape[1:]), indexing="ij")
        at = (torch.stack([x, y], -1) - matrix[:, 2]) @ torch.linalg.inv(matrix[:, :2]).T
        rows.append(((at > -1) & (at < 33)).all(-1).numpy())
    return rows


def changed(picture: Image.Image, result: Any) -> np.ndarray:
    """(H, W): which pixels have another colour."""
    return (array(picture) != array(result)).any(-1)


# -- what is edited, and what stays -------------------------------------------------------------------------------------


@pytest.mark.parametrize("tilt", [0, 25])
def test_what_is_no_face_stays_bit_by_bit(translator: ExpressionTranslator, tilt: int) -> None:
    picture = head().rotate(tilt, Image.Resampling.BICUBIC)
    (face,) = around(picture)
    made = translator.translate(picture, happiness=1.0)
    where = changed(picture, made)
    assert made.size == picture.size and made.mode == "RGB"
    assert where.sum() > 0.2 * face.sum() and not where[~face].any()


def test_also_through_files(model: Path, cli: Cli, tmp_path: Path) -> None:
    picture, source, out = head(), tmp_path / "in.png", tmp_path / "out.png"
    picture.save(source)
    code, _, told = cli("translate", model, source, "-o", out, "--happiness", "1", "--device", "cpu")
    assert code == 0, told
    where = changed(picture, Image.open(out))
    assert where.any() and not where[~around(picture)[0]].any()


def test_all_faces_or_one(translator: ExpressionTranslator, model: Path, cli: Cli, tmp_path: Path) -> None:
    picture = crowd()
    large, small = around(picture)
    assert large.sum() > small.sum()
    for face, wanted in ((None, (True, True)), (1, (True, False)), (2, (False, True))):
        where = changed(picture, translator.translate(picture, face=face, AU12=2.0))
        assert (where[large].any(), where[small].any()) == wanted and not where[~large & ~small].any()
    with pytest.raises(ImageError, match="there is no face 3: 2 faces were found"):
        translator.translate(picture, face=3)
    source, out = tmp_path / "in.png", tmp_path / "out.png"
    picture.save(source)
    assert cli("translate", model, source, "-o", out, "--AU12", "2", "--face", "2", "--device", "cpu")[0] == 0
    assert np.array_equal(array(Image.open(out)), array(translator.translate(picture, face=2, AU12=2.0)))


@pytest.mark.parametrize("size", [(32, 32), (48, 80), (81, 47), (300, 300)])
def test_face_0_is_a_crop_of_any_shape(translator: ExpressionTranslator, size: tuple[int, int]) -> None:
    crop = head().crop((56, 30, 120, 94)).resize(size)
    made = translator.translate(crop, face=0, AU12=2.0)
    assert made.size == size and changed(crop, made).mean() > 0.5
    assert changed(made, translator.translate(crop, face=0, AU4=2.0)).any()


def test_the_kinds_of_pictures(translator: ExpressionTranslator) -> None:
    picture = head()
    (face,) = around(picture)
    veil = Image.linear_gradient("L").resize(picture.size).point(lambda level: max(level, 1))
    clear = picture.copy()
    clear.putalpha(veil)
    made = translator.translate(clear, surprise=1.0)
    assert made.mode == "RGBA" and np.array_equal(array(made.getchannel("A")), array(veil))
    assert np.array_equal(array(made.convert("RGB")), array(translator.translate(picture, surprise=1.0)))

    deep = np.asarray(picture).astype(np.uint16) * 257 + np.random.default_rng(0).integers(-99, 99, (SIDE, SIDE, 1))
    deep = deep.clip(0, 65535).astype(np.uint16)
    made = translator.translate(deep, surprise=1.0)
    assert made.dtype == np.uint16 and (made[face] != deep[face]).any() and np.array_equal(made[~face], deep[~face])

    grey = picture.convert("L")
    made = translator.translate(grey, surprise=1.0)
    assert made.size == grey.size and changed(grey.convert("RGB"), made)[face].any()
    assert np.array_equal(array(made)[~face], array(grey.convert("RGB"))[~face])

    unit = torch.from_numpy(np.asarray(picture).transpose(2, 0, 1) / np.float32(255))
    made = translator.translate(unit, surprise=1.0)
    assert made.shape == unit.shape and torch.allclose(made[:, ~face], unit[:, ~face], atol=1e-6)
    both = translator.translate(torch.stack([unit, unit.flip(2)]), surprise=1.0)
    assert both.shape == (2, *unit.shape) and torch.allclose(both[0], made, atol=1e-5)


def test_in_short_numbers_too(translator: ExpressionTranslator, model: Path) -> None:
    short = cast(ExpressionTranslator, load(str(model), device="cpu", dtype="bf16"))
    picture = head()
    (face,) = around(picture)
    made = of(short, picture, happiness=1)
    assert np.array_equal(made[~face], array(picture)[~face])
    assert 0 < np.abs(made - of(translator, picture, happiness=1))[face].mean() < 3
    far = [abs(short.measure(picture)[name] - unit) for name, unit in translator.measure(picture).items()]
    assert 0 < max(far) < 0.1
    last = short.morph(picture, steps=2, happiness=1).frames[-1]
    assert np.array_equal(array(last), made)


# -- what is asked for --------------------------------------------------------------------------------------------------


def of(translator: ExpressionTranslator, picture: Any, **controls: Any) -> np.ndarray:
    return array(translator.translate(picture, **controls))


def test_what_nothing_is_asked_of_gets_what_it_has(translator: ExpressionTranslator) -> None:
    picture = head()
    plain, own = of(translator, picture), translator.measure(picture)
    assert list(own) == list(NAMES) and all(0 <= unit <= 3 for unit in own.values()) and max(own.values()) > 0.5
    assert np.array_equal(plain, of(translator, picture, **own))
    assert np.array_equal(plain, of(translator, picture, happiness=0, natural=0.0))
    assert np.array_equal(plain, of(translator, picture, AU12=own["AU12"]))
    assert not np.array_equal(plain, of(translator, picture, AU12=own["AU12"] + 1))


def test_an_expression_is_its_units(translator: ExpressionTranslator) -> None:
    picture, own = head(), translator.measure(head())
    parted = {name: own[name] for name in ("AU25", "AU26")}  # people smile with their lips shut or parted
    whole = {name: max(2.0, own[name]) if name in ("AU6", "AU12") else 0.0 for name in NAMES} | parted
    assert np.array_equal(of(translator, picture, happiness=1), of(translator, picture, **whole))
    assert np.array_equal(of(translator, picture, natural=1), of(translator, picture, **dict.fromkeys(NAMES, 0.0)))
    half = {name: 0.5 * own[name] + 0.5 * whole[name] for name in NAMES}
    near = np.abs(of(translator, picture, happiness=0.5) - of(translator, picture, **half))
    assert near.max() <= 1  # one rounding apart
    halved = {name: intensity / 2 for name, intensity in parted.items()}
    mixed = dict.fromkeys(NAMES, 0.0) | {"AU6": 1.0, "AU12": 2.0, "AU14": 1.0} | halved
    assert np.array_equal(of(translator, picture, happiness=0.5, contempt=0.5), of(translator, picture, **mixed))


def test_who_laughs_does_not_smile_less(translator: ExpressionTranslator) -> None:
    laughs = torch.zeros(1, 17)
    laughs[0, [NAMES.index(name) for name in ("AU12", "AU25", "AU26", "AU4")]] = torch.tensor([0.8, 0.6, 0.4, 0.5])
    generator, image = translator.generator, torch.zeros(1, 3, 32, 32)

    def asked(**shares: float) -> dict[str, float]:
        condition = generator.condition(image, base=laughs, **{name: torch.tensor([x]) for name, x in shares.items()})
        return dict(zip(NAMES, (5 * condition[0]).tolist()))

    for share in (0.5, 1.0, 1.5):
        made = asked(happiness=share)
        assert (made["AU12"], made["AU25"], made["AU26"]) == pytest.approx((4, 3, 2))
    assert asked(happiness=1)["AU4"] == 0 and asked(happiness=1)["AU6"] == pytest.approx(2)
    sad = asked(sadness=1)
    assert sad["AU12"] == sad["AU25"] == 0 and sad["AU4"] == pytest.approx(2.5)
    assert asked(surprise=1)["AU25"] == pytest.approx(3) and asked(surprise=1)["AU26"] == pytest.approx(2)


def test_a_unit_overrides_an_expression(translator: ExpressionTranslator) -> None:
    picture = head()
    own = translator.measure(picture)
    given = {name: own[name] if name in ("AU25", "AU26") else 2.0 if name == "AU6" else 0.0 for name in NAMES} | {
        "AU12": 0.5
    }
    assert np.array_equal(of(translator, picture, happiness=1, AU12=0.5), of(translator, picture, **given))


def test_like_another_face(translator: ExpressionTranslator) -> None:
    picture, other = head(), head(200).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    made = of(translator, picture, like=other)
    assert np.array_equal(made, of(translator, picture, **translator.measure(other)))
    assert not np.array_equal(made, of(translator, picture))
    with_more = {**translator.measure(other), "AU4": 2.5}
    assert np.array_equal(of(translator, picture, like=other, AU4=2.5), of(translator, picture, **with_more))


@pytest.mark.parametrize("side", [161, 163])
def test_like_a_picture_of_any_size(translator: ExpressionTranslator, side: int) -> None:
    other = head(side)
    wanted = of(translator, head(), **translator.measure(other))
    assert np.abs(of(translator, head(), like=other) - wanted).max() <= 1
    crop = other.crop((56, 30, 121, 91))
    wanted = of(translator, head(65), face=0, **translator.measure(crop, face=0))
    assert np.abs(of(translator, head(65), face=0, like=crop) - wanted).max() <= 1


def test_like_a_picture_without_a_face(translator: ExpressionTranslator) -> None:
    with pytest.raises(ImageError, match=r"like.*no face found"):
        translator.translate(head(), like=Image.new("RGB", (80, 80), "grey"))


def test_expressions_share_one_face(translator: ExpressionTranslator) -> None:
    told = r"happiness 0\.7 \+ sadness 0\.4 is more than 1.*together at most 1"
    with pytest.raises(ControlError, match=told):
        translator.translate("no such picture.png", happiness=0.7, sadness=0.4)
    with pytest.raises(ControlError, match=told):
        translator.morph("no such picture.png", happiness=0.7, sadness=0.4)
    translator.translate(head(), happiness=0.7, sadness=0.1, fear=0.2)  # 1 in all, but for rounding


@pytest.mark.parametrize(
    ("controls", "told"),
    [
        ({"AU12": 3.5}, r"AU12 = 3.5 is not a number from 0 to 3"),
        ({"AU12": -0.1}, r"AU12 = -0.1 is not a number from 0 to 3"),
        ({"happiness": 1.6}, r"happiness = 1.6 is not a number from 0 to 1.5"),
        ({"happiness": None}, r"happiness = None is not a number from 0 to 1.5"),
        ({"face": -1}, r"face = -1 is not a whole number"),
        ({"AU16": 1}, r"no control is called AU16.*did you mean AU"),
        ({"hapiness": 1}, r"no control is called hapiness.*did you mean happiness"),
    ],
)
def test_wrong_controls(translator: ExpressionTranslator, controls: dict[str, Any], told: str) -> None:
    with pytest.raises(ControlError, match=told):
        translator.translate("no such picture.png", **controls)


def test_a_misspelt_option(model: Path, cli: Cli, tmp_path: Path) -> None:
    code, _, told = cli("translate", model, SAMPLE, "-o", tmp_path / "out.png", "--hapiness", "1")
    assert code == 2 and "--happiness" in told
    code, _, told = cli("translate", model, SAMPLE, "-o", tmp_path / "out.png", "--AU12", "4")
    assert code == 2 and "AU12 = 4" in told and "from 0 to 3" in told


@pytest.mark.parametrize(
    ("controls", "told"),
    [
        ({"AU23": 1.0, "AU25": 2.0}, "AU23 (lip tightener) and AU25 (lips part) pull one place two ways"),
        ({"AU12": 1.0, "AU15": 1.0}, "AU12 (lip corner puller) and AU15 (lip corner depressor)"),
        ({"disgust": 0.5}, "disgust is drawn without unit 16, lower lip depressor"),
    ],
)
def test_what_may_go_wrong_is_said(
    translator: ExpressionTranslator, caplog: pytest.LogCaptureFixture, controls: dict[str, float], told: str
) -> None:
    with caplog.at_level(logging.WARNING, "zoo"):
        translator.translate(head(), **controls)
    assert caplog.text.count(told) == 1


def test_what_cannot_go_wrong_is_not_said(translator: ExpressionTranslator, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "zoo"):
        translator.translate(head(), AU23=0.0, AU25=2.0, AU12=1.0, disgust=0.0)
    assert not caplog.text


def test_the_command_line_says_it_too(model: Path, tmp_path: Path) -> None:
    head().save(tmp_path / "in.png")
    words = ["translate", model, tmp_path / "in.png", "-o", tmp_path / "out.png", "--device", "cpu"]
    words += ["--AU23", "1", "--AU25", "1", "--disgust", "0.5"]
    done = forks.run("-m", "zoo", *words)  # in this process pytest takes what is logged
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert "AU23 (lip tightener) and AU25 (lips part)" in done.stderr and "without unit 16" in done.stderr


# -- what cannot be edited ----------------------------------------------------------------------------------------------


def test_no_face(translator: ExpressionTranslator) -> None:
    for picture in (Image.new("L", (90, 70), 128), Image.effect_noise((120, 120), 60)):
        with pytest.raises(ImageError, match=r"no face found.*face 0"):
            translator.translate(picture)
        with pytest.raises(ImageError, match="no face found"):
            translator.measure(picture)
        with pytest.raises(ImageError, match="no face found"):
            translator.morph(picture, happiness=1)


def test_a_tiny_face(translator: ExpressionTranslator) -> None:
    tiny = head(100)
    (found,) = faces.find(read(tiny).rgb)
    assert found.height < 32
    with pytest.raises(ImageError, match=rf"the face is {found.height:.0f} pixels high: too small .* 32"):
        translator.translate(tiny)


def profile(face: faces.Face) -> faces.Face:
    """The same face with the tip of its nose near the end of its jaw."""
    landmarks = face.landmarks.clone()
    landmarks[30, 0] = landmarks[0, 0]
    return faces.Face(face.box, landmarks)


def test_a_turned_face(translator: ExpressionTranslator, monkeypatch: pytest.MonkeyPatch) -> None:
    found = faces.find(read(head()).rgb)
    monkeypatch.setattr(faces, "find", lambda image, **_: [profile(face) for face in found])
    with pytest.raises(ImageError, match="turned too far to the side"):
        translator.translate(head())


def test_faces_that_cannot_be_edited_beside_others(
    translator: ExpressionTranslator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    picture = crowd()
    first, second = faces.find(read(picture).rgb)
    _, small = around(picture)
    monkeypatch.setattr(faces, "find", lambda image, **_: [profile(first), second])
    with caplog.at_level(logging.WARNING, "zoo"):
        where = changed(picture, translator.translate(picture, AU12=2.0))
    assert where[small].any() and not where[~small].any()
    assert "1 of 2 faces left as they are" in caplog.text and "turned too far" in caplog.text
    with pytest.raises(ImageError, match="turned too far to the side"):
        translator.translate(picture, face=1)


def test_the_batch_goes_on(model: Path, cli: Cli, tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    head().save(folder / "a.png")
    Image.new("RGB", (SIDE, SIDE), "grey").save(folder / "b.png")  # as large as the others: one batch
    head().save(folder / "c.png")
    (folder / "d.png").write_bytes(b"no picture")
    head(100).save(folder / "e.png")
    code, _, told = cli("translate", model, folder, "-o", out, "--happiness", "1", "--device", "cpu")
    assert code == 6 and sorted(path.name for path in out.iterdir()) == ["a.png", "c.png"]
    assert "2 translated, 0 skipped, 3 failed" in told
    lines = told.splitlines()
    for why in ("no face found", "d.png", "too small"):
        assert sum(why in line for line in lines) == 1
    assert np.array_equal(array(Image.open(out / "a.png")), array(Image.open(out / "c.png")))


def test_pictures_that_failed_are_named(model: Path, cli: Cli, tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        Image.new("RGB", (80, 80), "grey").save(folder / name)
    code, _, told = cli("translate", model, folder, "-o", out, "--happiness", "1", "--device", "cpu")
    assert code == 6
    for name in ("a.png", "b.png"):
        assert any(name in line and "no face found" in line for line in told.splitlines())


# -- measuring ----------------------------------------------------------------------------------------------------------


def test_measure(translator: ExpressionTranslator, stargan: ExpressionTranslator) -> None:
    units = translator.measure(head())
    assert list(units) == list(NAMES) and all(0 <= unit <= 5 for unit in units.values())
    shown = stargan.measure(head())
    assert list(shown) == list(LABELS) and sum(shown.values()) == pytest.approx(1) and min(shown.values()) > 0
    picture = crowd()
    assert translator.measure(picture) == translator.measure(picture, face=1) != translator.measure(picture, face=2)
    crop = head().crop((56, 30, 120, 94))
    assert translator.measure(crop, face=0) == translator.measure(np.asarray(crop), face=0)
    with pytest.raises(ImageError, match="there is no face 2: 1 face was found"):
        translator.measure(head(), face=2)
    for wrong in (-1, 1.5, True, None):
        with pytest.raises(ControlError, match="whole number"):
            translator.measure(head(), face=wrong)  # type: ignore[arg-type]


def test_the_five_labels(stargan: ExpressionTranslator, labelled: Path, cli: Cli, tmp_path: Path) -> None:
    picture = head()
    made = {label: of(stargan, picture, expression=label) for label in LABELS}
    assert len({result.tobytes() for result in made.values()}) == len(LABELS)
    assert not changed(picture, made["sad"])[~around(picture)[0]].any()
    with pytest.raises(ControlError, match=r"neutral, angry, happy, sad, surprised"):
        stargan.translate(picture, expression="contempt")
    with pytest.raises(ControlError, match="no control is called happiness"):
        stargan.translate(picture, happiness=1)
    picture.save(tmp_path / "in.png")
    words = ("--expression", "sad", "--device", "cpu")
    assert cli("translate", labelled, tmp_path / "in.png", "-o", tmp_path / "out.png", *words)[0] == 0
    assert np.array_equal(array(Image.open(tmp_path / "out.png")), made["sad"])


# -- morph --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def smile(translator: ExpressionTranslator) -> Morph:
    return translator.morph(head(), steps=5, happiness=1.0)


def test_from_the_own_expression_to_the_one_asked_for(translator: ExpressionTranslator, smile: Morph) -> None:
    picture, plain = head(), of(translator, head())
    frames = [array(frame) for frame in smile.frames]
    assert len(frames) == 5 and all(isinstance(frame, Image.Image) for frame in smile.frames)
    assert np.array_equal(frames[0], plain)
    assert np.array_equal(frames[-1], of(translator, picture, happiness=1.0))
    ways = [np.abs(frame - plain).mean() for frame in frames]
    assert ways == sorted(ways) and len(set(ways)) == 5
    halfway = of(translator, picture, happiness=0.5)
    assert np.abs(frames[2] - halfway).max() <= 1
    other = head(200)
    assert np.array_equal(
        array(translator.morph(picture, steps=2, like=other).frames[1]), of(translator, picture, like=other)
    )


def test_morph_of_one_face_or_of_a_crop(translator: ExpressionTranslator, stargan: ExpressionTranslator) -> None:
    picture = crowd()
    _, small = around(picture)
    first, last = translator.morph(picture, steps=2, face=2, AU12=3).frames
    assert changed(first, last)[small].any() and not changed(picture, last)[~small].any()
    crop = head().crop((56, 30, 120, 90))
    made = translator.morph(np.asarray(crop), steps=3, face=0, AU12=3).frames
    assert all(isinstance(frame, np.ndarray) and frame.shape == (60, 64, 3) for frame in made)
    assert np.array_equal(made[-1], of(translator, crop, face=0, AU12=3))
    happy = stargan.morph(head(), steps=3, expression="happy").frames
    assert np.array_equal(array(happy[-1]), of(stargan, head(), expression="happy"))


def mover(down: float) -> ExpressionTranslator:
    """Moves all that it sees down by this share of the crop's side, and changes no colour."""
    network = load_recipe("ganimation-convnext-small", ["generator.warp=0.5"], tiny=True).network()
    generator = build_generator(network)
    assert isinstance(generator, StarGANGenerator) and generator.flow is not None
    with torch.no_grad():
        generator.flow.weight.zero_()
        generator.flow.bias.copy_(torch.tensor([0.0, -2 * down]).atanh())
        generator.head.weight.zero_()
        generator.head.bias.copy_(torch.tensor([0.0, 0.0, 0.0, 100.0]))
    return ExpressionTranslator(generator.eval(), network, device="cpu")


def test_what_is_moved_stays_as_sharp_as_the_photograph() -> None:
    translator, picture = mover(1 / 16), array(head(640)).astype(int)
    noise = np.random.default_rng(0).integers(-20, 20, picture.shape)
    fine = (picture + noise).clip(0, 255).astype(np.uint8)
    crop = of(translator, fine, face=0).astype(int)
    assert np.abs(crop[40:] - fine[:-40]).max() <= 1
    rows, columns = slice(200, 240), slice(320, 360)  # around the nose
    seen = faces.crop(read(fine).rgb, faces.find(read(fine).rgb)[0], translator.side)
    x, y = (seen.matrix[:, :2] @ torch.tensor([0.0, translator.side / 16], dtype=torch.float64)).tolist()
    moved = of(translator, fine).astype(int)
    source = fine[rows.start - round(y) : rows.stop - round(y), columns.start - round(x) : columns.stop - round(x)]
    one, other = moved[rows, columns] - moved[rows, columns].mean(), source - source.mean()
    assert (one * other).mean() / (one.std() * other.std()) > 0.8  # noise included
    assert np.array_equal(moved[:80], fine[:80]) and np.array_equal(moved[:, :220], fine[:, :220])


def test_a_morph_ends_where_translate_does_at_any_size(translator: ExpressionTranslator) -> None:
    for crop in (head().crop((56, 30, 121, 91)), head(20)):  # smaller than the network wants, too
        last = translator.morph(crop, steps=2, face=0, AU12=3).frames[-1]
        assert np.array_equal(array(last), of(translator, crop, face=0, AU12=3))


@pytest.mark.parametrize("steps", [1, 0, 2.5, True])
def test_a_morph_has_two_steps_at_least(translator: ExpressionTranslator, steps: Any) -> None:
    with pytest.raises(UsageError, match=f"steps = {steps} is not 2 or more"):
        translator.morph(head(), steps=steps, happiness=1)


def test_morph_refuses_what_translate_refuses(translator: ExpressionTranslator) -> None:
    with pytest.raises(ControlError, match="from 0 to 1"):
        translator.morph(head(), happiness=2)
    with pytest.raises(ControlError, match="did you mean happiness"):
        translator.morph(head(), hapiness=1)


def test_the_strip(smile: Morph, tmp_path: Path) -> None:
    strip = smile.strip()
    assert strip.size == (5 * SIDE, SIDE)
    assert np.array_equal(array(strip)[:, -SIDE:], array(smile.frames[-1]))
    assert smile.strip(height=40).size == (200, 40)
    smile.save(tmp_path / "strip.png")
    assert np.array_equal(array(Image.open(tmp_path / "strip.png")), array(strip))
    with pytest.raises(ImageError, match=r"cannot write \.xyz"):
        smile.save(tmp_path / "strip.xyz")


@pytest.mark.parametrize("suffix", ["gif", "webp"])
def test_there_and_back_for_ever(smile: Morph, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"smile.{suffix}"
    smile.save(path, seconds=1.0)
    with Image.open(path) as film:
        assert film.n_frames == 8 and film.info["loop"] == 0 and film.size == (SIDE, SIDE)
        shown, durations = [], []
        for i in range(8):
            film.seek(i)
            film.load()
            durations.append(film.info["duration"])
            shown.append(array(film.convert("RGB")))
    assert sum(durations) == 2000
    for here, there in ((1, 7), (2, 6), (3, 5)):
        assert np.abs(shown[here] - shown[there]).mean() < 3
    for frame, wanted in zip(shown, smile.frames):
        assert np.abs(frame - array(wanted)).mean() < 12
    assert list(tmp_path.iterdir()) == [path]


def test_two_steps_make_two_frames(translator: ExpressionTranslator, tmp_path: Path) -> None:
    translator.morph(head(), steps=2, AU12=3).save(tmp_path / "two.gif")
    with Image.open(tmp_path / "two.gif") as film:
        assert film.n_frames == 2
    with pytest.raises(UsageError, match="seconds = 0 is not above 0"):
        translator.morph(head(), steps=2, AU12=3).save(tmp_path / "none.gif", seconds=0)


@pytest.mark.parametrize("name", ["smile.mp4", "smile.webm"])
def test_a_film(smile: Morph, tmp_path: Path, name: str) -> None:
    av = pytest.importorskip("av")
    out = tmp_path / "out" / name
    smile.save(out, seconds=2.0)
    assert list(out.parent.iterdir()) == [out]
    with av.open(str(out)) as film:
        frames = list(film.decode(video=0))
    assert [frame.time for frame in frames] == [i / 2 for i in range(8)]
    for frame, wanted in zip(frames, [*smile.frames, *smile.frames[-2:0:-1]]):
        height, width = array(wanted).shape[:2]
        assert np.abs(frame.to_ndarray(format="rgb24")[:height, :width] - array(wanted)).mean() < 8


# -- zoo morph ----------------------------------------------------------------------------------------------------------


def test_morph_by_the_command_line(model: Path, translator: ExpressionTranslator, cli: Cli, tmp_path: Path) -> None:
    head().save(tmp_path / "in.png")
    words = ("morph", model, tmp_path / "in.png", "--device", "cpu", "--steps", "3", "--to")
    code, told, _ = cli(*words, "AU12=2", "--to", "AU4=0", "-o", tmp_path / "strip.png")
    assert code == 0 and "strip.png" in told
    wanted = translator.morph(head(), steps=3, AU12=2.0, AU4=0.0).strip()
    assert np.array_equal(array(Image.open(tmp_path / "strip.png")), array(wanted))
    assert cli(*words, "happiness=1", "-o", tmp_path / "smile.gif")[0] == 0
    with Image.open(tmp_path / "smile.gif") as film:
        assert film.n_frames == 4
    before = (tmp_path / "smile.gif").read_bytes()
    code, _, told = cli(*words, "sadness=1", "-o", tmp_path / "smile.gif")
    assert code == 2 and "smile.gif is there already" in told and (tmp_path / "smile.gif").read_bytes() == before
    assert cli(*words, "sadness=1", "-o", tmp_path / "smile.gif", "--overwrite")[0] == 0
    assert (tmp_path / "smile.gif").read_bytes() != before
    code, _, told = cli(*words, "happiness=1", "-o", tmp_path / "in.png", "--overwrite")
    assert code == 2 and "would overwrite the input" in told


@pytest.mark.parametrize(
    ("to", "told"),
    [
        ("happiness", "CONTROL=VALUE|write --to AU12=2"),
        ("hapiness=1", "did you mean happiness"),
        ("happiness=much", "happiness = 'much' is not a number from 0 to 1"),
        ("AU12=4", "AU12 = 4.* is not a number from 0 to 3"),
        ("like=no such picture.png", "no such picture"),
        ("face=2", "--face"),
    ],
)
def test_wrong_aims(model: Path, cli: Cli, tmp_path: Path, to: str, told: str) -> None:
    code, _, said = cli("morph", model, SAMPLE, "-o", tmp_path / "out.gif", "--to", to, "--device", "cpu")
    assert code in (2, 3) and re.search(told, said) and "Traceback" not in said
    assert len(said.splitlines()) <= 2 and not (tmp_path / "out.gif").exists()


def test_a_film_that_cannot_be_written(smile: Morph, tmp_path: Path) -> None:
    pytest.importorskip("av")
    (tmp_path / "file").write_text("kept")
    with pytest.raises(ImageError, match=r"smile\.mp4 cannot be written.*check the folder"):
        smile.save(tmp_path / "file" / "smile.mp4")
    assert (tmp_path / "file").read_text() == "kept"


def test_a_film_without_pyav_is_one_line(
    model: Path, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    words = ("morph", model, "no such picture.png", "-o", tmp_path / "out.mp4", "--to", "happiness=1")
    code, _, told = cli(*words)
    assert code == 2 and told.splitlines() == [
        "zoo: videos need PyAV, which is not installed",
        "hint: pip install 'zoo-core[video]'",
    ]


def test_morph_of_another_model(cli: Cli, tmp_path: Path) -> None:
    other = load_recipe("cyclegan-small", tiny=True).network()
    save_weights(tmp_path / "other.safetensors", build_generator(other).state_dict(), other)
    code, _, told = cli("morph", tmp_path / "other.safetensors", SAMPLE, "-o", tmp_path / "o.gif", "--to", "AU12=1")
    assert code == 2 and "is no model of expressions" in told


# -- zoo expression-grid ------------------------------------------------------------------------------------------------


def heads(path: Path, rows: int) -> int:
    """How many columns a grid has, by the width of its cells."""
    with Image.open(path) as grid:
        assert grid.height > rows * CLOSE
        return grid.width // CLOSE


def test_a_grid_of_expressions(
    model: Path, labelled: Path, cli: Cli, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    head().save(folder / "a.png")
    head().transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(folder / "b.png")
    code, told, errors = cli("expression-grid", model, folder, "-o", tmp_path / "all.png", "--device", "cpu")
    assert code == 0 and "2 × 8 pictures" in told, errors
    assert caplog.text.count("disgust is drawn without") == 1  # for all faces, once
    assert heads(tmp_path / "all.png", 2) == 1 + len(EXPRESSIONS)
    code, told, _ = cli("expression-grid", labelled, folder / "a.png", "-o", tmp_path / "labels.png", "--device", "cpu")
    assert code == 0 and "1 × 5 pictures" in told and heads(tmp_path / "labels.png", 1) == 1 + len(LABELS)
    code, _, told = cli("expression-grid", labelled, folder, "-o", tmp_path / "no.png", "--unit", "AU12")
    assert code == 2 and "knows five expressions and no units" in told


def test_a_grid_of_a_unit(model: Path, cli: Cli, tmp_path: Path) -> None:
    head().save(tmp_path / "in.png")
    words = ("expression-grid", model, tmp_path / "in.png", "--device", "cpu", "--unit", "AU12")
    code, told, _ = cli(*words, "-o", tmp_path / "unit.png")
    assert code == 0 and "1 × 5 pictures" in told and heads(tmp_path / "unit.png", 1) == 6
    code, told, _ = cli(*words, "--unit", "AU6", "--values", "0,3", "-o", tmp_path / "two.png")
    assert code == 0 and "1 × 2 pictures" in told and heads(tmp_path / "two.png", 1) == 3
    code, _, told = cli(*words, "-o", tmp_path / "two.png")
    assert code == 2 and "two.png is there already" in told
    for more, why in (
        (("--values", "0,much"), "--values 0,much is not numbers"),
        (("--values", "0,7"), "AU12 = 7.0 is not a number from 0 to 3"),
        (("--unit", "AU13"), "no unit is called AU13"),
    ):
        code, _, told = cli(*words, *more, "-o", tmp_path / "no.png")
        assert code == 2 and why in told and "photograph of a face" not in told and len(told.splitlines()) <= 2
    assert not (tmp_path / "no.png").exists()


def test_a_grid_shows_a_closely_cropped_face_without_more_around_it(model: Path, cli: Cli, tmp_path: Path) -> None:
    whole = head()
    (face,) = faces.find(read(whole).rgb)
    left, top, right, bottom = face.box
    side = 1.3 * (bottom - top)
    box = [
        round(at)
        for at in ((left + right - side) / 2, bottom - 1.1 * side, (left + right + side) / 2, bottom + 0.1 * side)
    ]
    close = whole.crop(box).resize((240, 240))
    close.save(tmp_path / "in.png")
    words = ("--device", "cpu", "--unit", "AU12", "--values", "0")
    code, _, errors = cli("expression-grid", model, tmp_path / "in.png", "-o", tmp_path / "grid.png", *words)
    assert code == 0, errors
    shown = close.resize((CLOSE, CLOSE), Image.Resampling.LANCZOS)
    wanted = np.asarray(shown.convert("L"), float)
    with Image.open(tmp_path / "grid.png") as grid:
        seen = np.asarray(grid.convert("L"), float)
    corners = [(y, x) for y in range(12, len(seen) - CLOSE + 1) for x in range(16)]  # below the heads
    assert min(np.abs(seen[y : y + CLOSE, x : x + CLOSE] - wanted).mean() for y, x in corners) < 1


def test_a_grid_leaves_out_what_has_no_face(model: Path, cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    head().save(folder / "a.png")
    Image.new("RGB", (90, 70), "grey").save(folder / "b.png")
    words = ("--device", "cpu", "--unit", "AU12", "--values", "0,2")
    code, told, errors = cli("expression-grid", model, folder, "-o", tmp_path / "grid.png", *words)
    assert code == 6 and "b.png: no face found" in told and "1 of 2 pictures left out" in errors
    assert heads(tmp_path / "grid.png", 1) == 3
    code, _, told = cli("expression-grid", model, folder / "b.png", "-o", tmp_path / "none.png", *words)
    assert code == 2 and "no face found" in told and not (tmp_path / "none.png").exists()
