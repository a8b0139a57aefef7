"""``zoo au-judge`` and ``zoo expression-eval``: numbers by results that are known, and what they say of bad input.

Here a face is 32×32 pixels, and its k-th unit is the light of its k-th row.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from zoo.cli import main
from zoo.errors import IntegrityError, NotFoundError, UsageError
from zoo.evaluate import sets
from zoo.faces import Face
from zoo.generator import Generator
from zoo.pictures.image import read, to_pil
from zoo.progress import listening
from zoo.translator import Translator
from zoo.weights.file import read_header, save_weights
from zoo_expression import evaluate, measure
from zoo_expression.evaluate import expression_eval
from zoo_expression.judge import Judge, accuracy, au_judge, load_judge, read_faces
from zoo_expression.measure import Identity
from zoo_expression.networks import StarGANGenerator
from zoo_expression.table import COLUMNS
from zoo_expression.translator import ExpressionTranslator
from zoo_expression.units import MOST, NAMES, pattern

SIDE = 32
SAMPLE = Path(__file__).parents[3] / "docs" / "sample" / "eileen-collins.jpg"
SMALL = {"width": 4, "layers": 2, "widest": 4, "size": SIDE}


def shown(units: Tensor, image: Tensor) -> Tensor:
    """``image`` (N,3,32,32) with other units (N,17) in its rows."""
    image = image.clone()
    image[:, :, : len(NAMES)] = (units / MOST * 2 - 1)[:, None, :, None]
    return image


class Rows(nn.Module):
    """Reads the units exactly, as many intensities as ``scale``."""

    def __init__(self, scale: float = MOST) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, image: Tensor) -> Tensor:
        return (image[:, :, : len(NAMES)].mean(dim=(1, 3)) + 1) / 2 * self.scale


class Blind(nn.Module):
    def forward(self, image: Tensor) -> Tensor:
        return torch.full((len(image), len(NAMES)), 0.7)


class Edits(StarGANGenerator):
    """Does to a picture what it is told, given the intensities that are asked for, or the labels."""

    def __init__(self, edit: Callable[[Tensor, Tensor], Tensor], labels: bool = False) -> None:
        super().__init__(width=4, blocks=0, labels=labels, meter=SMALL)
        self.change = edit
        if not labels:
            self.meter = Rows(1)

    def parts(self, image: Tensor, units: Tensor | None = None, **controls: Tensor) -> dict[str, Tensor]:
        assert units is not None
        attention = torch.ones(len(image), 1, SIDE, SIDE)
        attention[:, :, : len(NAMES)] = 0
        return {"image": self.change(image, units if self.labels else units * MOST), "attention": attention}


def perfect(image: Tensor, units: Tensor) -> Tensor:
    return shown(units, image)


def nothing(image: Tensor, units: Tensor) -> Tensor:
    return image


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return crops(tmp_path / "faces", torch.rand(4, len(NAMES), generator=torch.Generator().manual_seed(0)) * 2)


def crops(folder: Path, units: Tensor, draw: Callable[[Tensor, Tensor], Tensor] = shown, side: int = SIDE) -> Path:
    """Faces with these units (N,17), the lower half of every second one white, of the others black."""
    folder.mkdir()
    lines = [",".join(["file", *COLUMNS])]
    for i, values in enumerate(units):
        image = draw(values[None], torch.full((1, 3, side, side), float(i % 2 * 2 - 1)))[0]
        to_pil(image).save(folder / f"{i}.png")
        lines.append(",".join([f"{i}.png", *(f"{value:.3f}" for value in values.tolist())]))
    (folder / "aus.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def judge(tmp_path: Path) -> Path:
    path = tmp_path / "judge.safetensors"
    save_weights(path, Judge().state_dict(), {}, facts={"what": "au-judge"})
    return path


def translator(generator: Generator) -> Translator:
    kind = ExpressionTranslator if isinstance(generator, Edits) else Translator
    return kind(generator, {"working": SIDE}, device="cpu")


@pytest.fixture
def evaluated(folder: Path, judge: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Evaluates edits as models ``a``, ``b`` …, with the exact judge, and the mean colour for who somebody is."""

    def run(*models: Edits, reader: nn.Module | None = None, **options: Any) -> dict[str, Any]:
        known = dict(zip("abc", models))
        monkeypatch.setattr(evaluate, "load", lambda name, **_: translator(known[name]))
        monkeypatch.setattr(evaluate, "load_judge", lambda path: reader or Rows())
        return expression_eval(list(known), **{"faces": folder, "judge": judge, "size": SIDE, **options})

    face = Face((0, 0, SIDE, SIDE), torch.zeros(68, 2))
    monkeypatch.setattr(measure, "find", lambda image: [face])
    monkeypatch.setattr(measure, "descriptor", lambda image, face: image.mean(dim=(1, 2)))
    return run


# -- the numbers ------------------------------------------------------------------------------------------------------


def test_a_perfect_model_follows_and_moves_nothing_else(evaluated: Callable[..., dict[str, Any]]) -> None:
    found = evaluated(Edits(perfect))["models"][0]
    for unit in (*found["units"]["judge"], *found["units"]["own"]):
        assert unit["correlation"] == pytest.approx(1, abs=1e-5)
        assert unit["slope"] == pytest.approx(1, abs=1e-5)
        assert unit["other_slope"] == pytest.approx(0, abs=1e-5)
    assert found["judge"]["correlation"] == pytest.approx(1, abs=1e-5)
    assert found["own_edit"]["l1"] == pytest.approx(0, abs=1e-6)
    assert found["attention"] == {
        "mean": pytest.approx(15 / 32),
        "p5": 0.0,
        "p95": pytest.approx(1, abs=0.002),
        "below_0.05": pytest.approx(17 / 32),
        "above_0.95": pytest.approx(15 / 32),
    }


def test_a_model_that_does_nothing(evaluated: Callable[..., dict[str, Any]]) -> None:
    result = evaluated(Edits(nothing))
    found = result["models"][0]
    for who in ("judge", "own"):
        assert found[who] == {name: pytest.approx(0, abs=1e-9) for name in found[who]}
    assert found["own_edit"]["l1"] == found["identity"]["distance"] == 0
    assert found["identity"] == {"distance": 0, "same": 1, "edits": 17 * 5 * 4 // 5, "faces_not_found": 0}
    assert (result["rows"][0]["r"].strip("-"), result["rows"][0]["own L1"]) == ("0.000", "0.0000")


def test_what_else_moved_and_by_how_much(evaluated: Callable[..., dict[str, Any]]) -> None:
    smile, lips = NAMES.index("AU12"), NAMES.index("AU25")

    def leaky(image: Tensor, units: Tensor) -> Tensor:
        units = units.clone()
        units[:, lips] = units[:, lips] + 0.3 * units[:, smile]
        units[:, smile] *= 0.5
        return shown(units, image)

    units = {unit["unit"]: unit for unit in evaluated(Edits(leaky))["models"][0]["units"]["judge"]}
    assert units["AU12"]["slope"] == pytest.approx(0.5, abs=1e-5)
    assert (units["AU12"]["other"], units["AU12"]["other_slope"]) == ("AU25", pytest.approx(0.3, abs=1e-5))
    assert units["AU25"]["other_slope"] == pytest.approx(0, abs=1e-5)


def test_the_correlation_counts_the_differences_between_faces(evaluated: Callable[..., dict[str, Any]]) -> None:
    def offset(image: Tensor, units: Tensor) -> Tensor:
        return shown(units + image[:, 0, -1, :1], image)  # 1 more in every second face, 1 less in the others

    found = evaluated(Edits(offset))["models"][0]["judge"]
    assert found["correlation"] == pytest.approx(math.sqrt(0.5 / 1.5), abs=1e-5)  # variances: 0.5 asked, 1 between
    assert found["slope"] == pytest.approx(1, abs=1e-5)


def test_what_only_its_own_meter_sees_is_not_shown(evaluated: Callable[..., dict[str, Any]]) -> None:
    row = evaluated(Edits(perfect), reader=Blind())["rows"][0]
    assert (row["own r"], row["r"], row["slope"]) == ("1.000", "0.000", "0.000")


def test_identity_is_measured_where_a_face_was_found(
    evaluated: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    face = Face((0, 0, SIDE, SIDE), torch.zeros(68, 2))
    monkeypatch.setattr(measure, "find", lambda image: [face] if image[0, -1, 0] > 0 else [])
    found = evaluated(Edits(lambda image, _: image - 0.5))["models"][0]["identity"]
    assert found["faces_not_found"] == 2 and 0 < found["edits"] < 17 * 4
    assert found["distance"] == pytest.approx(0.5 * math.sqrt(3), abs=1e-5) and found["same"] == 0


def test_dlib_tells_people_apart() -> None:
    pytest.importorskip("dlib")
    from zoo import faces

    photo = read(SAMPLE).rgb
    image = faces.crop(photo, faces.find(photo)[0]).image
    identity = Identity()
    for i, before in enumerate((image, torch.zeros(3, 128, 128))):
        identity.learn(i, before)
    for edited in (image, image * 0.9, image.flip(-2)):  # the third has the chin where the brow was
        identity.compare(0, edited)
    identity.compare(1, image)
    same, darker, other = identity.distances
    assert same == 0 < darker < 0.2 and other > 0.6
    facts = identity.facts()
    assert (facts["same"], facts["edits"], facts["faces_not_found"]) == (pytest.approx(2 / 3), 3, 1)


def test_labels_are_judged_by_their_units(tmp_path: Path, evaluated: Callable[..., dict[str, Any]]) -> None:
    neutral = crops(tmp_path / "neutral", torch.zeros(4, len(NAMES)))
    patterns = torch.tensor([pattern(name) for name in ("natural", "anger", "happiness", "sadness", "surprise")])
    obedient = Edits(lambda image, labels: shown(labels @ patterns, image), labels=True)
    made = evaluated(obedient, Edits(nothing, labels=True), faces=neutral)
    assert [facts["agreement"]["judge"] for facts in made["models"]] == [1, pytest.approx(0.2)]
    assert [row["agrees"] for row in made["rows"]] == ["1.000", "0.200"]
    assert made["rows"][0]["r"] == made["rows"][0]["own L1"] == "" and made["rows"][1]["distance"] == "0.000"


class Colours(nn.Module):
    """In the place of Inception: the means of the colours and of the upper half."""

    def __init__(self, path: Path) -> None:
        super().__init__()

    def forward(self, image: Tensor) -> Tensor:
        return torch.cat([image.mean(dim=(2, 3)), image[:, :, : SIDE // 2].mean(dim=(2, 3))], 1)


def test_fid_of_unchanged_faces_is_nothing(
    evaluated: Callable[..., dict[str, Any]], judge: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sets, "Inception", Colours)
    result = evaluated(Edits(nothing), Edits(lambda image, _: image * 0 + 0.25), fid=100, inception=judge, count=2)
    same, other = result["models"]
    assert same["fid"]["value"] == pytest.approx(0, abs=1e-4) and same["fid"]["n"] == 4
    assert other["fid"]["value"] > 0.1 and other["kid"]["value"] > same["kid"]["value"]
    assert any(line.startswith("IS is left out") for line in result["lines"])


def test_the_faces_are_drawn_by_the_seed(evaluated: Callable[..., dict[str, Any]]) -> None:
    drawn = [evaluated(Edits(nothing), count=2, seed=seed)["faces"] for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert drawn[0].startswith("2 faces")


def test_what_is_kept(evaluated: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    made = evaluated(Edits(perfect), Edits(nothing, labels=True), save=tmp_path / "report")
    assert json.loads((tmp_path / "report/results.json").read_text())["models"] == made["models"]
    with Image.open(tmp_path / "report/a/AU12.png") as strip:
        row = [strip.getpixel((8 + column * 40 + 16, 24 + NAMES.index("AU12")))[0] for column in range(1, 6)]
    assert row == pytest.approx([value / MOST * 255 for value in measure.VALUES], abs=1)
    assert {path.name for path in (tmp_path / "report/b").iterdir()} == {"labels.png"}
    with pytest.raises(UsageError, match="there already"):
        evaluated(Edits(perfect), save=tmp_path / "report")


# -- bad input --------------------------------------------------------------------------------------------------------


def test_a_picture_that_cannot_be_read_is_left_out(evaluated: Callable[..., dict[str, Any]], folder: Path) -> None:
    (folder / "2.png").write_bytes(b"nothing")
    (folder / "3.png").unlink()
    made = evaluated(Edits(perfect))
    assert made["models"][0]["n"] == 2 and made["failed"] == "2 pictures were left out"
    assert [line for line in made["lines"] if "2.png" in line]


def test_a_folder_without_a_table(evaluated: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"aus\.csv"):
        evaluated(Edits(perfect), faces=tmp_path)
    with pytest.raises(NotFoundError, match=r"aus\.csv"):
        au_judge(tmp_path, tmp_path / "made.safetensors")


def test_what_is_no_judge(tmp_path: Path, judge: Path) -> None:
    torch.save({}, tmp_path / "pickle.safetensors")
    save_weights(tmp_path / "other.safetensors", {"a": torch.zeros(1)}, {})
    save_weights(tmp_path / "torn.safetensors", {"a": torch.zeros(1)}, {}, facts={"what": "au-judge"})
    for name in ("pickle", "other", "torn"):
        with pytest.raises(IntegrityError) as caught:
            load_judge(tmp_path / f"{name}.safetensors")
        assert "\n" not in str(caught.value)
    with pytest.raises(NotFoundError):
        load_judge(tmp_path / "none.safetensors")
    assert not load_judge(judge).training


def test_models_that_are_none_of_expression(evaluated: Callable[..., dict[str, Any]]) -> None:
    with pytest.raises(UsageError, match="a is no model of expression"):
        evaluated(Generator())  # type: ignore[arg-type]


def test_a_model_sees_faces_at_its_own_size(evaluated: Callable[..., dict[str, Any]]) -> None:
    model = evaluated(Edits(nothing), size=2 * SIDE)["models"][0]
    assert model["own_edit"]["l1"] == 0  # what it sees is smaller, and only what it changed comes back


def test_a_missing_inception_is_said_first(evaluated: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="--inception"):
        evaluated(Edits(perfect), fid=10, inception=tmp_path / "none.pt")


def test_both_are_commands(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = str(tmp_path / "judge.pt")
    for words, code in (
        (["au-judge", str(folder), "--out", wrong], 2),
        (["expression-eval", "none", "--faces", str(folder), "--judge", wrong], 3),
    ):
        with pytest.raises(SystemExit) as left:
            main(words)
        assert left.value.code == code and wrong in capsys.readouterr().err.splitlines()[0]


# -- training a judge -------------------------------------------------------------------------------------------------


def mouths(units: Tensor, image: Tensor) -> Tensor:
    """A grey face; the higher AU25 is, the higher its dark mouth."""
    image = torch.full_like(image, 0.2)
    for one, height in zip(image, (units[:, NAMES.index("AU25")] * 8).round().int().tolist()):
        one[:, 80 : 80 + height, 40:88] = -0.8
    return image


def mouth_folder(folder: Path, number: int) -> Path:
    units = torch.zeros(number, len(NAMES))
    units[:, NAMES.index("AU25")] = torch.linspace(0, 4, number)
    return crops(folder, units, mouths, 128)


def test_equal_seeds_give_equal_judges(tmp_path: Path) -> None:
    folder = mouth_folder(tmp_path / "faces", 6)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        au_judge(folder, tmp_path / f"{name}.safetensors", test=folder, epochs=2, seed=seed, device="cpu")
    assert torch.equal(before, torch.get_rng_state())
    a, b, c = ((tmp_path / f"{name}.safetensors").read_bytes() for name in "abc")
    assert a == b != c
    facts = read_header(tmp_path / "a.safetensors").facts
    assert facts["trained"]["steps"] == 2 and facts["trained"]["seed"] == 1 and facts["trained"]["data"][0] == "6"
    told = facts["test"]["correlation"]
    assert told["AU12"] is None and -1 <= told["AU25"] <= 1  # the one does not vary
    faces = read_faces(folder)
    assert accuracy(load_judge(tmp_path / "a.safetensors"), faces, torch.device("cpu")) == told


def test_ctrl_c_leaves_no_file(tmp_path: Path) -> None:
    folder = mouth_folder(tmp_path / "faces", 4)

    def stop(what: str, done: int, total: int, image: Tensor | None = None) -> None:
        if "training" in what and done:
            raise KeyboardInterrupt

    with listening(stop), pytest.raises(KeyboardInterrupt):
        au_judge(folder, tmp_path / "out" / "judge.safetensors", epochs=3, device="cpu")
    assert not (tmp_path / "out").exists()


def test_a_judge_is_not_written_over(tmp_path: Path, judge: Path) -> None:
    for name in (judge, judge.with_suffix(".pt")):
        with pytest.raises(UsageError):
            au_judge(tmp_path, name)


@pytest.mark.slow
def test_a_judge_learns_to_read(tmp_path: Path) -> None:
    folder = mouth_folder(tmp_path / "faces", 8)
    made = au_judge(folder, tmp_path / "judge.safetensors", test=folder, epochs=60, device="cpu")
    assert made["test"]["correlation"]["AU25"] > 0.9
