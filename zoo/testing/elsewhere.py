"""A device beside the CPU for those who have none: what mixes it with the CPU fails as it would with CUDA, results are the CPU's.

Its tensors hold one of the CPU each, and say that they lie elsewhere. Every operation of torch goes through `_carried`,
which looks where its arguments are, computes on the CPU, and sends the result elsewhere again. As with CUDA a number, an index
and a copy may be of the CPU. Autocast is not known there, nor do kernels written for one device alone run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map_only

NAME = "elsewhere"
COPIES = "_to_copy", "copy_"  # from one device to another
INDEXED = "index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"  # by tensors of the CPU, too
CONSTRUCTORS = torch.tensor, torch.as_tensor, torch.asarray
GRADIENTS = Tensor.backward, torch.autograd.backward, torch.autograd.grad
INDEXING = Tensor.__getitem__, Tensor.__setitem__


def possible() -> bool:
    """Whether this torch lets a device be written in Python; older ones do not."""
    return hasattr(backend_registration, "_setup_privateuseone_for_python_backend")


@cache
def device() -> torch.device:
    """The device. A process has one place for such, which it takes; nobody who looks for devices finds it."""

    class Module(backend_registration._DummyBackendModule):
        def is_available(self) -> bool:
            return False

        def device_count(self) -> int:
            return 0

        def get_amp_supported_dtype(self) -> list[torch.dtype]:
            return []  # asked where autocast is switched off, too

    class Hook(backend_registration._DummyPrivateUse1Hook):
        def is_available(self) -> bool:
            return False

    backend_registration._setup_privateuseone_for_python_backend(NAME, Module(), Hook())
    return torch.device(NAME, 0)


class Elsewhere(Tensor):
    """A tensor that lies elsewhere. ``here`` is what it really is."""

    here: Tensor

    @staticmethod
    def __new__(cls, here: Tensor) -> Elsewhere:
        with torch.inference_mode(False):  # what looks into an ordinary tensor is one in inference mode, too
            made = Tensor._make_wrapper_subclass(
                cls,
                here.size(),
                here.stride(),
                here.storage_offset(),
                dtype=here.dtype,
                layout=here.layout,
                device=device(),
            )
        made.here = here
        return made

    def __repr__(self) -> str:  # type: ignore[override]
        return f"{NAME}: {self.here!r}"

    def tolist(self) -> Any:
        return self.here.tolist()

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return _carried(function, args, kwargs or {})


class _Everywhere(TorchDispatchMode):
    """What makes tensors out of none asks nobody but a mode."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _carried(function, args, kwargs or {})


class _Functions(TorchFunctionMode):
    """What torch does below all dispatch. Tensors of Python's numbers are filled on the CPU and sent; gradients are computed in the
    thread that asks for them, since there are no threads of such a device."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if function in GRADIENTS:
            with torch.autograd.set_multithreading_enabled(False):
                return function(*args, **kwargs)
        if function in CONSTRUCTORS and _is_there(kwargs.get("device")):
            del kwargs["device"]
            return args[0] if isinstance(args[0], Elsewhere) else Elsewhere(function(*args, **kwargs))
        if function in INDEXING and isinstance(args[0], Elsewhere):
            args = (args[0], _of_tensors(args[1]), *args[2:])
        if function is Tensor.new_tensor and isinstance(args[0], Elsewhere) and "device" not in kwargs:
            return Elsewhere(torch.tensor(*args[1:], **{"dtype": args[0].dtype, **kwargs}))
        return function(*args, **kwargs)


@contextmanager
def elsewhere() -> Iterator[torch.device]:
    """While this is open the device is there."""
    with _Everywhere(), _Functions():
        yield device()


def _of_tensors(index: Any) -> Any:
    """An index whose lists of numbers are tensors: torch would fill these below all dispatch, too."""
    if isinstance(index, tuple):
        return tuple(map(_of_tensors, index))
    return torch.tensor(index) if isinstance(index, list) else index


def _is_there(where: Any) -> bool:
    return where is not None and torch.device(where).type == NAME


def _carried(function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    with _Everywhere():  # in inference mode even what consists of other operations comes here
        if (made := function.decompose(*args, **kwargs)) is not NotImplemented:
            return made
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    there = [tensor for tensor in tensors if isinstance(tensor, Elsewhere)]
    name = function._schema.name.removeprefix("aten::")
    if there and name not in (*COPIES, *INDEXED) and any(t.dim() and not isinstance(t, Elsewhere) for t in tensors):
        raise RuntimeError(f"{name} is given tensors of the CPU and of another device")
    goes_there = bool(there)
    if kwargs.get("device") is not None:
        goes_there = _is_there(kwargs["device"])
        kwargs = {**kwargs, "device": torch.device("cpu")}
    if name == "copy_":
        goes_there = isinstance(args[0], Elsewhere)
    inside, options = tree_map_only(Elsewhere, lambda tensor: tensor.here, (args, kwargs))
    result = function(*inside, **options)
    if name == "_to_copy" and kwargs.get("memory_format") is None:  # strides of a side of 1, too, as modules want them
        result = torch.empty_like(inside[0], dtype=result.dtype).copy_(result)
    if not goes_there:
        return result
    return return_and_correct_aliasing(function, args, kwargs, tree_map_only(Tensor, Elsewhere, result))
