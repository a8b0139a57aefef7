"""Whole pictures of every format and mode that Pillow writes here, and heads that lie: what `damaged.py` starts from."""

from __future__ import annotations

import io
import random
import struct
import zlib
from functools import cache
from typing import Any

import numpy as np
from PIL import Image, ImageCms, features

Seed = tuple[str, bytes, tuple[int, int]]


def photograph(width: int = 45, height: int = 31) -> Image.Image:
    """Smooth colours with some noise."""
    x, y = np.meshgrid(np.linspace(0, 200, width), np.linspace(0, 200, height))
    noise = np.random.default_rng(0).integers(0, 56, (height, width))
    return Image.fromarray(np.stack([x, y, 200 - x], axis=2).astype(np.uint8) + noise[..., None].astype(np.uint8))


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


@cache
def seeds() -> dict[str, Seed]:
    """Name -> suffix, content, and the size that reading gives."""
    rgb = photograph()
    rgba = rgb.copy()
    rgba.putalpha(rgb.getchannel("R").point(lambda value: 0 if value < 80 else value))
    grey = np.asarray(rgb.convert("L"))
    deep, floats = Image.fromarray(grey.astype(np.uint16) * 257), Image.fromarray(grey.astype(np.float32) / 255)
    palette, frames = rgb.convert("P"), [rgb.rotate(90 * i) for i in range(4)]
    exif = Image.Exif()
    exif[0x0112] = 6
    moving: dict[str, Any] = {"save_all": True, "append_images": frames[1:], "duration": 40}
    wanted: dict[str, tuple[str, Image.Image, str, dict[str, Any]]] = {
        "png": (".png", rgb, "PNG", {}),
        "png alpha": (".png", rgba, "PNG", {}),
        "png grey alpha": (".png", rgba.convert("LA"), "PNG", {}),
        "png palette": (".png", palette, "PNG", {"transparency": 3}),
        "png 16 colours": (".png", palette.quantize(16), "PNG", {"bits": 4}),
        "png 1 bit": (".png", rgb.convert("1"), "PNG", {}),
        "png 16 bit": (".png", deep, "PNG", {}),
        "png animated": (".png", frames[0], "PNG", moving),
        "jpeg": (".jpg", rgb, "JPEG", {}),
        "jpeg progressive": (".jpg", rgb, "JPEG", {"progressive": True}),
        "jpeg grey": (".jpg", rgb.convert("L"), "JPEG", {}),
        "jpeg cmyk": (".jpeg", rgb.convert("CMYK"), "JPEG", {}),
        "jpeg turned": (".jpg", rgb, "JPEG", {"exif": exif, "restart_marker_rows": 1}),
        "jpeg of two": (".jpg", frames[0], "MPO", moving),
        "webp": (".webp", rgb, "WEBP", {}),
        "webp lossless": (".webp", rgba, "WEBP", {"lossless": True, "exact": True}),
        "webp alpha": (".webp", rgba, "WEBP", {"exif": exif}),
        "webp animated": (".webp", frames[0], "WEBP", moving),
        "multi tiff": (".tif", frames[0], "TIFF", {"save_all": True, "append_images": [f.copy() for f in frames]}),
        "tiff cmyk": (".tiff", rgb.convert("CMYK"), "TIFF", {"compression": "tiff_lzw"}),
        "tiff ycbcr": (".tif", rgb.convert("YCbCr"), "TIFF", {}),
        "tiff 16 bit": (".tif", deep, "TIFF", {"compression": "tiff_adobe_deflate"}),
        "tiff float": (".tif", floats, "TIFF", {}),
        "tiff palette": (".tif", palette, "TIFF", {"compression": "packbits"}),
        "tiff alpha": (".tif", rgba, "TIFF", {"compression": "tiff_lzw"}),
        "tiff fax": (".tif", rgb.convert("1"), "TIFF", {"compression": "group4"}),
        "tiff big": (".tif", rgb, "TIFF", {"big_tiff": True}),
        "bmp": (".bmp", rgb, "BMP", {}),
        "bmp palette": (".bmp", palette, "BMP", {}),
        "gif": (".gif", palette, "GIF", {}),
        "gif animated": (".gif", frames[0], "GIF", {**moving, "transparency": 1}),
        "jp2": (".jp2", rgb, "JPEG2000", {}),
        "jp2 alpha": (".jp2", rgba, "JPEG2000", {"irreversible": True}),
        "avif": (".avif", rgb, "AVIF", {}),
        "avif animated": (".avif", frames[0], "AVIF", moving),
        "ppm": (".ppm", rgb, "PPM", {}),
        "pgm 16 bit": (".pgm", deep, "PPM", {}),
        "pbm": (".pnm", rgb.convert("1"), "PPM", {}),
        "ico": (".png", rgba, "ICO", {"sizes": [(16, 16)]}),
        **{f"other {kind}": (".png", rgb, kind, {}) for kind in ("TGA", "SGI", "PCX", "DDS", "QOI")},
    }  # fmt: skip
    for name in (
        "jpeg",
        "packbits",
        "tiff_lzw",
        "tiff_deflate",
        "lzma",
        "zstd",
    ):  # Pillow 12.3 crashes as it writes webp
        wanted[f"tiff {name}"] = (".tif", rgb, "TIFF", {"compression": name})
    if not features.check("avif"):
        wanted = {name: how for name, how in wanted.items() if how[2] != "AVIF"}
    made = {}
    for name, (suffix, image, kind, options) in wanted.items():
        try:
            content = encoded(image.copy(), kind, **options)  # saving leaves its options in the picture
            with Image.open(io.BytesIO(content)) as again:
                turned = again.getexif().get(0x0112, 1) >= 5
                made[name] = (suffix, content, again.size[::-1] if turned else again.size)
        except (KeyError, OSError, ValueError, TypeError):  # not written by this Pillow, or by its libtiff
            continue
    return made


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, rows: bytes, *extra: bytes) -> bytes:
    """An RGB picture of filtered, compressed rows."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(extra) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@cache
def bomb_seeds() -> dict[str, tuple[str, bytes]]:
    """Files of a few bytes that claim 100 000 × 100 000 pixels, or as many as their format can."""
    n = 100_000

    def patched(name: str, at: bytes, offset: int, size: bytes) -> bytes:
        content = bytearray(seeds()[name][1])
        start = content.index(at) + offset
        content[start : start + len(size)] = size
        return bytes(content)

    tags = [
        (256, 4, 1, n),
        (257, 4, 1, n),
        (258, 3, 1, 8),
        (259, 3, 1, 8),
        (262, 3, 1, 1),
        (273, 4, 1, 8),
        (279, 4, 1, 8),
    ]
    tags += [(278, 4, 1, n)]
    tiff = b"II*\0\x10\0\0\0" + bytes(8) + struct.pack("<H", len(tags))
    tiff += b"".join(struct.pack("<HHII", *tag) for tag in sorted(tags)) + bytes(4)
    canvas = (2**24 - 1).to_bytes(3, "little") + (2**8 - 1).to_bytes(3, "little")
    bombs = {
        "png": (".png", png(n, n, zlib.compress(bytes(1000)))),
        "gif": (".gif", patched("gif", b"GIF8", 6, b"\xff\xff\xff\xff")),
        "jpeg": (".jpg", patched("jpeg", b"\xff\xc0", 5, b"\xff\xff\xff\xff")),
        "progressive": (".jpg", patched("jpeg progressive", b"\xff\xc2", 5, b"\xff\xff\xff\xff")),
        "webp": (".webp", b"RIFF" + struct.pack("<I", 26) + b"WEBPVP8X" + struct.pack("<II", 10, 2) + canvas + bytes(4)),
        "tiff": (".tif", tiff),
        "bmp": (".bmp", patched("bmp", b"BM", 18, struct.pack("<ii", n, n))),
        "ppm": (".ppm", b"P6 100000 100000 255\n" + bytes(300)),
        "pfm": (".pnm", b"Pf 100000 100000 -1.0\n" + bytes(300)),
        "jp2": (".jp2", patched("jp2", b"ihdr", 4, struct.pack(">II", n, n))),
        "qoi": (".png", b"qoif" + struct.pack(">IIBB", n, n, 3, 0) + bytes(300)),
        "sgi": (".png", struct.pack(">hBBHHHH", 474, 0, 1, 3, 65535, 65535, 3) + bytes(600)),
        "dds": (".png", patched("other DDS", b"DDS ", 12, struct.pack("<II", n, n))),
    }  # fmt: skip
    if "avif" in seeds():
        bombs["avif"] = (".avif", patched("avif", b"ispe", 8, struct.pack(">II", n, n)))
    return bombs


def with_extras(rng: random.Random) -> Seed:
    """A picture with more beside its pixels than in them. All of it can be passed over."""
    rgb = photograph()
    large = rng.choice((1_000, 60_000, 3_000_000))
    exif = Image.Exif()
    exif[0x0112] = rng.choice((0, 1, 9, 255, 65_535))
    exif[0x010E] = "x" * large
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    icc = rng.choice((rng.randbytes(large), profile[: rng.randrange(len(profile))], profile + bytes(large)))
    xmp = b"<x:xmpmeta>" + b"&lol;" * (large // 5)
    broken = b"Exif\0\0" + rng.choice((b"II*\0", b"MM\0*", b"")) + rng.randbytes(rng.choice((4, 400)))
    rows = zlib.compress(b"".join(b"\0" + rgb.crop((0, y, 45, y + 1)).tobytes() for y in range(31)))
    comments = b"".join(b"\xff\xfe" + struct.pack(">H", 60_002) + rng.randbytes(60_000) for _ in range(50))
    jpeg = encoded(rgb, "JPEG")
    texts = [chunk(b"tEXt", b"k%d\0v" % i) for i in range(5_000)]
    made = rng.choice((
        lambda: (".png", encoded(rgb, "PNG", exif=exif)),
        lambda: (".webp", encoded(rgb, "WEBP", exif=exif, icc_profile=icc, xmp=xmp)),
        lambda: (".tif", encoded(rgb, "TIFF", exif=exif)),
        lambda: (".png", encoded(rgb, "PNG", icc_profile=icc[:900_000])),  # Pillow refuses a megabyte there
        lambda: (".jpg", encoded(rgb, "JPEG", icc_profile=icc)),
        lambda: (".jpg", encoded(rgb, "JPEG", xmp=xmp[:40_000], comment=b"\0" * 20_000)),  # what Pillow writes at once
        lambda: (".png", encoded(rgb, "PNG", exif=broken)),
        lambda: (".jpg", encoded(rgb, "JPEG", exif=broken)),
        lambda: (".webp", encoded(rgb, "WEBP", exif=broken)),
        lambda: (".jpg", jpeg[:2] + comments + jpeg[2:]),
        lambda: (".png", png(45, 31, rows, *texts)),
        lambda: (".png", png(45, 31, rows, chunk(b"eXIf", rng.randbytes(large)))),
        lambda: (".png", png(45, 31, rows, chunk(b"gAMA", bytes(4)), chunk(b"cHRM", bytes(32)), chunk(b"pHYs", bytes(9)))),
    ))()  # fmt: skip
    return *made, rgb.size
