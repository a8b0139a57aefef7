"""What a picture file says beside its pixels, and what of it is still true of a result.

Kept are who took the picture, when, where and how (EXIF), its resolution, its comment, and its colour profile. Left
behind is what describes the old pixels: orientation, which has been applied, sizes, small copies of the old picture
among the EXIF and in the notes of camera makers, and places in the picture. New is that the zoo made it: where results
lie among photographs, no network takes them for some.
"""

from __future__ import annotations

import io
import logging
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from PIL import ExifTags, Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from zoo.errors import describe, one_line

log = logging.getLogger("zoo.pictures")

PROFILE = "source_icc_profile"
"""In ``info`` of a result: what a file of it is converted to. Its own pixels are sRGB."""

LONGEST_EXIF = 65_533 - 6  # bytes, of what JPEG holds

_ROOT = {
    ExifTags.Base.ImageDescription, ExifTags.Base.Make, ExifTags.Base.Model, ExifTags.Base.Software,
    ExifTags.Base.DateTime, ExifTags.Base.Artist, ExifTags.Base.HostComputer, ExifTags.Base.Copyright,
    ExifTags.Base.Rating, ExifTags.Base.RatingPercent, ExifTags.Base.XPTitle, ExifTags.Base.XPComment,
    ExifTags.Base.XPAuthor, ExifTags.Base.XPKeywords, ExifTags.Base.XPSubject,
}  # fmt: skip
"""Of the first directory; in a TIFF file the others there say how its pixels lie."""

_UNTRUE = {
    ExifTags.Base.MakerNote, ExifTags.Base.ComponentsConfiguration, ExifTags.Base.CompressedBitsPerPixel,
    0x9214, 0xA214,  # where the subject is
    ExifTags.Base.ColorSpace,
    ExifTags.Base.ExifImageWidth, ExifTags.Base.ExifImageHeight, ExifTags.IFD.Interop,
}  # fmt: skip
_MADE_BY = ExifTags.Base.ProcessingSoftware  # what worked on a picture last; Software is the camera's
_ZOO = "zoo"
_SRGB, _UNCALIBRATED, _INCH = 1, 65_535, 2
_ON_ITS_SIDE = range(5, 9)  # of the orientations


@dataclass(frozen=True)
class Metadata:
    """EXIF by its three directories; resolution in dots per inch; comment; ICC profile, if of RGB."""

    root: Mapping[int, Any] = field(default_factory=dict)
    exposure: Mapping[int, Any] = field(default_factory=dict)
    gps: Mapping[int, Any] = field(default_factory=dict)
    dpi: tuple[float, float] | None = None
    comment: str = ""
    profile: bytes = b""

    @classmethod
    def of(cls, image: Image.Image, name: str) -> Metadata:
        """All that can be read of it, before ``image`` is turned upright; a word where EXIF is there and damaged."""
        root: dict[int, Any] = {}
        exposure: dict[int, Any] = {}
        gps: dict[int, Any] = {}
        turned = False
        try:
            exif = image.getexif()
            turned = exif.get(ExifTags.Base.Orientation) in _ON_ITS_SIDE
            root = {tag: exif[tag] for tag in _ROOT if tag in exif}
            exposure = {t: v for t, v in exif.get_ifd(ExifTags.IFD.Exif).items() if t not in _UNTRUE}
            gps = dict(exif.get_ifd(ExifTags.IFD.GPSInfo))
        except Exception as error:  # Pillow raises anything at damaged EXIF
            log.warning("%s has damaged EXIF, which is not kept: %s", one_line(name), describe(error))
        dpi = _resolution(image.info.get("dpi"))
        profile = image.info.get("icc_profile") or b""
        return cls(
            root,
            exposure,
            gps,
            dpi[::-1] if dpi and turned else dpi,
            _text(image.info.get("comment") or image.info.get("Comment") or ""),
            profile if isinstance(profile, bytes) and _is_rgb(profile) else b"",
        )

    def exif(self, size: tuple[int, int]) -> bytes:
        """The EXIF of a result of this size. A word where what the picture had cannot be written."""
        if not (self.root or self.exposure or self.gps):
            return _MADE
        exif = Image.Exif()
        exif.load(_MADE)
        exif.update(self.root)
        if self.dpi:
            exif[ExifTags.Base.XResolution], exif[ExifTags.Base.YResolution] = self.dpi
            exif[ExifTags.Base.ResolutionUnit] = _INCH
        exif[ExifTags.IFD.Exif] = {
            **self.exposure,
            ExifTags.Base.ColorSpace: _UNCALIBRATED if self.profile and not is_srgb(self.profile) else _SRGB,
            ExifTags.Base.ExifImageWidth: size[0],
            ExifTags.Base.ExifImageHeight: size[1],
        }
        if self.gps:
            exif[ExifTags.IFD.GPSInfo] = dict(self.gps)
        try:
            written = exif.tobytes()
            if len(written) > LONGEST_EXIF:
                raise ValueError(f"{len(written)} bytes")
        except Exception as error:  # a value that its type cannot hold
            log.warning("EXIF is not kept: %s", describe(error))
            return _MADE
        return written

    def onto(self, image: Image.Image) -> Image.Image:
        """``image`` with this in its ``info``, where Pillow keeps such things."""
        image.info["exif"] = self.exif(image.size)
        if self.dpi:
            image.info["dpi"] = self.dpi
        if self.comment:
            image.info["comment"] = self.comment
        if self.profile:
            image.info["icc_profile" if is_srgb(self.profile) else PROFILE] = self.profile
        return image


def is_result(image: Image.Image) -> bool:
    """Did the zoo make this picture, as its file says? Nothing of it is decoded."""
    with suppress(Exception):  # Pillow raises anything at damaged EXIF
        if image.format == "TIFF":
            return image.getexif().get(_MADE_BY) == _ZOO
        exif = Image.Exif()
        exif.load(image.info.get("exif") or b"")
        return exif.get(_MADE_BY) == _ZOO
    return False


def in_profile(image: Image.Image) -> Image.Image:
    """A result, whose pixels are sRGB, in the colour profile of the picture that it was made of, if that has another."""
    if not (profile := image.info.get(PROFILE)):
        return image
    try:
        alpha = image.getchannel("A") if image.mode == "RGBA" else None
        there = ImageCms.getOpenProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(image.convert("RGB"), ImageCms.createProfile("sRGB"), there)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:  # a profile for one direction only
        log.warning("the colour profile is not kept, the result is in sRGB: %s", describe(error))
        return image
    assert converted is not None
    if alpha is not None:
        converted.putalpha(alpha)
    converted.info = {**image.info, "icc_profile": profile}
    return converted


def options(image: Image.Image, kind: str) -> dict[str, Any]:
    """What ``Image.save`` has to be told so that a file of this kind holds what ``info`` does."""
    info = image.info
    told: dict[str, Any] = {name: info[name] for name in ("exif", "icc_profile", "dpi") if info.get(name)}
    if kind == "TIFF" and told.get("exif") == _MADE:
        told["exif"] = None  # of Pillow's two ways to write a TIFF the one that compresses takes this alone
        told["tiffinfo"] = {_MADE_BY: _ZOO}
    elif kind == "TIFF" and "exif" in told:
        told["compression"] = "raw"  # libtiff, which would compress, takes no directories of EXIF from Pillow
    if comment := info.get("comment"):
        if kind == "PNG":
            told["pnginfo"] = PngInfo()
            told["pnginfo"].add_itxt("Comment", comment)
        elif kind == "JPEG":
            told["comment"] = comment.encode()[:65_533]
        elif kind == "TIFF" and not told.get("exif"):
            told["description"] = comment
    return told


def _made() -> bytes:
    exif = Image.Exif()
    exif[_MADE_BY] = _ZOO
    return exif.tobytes()


_MADE = _made()  # all the EXIF of a result of a picture that had none


def is_srgb(profile: bytes) -> bool:
    """Is it sRGB by its own word?"""
    with suppress(ImageCms.PyCMSError, OSError, ValueError, TypeError):
        opened = ImageCms.getOpenProfile(io.BytesIO(profile))
        return "sRGB" in (opened.profile.profile_description or "")
    return False


def _is_rgb(profile: bytes) -> bool:
    with suppress(ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return ImageCms.getOpenProfile(io.BytesIO(profile)).profile.xcolor_space == "RGB "
    return False


def _resolution(dpi: Any) -> tuple[float, float] | None:
    with suppress(TypeError, ValueError, ZeroDivisionError, OverflowError):
        x, y = (float(value) for value in dpi)
        if all(math.isfinite(value) and 0 < value < 65_536 for value in (x, y)):
            return x, y
    return None


def _text(comment: str | bytes) -> str:
    if isinstance(comment, str):
        return comment.rstrip("\0")
    with suppress(UnicodeDecodeError):
        return comment.decode("utf-8").rstrip("\0")
    return comment.decode("latin-1").rstrip("\0")
