"""Any loss in any trainer: what losses need, what generators make and trainers pass on, and who breaks a promise."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import forget
from faulty import Wrong, install
from training import pictures, run

from zoo.errors import ConfigError, PluginError
from zoo.generator import Generator
from zoo.trainer import Trainer, parts_of

GENERATOR = """
import torch
from torch import nn
from zoo import Generator, hookimpl

class Masked(Generator):
    \"\"\"As the picture is, but for a colour where attention says so; without ``mask`` no attention.\"\"\"
    makes = frozenset({"attention", "colour"})

    def __init__(self, width=4, blocks=1, upsample="", block=None, mask=True, lie=False):
        super().__init__()
        self.look, self.paint, self.lie = nn.Conv2d(3, 1, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1), lie
        if not mask:
            self.makes = frozenset()

    def parts(self, image):
        mask, colour = torch.sigmoid(self.look(image)), torch.tanh(self.paint(image))
        made = {"image": mask * colour + (1 - mask) * image, "attention": mask, "colour": colour}
        return {"image": made["image"]} if self.lie else made

@hookimpl
def zoo_register(register):
    register.generator("masked", Masked)
"""
LOSS = """
from zoo import Loss, hookimpl

class Sparse(Loss):
    \"\"\"Little attention, there and on the way back.\"\"\"
    needs = frozenset({"attention"})

    def forward(self, step):
        return sum(step[name].mean() for name in ("attention", "reverse_attention") if name in step)

class Pale(Loss):
    needs = frozenset({"reverse_colour"})

    def forward(self, step):
        return step["reverse_colour"].square().mean()

@hookimpl
def zoo_register(register):
    register.loss("sparse", Sparse)
    register.loss("pale", Pale)
"""
TRAINERS = """
from torch import nn
from zoo import Trainer, hookimpl
from zoo.generator import build_generator

class Steps(Trainer):
    exported, phases = "draw", {"first": ("draw",), "second": ("draw",)}
    provides = {"first": frozenset({"source", "reconstruction"}), "second": frozenset({"source", "reconstruction"})}

    def __init__(self, recipe, how="right"):
        self.networks = nn.ModuleDict({"draw": build_generator({"generator": recipe.generator})})
        self.memory = nn.ModuleDict()
        self.how = how
        self.ended = 0

    def step(self, batch):
        return dict(batch) if self.how == "plain" else self._step(batch)

    def _step(self, batch):
        times = {"few": 1, "none": 0, "many": 3}.get(self.how, 2)
        for i in range(times):
            made = {"source": batch["source"], "reconstruction": self.networks["draw"](batch["source"])}
            yield {"source": made["source"]} if self.how == "silent" and i else made
        self.ended += 1

    def previews(self, batch, exported):
        return {"photo": batch["source"]}

@hookimpl
def zoo_register(register):
    register.trainer("steps", Steps)
"""
PARTS = {"gen": (GENERATOR, "generator: [masked]"), "loss": (LOSS, "loss: [sparse, pale]"), "train": (TRAINERS, "trainer: [steps]")}  # fmt: skip
MASKED = "generator.name=masked"


@pytest.fixture
def sides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, Path]]:
    """Three foreign plugins, and folders of pictures."""
    for name, (code, parts) in PARTS.items():
        install(tmp_path / "site", name, Wrong("", code, f"parts: {{{parts}}}"))
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    forget()
    yield pictures(tmp_path / "photos", 2), pictures(tmp_path / "drawings", 2, seed=1)
    for name in [name for name in sys.modules if name.partition(".")[0].removeprefix("zoo_") in PARTS]:
        del sys.modules[name]


def test_a_foreign_loss_reads_what_a_foreign_generator_makes(tmp_path: Path, sides: tuple[Path, Path]) -> None:
    out = tmp_path / "run"
    terms = ["losses.generator.sparse={weight: 100}", "losses.generator.pale={weight: 1}"]
    run(out, *sides, MASKED, *terms, "optimiser.lr=0.02", steps=10, seed=1)
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    first, last = (line["losses"]["generator.sparse"] for line in (lines[0], lines[-1]))
    assert 0 < last < first < 2  # both ways are in it, and it is trained


@pytest.mark.parametrize(
    ("generator", "hint"),
    [
        (["generator.width=4"], "generators that have it: masked"),  # another generator
        ([MASKED, "generator.mask=false"], "generators that have it: masked"),  # this one, but not as it is configured
    ],
)
def test_what_nobody_makes_is_refused_before_the_first_step(
    tmp_path: Path, sides: tuple[Path, Path], generator: list[str], hint: str
) -> None:
    with pytest.raises(ConfigError, match=r"loss 'sparse' needs attention, which the trainer 'cycle' with") as caught:
        run(tmp_path / "run", *sides, *generator, "losses.generator.sparse={}", steps=1)
    assert caught.value.hint.startswith(hint) and "stargan" not in caught.value.hint  # which does not fit the trainer
    with pytest.raises(ConfigError, match="loss 'sparse' needs attention") as caught:
        run(tmp_path / "run", *sides, MASKED, "losses.discriminator.sparse={}", steps=1)
    assert caught.value.hint.startswith("no installed trainer, generator or provider has it")  # not in this phase
    assert not (tmp_path / "run").exists()


def test_a_generator_that_lies(tmp_path: Path, sides: tuple[Path, Path]) -> None:
    with pytest.raises(PluginError, match="CycleTrainer promises attention in its phase generator, and does not yield"):
        run(tmp_path / "run", *sides, MASKED, "generator.lie=true", "losses.generator.sparse={}", steps=1)


STEPS = [
    "discriminator=null",
    "losses=null",
    "losses={first: {cycle: {}}, second: {cycle: {}}}",
]


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("plain", "has the phases first, second, but its step does not yield"),
        ("none", "has the phases first, second, but a step yields 0 of 2 times"),
        ("few", "has the phases first, second, but a step yields 1 of 2 times"),
        ("many", "has the phases first, second, but a step yields more than 2 times"),
        ("silent", "promises reconstruction in its phase second, and does not yield it"),
        ("right", ""),
    ],
)
def test_a_trainer_yields_once_a_phase(tmp_path: Path, sides: tuple[Path, Path], how: str, why: str) -> None:
    steps = [f"trainer={{name: steps, pool: null, how: {how}}}", *STEPS]
    if not why:
        assert run(tmp_path / "run", *sides, *steps, steps=2) == ""
        return
    with pytest.raises(PluginError, match=f"^the trainer Steps {why} ") as caught:
        run(tmp_path / "run", *sides, *steps, steps=2)
    assert caught.value.exit_code == 2 and "author" in caught.value.hint


def test_names_of_parts() -> None:
    class Some(Generator):
        makes = frozenset({"latent"})

    class One(Trainer):
        phases = {"g": ("net",), "d": ()}  # noqa: RUF012
        provides = {"g": frozenset({"output"}), "d": frozenset({"logits"})}  # noqa: RUF012
        passes_on = {"g": {"": "net", "back_": "net"}}  # noqa: RUF012
        networks = {"net": Some()}  # type: ignore[assignment]  # noqa: RUF012

    assert One().provided("g") == {"output", "latent", "back_latent"} and One().provided("d") == {"logits"}
    assert parts_of({"image": 1, "latent": 2}, "back_") == {"back_latent": 2}  # type: ignore[dict-item]
