"""The documentation is tested: its code runs, its commands parse, and it leaves out no option, key, error or hook."""

from __future__ import annotations

import inspect
import json
import os
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import forks
import pytest
import torch
import typer
import yaml
from conftest import forget
from installed import announce
from PIL import Image
from pydantic import BaseModel

import zoo.card
import zoo.catalogue.hooks
import zoo.cli
import zoo.cli.translate
import zoo.control
import zoo.errors
import zoo.recipe
from zoo.catalogue.host import host
from zoo.catalogue.manifest import KINDS
from zoo.catalogue.registry import registry
from zoo.generator import build_part
from zoo.recipe import load_recipe
from zoo.testing import PluginContract
from zoo.testing.check import checks
from zoo.testing.scaffold import make
from zoo.train.objective import build_losses

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("plugins/*/*.md")])
TEXT = {page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8") for page in PAGES}
CLI, RECIPES, PLUGINS = TEXT["docs/cli.md"], TEXT["docs/recipes.md"], TEXT["docs/plugins.md"]
COMMANDS = typer.main.get_command(zoo.cli.app)


def command_of(words: list[str]) -> tuple[str, Any, list[str]]:
    """The name of the command that ``words`` call, which may be a command of a command, itself, and its arguments."""
    name, *rest = words
    command = COMMANDS.get_command(None, name)
    if inner := getattr(command, "commands", None):
        return f"{name} {rest[0]}", inner[rest[0]], rest[1:]
    return name, command, rest


def blocks(text: str, language: str) -> list[str]:
    """Fenced blocks that are not the content of a named file."""
    return re.findall(rf"(?<!`:\n\n)^```{language}\n(.*?)^```$", text, re.M | re.S)


def files(text: str) -> dict[str, str]:
    """Fenced blocks below a line with nothing but a file's name."""
    return dict(re.findall(r"^`([\w./-]+)`:\n\n```\w+\n(.*?)^```$", text, re.M | re.S))


def section(text: str, heading: str) -> str:
    """From a heading to the next one of its level or a higher one."""
    level = heading.index(" ")
    found = re.search(rf"^{re.escape(heading)}$(.*?)(?=^#{{1,{level}}} |\Z)", text, re.M | re.S)
    assert found, f"there is no heading {heading!r}"
    return found[1]


def commands() -> list[tuple[str, str]]:
    """Each call of ``zoo`` in a console block, with its page."""
    lines = [
        (page, line)
        for page, text in TEXT.items()
        for block in blocks(text, "console")
        for line in block.replace("\\\n", " ").splitlines()
    ]
    return [(page, found[1]) for page, line in lines if (found := re.search(r"(?:^|-m )zoo (.*)", line))]


@pytest.fixture
def sketch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The plugin of docs/plugins.md, installed as pip would do it in an editable way."""
    site = make("sketch", tmp_path / "zoo-sketch") / "src"
    announce(site, "sketch")
    monkeypatch.syspath_prepend(str(site))
    forget()
    yield site
    for name in [name for name in sys.modules if name.partition(".")[0] == "zoo_sketch"]:
        del sys.modules[name]


def run(*words: str, site: Path, cwd: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(site), "ZOO_PLUGINS": "zoo-sketch"}  # others would take their time
    done = forks.run("-m", "zoo", *words, env=environment, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout


# -- the plugin of docs/plugins.md --------------------------------------------------------------------------------


def test_the_page_shows_the_plugin_that_zoo_new_writes(tmp_path: Path) -> None:
    project = make("sketch", tmp_path / "zoo-sketch")
    shown, written = files(PLUGINS), {p.relative_to(project).as_posix(): p for p in project.rglob("*") if p.is_file()}
    for name, content in shown.items():
        assert content == written[name].read_text(encoding="utf-8"), name
    prose = {"README.md", "LICENSE", "REPRODUCTION.md", "src/zoo_sketch/__init__.py", "src/zoo_sketch/py.typed"}
    assert written.keys() == shown.keys() | prose
    tree = re.search(r"^```\nzoo-sketch/\n(.*?)^```$", PLUGINS, re.M | re.S)
    assert tree and all(Path(name).name in tree[1] for name in written)


def test_every_check_of_the_kit_is_told() -> None:
    rows = dict(re.findall(r"^\| `(test_\w+)` \| (.*) \|$", section(PLUGINS, "## The contract kit"), re.M))
    known = {
        name: " ".join((inspect.getdoc(test) or "").split("\n\n")[0].split())
        for name, test in checks(PluginContract).items()
    }
    assert rows == known


@pytest.mark.slow
def test_the_plugin_of_the_page_works(sketch: Path, tmp_path: Path) -> None:
    states = json.loads(run("plugins", "--check", "--json", site=sketch, cwd=tmp_path))
    assert {"name": "zoo-sketch", "state": "works"}.items() <= {s["name"]: s for s in states}["zoo-sketch"].items()
    parts = json.loads(run("parts", "--json", site=sketch, cwd=tmp_path))
    ours = {(part["kind"], part["name"]) for part in parts if part["owner"] == "zoo-sketch"}
    kinds = ("generator", "trainer", "recipe")
    assert ours == {("block", "sketch-gate"), ("loss", "sketch-edges"), *((kind, "sketch") for kind in kinds)}

    for side in ("photos", "drawings"):
        (tmp_path / side).mkdir()
        for i in range(3):
            noise = Image.effect_noise((72, 80), 20 * i + 20).convert("RGB")
            noise.save(tmp_path / side / f"{i}.png")
    small = [f"--set={key}" for key in ("data.size=[64,64]", "generator.width=4", "discriminator.width=4")]
    train = ["train", "sketch", "--photos", "photos", "--drawings", "drawings", "--device", "cpu", "--steps", "2"]
    run(*train, "--log-every", "1", *small, site=sketch, cwd=tmp_path)
    lines = (tmp_path / "runs/sketch/log.jsonl").read_text().splitlines()
    assert len(lines) == 2
    assert json.loads(lines[1])["losses"]["generator.sketch-edges"] > 0
    weights = run("pack", "runs/sketch", site=sketch, cwd=tmp_path).strip()
    run("translate", weights, "photos/0.png", "-o", "out.png", "--device", "cpu", site=sketch, cwd=tmp_path)
    assert Image.open(tmp_path / "out.png").size == (72, 80)


def test_its_card_is_right_and_every_key_of_a_card_is_told() -> None:
    raw = next(block for block in blocks(PLUGINS, "yaml") if block.startswith("cards:"))
    cards, problems = zoo.card.parse_cards(yaml.safe_load(raw)["cards"], "docs", "zoo-sketch")
    assert [card.name for card in cards] == ["sketch"]
    assert not problems
    for name, model in models(zoo.card).items():
        for field in model.model_fields:
            assert f"`{field}`" in PLUGINS, f"{name}.{field}"


def test_its_contracts_work() -> None:
    space: dict = {}
    for block in blocks(PLUGINS, "python"):
        exec(block, space)
    picture = Image.new("RGB", (20, 10))
    assert space["Mirrored"](space["ToneCurve"](), device="cpu").translate(picture).size == (20, 10)
    share = {"controls": [{"type": "number", "name": "share", "default": 0.2}]}
    assert space["Upper"](space["ToneCurve"](), share, device="cpu").translate(picture).size == (20, 2)
    trainer = space["PairTrainer"](load_recipe("cyclegan-small", ["generator.width=4"]))
    image = torch.zeros(1, 3, 32, 32)
    assert set(next(trainer.step({"source": image, "target": image}))) == trainer.provides["generator"]
    assert set(trainer.previews({"source": image, "target": image}, torch.nn.Identity())) >= {"photo", "drawing"}
    curious = space["CuriousTrainer"](load_recipe("cyclegan-small", ["generator.width=4"]))
    assert set(next(curious.step({"source": image, "target": image}))) == curious.provided("generator") > {"features"}


def test_every_hook_and_kind_of_part_is_told() -> None:
    hooks = {name: f for name, f in vars(zoo.catalogue.hooks).items() if hasattr(f, "zoo_spec")}
    assert hooks
    for name, function in hooks.items():
        assert f"`{name}({', '.join(inspect.signature(function).parameters)})`" in PLUGINS
    for kind in KINDS:
        assert f"`register.{kind}`" in PLUGINS


# -- the command line ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", zoo.cli.COMMANDS)
def test_every_option_is_told(name: str) -> None:
    for inner in getattr(COMMANDS.get_command(None, name), "commands", [""]):
        full, command, _ = command_of([name, inner] if inner else [name])
        told = section(CLI, f"## zoo {full}")
        rows = re.findall(r"^\| (`-.*?) \|", told, re.M)
        options = {word for row in rows for word in re.findall(r"`(-[\w-]+)`", row)}
        known = [p.opts for p in command.params if p.param_type_name == "option"]
        for names in known:
            assert options & set(names), f"zoo {full} {names[0]}"
        assert options <= {option for names in known for option in names}


@pytest.mark.parametrize(("page", "line"), commands(), ids=lambda text: text[:60])
def test_every_command_parses(
    page: str, line: str, sketch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    mine = next(block for block in blocks(RECIPES, "yaml") if block.startswith("# mine.yaml"))
    Path("mine.yaml").write_text(mine, encoding="utf-8")
    name, command, words = command_of(shlex.split(line))
    given = command.make_context(name, words).params
    if name == "translate" and given["name"] in registry().cards:
        zoo.cli.translate.split(given["words"], zoo.cli.translate.controls_of(given["name"]))
    if name == "train":
        pairs = ["data.pairs=true"] if given["pairs"] else []
        narrow = ["generator.width=4", "discriminator.width=4"]
        recipe = load_recipe(given["recipe"], [*(given["set_"] or ()), *pairs, *narrow])
        build_losses(recipe, build_part("trainer", recipe.trainer, recipe=recipe))


def test_every_error_and_variable_is_told() -> None:
    errors = [e for e in vars(zoo.errors).values() if inspect.isclass(e) and issubclass(e, zoo.errors.ZooError)]
    for error in errors:
        assert f"| {error.exit_code} | `{error.__name__}` |" in CLI
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "zoo").rglob("*.py"))
    for variable in set(re.findall(r'"((?:ZOO|HF)_[A-Z_]+)"', code)):
        assert f"`{variable}`" in CLI


# -- recipes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("heading", "model"),
    [
        ("## The file", zoo.recipe.Recipe),
        ("### optimiser", zoo.recipe.Optimiser),
        ("### schedule", zoo.recipe.Schedule),
        ("### data", zoo.recipe.Data),
        ("### data.augment", zoo.recipe.Augment),
    ],
)
def test_every_key_is_told_with_its_default(heading: str, model: type[BaseModel]) -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*?) ?\| ", section(RECIPES, heading).partition("\n###")[0], re.M)
    told = dict(rows)
    assert told.keys() == model.model_fields.keys()
    for name, field in model.model_fields.items():
        default = field.get_default(call_default_factory=True)
        if field.is_required():
            assert told[name] == "required", name
        elif isinstance(default, BaseModel):
            assert told[name] == "", name
        else:
            default = list(default) if isinstance(default, tuple) else default
            assert yaml.safe_load(told[name].strip("`")) == default, name


def test_every_control_is_told() -> None:
    told = section(RECIPES, "### controls")
    for name, model in models(zoo.control).items():
        for field in model.model_fields:
            assert f"`{field}`" in told, f"{name}.{field}"


def test_every_option_of_a_part_is_told() -> None:
    told = section(RECIPES, "## Options of the parts")
    for part in host().parts():
        if part.kind in ("command", "metric", "recipe", "translator"):
            continue
        row = next((r for r in told.splitlines() if r.startswith(f"| {part.kind} ") and f"`{part.name}`" in r), None)
        assert row, f"{part.kind} {part.name}"
        for name, option in inspect.signature(host().part(part.kind, part.name)).parameters.items():
            if name not in ("channels", "recipe", "tail") and option.kind is option.POSITIONAL_OR_KEYWORD:
                assert f"`{name}`" in row, f"{part.kind} {part.name}: {name}"


def test_what_the_trainer_provides_is_told() -> None:
    recipe = load_recipe("cyclepix-small", ["generator.width=4", "discriminator.width=4"])
    trainer = build_part("trainer", recipe.trainer, recipe=recipe)
    for name in frozenset().union(*trainer.provides.values()):
        assert f"`{name.removeprefix('reverse_')}`" in RECIPES


# -- concepts -----------------------------------------------------------------------------------------------------


def test_the_road_to_a_picture_is_the_one_that_the_code_goes() -> None:
    road = re.findall(r"^\d+\. (.*)$", section(TEXT["docs/concepts.md"], "## From a name to a picture"), re.M)
    assert len(road) == 10
    told = [re.findall(r"`([\w/.-]+/[\w.-]+\.py)`", line) for line in road]
    assert all((ROOT / file).is_file() for files in told for file in files)
    stations = list(dict.fromkeys(files[0] for files in told))
    reached: dict[str, None] = {}

    def look(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_name != "<module>":
            reached.setdefault(frame.f_code.co_filename)

    sys.setprofile(look)
    try:
        zoo.load("cycleda", device="cpu").translate(Image.new("RGB", (32, 32)))
    finally:
        sys.setprofile(None)
    ours = [Path(name).relative_to(ROOT).as_posix() for name in reached if name.startswith(str(ROOT))]
    assert [file for file in ours if file in stations] == stations


# -- CONTRIBUTING -------------------------------------------------------------------------------------------------


def test_the_map_shows_every_room() -> None:
    paths = re.findall(r"`([\w./*-]+)`", "".join(re.findall(r"^\|(.*?)\|", TEXT["CONTRIBUTING.md"], re.M)))
    assert all([*ROOT.glob(path.replace("NAME", "*"))] for path in paths)
    rooms = {f"zoo/{path.parent.name}" for path in ROOT.glob("zoo/*/__init__.py")}
    assert rooms == {path for path in paths if path.startswith("zoo/")} - {"zoo/*.py"}


# -- README -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("page", "made", "size"),
    [
        ("README.md", "drawing.png", (64, 64)),
        ("plugins/zoo-cycleda/README.md", "drawing.png", (64, 64)),
        pytest.param("plugins/zoo-partstyle/README.md", "painted.png", (40, 32), marks=pytest.mark.slow),
    ],
)
def test_python_runs(
    page: str, made: str, size: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sample = ROOT / "docs/sample/eileen-collins.jpg"
    Image.open(sample).resize((64, 64)).save("me.jpg")
    Image.open(sample).resize((50, 60)).save("friend.png")
    for name in ("dog.jpg", "painting.jpg", "other.jpg"):
        Image.open(sample).resize((40, 32)).save(name)
    space: dict = {}
    for block in blocks(TEXT[page], "python"):
        fewer = block.replace('object="dog"', 'object="dog", iterations=3').replace("iterations=20", "iterations=3")
        exec(fewer, space)  # 150 show no more here
    assert Image.open(made).size == size


@pytest.mark.parametrize("page", TEXT)
def test_links_lead_somewhere(page: str) -> None:
    prose = re.sub(r"^```.*?^```$", "", TEXT[page], flags=re.M | re.S)
    for link in re.findall(r"\]\(([^)]+)\)", prose):
        if "://" not in link:
            target, _, anchor = link.partition("#")
            path = (ROOT / page).parent / target if target else ROOT / page
            assert path.exists(), link
            if anchor:
                heads = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.M)
                assert anchor in [head.lower().replace(" ", "-") for head in heads], link


def test_the_two_commands() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in ("demo", "test"):
        assert f"make {target}\n" in section(TEXT["README.md"], "## Two commands")
        assert re.search(rf"^{target}: ", makefile, re.M)
    assert os.access(ROOT / ".ci/run", os.X_OK)
    assert "make test\n" in (ROOT / ".ci/run").read_text(encoding="utf-8")


def models(module: object) -> dict[str, type[BaseModel]]:
    """The public pydantic models that a module defines."""
    name = getattr(module, "__name__", "")
    found = {key: m for key, m in vars(module).items() if inspect.isclass(m) and issubclass(m, BaseModel)}
    return {key: m for key, m in found.items() if m.__module__ == name and not key.startswith("_")}
