"""The contract kit finds nothing wrong with a right plugin, and what is wrong with a wrong one."""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml
from conftest import forget
from installed import announce
from mutants import MUTANTS, NETWORKS, RECIPE, TRAINER, Mutant, translator

from zoo.generator import build_generator
from zoo.recipe import load_recipe
from zoo.testing import PluginContract
from zoo.testing.check import checks
from zoo.testing.drawing import DrawingChecks
from zoo.testing.networks import NetworkChecks
from zoo.testing.package import PackageChecks
from zoo.testing.parts import PartChecks
from zoo.testing.scaffold import make
from zoo.testing.training import TrainingChecks
from zoo.weights.file import save_weights

PROJECTS = sorted(Path(__file__).parents[1].glob("plugins/zoo-*"))
KINDS = PackageChecks, NetworkChecks, DrawingChecks, PartChecks, TrainingChecks
APART = {"test_import_leaves_no_trace", "test_wheel_installs_alone"}  # in processes of their own
CARD = {
    "summary": "Drawings",
    "task": "photo-to-drawing",
    "recipe": "mutant",
    "paper": {"title": "On Mutants", "authors": ["A. Author"]},
    "licence": {"code": "MIT", "weights": "MIT", "data": "random pictures"},
}


class Outcomes:
    """A pytest plugin: what became of each check, and what was said."""

    def __init__(self) -> None:
        self.by_check: dict[str, set[str]] = {}
        self.told = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or not report.passed:
            name = report.nodeid.rpartition("::")[2].partition("[")[0]
            outcome = "xfailed" if hasattr(report, "wasxfail") else report.outcome
            self.by_check.setdefault(name, set()).add(outcome)
            self.told += report.longreprtext if report.failed else ""

    def failed(self) -> set[str]:
        return {name for name, outcomes in self.by_check.items() if "failed" in outcomes}


def run_kit(project: Path, only: str = "") -> Outcomes:
    """The plugin's own tests, in this process."""
    outcomes = Outcomes()
    takes_time = ("cacheprovider", "logging", "unraisableexception", "hypothesispytest", "xdist")
    words = [*(f"-pno:{name}" for name in takes_time), "--assert=plain", f"--basetemp={project.parent / 'kit'}"]
    words += ["--import-mode=importlib", f"--rootdir={project}", "-c", str(project / "pyproject.toml")]
    pytest.main([*words, "-k", only, str(project / "tests")], plugins=[outcomes])
    return outcomes


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """``zoo new mutant`` of all kinds, with weights and a card, on the path as an editable install puts it."""
    project = make("mutant", tmp_path / "zoo-mutant", ["model", "provider"])
    source = project / "src"
    announce(source, "mutant")
    monkeypatch.syspath_prepend(str(source))
    forget()
    bring_weights(project)
    unload()
    yield project
    unload()


def bring_weights(project: Path, network: Mapping[str, object] = {}) -> None:
    package = project / "src/zoo_mutant"
    recipe = load_recipe("mutant", tiny=True)
    generator, path = build_generator(recipe.network()), package / "weights/mutant-v1.safetensors"
    save_weights(path, generator.state_dict(), {**recipe.network(), **network})
    content = path.read_bytes()
    facts = {"file": path.name, "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content), "bundled": True}
    manifest = yaml.safe_load((package / "zoo.yaml").read_text()) | {
        "cards": {"mutant": {**CARD, "weights": {"v1": facts}}}
    }
    (package / "zoo.yaml").write_text(yaml.safe_dump(manifest, sort_keys=False, default_flow_style=None))


def beside(mutant: Mutant) -> set[str]:
    """The checks that stand beside those which have to fail. Others may see what is wrong, too, or what they look at is
    as in the right plugin, which passes them."""
    return checks(*(kind for kind in KINDS if mutant.caught & checks(kind).keys())).keys() - APART


OF_TRAINED = frozenset({"test_shipped_weights_survive_training"})  # the plugin here ships none that were trained


def unload() -> None:
    """The plugin and its tests are imported anew, from their files as they are now."""
    for name in [name for name in sys.modules if name.partition(".")[0] in ("zoo_mutant", "tests")]:
        del sys.modules[name]
    forget()


def change(project: Path, mutant: Mutant) -> None:
    for file, old, new in mutant.edits:
        path = project / file
        text = path.read_text(encoding="utf-8")
        if old:
            assert text.count(old) == 1, f"{old!r} is {text.count(old)} times in {file}"
            path.write_text(text.replace(old, new), encoding="utf-8")
        else:
            path.unlink()
    unload()
    if mutant.weights or {NETWORKS, RECIPE} & {file for file, _, _ in mutant.edits}:  # it may have other tensors now
        bring_weights(project, mutant.weights)
        unload()


@pytest.mark.slow
def test_a_right_plugin_passes_every_check(plugin: Path) -> None:
    outcomes = run_kit(plugin)
    expected = {name: {"skipped" if name in OF_TRAINED else "passed"} for name in checks(PluginContract)}
    assert outcomes.by_check == expected, outcomes.told


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTANTS)
def test_a_wrong_plugin_is_caught(name: str, plugin: Path) -> None:
    mutant = MUTANTS[name]
    change(plugin, mutant)
    outcomes = run_kit(plugin, " or ".join(mutant.caught & APART or beside(mutant)))
    assert outcomes.failed() == mutant.caught, outcomes.told


@pytest.mark.parametrize("project", PROJECTS, ids=lambda project: project.name)
def test_every_plugin_here_is_under_contract(project: Path) -> None:
    found: set[str] = set()

    class Names:
        def pytest_itemcollected(self, item: pytest.Function) -> None:
            found.add(item.originalname)

    words = ["--collect-only", "-q", "-p", "no:cacheprovider", "--import-mode=importlib", "-m", "slow or not slow"]
    files = [str(file) for file in project.glob("tests/test_*.py") if "PluginContract" in file.read_text("utf-8")]
    pytest.main([*words, *files], plugins=[Names()])
    assert found >= checks(PluginContract).keys()


def test_what_only_repeats_runs_once(plugin: Path) -> None:
    """Every recipe is built; another number is no other network, another block is one, and no other control. What takes
    long is not tried again where all of it was seen, though not together."""
    recipes = plugin / "src/zoo_mutant/recipes"
    gate = "{name: mutant-gate}"
    others = {"narrower": gate, "wider": gate, "plain": "residual", "steady": gate, "steady-plain": "residual"}
    for name, block in others.items():
        text = f"extends: mutant\nsummary: Another\ngenerator: {{block: {block}, width: {len(name)}}}\n"
        text += "schedule: {decay: 0}\n" if "steady" in name else ""
        (recipes / f"{name}.yaml").write_text(text)
    unload()
    found: dict[str, list[str]] = {}

    class Names:
        def pytest_itemcollected(self, item: pytest.Function) -> None:
            found.setdefault(item.originalname, []).append(item.name.partition("[")[2].rstrip("]"))

    words = ["--collect-only", "-q", "-p", "no:cacheprovider", "--import-mode=importlib"]
    pytest.main([*words, str(plugin / "tests")], plugins=[Names()])
    assert found["test_builds_on_the_meta_device"] == found["test_recipe_fits"] == ["mutant", *sorted(others)]
    assert found["test_sizes"] == ["mutant", "narrower", "plain"]
    assert found["test_previews"] == ["mutant", "narrower", "plain", "steady", "steady-plain"]
    assert found["test_resume_is_exact"] == ["mutant", "narrower", "plain", "steady"]
    assert found["test_control_refuses"] == ["mutant-strength"]


def test_each_check_catches_something() -> None:
    caught = frozenset().union(*(mutant.caught for mutant in MUTANTS.values()))
    assert caught == checks(PluginContract).keys() - OF_TRAINED


@pytest.mark.parametrize("name", checks(PluginContract))
def test_each_check_says_what_its_failure_means(name: str) -> None:
    told = inspect.getdoc(checks(PluginContract)[name])
    assert told and " must " in told


# -- the guard: a plugin's test file cannot rewrite a check ---------------------------------------------------------------


def test_a_class_without_a_plugin() -> None:
    with pytest.raises(TypeError, match="names no plugin: write plugin = 'zoo-…'"):

        class Nameless(PluginContract):
            pass


@pytest.mark.parametrize("value", [None, lambda self: None])
def test_a_check_cannot_be_overridden(value: object) -> None:
    with pytest.raises(TypeError, match=r"Mine.test_sizes overrides a check: write waive = {'test_sizes': 'why'}"):
        type("Mine", (PluginContract,), {"plugin": "zoo-x", "test_sizes": value})


@pytest.mark.parametrize(
    ("waive", "told"),
    [({"test_size": "small"}, "waives test_size, which is no check"), ({"test_sizes[x]": " "}, "does not say why")],
)
def test_a_waiver_names_a_check_and_a_reason(waive: dict[str, str], told: str) -> None:
    with pytest.raises(TypeError, match=told):
        type("Mine", (PluginContract,), {"plugin": "zoo-x", "waive": waive})


WAIVED = """
from zoo.testing import PluginContract

class TestMutant(PluginContract):
    plugin = "zoo-mutant"
    waive = {"test_sizes[mutant]": "the paper's network reaches further", "test_previews": "no reason left"}

    def test_of_my_own(self):
        assert self.project().name == "zoo-mutant"
"""


def test_a_waived_check_has_to_fail(plugin: Path) -> None:
    change(plugin, MUTANTS["beyond 1"])
    (plugin / "tests/test_contract.py").write_text(WAIVED)
    found = run_kit(plugin, "sizes or previews or my_own").by_check
    assert found == {"test_sizes": {"xfailed"}, "test_previews": {"failed"}, "test_of_my_own": {"passed"}}


CONTRACT = """
from zoo.testing import PluginContract

class TestMutant(PluginContract):
    plugin = "zoo-mutant"
"""
ALWAYS = """    always = {"strength": 0.5, "another": 3}
"""
PICKY = "if options.get('strength') != 0.5:\n    raise ControlError('no face found')\nreturn super().translate(image, **options)"


def test_what_every_picture_needs(plugin: Path) -> None:
    change(plugin, Mutant(translator(PICKY), frozenset()))
    contract, checked = plugin / "tests/test_contract.py", "any_picture or batch_is_singles"
    contract.write_text(CONTRACT)
    outcomes = run_kit(plugin, checked)
    assert outcomes.failed() == {"test_any_picture", "test_batch_is_singles"}
    assert "no face found" in outcomes.told
    contract.write_text(CONTRACT + ALWAYS)  # of which the model has the first
    unload()
    outcomes = run_kit(plugin, checked)
    assert outcomes.by_check == {"test_any_picture": {"passed"}, "test_batch_is_singles": {"passed"}}, outcomes.told


LABELLED = """    domains = 1

    @classmethod
    def pictures(cls, photos, drawings, data, seed, console=None):
        assert not drawings
        for folder in photos:
            (folder / "labels.txt").read_text()
        return super().pictures(photos, [("photos", photos[0])], data, seed, console)

    def __init__("""
LABEL = """
    @staticmethod
    def label(folder):
        assert any(folder.glob("*.png"))
        (folder / "labels.txt").write_text("smiles")
"""


def test_what_trainers_read_beside_the_pictures(plugin: Path) -> None:
    change(plugin, Mutant(((TRAINER, "    def __init__(", LABELLED),), frozenset()))
    contract, checked = plugin / "tests/test_contract.py", "step_keeps_its_promise or previews"
    contract.write_text(CONTRACT)
    outcomes = run_kit(plugin, checked)
    assert outcomes.failed() == {"test_step_keeps_its_promise", "test_previews"} and "labels.txt" in outcomes.told
    contract.write_text(CONTRACT + LABEL)
    unload()
    outcomes = run_kit(plugin, checked)
    assert outcomes.by_check == {"test_step_keeps_its_promise": {"passed"}, "test_previews": {"passed"}}, outcomes.told


def test_a_failure_is_a_sentence_and_what_it_means(plugin: Path) -> None:
    change(plugin, MUTANTS["beyond 1"])
    told = run_kit(plugin, "test_sizes").told
    first, _, rest = told.partition("\n\n")
    assert first.startswith("mutant at 1 × 8×8: the picture reaches 1.") and first.endswith(", beyond 1")
    assert rest == inspect.getdoc(checks(PluginContract)["test_sizes"])


def test_what_does_not_apply_is_skipped_and_says_so(plugin: Path) -> None:
    (plugin / "src/zoo_mutant/recipes/mutant.yaml").unlink()
    outcomes = run_kit(plugin, "test_sizes or test_loss_is_a_number or test_control_refuses or test_block")
    assert outcomes.by_check["test_sizes"] == outcomes.by_check["test_control_refuses"] == {"skipped"}
    assert outcomes.by_check["test_block_keeps_shapes"] == {"passed"}
    assert outcomes.by_check["test_loss_is_a_number"] == {"passed"}  # other plugins' recipes provide what it needs
    assert not outcomes.failed()


def test_a_plugin_that_is_not_installed(tmp_path: Path) -> None:
    project = make("nowhere", tmp_path / "zoo-nowhere")
    outcomes = run_kit(project, "declares or sizes or documents")
    assert outcomes.failed() == {"test_registers_what_it_declares"}
    assert outcomes.by_check["test_documents"] == {"skipped"}
    assert "plugin 'zoo-nowhere' is not installed" in outcomes.told


def test_a_plugin_whose_manifest_is_wrong(plugin: Path) -> None:
    (plugin / "src/zoo_mutant/zoo.yaml").write_text("parts: {blocks: [mutant-gate]}\n")
    forget()
    outcomes = run_kit(plugin, "declares or sizes or control_refuses")
    assert outcomes.failed() == {"test_registers_what_it_declares"}
    assert "unknown kind of part 'blocks': did you mean block" in outcomes.told
