"""Recipes: inheritance, overrides, faults, and parts of other plugins."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from zoo.catalogue.host import host
from zoo.errors import ConfigError, NotFoundError, PluginError
from zoo.recipe import Recipe, load_recipe

PLAIN = {"generator": {"name": "resnet"}, "trainer": {"name": "cycle"}, "losses": {}}


def write(path: Path, **changes: object) -> str:
    path.write_text(yaml.safe_dump({**PLAIN, **changes}, allow_unicode=True), encoding="utf-8")
    return str(path)


def shipped() -> list[str]:
    return [part.name for part in host().parts() if part.kind == "recipe" and part.owner == "zoo-cycleda"]


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_recipe_is_whole(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name and recipe.plugin == "zoo-cycleda" and recipe.summary
    assert Recipe.model_validate(recipe.model_dump(mode="json")) == recipe
    assert set(recipe.network()) == {"recipe", "plugin", "generator", "translator", "controls", "working"}
    assert all(side % 4 == 0 for side in recipe.data.size)


def test_a_file_extends_a_recipe_by_name_and_one_beside_it(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "extends: cycleda\nsummary: Mine\ngenerator: {width: 8}\nlosses: {generator: {identity: null}}\n"
    )
    recipe = load_recipe(tmp_path / "mine.yaml")
    assert recipe.name == "mine" and recipe.plugin == "zoo-cycleda" and recipe.summary == "Mine"
    assert recipe.generator == {**load_recipe("cycleda").generator, "width": 8}
    assert set(recipe.losses["generator"]) == {"adversarial", "cycle"}
    path = write(tmp_path / "other.yaml", extends=str(tmp_path / "mine.yaml"), ema=0.5)
    assert load_recipe(path).ema == 0.5 and load_recipe(path).generator["width"] == 8


def test_what_pairs_change_lies_below_what_the_user_says(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("extends: cycleda\npaired: {ema: 0.5, losses: {generator: {cycle: null}}}\n")
    alone, pairs = load_recipe(path), load_recipe(path, ["data.pairs=true"])
    assert "cycle" in alone.losses["generator"] and "cycle" not in pairs.losses["generator"] and pairs.ema == 0.5
    assert load_recipe(path, ["data.pairs=true", "ema=0.25"]).ema == 0.25
    with pytest.raises(ConfigError, match="paired is 3, not a mapping"):
        load_recipe(write(tmp_path / "wrong.yaml", paired=3))


def test_what_colours_change_lies_below_what_pairs_change(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("extends: cycleda\ncoloured: {ema: 0.5, data: {batch: 2}}\npaired: {ema: 0.75}\n")
    found = {
        ("null", "false"): (0.999, 1),
        ("true", "false"): (0.5, 2),
        ("false", "true"): (0.75, 1),
        ("true", "true"): (0.75, 2),
    }
    for (colours, pairs), wanted in found.items():
        recipe = load_recipe(path, [f"data.colours={colours}", f"data.pairs={pairs}"])
        assert (recipe.ema, recipe.data.batch) == wanted
    assert load_recipe(path, ["data.colours=true", "ema=0.25"]).ema == 0.25


@pytest.mark.parametrize("name", ["cyclegan-small", "cyclese-small", "cycleda-small"])
def test_small_recipes_learn_the_drawing_of_a_sitter_where_there_is_one(name: str) -> None:
    alone, pairs = (load_recipe(name, [f"data.pairs={value}"]).losses["generator"].keys() for value in (False, True))
    assert {"style", "structure"} <= alone and {"style", "pixel", "perceptual"} <= pairs
    assert set(load_recipe(name.removesuffix("-small")).losses["generator"]) == {"adversarial", "cycle", "identity"}


def test_a_relative_base_lies_beside_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "base.yaml", ema=0.25)
    write(tmp_path / "mine.yaml", extends="base.yaml")
    monkeypatch.chdir("/")
    assert load_recipe(tmp_path / "mine.yaml").ema == 0.25


def test_overrides(tmp_path: Path) -> None:
    recipe = load_recipe(
        "cycleda",
        [
            "generator.width=32",
            "data.size=[64, 48]",
            "losses.generator.identity=null",
            "losses.generator.pixel={weight: 2, both: true}",
            "data.augment.differentiable=[colour]",
            "optimiser.lr=1e-4",
            "summary=a=b",
        ],
    )
    assert recipe.generator["width"] == 32 and recipe.generator["block"] == "dual-attention"
    assert recipe.data.size == (64, 48) and recipe.data.augment.differentiable == ["colour"]
    assert "identity" not in recipe.losses["generator"]
    assert recipe.losses["generator"]["pixel"] == {"weight": 2, "both": True}
    assert recipe.optimiser.lr == 1e-4 and recipe.summary == "a=b"
    assert load_recipe("cycleda").generator["width"] == 64  # an override leaves no trace


@pytest.mark.parametrize("text", ["width", "=3", ".a=3", "a..b=3", "generator.width=[1", "generator.width={a"])
def test_an_override_that_cannot_be_read(text: str) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        load_recipe("cycleda", [text])


@pytest.mark.parametrize(
    ("override", "message", "hint"),
    [
        ("genrator.width=3", "genrator", "did you mean generator?"),
        ("data.augment.collour=1", r"data\.augment\.collour", "did you mean colour?"),
        ("schedule.epoch=3", r"schedule\.epoch", "did you mean epochs?"),
        ("optimiser.name=sgd", "'adam' or 'adamw'", "correct the value"),
        ("optimiser.lr=-1", "greater than 0", "correct the value"),
        ("data.augment.differentiable=[blur]", r"differentiable\.0", "correct the value"),
        ("generator=resnet", "generator", "correct the value"),
        ("data=pairs", "data", "correct the value"),
        ("losses.generator.cycle=3", r"losses\.generator\.cycle", "correct the value"),
        ("losses.generator.cycle.weight=.nan", "not a number", "correct the value"),
        ("losses.generator.cycle.weight=true", "not a number", "correct the value"),
        ("ema=1", "ema", "correct the value"),
    ],
)
def test_a_value_that_does_not_fit(override: str, message: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load_recipe("cycleda", [override])
    assert hint in caught.value.hint


def test_circles_and_files_that_are_no_recipes(tmp_path: Path) -> None:
    a, b = str(tmp_path / "a.yaml"), str(tmp_path / "b.yaml")
    write(Path(a), extends=b)
    write(Path(b), extends=a)
    with pytest.raises(ConfigError, match=r"extends itself: .*a\.yaml -> .*b\.yaml -> .*a\.yaml"):
        load_recipe(a)
    for content, message in [
        ("generator: {", "cannot read recipe .*c.yaml: line "),
        ("- 1", "is not a mapping"),
        ("", "is not a mapping"),
    ]:
        (tmp_path / "c.yaml").write_text(content)
        with pytest.raises(ConfigError, match=message):
            load_recipe(tmp_path / "c.yaml")
    (tmp_path / "c.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="is not UTF-8 text"):
        load_recipe(tmp_path / "c.yaml")
    with pytest.raises(NotFoundError, match="there is no recipe file"):
        load_recipe(tmp_path / "none.yaml")
    with pytest.raises(NotFoundError, match="recipe 'cycelda'") as caught:
        load_recipe("cycelda")
    assert "cycleda" in caught.value.hint and caught.value.exit_code == 3
    (tmp_path / "d.yaml").write_text("extends: cycelda")
    with pytest.raises(NotFoundError, match="recipe 'cycelda'"):
        load_recipe(tmp_path / "d.yaml")
    assert PluginError.exit_code == ConfigError.exit_code == 2
