"""Picture files opened with care: what is none, or is made to take the memory, is refused before it is decoded."""

from __future__ import annotations

import functools
import io
import logging
import os
import re
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image, UnidentifiedImageError

from zoo.errors import ImageError, NotFoundError, one_line
from zoo.machine import memory
from zoo.pictures.find import HEIF, reads_heif

log = logging.getLogger("zoo.pictures.image")

LARGE = 2**25  # pixels from which on a file has to be worth them
MOST_PIXELS = 1000  # for each byte of such a file: a white page in PNG has 1 000, one of single bits 8 000
MOST_SCANS, MOST_SCANNED = 100, 2**32  # of a progressive JPEG, which mostly has 10; and in pixels
BYTES_PER_PIXEL = 20  # of a large picture: as Pillow has it, as floats, and once more as a picture
OUR_LIMIT = 1024**3 // 4 // 3  # pixels of Pillow's own limit, which knows nothing of this machine's memory


def existing(source: str | os.PathLike[str]) -> Path:
    """``source`` as a path. NotFoundError if nothing is there, ImageError for a web address."""
    if re.match(r"[a-z][a-z0-9+.-]+://|data:", str(source), re.IGNORECASE):
        raise ImageError(f"{str(source)[:80]} is a web address", "download the picture first and give its path")
    path = Path(source)
    try:
        os.stat(source)  # noqa: PTH116  (Path("") is the current folder)
    except (OSError, ValueError) as error:
        raise NotFoundError(f"there is no picture {str(source)[:200]}", "check the path") from error
    return path


@dataclass(frozen=True)
class Encoded:
    """The bytes of a picture file that is none on this disk: it lies in memory, in a table, or behind an address.

    ``name`` is what errors call it; its bytes are asked for when it is read."""

    name: str
    fetch: Callable[[], bytes]


@contextmanager
def opened(source: str | os.PathLike[str] | Encoded) -> Iterator[Image.Image]:
    """The file as a Pillow picture of which nothing is decoded yet. Errors as ``read``."""
    if isinstance(source, Encoded):
        content = source.fetch()
        if not content:
            raise ImageError(f"{source.name} is empty (0 bytes)", "copy or download it again")
        try:
            image = _open(lambda: io.BytesIO(content))
        except Exception as error:
            raise unreadable(source.name, error) from error
        with image:
            _refuse_bombs(image, source.name, len(content), lambda: content)
            yield image
        return
    path = existing(source)
    facts = path.stat()
    if not stat.S_ISREG(facts.st_mode):
        raise ImageError(f"{path} is {'a folder' if path.is_dir() else 'not a file'}", "give a picture file")
    if facts.st_size == 0:
        raise ImageError(f"{path} is empty (0 bytes)", "copy or download it again")
    try:
        image = _open(lambda: path)
    except Exception as error:
        raise unreadable(str(path), error) from error
    with image:
        _refuse_bombs(image, str(path), facts.st_size, path.read_bytes)
        yield image


_PARTS = {"AVIF": "frames", "GIF": "frames", "PNG": "frames", "TIFF": "pages", "WEBP": "frames"}
"""What a file of several pictures has, by Pillow's formats. Not MPO: what phones add to a photograph is no page."""


def _count(image: Image.Image) -> int:
    """The pictures in a file; those that can be counted where it is damaged behind the first."""
    try:
        return getattr(image, "n_frames", 1)
    except Exception:  # Pillow looks for them only now
        return 1


def say_parts(name: str, image: Image.Image) -> None:
    """A word on a file of several pictures, of which the first is used."""
    if image.format in _PARTS and (count := _count(image)) > 1:
        _say(name, count, _PARTS[image.format])


@functools.lru_cache(1024)  # once for each file
def _say(name: str, count: int, parts: str) -> None:
    log.warning(
        "%s has %d %s and the first is used: save the others as files of their own", one_line(name), count, parts
    )


def _open(file: Callable[[], Path | io.BytesIO]) -> Image.Image:
    with _of_any_size():
        try:
            return Image.open(file())
        except UnidentifiedImageError:
            if not reads_heif():
                raise
            return Image.open(file())  # HEIC, by whatever name


_LIMIT = threading.Lock()


@contextmanager
def _of_any_size() -> Iterator[None]:
    """Without Pillow's limit, unless somebody set one: `refuse_too_large` asks the memory before anything is decoded."""
    with _LIMIT:
        limit = Image.MAX_IMAGE_PIXELS
        try:
            Image.MAX_IMAGE_PIXELS = None if limit == OUR_LIMIT else limit
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def refuse_too_large(image: Image.Image, name: str) -> None:
    pixels = image.width * image.height
    if pixels > LARGE and pixels * BYTES_PER_PIXEL > (free := memory.free(torch.device("cpu"))):
        raise ImageError(
            f"{name} of {pixels / 1e6:.0f} megapixels takes {pixels * BYTES_PER_PIXEL / 1e9:.1f} GB of memory, and "
            f"{free / 1e9:.1f} GB are free",
            "close other programs, or scale it down",
        )


def _refuse_bombs(image: Image.Image, path: str, size: int, content: Callable[[], bytes]) -> None:
    """ImageError for a small file that takes the memory of a large picture, or the time of many."""
    pixels = image.width * image.height
    if pixels > LARGE and pixels > MOST_PIXELS * size:
        raise ImageError(
            f"{path} is suspiciously large: {pixels / 1e6:.0f} megapixels in {size / 1000:.0f} kB", "scale it down"
        )
    if image.info.get("progressive"):
        scans = content().count(b"\xff\xda")  # a mark that stands nowhere else, or hardly
        if scans > MOST_SCANS or scans * pixels > MOST_SCANNED:
            raise ImageError(f"{path} is a JPEG of {scans} scans, each as much work as a picture", "save it anew")


def unreadable(name: str, error: Exception) -> ImageError:
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return ImageError(
            f"{name} is suspiciously large: {error}",
            "scale it down; or PIL.Image.MAX_IMAGE_PIXELS was set, which is respected",
        )
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        return ImageError(f"{name} does not fit the memory", "scale it down")
    if "MAX_TEXT" in str(error):
        return ImageError(f"{name} has more than a megabyte of text or profile beside its pixels", "save it without")
    if isinstance(error, UnidentifiedImageError) and Path(name).suffix.lower() in HEIF and not reads_heif():
        return ImageError(f"{name} is HEIC, which needs pillow-heif", "pip install 'zoo-core[heic]'")
    if isinstance(error, UnidentifiedImageError):
        return ImageError(f"{name} is not a picture that can be read", "give PNG, JPEG, WebP, TIFF, BMP or GIF")
    if isinstance(error, PermissionError):
        return ImageError(f"{name} may not be read", "check the file's permissions")
    return ImageError(f"{name} is damaged or incomplete: {type(error).__name__}: {error}", "copy or download it again")
