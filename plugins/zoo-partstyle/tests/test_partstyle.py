"""The paper's equations, and what becomes of pictures."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import forks
import numpy as np
import pytest
import torch
from PIL import Image
from shared import SAMPLE
from torch import Tensor

import zoo
from zoo import faces
from zoo.blocks.vgg import VGG19
from zoo.errors import ConfigError, ControlError, ImageError, UsageError
from zoo.generator import build_part
from zoo.pictures.image import read
from zoo.progress import Stopped, listening
from zoo_partstyle.losses import GuidedContentLoss, GuidedStyleLoss, SelectedStyleLoss
from zoo_partstyle.networks import PictureOptimiser
from zoo_partstyle.optimise import Plan, optimise


def picture(seed: int = 0, height: int = 48, width: int = 64) -> Image.Image:
    """Blots of a few colours."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    return small.resize((width, height), Image.Resampling.BICUBIC)


def tensor(seed: int = 0, side: int = 32) -> Tensor:
    return torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.fixture(scope="module")
def vgg() -> VGG19:
    torch.manual_seed(0)
    return VGG19(last="conv2_1")


@pytest.fixture(scope="module")
def gatys() -> Any:
    return zoo.load("gatys", device="cpu")


@pytest.fixture
def filters(tmp_path: Path) -> str:
    path = tmp_path / "blot.json"
    layers = {"conv1_1": {"filters": [3, 40], "purity": [1, 0.9]}, "conv2_1": {"filters": [7], "purity": [1]}}
    path.write_text(json.dumps({"object": "blot", "layers": layers}))
    return str(path)


# -- equations ------------------------------------------------------------------------------------------------------------


def test_selected_style_is_equations_7_to_10(vgg: VGG19, filters: str) -> None:
    """As they stand, entry by entry, for both layers."""
    loss = SelectedStyleLoss(["conv1_1", "conv2_1"], filters, vgg)
    step = {"output": tensor(1), "source": tensor(2), "target": tensor(3, 48)}
    expected = []
    for layer, chosen in (("conv1_1", {3, 40}), ("conv2_1", {7})):
        made, content, style = (vgg(step[name], [layer])[0][0].flatten(1) for name in ("output", "source", "target"))
        n = len(made)
        g, gc, gs = (f @ f.T / f.shape[1] for f in (made, content, style))  # over M: the 1/M² of (3)
        r = (2 * len(chosen) * n - len(chosen) ** 2) / n**2
        neither, some = 0.0, 0.0
        for i in range(n):
            for j in range(n):
                if i in chosen or j in chosen:
                    some += float((gs[i, j] - g[i, j]) ** 2)
                else:
                    neither += float((gc[i, j] - g[i, j]) ** 2)
        expected.append((neither / (1 - r) + some / r) / n**2)
    assert float(loss(step)) == pytest.approx(sum(expected) / 2, rel=1e-3)


def test_all_filters_chosen_is_plain_style(vgg: VGG19, tmp_path: Path) -> None:
    path = tmp_path / "all.json"
    every = {"filters": list(range(128)), "purity": [1] * 128}
    path.write_text(json.dumps({"object": "all", "layers": {"conv2_1": every}}))
    step = {"output": tensor(1), "source": tensor(2), "target": tensor(3)}
    plain = build_part("loss", {"name": "style", "layers": ["conv2_1"]}, vgg=vgg)
    torch.testing.assert_close(SelectedStyleLoss(["conv2_1"], str(path), vgg)(step), plain(step))


def test_a_set_without_filters_of_the_layers(vgg: VGG19, filters: str) -> None:
    with pytest.raises(ConfigError, match="no filter of conv1_2 is chosen"):
        build_part("loss", {"name": "selected-style", "layers": ["conv1_2"], "object": filters}, vgg=vgg)


def test_guided_losses_look_at_the_object_alone(vgg: VGG19) -> None:
    area = torch.zeros(1, 1, 32, 32)
    area[..., :16] = 1
    left, right = tensor(1), tensor(2)
    step = {"source": left, "target": tensor(3), "object": area}
    other = torch.cat([left[..., :18], right[..., 18:]], -1)  # 3×3 filters see two pixels further
    for loss in (GuidedStyleLoss(["conv1_1"], vgg), GuidedContentLoss(["conv1_1"], vgg)):
        torch.testing.assert_close(loss({**step, "output": other}), loss({**step, "output": left}))
        assert float((loss({**step, "output": right}) - loss({**step, "output": left})).abs()) > 0
    whole = {**step, "output": right, "object": torch.ones_like(area)}
    for guided, plain in ((GuidedStyleLoss, "style"), (GuidedContentLoss, "content")):
        unguided = build_part("loss", {"name": plain, "layers": ["conv2_1"]}, vgg=vgg)
        torch.testing.assert_close(guided(["conv2_1"], vgg)(whole), unguided(whole))


# -- the optimisation -----------------------------------------------------------------------------------------------------


def bowl(aim: Tensor):
    """The squared distance to ``aim``, at any size."""

    def at_size(size: tuple[int, int]):
        goal = torch.nn.functional.interpolate(aim, size, mode="area")

        def evaluate(image: Tensor) -> tuple[Tensor, dict[str, float]]:
            loss = ((image - goal) ** 2 * torch.linspace(0.1, 2, size[1])).mean()
            return loss, {"bowl": float(loss.detach())}

        return evaluate

    return at_size


@pytest.mark.parametrize(
    "plan", [Plan(40), Plan(40, levels=2), Plan(200, optimiser="adam"), Plan(1), Plan(2, 3)], ids=str
)
def test_the_objective_falls_and_is_evaluated_as_often_as_asked(plan: Plan) -> None:
    aim, start = 0.5 * tensor(1, 64), torch.zeros(1, 3, 64, 64)
    heard: list[tuple[int, int]] = []
    with listening(lambda what, done, total, image=None: heard.append((done, total))):
        made = optimise(start, start, bowl(aim), plan)
    assert heard[0] == (0, plan.iterations)
    assert heard[-1] == (plan.iterations, plan.iterations)
    assert len(heard) == plan.iterations + len(plan.sizes(64, 64))  # each level begins with what there is
    if plan.iterations > 2:
        assert float((made - aim).square().mean()) < 0.02 * float(aim.square().mean())


def test_channels_last_are_drawn_as_channels_first() -> None:
    """As bf16 has them on many machines."""
    aim, start = 0.5 * tensor(1, 64), tensor(2, 64)
    last = start.contiguous(memory_format=torch.channels_last)
    assert torch.equal(*(optimise(one, one, bowl(aim), Plan(5)) for one in (start, last)))


@pytest.mark.parametrize("optimiser", ["lbfgs", "adam"])
def test_where_nothing_can_change_nothing_does(optimiser: str) -> None:
    start = tensor(1, 64)
    made = optimise(start, start, lambda size: lambda image: (0 * image.sum(), {}), Plan(20, optimiser=optimiser))
    assert torch.equal(made, start)


def test_ctrl_c_gives_the_best_so_far_at_full_size() -> None:
    aim, start = 0.5 * tensor(1, 64), torch.zeros(1, 3, 64, 64)

    def listen(what: str, done: int, total: int, image: Tensor | None = None) -> None:
        if done == 15:
            raise KeyboardInterrupt

    with listening(listen), pytest.raises(Stopped) as stopped:
        optimise(start, start, bowl(aim), Plan(100, levels=2))
    made = stopped.value.image
    assert made.shape == start.shape
    assert float((made - aim).square().mean()) < float(aim.square().mean())


# -- translating ------------------------------------------------------------------------------------------------------------


def test_style_comes_and_content_stays(gatys: Any) -> None:
    told: list[str] = []
    photo = picture(1)
    made = gatys.translate(photo, style=picture(2), iterations=25, progress=lambda what, *_: told.append(what))
    assert (made.size, made.mode) == (photo.size, "RGB")
    style = [float(line.split("style ")[1].split()[0]) for line in told]
    assert style[-1] < 0.5 * style[0]
    assert all(name in told[0] for name in ("content", "style", "total-variation"))


def test_faces_stay_themselves(gatys: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    with Image.open(SAMPLE) as sample:
        photo = sample.convert("RGB").crop((90, 0, 350, 260)).resize((96, 96), Image.Resampling.LANCZOS)
    (face,) = faces.find(read(photo).rgb)
    left, top = face.landmarks.amin(0).int().tolist()
    right, bottom = face.landmarks.amax(0).int().tolist()

    def off(made: Image.Image) -> tuple[float, float]:
        """How far the face is from the photograph, and all the rest."""
        away = (read(made).rgb - read(photo).rgb).abs().mean(0)
        inside = torch.zeros_like(away, dtype=torch.bool)
        inside[top:bottom, left:right] = True
        return float(away[inside].mean()), float(away[~inside].mean())

    plain, kept = (gatys.translate(photo, style=picture(2, 96, 96), iterations=20, faces=much) for much in (0, 1))
    assert (
        off(kept)[0] < 0.85 * off(plain)[0]
    )  # 0.65 to 0.8: rounding, which is each processor's own, grows in 20 iterations
    assert off(kept)[1] > 0.8 * off(plain)[1]
    assert gatys.translate(picture(1), style=picture(2), iterations=3).size == (64, 48)  # without a face as ever
    monkeypatch.setitem(sys.modules, "dlib", None)
    never, blind = (gatys.translate(photo, style=picture(2, 96, 96), iterations=2, faces=much) for much in (0, 1))
    assert np.array_equal(never, blind) and "faces are painted as the rest is" in caplog.text


def test_layers_near_faces_that_there_are_not() -> None:
    with pytest.raises(ConfigError, match="no layer conv3_1"):
        PictureOptimiser({"content": {"layers": ["conv2_1"]}}, last="conv2_1", near=["conv3_1"])


def test_seeds_and_starts(gatys: Any) -> None:
    photo, style, other = (picture(seed, 32, 40) for seed in (1, 2, 5))

    def draw(**controls: Any) -> np.ndarray:
        return np.asarray(gatys.translate(photo, style=style, iterations=2, **controls), float)

    assert np.array_equal(draw(noise=1, seed=3), draw(noise=1, seed=3))
    assert np.abs(draw(noise=1, seed=3) - draw(noise=1, seed=4)).mean() > 5
    assert np.abs(draw(start=other) - np.asarray(other, float)).mean() < np.abs(draw() - draw(start=other)).mean()


def test_several_styles_are_mixed(gatys: Any) -> None:
    photo = picture(1, 32, 40)
    red, blue = Image.new("RGB", (32, 32), (220, 20, 20)), Image.new("RGB", (32, 32), (20, 20, 220))

    def redness(**controls: Any) -> float:
        made = np.asarray(gatys.translate(photo, iterations=10, strength=20, **controls), float)
        return float((made[..., 0] - made[..., 2]).mean())

    values = [redness(style=[red, blue], blend=blend) for blend in ([1, 0], [3, 1], [1, 3], [0, 1])]
    assert values == sorted(values, reverse=True)
    assert values[0] == pytest.approx(redness(style=red), abs=1.5)


def test_with_a_mask_nothing_else_changes() -> None:
    model, photo = zoo.load("partstyle", device="cpu"), picture(1)
    mask = Image.new("L", photo.size)
    mask.paste(255, (0, 0, 24, 48))
    made = np.asarray(model.translate(photo, style=picture(2), mask=mask, iterations=8), float)
    change = np.abs(made - np.asarray(photo, float)).mean(-1)
    assert change[:, 28:].max() <= 1  # rounding
    assert change[:, :20].mean() > 5


def test_each_object_takes_its_own_style() -> None:
    model, photo = zoo.load("partstyle", device="cpu"), picture(1)
    left, right = Image.new("L", photo.size), Image.new("L", photo.size)
    left.paste(255, (0, 0, 28, 48))
    right.paste(255, (36, 0, 64, 48))
    red, blue = Image.new("RGB", (40, 40), (220, 20, 20)), Image.new("RGB", (40, 40), (20, 20, 220))
    made = model.translate(
        photo, style=[red, blue], object="left, right", mask=[left, right], iterations=12, strength=20
    )
    change = np.asarray(made, float) - np.asarray(photo, float)
    redness = change[..., 0] - change[..., 2]
    assert redness[:, :24].mean() > 10 > -10 > redness[:, 40:].mean()


def test_a_recipe_of_ones_own_and_weights_by_their_models_name(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("extends: gatys\ngenerator: {losses: {style: null, pixels: {name: total-variation, weight: 5}}}\n")
    told: list[str] = []
    model = zoo.load(path, weights="vgg19", device="cpu")
    model.translate(picture(1), style=picture(2), iterations=2, progress=lambda what, *_: told.append(what))
    assert "pixels" in told[0] and "style" not in told[0]
    with pytest.raises(UsageError, match="is a recipe, which has no weights"):
        zoo.load(path)
    path.write_text("extends: gatys\ngenerator: {losses: {cycle: {weight: 1}}}\n")
    with pytest.raises(ConfigError, match="loss 'cycle' needs reconstruction, which no picture has"):
        zoo.load(path, weights="vgg19")
    path.write_text("extends: gatys\ngenerator: {losses: {style: null, content: null, total-variation: {weight: 0}}}\n")
    with pytest.raises(ConfigError, match="no loss looks at the picture"):
        zoo.load(path, weights="vgg19")


@pytest.mark.parametrize(
    ("controls", "told"),
    [
        ({"object": "dgo"}, "dog"),
        ({"object": "dog,cat", "style": 3}, "2 objects and 3 styles"),
        ({"object": "dog,cat", "mask": 1}, "2 objects and 1 masks"),
        ({"style": 2, "blend": [1, 2, 3]}, "for 2 styles"),
        ({"style": 2, "blend": [0, 0]}, "for 2 styles"),
        ({"iterations": 0}, "whole number from 1"),
        ({"style": None}, "style is missing"),
    ],
)
def test_what_does_not_go_together(controls: dict[str, Any], told: str) -> None:
    many = {name: [picture(i) for i in range(controls[name])] for name in ("style", "mask") if controls.get(name)}
    model = zoo.load("partstyle", device="cpu")
    with pytest.raises(ControlError, match=told):
        model.translate("no such picture", **{"style": picture(9), **controls, **many})


def test_a_picture_that_does_not_fit_the_memory(gatys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_MEMORY", "10M")
    with pytest.raises(ImageError, match=r"64×48 pixels do not fit the memory.*a smaller size"):
        gatys.translate(picture(1), style=picture(2), iterations=1)


def test_vgg19_draws_nothing_itself() -> None:
    with pytest.raises(UsageError, match="vgg19 draws nothing itself"):
        zoo.load("vgg19")


def test_a_style_transfer_is_not_exported_or_trained(tmp_path: Path) -> None:
    training = [
        "train",
        "gatys",
        "--photos",
        str(tmp_path),
        "--drawings",
        f"ink={tmp_path}",
        "--out",
        str(tmp_path / "run"),
    ]
    for told, words in {
        "it optimises each picture": ["export", "gatys", "-o", str(tmp_path / "a.onnx")],
        "there is nothing to train": training,
    }.items():
        done = forks.run("-m", "zoo", *words)
        assert done.returncode == 2, done.stderr
        assert told in done.stderr and len(done.stderr.splitlines()) == 2


def test_previews_go_into_a_folder_of_their_own(tmp_path: Path) -> None:
    for i in (1, 2):
        (tmp_path / "in" / str(i)).mkdir(parents=True)
        picture(i, 32, 40).save(tmp_path / "in" / str(i) / "photo.png")
    picture(3, 32, 40).save(tmp_path / "style.png")

    def draw(source: str, out: str, previews: str) -> subprocess.CompletedProcess[str]:
        words = ["translate", "gatys", source, "-o", out, "--style", "style.png", "--iterations", "10"]
        return forks.run("-m", "zoo", *words, "--previews", previews, cwd=tmp_path)

    assert draw("in/1/photo.png", "out.png", "way").returncode == 0
    assert sorted(path.name for path in (tmp_path / "way").iterdir()) == [f"out-{i:02}.png" for i in range(1, 11)]
    again = draw("in/2/photo.png", "other.png", "way")
    assert again.returncode == 2 and "way is not empty" in again.stderr
    assert not (tmp_path / "other.png").exists()
    assert draw("in", "out", "both").returncode == 0
    names = {path.name for path in (tmp_path / "both").iterdir()}
    assert names == {f"{picture}-photo-{i:02}.png" for picture in (1, 2) for i in range(1, 11)}


@pytest.mark.slow
def test_ctrl_c_on_the_command_line_keeps_the_best_so_far(tmp_path: Path) -> None:
    picture(1, 40, 56).save(tmp_path / "photo.png")
    picture(2, 40, 56).save(tmp_path / "style.png")
    out, previews = tmp_path / "out.png", tmp_path / "way"
    words = ["translate", "gatys", "photo.png", "-o", str(out), "--style", "style.png", "--iterations", "300"]
    process = forks.start("-m", "zoo", *words, "--previews", previews, "--levels", "1", cwd=tmp_path)
    while not (previews.is_dir() and any(previews.glob("*.png"))):
        assert process.poll() is None, process.stderr
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0, process.stderr
    assert "this is the best so far" in process.stderr
    assert Image.open(out).size == (56, 40)
