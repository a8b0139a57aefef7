"""A step may leave a phase out; a trainer may learn from photographs alone. A plugin on disk has such trainers."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import forget, leave
from installed import announce
from torch import Tensor
from training import arguments, pictures, same, state

from zoo.errors import ConfigError
from zoo.train.engine import Options
from zoo.train.run import train

CODE = """
import torch
from torch import nn
from zoo.blocks.patchgan import PatchGAN
from zoo.generator import Generator, SizeRule
from zoo.catalogue.hooks import hookimpl
from zoo.trainer import Trainer

class Paint(Generator):
    size = SizeRule()

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 3, padding=1)

    def parts(self, image):
        return {"image": torch.tanh(self.layer(image))}

class Count(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

class Pausing(Trainer):
    '''Paints, but not in every ``pause``-th step; what judges learns in all of them.'''

    exported = "paint"
    domains = 1
    phases = {"painter": ("paint",), "judge": ("judge",)}
    provides = {"painter": frozenset({"output", "logits"}), "judge": frozenset({"real_logits", "fake_logits"})}

    def __init__(self, recipe, pause=2):
        self.networks = nn.ModuleDict({"paint": Paint(), "judge": PatchGAN(width=4, layers=1)})
        self.memory = nn.ModuleDict({"count": Count()})
        self.pause = pause

    def step(self, batch):
        steps = self.memory["count"].steps
        output = self.networks["paint"](batch["source"])
        if int(steps + 1) % self.pause:
            yield {"output": output, "logits": self.networks["judge"](output)}
        else:
            yield {}
        judge = self.networks["judge"]
        yield {"real_logits": judge(batch["source"]), "fake_logits": judge(output.detach())}
        steps += 1

    def previews(self, batch, exported):
        return {"photo": batch["source"], "painted": exported(batch["source"])}

    @classmethod
    def pictures(cls, photos, drawings, data, seed, console=None):
        from zoo.train.data import Portraits

        assert not drawings
        return Portraits(photos, [("photos", photos[0])], data, seed, console)

class Negligent(Pausing):
    '''Says nothing of one of the names that a loss needs.'''

    def step(self, batch):
        output = self.networks["paint"](batch["source"])
        yield {"output": output}
        yield {}

class Watching(Pausing):
    '''Has an eye on the light, and on the time.'''

    def step(self, batch):
        yield from super().step(batch)
        self.watched = {"light": batch["source"].mean(), "time": self.memory["count"].steps}

@hookimpl
def zoo_register(register):
    register.generator("paint", Paint)
    register.trainer("watching", Watching)
    register.trainer("pausing", Pausing)
    register.trainer("negligent", Negligent)
"""
MANIFEST = "parts: {generator: [paint], trainer: [pausing, negligent, watching]}\n"
RECIPE = """
generator: {name: paint}
trainer: {name: pausing}
losses:
  painter: {adversarial: {weight: 1.0}, total-variation: {weight: 1.0}}
  judge: {critic: {weight: 1.0}}
optimiser: {lr: 0.01}
schedule: {epochs: 1, decay: 0}
data: {size: [32, 32], batch: 2}
"""
PAINTER, JUDGE = {"painter.adversarial", "painter.total-variation"}, {"judge.critic"}


@pytest.fixture(autouse=True)
def plugin(alone: None, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    site = tmp_path_factory.mktemp("site")
    package = site / "zoo_pausing"
    (package / "recipes").mkdir(parents=True)
    files = {"__init__.py": "", "plugin.py": CODE, "zoo.yaml": MANIFEST, "recipes/pausing.yaml": RECIPE}
    for name, text in files.items():
        (package / name).write_text(text)
    announce(site, "pausing")
    monkeypatch.syspath_prepend(str(site))
    forget()
    yield
    for name in ("zoo_pausing", "zoo_pausing.plugin"):
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pictures(tmp_path_factory.mktemp("data") / "photos", 3)


def run(out: Path, photos: Path, *overrides: str, **options: Any) -> list[dict[str, float]]:
    """A run of the recipe -> the losses of each line of its log."""
    settings: dict[str, Any] = {"device": "cpu", "log_every": 1, **options}
    train("pausing", [photos], [], Options(out=out, **settings), overrides=overrides)
    return [json.loads(line)["losses"] for line in (out / "log.jsonl").read_text().splitlines()]


def of(tensors: dict[str, Tensor], *marks: str) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if all(mark in name for mark in marks)}


def alike(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    assert one and one.keys() == other.keys()
    return all(torch.equal(one[name], other[name]) for name in one)


def test_a_phase_that_is_left_out_updates_nothing(tmp_path: Path, photos: Path) -> None:
    out, states = tmp_path / "run", []
    for steps in (1, 2, 3):
        run(out, photos, steps=steps)
        states.append(state(out))
    first, second, third = states
    assert alike(of(first, "networks/paint"), of(second, "networks/paint"))
    assert alike(of(first, "optimiser", "painter"), of(second, "optimiser", "painter"))  # nor what Adam remembers
    assert not alike(of(first, "networks/judge"), of(second, "networks/judge"))
    assert not alike(of(second, "networks/paint"), of(third, "networks/paint"))


def test_the_log_has_means_over_the_steps_that_had_a_loss(tmp_path: Path, photos: Path) -> None:
    each = run(tmp_path / "each", photos, steps=6)
    assert [losses.keys() for losses in each] == [JUDGE | PAINTER, JUDGE] * 3
    together = run(tmp_path / "together", photos, steps=6, log_every=6)
    assert len(together) == 1
    for name in PAINTER:
        assert together[0][name] == pytest.approx(sum(each[i][name] for i in (0, 2, 4)) / 3, abs=2e-6)
    assert together[0]["judge.critic"] == pytest.approx(sum(losses["judge.critic"] for losses in each) / 6, abs=2e-6)


def test_going_on_is_exact_all_the_same(tmp_path: Path, photos: Path) -> None:
    parts, whole = tmp_path / "parts", tmp_path / "whole"
    run(parts, photos, steps=3)
    run(parts, photos, steps=8)
    assert run(whole, photos, steps=8) == [json.loads(line)["losses"] for line in (parts / "log.jsonl").open()]
    assert same(parts, whole)


def test_means_go_on_where_they_were(tmp_path: Path, photos: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    lines = run(whole, photos, steps=8, save_every=3, log_every=4)
    shutil.copytree(whole, broken)
    (broken / "checkpoints" / "step-00000008.safetensors").write_bytes(b"")  # the one before has sums of 5 and 6
    assert run(broken, photos, steps=8, save_every=3, log_every=4) == lines and same(whole, broken)


def test_accumulated_batches_may_pause_too(tmp_path: Path, photos: Path) -> None:
    losses = run(tmp_path / "run", photos, "trainer.pause=100", steps=2, accumulate=2)
    assert [one.keys() for one in losses] == [JUDGE | PAINTER] * 2


def test_what_is_yielded_has_to_be_whole(tmp_path: Path, photos: Path) -> None:
    with pytest.raises(Exception, match=r"promises logits in its phase painter, and does not yield it"):
        run(tmp_path / "run", photos, "trainer.name=negligent", steps=1)


# -- the rate of a phase ------------------------------------------------------------------------------------------------


def test_a_phase_may_have_a_rate_of_its_own(tmp_path: Path, photos: Path) -> None:
    full, half = tmp_path / "full", tmp_path / "half"
    run(full, photos, steps=1)
    run(half, photos, "optimiser.rates.painter=0.5", steps=1)
    one, other = state(full), state(half)
    assert alike(of(one, "networks/judge"), of(other, "networks/judge"))
    for name, tensor in of(one, "networks/paint").items():  # Adam's first step is the rate, up or down
        off = (tensor - other[name]).abs()
        assert torch.allclose(off, torch.full_like(off, 0.005), rtol=1e-2)


def test_going_on_keeps_the_rates(tmp_path: Path, photos: Path) -> None:
    parts, whole, rates = tmp_path / "parts", tmp_path / "whole", "optimiser.rates={painter: 0.5, judge: 2}"
    run(parts, photos, rates, steps=3)
    run(parts, photos, rates, steps=6)
    run(whole, photos, rates, steps=6)
    assert same(parts, whole)


@pytest.mark.parametrize(
    ("rates", "told"),
    [
        ("{nobody: 2}", "optimiser.rates.nobody is not a phase of the trainer 'pausing'"),
        ("{painter: 0}", "optimiser.rates.painter"),
        ("{painter: .inf}", "optimiser.rates.painter"),
    ],
)
def test_a_rate_that_cannot_be(tmp_path: Path, photos: Path, rates: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        run(tmp_path / "run", photos, f"optimiser.rates={rates}", steps=1)
    assert not (tmp_path / "run").exists()


# -- what is watched beside the losses ----------------------------------------------------------------------------------


def test_what_is_watched_is_logged_and_changes_nothing(tmp_path: Path, photos: Path) -> None:
    watched = run(tmp_path / "watched", photos, "trainer.name=watching", steps=4)
    plain = run(tmp_path / "plain", photos, steps=4)
    assert same(tmp_path / "watched", tmp_path / "plain")
    assert [losses.pop("watch.time") for losses in watched] == [1, 2, 3, 4]
    assert all(abs(losses.pop("watch.light")) < 1 for losses in watched)
    assert watched == plain


def test_what_is_watched_is_a_mean(tmp_path: Path, photos: Path) -> None:
    parts = run(tmp_path / "parts", photos, "trainer.name=watching", steps=2, accumulate=2)
    assert [losses["watch.time"] for losses in parts] == [1.5, 3.5]
    lines = run(tmp_path / "lines", photos, "trainer.name=watching", steps=4, log_every=4)
    assert [losses["watch.time"] for losses in lines] == [2.5]


# -- one domain or two --------------------------------------------------------------------------------------------------


def test_a_trainer_of_photographs_takes_no_drawings(
    tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("train", "pausing", "--photos", photos, "--out", tmp_path / "run", "--device", "cpu", "--steps", "1")
    code, _, told = leave(capsys, *words, "--drawings", photos)
    assert code == 2 and told.splitlines() == [
        "zoo: recipe 'pausing' learns from photographs alone",
        "hint: leave out --drawings",
    ]
    assert not (tmp_path / "run").exists()
    assert leave(capsys, *words)[0] == 0
    assert (tmp_path / "run" / "log.jsonl").exists()


def test_a_trainer_of_two_domains_wants_drawings(
    tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, *words = arguments(tmp_path / "run", photos, photos, "--steps", "1")
    at = words.index("--drawings")
    code, _, told = leave(capsys, *words[:at], *words[at + 2 :])
    assert code == 2 and told.splitlines() == [
        "zoo: recipe 'cycleda' learns from photographs and drawings",
        "hint: give --drawings, too",
    ]
    assert not (tmp_path / "run").exists()
