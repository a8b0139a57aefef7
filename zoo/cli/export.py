"""``zoo export``"""

from __future__ import annotations

import re
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from zoo.cli.list import JsonOption
from zoo.cli.output import as_json, megabytes, table
from zoo.errors import UsageError


class Format(StrEnum):
    onnx = "onnx"


class OnExists(StrEnum):
    error = "error"
    overwrite = "overwrite"


def command(
    name: Annotated[
        str, typer.Argument(metavar="MODEL", help="A model (zoo list), a .safetensors file, hub:USER/REPO.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write, as model.onnx.")],
    format: Annotated[Format, typer.Option(help="ONNX is the only one.")] = Format.onnx,
    size: Annotated[str, typer.Option(metavar="HxW|dynamic", help="Of the pictures; dynamic: any.")] = "dynamic",
    half: Annotated[bool, typer.Option("--half", help="Weights in 16 bits: half the file.")] = False,
    on_exists: Annotated[OnExists, typer.Option(help="What to do if the file is there already.")] = OnExists.error,
    json: JsonOption = False,
) -> None:
    """Write a model as one ONNX file, which runs without the zoo, and compare it with PyTorch first.

    Its metadata tell how to prepare a picture. Exit code 5: onnxruntime draws something else, nothing was written.
    """
    wanted = _size(size)
    from zoo.export import export  # brings torch

    report = export(name, out, size=wanted, half=half, overwrite=on_exists is OnExists.overwrite)
    if json:
        as_json({**asdict(report), "path": str(report.path)})
        return
    rows = [
        (
            str(case.pictures),
            f"{case.height}x{case.width}",
            f"{case.largest:.1e}",
            f"{case.mean:.1e}",
            f"{case.largest * 127.5:.4f}",
            f"{case.torch_seconds:.3f}",
            f"{case.onnx_seconds:.3f}",
        )
        for case in report.parity
    ]
    table(("PICTURES", "HxW", "LARGEST", "MEAN", "8-BIT STEPS", "TORCH s", "ONNX s"), rows)
    typer.echo(f"wrote {report.model} to {out}, {megabytes(report.bytes)}, ONNX opset {report.opset}", err=True)


def _size(text: str) -> tuple[int, int] | None:
    """``256x320``, ``256`` for a square, or ``dynamic``."""
    if text == "dynamic":
        return None
    found = re.fullmatch(r"([1-9]\d{0,5})(?:[x×]([1-9]\d{0,5}))?", text.lower())
    if not found:
        raise UsageError(f"--size {text} is no size", "give height x width, as 256x320, or dynamic")
    return int(found[1]), int(found[2] or found[1])
