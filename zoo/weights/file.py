"""Weights files: safetensors whose header carries the network, so that a lone file can be run. Never a pickle."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from zoo.errors import IntegrityError, NotFoundError
from zoo.helpers.files import atomic

if TYPE_CHECKING:
    from torch import Tensor, nn

_BYTES = {"BOOL": 1, "U8": 1, "I8": 1, "U16": 2, "I16": 2, "F16": 2, "BF16": 2}
_BYTES |= {"U32": 4, "I32": 4, "F32": 4, "U64": 8, "I64": 8, "F64": 8}
_NEEDED: dict[str, Any] = {"recipe": str, "generator": (dict, str)}  # of a header's network
_KNOWN = {**_NEEDED, "plugin": str, "controls": list, "translator": (str, type(None)), "working": int}
_LARGEST_HEADER = 100_000_000  # the limit of the format


@dataclass(frozen=True)
class Header:
    """What a weights file says about itself. ``network`` is empty if it was not written by the zoo."""

    network: dict[str, Any] = field(default_factory=dict)  # recipe.network()
    facts: dict[str, Any] = field(default_factory=dict)  # licence, trained …
    tensors: dict[str, tuple[str, tuple[int, ...]]] = field(default_factory=dict)  # name: (dtype, shape)


def save_weights(
    path: Path | str,
    state_dict: Mapping[str, Tensor],
    network: Mapping[str, Any],
    *,
    facts: Mapping[str, Any] | None = None,
    half: bool = True,
    replace: bool = True,
) -> None:
    """Write ``state_dict`` with ``network`` in the header, atomically. The same weights give the same bytes.

    ``half`` stores floating tensors as fp16, except one whose values do not fit. IntegrityError for weights that are not
    finite; ExistsError if something is there and not to be replaced."""
    content = weights_bytes(path, state_dict, network, facts=facts, half=half)
    with atomic(path, replace) as part:
        part.write_bytes(content)


def weights_bytes(
    path: Path | str,
    state_dict: Mapping[str, Tensor],
    network: Mapping[str, Any],
    *,
    facts: Mapping[str, Any] | None = None,
    half: bool = True,
) -> bytes:
    """What ``save_weights`` writes; errors call it ``path``."""
    import torch
    from safetensors.torch import save

    check_finite(path, state_dict)

    def stored(tensor: Tensor) -> Tensor:
        tensor = tensor.detach().to("cpu", copy=True).contiguous()
        if not half or not tensor.is_floating_point():
            return tensor
        short = tensor.to(torch.float16)
        return short if torch.equal(short.isfinite(), tensor.isfinite()) else tensor

    about = {"version": 1, "network": dict(network), "card": dict(facts or {})}
    metadata = {"format": "pt", "zoo": json.dumps(about, sort_keys=True)}
    return _sorted_header(save({name: stored(tensor) for name, tensor in state_dict.items()}, metadata))


def not_finite(tensors: Mapping[str, Tensor]) -> str:
    """The name of the first tensor that has a value which is no number or infinite; "" if all are well."""
    import torch

    for name, tensor in tensors.items():
        if tensor.is_floating_point() and tensor.numel():
            total = tensor.sum(dtype=torch.float32)  # one number, which NaN and infinity reach; seldom it runs over
            if not total.isfinite() and not tensor.isfinite().all():
                return name
    return ""


def check_finite(what: object, tensors: Mapping[str, Tensor]) -> None:
    """IntegrityError, which calls them ``what``, for tensors that are not finite: nothing can be drawn with these."""
    if name := not_finite(tensors):
        raise IntegrityError(f"{what}: {name} holds values that are not finite", "take weights of an earlier step")


def check_finite_file(path: Path) -> None:
    """``check_finite`` of a weights file."""
    with _opened(path) as file:
        for name in file.keys():  # noqa: SIM118  (it is no mapping)
            check_finite(path, {name: file.get_tensor(name)})


@contextmanager
def _opened(path: Path | str) -> Iterator[Any]:
    """IntegrityError for what cannot be read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            yield file
    except (SafetensorError, OSError, RuntimeError) as error:
        raise IntegrityError(f"{path} cannot be read: {error}", "download or copy it again") from error


def _sorted_header(content: bytes) -> bytes:
    """safetensors writes its metadata in random order; a fixed one keeps the sha256 of equal weights equal."""
    (length,) = struct.unpack("<Q", content[:8])
    text = json.dumps(json.loads(content[8 : 8 + length]), sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + content[8 + length :]


def read_header(path: Path | str) -> Header:
    """The header of a weights file; reads nothing else and needs no torch.

    NotFoundError if there is no such file, IntegrityError if it is not a whole safetensors file."""
    path = Path(path)
    if not path.is_file():
        raise NotFoundError(f"there is no weights file {path}", "check the path, or give a model's name (zoo list)")
    try:
        with path.open("rb") as file:
            content, data_bytes = _read_json(file, path.stat().st_size)
        metadata = content.pop("__metadata__", {})
        tensors = _read_tensors(content, data_bytes)
        about: dict[str, Any] = json.loads(metadata["zoo"]) if "zoo" in metadata else {"version": 1}
        if about["version"] != 1:
            raise IntegrityError(
                f"{path}: header version {about['version']} is newer than this zoo", "pip install -U zoo-core"
            )
        return Header(_checked(dict(about.get("network", {}))), dict(about.get("card", {})), tensors)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, struct.error) as error:
        raise IntegrityError(
            f"{path} is not a whole safetensors file: {error}", "download or copy it again; pickles (.pth) are not read"
        ) from error


def _checked(network: dict[str, Any]) -> dict[str, Any]:
    """``network`` if it is empty or what ``recipe.network()`` gives; ValueError for anything else."""
    for name in {*network, *_NEEDED} & _KNOWN.keys() if network else ():
        if not isinstance(network.get(name), _KNOWN[name]):
            raise ValueError(f"its network's {name} is {network.get(name)!r}")
    return network


def _read_json(file: BinaryIO, size: int) -> tuple[dict[str, Any], int]:
    start = file.read(8)
    if len(start) < 8:
        raise ValueError(f"only {len(start)} bytes")
    (length,) = struct.unpack("<Q", start)
    if length > min(size - 8, _LARGEST_HEADER):
        raise ValueError(f"a header of {length} bytes in a file of {size}")
    return json.loads(file.read(length)), size - 8 - length


def _read_tensors(content: dict[str, Any], data_bytes: int) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Check that the tensors fill the data exactly, one behind the other."""
    tensors, end = {}, 0
    for name, entry in sorted(content.items(), key=lambda item: item[1]["data_offsets"]):
        dtype, shape, (start, stop) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
        if start != end or stop - start != math.prod(shape) * _BYTES[dtype]:
            raise ValueError(f"tensor {name} does not lie where its shape says")
        tensors[name], end = (dtype, shape), stop
    if end != data_bytes:
        raise ValueError(f"{data_bytes} bytes of weights where the header says {end}")
    return tensors


def load_weights(
    path: Path | str, module: nn.Module, *, names: Mapping[str, str] | None = None, more: bool = False
) -> Header:
    """Copy a file's tensors into ``module``, cast to its dtypes and devices, and return the file's header.

    Names and shapes are compared before any tensor is copied: with a wrong file the module stays as it was
    and IntegrityError lists what differs; it also names a tensor that is not finite. ``names``: what the file calls the module's tensors, where it does not call
    them as the module does. ``more``: it may hold others, too, which are not read. A tensor may be stored as whole
    numbers, with what they are multiplied by, which broadcasts over it, under its name and ``.scale``."""
    header = read_header(path)
    ours = {name: (names or {}).get(name, name) for name in module.state_dict()}
    scales = {f"{theirs}.scale" for theirs in ours.values()} & header.tensors.keys() - set(ours.values())
    have = {name: shape for name, (_, shape) in header.tensors.items() if name not in scales}
    want = {ours[name]: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    differences = {
        "missing": sorted(want.keys() - have.keys()),
        "unexpected": [] if more else sorted(have.keys() - want.keys()),
        "of another shape": [
            f"{name} {list(have[name])} for {list(want[name])}"
            for name in sorted(want.keys() & have.keys())
            if want[name] != have[name]
        ],
    }
    if any(differences.values()):
        told = "; ".join(f"{kind}: {_first(names)}" for kind, names in differences.items() if names)
        raise IntegrityError(f"{path} does not fit this network: {told}", "give the weights of this recipe")

    with _opened(path) as file:
        tensors = {name: file.get_tensor(theirs) for name, theirs in ours.items()}
        for name, theirs in ours.items():
            if (scale := f"{theirs}.scale") in scales:
                tensors[name] = tensors[name].float().mul_(file.get_tensor(scale).float())
    check_finite(path, {ours[name]: tensor for name, tensor in tensors.items()})
    module.load_state_dict(tensors)
    return header


def _first(names: list[str], shown: int = 4) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
