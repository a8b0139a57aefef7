"""``zoo translate MODEL - -o -``: one picture from standard input, or to standard output."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import typer

from zoo.cli.bars import Bars
from zoo.cli.output import as_json, quiet_libraries
from zoo.errors import ExistsError, UsageError, ZooError
from zoo.helpers.inputs import Inputs
from zoo.helpers.terminal import plain
from zoo.pictures import video
from zoo.pictures.image import FORMATS, encode, existing, writable, write
from zoo.translator import Translator

STREAM = "-"
MOST = 2**30
"""Bytes of a picture that is read from standard input."""


def piped(
    inputs: Sequence[str],
    out: str,
    format: str | None,
    on_exists: str,
    read: Inputs,
    loaded: Callable[[], Translator],
    options: dict[str, Any],
    *,
    metadata: bool,
    json: bool,
) -> None:
    """Translate one picture where its input, its result or both are streams. Nothing else is printed on stdout."""
    if len(inputs) != 1:
        raise UsageError(
            f"{STREAM} is for one picture, and {len(inputs)} are given", "give the others with an -o of theirs"
        )
    if json and out == STREAM:
        raise UsageError("standard output is the picture's", "leave out --json, or give -o a file")
    target = None if out == STREAM else Path(out)
    if target is None:
        if sys.stdout.isatty():
            raise UsageError(
                "standard output is a terminal, which shows no pictures", f"add > drawing.{format or 'png'}"
            )
    else:
        if out.endswith(("/", os.sep)) or target.is_dir():
            raise UsageError(f"{out} is a folder, and {STREAM} has no name", "give -o a file")
        writable(target)
        if format and FORMATS[f".{format}"] != FORMATS[target.suffix.lower()]:
            raise UsageError(f"--format {format} is not what {out} says", "leave one of them out")
        read.spare(target)
        if os.path.lexists(target) and on_exists != "overwrite":
            if on_exists == "error":
                raise ExistsError(target, "give another --out, or --on-exists skip or overwrite")
            return _told(options["model"], inputs[0], target, json, skipped=True)
    source = _standard_input() if inputs[0] == STREAM else _file(inputs[0], read, target)
    model = options.pop("model")
    translator = loaded()
    with quiet_libraries(), Bars() as bars:
        (result,) = translator.stream([source], progress=bars, **options)
    if isinstance(result, ZooError):
        raise result
    if target is not None:
        write(result, target, on_exists == "overwrite", metadata=metadata)
        return _told(model, inputs[0], target, json, skipped=False)
    stream = plain(sys.stdout)
    stream.flush()
    stream.buffer.write(encode(result, f".{format or 'png'}", metadata=metadata))
    stream.buffer.flush()


def _standard_input() -> bytes:
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError(
            "standard input is a terminal, not a picture", "zoo translate MODEL - -o - < me.jpg > drawing.png"
        )
    content = sys.stdin.buffer.read(MOST + 1)
    if not content:
        raise UsageError("standard input is empty", "did the program before end in an error?")
    if len(content) > MOST:
        raise UsageError("standard input is more than a gigabyte", "give the file's name")
    return content


def _file(word: str, read: Inputs, target: Path | None) -> Path:
    path = existing(word)
    if path.is_dir() or video.moves(path):
        raise UsageError(
            f"{word} is {'a folder' if path.is_dir() else 'a video'}", "give -o a name: - is for one picture"
        )
    if target is not None:
        Inputs([path]).spare(target)
    return path


def _told(model: str, source: str, target: Path, json: bool, *, skipped: bool) -> None:
    one = [{"input": source, "output": str(target)}]
    if json:
        as_json({"model": model, "translated": [] if skipped else one, "skipped": one if skipped else [], "failed": []})
    typer.echo(f"{int(not skipped)} translated, {int(skipped)} skipped, 0 failed", err=True)
