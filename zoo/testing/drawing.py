"""Checks of what draws: translators and their controls."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from zoo.errors import ControlError, UsageError, ZooError
from zoo.testing.check import Contract, check, once_for
from zoo.testing.elsewhere import elsewhere, possible
from zoo.testing.subject import Model, distance, photo, pil, refused, tensors_of, values
from zoo.testing.trace import changes, snapshot

SAME = 1e-4  # of a range of 1 or 2: what another order of the same sums may change
SEAM = 2 / 255  # what a picture drawn in tiles may differ by on average; shipped weights keep closer
TILE = 128
AJAR = 0.1  # how far gates are open then: attention by weights that nobody trained is chaos


class DrawingChecks(Contract):
    """A model draws pictures of any size, alike each time, and leaves nothing behind."""

    @check
    @once_for("network")
    def test_any_picture(self, model: Model, tmp_path: Path) -> None:
        """Whatever goes in, a picture of the same size comes out, with its alpha.

        A translator of your own must keep what zoo.Translator promises: replace `draw` only."""
        translator, given = model.translator(tmp_path), model.given()
        for mode, height, width in (("RGB", 37, 50), ("L", 41, 33), ("RGBA", 1, 1)):
            drawn = translator.translate(pil(height, width, mode), **given)
            wanted = "RGBA" if mode == "RGBA" else "RGB"
            told = f"{model.name} makes a {drawn.mode} of {drawn.width}×{drawn.height} of a {mode} of {width}×{height}"
            assert (drawn.mode, drawn.size) == (wanted, (width, height)), told

    @check
    @once_for("network")
    def test_batch_is_singles(self, model: Model, tmp_path: Path) -> None:
        """A picture must be drawn alike whether others are drawn with it or not.

        Look for statistics over the batch (batch norm in training mode, means over dimension 0)."""
        translator, given = model.translator(tmp_path), model.given()
        pictures = [photo(40, 48, seed=i) for i in range(3)]
        together = translator.translate(pictures, batch=3, **given)
        for one, other in zip(pictures, together):
            off = distance(translator.translate(one, **given), other)
            assert off < SAME, f"{model.name}: a picture differs by {off:.2g} when it is drawn with others"

    @check
    @once_for("network")
    def test_same_input_same_output(self, model: Model, tmp_path: Path) -> None:
        """The same picture, controls and weights must give the same result, whatever was drawn before.

        Look for random numbers (dropout, noise) and for something that the network remembers. Chance belongs into a
        control such as `seed`."""
        translator, given = model.translator(tmp_path), model.given()
        image = photo(40, 48)
        drawn = []
        for seed in (1, 2):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                drawn.append(translator.translate(image, **given))
                translator.translate(photo(40, 48, seed=5), **given)
        off = distance(*drawn)
        assert off == 0, f"{model.name}: the same picture differs by {off:.2g} the second time"

    @check
    @once_for("network")
    def test_another_device_draws_the_same(self, model: Model, tmp_path: Path) -> None:
        """On a device that is not the CPU a picture must be drawn as on the CPU.

        Make tensors where the picture is: `x.new_zeros(3)`, buffers of the module. No device is needed to check this: see
        `zoo.testing.elsewhere`."""
        if not possible():
            pytest.skip("this torch knows no devices written in Python")
        translator, given = model.translator(tmp_path, AJAR), model.given()
        image = photo(40, 48)
        here = translator.translate(image, **given)
        with elsewhere() as translator.device:
            translator.generator.to(translator.device)
            there = translator.translate(image, **given)
        off = distance(here, there)
        assert off < SAME, f"{model.name}: the picture differs by {off:.2g} on another device"

    @check
    @once_for("network")
    def test_translate_leaves_no_trace(self, model: Model, tmp_path: Path) -> None:
        """After `translate` everything is as before: modes, weights, random numbers, torch's flags, the picture.

        What a network must remember belongs into its result; what it needs to set, it must set back."""
        translator, given = model.translator(tmp_path), model.given()
        network = translator.generator.train()
        image, array = photo(40, 48), np.asarray(pil(40, 48)).copy()
        kept, held = image.clone(), array.copy()
        before, weights = snapshot(), {name: tensor.clone() for name, tensor in tensors_of(network)}
        wanted = {name: parameter.requires_grad for name, parameter in network.named_parameters()}
        for picture_ in (image, array):
            translator.translate(picture_, **given)
        changed = changes(before, snapshot())
        assert not changed, f"{model.name}: translate changes {changed}"
        assert torch.equal(image, kept) and np.array_equal(array, held), f"{model.name}: translate changes its input"
        idle = [name or "the network" for name, module in network.named_modules() if not module.training]
        assert not idle, f"{model.name}: translate leaves {idle[0]} out of training mode"
        moved = [name for name, tensor in tensors_of(network) if not torch.equal(tensor, weights[name])]
        assert not moved, f"{model.name}: translate changes {moved[0]}"
        for name, parameter in network.named_parameters():
            assert parameter.grad is None, f"{model.name}: translate leaves a gradient at {name}"
            assert parameter.requires_grad == wanted[name], f"{model.name}: translate changes requires_grad of {name}"

    @check
    @once_for("network")
    def test_tiles_leave_no_seams(self, model: Model, tmp_path: Path) -> None:
        """A picture that is drawn in tiles must be the one that is drawn whole, but for what nobody sees.

        What looks at the whole picture must be written with the functions that docs/large-pictures.md names, and no
        layer may count its pixels from the border. A network that cannot be drawn in tiles is found out and skipped."""
        translator, given = model.translator(tmp_path, AJAR), model.given()
        image = photo(144, 200)
        whole = translator.translate(image, size=0, **given)
        try:
            tiled = translator.translate(image, size=0, tile=TILE, **given)
        except UsageError as error:
            pytest.skip(f"{model.name}: {error}")
        off = float((whole - tiled).abs().mean())
        assert off < SEAM, f"{model.name}: in tiles of {TILE} pixels a picture differs by {off:.2g} on average"

    @check
    @once_for("network")
    def test_runs_in_bf16(self, model: Model, tmp_path: Path) -> None:
        """`--bf16` is offered for every model: it must run, and draw the same picture but for rounding.

        Cast what you compute with to one dtype, or leave autocast where numbers do not fit a short mantissa."""
        image, given = photo(40, 48), model.given()
        whole, short = (model.translator(tmp_path, dtype=dtype).translate(image, **given) for dtype in ("fp32", "bf16"))
        off = float((whole - short).abs().mean())
        assert off < 0.2, f"{model.name}: bf16 changes the picture by {off:.2g} on average"

    @check
    @once_for("controls")
    def test_control_has_an_effect(self, control: tuple[Model, str], tmp_path: Path) -> None:
        """Another value of a control must make another picture; it also needs a help text that says which.

        Look whether the network reads it; a constant map in front of an instance norm, say, is lost there. What has its
        effect beside other controls only: beside = {"seed": {"noise": 0.5}}."""
        model, name = control
        (declared,) = (c for c in model.controls if c.name == name)
        assert declared.help, f"{model.name}: the control {name} has no help"
        translator, image = model.loaded(tmp_path), photo(40, 48)
        if name in ("framing", "backdrop", "light", "exaggerate") and name in translator.framing:
            pytest.skip(f"{name} has its effect on pictures with faces in them alone")
        tried = values(declared)
        if not tried:
            pytest.skip(f"{declared.takes}: only {model.name} knows what {name} may be")
        known = {control.name for control in model.controls}
        others = {**model.given(), **{n: value for n, value in self.beside.get(name, {}).items() if n in known}}
        drawn = [translator.translate(image, **{**others, name: value}) for value in tried]
        pairs = (
            combinations(range(len(tried)), 2)
            if declared.type == "choice"
            else zip([0] * len(tried), range(1, len(tried)))
        )
        for one, other in pairs:
            off = distance(drawn[one], drawn[other])
            told = f"{_short(tried[one])} and {_short(tried[other])}"
            assert off > SAME, f"{model.name}: {name} = {told} make the same picture"

    @check
    @once_for("controls")
    def test_control_refuses(self, control: tuple[Model, str], tmp_path: Path) -> None:
        """A value that a control does not take must be a ControlError, not a picture.

        Give numbers a minimum and a maximum; a translator of your own must not mend values."""
        model, name = control
        (declared,) = (c for c in model.controls if c.name == name)
        translator, image = model.loaded(tmp_path), photo(40, 48)
        kind = ZooError if declared.type == "image" else ControlError
        for given in [{name: value} for value in refused(declared)] + [{f"no_{name}": 1}]:
            try:
                translator.translate(image, **{**model.given(), **given})
            except kind:
                continue
            raise AssertionError(f"{model.name}: {_short(given)} is taken, though {name} takes {declared.takes}")


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} = {_short(v)}" for name, v in value.items())
    return "a picture" if isinstance(value, Tensor) else repr(value)
