"""Every fault that a plugin can have: the others keep working, and one line says what and why.

All wrong plugins are installed at once beside a right one, ``zoo-tiny``, and the commands run in processes of their own.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import forks
import pytest
from conftest import forget
from faulty import CODE, CONTENT, IMPORTED, LETHAL, OUTSIDE, Wrong, install
from tiny_plugin import TinyPlugin, tiny  # noqa: F401
from training import TINY, pictures

from zoo.catalogue.host import host
from zoo.catalogue.registry import registry
from zoo.doctor.plugins import check_plugins, faults
from zoo.errors import PluginError, ZooError

ALL = {**OUTSIDE, **IMPORTED, **LETHAL, **CONTENT}
UNREAD = sorted(name for name in OUTSIDE if name != "newer")  # nothing of their zoo.yaml is known
Result = tuple[int, str, str]

FORKS = """
import json, os, signal, sys, tempfile
import zoo.cli.info, zoo.errors, zoo.doctor.plugins
from zoo.catalogue.registry import registry
from zoo.cli import main
registry()
if "heavy" in sys.argv:
    import accelerate, zoo.cli.train, zoo.cli.translate, zoo.train.run

results = []
for words in json.loads(sys.argv[1]):  # imports are done and plugins found once, each command runs as in a process of its own
    out, err = tempfile.TemporaryFile("w+"), tempfile.TemporaryFile("w+")
    if not (child := os.fork()):
        signal.alarm(60)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0), os.dup2(out.fileno(), 1), os.dup2(err.fileno(), 2)
        code = 1
        try:
            exec(words) if isinstance(words, str) else main(words)
            code = 0
        except SystemExit as exc:
            code = exc.code or 0
        except zoo.errors.ZooError as exc:
            code = exc.exit_code
            print(f"zoo: {exc.message}\\nhint: {exc.hint}", file=sys.stderr)
        except BaseException:
            import traceback; traceback.print_exc()
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    out.seek(0), err.seek(0)
    results.append((code, out.read(), err.read()))
json.dump(results, sys.stdout)
"""


@pytest.fixture
def site(tmp_path: Path, tiny: TinyPlugin, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:  # noqa: F811
    """Where all of them are installed; ``tiny`` beside it is sound."""
    site = tmp_path / "faulty"
    for name, wrong in ALL.items():
        install(site, name, wrong)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), str(tiny.weights.parents[2])]))
    forget()
    yield site
    for name in [name for name in sys.modules if name.partition(".")[0].removeprefix("zoo_") in ALL]:
        del sys.modules[name]


def run(*words: str, **settings: str) -> Result:
    """``zoo`` as a user runs it."""
    done = forks.run("-m", "zoo", *words, env={**os.environ, **settings})
    return done.returncode, done.stdout, done.stderr


def run_all(*calls: list[str] | str, heavy: bool = False) -> list[Result]:
    """Many commands, or lines of Python, at the price of one import, of torch if ``heavy``."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = forks.run("-c", FORKS, json.dumps(calls), *(["heavy"] if heavy else []), env=environment)
    assert done.returncode == 0, done.stderr
    return [(code, out, err) for code, out, err in json.loads(done.stdout)]


def why(name: str) -> str:
    return ALL[name].why.replace("{{", "{").replace("}}", "}")


# -- one at a time, in this process -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*OUTSIDE, *IMPORTED])
def test_a_fault_stays_inside_its_plugin(site: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builtins.input", _nobody_answers)
    for _ in range(2):  # the second time as the first
        with pytest.raises(PluginError, match=rf"^plugin zoo-{name} 1\.0 cannot be used: ") as caught:
            host().load(f"zoo-{name}")
        assert why(name) in caught.value.message and "\n" not in caught.value.message
        assert "ZOO_PLUGINS" in caught.value.hint
    assert (f"zoo-{name}" in host().faults) and why(name) in host().faults[f"zoo-{name}"]
    known = name in IMPORTED or name == "newer"
    with pytest.raises(PluginError if known else ZooError, match=f"zoo-{name} 1.0" if known else "no installed plugin"):
        host().part("block", f"{name}-block")  # nothing of it is registered, not even what came before the fault
    assert callable(host().part("generator", "tiny")) and callable(host().part("block", "residual"))


def _nobody_answers(*_: object) -> str:
    raise EOFError("EOF when reading a line")


@pytest.mark.parametrize("name", CONTENT)
def test_what_is_wrong_beside_the_code(site: Path, name: str) -> None:
    host().load(f"zoo-{name}")
    (line,) = faults(f"zoo-{name}")
    assert why(name) in line
    assert faults("zoo-cycleda") == []


def test_a_plugin_that_is_out_of_use_takes_no_name_from_another(site: Path, tmp_path: Path) -> None:
    more = tmp_path / "more"
    (more / "zoo_rival").mkdir(parents=True)
    install(more, "rival", Wrong("", CODE.replace("{name}", "newer"), OUTSIDE["newer"].manifest.replace(">=9", "")))  # type: ignore[union-attr]
    (more / "zoo_rival/zoo.yaml").write_text(str(OUTSIDE["newer"].manifest).replace(">=9", ">=0").format(name="newer"))
    sys.path.insert(0, str(more))
    forget()
    assert host().owner("block", "newer-block") == "zoo-rival"
    assert registry().card("newer")[0].plugin == "zoo-rival"


# -- all at once, by the commands ---------------------------------------------------------------------------------


def test_lists_show_the_others_and_say_what_is_missing(site: Path) -> None:
    told_by = {words: run(*words) for words in (("list",), ("parts",), ("list", "--json"), ("parts", "--json"))}
    for words, (code, out, err) in told_by.items():
        assert code == 0 and "tiny" in out and "cyclegan" in out, err
        assert isinstance(json.loads(out), list) if "--json" in words else True
        for name in OUTSIDE:
            told = [line for line in err.splitlines() if f"zoo-{name} 1.0" in line]
            assert len(told) == 1 and told[0].startswith("zoo: plugin") and why(name) in told[0]
        assert "Traceback" not in err
    assert told_by["list",][1].count("zoo-newer (broken)") == 1
    cards = {card["name"]: card for card in json.loads(told_by["list", "--json"][1])}
    assert why("newer") in cards["newer"]["fault"] and "fault" not in cards["tiny"]
    assert "zoo.yaml of zoo-badcard: card badcard: summary: Field required" in told_by["list",][2]


def test_plugins_shows_each_with_its_reason(site: Path) -> None:
    code, out, err = run("plugins", "--json")
    states = {state["name"]: state for state in json.loads(out)}
    assert code == 0 and states["zoo-tiny"]["state"] == states["zoo-syntax"]["state"] == "found"
    assert states["zoo-core"]["brings"].startswith("1 model, 1 block")
    for name in OUTSIDE:
        (line,) = states[f"zoo-{name}"]["faults"]
        assert why(name) in line and states[f"zoo-{name}"]["state"] == "broken"
    assert err.splitlines() == ["zoo: zoo.yaml of zoo-badcard: card badcard: summary: Field required"]


def test_info(site: Path) -> None:
    twice = ["tiny", "newer", "badrecipe", "badcard"]
    asked = [(name, []) for name in [*ALL, "tiny", "cycleda"]] + [(name, ["--json"]) for name in twice]
    for (name, json_), (code, out, err) in zip(asked, run_all(*(["info", name, *json_] for name, json_ in asked))):
        assert "Traceback" not in err
        if name in UNREAD or name == "badcard":
            assert code == 3 and err.startswith(f"zoo: there is no model '{name}'\nhint: "), err
            assert len(err.splitlines()) == 2 and ("zoo-badyaml" in err) and out == ""
        else:
            assert code == 0 and (json.loads(out)["name"] == name if json_ else out.startswith(f"{name}: "))
        if name in ("badrecipe", "strangerecipe"):
            assert why(name) in (err if json_ else out)
        if name == "newer":
            assert why(name) in out


@pytest.mark.slow
def test_who_asks_for_a_broken_one_hears_why(site: Path, tmp_path: Path) -> None:
    photo = pictures(tmp_path / "photos", 2) / "0.png"
    pictures(tmp_path / "drawings", 2)
    sides = ["--photos", str(tmp_path / "photos"), "--drawings", str(tmp_path / "drawings"), "--device", "cpu"]
    small = [word for key in TINY for word in ("--set", key)]

    def translate(name: str) -> list[str]:
        return ["translate", name, str(photo), "-o", str(tmp_path / f"{name}.png"), "--device", "cpu", "--json"]

    def train(block: str) -> list[str]:
        options = ["--steps", "1", "--out", str(tmp_path / block), *small, "--set", f"generator.block={block}"]
        return ["train", "cyclegan-small", *sides, *options]

    calls: dict[tuple[str, str], list[str] | str] = {}
    for number, name in enumerate([*OUTSIDE, *IMPORTED]):
        ways: dict[str, list[str] | str] = {
            "translate": translate(name),
            "train": train(f"{name}-block"),
            "load": f"zoo.load({name!r})",
            "untrained": f"zoo.load({name!r}, weights=None)",
        }
        asked = (
            ways if name in ("newer", "syntax") else [list(ways)[number % 4]]
        )  # each fault, each way, two of them all
        calls |= {(name, way): ways[way] for way in asked}
    sound = [translate("tiny"), translate("cyclegan"), train("residual")]
    *results, interrupted = run_all(*calls.values(), *sound, translate("interrupts"), heavy=True)

    for (name, how), (code, out, err) in zip(calls, results):
        assert out == "" and "Traceback" not in err, (name, how, err)
        told, hint = err.splitlines()[-2:]
        assert "zoo: " in told and hint.startswith("hint: "), err
        if code == 3:  # its names are unknown, but the hint says whose they may be
            assert name in UNREAD and f"zoo-{name}" in hint, (name, how, err)
        else:
            assert code == 2 and f"plugin zoo-{name} 1.0 cannot be used: " in told and why(name) in told, (how, err)
    for code, _, err in results[len(calls) :]:
        assert code == 0 and "zoo-" not in err, err
    assert interrupted[0] == 130 and "Traceback" not in interrupted[2]  # as if by Ctrl-C


@pytest.mark.slow
def test_check_survives_all_of_them(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [*OUTSIDE, "interrupts", "leaves", "crashes", "syntax", "badrecipe", "noweights"]
    monkeypatch.setenv("ZOO_PLUGINS", ",".join(["zoo-cycleda", *(f"zoo-{name}" for name in names)]))
    forget()
    found = check_plugins(forks=forks.heavy())
    assert found.pop("zoo-core") == found.pop("zoo-cycleda") == []
    for name in names:
        (line,) = found.pop(f"zoo-{name}")
        assert why(name) in line and "\n" not in line
    assert found == {}

    monkeypatch.setenv("ZOO_PLUGINS", "zoo-hangs")
    forget()
    assert check_plugins(4, forks.heavy())["zoo-hangs"] == ["when it is imported, it hangs: no answer in 4 seconds"]
    code, out, err = run("plugins", "--check", ZOO_PLUGINS="zoo-crashes,zoo-cycleda")
    assert code == 2 and why("crashes") in out and err.startswith("zoo: broken: zoo-crashes\nhint: ")


# -- two of one name ----------------------------------------------------------------------------------------------


def test_two_owners(tmp_path: Path, tiny: TinyPlugin, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """Of a block, of a recipe, of a model, of a first-party model, of a package."""
    site = tmp_path / "site"
    for name in ("left", "right"):
        install(site, name, Wrong("", CODE.replace("{name}", "same"), None))
        (site / f"zoo_{name}/recipes/{name}.yaml").rename(site / f"zoo_{name}/recipes/same.yaml")
        manifest = str(ALL["halfway"].manifest)
        cards = manifest.format(name="same") + manifest.partition("cards:")[2].format(name="cyclepix")
        (site / f"zoo_{name}/zoo.yaml").write_text(cards.replace("recipe: cyclepix", "recipe: same"))
    install(site, "copy", Wrong("", entries=("zoo_left.plugin",)))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), str(tiny.weights.parents[2])]))

    states = {state["name"]: state for state in json.loads(run("plugins", "--json")[1])}
    package = "its entry point names the package zoo_left, and so does that of zoo-"
    assert states["zoo-left"]["faults"] == [f"{package}copy"] and states["zoo-copy"]["faults"] == [f"{package}left"]
    assert states["zoo-right"]["faults"] == []

    two = {"ZOO_PLUGINS": "zoo-cycleda, zoo_left, Zoo.Right"}  # a name is the same however it is written
    code, _, err = run("plugins", **two)
    assert code == 0
    for line in ("block 'same-block'", "recipe 'same'"):
        assert f"zoo: {line} is owned by both zoo-left and zoo-right\n" in err
    assert "zoo: the model 'same' is claimed by both zoo-left and zoo-right\n" in err
    assert "zoo: the model 'cyclepix' is claimed by both zoo-cycleda and zoo-left\n" in err
    assert "zoo: block 'same-block' is owned by both" in run("parts", **two)[2]
    for name in ("same", "cyclepix"):
        code, out, err = run("info", name, **two)
        assert (code, out) == (2, "") and f"the model '{name}' is claimed by both" in err and "ZOO_PLUGINS" in err
    assert run("info", "cycleda", **two)[0] == 0
    one = run("info", "same", ZOO_PLUGINS="zoo-left")
    assert one[0] == 0 and "zoo-left 1.0, installed" in one[1]


# -- the allow-list, and plugins that leave traces ----------------------------------------------------------------


@pytest.mark.parametrize("words", [["list"], ["parts"], ["plugins"]])
def test_a_typing_error_in_the_allow_list(words: list[str]) -> None:
    code, out, err = run(*words, ZOO_PLUGINS="zoo-cycelda,")
    assert code == 0 and "zoo-cycleda 0" not in out
    assert err == "zoo: ZOO_PLUGINS names zoo-cycelda, which is not installed; did you mean zoo-cycleda or zoo-core?\n"


@pytest.mark.slow
def test_a_card_without_its_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_PLUGINS", "")
    for code, out, err in run_all(["translate", "cycleda", "x.png", "-o", "y.png"], "zoo.load('cycleda')", heavy=True):
        assert (code, out) == (3, "") and "cycleda needs the plugin zoo-cycleda, which is not installed" in err
        assert "ZOO_PLUGINS= leaves it out" in err and "pip install zoo-cycleda" in err


LOUD = """
import os, random, warnings
import numpy as np
import torch

print("hello from a plugin")
warnings.warn("old")
torch.set_default_dtype(torch.float64)
torch.set_num_threads(torch.get_num_threads() + 1)
torch.manual_seed(0), random.seed(0), np.random.seed(0)
torch.set_grad_enabled(False)
os.chdir("/")
"""


def test_an_import_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path / "site", "loud", Wrong("", LOUD + CODE))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    code = """
import os, random, numpy as np, torch
from zoo.catalogue.host import host
def state():
    return (torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled(), os.getcwd(), random.getstate(),
            torch.get_rng_state().tolist(), str(np.random.get_state()))
before = state()
host().part("block", "loud-block")
assert state() == before
"""
    done = forks.run("-c", code)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert "hello from a plugin" in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "put back" in line]
    for what in ("plugin zoo-loud", "default dtype", "number of threads", "records gradients", "working folder"):
        assert what in line
