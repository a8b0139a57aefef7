"""Controls: declared once, checked everywhere."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from zoo.control import check, parse_controls
from zoo.errors import ConfigError, ControlError

MIX = {"type": "number", "name": "mix", "default": 0.5, "minimum": 0, "maximum": 1}
HAND = {"type": "choice", "name": "hand", "choices": ["portraits", "second-hand"], "help": "whose hand"}
UNITS = {"type": "numbers", "name": "units", "length": 3, "minimum": 0, "maximum": 5}
SMOOTH = {"type": "flag", "name": "smooth_it", "default": True}
OTHER = {"type": "image", "name": "other"}


def test_defaults_fill_what_is_not_given():
    controls = parse_controls([MIX, HAND, UNITS, SMOOTH, {**OTHER, "required": False}])
    assert check(controls, {}) == {
        "mix": 0.5, "hand": "portraits", "units": (0, 0, 0), "smooth_it": True, "other": None,
    }  # fmt: skip


def test_given_values_are_kept():
    controls = parse_controls([MIX, HAND, UNITS, SMOOTH, OTHER])
    given = {"mix": 1, "hand": "second-hand", "units": [1, 2, 3.5], "smooth_it": False, "other": "face.png"}
    assert check(controls, given) == {**given, "units": (1, 2, 3.5)}


@pytest.mark.parametrize("value", [np.float32(0.25), torch.tensor(0.25), np.float64(0.25)])
def test_a_number_may_come_from_numpy_or_torch(value):
    assert check(parse_controls([MIX]), {"mix": value}) == {"mix": 0.25}


@pytest.mark.parametrize("value", [-0.01, 1.01, float("nan"), float("inf"), "0.5", True, None, [0.5]])
def test_a_number_out_of_range_is_refused_with_the_range(value):
    with pytest.raises(ControlError, match=r"mix = .* is not a number from 0 to 1"):
        check(parse_controls([MIX]), {"mix": value})


@pytest.mark.parametrize("value", [float("inf"), -float("inf"), float("nan")])
def test_a_number_without_a_range_is_finite_still(value):
    with pytest.raises(ControlError, match="is not a number"):
        check(parse_controls([{"type": "number", "name": "mix"}]), {"mix": value})


UNSAID = {"type": "number", "name": "unit", "default": None, "minimum": 0, "maximum": 3}


def test_a_number_may_be_what_the_model_says() -> None:
    (unit,) = parse_controls([UNSAID])
    assert check([unit], {}) == check([unit], {"unit": None}) == {"unit": None}
    assert check([unit], {"unit": 0}) == {"unit": 0} and unit.text("1.5") == 1.5
    assert unit.default_value() is None and unit.takes == "a number from 0 to 3"
    for wrong in (3.5, -1, "1", True, float("nan")):
        with pytest.raises(ControlError, match=r"unit = .* is not a number from 0 to 3"):
            check([unit], {"unit": wrong})
    with pytest.raises(ControlError, match="unit = 'None' is not a number from 0 to 3"):
        unit.text("None")


@pytest.mark.parametrize("value", [[1, 2], [1, 2, 3, 4], [1, 2, 6], [1, 2, float("nan")], 3, "1,2,3"])
def test_numbers_need_length_and_range(value):
    with pytest.raises(ControlError, match="3 numbers from 0 to 5"):
        check(parse_controls([UNITS]), {"units": value})


STEPS = {"type": "integer", "name": "steps", "minimum": 1, "maximum": 500}
WORDS = {"type": "text", "name": "object", "default": "dog"}
SHARES = {"type": "numbers", "name": "shares", "minimum": 0}
STYLES = {"type": "image", "name": "style", "many": True}


@pytest.mark.parametrize("value", [0, 501, 2.5, True, "3", float("nan")])
def test_a_whole_number_is_whole_and_in_range(value):
    with pytest.raises(ControlError, match=r"steps = .* is not a whole number from 1 to 500"):
        check(parse_controls([STEPS]), {"steps": value})


def test_whole_numbers_text_and_lists_of_any_length():
    controls = parse_controls([STEPS, WORDS, SHARES, STYLES])
    steps, words, shares, styles = controls
    given = {"style": "a.png"}
    assert check(controls, given) == {"steps": None, "object": "dog", "shares": None, "style": ["a.png"]}
    more = {"steps": np.int64(3), "object": "cat, dog", "shares": (2, 1), "style": ("a.png", "b.png")}
    assert check(controls, more) == {
        "steps": 3, "object": "cat, dog", "shares": (2, 1), "style": ["a.png", "b.png"],
    }  # fmt: skip
    assert (steps.text("20"), words.text("cat"), shares.text("1,2,3")) == (20, "cat", (1, 2, 3))
    assert torch.equal(steps.tensor(3, 2), torch.tensor([3, 3]))
    assert words.tensor("dog", 2) == "dog"
    assert torch.equal(shares.tensor((2, 1), 2), torch.tensor([[2.0, 1]] * 2))
    pictures = styles.tensor([torch.zeros(3, 4, 5), torch.zeros(3, 6, 7)], 2)
    assert [picture.shape for picture in pictures] == [(2, 3, 4, 5), (2, 3, 6, 7)]


@pytest.mark.parametrize(("spec", "value"), [(WORDS, ""), (WORDS, 1), (WORDS, "a\nb"), (SHARES, []), (STYLES, [])])
def test_nothing_is_not_a_value(spec, value):
    with pytest.raises(ControlError):
        check(parse_controls([spec]), {spec["name"]: value})


def test_a_wrong_choice_names_the_near_one():
    with pytest.raises(ControlError, match="did you mean second-hand"):
        check(parse_controls([HAND]), {"hand": "second_hand"})


@pytest.mark.parametrize("value", [1, "true", None])
def test_a_flag_is_true_or_false(value):
    with pytest.raises(ControlError, match="true or false"):
        check(parse_controls([SMOOTH]), {"smooth_it": value})


def test_a_required_picture_that_is_missing():
    with pytest.raises(ControlError, match="other is missing"):
        check(parse_controls([OTHER]), {})


def test_an_unknown_control_names_the_near_one():
    with pytest.raises(ControlError, match=r"no control is called hnd.*did you mean hand"):
        check(parse_controls([HAND, MIX]), {"hnd": "portraits"})


def test_of_many_controls_the_first_are_named():
    many = [{**SMOOTH, "name": f"way{number}"} for number in range(60)]
    with pytest.raises(ControlError, match=r"there are: way0, way1, way2, .*, way19 and 40 more"):
        check(parse_controls(many), {"expression": True})


def test_a_model_without_controls_says_so():
    with pytest.raises(ControlError, match="there are none"):
        check([], {"hand": "portraits"})


def test_text_of_the_command_line():
    mix, hand, units, smooth, other = parse_controls([MIX, HAND, UNITS, SMOOTH, OTHER])
    assert mix.text("0.75") == 0.75
    assert hand.text("second-hand") == "second-hand"
    assert units.text("1,0,2.5") == (1, 0, 2.5)
    assert (smooth.text("yes"), smooth.text("off")) == (True, False)
    assert other.text("a.png") == "a.png"
    assert smooth.option == "--smooth-it"
    for control, text in ((mix, "much"), (mix, "2"), (hand, "third"), (units, "1,2"), (smooth, "maybe")):
        with pytest.raises(ControlError):
            control.text(text)


def test_tensors_for_a_batch():
    mix, hand, units, smooth, other = parse_controls([MIX, HAND, UNITS, SMOOTH, OTHER])
    assert torch.equal(mix.tensor(0.5, 2), torch.tensor([0.5, 0.5]))
    assert torch.equal(hand.tensor("second-hand", 2), torch.tensor([1, 1]))
    assert torch.equal(units.tensor((1, 2, 3), 2), torch.tensor([[1.0, 2, 3]] * 2))
    assert torch.equal(smooth.tensor(False, 3), torch.tensor([False] * 3))
    assert other.tensor(torch.zeros(3, 4, 5), 2).shape == (2, 3, 4, 5)


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"type": "number", "name": "mix", "default": 2, "maximum": 1}, "mix = 2.0 is not a number of at most 1"),
        ({"type": "choice", "name": "hand", "choices": ["a"], "default": "b"}, "not one of a"),
        ({"type": "choice", "name": "hand", "choices": []}, "choices"),
        ({"type": "choice", "name": "hand"}, "choices: Field required"),
        ({"type": "slider", "name": "hand"}, "slider"),
        ({"type": "flag", "name": "hand", "colour": 1}, "colour"),
        ({"type": "flag", "name": "size"}, "taken by an option"),
        ({"type": "flag", "name": "--size"}, "name"),
        ({"name": "hand"}, "type"),
    ],
)
def test_a_wrong_declaration_is_refused(spec, told):
    with pytest.raises(ConfigError) as caught:
        parse_controls([HAND | {"name": "fine"}, spec])
    assert told in str(caught.value)


def test_two_controls_of_one_name_are_refused():
    with pytest.raises(ConfigError, match="mix is declared twice"):
        parse_controls([MIX, MIX])


def test_import_needs_no_torch():
    code = "import sys, zoo.control, zoo.weights.file, zoo.helpers.files; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
