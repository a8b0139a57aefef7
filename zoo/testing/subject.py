"""What the contract kit tries a plugin on: its recipes made tiny, smooth random pictures, steps of its trainers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import default_collate

from zoo.catalogue.host import host
from zoo.control import Choice, Control, Flag, Integer, Number, Numbers, Text, parse_controls
from zoo.control import Image as ImageControl
from zoo.errors import ZooError
from zoo.generator import Generator, SizeRule, build_generator
from zoo.loading import load
from zoo.recipe import Recipe, load_recipe
from zoo.trainer import Trainer
from zoo.translator import Translator
from zoo.weights.file import save_weights

TINY = 2_000_000  # parameters, and
LONGEST = 128  # pixels that a recipe may have to be trained here


@dataclass(frozen=True)
class Model:
    """A recipe of a plugin, with what its key ``tiny`` says. ``always`` are controls that all its pictures get."""

    name: str
    always: Mapping[str, Any] = field(default_factory=dict, compare=False)
    kept: dict[str, Translator] = field(default_factory=dict, compare=False, repr=False)
    files: dict[float, Path] = field(default_factory=dict, compare=False, repr=False)

    def __str__(self) -> str:
        return self.name

    @cached_property
    def recipe(self) -> Recipe:
        return two_hands(self._written)

    @cached_property
    def _written(self) -> Recipe:
        return load_recipe(self.name, tiny=True)

    def kind(self, of: str) -> str:
        """Recipes of one kind differ in numbers alone. ``of`` is "recipe"; "network", what a weights file says; or
        "controls", the network but for its blocks, which see no control."""
        try:
            recipe = self._written
        except ZooError:  # another check says so
            return self.name
        facts = recipe.model_dump(mode="json") if of == "recipe" else recipe.network()
        if of == "controls":
            facts["generator"] = {key: value for key, value in recipe.generator.items() if key != "block"}
        kept = {key: value for key, value in facts.items() if key not in ("name", "recipe", "summary")}
        return json.dumps(_numberless(kept), sort_keys=True)

    def says(self, of: str) -> set[str]:
        """Its `kind`; "facts": what the recipe says, but for numbers, each by itself: a block, a loss of a phase, an option
        of either."""
        if of != "facts":
            return {self.kind(of)}
        try:
            return set(_lines(json.loads(self.kind("recipe"))))
        except ValueError:  # its recipe is wrong
            return {self.name}

    @property
    def controls(self) -> list[Control]:
        return parse_controls(self.recipe.controls)

    def generator(self, seed: int = 0, gates: float = 0.7) -> Generator:
        """The network with weights that are all in use: a gate that starts at 0 would hide what lies behind it."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return stir(build_generator(self.recipe.network()), seed, gates).eval()

    def needs_generator(self) -> None:
        """Skip what asks a network for a picture, for a model whose translator draws without one."""
        if type(self.generator()).parts is Generator.parts:
            pytest.skip(f"{self.name} draws with its translator: its network has no `parts`")

    def translator(self, folder: Path, gates: float = 0.7, **settings: Any) -> Translator:
        """As a user gets it of a weights file, which is written once."""
        if gates not in self.files:
            path = folder / f"{self.name}-{gates}.safetensors"
            save_weights(path, self.generator(gates=gates).state_dict(), self.recipe.network(), bits=32)
            self.files[gates] = path
        return load(self.files[gates], device="cpu", **settings)

    def loaded(self, folder: Path) -> Translator:
        """One translator for all that only look at pictures: other checks see that it remembers nothing."""
        if "translator" not in self.kept:
            self.kept["translator"] = self.translator(folder)
        return self.kept["translator"]

    def sizes(self) -> list[tuple[int, int]]:
        """Sizes (H, W) that the network says it takes: the least, others than square, odd multiples."""
        rule: SizeRule = self.generator().size
        if rule.fixed:
            return [rule.fixed]
        step = rule.multiple_of
        least = -(-rule.minimum // step) * step
        return [(least, least), (least, least + step), (least + 3 * step, least + step)]

    def tensors(self, n: int, size: tuple[int, int]) -> dict[str, Any]:
        """The controls at their defaults, or as the kit always gives them, as the generator takes them."""
        found: dict[str, Any] = {}
        part = self.recipe.translator
        kind = host().part("translator", part) if part else Translator
        for control in self.controls:
            if control.name in kind.framing | kind.finishing:
                continue
            value: Any = None
            if control.name in self.always:
                value = self.always[control.name]
                if isinstance(control, ImageControl):
                    value = [2 * value - 1] if control.many else 2 * value - 1
            elif not isinstance(control, ImageControl):
                value = control.default_value()
            elif control.required:
                value = [picture(*size, seed=7)] if control.many else picture(*size, seed=7)
            if value is not None:
                found[control.name] = control.tensor(value, n)
        return found

    def given(self) -> dict[str, Any]:
        """What a user has to give besides the picture, and what the kit always gives."""
        always = {c.name: self.always[c.name] for c in self.controls if c.name in self.always}
        needed = [c.name for c in self.controls if isinstance(c, ImageControl) and c.required]
        return {name: photo(40, 40, seed=7) for name in needed} | always

    # -- training -----------------------------------------------------------------------------------------------------

    def needs_training(self) -> None:
        """Skip what trains, for a recipe that is not trained, or would take too long."""
        pytest.importorskip("accelerate", reason="training needs pip install 'zoo-core[train]'")
        if not self.recipe.losses:
            pytest.skip(f"{self.name} configures no losses: it is not trained")
        if told := self.too_large():
            pytest.skip(told)

    def too_large(self) -> str:
        """Why the recipe, made tiny, still is too large to be trained here; "" if it is not."""
        count = sum(p.numel() for p in self.trainer().networks.parameters() if p.requires_grad)
        size = self.recipe.data.size
        if count > TINY or max(size) > LONGEST:
            return f"{self.name} trains {count:,} parameters at {size[0]}×{size[1]}: give its recipe a smaller `tiny:`"
        return ""

    def trainer(self) -> Trainer:
        from zoo.train.takes import build_trainer

        return build_trainer(self.recipe)

    def engine(self, pictures: Path, out: Path, *overrides: str, **options: Any) -> Any:
        """The real engine on generated pictures; its networks and data are the recipe's, but for ``overrides``."""
        from zoo.train.engine import Engine, Options

        recipe = two_hands(load_recipe(self.name, overrides, tiny=True))
        hands = 2 if recipe.generator.get("labels") == 2 else 1
        photos = [pictures / f"photos-{i}" for i in range(hands)]
        drawings = [(f"hand-{i}", pictures / f"drawings-{i}") for i in range(hands)]
        settings: dict[str, Any] = {"device": "cpu", "steps": 6, **options}
        kind: type[Trainer] = host().part("trainer", str(recipe.trainer.get("name")))
        data = kind.pictures(photos, drawings if kind.domains > 1 else [], recipe.data, 0)
        return Engine(recipe, data, Options(out=out, **settings))


def _numberless(value: Any) -> Any:
    """The value with 1 for every number but 0, which switches things off."""
    if isinstance(value, Mapping):
        return {key: _numberless(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_numberless(one) for one in value]
    return int(bool(value)) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _lines(value: Any, place: str = "") -> Iterator[str]:
    """Each value with its place; the places of lists have no number."""
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield from _lines(one, f"{place}.{key}")
    elif isinstance(value, list):
        for one in value:
            yield from _lines(one, place)
    else:
        yield f"{place}: {value}"


def two_hands(recipe: Recipe) -> Recipe:
    from zoo.train.run import with_hands

    hands = 2 if any(control.get("name") == "hand" for control in recipe.controls) else 1
    return with_hands(recipe, [(f"hand-{i}", Path()) for i in range(hands)])


def batch(engine: Any) -> dict[str, Tensor]:
    """Two samples of the engine's data."""
    return default_collate([engine.data[i] for i in range(2)])


def yielded(
    trainer: Trainer, data: Mapping[str, Tensor], losses: Mapping[str, Any] = {}
) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
    """What a step yields for each phase, of the first step that does not leave the phase out; with what the ``losses`` of
    the phase read of the batch."""
    waiting = list(trainer.phases)
    for _ in range(16):
        step = trainer.step(data)
        for phase, made in zip(trainer.phases, step):
            if made and phase in waiting:
                waiting.remove(phase)
                held = losses[phase].held - made.keys() if phase in losses else ()
                yield phase, {**made, **{name: data[name] for name in held}}
        next(step, None)  # to the end of the step
        if not waiting:
            return
    raise AssertionError(f"{type(trainer).__name__} leaves out its phase {waiting[0]} in 16 steps")


def stir(network: Any, seed: int = 0, gates: float = 0.7) -> Any:
    """Every parameter a little off its start, by the scale of its layer; a single number more, as ``gates`` says."""
    rng = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        fan = parameter.numel() / len(parameter) if parameter.dim() > 1 else 1
        noise = torch.rand(parameter.shape, generator=rng) - 0.5
        parameter.data += noise / fan**0.5 + (0.0 if parameter.dim() else gates)
    return network


def tensors_of(network: nn.Module) -> list[tuple[str, Tensor]]:
    """Parameters and buffers, those too that no file holds."""
    return [*network.named_parameters(), *network.named_buffers()]


def distance(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max())


# -- pictures -------------------------------------------------------------------------------------------------------------


def picture(height: int, width: int, seed: int = 0) -> Tensor:
    """A smooth random picture (3,H,W) in [-1,1]."""
    coarse = torch.rand(1, 3, 5, 4, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return nn.functional.interpolate(coarse, (height, width), mode="bicubic", align_corners=False)[0].clamp(-1, 1)


def photo(height: int, width: int, seed: int = 0) -> Tensor:
    """The same as a user gives it: (3,H,W) in [0,1]."""
    return (picture(height, width, seed) + 1) / 2


def pil(height: int, width: int, mode: str = "RGB", seed: int = 0) -> Image.Image:
    array = (photo(height, width, seed) * 255).round().byte().permute(1, 2, 0).numpy()
    image = Image.fromarray(np.ascontiguousarray(array)).convert(mode)
    if mode == "RGBA":
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image


def write_pictures(folder: Path, count: int = 3) -> Path:
    """Two folders of photographs and two of drawings, with equal names."""
    for seed, name in enumerate(("photos-0", "photos-1", "drawings-0", "drawings-1")):
        (folder / name).mkdir()
        for i in range(count):
            pil(80 + i, 72, seed=100 * seed + i).save(folder / name / f"{i}.png")
    return folder


# -- controls -------------------------------------------------------------------------------------------------------------


def values(control: Control) -> list[Any]:
    """Values of which each must make another picture than the first; of text only the model knows any."""
    if isinstance(control, Text):
        return []
    if isinstance(control, Number):
        low, high, default = control.minimum, control.maximum, control.default or 0.0
        return [low if low > -1e9 else default - 1, high if high < 1e9 else default + 1]
    if isinstance(control, Integer):
        low = control.minimum if control.minimum > -(2**53) else 0
        return [low, min(low + 7, control.maximum)]  # the next may be too near: an iteration more is no better at once
    if isinstance(control, Numbers):
        base = list(control.default_value() or [1.0] * (control.length or 2))
        top = control.maximum if control.maximum < 1e9 else max(base) + 1
        other = [top if value != top else (control.minimum if control.minimum > -1e9 else top - 1) for value in base]
        return [base, *([*base[:i], other[i], *base[i + 1 :]] for i in range(len(base)))]
    if isinstance(control, Choice):
        return list(control.choices)
    return [False, True] if isinstance(control, Flag) else [photo(40, 40, seed=8), photo(40, 40, seed=9)]


def refused(control: Control) -> list[Any]:
    """Values that the control does not take."""
    if isinstance(control, Number | Integer | Numbers):
        wrong: list[Any] = [float("nan"), "much"]
        wrong += [control.maximum + 1] if control.maximum < 1e9 else []
        wrong += [control.minimum - 1] if control.minimum > -1e9 else []
        wrong += [0.5 + max(control.minimum, 0)] if isinstance(control, Integer) else []
        return [[value] * (control.length or 2) for value in wrong] + [[]] if isinstance(control, Numbers) else wrong
    if isinstance(control, Text):
        return [1, "", "a\nb"]
    return [object()] if isinstance(control, ImageControl) else ["no-such-value", 0.5]
