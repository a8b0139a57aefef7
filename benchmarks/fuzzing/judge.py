"""What must be true of any input: a valid picture or a ZooError of one line, said nowhere else, and the file untouched."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from fuzzing.damaged import Input
from zoo.errors import ImageError, NotFoundError, ZooError
from zoo.pictures.image import find_pictures, read


@dataclass(frozen=True)
class Verdict:
    number: int
    kind: str
    result: str  # picture, refused or fault
    why: str = ""


class Fault(Exception):
    """Something that must not be."""


def need(condition: object, what: str) -> None:
    if not condition:
        raise Fault(what)


@contextlib.contextmanager
def spoken(path: Path) -> Iterator[Callable[[], str]]:
    """Everything written to stderr meanwhile, by C libraries too; the call gives what is new."""
    before = os.dup(2)
    with path.open("w+b") as file:
        os.dup2(file.fileno(), 2)
        read_so_far = 0

        def said() -> str:
            nonlocal read_so_far
            sys.stderr.flush()
            text = path.read_bytes()[read_so_far:]
            read_so_far += len(text)
            return text.decode(errors="replace")

        try:
            yield said
        finally:
            os.dup2(before, 2)


def judge(
    inputs: Iterable[Input], translator: Any, said: Callable[[], str], tell: Callable[[int], None] = lambda number: None
) -> Iterator[Verdict]:
    """Read each input, then translate all of them in one stream. ``tell`` hears which one comes next."""
    readable, singles = [], []
    for item in inputs:
        tell(number := number_of(item))
        before = state(item.path)
        try:
            with warnings.catch_warnings(record=True):  # Pillow's own, which the caller may filter
                single = _read(item)
            text = said()  # libtiff speaks here, of damage
            need("Traceback" not in text and "ignored" not in text and "Warn" not in text, f"stderr: {text[:300]}")
            need(state(item.path) == before, "the file was changed")
        except Fault as fault:
            yield Verdict(number, item.kind, "fault", str(fault))
        except BaseException as error:
            yield Verdict(number, item.kind, "fault", f"{type(error).__name__}: {error}"[:300])
        else:
            yield Verdict(number, item.kind, "picture" if isinstance(single, tuple) else "refused")
            readable.append((item, before))
            singles.append(single)
    with warnings.catch_warnings(record=True):
        results = translator.stream(item.path for item, _ in readable)
        for (item, before), single in zip(readable, singles):
            tell(number := number_of(item))
            try:
                _agrees(next(results), single)
                need(state(item.path) == before, "the file was changed by the translator")
            except Fault as fault:
                yield Verdict(number, item.kind, "fault", f"translated: {fault}")
            except BaseException as error:
                yield Verdict(number, item.kind, "fault", f"translated: {type(error).__name__}: {error}"[:300])
                return


def number_of(item: Input) -> int:
    return int(item.path.name[:6])


def _read(item: Input) -> tuple[int, int] | str:
    """Size of the picture, or what the error says."""
    try:
        picture = read(item.path)
    except (ImageError, NotFoundError) as error:
        need(item.expected in (None, "an error"), f"refused: {error}")
        need(error.message and error.hint and item.path.name[:6] in error.message, f"it says too little: {error}")
        need(len(error.message) < 1000, f"it says too much: {error.message[:200]}")
        return error.message
    except MemoryError as error:
        raise Fault(f"MemoryError {error}") from None
    rgb, alpha = picture.rgb, picture.alpha
    size = (rgb.shape[2], rgb.shape[1])
    need(item.expected in (None, size), f"expected {item.expected}, got a picture of {size[0]}×{size[1]}")
    need(rgb.dtype == torch.float32 and rgb.shape[0] == 3 and 0 not in rgb.shape, f"{rgb.dtype} {tuple(rgb.shape)}")
    need(bool((rgb.abs() <= 1).all()), "values beyond [-1, 1]")  # false of NaN, too
    if alpha is not None:
        need(tuple(alpha.shape) == tuple(rgb.shape[1:]) and bool(((alpha >= 0) & (alpha <= 1)).all()), "its alpha")
    return size


def _agrees(result: Any, single: tuple[int, int] | str) -> None:
    if isinstance(single, str):
        need(isinstance(result, ZooError), f"a picture of what reading refuses: {single}")
        need(result.message == single, f"{result.message} instead of {single}")
    elif isinstance(result, ZooError):
        need("memory" in result.message, f"refused: {result}")  # of a very large one
    else:
        need(isinstance(result, Image.Image) and result.size == single, f"{result} instead of {single}")


def state(path: Path) -> object:
    """All there is to know of a file without opening what is none."""
    try:
        facts = path.lstat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() and not path.is_symlink() else ""
    except OSError as error:
        return error.errno
    return facts.st_mode, facts.st_ino, facts.st_size, facts.st_mtime_ns, content


def judge_command(folder: Path, out: Path, number: int) -> Verdict:
    """``zoo translate`` on a folder of inputs: as many results as sources, all whole, and stderr of one line each."""
    try:
        sources = find_pictures([folder])
        before = {path: state(path) for path in folder.iterdir()}
        words = ["translate", "tiny", str(folder), "-o", str(out), "--json", "--device", "cpu", "--format", "png"]
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            code = subprocess.call([sys.executable, "-m", "zoo", *words], stdout=output, stderr=errors)
            texts = []
            for file in (output, errors):
                file.seek(0)
                texts.append(file.read().decode(errors="surrogateescape"))
        need(code in (0, 6), f"exit code {code}: {texts[1][-300:]}")
        told = json.loads(texts[0])
        done = {Path(item["output"]) for item in told["translated"]}
        need(len(done) + len(told["failed"]) == len(sources), "sources and results do not add up")
        need(done == {path for path in out.rglob("*") if path.is_file()}, "other files than it told of")
        for path in done:
            with Image.open(path) as image:
                image.load()
        lines = [line for line in texts[1].splitlines() if not line.startswith(("zoo: ", "hint: "))]
        need(not lines, f"stderr: {lines[:3]}")
        words = "and the first is used", "zoo: left out of", "which is not kept"  # what is no fault, and said
        faults = [line for line in texts[1].splitlines() if not any(word in line for word in words)]
        need(len(faults) <= len(told["failed"]) + 2, f"stderr has more lines than faults: {faults[:3]}")
        need(texts[1].replace("\n", "").isprintable(), "control characters reach the terminal")
        need(before == {path: state(path) for path in before}, "a source was changed")
        return Verdict(number, "zoo translate", "picture")
    except Fault as fault:
        return Verdict(number, "zoo translate", "fault", str(fault))
    except Exception as error:
        return Verdict(number, "zoo translate", "fault", f"{type(error).__name__}: {error}"[:400])
