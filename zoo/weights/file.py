"""Weights files: safetensors whose header carries the network, so that a lone file can be run. Never a pickle."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import struct
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from zoo.errors import IntegrityError, NotFoundError, UsageError, describe
from zoo.helpers import bounds
from zoo.helpers.files import atomic
from zoo.helpers.words import shortened
from zoo.weights.cache import promised

if TYPE_CHECKING:
    from torch import Tensor, nn

PACKED = "model.safetensors"
"""Weights in a folder of their own, as ``zoo pack`` writes it and the Hub shows it."""

_TYPES = {  # of the format: bytes, and torch's name
    "BOOL": (1, "bool"), "U8": (1, "uint8"), "I8": (1, "int8"), "U16": (2, "uint16"), "I16": (2, "int16"),
    "F16": (2, "float16"), "BF16": (2, "bfloat16"), "U32": (4, "uint32"), "I32": (4, "int32"), "F32": (4, "float32"),
    "U64": (8, "uint64"), "I64": (8, "int64"), "F64": (8, "float64"),
}  # fmt: skip
_FLOATS = {"F16", "BF16", "F32", "F64"}
_SCALE = ".scale"  # behind the name of a tensor of whole numbers: what they are multiplied by
_NEEDED: dict[str, Any] = {"recipe": str, "generator": (dict, str)}  # of a header's network
_KNOWN = {**_NEEDED, "plugin": str, "controls": list, "translator": (str, type(None)), "working": int, "paper": str}
_LARGEST_HEADER = 10_000_000  # bytes; the format allows ten times more, and they take twenty times that in memory
_DIMENSIONS, _LONGEST = 8, 2**40  # of a tensor


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
    bits: int = 16,
    replace: bool = True,
) -> None:
    """Write ``state_dict`` with ``network`` in the header, atomically. The same weights give the same bytes.

    ``bits``: of a floating number. 32 as they are; 16 as fp16, except a tensor whose values do not fit; 8 as 16, but
    weights that are multiplied with what comes in as int8, with a scale for each output (`eight_bits`).
    IntegrityError for weights that are not finite; ExistsError if something is there and not to be replaced; UsageError."""
    content = weights_bytes(path, state_dict, network, facts=facts, bits=bits)
    with atomic(path, replace) as part:
        part.write_bytes(content)


def weights_bytes(
    path: Path | str,
    state_dict: Mapping[str, Tensor],
    network: Mapping[str, Any],
    *,
    facts: Mapping[str, Any] | None = None,
    bits: int = 16,
) -> bytes:
    """What ``save_weights`` writes; errors call it ``path``."""
    import torch
    from safetensors.torch import save

    if bits not in (8, 16, 32):
        raise UsageError(f"bits = {bits!r} of a number are not written", "give 8, 16 or 32")
    check_finite(path, state_dict)

    def stored(tensor: Tensor) -> Tensor:
        tensor = tensor.detach().to("cpu", copy=True).contiguous()
        if bits > 16 or not tensor.is_floating_point():
            return tensor
        short = tensor.to(torch.float16)
        return short if torch.equal(short.isfinite(), tensor.isfinite()) else tensor

    about = {"version": 1, "network": dict(network), "card": dict(facts or {})}
    metadata = {"format": "pt", "zoo": json.dumps(about, sort_keys=True)}
    parts = eight_bits(state_dict) if bits == 8 else state_dict
    content = {name: stored(tensor) if name in state_dict else tensor.cpu() for name, tensor in parts.items()}
    return _sorted_header(save(content, metadata))


def eight_bits(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Each floating tensor of two dimensions or more, of which an output (the first dimension) has at least 16 numbers,
    as int8 between -127 and 127, with what each output is multiplied by, as fp32, under its name and ``.scale``; the
    others as they are. A number is off by half a 127th of its output's largest at most."""
    import torch

    parts: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        short = tensor.ndim < 2 or tensor[:1].numel() < 16
        if short or not tensor.is_floating_point() or name + _SCALE in tensors:
            parts[name] = tensor
            continue
        numbers = tensor.detach().float()
        largest = numbers.abs().amax(tuple(range(1, tensor.ndim)), keepdim=True)
        parts[name + _SCALE] = scale = largest.clamp_min(1e-30) / 127
        parts[name] = (numbers / scale).round().to(torch.int8)
    return parts


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
    check_finite(path, read_tensors(path))


def _sorted_header(content: bytes) -> bytes:
    """safetensors writes its metadata in random order; a fixed one keeps the sha256 of equal weights equal."""
    (length,) = struct.unpack("<Q", content[:8])
    text = json.dumps(json.loads(content[8 : 8 + length]), sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + content[8 + length :]


def read_header(path: Path | str) -> Header:
    """The header of a weights file; reads nothing else and needs no torch.

    NotFoundError if there is no such file, IntegrityError if it is not a whole safetensors file."""
    with _opened(path) as file:
        return _header(path, file)[0]


@contextmanager
def _opened(path: Path | str) -> Iterator[BinaryIO]:
    if not Path(path).is_file():
        raise NotFoundError(f"there is no weights file {path}", "check the path, or give a model's name (zoo list)")
    with Path(path).open("rb") as file:
        yield file


def _header(path: Path | str, file: BinaryIO) -> tuple[Header, dict[str, tuple[int, int]], bytes]:
    """The header, where each tensor lies behind it, and the header's own bytes."""
    try:
        raw, data_bytes = _read_raw(file)
        content = json.loads(raw[8:])
        metadata = content.pop("__metadata__", {})
        tensors, places = _read_tensors(content, data_bytes)
        return _about(path, metadata, tensors), places, raw
    except _FAULTS as error:
        raise _not_whole(path, error) from error


def header_of(name: str, metadata: Mapping[str, str]) -> Header:
    """The header of a file called ``name`` of which only its metadata are here. IntegrityError as ``read_header``."""
    try:
        return _about(name, metadata, {})
    except _FAULTS as error:
        raise _not_whole(name, error) from error


_FAULTS = (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError, struct.error)


def _not_whole(path: Path | str, error: Exception) -> IntegrityError:
    return IntegrityError(
        f"{path} is not a whole safetensors file: {describe(error)}",
        "download or copy it again; pickles (.pth) are not read",
    )


def _about(path: Path | str, metadata: Mapping[str, str], tensors: dict[str, tuple[str, tuple[int, ...]]]) -> Header:
    about: dict[str, Any] = json.loads(metadata["zoo"]) if "zoo" in metadata else {"version": 1}
    if about["version"] != 1:
        raise IntegrityError(
            f"{path}: header version {about['version']!r} is not 1, which this zoo reads", "pip install -U zoo-core"
        )
    network = _checked(dict(about.get("network", {})))
    return Header(network, dict(bounds.bounded(about.get("card", {}))), tensors)


def _checked(network: dict[str, Any]) -> dict[str, Any]:
    """``network`` if it is empty or what ``recipe.network()`` gives; ValueError for anything else."""
    for name in {*network, *_NEEDED} & _KNOWN.keys() if network else ():
        value = network.get(name)
        if not isinstance(value, _KNOWN[name]) or isinstance(value, bool):
            raise ValueError(f"its network's {name} is {shortened(repr(value), 80)}")
    if not re.fullmatch(r"([a-z0-9]+(-[a-z0-9]+)*)?", network.get("plugin", "")):  # it is named in a `pip install`
        raise ValueError(f"its network's plugin is {shortened(repr(network['plugin']), 80)}")
    working = network.get("working", 0)
    if working and not bounds.WORKING[0] <= working <= bounds.WORKING[1]:
        raise ValueError(f"its network's working size is {shortened(str(working), 80)}")
    if not re.fullmatch("#[0-9a-f]{6}", network.get("paper", "#ffffff")):
        raise ValueError(f"its network's paper is {shortened(repr(network['paper']), 80)}, no colour")
    return bounds.bounded(network)


def _read_raw(file: BinaryIO) -> tuple[bytes, int]:
    """The header with its length in front, and how many bytes of weights are behind it."""
    start, size = file.read(8), os.fstat(file.fileno()).st_size
    if len(start) < 8:
        raise ValueError(f"only {len(start)} bytes")
    (length,) = struct.unpack("<Q", start)
    if length > min(size - 8, _LARGEST_HEADER):
        raise ValueError(f"a header of {length} bytes in a file of {size}")
    return start + file.read(length), size - 8 - length


def _read_tensors(
    content: dict[str, Any], data_bytes: int
) -> tuple[dict[str, tuple[str, tuple[int, ...]]], dict[str, tuple[int, int]]]:
    """Types and shapes, and places. Check that the tensors fill the data exactly, one behind the other."""
    tensors, places, end = {}, {}, 0
    for name, entry in sorted(content.items(), key=lambda item: item[1]["data_offsets"]):
        dtype, shape, (start, stop) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
        if len(shape) > _DIMENSIONS or not all(type(n) is int and 0 <= n <= _LONGEST for n in (*shape, start, stop)):
            raise ValueError(f"tensor {shortened(name, 200)} has a shape that none can have")
        if start != end or stop - start != math.prod(shape) * _TYPES[dtype][0]:
            raise ValueError(f"tensor {shortened(name, 200)} does not lie where its shape says")
        tensors[name], places[name], end = (dtype, shape), (start, stop), stop
    if end != data_bytes:
        raise ValueError(f"{data_bytes} bytes of weights where the header says {end}")
    return tensors, places


def load_weights(
    path: Path | str, module: nn.Module, *, names: Mapping[str, str] | None = None, more: bool = False
) -> Header:
    """Copy a file's tensors into ``module``, cast to its dtypes and devices, and return the file's header.

    Names and shapes are compared before any tensor is copied: with a wrong file the module stays as it was
    and IntegrityError lists what differs; it also names a tensor that is not finite. ``names``: what the file calls the
    module's tensors, where it does not call them as the module does. ``more``: it may hold others, too, which are not read.
    A tensor may be stored as whole numbers, with what they are multiplied by, which broadcasts over it, under its name and ``.scale``."""
    with _opened(path) as file:  # once: compared, hashed and copied is one file, whatever its name leads to later
        header, places, raw = _header(path, file)
        state = module.state_dict()
        ours = {name: (names or {}).get(name, name) for name in state}
        scales = {theirs + _SCALE for theirs in ours.values()} & header.tensors.keys() - set(ours.values())
        _compare(path, header, {theirs: state[name] for name, theirs in ours.items()}, scales, more)
        if any(tensor.is_meta for tensor in state.values()):
            return header  # a network without memory, made to be compared
        try:
            read = _multiplied(_read(path, file, raw, header, places, {*ours.values(), *scales}), scales)
            tensors = {name: read[theirs] for name, theirs in ours.items()}
        except (OSError, RuntimeError) as error:
            raise IntegrityError(f"{path} cannot be read: {describe(error)}", "download or copy it again") from error
    check_finite(path, {ours[name]: tensor for name, tensor in tensors.items()})
    module.load_state_dict(tensors)
    return header


def _compare(path: Path | str, header: Header, want: Mapping[str, Tensor], scales: Collection[str], more: bool) -> None:
    """IntegrityError, with what differs, unless the file holds tensors of these names, shapes and kinds."""
    have = {name: facts for name, facts in header.tensors.items() if name not in scales}
    both = sorted(want.keys() & have.keys())
    differences = {
        "missing": sorted(want.keys() - have.keys()),
        "unexpected": [] if more else sorted(have.keys() - want.keys()),
        "of another shape": [
            f"{name} {list(have[name][1])} for {list(want[name].shape)}"
            for name in both
            if have[name][1] != tuple(want[name].shape)
        ],
        "of another kind": [
            f"{name} {have[name][0]}"
            for name in both
            if (name + _SCALE in scales or have[name][0] in _FLOATS) != want[name].is_floating_point()
        ]
        + [f"{name} {header.tensors[name][0]}" for name in sorted(scales) if header.tensors[name][0] not in _FLOATS],
    }
    if any(differences.values()):
        told = "; ".join(f"{kind}: {_first(names)}" for kind, names in differences.items() if names)
        raise IntegrityError(f"{path} does not fit this network: {told}", "give the weights of this recipe")


def _read(
    path: Path | str,
    file: BinaryIO,
    raw: bytes,
    header: Header,
    places: Mapping[str, tuple[int, int]],
    wanted: Collection[str],
) -> dict[str, Tensor]:
    """The tensors of these names, which lie one behind the other.

    Where the file's SHA-256 was promised (`zoo.weights.cache`), and others could have written since, the bytes that are
    read are hashed, and all of them."""
    import torch

    digest, tensors = (hashlib.sha256(raw) if (promise := promised(path)) else None), {}
    for name, (start, stop) in places.items():
        if digest is None and name not in wanted:
            continue
        file.seek(len(raw) + start)
        data = bytearray(stop - start)
        if file.readinto(data) != len(data):  # type: ignore[attr-defined]
            raise OSError("it is shorter than when it was opened")
        if digest:
            digest.update(data)
        if name in wanted:
            dtype, shape = header.tensors[name]
            kind = getattr(torch, _TYPES[dtype][1])
            tensors[name] = (torch.frombuffer(data, dtype=kind) if data else torch.empty(0, dtype=kind)).reshape(shape)
    if digest and digest.hexdigest() != promise:
        raise IntegrityError(f"{path} was changed while it was used", "somebody else writes there; see ZOO_CACHE")
    return tensors


def read_tensors(path: Path | str) -> dict[str, Tensor]:
    """All tensors of a weights file in the types in which they are stored; those of whole numbers with a scale as fp32.
    Errors as of `read_header`; IntegrityError for a scale that does not fit."""
    with _opened(path) as file:
        header, places, raw = _header(path, file)
        kinds = {name: dtype for name, (dtype, _) in header.tensors.items()}
        whole = {name for name, dtype in kinds.items() if dtype not in _FLOATS and kinds.get(name + _SCALE) in _FLOATS}
        try:
            return _multiplied(_read(path, file, raw, header, places, kinds.keys()), {name + _SCALE for name in whole})
        except RuntimeError as error:
            raise IntegrityError(f"{path} cannot be read: {describe(error)}", "download or copy it again") from error


def _multiplied(tensors: dict[str, Tensor], scales: Collection[str]) -> dict[str, Tensor]:
    """The tensors that have a scale multiplied by it, which is left out; the others as they are."""
    whole = {name.removesuffix(_SCALE): tensors.pop(name).float() for name in scales}
    return tensors | {name: tensors[name].float().mul_(scale) for name, scale in whole.items()}


def _first(names: list[str], shown: int = 4) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(shortened(name, 200) for name in names[:shown]) + more
