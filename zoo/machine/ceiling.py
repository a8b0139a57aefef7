"""A ceiling for a network that is being built: a number in a file may ask for more than any machine has."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch.nn.modules import module
from torch.overrides import TorchFunctionMode

from zoo.errors import IntegrityError

_DRAWS = frozenset(
    {"normal_", "uniform_", "bernoulli_", "random_", "exponential_", "cauchy_", "log_normal_", "geometric_"}
)


@contextmanager
def without_memory() -> Iterator[None]:
    """Networks that are built within have names, shapes and types, and no numbers."""
    with torch.device("meta"), unfilled():
        yield


class unfilled(TorchFunctionMode):
    """Networks that are built within draw no numbers for their parameters: a file brings them, and all of them.

    Nor for tensors without memory, where torch would import its compiler to do so."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        first = args[0] if args else kwargs.get("tensor")
        fills = name in _DRAWS or (name.endswith("_") and getattr(func, "__module__", "") == "torch.nn.init")
        vain = isinstance(first, torch.nn.Parameter) or (isinstance(first, torch.Tensor) and first.is_meta)
        return first if fills and vain else func(*args, **kwargs)


@contextmanager
def ceiling(tensors: int, elements: int) -> Iterator[None]:
    """IntegrityError as soon as this thread builds far more than this, which is what its weights file holds.

    A network may have parts beside those in the file, as the eyes of its losses; hence the room.
    """
    thread = threading.get_ident()
    left = {"tensors": 4 * tensors + 500, "modules": 20 * tensors + 2000, "numbers": 2 * elements + 100_000_000}

    def take(what: str, count: int) -> None:
        if threading.get_ident() != thread:
            return
        left[what] -= count
        if left[what] < 0:
            raise IntegrityError(
                "the network that the weights file asks for is far larger than what it holds", "its header is damaged"
            )

    def tensor(_: Any, name: str, value: Any) -> None:
        if value is not None:
            take("tensors", 1)
            with suppress(ValueError):  # a lazy parameter has no size yet
                take("numbers", value.numel())

    hooks = [
        module.register_module_parameter_registration_hook(tensor),
        module.register_module_buffer_registration_hook(tensor),
        module.register_module_module_registration_hook(lambda *_: take("modules", 1)),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
