"""Odd, damaged and hostile picture files, each a function of a seed and a number."""

from __future__ import annotations

import os
import random
import socket
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from fuzzing.whole import bomb_seeds, png, seeds

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".jp2", ".avif", ".ppm", ".pgm", ".pnm")
Expected = tuple[int, int] | Literal["an error"] | None  # the size, or that it is refused; None: either


@dataclass(frozen=True)
class Input:
    kind: str
    path: Path
    expected: Expected = None


def make(folder: Path, seed: int, number: int, kind: str = "") -> Input:
    """Input ``number``, of a random kind unless one is given; its file, link or folder is made below ``folder``."""
    rng = random.Random(f"{seed} {number}")
    kind = kind or rng.choices([*KINDS], [weight for _, weight in KINDS.values()])[0]
    suffix, content, expected = KINDS[kind][0](rng)
    path = folder / f"{number:06d}{suffix}"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path = content(path) or path
    return Input(kind, path, expected)


Made = tuple[str, bytes | Callable[[Path], Path | None], Expected]


def _seed(rng: random.Random) -> tuple[str, bytes, tuple[int, int]]:
    return seeds()[rng.choice([*seeds()])]


def _whole(rng: random.Random) -> Made:
    return _seed(rng)


def _cut(rng: random.Random) -> Made:
    suffix, content, _ = _seed(rng)
    return suffix, content[: rng.randrange(1, len(content))], None


def _flipped(rng: random.Random) -> Made:
    """Bits are flipped, half of the time in the first bytes, where the facts are."""
    suffix, content, _ = _seed(rng)
    damaged = bytearray(content)
    end = min(len(content), rng.choice((32, 128, len(content), len(content))))
    for _ in range(rng.choice((1, 2, 5, 20, 100))):
        damaged[rng.randrange(end)] ^= 1 << rng.randrange(8)
    return suffix, bytes(damaged), None


def _large_numbers(rng: random.Random) -> Made:
    """Two or four bytes somewhere become the numbers at which programs err."""
    suffix, content, _ = _seed(rng)
    damaged = bytearray(content)
    for _ in range(rng.randint(1, 3)):
        number = rng.choice(
            (b"\xff\xff", b"\x7f\xff", b"\x80\x00", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0")
        )
        at = rng.randrange(min(len(damaged), rng.choice((64, len(damaged)))))
        damaged[at : at + len(number)] = number if rng.random() < 0.5 else number[::-1]
    return suffix, bytes(damaged), None


def _inserted(rng: random.Random) -> Made:
    suffix, content, _ = _seed(rng)
    at, gone = rng.randrange(len(content)), rng.choice((0, 0, rng.randrange(64)))
    return suffix, content[:at] + rng.randbytes(rng.choice((1, 7, 512))) + content[at + gone :], None


def _spliced(rng: random.Random) -> Made:
    suffix, one, _ = _seed(rng)
    _, other, _ = _seed(rng)
    return suffix, one[: rng.randrange(1, len(one))] + other[rng.randrange(len(other)) :], None


def _wrong_suffix(rng: random.Random) -> Made:
    _, content, size = _seed(rng)
    return rng.choice(SUFFIXES), content, size


def _appended(rng: random.Random) -> Made:
    """Cameras and editors do so; the picture is whole."""
    names = [name for name in seeds() if not name.startswith(("tga", "multi"))]
    suffix, content, size = seeds()[rng.choice(names)]
    return suffix, content + rng.choice((b"\0" * 4096, rng.randbytes(2000), b"\r\n")), size


NO_PICTURES = {
    "text": b"Dear Sir or Madam,\n" * 40,
    "html": b"<!DOCTYPE html><html><head><title>404</title></head><body>Not Found</body></html>",
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>',
    "zip": b"PK\x05\x06" + bytes(18),
    "safetensors": struct.pack("<Q", 8) + b"{}      ",
    "pickle": b"\x80\x04\x95\x05\x00\x00\x00\x00\x00\x00\x00]\x94.",
    "pdf": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<<>>\nendobj\ntrailer\n<<>>\n%%EOF\n",
    "lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n",
    "elf": b"\x7fELF\x02\x01\x01" + bytes(200),
    "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n",
    "zeros": bytes(5000),
    "empty": b"",
}


def _no_picture(rng: random.Random) -> Made:
    content = NO_PICTURES.get(rng.choice([*NO_PICTURES, "noise"]))
    return rng.choice(SUFFIXES), rng.randbytes(rng.randrange(1, 3000)) if content is None else content, "an error"


def _claims(rng: random.Random) -> Made:
    """A head of a few bytes that claims thousands of millions of pixels."""
    return *rng.choice([*bomb_seeds().values()]), "an error"


def _real_bomb(rng: random.Random) -> Made:
    """A small file of very many pixels that are really there: decoded, or refused."""
    side = rng.choice((3_000, 7_000, 12_000, 20_000))
    return ".png", _squares(side), "an error" if side == 20_000 else (side, side) if side == 3_000 else None


@cache
def _squares(side: int) -> bytes:
    row = zlib.compressobj(9)
    rows = b"".join(row.compress(bytes(1 + 3 * side)) for _ in range(side)) + row.flush()
    return png(side, side, rows)


def _extreme_shape(rng: random.Random) -> Made:
    width, height = rng.choice(((1, 1), (1, 20_000), (20_000, 1), (1, 2), (3, 1), (2, 4_000), (16_000, 2), (65_000, 1)))
    suffix, kind = rng.choice(((".png", "PNG"), (".jpg", "JPEG"), (".webp", "WEBP"), (".tif", "TIFF"), (".bmp", "BMP")))
    if kind == "WEBP" and max(width, height) > 16_383:
        suffix, kind = ".gif", "GIF"
    return suffix, _shape(width, height, kind), (width, height)


@cache
def _shape(width: int, height: int, kind: str) -> bytes:
    from fuzzing.whole import encoded, photograph

    return encoded(photograph(width, height), kind)


def _much_beside(rng: random.Random) -> Made:
    """A picture with megabytes of EXIF, XMP, ICC or text, sound or not."""
    from fuzzing.whole import with_extras

    return with_extras(rng)


def _strange_file(rng: random.Random) -> Made:
    """What is at the path is no plain file."""

    def link(target: str) -> Callable[[Path], None]:
        return lambda path: path.symlink_to(target)

    def loop(path: Path) -> None:
        other = path.with_suffix(".loop")
        path.symlink_to(other.name)
        other.symlink_to(path.name)

    def listening(path: Path) -> None:
        here = os.open(path.parent, os.O_RDONLY)  # a socket's path may have 107 bytes only
        with socket.socket(socket.AF_UNIX) as ear:
            ear.bind(f"/proc/self/fd/{here}/{path.name}")
        os.close(here)

    what = rng.choice(
        (os.mkfifo, link("/dev/zero"), link("/dev/null"), link("nowhere.png"), loop, Path.mkdir, listening)
    )
    return rng.choice(SUFFIXES), what, "an error"


def _strange_name(rng: random.Random) -> Made:
    suffix, content, size = _seed(rng)
    name = rng.choice(
        ("two\nlines", "esc\x1b[31m", "tab\tand space ", "\udcff\udcfe", "-o", "--out=x", "~", "$HOME", "%s{0}", "[red]",
         "日本語", "e\u0301", "\u202etxt", "\u2028", "x" * 240, "'\"`", "*?", "C:\\a", "a.b.c")
    )  # fmt: skip

    def named(path: Path) -> Path:
        path = path.with_name(f"{path.stem}{name}"[: 250 - len(suffix)] + suffix)
        path.write_bytes(content)
        return path

    return suffix, named, size


KINDS: dict[str, tuple[Callable[[random.Random], Made], float]] = {
    "whole": (_whole, 8),
    "cut short": (_cut, 15),
    "bits flipped": (_flipped, 25),
    "large numbers": (_large_numbers, 10),
    "bytes inserted or gone": (_inserted, 8),
    "spliced of two": (_spliced, 8),
    "wrong extension": (_wrong_suffix, 5),
    "something appended": (_appended, 2),
    "no picture": (_no_picture, 4),
    "claims of size": (_claims, 4),
    "decompression bomb": (_real_bomb, 0.15),
    "extreme shape": (_extreme_shape, 3),
    "much beside the pixels": (_much_beside, 4),
    "no plain file": (_strange_file, 2),
    "strange name": (_strange_name, 3),
}
