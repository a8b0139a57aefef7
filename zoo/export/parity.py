"""An exported network beside the original: the same pictures through onnxruntime and through PyTorch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.control import Choice, Control, Flag, Image, Integer, Number, Numbers
from zoo.errors import IntegrityError, describe
from zoo.generator import SizeRule

BOUND = 1 / 255
"""The largest difference in [-1, 1] that is let through: half a step of an 8-bit picture."""

LONGEST = 256
"""Side of the largest pictures compared, unless the size is fixed: attention takes gigabytes at larger ones."""


@dataclass(frozen=True)
class Comparison:
    """``pictures`` of one size drawn by both: differences in [-1, 1], and the seconds that each took."""

    pictures: int
    height: int
    width: int
    largest: float
    mean: float
    torch_seconds: float
    onnx_seconds: float


def compare(content: bytes, network: nn.Module, cases: Iterable[dict[str, Tensor]]) -> Iterator[Comparison]:
    """The ONNX file ``content`` and ``network``, which take the tensors of a case by name and in order, on the CPU.

    IntegrityError if onnxruntime cannot run the file, or draws something else.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()  # the same for both
    options.log_severity_level = 4  # what is wrong is raised
    with _onnxruntime():
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    for inputs in cases:
        n, _, height, width = inputs["image"].shape
        with torch.no_grad():
            wanted, torch_seconds = _timed(partial(network, *inputs.values()))
        with _onnxruntime():
            arrays = {name: tensor.numpy() for name, tensor in inputs.items()}
            (found,), onnx_seconds = _timed(partial(session.run, ["output"], arrays))
        if found.shape != wanted.shape:
            raise _differs(f"an output of {found.shape}", f"PyTorch {tuple(wanted.shape)}")
        difference = np.abs(found - wanted.numpy())
        largest, mean = float(difference.max()), float(difference.mean(dtype=np.float64))
        if not largest <= BOUND:  # nor is NaN
            raise _differs(
                f"another picture at {height}x{width}, off by {largest:.2g} in [-1, 1]", f"{BOUND:.2g} is let through"
            )
        yield Comparison(n, height, width, largest, mean, torch_seconds, onnx_seconds)


def sizes(rule: SizeRule, working: int) -> list[tuple[int, int, int]]:
    """(N, H, W) to compare at: the smallest, odd multiples, wide, and upright; or the one that the rule fixes."""
    if rule.fixed:
        return [(3, *rule.fixed), (1, *rule.fixed)]
    longest = min(working or LONGEST, LONGEST)
    least, long, tall = (rule.above(length) for length in (1, longest, 0.7 * longest))
    odd, odder = ((rule.above(part * longest) // rule.multiple_of | 1) * rule.multiple_of for part in (0.5, 0.3))
    return list(dict.fromkeys([(3, least, least), (2, odd, odder), (1, least, long), (1, long, tall)]))


def examples(controls: Sequence[Control], n: int, height: int, width: int) -> dict[str, Tensor]:
    """``image`` and each control for ``n`` pictures, with other values for each of them."""
    tensors = {"image": _pictures(n, height, width)}
    for i, control in enumerate(controls, 1):
        if isinstance(control, Image):
            tensors[control.name] = _pictures(n, height, width, seed=i)
        else:
            values = _values(control)
            tensors[control.name] = torch.cat([control.tensor(values[(n + i + k) % len(values)], 1) for k in range(n)])
    return tensors


def _pictures(n: int, height: int, width: int, seed: int = 0) -> Tensor:
    """(n, 3, height, width) in [-1, 1]: blots and edges of every scale, as photographs have them."""
    chance = torch.Generator().manual_seed(seed)
    image = torch.zeros(n, 3, height, width)
    for octave in range(7):
        blots = torch.randn(n, 3, 2**octave + 1, 2**octave + 1, generator=chance) / 1.5**octave
        image += F.interpolate(blots, (height, width), mode="nearest" if octave % 2 else "bilinear")
    return image.tanh()


def _values(control: Control) -> list[Any]:
    """All of a choice, or the default and the ends of the range."""
    if isinstance(control, Choice):
        return [*control.choices]
    if isinstance(control, Flag):
        return [False, True]
    assert isinstance(control, Number | Integer | Numbers)
    low = control.minimum if abs(control.minimum) < 2**53 else min(0, control.maximum) - 1
    high = control.maximum if abs(control.maximum) < 2**53 else max(0, control.minimum) + 1
    if isinstance(control, Numbers):
        return [control.default_value(), *((end,) * (control.length or 1) for end in (low, high))]
    return [control.default_value(), low, high]


def _timed(call: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    return call(), time.perf_counter() - start


@contextmanager
def _onnxruntime() -> Iterator[None]:
    try:
        yield
    except Exception as error:  # its classes have no root of their own
        raise IntegrityError(
            f"onnxruntime cannot run the exported network: {describe(error)}", "--debug shows all"
        ) from error


def _differs(found: str, allowed: str) -> IntegrityError:
    return IntegrityError(
        f"onnxruntime draws {found}; {allowed}", "nothing was written; report this to the plugin's author"
    )
