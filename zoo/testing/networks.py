"""Checks of networks: how they are built, what sizes they take, how their weights are kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from zoo.errors import IntegrityError
from zoo.generator import build_generator, build_part
from zoo.loading import load
from zoo.recipe import load_recipe
from zoo.testing.check import Contract, check, once_for
from zoo.testing.subject import Model, distance, photo, picture, stir, tensors_of
from zoo.weights.file import load_weights, save_weights


class NetworkChecks(Contract):
    """A network is known by its recipe, and nothing but its weights decides what it makes."""

    @check
    def test_builds_on_the_meta_device(self, model: Model) -> None:
        """The network must be built without memory for its weights, to know names and shapes before a file is read.

        Make tensors with torch's functions and no device=, and compute nothing from their values in __init__."""
        recipe = load_recipe(model.name)
        with torch.device("meta"):
            network = build_generator(recipe.network())
        real = [name for name, tensor in tensors_of(network) if tensor.device.type != "meta"]
        assert not real, f"{model.name}: {real[0]} is made on another device than the one that torch is told"
        if not recipe.losses:
            return
        with torch.device("meta"):
            trainer = build_part("trainer", recipe.trainer, recipe=recipe)
        trained = {name: tensor.shape for name, tensor in trainer.networks[trainer.exported].state_dict().items()}
        alone = {name: tensor.shape for name, tensor in network.state_dict().items()}
        different = sorted(trained.items() ^ alone.items())
        assert not different, (
            f"{model.name}: the trainer's {trainer.exported!r} is another network at {different[0][0]}"
        )

    @check
    @once_for("network")
    def test_sizes(self, model: Model) -> None:
        """The network must take every size that its `size` rule allows, and give float32 pictures of it in [-1, 1].

        Correct SizeRule(multiple_of, minimum), or the network's paddings and its last layer."""
        model.needs_generator()
        network = model.generator()
        for size in model.sizes():
            for n in (1, 2):
                image = torch.stack([picture(*size, seed=i) for i in range(n)])
                where, kept = f"{model.name} at {n} × {size[0]}×{size[1]}", image.clone()
                try:
                    with torch.no_grad():
                        made = network.parts(image, **model.tensors(n, size))
                except RuntimeError as error:
                    raise AssertionError(f"{where}: {str(error).splitlines()[0]}") from error
                assert torch.equal(image, kept), f"{where}: the network writes into the picture that it gets"
                drawn = made["image"]
                assert drawn.shape == image.shape, f"{where}: the picture comes out as {tuple(drawn.shape)}"
                assert drawn.dtype == torch.float32, f"{where}: the picture is {drawn.dtype}, not float32"
                assert drawn.isfinite().all(), f"{where}: the picture holds NaN or infinity"
                assert drawn.abs().max() <= 1, f"{where}: the picture reaches {float(drawn.abs().max()):.3g}, beyond 1"

    @check
    @once_for("network")
    def test_makes_what_it_says(self, model: Model) -> None:
        """`parts` must give `image` and the names in `makes`, and no others: losses are checked against them.

        A network whose parts depend on its options sets self.makes in __init__."""
        model.needs_generator()
        network, size = model.generator(), model.sizes()[0]
        with torch.no_grad():
            made = network.parts(picture(*size)[None], **model.tensors(1, size))
        assert "image" in made, f"{model.name}: parts gives no image"
        different = made.keys() ^ {"image", *network.makes}
        assert not different, f"{model.name}: {min(different)} is in only one of parts and makes"

    @check
    @once_for("network")
    def test_gradients(self, model: Model) -> None:
        """Every parameter of the network must have a part in the picture; one without is never trained.

        Look for layers that are built and not called, for `detach`, rounding, and a bias in front of a norm."""
        model.needs_generator()
        size = model.sizes()[-1]
        missing: set[str] = set()
        for seed in range(4):  # a ReLU may be shut for one set of weights
            network = model.generator(seed).train()
            names = {name for name, p in network.named_parameters() if p.requires_grad}
            image = torch.stack([picture(*size, seed=seed + i) for i in range(2)])
            drawn = network(image, **model.tensors(2, size))
            assert drawn.requires_grad or not names, f"{model.name}: the picture has no gradient at all"
            if names:
                (drawn * torch.rand(drawn.shape, generator=torch.Generator().manual_seed(seed))).sum().backward()
            found = {name for name, p in network.named_parameters() if useful(p.grad)}
            missing = (missing if seed else names) - found
        assert not missing, f"{model.name}: {min(missing)} gets no gradient"

    @check
    @once_for("network")
    def test_weights_round_trip(self, model: Model, tmp_path: Path) -> None:
        """Saved and loaded, a network must draw the same picture.

        What decides the picture must be a parameter or a buffer, not a plain attribute or a non-persistent buffer that
        each construction draws anew."""
        given, image = model.given(), photo(40, 48)
        first = model.translator(tmp_path)
        drawn = first.translate(image, **given)
        path = tmp_path / "again.safetensors"
        save_weights(path, first.generator.state_dict(), model.recipe.network(), bits=32)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(99)
            second = load(path, device="cpu")
        for (name, one), (_, other) in zip(tensors_of(first.generator), tensors_of(second.generator)):
            assert torch.equal(one, other), f"{model.name}: {name} does not survive a weights file"
        off = distance(second.translate(image, **given), drawn)
        assert off == 0, f"{model.name}: loaded again it draws a picture that differs by {off:.2g}"

    @check
    @once_for("network")
    def test_wrong_weights_are_refused(self, model: Model, tmp_path: Path) -> None:
        """A weights file with a tensor missing, renamed or of another shape must be refused, and change nothing.

        `state_dict` must name every tensor, and must not touch the network."""
        state, path = model.generator().state_dict(), tmp_path / "wrong.safetensors"
        if not state:
            pytest.skip(f"{model.name} has no weights")
        network = stir(build_generator(model.recipe.network()), 5)
        before = {name: tensor.clone() for name, tensor in tensors_of(network)}
        for fault, wrong in _wrong(state):
            save_weights(path, wrong, model.recipe.network(), bits=32)
            try:
                load_weights(path, network)
            except IntegrityError:
                pass
            else:
                raise AssertionError(f"{model.name}: a file with a tensor {fault} is taken")
            moved = [name for name, tensor in tensors_of(network) if not torch.equal(tensor, before[name])]
            assert not moved, f"{model.name}: a file with a tensor {fault} is refused, but {moved[0]} has changed"


def useful(gradient: Tensor | None) -> bool:
    """Is there a gradient, finite, and not 0 everywhere but for rounding?"""
    return gradient is not None and bool(gradient.isfinite().all()) and float(gradient.abs().max()) > 1e-9


def _wrong(state: dict[str, Tensor]) -> Iterator[tuple[str, dict[str, Tensor]]]:
    last = list(state)[-1]
    rest = {name: tensor + 1 for name, tensor in state.items() if name != last}
    yield "missing", rest
    yield "renamed", {**rest, f"{last}.old": state[last]}
    yield "of another shape", {**rest, last: torch.zeros(*state[last].shape, 2)}
    yield "too many", {**rest, last: state[last], "extra": torch.zeros(2)}
