"""`zoo export`: files that onnxruntime draws with as PyTorch does, that a stranger can use, whole or not there."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from conftest import leave
from PIL import Image
from tiny_plugin import NETWORK, TinyPlugin, tiny  # noqa: F401  (a fixture)

import zoo
from zoo import SizeRule
from zoo.catalogue.registry import registry
from zoo.errors import PluginError, UsageError
from zoo.export import Report, export
from zoo.generator import build_generator
from zoo.recipe import load_recipe
from zoo.testing.subject import stir
from zoo.weights.file import save_weights

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/export.md").read_text(encoding="utf-8")
PROGRAM = re.search(r"^`draw.py`:\n\n```python\n(.*?)^```$", PAGE, re.M | re.S)[1]  # type: ignore[index]
SAMPLE = ROOT / "docs/sample/eileen-collins.jpg"
Zoo = Callable[..., tuple[int, str, str]]

STRANGE = """
import torch
import zoo
from torch.nn import functional as F
from zoo import faces
from zoo.faces.portrait import PortraitTranslator

class Fixed(Tiny):
    size = SizeRule(fixed=(24, 16))

class Plain(Tiny):
    size = SizeRule(minimum=5)
    def parts(self, image, like=None):
        return {"image": F.interpolate(F.avg_pool2d(image, 3, 1, 1), scale_factor=1) * self.tone}

class Pair(Plain):
    def parts(self, image, other, tones): return {"image": (image + other * tones[:, :, None, None]) * self.tone / 3}

class Stuck(Plain):
    def parts(self, image): return {"image": image * self.tone + torch.zeros(int(image.shape[2]), 1)}

class Asks(Plain):
    def parts(self, image): return {"image": image * self.tone if image.mean() > 0 else image}

class Other(Plain):
    def parts(self, image): return {"image": image * self.tone * (1 if not torch.compiler.is_compiling() else 1.02)}

class Large(Plain):
    def parts(self, image): return {"image": image * self.tone if image.shape[2] > 40 else image}

class Mirrored(zoo.Translator):
    def draw(self, image, **controls): return super().draw(image.flip(-1), **controls)

class Faces(PortraitTranslator):
    frame = faces.Frame(2.0, 0.6)

class Around(zoo.Translator):
    unexported = "it looks at the sky"

class Optimises(zoo.Translator):
    steps = 0
    def draw(self, image, **controls):
        with torch.inference_mode(False), torch.enable_grad():
            picture = image.clone().requires_grad_(True)
            while True:
                type(self).steps += 1
                (self.generator(picture) ** 2).mean().backward()

def _more(register):
    for part in (Fixed, Plain, Pair, Stuck, Asks, Other, Large):
        register.generator(part.__name__.lower(), part)
    register.translator("mirrored", Mirrored)
    register.translator("faces", Faces)
    register.translator("around", Around)
    register.translator("optimises", Optimises)
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Zoo:
    """``zoo export …`` in an empty folder -> exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def zoo(*words: object) -> tuple[int, str, str]:
        return leave(capfd, "export", *words)

    return zoo


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    """``conditional-cyclepix`` exported once for several tests."""
    folder = tmp_path_factory.mktemp("shipped")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_CACHE", str(folder / "cache"))
        report = export("conditional-cyclepix.hands", folder / "new" / "model.onnx")
    return report.path, report


@pytest.fixture
def strange(tiny: TinyPlugin, tmp_path: Path) -> Callable[..., Path]:  # noqa: F811
    """A weights file of one of the networks or translators above."""
    package = tiny.weights.parents[1]
    code, manifest = package / "plugin.py", package / "zoo.yaml"
    code.write_text(code.read_text() + "    _more(register)\n" + STRANGE)
    parts = "parts: {translator: [mirrored, faces, around, optimises], generator: [tiny, fixed, plain, pair, stuck, asks, other, large]}"
    manifest.write_text(re.sub("^parts: .*$", parts, manifest.read_text(), flags=re.M))

    def make(generator: str, tone: float = 0.75, **network: Any) -> Path:
        return tiny.other(tmp_path / f"{generator}.safetensors", tone, generator={"name": generator}, **network)

    return make


def session(path: Path | str) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def facts(path: Path | str) -> dict[str, Any]:
    about = session(path).get_modelmeta().custom_metadata_map
    return {key: json.loads(text) if text[0] in "[{" else text for key, text in about.items()}


def axes(path: Path | str) -> dict[str, list[Any]]:
    return {tensor.name: tensor.shape for tensor in (*session(path).get_inputs(), *session(path).get_outputs())}


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).uniform(-1, 1, shape).astype(np.float32)


# -- the shipped models -------------------------------------------------------------------------------------------


def tiny_of(recipe: str, folder: Path) -> Path:
    """Weights of the network of a recipe with one block and few channels: its graph has each of its nodes once."""
    network = load_recipe(recipe, ["generator.width=4", "generator.blocks=1"]).network()
    path = folder / f"{recipe}.safetensors"
    save_weights(path, stir(build_generator(network)).state_dict(), network)
    return path


def check(path: Path, name: str | Path, blocks: int = 6) -> None:
    """The file draws as the model does, at sizes it was neither made nor compared with, and is clean."""
    translator = zoo.load(name, device="cpu")
    controls = {"hand": np.array([0, 1])} if "hand" in {c.name for c in translator.controls} else {}
    for height, width in ((16, 20), (44, 60), (148, 36)):
        image = noise(2, 3, height, width)
        (drawn,) = session(path).run(None, {"image": image, **controls})
        with torch.no_grad():
            wanted = translator.draw(torch.from_numpy(image), **{k: torch.from_numpy(v) for k, v in controls.items()})
        assert np.abs(drawn - wanted.numpy()).max() < 2e-4
        assert drawn.std() > 0.1
    shape = ["batch", 3, "4*h", "4*w"]
    assert axes(path) == {"image": shape, **{name: ["batch"] for name in controls}, "output": shape}
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node].count("InstanceNormalization") == 5 + 2 * blocks
    assert {entry.version for entry in model.opset_import} == {18}
    assert str(ROOT).encode() not in path.read_bytes()  # the exporter notes stack traces


def test_onnxruntime_draws_as_pytorch(shipped: tuple[Path, Report]) -> None:
    path, report = shipped
    check(path, "conditional-cyclepix")
    assert report.model == "conditional-cyclepix" and report.size is None
    assert [(case.height, case.width) for case in report.parity] == [(16, 16), (132, 84), (16, 256), (256, 180)]
    assert max(case.largest for case in report.parity) < 2e-4
    assert {found.name for found in path.parent.iterdir()} == {"model.onnx"}
    assert path.stat().st_size == report.bytes
    image = np.repeat(noise(1, 3, 64, 64), 2, axis=0)
    (drawn,) = session(path).run(None, {"image": image, "hand": np.array([0, 1])})
    assert np.abs(drawn[0] - drawn[1]).mean() > 0.02  # the hands differ


@pytest.mark.parametrize("recipe", ["cyclese-small", "cycleda-small"])
def test_so_do_the_others(recipe: str, run: Zoo, tmp_path: Path) -> None:
    """Those with nodes that the model above has not."""
    weights = tiny_of(recipe, tmp_path)
    code, out, err = run(weights, "-o", "model.onnx", "--json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert told["bytes"] == Path("model.onnx").stat().st_size
    assert max(case["largest"] for case in told["parity"]) < 2e-4
    check(Path("model.onnx"), weights, blocks=1)


def test_the_file_says_what_it_is(shipped: tuple[Path, Report]) -> None:
    about = facts(shipped[0])
    card = registry().card("conditional-cyclepix")[0]
    assert about["model"] == card.name and about["zoo"] == zoo.__version__
    assert about["weights_sha256"] == card.get().sha256 and about["licence"]["weights"] == card.licence.weights
    assert about["network"]["recipe"] == "conditional-cyclepix-small"
    rule = {"fixed": None, "working": 512, "multiple_of": 4, "minimum": 16, "layout": "NCHW", "range": [-1, 1]}
    assert rule.items() <= about["preprocessing"].items()
    (hand,) = about["controls"]
    assert {"name": "hand", "type": "choice", "dtype": "int64", "default": 0}.items() <= hand.items()
    assert hand["choices"] == ["portraits", "second-hand", "line", "soft"]


# -- as the documentation says ------------------------------------------------------------------------------------


def draw(model: Path | str, photo: Path | str, drawing: Path | str) -> Image.Image:
    """The program of docs/export.md in a process that has neither torch nor the zoo."""
    alone = "import sys; sys.modules.update(torch=None, zoo=None); import runpy; runpy.run_path('draw.py')"
    Path("draw.py").write_text(PROGRAM, encoding="utf-8")
    done = subprocess.run([sys.executable, "-c", alone, model, photo, drawing], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return Image.open(drawing)


def difference(one: Image.Image, other: Image.Image) -> int:
    assert one.size == other.size
    return int(np.abs(np.asarray(one, dtype=int) - np.asarray(other, dtype=int)).max())


def test_a_stranger_can_use_the_file(
    shipped: tuple[Path, Report], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for box, photo in (((150, 20, 301, 201), "head.png"), ((240, 90, 251, 96), "small.png")):
        Image.open(SAMPLE).crop(box).save(photo)
    upside_down = Image.Exif()
    upside_down[0x0112] = 3
    Image.open("head.png").save("turned.png", exif=upside_down)
    translator = zoo.load("conditional-cyclepix", device="cpu")
    for photo in ("head.png", "small.png", "turned.png"):
        wanted = translator.translate(photo, backdrop="keep", framing="whole")
        assert np.asarray(wanted).std() > 2
        assert difference(draw(shipped[0], photo, "drawing.png"), wanted) <= 2


@pytest.mark.slow
def test_a_stranger_can_use_a_file_of_one_size(run: Zoo) -> None:
    weights = tiny_of("conditional-cyclepix-small", Path())
    assert run(weights, "-o", "model.onnx", "--size", "184x160")[0] == 0
    assert axes("model.onnx")["image"] == [1, 3, 184, 160] and axes("model.onnx")["hand"] == [1]
    Image.open(SAMPLE).crop((150, 20, 301, 204)).save("head.png")
    translator = zoo.load(weights, device="cpu")
    translator.size = SizeRule(fixed=(184, 160))
    assert (
        difference(
            draw("model.onnx", "head.png", "drawing.png"),
            translator.translate("head.png", backdrop="keep", framing="whole"),
        )
        <= 2
    )


def test_a_large_picture_is_scaled_as_by_the_zoo(tiny: TinyPlugin, run: Zoo, tmp_path: Path) -> None:  # noqa: F811
    path = tiny.other(tmp_path / "scaled.safetensors", 0.5, working=100)
    assert run(path, "-o", "model.onnx")[0] == 0
    Image.open(SAMPLE).crop((0, 0, 230, 171)).save("photo.png")
    wanted = zoo.load(path, device="cpu").translate("photo.png")
    about = facts("model.onnx")
    assert (about["model"], about["licence"], about["preprocessing"]["working"]) == ("tiny", "unknown", 100)
    assert difference(draw("model.onnx", "photo.png", "drawing.png"), wanted) <= 4  # Pillow rounds in between


def test_the_part_of_a_photograph_is_what_the_zoo_cuts_out(strange: Callable[..., Path], run: Zoo) -> None:
    pytest.importorskip("dlib")
    path = strange("plain", controls=[], translator="faces", working=48)
    assert run(path, "-o", "model.onnx")[0] == 0
    part = facts("model.onnx")["preprocessing"]["part"]
    assert part.items() >= {"scale": 2.0, "middle": 0.6, "least": 48, "average": None}.items()
    Image.open(SAMPLE).rotate(12, center=(210, 130)).crop((60, 20, 360, 320)).save("photo.png")
    wanted = zoo.load(path, device="cpu").translate("photo.png")
    drawn = draw("model.onnx", "photo.png", "drawing.png")
    assert abs(drawn.width - wanted.width) <= 1
    drawn = drawn.resize(wanted.size)
    off = np.abs(np.asarray(drawn, dtype=int) - np.asarray(wanted, dtype=int))
    assert off.mean() < 2 and np.asarray(wanted).std() > 20  # a landmark may lie a fraction of a pixel beside
    apart = np.abs(np.roll(np.asarray(drawn, dtype=int), 4, axis=1) - np.asarray(wanted, dtype=int))
    assert apart.mean() > 4 * off.mean()


def test_what_is_more_than_its_network_says_why(strange: Callable[..., Path], run: Zoo) -> None:
    code, _, err = run(strange("plain", controls=[], translator="around"), "-o", "model.onnx")
    assert code == 2 and "cannot be exported: it looks at the sky" in err and len(err.splitlines()) == 2
    assert not Path("model.onnx").exists()


def test_the_python_of_the_page_runs(
    tiny: TinyPlugin,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    code = next(block for block in re.findall(r"^```python\n(.*?)^```$", PAGE, re.M | re.S) if "zoo.export" in block)
    exec(code.replace("cycleda", "tiny"), {})
    assert float(capsys.readouterr().out) < 1e-6 and Path("tiny.onnx").exists()


# -- controls, sizes, weights -------------------------------------------------------------------------------------


def test_controls_are_inputs_and_the_metadata_is_as_told(tiny: TinyPlugin, run: Zoo) -> None:  # noqa: F811
    code, out, err = run("tiny", "-o", "tiny.onnx")
    assert code == 0 and "wrote tiny to tiny.onnx" in err and "16x16" in out
    about = facts("tiny.onnx")
    for key in (*about, *(key for control in about["controls"] for key in control)):
        assert f"`{key}`" in PAGE
    order = [key for key in about["preprocessing"] if key in ("read", "scale", "pad", "values")]
    assert order == ["read", "scale", "pad", "values"]
    declared = {control["name"]: control for control in about["controls"]}
    assert declared["mix"] == {
        **{"name": "mix", "type": "number", "help": "", "dtype": "float32"},
        **{"minimum": -1, "maximum": 1, "default": 1},
    }
    image = noise(3, 3, 24, 16)
    given = {
        "hand": np.array([0, 1, 1]),
        "invert": np.array([False, False, True]),
        "mix": np.array([0.5, 1, 0.25], np.float32),
    }
    (drawn,) = session("tiny.onnx").run(None, {"image": image, **given})
    assert np.allclose(drawn, image * np.array([0.5, -1, 0.25], np.float32).reshape(3, 1, 1, 1))


def test_a_second_picture_is_an_input_unless_it_may_be_left_out(strange: Callable[..., Path], run: Zoo) -> None:
    controls = [{"type": "image", "name": "other"}, {"type": "numbers", "name": "tones", "length": 3, "maximum": 2}]
    assert run(strange("pair", controls=controls), "-o", "pair.onnx")[0] == 0
    shape = ["batch", 3, "h", "w"]
    assert axes("pair.onnx") == {"image": shape, "other": shape, "tones": ["batch", 3], "output": shape}
    other, tones = facts("pair.onnx")["controls"]
    assert "default" not in other and tones["default"] == [0, 0, 0] and tones["maximum"] == 2
    assert "minimum" not in tones  # JSON knows no infinity

    optional = [{"type": "image", "name": "like", "required": False}]
    assert run(strange("plain", controls=optional), "-o", "plain.onnx")[0] == 0
    assert axes("plain.onnx") == {"image": shape, "output": shape} and facts("plain.onnx")["controls"] == []


def test_sizes(strange: Callable[..., Path], run: Zoo) -> None:
    fixed = strange("fixed", controls=NETWORK["controls"])
    assert run(fixed, "-o", "fixed.onnx")[0] == 0
    assert axes("fixed.onnx")["image"] == ["batch", 3, 24, 16]
    assert facts("fixed.onnx")["preprocessing"]["fixed"] == [24, 16]
    code, _, err = run(fixed, "-o", "no.onnx", "--size", "24x24")
    assert code == 2 and "24x24" in err and "nearest is 24x16" in err
    for given, nearest in (("250x40", "248x40"), ("1x17", "16x16"), ("9", "16x16")):
        code, _, err = run("tiny", "-o", "no.onnx", "--size", given)
        assert code == 2 and f"nearest is {nearest}: it takes multiples of 8 from 16 on" in err
    for given in ("big", "0x8", "8x", "-8x8", "8x8x8", "1e3"):
        code, _, err = run("tiny", "-o", "no.onnx", f"--size={given}")
        assert code == 2 and "is no size" in err and len(err.splitlines()) == 2
    code, _, err = run("tiny", "-o", "no.onnx", "--size", "400000x400000")
    assert code == 2 and "does not fit the memory" in err
    assert not Path("no.onnx").exists()
    assert run("tiny", "-o", "square.onnx", "--size", "32")[0] == 0
    assert axes("square.onnx")["output"] == [1, 3, 32, 32]


def initialised(path: Path) -> int:
    """Bytes of the weights in a file."""
    return sum(len(tensor.raw_data) for tensor in onnx.load(path).graph.initializer)


@pytest.mark.slow
def test_half_stores_the_same_weights_in_half_the_bytes(run: Zoo, tmp_path: Path) -> None:
    weights = tiny_of("cyclepix-small", tmp_path)
    full, half = (export(weights, tmp_path / f"{half}.onnx", size=(32, 48), half=half) for half in (False, True))
    assert initialised(half.path) < 0.55 * initialised(full.path)
    assert [case.largest for case in half.parity] == pytest.approx([case.largest for case in full.parity], abs=1e-4)
    image = noise(1, 3, 32, 48)
    one, other = (session(report.path).run(None, {"image": image})[0] for report in (full, half))
    assert np.abs(one - other).max() < 1e-4


@pytest.mark.slow
def test_a_translator_of_the_plugin_draws(strange: Callable[..., Path], run: Zoo) -> None:
    assert run(strange("plain", controls=[], translator="mirrored"), "-o", "mirrored.onnx")[0] == 0
    image = np.full((1, 3, 5, 8), -1, np.float32)
    image[..., -2:] = 1
    (drawn,) = session("mirrored.onnx").run(None, {"image": image})
    assert drawn[0, 0, 2, 0] > 0 > drawn[0, 0, 2, -1]


# -- what cannot be exported --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_file_is_not_overwritten_unless_told_and_is_the_same_each_time(tiny: TinyPlugin, run: Zoo) -> None:  # noqa: F811
    mine = Path("mine.onnx")
    mine.write_text("mine")
    code, _, err = run("tiny", "-o", mine)
    assert code == 2 and "mine.onnx is there already" in err and "--on-exists overwrite" in err
    assert mine.read_text() == "mine"
    assert run("tiny", "-o", mine, "--on-exists", "overwrite")[0] == 0
    assert axes(mine)["image"][0] == "batch"
    assert export("tiny", "again.onnx").sha256 == hashlib.sha256(mine.read_bytes()).hexdigest()
    assert Path("again.onnx").read_bytes() == mine.read_bytes()
    Path("folder.onnx").mkdir()
    for target, why in (
        ("folder.onnx", "is a folder"),
        ("model.bin", "does not end in .onnx"),
        ("mine.onnx/below/model.onnx", "is not a folder"),
    ):
        code, _, err = run("tiny", "-o", target, "--on-exists", "overwrite")
        assert code == 2 and why in err


def test_what_does_not_exist(tiny: TinyPlugin, run: Zoo) -> None:  # noqa: F811
    for words, exit_code, why in (
        (("tiny", "--format", "coreml"), 2, "'coreml' is not"),
        (("tinny",), 3, "did you mean tiny?"),
        (("tiny.other",), 3, "tiny has no weights 'other'"),
        (("untrained",), 3, "has no published weights"),
        (("missing.safetensors",), 3, "there is no weights file"),
        (("model.pth",), 3, "is not a weights file"),
    ):
        code, out, err = run(*words, "-o", "model.onnx")
        assert (code, out) == (exit_code, "") and why in err, err
    assert not Path("model.onnx").exists()


@pytest.mark.parametrize("module", ["onnx", "onnxruntime", "onnxscript"])
def test_without_the_extra(module: str, tiny: TinyPlugin, run: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setattr("zoo.export.find_spec", lambda name: None if name == module else object())
    code, _, err = run("tiny", "-o", "model.onnx")
    assert code == 2
    assert err == f"zoo: export needs {module}, which is not installed\nhint: pip install 'zoo-core[export]'\n"


def test_a_model_that_optimises_is_refused_at_once(strange: Callable[..., Path], run: Zoo) -> None:
    code, _, err = run(strange("plain", controls=[], translator="optimises"), "-o", "model.onnx")
    assert code == 2 and "optimises each picture" in err and len(err.splitlines()) == 2
    assert sys.modules["zoo_tiny.plugin"].Optimises.steps == 1
    assert not Path("model.onnx").exists()


def test_what_torch_cannot_write_is_one_line(strange: Callable[..., Path], run: Zoo) -> None:
    code, out, err = run(strange("stuck", controls=[]), "-o", "model.onnx")
    assert (code, out) == (2, "") and "torch cannot write this network as ONNX" in err
    assert "its code holds for H = 53 only" in err
    assert len(err.splitlines()) == 2 and max(map(len, err.splitlines())) < 300
    assert not list(Path().glob("*.onnx"))
    assert run("stuck.safetensors", "-o", "model.onnx", "--size", "20x30")[0] == 0
    with pytest.raises(
        PluginError, match=r"torch cannot write this .*Could not guard on data-dependent expr"
    ) as failed:
        export(strange("asks", controls=[]), "other.onnx")
    assert failed.value.__cause__ is not None  # what --debug shows
    assert not Path("other.onnx").exists()


@pytest.mark.parametrize(("generator", "why"), [("other", "off by 0.01"), ("large", "another picture at 5x5")])
def test_another_picture_is_an_error_and_no_file(
    generator: str, why: str, strange: Callable[..., Path], run: Zoo
) -> None:
    Path("model.onnx").write_text("older")
    code, out, err = run(strange(generator, controls=[]), "-o", "model.onnx", "--on-exists", "overwrite")
    assert (code, out) == (5, "") and why in err and "0.0039" in err
    assert Path("model.onnx").read_text() == "older"
    assert {path.name for path in Path().iterdir()} == {"model.onnx", f"{generator}.safetensors"}


@pytest.mark.slow
def test_weights_beyond_16_bits_stay_as_they_are(tiny: TinyPlugin, run: Zoo, tmp_path: Path) -> None:  # noqa: F811
    network = {**zoo.load("cyclegan", device="cpu").network}
    weights = zoo.load("cyclegan", device="cpu").generator.state_dict()
    weights["stem.1.weight"] = weights["stem.1.weight"] * 1e6
    save_weights(tmp_path / "large.safetensors", weights, network, bits=32)
    assert run(tmp_path / "large.safetensors", "-o", "large.onnx", "--half", "--size", "32")[0] == 0
    kinds = {t.name: t.data_type for t in onnx.load("large.onnx").graph.initializer if len(t.dims) == 4}
    assert sorted(kinds.values()).count(onnx.TensorProto.FLOAT) == 1 and len(kinds) == 18


def test_python_refuses_a_wrong_size(tiny: TinyPlugin, tmp_path: Path) -> None:  # noqa: F811
    with pytest.raises(UsageError, match="nearest is 16x16"):
        export("tiny", tmp_path / "model.onnx", size=(0, -3))
