"""A network as an ONNX graph with its weights, by torch's exporter."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from inspect import Parameter, Signature
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from zoo.control import Control, Image
from zoo.errors import PluginError, UsageError, describe
from zoo.export.parity import examples
from zoo.generator import SizeRule
from zoo.translator import Translator

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET = 18
"""torch writes it without a conversion; onnxruntime reads it since 1.14."""


class Network(nn.Module):
    """``Translator.draw`` as a module: what is exported, and what the file is compared with.

    ``forward`` takes the picture and the controls, each a parameter of its own name, as exporters want it."""

    def __init__(self, translator: Translator, controls: Sequence[Control]) -> None:
        super().__init__()
        names = [control.name for control in controls]
        several = {control.name for control in controls if isinstance(control, Image) and control.many}  # here one

        def forward(image: Tensor, *values: Tensor) -> Tensor:
            given = {name: [value] if name in several else value for name, value in zip(names, values)}
            return translator.draw(image, **given)

        parameters = [Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in ("image", *names)]
        forward.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
        self.forward = forward
        self.controls = controls
        self.generator = translator.generator
        self.eval()


def write_graph(network: Network, rule: SizeRule, size: tuple[int, int] | None) -> ModelProto:
    """The graph for one picture of ``size``, or for any pictures that ``rule`` allows.

    UsageError for a translator that optimises; PluginError of one line for what torch cannot write."""
    # A size of its own: one that got stuck in the graph shows when others are compared.
    traced = size or rule.fixed or (rule.above(rule.minimum + 48), rule.above(rule.minimum + 80))
    inputs = examples(network.controls, 1 if size else 2, *traced)
    _refuse_gradients(network, inputs)
    axes = {} if size else _free_axes(inputs, rule)
    noise = io.StringIO()
    try:
        with _quiet(noise):
            program = torch.onnx.export(
                network,
                tuple(inputs.values()),
                input_names=[*inputs],
                output_names=["output"],
                dynamic_shapes=axes or None,
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
            assert program is not None
            model: ModelProto = program.model_proto
    except Exception as error:
        error.add_note(noise.getvalue())
        cause: BaseException = error
        while cause.__cause__:  # torch wraps it in pages of advice
            cause = cause.__cause__
        raise _not_written(describe(cause)) from error
    dims = model.graph.input[0].type.tensor_type.shape.dim
    if stuck := [f"{'NCHW'[i]} = {dims[i].dim_value}" for i in axes.get("image", ()) if dims[i].dim_value]:
        raise _not_written(f"its code holds for {', '.join(stuck)} only")  # torch lets that pass
    graph = model.graph
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.ClearField("metadata_props")  # stack traces with this machine's paths
    return model


def _not_written(why: str) -> PluginError:
    return PluginError(
        f"torch cannot write this network as ONNX: {shorten(why, 200)}",
        "--debug shows all; a fixed --size may do, or tell the plugin's author",
    )


def _free_axes(inputs: dict[str, Tensor], rule: SizeRule) -> dict[str, Any]:
    """What stays open: N, and H and W as multiples of the rule's, which the file repeats as ``4*h``."""
    batch, sides = torch.export.Dim("batch"), {}
    for axis, name in () if rule.fixed else ((2, "h"), (3, "w")):
        units = torch.export.Dim(name, min=rule.above(1) // rule.multiple_of)
        sides[axis] = units if rule.multiple_of == 1 else rule.multiple_of * units
    return {name: {0: batch, **(sides if tensor.ndim == 4 else {})} for name, tensor in inputs.items()}


def _refuse_gradients(network: Network, inputs: dict[str, Tensor]) -> None:
    """UsageError for a translator that optimises its picture, at the first tensor it keeps for a gradient."""

    def refuse(_: Tensor) -> None:
        raise UsageError(
            "this model optimises each picture by gradients, which ONNX does not have",
            "only a model that draws in one pass through its network can be exported",
        )

    with torch.no_grad(), torch.autograd.graph.saved_tensors_hooks(refuse, lambda kept: kept):
        network(*inputs.values())


@contextlib.contextmanager
def _quiet(noise: io.StringIO) -> Iterator[None]:
    """Into ``noise`` with what the exporter prints; what it warns of and logs goes nowhere."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            contextlib.redirect_stdout(noise),
            contextlib.redirect_stderr(noise),
            warnings.catch_warnings(action="ignore"),
        ):
            yield
    finally:
        logging.disable(level)


def halve(model: ModelProto) -> None:
    """Kernels and tables as fp16 with a cast behind each, where all of their values fit."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or len(tensor.dims) < 2:
            continue
        name, values = tensor.name, numpy_helper.to_array(tensor)
        if np.abs(values).max() <= np.finfo(np.float16).max:
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
            casts.append(helper.make_node("Cast", [tensor.name], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
