"""A model as one ONNX file, which runs without torch and without the zoo; compared with PyTorch before it is written."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.control import Text
from zoo.errors import ExistsError, UsageError
from zoo.export.graph import OPSET, Network, halve, write_graph
from zoo.export.metadata import metadata
from zoo.export.parity import Comparison, compare, examples, sizes
from zoo.generator import SizeRule
from zoo.helpers.files import atomic
from zoo.helpers.inputs import Inputs
from zoo.loading import load
from zoo.machine.memory import is_shortage

if TYPE_CHECKING:
    from onnx import ModelProto


@dataclass(frozen=True)
class Report:
    """What was written, and how near it comes to PyTorch. ``size`` is None for all that the size rule allows."""

    model: str
    path: Path
    bytes: int
    sha256: str
    opset: int
    size: tuple[int, int] | None
    parity: tuple[Comparison, ...]


def export(
    name: str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    size: tuple[int, int] | None = None,
    half: bool = False,
    overwrite: bool = False,
) -> Report:
    """Write the model of ``zoo.load(name)`` with its weights to ``path``, as ONNX.

    Inputs are ``image`` (N, 3, H, W) float32 in [-1, 1] and the controls by name, as the generator takes them, but for
    a second picture that may be left out: it is. The result is ``output`` (N, 3, H, W). N, H and W are free as far
    as the size rule goes; with ``size`` (H, W) the file takes one picture of this size. ``half`` keeps the weights in
    16 bits; the arithmetic has 32 all the same. The metadata of the file tell how to prepare a picture.

    UsageError: a path, size or model that cannot be exported. PluginError: torch cannot write the network as ONNX.
    IntegrityError: onnxruntime draws something else than PyTorch, and nothing was written.
    """
    path = Path(path)
    _check_path(path, Inputs(name), overwrite)
    if missing := [module for module in ("onnx", "onnxruntime", "onnxscript") if not find_spec(module)]:
        raise UsageError(f"export needs {missing[0]}, which is not installed", "pip install 'zoo-core[export]'")
    translator = load(name, device="cpu")
    rule = translator.generator.size
    if rule.whole:
        raise UsageError(f"{name} is no network that runs once: it optimises each picture", "use zoo translate")
    if words := [control.name for control in translator.controls if isinstance(control, Text)]:
        raise UsageError(f"{name} reads words ({words[0]}), which an ONNX graph does not", "use zoo translate")
    if translator.unexported:
        raise UsageError(f"{name} cannot be exported: {translator.unexported}", "use zoo translate")
    controls = translator.exported()
    if size:
        _check_size(size, rule)
        cases = [(1, *size)]
    else:
        cases = sizes(rule, translator.working)

    try:
        network = Network(translator, controls)
        model = write_graph(network, rule, size)
        if half:
            halve(model)
        about = metadata(translator.origin or name, translator, controls, SizeRule(fixed=size) if size else rule)
        content = _finished(model, about)
        parity = tuple(compare(content, network, (examples(controls, *case) for case in cases)))
    except (RuntimeError, MemoryError) as error:
        if not is_shortage(error):
            raise
        raise UsageError("the network does not fit the memory at this size", "give a smaller --size") from error
    with atomic(path, overwrite) as part:
        part.write_bytes(content)
    return Report(about["model"], path, len(content), hashlib.sha256(content).hexdigest(), OPSET, size, parity)


def _finished(model: ModelProto, about: Mapping[str, Any]) -> bytes:
    model.graph.name = about["model"]
    model.producer_name, model.producer_version = "zoo", about["zoo"]
    for key, value in about.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        model.metadata_props.add(key=key, value=text)
    return model.SerializeToString(deterministic=True)


def _check_path(path: Path, inputs: Inputs, overwrite: bool) -> None:
    if path.suffix != ".onnx":
        raise UsageError(f"{path} does not end in .onnx", "give the file a name that does")
    if path.is_dir():
        raise UsageError(f"{path} is a folder", "give a file")
    above = next(folder for folder in path.absolute().parents if folder.exists())
    if not above.is_dir():
        raise UsageError(f"{above} is not a folder", "give another path")
    inputs.spare(path)
    if os.path.lexists(path) and not overwrite:
        raise ExistsError(path, "give another path, or --on-exists overwrite (overwrite=True)")


def _check_size(size: tuple[int, int], rule: SizeRule) -> None:
    unit, least = rule.multiple_of, rule.above(1)
    nearest = rule.fixed or tuple(max(least, round(side / unit) * unit) for side in size)
    if nearest != size:
        takes = "no other" if rule.fixed else f"multiples of {unit} from {least} on"
        raise UsageError(
            f"the network cannot take {size[0]}x{size[1]}", f"nearest is {nearest[0]}x{nearest[1]}: it takes {takes}"
        )
