"""What losses need and trainers do not give is computed once, only if somebody asks, and refused in time if it cannot be."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import leave
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from training import TINY, pictures, run, same

import zoo
from zoo import faces
from zoo.catalogue.host import host
from zoo.errors import ConfigError, NotFoundError, ZooError
from zoo.generator import build_generator, build_part, generator_of
from zoo.loss import Loss
from zoo.providers.faces import face_map, skin_map
from zoo.providers.pictures import Identity, Steadied
from zoo.recipe import load_recipe
from zoo.testing.face import frontal
from zoo.train.objective import Terms, build_losses, phases
from zoo.train.supply import supply
from zoo.train.takes import build_trainer
from zoo.trainer import Trainer
from zoo.vocabulary import WORDS, word
from zoo.weights.file import save_weights

PARTS = {kind: [part.name for part in host().parts() if part.kind == kind] for kind in ("trainer", "generator", "loss")}


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("data")
    return pictures(folder / "photos", 3), pictures(folder / "drawings", 3, seed=1)


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """A face in each photograph that is looked at, and what was looked at."""
    seen: list[Tensor] = []

    def find(image: Tensor, **_: Any) -> list[faces.Face]:
        seen.append(image)
        return [faces.Face((0.0, 0.0, 1.0, 1.0), frontal() * image.shape[-1])]

    monkeypatch.setattr(faces, "find", find)
    return seen


def trainer_of(recipe: str, *overrides: str) -> Trainer:
    return build_trainer(load_recipe(recipe, overrides, tiny=True))


def batch(n: int = 2) -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(0)
    image = torch.rand(2, n, 3, 32, 32, generator=rng) * 2 - 1
    made = {"source": image[0], "target": image[1], "blurred": image[1], "points": torch.full((n, 40, 2), 0.5)}
    return made | {"hand": torch.zeros(n).long(), "seed": torch.arange(n)}


def steps(recipe: str, *overrides: str) -> tuple[Trainer, dict[str, Terms], list[Mapping[str, Tensor]]]:
    """The trainer, its losses, and what a step of it yields."""
    settings = load_recipe(recipe, overrides, tiny=True)
    trainer = build_trainer(settings)
    losses = build_losses(settings, trainer)
    trainer.wanted = frozenset().union(*(terms.needs() for terms in losses.values()))
    return trainer, losses, list(phases(trainer, losses, batch()))


# -- what is there ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PARTS["trainer"])
def test_trainers_speak_the_vocabulary(name: str) -> None:
    kind = host().part("trainer", name)
    for names in kind.provides.values():
        assert all(word(one) for one in names)
    assert all(word(one) for one in kind.held())


@pytest.mark.parametrize("name", PARTS["generator"])
def test_generators_speak_the_vocabulary(name: str) -> None:
    kind = host().part("generator", name)
    assert all(word(one) for one in kind.makes | kind.can_make.keys())


@pytest.mark.parametrize("name", PARTS["loss"])
def test_losses_read_the_vocabulary(name: str) -> None:
    needs = host().part("loss", name).needs
    assert needs and needs <= WORDS.keys()


def test_every_provider_makes_a_word() -> None:
    made = {part.name.replace("-", "_") for part in host().parts() if part.kind == "provider"}
    assert made and made <= WORDS.keys()


# -- who is called ------------------------------------------------------------------------------------------------


def test_nothing_is_provided_that_nobody_asks_for() -> None:
    for recipe in ("cycleda", "cycleda-small", "animegan-landmark", "ganimation", "stargan", "facefusion", "dan-anime"):
        settings = load_recipe(recipe, tiny=True)
        losses = build_losses(settings, build_trainer(settings))
        assert not any(terms.providers or terms.held for terms in losses.values())
    step = batch()
    assert Terms().supplied(step) is step  # and the step is the trainer's own


def test_two_losses_look_for_a_face_once(looked: list[Tensor]) -> None:
    guided = ["losses.generator.guided-content.layers=[conv1_1]", "losses.generator.guided-style.layers=[conv1_1]"]
    trainer, losses, made = steps("cyclegan", *guided, "losses.generator.action-units.weight=2")
    assert [*losses["generator"].providers] == ["landmarks", "object", "read", "units"]
    assert not losses["discriminator"].providers
    total, values = losses["generator"](made[0])
    assert len(looked) == 2  # photographs
    assert {"guided-content", "guided-style", "action-units", "cycle"} <= values.keys()
    total.backward()
    assert all(p.grad is not None for p in trainer.networks["draw"].parameters())


def test_what_a_photograph_shows_is_found_once_a_step(looked: list[Tensor]) -> None:
    skin = ["losses.generator.skin.weight=1", "losses.warm-up.skin.weight=1", "trainer.warm_up=0"]
    _, losses, made = steps("animegan", *skin)
    for phase in ("warm-up", "generator"):
        losses[phase].supplied(made[1] | {"source": made[0].get("source", made[1]["source"])})
    assert len(looked) == 2
    losses["generator"].supplied(made[1] | {"source": made[1]["source"].clone()})  # the next step's
    assert len(looked) == 4


def test_units_are_read_where_the_photograph_has_its_face(looked: list[Tensor]) -> None:
    _, losses, made = steps("cyclegan", "losses.generator={action-units: {}}")
    kept = losses["generator"].supplied({**made[0], "output": made[0]["source"]})
    assert torch.equal(kept["read"].clamp(0, 1), kept["units"]) and kept["units"].shape == (2, 17)
    assert losses["generator"].terms["action-units"][1](kept) < 0.01


def test_a_photograph_without_a_face_counts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faces, "find", lambda image, **_: [])
    for name in ("action-units", "expression-class"):
        trainer, losses, made = steps("cyclegan", f"losses.generator={{{name}: {{}}, cycle: {{}}}}")
        total, values = losses["generator"](made[0])
        assert values[name] == 0
        total.backward()
        assert all(bool(p.grad.isfinite().all()) for p in trainer.networks["draw"].parameters() if p.grad is not None)


def test_identity_is_what_the_generator_makes_of_the_target() -> None:
    trainer, losses, made = steps("animegan", "trainer.warm_up=0", "losses.generator={identity: {}}")
    assert [*losses["generator"].providers] == ["identity"] and made[0] == {}
    step = losses["generator"].supplied(made[1])
    with torch.no_grad():
        assert torch.allclose(step["identity"], trainer.networks["translate"](batch()["target"]), atol=1e-6)
    loss = losses["generator"].terms["identity"][1](step)
    assert float(loss.detach()) == pytest.approx(float((step["identity"] - step["target"]).abs().mean().detach()))


class Marked(nn.Module):
    """Hands pictures on, with a dark line at one place of every one."""

    def forward(self, image: Tensor) -> Tensor:
        marked = image.clone()
        marked[:, :, :, 20:22] = -1
        return marked


@pytest.mark.parametrize("views", [3, 4])
def test_what_stands_elsewhere_in_each_view_is_gone_and_what_moves_along_stays(views: int) -> None:
    chosen = f"providers={{steadied: {{views: {views}}}}}"
    loss = "losses.generator={geometry-consistency: {}}"
    trainer, losses, _ = steps("animegan", "trainer.warm_up=0", loss, chosen)
    trainer.networks["translate"] = Marked()
    smooth = F.interpolate(torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(3)), (96, 96), mode="bicubic")
    step = {"source": smooth.clamp(0, 1), "seed": torch.arange(2)}
    made = losses["generator"].supplied({**step, "output": Marked()(step["source"])})
    unmarked = (made["steadied"] - step["source"])[:, :, 16:80, 32:64]  # in the mirror, too
    assert float(unmarked.abs().max()) < 0.01
    term = losses["generator"].terms["geometry-consistency"][1]
    steady, marked = (float(term({**made, "output": out})) for out in (step["source"], made["output"]))
    assert steady < marked / 2
    again = losses["generator"].supplied({**step, "output": made["output"]})
    assert torch.equal(again["steadied"], made["steadied"])


def test_a_teacher_is_asked_and_stays_as_it_is(tmp_path: Path) -> None:
    recipe = load_recipe("animegan", tiny=True)
    torch.manual_seed(5)
    save_weights(tmp_path / "teacher.safetensors", build_generator(recipe.network()).state_dict(), recipe.network())
    loss = "losses.generator={geometry-consistency: {perceptual: 0}}"
    chosen = f"providers={{steadied: {{teacher: {tmp_path / 'teacher.safetensors'}, views: 3}}}}"
    _, losses, made = steps("animegan", "trainer.warm_up=0", loss, chosen)
    step = losses["generator"].supplied(made[1])
    provider = losses["generator"].providers["steadied"]
    assert not any(p.requires_grad for p in provider.teacher.parameters())
    term = losses["generator"].terms["geometry-consistency"][1]
    away = (step["output"] - step["steadied"]).abs().mean()
    assert float(term(step).detach()) == pytest.approx(float(away.detach()))
    own, _, _ = steps("animegan", "trainer.warm_up=0", loss)
    own.networks["translate"].load_state_dict(generator_of(tmp_path / "teacher.safetensors").state_dict())
    provider.teacher, provider.trainer = None, own  # the same network, learning
    assert torch.allclose(provider({**step, **batch()}), step["steadied"], atol=1e-5)
    steps("animegan", loss, "providers={steadied: {teacher: animegan-landmark}}")
    with pytest.raises(ZooError, match="vgg19 makes no pictures"):
        steps("animegan", loss, "providers={steadied: {teacher: vgg19}}")
    with pytest.raises(ZooError, match="there is no model 'animegan-landmarc'"):
        steps("animegan", loss, "providers={steadied: {teacher: animegan-landmarc}}")
    with pytest.raises(ZooError, match=r"none\.safetensors"):
        steps("animegan", loss, "providers={steadied: {teacher: none.safetensors}}")


def test_a_generator_of_more_than_pictures_is_not_steadied() -> None:
    with pytest.raises(ConfigError, match="steadied"):
        steps("facefusion", "losses.fusion={geometry-consistency: {}}")
    assert "more than a picture" in Steadied.misfit(host().part("trainer", "fusion"), "fusion")
    with pytest.raises(ConfigError, match="perceptual is 0 or more"):
        steps("animegan", "losses.generator={geometry-consistency: {perceptual: -1}}")
    with pytest.raises(ConfigError, match="views is 1 or more"):
        steps("animegan", "losses.generator={geometry-consistency: {}}", "providers={steadied: {views: 0}}")


def test_of_one_domain_the_photographs_are_the_target() -> None:
    kind = host().part("trainer", "expression")
    made = supply({"target", "identity"}, kind.provides["generator"], kind, "generator")
    assert sorted(made.providers) == ["identity", "target"] and not made.missing
    both = host().part("trainer", "cycle")  # has drawings: its own are meant
    made = supply({"target"}, frozenset(), both, "generator")
    assert made.providers == [] and made.held == {"target"}


def test_the_discriminator_is_asked_about_more_than_the_step_shows() -> None:
    critic = "losses.discriminator={edge-critic: {objective: least-squares, grey: 1.0}}"
    trainer, losses, made = steps("cyclegan", critic)
    assert [*losses["discriminator"].providers] == ["blurred", "blurred_logits", "grey_target", "grey_logits"]
    assert "target" in made[1] and "target" not in trainer.provides["discriminator"]
    step = losses["discriminator"].supplied(made[1])
    with torch.no_grad():
        judged = trainer.networks["judge_drawing"](step["grey_target"])
    assert torch.allclose(step["grey_logits"], judged, atol=1e-5)


def test_a_run_with_providers_goes_on_as_if_it_had_not_stopped(
    sides: tuple[Path, Path], tmp_path: Path, looked: list[Tensor]
) -> None:
    more = [
        "losses.generator.action-units.weight=1",
        "losses.discriminator.gradient-penalty.weight=1",
        "schedule.decay=0",
    ]
    run(tmp_path / "whole", *sides, *more, steps=4)
    for number in (2, 4):
        run(tmp_path / "parts", *sides, *more, steps=number)
    assert same(tmp_path / "whole", tmp_path / "parts")


# -- the recipe's choice ------------------------------------------------------------------------------------------


def test_a_recipe_gives_a_provider_options(tmp_path: Path) -> None:
    asks = ["losses.generator={action-units: {}}", f"providers={{read: {{meter: {tmp_path}/none.safetensors}}}}"]
    with pytest.raises(NotFoundError, match=r"none\.safetensors"):
        steps("cyclegan", *asks)
    with pytest.raises(ConfigError, match="provider 'read' has no option 'metre'"):
        steps("cyclegan", asks[0], "providers={read: {metre: x}}")
    with pytest.raises(NotFoundError, match="brings the provider 'reed'"):
        steps("cyclegan", "providers={reed: {}}")


# -- what cannot be -----------------------------------------------------------------------------------------------


def test_a_loss_that_nothing_can_feed_says_what_is_missing() -> None:
    with pytest.raises(ConfigError, match="needs reconstruction, which the trainer 'one-way'") as caught:
        steps("cyclegan-small", "losses.generator.cycle={weight: 1}")
    assert "trainers that have it: cycle (generator)" in caught.value.hint
    assert "the source again" in caught.value.hint
    with pytest.raises(ConfigError, match="needs attention") as caught:
        steps("cyclegan", "losses.generator.attention-area={weight: 1}")
    assert "resnet with --set generator.attention=true" in caught.value.hint
    with pytest.raises(ConfigError, match="needs read") as caught:
        steps("cyclegan", "losses.discriminator.action-units={weight: 1}")
    assert "made of output" in caught.value.hint
    with pytest.raises(
        ConfigError, match="needs redrawn, which"
    ) as caught:  # its provider wants what a generator makes
        steps("animegan", "losses.generator.redraw={weight: 1}")
    assert "generators that have it: cartoon-fine" in caught.value.hint and "coarse" in caught.value.hint


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("generator={name: stargan, width: 4}", "needs units, which the trainer 'cycle' does not give it"),
        ("generator={name: dan}", "the generator 'dan' learns 'points'"),
        ("discriminator={name: fusion, width: 4}", "judges pictures of 128×128, and data.size is 32×32"),
    ],
)
def test_networks_that_do_not_fit_are_one_line(
    override: str, told: str, sides: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    part = override.partition("=")[0]
    words = [word for value in TINY if not value.startswith(f"{part}.") for word in ("--set", value)]
    folders = ["--photos", str(sides[0]), "--drawings", str(sides[1]), "--out", str(tmp_path / "run")]
    code, _, error = leave(capsys, "train", "cycleda", *folders, *words, "--set", f"{part}=null", "--set", override)
    lines = [line for line in error.splitlines() if line.startswith(("zoo:", "hint:"))]
    assert code == 2 and told in lines[0] and len(lines) == 2, error
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_a_provider_that_fits_no_phase_says_why() -> None:
    class Silent(Trainer):
        exported, phases, provides = "g", {"g": ("g",), "d": ("d",)}, {"g": frozenset(), "d": frozenset()}

    made = supply({"blurred_logits"}, frozenset(), Silent, "d")
    assert "judges no pictures but those of its step" in made.missing["blurred_logits"]
    assert Identity.misfit(Silent, "d") and not Identity.misfit(Silent, "g")


# -- single providers ---------------------------------------------------------------------------------------------


def test_the_face_is_where_its_landmarks_are() -> None:
    seen = face_map(frontal(), 64, 48)
    assert seen.shape == (1, 64, 48) and seen[0, 32, 24] == 1 and seen[0, 0, 0] == 0 and seen[0, 63, 47] == 0
    assert 0.2 < float(seen.mean()) < 0.8
    assert bool((face_map(torch.full((68, 2), torch.nan), 4, 6) == 1).all())
    skin = skin_map(frontal(), 64, 64)[0]
    for x, y in (frontal() * 64).long().tolist():  # no landmark lies on smooth skin
        assert skin[min(y, 63), min(x, 63)] < 0.5
    assert skin[38, 18] == skin[38, 45] == 1 and bool((skin <= face_map(frontal(), 64, 64)[0]).all())
    assert not skin_map(torch.full((68, 2), torch.nan), 4, 6).any()


def test_a_resnet_keeps_the_photograph_where_its_attention_is() -> None:
    network = build_part("generator", {"name": "resnet", "width": 4, "blocks": 1, "attention": True})
    made = network.parts(batch()["source"])
    mixed = made["attention"] * batch()["source"] + (1 - made["attention"]) * made["colour"]
    assert torch.allclose(made["image"], mixed, atol=1e-6) and network.makes == made.keys() - {"image"}
    plain = build_part("generator", {"name": "resnet", "width": 4, "blocks": 1})
    assert plain.makes == plain.parts(batch()["source"]).keys() - {"image"} == {"features"}


def test_a_loss_of_tomorrow_has_what_it_needs() -> None:
    """Nobody has met it, and it works in every trainer of pictures."""

    class Tomorrow(Loss):
        needs = frozenset({"output", "identity", "landmarks", "object", "units", "target"})

    for name in PARTS["trainer"]:
        kind = host().part("trainer", name)
        if kind.teaches == "image":
            phase = [one for one in kind.phases if kind.exported in kind.phases[one]][-1]
            assert not supply(Tomorrow.needs, kind.provides[phase], kind, phase).missing


@pytest.mark.slow
def test_style_transfer_finds_faces_too(tmp_path: Path, looked: list[Tensor]) -> None:
    """It is no training, and what can be found in the photograph is found there."""
    path = tmp_path / "mine.yaml"
    path.write_text("extends: gatys\ngenerator: {losses: {style: null, content: null, skin: {weight: 1}}}\n")
    picture = Image.effect_noise((64, 64), 60).convert("RGB")
    calm = zoo.load(path, weights="vgg19", device="cpu").translate(picture, style=picture, iterations=5)
    assert looked and calm.size == picture.size
    skin = skin_map(frontal(), 64, 64)[0].numpy() > 0.9
    before, after = (np.asarray(one.convert("L"), dtype=float) for one in (picture, calm))
    assert after[skin].std() < 0.9 * before[skin].std()
    path.write_text("extends: gatys\ngenerator: {losses: {action-units: {weight: 1}}}\n")
    with pytest.raises(ConfigError, match="loss 'action-units' needs read, which no picture has"):
        zoo.load(path, weights="vgg19")
