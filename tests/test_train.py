"""Training runs: exact resume, several processes, faults, reports."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import socket
import threading
import time
from pathlib import Path
from typing import Any

import forks
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file
from training import EVEN, RICH, TINY, arguments, call, distance, environment, pictures, run, same, state

from zoo.errors import ConfigError, IntegrityError, NotFoundError, UsageError, ZooError
from zoo.recipe import Recipe
from zoo.train import checkpoint
from zoo.train.engine import Options
from zoo.train.folder import Diverged, claimed, settings
from zoo.train.gradients import shorten
from zoo.train.run import train

# Attention over four channels is near to a choice, which rounding may tip: no network to compare within float error.
STEADY = (*RICH, EVEN, "generator.block=squeeze-excitation")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pictures(tmp_path_factory.mktemp("data") / "photos", 5, seed=1)


@pytest.fixture(scope="module")
def drawings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pictures(tmp_path_factory.mktemp("data") / "drawings", 4, seed=2)


def lines(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


@pytest.fixture
def recipe_of_colours(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text("extends: cycleda\ncoloured: {ema: 0.5}\n")
    return path


# -- going on ---------------------------------------------------------------------------------------------------------


def test_six_steps_are_three_and_three_of_a_new_process(tmp_path: Path, photos: Path, drawings: Path) -> None:
    parts = tmp_path / "parts"
    run(parts, photos, drawings, *RICH, EVEN, steps=3, seed=1)
    first = state(parts)
    assert int(first["memory/drawings.count"]) == 2  # full: what follows swaps
    said = call(arguments(parts, photos, drawings, "--steps", "6", "--seed", "1"))
    assert "going on at step 3" in said
    run(tmp_path / "whole", photos, drawings, *RICH, EVEN, steps=6, seed=1)
    assert same(parts, tmp_path / "whole")
    assert not torch.equal(first["memory/drawings.pictures"], state(parts)["memory/drawings.pictures"])
    assert [line["step"] for line in lines(parts)] == [1, 2, 3, 4, 5, 6]
    assert [line["losses"] for line in lines(parts)] == [line["losses"] for line in lines(tmp_path / "whole")]


def test_a_damaged_newest_checkpoint_costs_its_steps_only(
    tmp_path: Path, photos: Path, drawings: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run(whole, photos, drawings, *RICH, steps=6, save_every=3)  # the rate falls: the length of the run matters
    shutil.copytree(whole, broken)
    newest = broken / "checkpoints" / "step-00000006.safetensors"
    newest.write_bytes(newest.read_bytes()[:-100])
    run(broken, photos, drawings, *RICH, steps=6, save_every=3)
    assert "step-00000006.safetensors is not a whole checkpoint" in caplog.text
    assert same(whole, broken)
    assert [line["losses"] for line in lines(whole)] == [line["losses"] for line in lines(broken)]
    for path in (broken / "checkpoints").iterdir():
        path.write_bytes(b"")
    with pytest.raises(IntegrityError, match=r"no checkpoint in .* is whole"):
        run(broken, photos, drawings, *RICH, steps=6)


def test_a_run_in_a_thread_leaves_signals_alone(tmp_path: Path, photos: Path, drawings: Path) -> None:
    before, ended = signal.getsignal(signal.SIGINT), []
    thread = threading.Thread(target=lambda: ended.append(run(tmp_path / "run", photos, drawings, steps=1)))
    thread.start()
    thread.join()
    assert ended == [""] and len(lines(tmp_path / "run")) == 1
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(
    ("number", "code", "workers", "group"),
    [
        (signal.SIGTERM, 143, 0, False),
        pytest.param(signal.SIGINT, 130, 0, False, marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, 130, 2, True, marks=pytest.mark.slow),  # Ctrl-C reaches the workers, too
        pytest.param(signal.SIGTERM, 143, 2, True, marks=pytest.mark.slow),
    ],
)
def test_a_signal_saves_and_stops(
    tmp_path: Path, photos: Path, drawings: Path, number: signal.Signals, code: int, workers: int, group: bool
) -> None:
    out = tmp_path / "run"
    words = arguments(out, photos, drawings, "--steps", "100000", "--workers", str(workers))
    process = forks.start("-m", *words, env=environment())
    wait_for_steps(out, 2, process)
    (os.killpg if group else os.kill)(process.pid, number)
    assert process.wait(60) == code
    said = process.stderr
    assert f"stopped by {number.name}" in said and "the same command goes on" in said and "Traceback" not in said
    [path] = checkpoint.checkpoints(out / "checkpoints")
    step = checkpoint.load(path)[1]["step"]
    assert lines(out)[-1]["step"] == step
    run(out, photos, drawings, *RICH, EVEN, steps=step + 2)
    run(tmp_path / "whole", photos, drawings, *RICH, EVEN, steps=step + 2)
    assert same(out, tmp_path / "whole")


def wait_for_steps(out: Path, steps: int, process: forks.Process) -> None:
    deadline = time.monotonic() + 120
    while not (out / "log.jsonl").exists() or len((out / "log.jsonl").read_text().splitlines()) < steps:
        assert process.poll() is None, process.stderr
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_killed_run_goes_on_from_its_last_checkpoint(tmp_path: Path, photos: Path, drawings: Path) -> None:
    out = tmp_path / "run"
    run(out, photos, drawings, EVEN, steps=2)
    with (out / "log.jsonl").open("a") as file:
        file.write('{"step": 3, "losses": {}}\n{"step": 4, "los')  # steps that no checkpoint holds, the last cut short
    run(out, photos, drawings, EVEN, steps=4)
    assert [line["step"] for line in lines(out)] == [1, 2, 3, 4]
    assert all(line["losses"] for line in lines(out))


def test_going_on_with_other_settings_is_refused(tmp_path: Path, photos: Path, drawings: Path) -> None:
    out = tmp_path / "run"
    run(out, photos, drawings, steps=1)
    with pytest.raises(UsageError, match=r"other settings: recipe\.optimiser\.lr, seed") as caught:
        run(out, photos, drawings, "optimiser.lr=0.1", steps=2, seed=5)
    assert "--out" in caught.value.hint
    with pytest.raises(UsageError, match=r"samples_per_step"):
        run(out, photos, drawings, steps=2, accumulate=2)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    for taken in (tmp_path / "other", tmp_path / "other" / "thesis.txt"):
        with pytest.raises(UsageError, match="holds no run"):
            run(taken, photos, drawings, steps=1)
    (out / "run.yaml").write_text("recipe: {")
    with pytest.raises(ConfigError, match=r"run\.yaml is damaged"):
        run(out, photos, drawings, steps=2)


def test_a_run_without_a_checkpoint_may_be_changed(tmp_path: Path, photos: Path, drawings: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(ZooError, match="loss is"):
        run(out, photos, drawings, "optimiser.lr=1e30", steps=3)
    run(out, photos, drawings, "data.working=64", steps=1)
    run(out, photos, drawings, "data.working=80", steps=2)  # changes how the model is used, not what it learns
    assert [line["step"] for line in lines(out)] == [1, 2]


def test_a_finished_run_says_so_and_a_larger_budget_goes_on(
    tmp_path: Path, photos: Path, drawings: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "zoo.train")
    out = tmp_path / "run"
    run(out, photos, drawings, steps=2)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    run(out, photos, drawings, steps=2)
    assert "nothing to do: the run has its 2 steps" in caplog.text
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    run(out, photos, drawings, epochs=0.6)  # of five photographs
    assert lines(out)[-1]["step"] == 3


def test_checkpoints_of_other_networks(tmp_path: Path, photos: Path, drawings: Path) -> None:
    out = tmp_path / "run"
    run(out, photos, drawings, steps=1)
    tensors = state(out)
    del tensors["networks/draw.stem.1.weight"]
    checkpoint.save(out / "checkpoints", 1, tensors, {"total": 1, "seconds": 1.0})
    with pytest.raises(IntegrityError, match="do not fit these networks") as caught:
        run(out, photos, drawings, steps=2)
    assert "--start-from" in caught.value.hint


# -- the same run in other ways -----------------------------------------------------------------------------------------


def test_accumulated_batches_are_one_large_batch(tmp_path: Path, photos: Path, drawings: Path) -> None:
    run(tmp_path / "parts", photos, drawings, *STEADY, steps=3, accumulate=2)
    run(tmp_path / "whole", photos, drawings, *STEADY, "data.batch=2", steps=3)
    assert distance(tmp_path / "parts", tmp_path / "whole") < 2e-5
    for ours, theirs in zip(lines(tmp_path / "parts"), lines(tmp_path / "whole")):
        assert ours["losses"] == pytest.approx(theirs["losses"], abs=1e-4)


def test_two_processes_are_one_with_the_same_global_batch(tmp_path: Path, photos: Path, drawings: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": "2"}
    words = arguments(tmp_path / "two", photos, drawings, "--steps", "3", overrides=STEADY)
    ranks = [environment(**where, RANK=str(i), LOCAL_RANK=str(i)) for i in range(2)]  # as torchrun would
    processes = [forks.start("-m", *words, env=rank) for rank in ranks]
    ends = [process.wait(120) for process in processes]
    said = [process.stderr for process in processes]
    assert ends == [0, 0], said
    assert ["done" in text for text in said] == [True, False]  # one speaks for all
    compare_with_one_process(tmp_path, photos, drawings)


@pytest.mark.slow
def test_a_launcher_of_several_processes(tmp_path: Path, photos: Path, drawings: Path) -> None:
    """accelerate starts them by torchrun."""
    launch = "accelerate.commands.accelerate_cli", "launch", "--multi_gpu", "--num_processes=2", "--main_process_port=0"
    call([*launch, "-m", *arguments(tmp_path / "two", photos, drawings, "--steps", "3", overrides=STEADY)])
    compare_with_one_process(tmp_path, photos, drawings)


def compare_with_one_process(folder: Path, photos: Path, drawings: Path) -> None:
    assert yaml.safe_load((folder / "two" / "run.yaml").read_text())["samples_per_step"] == 2
    run(folder / "one", photos, drawings, *STEADY, "data.batch=2", steps=3)
    assert distance(folder / "two", folder / "one") < 2e-5
    for ours, theirs in zip(lines(folder / "two"), lines(folder / "one"), strict=True):
        assert ours["losses"] == pytest.approx(theirs["losses"], abs=1e-4)


def test_workers_and_bf16_and_seeds(tmp_path: Path, photos: Path, drawings: Path) -> None:
    run(tmp_path / "a", photos, drawings, *RICH, steps=2)
    run(tmp_path / "workers", photos, drawings, *RICH, steps=2, workers=1)
    assert same(tmp_path / "a", tmp_path / "workers")
    run(tmp_path / "other", photos, drawings, *RICH, steps=2, seed=1)
    assert not same(tmp_path / "a", tmp_path / "other")
    run(tmp_path / "half", photos, drawings, *RICH, steps=2, bf16=True)
    assert state(tmp_path / "half").keys() == state(tmp_path / "a").keys()
    assert all(tensor.dtype in (torch.float32, torch.int64) for tensor in state(tmp_path / "half").values())


# -- what is learned ----------------------------------------------------------------------------------------------------


def test_a_few_steps_lower_the_loss(tmp_path: Path, photos: Path) -> None:
    drawings = tmp_path / "drawings"
    shutil.copytree(photos, drawings)  # the task: leave it as it is
    out = tmp_path / "run"
    still = "data.augment={flip: false, scale: 1, differentiable: []}"
    run(out, photos, drawings, still, EVEN, "optimiser.lr=0.002", "generator.width=8", recipe="cyclepix", steps=80)
    pixel = [line["losses"]["generator.pixel"] for line in lines(out)]
    assert sum(pixel[-10:]) < 0.6 * sum(pixel[:10])


def test_the_average_follows_the_network(tmp_path: Path, photos: Path, drawings: Path) -> None:
    """Each step moves it by 1 - decay, where the decay is short at first: (1 + n) / (10 + n)."""
    out = tmp_path / "run"
    wanted: dict[str, torch.Tensor] = {}
    for step in range(1, 4):
        run(out, photos, drawings, EVEN, "ema=0.15", steps=step)
        now = state(out)
        for name in (name for name in now if name.startswith("networks/draw.")):
            short = name.removeprefix("networks/draw.")
            decay = min(0.15, step / (9 + step))
            if short in wanted:
                wanted[short] = decay * wanted[short] + (1 - decay) * now[name]
                assert torch.allclose(wanted[short], now[f"average/{short}"], atol=1e-7)
            wanted[short] = now[f"average/{short}"]
    run(tmp_path / "none", photos, drawings, "ema=0", steps=2)
    now = state(tmp_path / "none")
    for name in (name for name in now if name.startswith("average/")):
        assert torch.equal(now[name], now[name.replace("average/", "networks/draw.")])


def test_the_rate_is_constant_and_then_falls(tmp_path: Path, photos: Path, drawings: Path) -> None:
    run(tmp_path / "run", photos, drawings, "optimiser.lr=1.0e-4", steps=4)
    assert [line["rate"] for line in lines(tmp_path / "run")] == pytest.approx([1e-4, 1e-4, 0.5e-4, 0])


def test_start_from_takes_what_fits(
    tmp_path: Path, photos: Path, drawings: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "zoo.train")
    run(tmp_path / "plain", photos, drawings, steps=1, recipe="cyclegan")
    # a rate of next to nothing leaves what was taken as it was
    slow = ("optimiser.lr=1.0e-12", EVEN)
    run(tmp_path / "da", photos, drawings, *slow, steps=1, start_from=tmp_path / "plain")
    plain, da = state(tmp_path / "plain"), state(tmp_path / "da")
    assert torch.allclose(plain["networks/draw.stem.1.weight"], da["networks/draw.stem.1.weight"], atol=1e-6)
    assert any("tail" in name for name in da.keys() - plain.keys())
    assert "started with" in caplog.text
    with pytest.raises(UsageError, match=r"nothing in .* fits this recipe"):
        run(tmp_path / "wide", photos, drawings, "generator.width=6", "discriminator.width=6", "generator.block=residual",
            steps=1, start_from=bare(tmp_path / "bare.safetensors"))  # fmt: skip
    with pytest.raises(UsageError, match="holds no checkpoint to start from"):
        run(tmp_path / "no", photos, drawings, steps=1, start_from=photos)


def bare(path: Path) -> Path:
    from zoo.weights.file import save_weights

    save_weights(path, {"nothing": torch.zeros(3)}, {})
    return path


# -- what is told -------------------------------------------------------------------------------------------------------


def test_reports(tmp_path: Path, photos: Path, drawings: Path) -> None:
    from PIL import Image
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    out = tmp_path / "run"
    run(out, photos, drawings, steps=5, log_every=2, preview_every=4, save_every=2)
    terms = {f"generator.{name}" for name in ("adversarial", "cycle", "identity")} | {"discriminator.critic"}
    assert [line["step"] for line in lines(out)] == [2, 4, 5]
    assert all(line["losses"].keys() == terms and line["of"] == 5 for line in lines(out))
    shown = sorted(path.name for path in (out / "previews").iterdir())
    assert shown == ["step-00000000.png", "step-00000004.png", "step-00000005.png"]
    assert Image.open(out / "previews" / "step-00000005.png").size == (4 * 32, 6 * 32)
    assert [path.name for path in checkpoint.checkpoints(out / "checkpoints")] == [
        "step-00000004.safetensors",
        "step-00000005.safetensors",
    ]
    board = EventAccumulator(str(out / "tensorboard"))
    board.Reload()
    assert set(board.Tags()["scalars"]) == terms | {"rate"} and board.Tags()["images"] == ["previews"]
    assert [event.step for event in board.Scalars("generator.cycle")] == [2, 4, 5]


def test_minutes_become_steps(tmp_path: Path, photos: Path, drawings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo.train.engine.TIMED", 2)
    clock = iter(range(10**6))
    monkeypatch.setattr("zoo.train.engine.time.monotonic", lambda: next(clock))  # a step takes a second
    out = tmp_path / "run"
    run(out, photos, drawings, minutes=0.1)
    assert [line["of"] for line in lines(out)] == [None, *[6] * 5]
    run(out, photos, drawings, minutes=0.1)  # the same command again: it is finished
    assert len(lines(out)) == 6
    run(out, photos, drawings, minutes=0.15)
    assert len(lines(out)) == 9
    with pytest.raises(UsageError, match="exclude each other"):
        run(tmp_path / "two", photos, drawings, minutes=1, steps=1)


@pytest.mark.parametrize(("pace", "least", "most"), [(3, 24, 34), (0.5, 58, 80)])
def test_minutes_hold_where_the_machine_slows_down_or_speeds_up(
    tmp_path: Path, photos: Path, drawings: Path, monkeypatch: pytest.MonkeyPatch, pace: float, least: int, most: int
) -> None:
    monkeypatch.setattr("zoo.train.engine.TIMED", 2)
    passed = [0.0]

    def clock() -> float:
        passed[0] += 1 if passed[0] < 15 else pace  # seconds of a step
        return passed[0]

    monkeypatch.setattr("zoo.train.engine.time.monotonic", clock)
    out = tmp_path / "run"
    run(out, photos, drawings, minutes=0.75)
    expected = [line["of"] for line in lines(out)]
    assert expected[2] == 45 and least <= len(expected) <= most
    assert 40 <= passed[0] <= 50
    assert lines(out)[-1]["rate"] < 1e-4  # the rate falls to its end all the same


# -- faults -------------------------------------------------------------------------------------------------------------


def test_needs_are_checked_before_anything_is_written(tmp_path: Path, photos: Path, drawings: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(ConfigError, match=r"loss 'pixel' needs paired_target, .* trainer 'cycle'") as caught:
        run(out, photos, drawings, "losses.generator.pixel={weight: 1}", steps=1)
    assert "--pairs" in caught.value.hint
    with pytest.raises(ConfigError, match="loss 'critic' needs fake_logits, real_logits") as caught:
        run(out, photos, drawings, "losses.generator.critic={weight: 1}", steps=1)
    assert caught.value.hint.startswith(
        "trainers that have it: anime (discriminator), cycle (discriminator), expression (discriminator), fusion (critic), one-way (discriminator)"
    )
    assert not out.exists()
    run(out, photos, drawings, "losses.generator.pixel={weight: 1, both: true}", pairs=True, steps=1)
    assert "generator.pixel" in lines(out)[0]["losses"]


def test_drawings_in_colours_are_learned_so(
    tmp_path: Path, photos: Path, drawings: Path, recipe_of_colours: Path
) -> None:
    grey = tmp_path / "grey"
    grey.mkdir()
    for path in drawings.iterdir():
        Image.open(path).convert("L").save(grey / path.name)
    (grey / "broken.png").write_bytes(b"no picture")

    def learned(name: str, hand: Path, *overrides: str) -> tuple[object, float]:
        out = tmp_path / name
        run(out, photos, hand, *overrides, recipe=str(recipe_of_colours), steps=1)
        found = settings(out)["recipe"]
        return found["data"]["colours"], found["ema"]

    assert learned("in-colours", drawings) == (True, 0.5)
    assert learned("in-grey", grey) == (None, 0.999)
    assert learned("as-grey", drawings, "data.colours=false") == (False, 0.999)
    assert learned("as-colours", grey, "data.colours=true") == (True, 0.5)


@pytest.mark.parametrize(
    ("override", "kind", "message", "hint"),
    [
        ("generator.name=resent", NotFoundError, "generator 'resent'", "did you mean resnet?"),
        ("generator.block=dual-atention", NotFoundError, "block 'dual-atention'", "did you mean dual-attention?"),
        ("generator.widht=8", ConfigError, "generator 'resnet' has no option 'widht'", "did you mean width?"),
        ("generator.block={name: squeeze-excitation, red: 4}", ConfigError, "no option 'red'", "reduction"),
        ("generator.upsample=bilinear", ConfigError, "'transposed' or 'resize', not 'bilinear'", ""),
        ("generator.width=-4", ConfigError, "generator 'resnet' cannot be built", ""),
        ("discriminator.width=wide", ConfigError, "discriminator 'patchgan' cannot be built", ""),
        (
            "discriminator.name=features",
            ConfigError,
            "'features' cannot be built",
            "layers: 2); null leaves out one that",
        ),
        ("trainer.pol=5", ConfigError, "trainer 'cycle' has no option 'pol'", "did you mean pool?"),
        ("trainer.name=cycel", NotFoundError, "trainer 'cycel'", "did you mean cycle?"),
        ("losses.generator.cylce={weight: 1}", NotFoundError, "loss 'cylce'", "did you mean cycle"),
        ("losses.generator.cycle.weigth=1", ConfigError, "loss 'cycle' has no option 'weigth'", "there are none"),
        ("losses.generator.cycle.weight=much", ConfigError, "generator.cycle is 'much', not a number", ""),
        (
            "losses.generators={cycle: {weight: 1}}",
            ConfigError,
            "losses.generators is not a phase",
            "generator, discrim",
        ),
        ("losses.discriminator.critic.weight=0", ConfigError, "no loss is configured for discriminator", ""),
        ("optimizer.lr=1", ConfigError, "optimizer", "did you mean optimiser?"),
        ("data.augment.flop=1", ConfigError, "flop", "did you mean flip?"),
        ("data.size=[30,32]", ConfigError, r"data.size \[30, 32\] does not suit 'resnet'", "multiples of 4"),
        ("data.size=[0,32]", ConfigError, "data.size.0", ""),
        ("lr", ConfigError, "cannot read --set 'lr'", "key.sub=value"),
    ],
)
def test_a_wrong_setting_is_one_line(
    tmp_path: Path, photos: Path, drawings: Path, override: str, kind: type[ZooError], message: str, hint: str
) -> None:
    with pytest.raises(kind, match=message) as caught:
        run(tmp_path / "run", photos, drawings, override, steps=1)
    assert hint in caught.value.hint and caught.value.hint
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"steps": 1, "device": "gpu"}, "no device is called 'gpu'"),
        ({"steps": 1, "device": "cuda:99"}, "not available"),
        ({"steps": 1, "workers": -1}, "--workers -1"),
        ({"steps": 1, "seed": 2**70}, "--seed"),
        ({"minutes": float("nan")}, "--minutes nan"),
        ({"epochs": float("inf")}, "--epochs inf"),
    ],
)
def test_wrong_options_are_refused(
    tmp_path: Path, photos: Path, drawings: Path, options: dict[str, Any], told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        run(tmp_path / "run", photos, drawings, **options)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "name", ["steps", "epochs", "minutes", "accumulate", "save_every", "preview_every", "log_every"]
)
def test_numbers_below_one_are_refused(tmp_path: Path, photos: Path, drawings: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=f"--{name.replace('_', '-')} 0 is not a positive number"):
        run(tmp_path / "run", photos, drawings, **{name: 0})


def test_a_loss_that_is_not_a_number_stops_the_run_and_its_hint_can_be_followed(
    tmp_path: Path, photos: Path, drawings: Path
) -> None:
    out = tmp_path / "run"
    with pytest.raises(ZooError, match=r"generator's loss is (nan|inf) at step 2: adversarial") as caught:
        run(out, photos, drawings, EVEN, "optimiser.lr=1.0e+30", steps=10, save_every=1)
    assert "optimiser.lr" in caught.value.hint
    assert [path.name for path in (out / "checkpoints").iterdir()] == ["step-00000001.safetensors.diverged"]
    run(out, photos, drawings, EVEN, "optimiser.lr=1.0e-4", steps=2)
    assert all(tensor.isfinite().all() for tensor in state(out).values())
    assert [line["step"] for line in lines(out)] == [1, 2]


def test_only_what_cures_a_loss_that_is_not_a_number_may_change(
    tmp_path: Path, photos: Path, drawings: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "run"
    run(out, photos, drawings, EVEN, steps=1)
    facts = settings(out)
    recipe = Recipe.model_validate(facts.pop("recipe"))
    with pytest.raises(Diverged), claimed(out, recipe, facts):
        raise Diverged("the loss is nan", "lower optimiser.lr", step=3)
    with pytest.raises(UsageError, match=r"other settings: seed \("):
        run(out, photos, drawings, EVEN, "optimiser.lr=1.0e-5", steps=2, seed=5)
    caplog.set_level(logging.INFO)
    run(out, photos, drawings, EVEN, "optimiser.lr=1.0e-5", steps=2, bf16=True)
    assert "than before the loss was no number: precision, recipe.optimiser.lr" in caplog.text
    assert [line["step"] for line in lines(out)] == [1, 2]
    with pytest.raises(UsageError, match=r"other settings: recipe\.optimiser\.lr \("):
        run(out, photos, drawings, EVEN, steps=3, bf16=True)


def test_the_command_line_says_one_line(
    tmp_path: Path, photos: Path, drawings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from zoo.cli import main

    _, *words = arguments(tmp_path / "run", photos, drawings, "--steps", "2", "--epochs", "2")
    with pytest.raises(SystemExit, match="2"):
        main(words)
    assert capsys.readouterr().err.splitlines() == [
        "zoo: --steps, --epochs and --minutes exclude each other",
        "hint: give one of them",
    ]


# -- hands --------------------------------------------------------------------------------------------------------------


def test_several_hands(tmp_path: Path, photos: Path, drawings: Path) -> None:
    options = Options(out=tmp_path / "run", steps=3, device="cpu", log_every=1)
    both = [("a", drawings), ("b", photos)]
    train("conditional-cyclepix", [photos, photos], both, options, overrides=TINY)
    recipe = yaml.safe_load((tmp_path / "run" / "run.yaml").read_text())["recipe"]
    assert recipe["controls"][0]["choices"] == ["a", "b"]
    assert recipe["generator"]["labels"] == recipe["discriminator"]["labels"] == 2
    assert set(state(tmp_path / "run")["memory/drawings.labels"].tolist()) == {0, 1}
    one = Options(out=tmp_path / "one", steps=1, device="cpu")
    with pytest.raises(UsageError, match="needs two or more folders of drawings with different names, got a, a"):
        train("conditional-cyclepix", [photos, photos], [("a", drawings), ("a", photos)], one, overrides=TINY)
    with pytest.raises(UsageError, match="draws in one hand, but 2 folders"):
        train("cyclegan", [photos], both, one, overrides=TINY)
    with pytest.raises(UsageError, match="1 folders of photographs and 2 of drawings cannot be paired"):
        train("conditional-cyclepix", [photos], both, one, overrides=TINY)


def test_checkpoints_are_plain_safetensors(tmp_path: Path, photos: Path, drawings: Path) -> None:
    """Their names are a format: runs of older versions go on."""
    run(tmp_path / "run", photos, drawings, steps=1)
    names = load_file(tmp_path / "run" / "checkpoints" / "step-00000001.safetensors").keys()
    heads = {name.split("/")[0] for name in names}
    assert heads == {"networks", "average", "memory", "optimiser"}
    assert {"networks/draw.stem.1.weight", "average/stem.1.weight", "memory/photos.count"} <= names
    assert {"optimiser/generator/0/exp_avg", "optimiser/discriminator/0/step"} <= names
    assert not list((tmp_path / "run" / "checkpoints").glob("*.part"))


def test_a_full_disk_leaves_no_half_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    checkpoint.save(tmp_path, 1, {"a": torch.zeros(3)}, {})
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ZooError, match="No space left"):
        checkpoint.save(tmp_path, 2, {"a": torch.zeros(3)}, {})
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001.safetensors"]


def test_a_gradient_far_longer_than_usual_is_cut() -> None:
    """Adam's memory of one gradient a million times as long would keep a network as it is for ten thousand steps."""
    network, bare = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)
    bare.load_state_dict(network.state_dict())
    ways = []
    for linear, guarded in ((network, True), (bare, False)):
        optimiser = torch.optim.Adam(linear.parameters(), lr=1e-2, betas=(0.5, 0.999))
        dice = torch.Generator().manual_seed(0)
        for step in range(80):
            spike = 1e6 if step == 40 else 1.0
            for parameter in linear.parameters():
                parameter.grad = spike * (1 + 0.3 * torch.randn(parameter.shape, generator=dice))
            if guarded:
                given = [parameter.grad.clone() for parameter in linear.parameters()]
                shorten(optimiser)
                same = all(torch.equal(p.grad, before) for p, before in zip(linear.parameters(), given))
                assert same == (step != 40), "what is usual stays as it is, bit by bit"
            before = linear.weight.detach().clone()
            optimiser.step()
            if step in (39, 79):
                ways.append(float((linear.weight.detach() - before).abs().mean()))
    usual, after, _, frozen = ways
    assert after > usual / 3 and frozen < usual / 1000
