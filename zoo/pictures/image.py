"""Pictures in and out: the only module that decodes and encodes.

Inside the zoo a picture is a tensor (3, H, W), float32 in [-1, 1]. ``read`` makes one of anything a user has;
``Picture.like`` gives a result the form that came in; ``write`` puts a picture on disk.
"""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image, ImageCms, ImageOps
from torch import Tensor
from torch.nn import functional as F

from zoo.errors import ImageError, close_match
from zoo.helpers.files import atomic
from zoo.pictures.find import find_pictures
from zoo.pictures.metadata import Metadata, in_profile, options
from zoo.pictures.opening import Encoded, existing, opened, refuse_too_large, say_parts, unreadable

log = logging.getLogger(__name__)

FORMATS: dict[str, tuple[str, bool, dict[str, Any]]] = {
    ".png": ("PNG", True, {}),
    ".jpg": ("JPEG", False, {"quality": 95, "subsampling": 0}),
    ".jpeg": ("JPEG", False, {"quality": 95, "subsampling": 0}),
    ".webp": ("WEBP", True, {"quality": 95}),
    ".tif": ("TIFF", True, {"compression": "tiff_adobe_deflate"}),
    ".tiff": ("TIFF", True, {"compression": "tiff_adobe_deflate"}),
    ".bmp": ("BMP", False, {}),
}
"""What ``write`` writes: suffix -> Pillow's format, does it hold alpha, options."""


Box = tuple[float, float, float, float]
"""Left, top, right and bottom of a part of a picture, in shares of its sides."""


@dataclass(frozen=True)
class Picture:
    """A decoded picture, and what is needed to give a result the same form."""

    rgb: Tensor  # (3, H, W) float32 in [-1, 1], on the CPU; what is wholly transparent is filled from around it
    alpha: Tensor | None = None  # (H, W) float32 in [0, 1]
    kind: Literal["pil", "array", "tensor"] = "pil"
    dtype: Any = None  # of the array or tensor that came in
    device: Any = None  # of the tensor that came in
    about: Metadata | None = None  # of the file or PIL picture
    focus: Box | None = None  # the part whose statistics networks are told; None: all of it

    def cut(self, part: Callable[[Tensor], Tensor]) -> Picture:
        """A part of the picture: ``part`` cuts it out of planes (C, H, W), once the colours and once the alpha."""
        alpha = None if self.alpha is None else part(self.alpha[None])[0].clamp(0, 1)
        return replace(self, rgb=part(self.rgb).clamp(-1, 1), alpha=alpha, focus=None)

    def on_white(self) -> Picture:
        """The picture as it looks on paper: what is transparent shows white."""
        if self.alpha is None:
            return self
        return replace(self, rgb=torch.lerp(torch.ones(()), self.rgb, self.alpha), alpha=None)

    def like(self, rgb: Tensor) -> Image.Image | np.ndarray | Tensor:
        """``rgb`` (3, H, W) in [-1, 1] in the form that this picture came in, with its alpha attached.

        A PIL picture's ``info`` has what the file said beside its pixels (`zoo.pictures.metadata`)."""
        shape = (3 if self.alpha is None else 4, *rgb.shape[-2:])
        if self.kind == "tensor":
            tensor = torch.empty(shape, dtype=self.dtype)
            for rows, unit in self._strips(rgb):
                tensor[:, rows] = unit if self.dtype.is_floating_point else unit.mul_(255).round_()
            return tensor.to(self.device)
        floating = self.kind == "array" and np.issubdtype(self.dtype, np.floating)
        deep = self.kind == "array" and self.dtype.itemsize == 2
        array = np.empty((*shape[1:], shape[0]), self.dtype if floating else np.uint16 if deep else np.uint8)
        for rows, unit in self._strips(rgb):
            planes = unit.numpy() if floating else unit.mul_(np.iinfo(array.dtype).max).round_().numpy()
            for channel, plane in enumerate(planes.astype(array.dtype, copy=False)):
                array[rows, :, channel] = plane
        if self.kind != "pil":
            return array
        image = Image.fromarray(array)
        return self.about.onto(image) if self.about else image

    def _strips(self, rgb: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Colours and alpha in [0, 1], some rows at a time: a large picture is not copied whole."""
        step = max(1, 2**17 // rgb.shape[-1])
        for rows in (slice(start, start + step) for start in range(0, rgb.shape[-2], step)):
            unit = (rgb[:, rows].float() + 1).div_(2).clamp_(0, 1).cpu()
            yield rows, unit if self.alpha is None else torch.cat([unit, self.alpha[None, rows]])


Source = str | os.PathLike[str] | bytes | Image.Image | np.ndarray | Tensor | Encoded | Picture


def read(source: Source, least: tuple[int, int] | None = None) -> Picture:
    """Decode one picture.

    - path, a file's bytes, or `Encoded`: any kind Pillow knows, upright by its EXIF tag, in sRGB; of several pages or
      frames the first, with a word;
    - PIL picture: any mode, as a path;
    - array: (H, W) or (H, W, C), C = 1…4; bool, uint8, uint16, or float in [0, 1];
    - tensor: (H, W) or (C, H, W), C = 1…4; uint8, or float in [0, 1];
    - a Picture, as it is.

    ``least`` (H, W): a file that is much larger may be decoded at a half, a third … of its size, which is faster; it
    stays so large that it covers ``least`` twice over.

    ImageError with the name of what cannot be used; NotFoundError if there is no such file. The source is only read.
    """
    if isinstance(source, Picture):
        return source
    if isinstance(source, Image.Image):
        return _from_pil(source, _name(source))
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Tensor):
        return _from_tensor(source)
    if isinstance(source, bytes):
        source = Encoded("what was given as bytes", partial(bytes, source))
    if isinstance(source, str | os.PathLike | Encoded):
        name = source.name if isinstance(source, Encoded) else str(source)
        with opened(source) as image:
            picture = _from_pil(image, name, least)
            say_parts(name, image)
            return picture
    raise ImageError(
        f"cannot read a picture from {type(source).__name__}",
        "give a path, a file's bytes, PIL picture, array or tensor",
    )


def to_pil(rgb: Tensor) -> Image.Image:
    """(3, H, W) in [-1, 1] -> RGB picture."""
    picture = Picture(rgb).like(rgb)
    assert isinstance(picture, Image.Image)
    return picture


def writable(path: Path | str) -> None:
    """ImageError if ``write`` does not know the path's suffix."""
    suffix = Path(path).suffix
    if suffix.lower() not in FORMATS:
        raise ImageError(f"{path}: cannot write {suffix or 'a file without suffix'}", close_match(suffix, FORMATS))


def write(image: Image.Image, path: Path | str, replace: bool = True, *, metadata: bool = False) -> None:
    """Write ``image`` atomically, in the format of the suffix; alpha goes onto white where the format has none.

    With ``metadata`` what its ``info`` has goes into the file as far as the format holds it, in the colour profile of
    the picture that a result was made of. ExistsError if something has the name and is not to be replaced."""
    writable(path)
    with writing(path):
        encoded = encode(image, Path(path).suffix, metadata=metadata)
        with atomic(path, replace) as part:
            part.write_bytes(encoded)


@contextmanager
def writing(path: object) -> Iterator[None]:
    """ImageError for what goes wrong: a full disk, or a side too long for the format."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise ImageError(f"{path} cannot be written: {error}", "check the folder, or write .png") from error


def encode(image: Image.Image, suffix: str, *, metadata: bool = False) -> bytes:
    """``image`` in the format of a suffix in ``FORMATS``; alpha goes onto white where the format has none."""
    name, holds_alpha, how = FORMATS[suffix.lower()]
    if metadata:
        image = in_profile(image)
    about = options(image, name) if metadata else {}
    if not holds_alpha and image.has_transparency_data:
        paper = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(paper, image.convert("RGBA")).convert("RGB")
    encoded = io.BytesIO()
    image.save(encoded, name, **{"icc_profile": None, "comment": None, **how, **about})  # None: not even of ``info``
    return encoded.getvalue()  # getbuffer() in the traceback of an error crashes Python 3.12.1


def _name(image: Image.Image) -> str:
    return str(getattr(image, "filename", "") or f"the {image.mode} picture")


def _from_pil(image: Image.Image, name: str, least: tuple[int, int] | None = None) -> Picture:
    if 0 in image.size:
        raise ImageError(f"{name} has no pixels", "give a picture of at least 1×1")
    if image.format == "EPS":
        raise ImageError(f"{name} is PostScript, a program, which is not run", "make a PNG of it")
    try:
        if least is not None:
            return _picture(_planes(*_values(_upright(_reduced(image, least, name)), name)))
        refuse_too_large(image, name)
        image.load()
        about = Metadata.of(image, name)
        return replace(_picture(_planes(*_values(_upright(image), name))), about=about)
    except ImageError:
        raise
    except Exception as error:  # Pillow's decoders raise anything at damaged data, from OSError to struct.error
        raise unreadable(name, error) from error


def _reduced(image: Image.Image, least: tuple[int, int], name: str) -> Image.Image:
    """At 1/n of its size, but twice as large as ``least`` (H, W) at the least.

    JPEG is decoded at 1/2, 1/4 or 1/8, from fewer coefficients; all else, and what remains, is averaged over squares.
    """
    turned = image.getexif().get(_ORIENTATION, 1) in _ON_ITS_SIDE
    width, height = least if turned else least[::-1]
    image.draft(None, (2 * width, 2 * height))
    refuse_too_large(image, name)
    image.load()
    times = min(image.width // (2 * width), image.height // (2 * height))
    return image.reduce(times) if times > 1 and image.mode in _AVERAGED else image


_ORIENTATION, _ON_ITS_SIDE = 0x0112, range(5, 9)  # in EXIF
_AVERAGED = ("L", "LA", "RGB", "RGBA", "CMYK")  # the others are palettes, bits, or exact numbers


def _upright(image: Image.Image) -> Image.Image:
    try:
        if image.getexif().get(_ORIENTATION, 1) in (0, 1):
            return image  # not even a copy of it
        return ImageOps.exif_transpose(image)
    except Exception:  # EXIF beyond repair says nothing about the pixels
        return image


def _values(image: Image.Image, name: str) -> tuple[np.ndarray, int]:
    """(H, W) or (H, W, C), C = 3 or 4, and what white is in it."""
    if image.mode.startswith("I;16") or image.mode == "I":  # 16-bit grey; older Pillow says I for it
        grey = np.asarray(image)
        if grey.min() < 0 or grey.max() > 65535:
            raise ImageError(f"{name} has values beyond 16 bits", "scale it to 0…65535")
        return grey, 65535
    if image.mode == "F":
        return _from_floats(np.asarray(image), name), 1
    alpha = None
    if image.has_transparency_data:
        image = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        alpha = image.getchannel("A")
        image = image.convert("RGB")
    image = _in_srgb(image)
    if alpha is not None:
        image.putalpha(alpha)
    return np.asarray(image), 255


def _planes(values: np.ndarray, white: int = 1) -> Tensor:
    """(H, W) or (H, W, C) of any type -> (C, H, W) float32 in [0, 1], memory of its own and no more than that."""
    values = values.reshape(*values.shape[:2], -1)
    planes = np.empty((values.shape[2], *values.shape[:2]), np.float32)
    planes[...] = values.transpose(2, 0, 1)
    return torch.from_numpy(planes).div_(white)


_SPACES = {"RGB": "RGB ", "CMYK": "CMYK", "L": "GRAY"}


def _in_srgb(image: Image.Image) -> Image.Image:
    """RGB by the picture's colour profile, plainly if it has none that fits."""
    if image.info.get("icc_profile") and image.mode in _SPACES:
        try:
            profile = ImageCms.getOpenProfile(io.BytesIO(image.info["icc_profile"]))
            space, told = profile.profile.xcolor_space, profile.profile.profile_description or ""
            if space == _SPACES[image.mode] and "sRGB" not in told:
                converted = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
                if converted is not None:
                    return converted
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
            pass  # a damaged profile: the numbers are the best there is
    return image if image.mode == "RGB" else image.convert("RGB")


def _from_array(array: np.ndarray) -> Picture:
    name = f"the array of shape {array.shape} and type {array.dtype}"
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 2, 3, 4)):
        raise ImageError(f"{name} is not (H, W) or (H, W, 1…4)", "transpose it, or give a list of arrays")
    if 0 in array.shape:
        raise ImageError(f"{name} has no pixels", "give a picture of at least 1×1")
    if array.dtype == np.bool_:
        unit = _planes(array)
    elif array.dtype.kind == "u" and array.dtype.itemsize <= 2:
        unit = _planes(array, np.iinfo(array.dtype).max)
    elif np.issubdtype(array.dtype, np.floating):
        unit = _planes(_from_floats(array, name))
    else:
        raise ImageError(f"{name} has no known range", "give bool, uint8, uint16, or float in [0, 1]")
    return _picture(unit, "array", array.dtype)


def _from_tensor(tensor: Tensor) -> Picture:
    name = f"the tensor of shape {tuple(tensor.shape)} and type {tensor.dtype}"
    if tensor.ndim not in (2, 3) or (tensor.ndim == 3 and tensor.shape[0] not in (1, 2, 3, 4)):
        raise ImageError(f"{name} is not (H, W) or (1…4, H, W)", "permute it to channels first")
    if 0 in tensor.shape:
        raise ImageError(f"{name} has no pixels", "give a picture of at least 1×1")
    values = tensor.detach().cpu()
    if tensor.dtype == torch.uint8:
        unit = values.float() / 255
    elif tensor.is_floating_point():
        unit = torch.from_numpy(_from_floats(values.float().numpy(), name))
    else:
        raise ImageError(f"{name} has no known range", "give uint8, or float in [0, 1]")
    unit = unit.reshape(-1, *unit.shape[-2:])
    return _picture(unit, "tensor", tensor.dtype, tensor.device)


def _from_floats(values: np.ndarray, name: str) -> np.ndarray:
    low, high = float(values.min()), float(values.max())
    if not (low >= -1e-3 and high <= 1 + 1e-3):  # also true of NaN; resampling may overshoot a little
        raise ImageError(f"{name} has values from {low:g} to {high:g}", "scale floating values to 0…1")
    return values.astype(np.float32).clip(0, 1)


def _picture(unit: Tensor, *form: Any) -> Picture:
    """From (C, H, W) in [0, 1], C = 1 grey, 2 grey and alpha, 3 colour, 4 colour and alpha; ``unit`` is used up."""
    colours, alpha = (unit[:-1], unit[-1].clone()) if len(unit) in (2, 4) else (unit, None)
    rgb = colours.expand(3, -1, -1).contiguous()
    if alpha is not None:
        rgb = _surroundings(rgb[None], alpha[None, None])[0]
    return Picture(rgb.mul_(2).sub_(1), alpha, *form)


def _surroundings(rgb: Tensor, weight: Tensor) -> Tensor:
    """Colours for transparent pixels, from the visible ones near them: averages of ever larger squares.

    rgb (1, 3, H, W), weight (1, 1, H, W) -> (1, 3, H, W). A flat fill would leak into the edges as a halo."""
    if bool((weight > 0).all()):
        return rgb
    if weight.shape[-2:] == (1, 1):
        return torch.ones_like(rgb)  # nothing is visible anywhere: white
    mean = F.avg_pool2d(weight, 2, ceil_mode=True)
    coarse = F.avg_pool2d(rgb * weight, 2, ceil_mode=True) / mean.clamp_min(1e-8)
    filled = F.interpolate(_surroundings(coarse, mean), size=rgb.shape[-2:], mode="bilinear")
    return torch.where(weight > 0, rgb, filled)


__all__ = [
    "FORMATS",
    "Encoded",
    "Picture",
    "Source",
    "encode",
    "existing",
    "find_pictures",
    "opened",
    "read",
    "to_pil",
    "writable",
    "write",
    "writing",
]
