"""Faces in a picture: find them, cut one out upright, put it back, tell who it is.

A picture is a tensor (3, H, W) in [-1, 1]. Coordinates are pixels, x to the right, y down, counted along the pixels'
edges: the middle of the first pixel lies at (0.5, 0.5).

The only module that imports dlib (D. E. King, "Dlib-ml: A Machine Learning Toolkit", JMLR 2009), which brings the
detector (histograms of oriented gradients), the landmarks (V. Kazemi and J. Sullivan, "One Millisecond Face Alignment
with an Ensemble of Regression Trees", CVPR 2014; trained on iBUG 300-W) and the descriptor (a ResNet of 29 layers).
"""

from __future__ import annotations

import functools
import importlib.util
import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.errors import ImageError, UsageError
from zoo.fit import warped

P = ParamSpec("P")
R = TypeVar("R")

SEEN = 1280
"""Pixels along the longer side that the detector sees at most: its time grows with their square."""

MAGNIFIED = 2.0
"""Small pictures are scaled up by this much: the detector sees faces from 80 pixels."""

MARGIN = 0.25
"""Shares of a picture's longer side, added around it by replication: the detector misses faces at the border."""

SURE = 0.3
"""The detector's score above which there may be several faces: a badge on a space suit has 0.09, most faces over 1."""

SAME = 0.6
"""Descriptors nearer to each other than this are of one person, says dlib."""

SMALLEST = 32
"""Pixels from brow to chin below which there is too little of a face for a network."""

PROFILE = 0.75
"""`Face.turned` above which too little of a face is seen."""

_LOCK = threading.RLock()  # dlib's objects change while they work


@dataclass(frozen=True, eq=False)
class Face:
    """A face in a picture, in the picture's pixels."""

    box: tuple[float, float, float, float]  # left, top, right, bottom, as the detector says: brow to chin
    landmarks: Tensor  # (68, 2) x and y, float32, in the order of iBUG 300-W

    @property
    def angle(self) -> float:
        """Radians by which the line through the eyes is turned, clockwise as seen."""
        x, y = (self.landmarks[42:48].mean(0) - self.landmarks[36:42].mean(0)).tolist()
        return math.atan2(y, x)

    @property
    def upright(self) -> Tensor:
        """The landmarks (68, 2), turned around the picture's corner so that the line through the eyes is level."""
        return self.landmarks.double() @ _rotation(self.angle)

    @property
    def height(self) -> float:
        """Pixels from the lowest to the highest landmark when the face is upright."""
        low, high = self.upright[:, 1].aminmax()
        return float(high - low)

    @property
    def turned(self) -> float:
        """0 seen from the front, about 1 in profile: where the tip of the nose lies between the ends of the jaw."""
        right, nose, left = self.upright[[0, 30, 16], 0].tolist()
        return abs(left + right - 2 * nose) / max(left - right, 1e-6)


@dataclass(frozen=True)
class Frame:
    """Where a face lies in a square: upright, the box around its landmarks in the middle from left to right."""

    scale: float  # side of the square / height of the landmarks' box
    middle: float  # where the middle of the box lies, from the top, in shares of the side


FACE = Frame(1.293, 0.585)
"""The face fills the square: half the forehead to the chin, as OpenFace's aligned faces have it."""

PORTRAIT = Frame(2.4, 0.62)
"""With hair and neck."""


FAINT = 1e-3
"""Where a crop's mask is less than this in the picture, the picture stays as it is."""


@dataclass(frozen=True, eq=False)
class Crop:
    """A face cut out of a picture, and where it was."""

    image: Tensor  # (3, size, size) in [-1, 1]
    landmarks: Tensor  # (68, 2), in the crop's pixels
    matrix: Tensor  # (2, 3) float64: from the crop's pixels to the picture's

    @functools.cached_property
    def mask(self) -> Tensor:
        """(size, size) in [0, 1]: the face with its forehead, feathered, 0 along the border of the crop."""
        size = self.image.shape[-1]
        points = self.landmarks.double()
        height = float(points[:, 1].max() - points[:, 1].min())
        points = torch.cat([points, points[17:27] - torch.tensor([0, 0.25 * height])])  # the brows, moved up
        at = torch.arange(size, dtype=torch.float64) + 0.5
        inside = torch.full((size, size), torch.inf, dtype=torch.float64)
        for turn in torch.arange(0, 2 * math.pi, math.pi / 24).tolist():  # the convex hull, by its tangents
            x, y = math.cos(turn), math.sin(turn)
            reach = float((points[:, 0] * x + points[:, 1] * y).max())
            inside = torch.minimum(inside, reach - (at * x + at[:, None] * y))
        edge = torch.minimum(at, size - at)
        border = torch.minimum(edge, edge[:, None]) - max(1.0, 0.015 * size)
        mask = _smooth(inside / (0.12 * height) + 0.5) * _smooth(border / (0.05 * size))
        return mask.to(self.image)


def _exactly(function: Callable[P, R]) -> Callable[P, R]:
    """Also where a network computes in bf16: pixels are counted in fractions."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with torch.autocast("cpu", enabled=False):
            return function(*args, **kwargs)

    return run


@_exactly
def find(image: Tensor, seen: int = SEEN) -> list[Face]:
    """The faces in a picture (3, H, W) in [-1, 1], the largest first; [] if there is none.

    Found are faces that look about towards the camera and are tilted by less than about 40°, from 40 pixels in
    pictures of up to 640; in larger ones from a sixteenth of the longer side. ``seen`` are the pixels along that side
    that the detector sees at most: where faces are larger, fewer are faster.

    UsageError if dlib or its models are not installed.
    """
    dlib = _dlib()
    height, width = image.shape[-2:]
    scale = min(MAGNIFIED, seen / max(height, width))
    margin = MARGIN * max(height, width)
    size = (math.ceil((height + 2 * margin) * scale), math.ceil((width + 2 * margin) * scale))
    view = _array(_resampled(image, _matrix(0, 1 / scale, -margin, -margin), size))
    with _LOCK:
        found, scores, _ = _detector().run(view)
        doubtful = min(SURE, max(scores, default=0))  # a doubtful face counts only where there is no better one
        faces = []
        for one, score in zip(found, scores):
            left, top = one.left() / scale - margin, one.top() / scale - margin
            right, bottom = (one.right() + 1) / scale - margin, (one.bottom() + 1) / scale - margin
            if score >= doubtful:
                box = left, top, right, bottom
                faces.append(Face(box, _landmarks(dlib, image, box)))
    return sorted(faces, key=lambda face: face.box[0] - face.box[2])


def fault(face: Face, verb: str) -> str:
    """Why a network cannot ``verb`` a face; "" if it can."""
    if face.height < SMALLEST:
        return f"the face is {face.height:.0f} pixels high: too small to {verb}, which takes {SMALLEST}"
    return "the face is turned too far to the side" if face.turned > PROFILE else ""


def usable(found: Sequence[Face], number: int | None, verb: str, whole: str) -> list[Face]:
    """Of the faces of a picture, the largest first, those that a network can ``verb``, or the one with this number.

    ``whole`` says what a picture is that is taken as it is, by the number 0. ImageError if there is no such face."""
    if not found:
        hint = f"give a photograph of a face seen from the front; for a picture that is {whole} already: face 0"
        raise ImageError("no face found", hint)
    if number is not None and number > len(found):
        count = "1 face was" if len(found) == 1 else f"{len(found)} faces were"
        raise ImageError(f"there is no face {number}: {count} found", "1 is the largest")
    asked = found if number is None else found[number - 1 : number]
    if not (good := [face for face in asked if not fault(face, verb)]):
        raise ImageError(fault(asked[0], verb), "give a larger or a more frontal photograph")
    return good


@_exactly
def crop(image: Tensor, face: Face, size: int = 128, frame: Frame = FACE) -> Crop:
    """``face`` of a picture (3, H, W), upright in a square of ``size`` pixels; the picture's border is repeated."""
    upright = face.upright
    low, high = upright.amin(0), upright.amax(0)
    side = float(high[1] - low[1]) * frame.scale
    corner = (low + high) / 2 - side * torch.tensor([0.5, frame.middle])
    matrix = _matrix(face.angle, side / size, *(_rotation(face.angle) @ corner).tolist())
    landmarks = ((upright - corner) * (size / side)).float()
    return Crop(_resampled(image, matrix, (size, size)).clamp(-1, 1), landmarks, matrix)


@_exactly
def paste(image: Tensor, crop: Crop, result: Tensor) -> Tensor:
    """``result`` (3, size, size), made of ``crop.image``, put back into the picture (3, H, W) that it was cut out of.

    Where the crop's mask is 0 the picture stays as it is, bit by bit. What in the picture is finer than the crop's
    pixels is kept where the result changed little: a large photograph stays sharp, and nothing shines through where
    a mouth has opened.
    """
    change = result.to(crop.image) - crop.image
    # how much it changed, brighter or darker as a whole counting little: a smile's wrinkles stay in another light
    much = (_near(change.square()) - 0.8 * _near(change).square()).mean(0, keepdim=True)
    kept = 1 / (1 + (much / 0.2**2) ** 2)
    planes = torch.cat([change, crop.image, kept, crop.mask[None]])
    where, planes = _spread(image, crop, planes)
    if not planes.numel():
        return image.clone()
    window = image[where]
    change, coarse, kept, mask = planes.split([3, 3, 1, 1])
    mask = mask.clamp(0, 1)
    new = window + mask * (change - (1 - kept.clamp(0, 1)) * (window - coarse))
    pasted = image.clone()
    pasted[where] = torch.where(mask > FAINT, new.clamp(-1, 1), window)
    return pasted


@_exactly
def move(image: Tensor, crop: Crop, flow: Tensor) -> tuple[Tensor, Crop]:
    """The picture (3, H, W) that ``crop`` was cut out of, and the crop, moved: each pixel of the crop comes from ``flow``
    (2, size, size) beside it, right and down in shares of its side; less and less where the crop's mask ends, where it
    is 0 not at all."""
    size = crop.image.shape[-1]
    flow = flow.to(crop.image) * crop.mask
    there = replace(crop, image=warped(crop.image[None], flow[None])[0])
    where, planes = _spread(image, crop, torch.cat([flow * size, crop.mask[None]]))
    moved = image.clone()
    if planes.numel():
        window = image[where]
        across = torch.einsum("ij,jhw->ihw", crop.matrix[:, :2].float(), planes[:2])  # in the picture's pixels
        sides = torch.tensor([window.shape[2], window.shape[1]])[:, None, None]
        moved[where] = torch.where(planes[2] > FAINT, warped(window[None], (across / sides)[None])[0], window)
    return moved, there


@_exactly
def descriptor(image: Tensor, face: Face) -> Tensor:
    """(128,) float32: who ``face`` of a picture (3, H, W) is. Of one person where the distance is below ``SAME``."""
    dlib = _dlib()
    seen = crop(image, face, 300, Frame(2.0, 0.5))  # dlib cuts 150 pixels out of it
    points = [dlib.point(round(x), round(y)) for x, y in (seen.landmarks - 0.5).tolist()]
    shape = dlib.full_object_detection(dlib.rectangle(0, 0, 299, 299), points)
    with _LOCK:
        return torch.tensor(list(_recogniser().compute_face_descriptor(_array(seen.image), shape)))


def _spread(image: Tensor, crop: Crop, planes: Tensor) -> tuple[tuple[slice, slice, slice], Tensor]:
    """Where in the picture the crop lies, and ``planes`` (C, size, size) of the crop over it: (C, h, w); h or w is 0 if
    it lies outside."""
    size = crop.image.shape[-1]
    corners = torch.tensor([[0, 0, 1], [0, size, 1], [size, 0, 1], [size, size, 1]]).double() @ crop.matrix.T
    left, top = corners.amin(0).floor().long().clamp(min=0).tolist()
    right, bottom = corners.amax(0).ceil().long().clamp(min=0).tolist()
    where = slice(None), slice(top, bottom), slice(left, right)
    rows, columns = image[where].shape[1:]
    if not rows or not columns:
        return where, planes.new_empty(len(planes), 0, 0)
    linear = torch.linalg.inv(crop.matrix[:, :2])
    shift = linear @ (torch.tensor([left, top]) - crop.matrix[:, 2])
    return where, _resampled(planes, torch.cat([linear, shift[:, None]], 1), (rows, columns))


def _landmarks(dlib: Any, image: Tensor, box: tuple[float, float, float, float]) -> Tensor:
    """(68, 2) in the pixels of ``image``. dlib gives whole pixels: it sees every face scaled to 300 of them."""
    scale = (box[2] - box[0]) / 300
    matrix = _matrix(0, scale, box[0] - 150 * scale, box[1] - 150 * scale)
    shape = _predictor()(_array(_resampled(image, matrix, (600, 600))), dlib.rectangle(150, 150, 449, 449))
    points = torch.tensor([[point.x + 0.5, point.y + 0.5, 1] for point in shape.parts()])
    return (points.double() @ matrix.T).float()


def _resampled(planes: Tensor, matrix: Tensor, size: Sequence[int]) -> Tensor:
    """planes (C, H, W) -> (C, *size). ``matrix`` (2, 3) says where in ``planes`` each pixel lies; their border is
    repeated. What is too fine for the new pixels is filtered out; only the part that is needed is looked at."""
    step = math.sqrt(abs(float(torch.linalg.det(matrix[:, :2]))))
    rows, columns = size
    corners = torch.tensor([[0, 0, 1], [0, rows, 1], [columns, 0, 1], [columns, rows, 1]]).double() @ matrix.T
    reach = 2 * max(step, 1) + 2  # of the filters
    limits = torch.tensor([planes.shape[-1], planes.shape[-2]])
    low = (corners.amin(0) - reach).floor().long().clamp(min=0).minimum(limits - 1)
    high = (corners.amax(0) + reach).ceil().long().clamp(min=1).minimum(limits).maximum(low + 1)
    part = planes[None, :, low[1] : high[1], low[0] : high[0]]
    if step > 1:
        coarse = [math.ceil(length / step) for length in part.shape[-2:]]
        part = F.interpolate(part, size=coarse, mode="bicubic", antialias=True)
    # affine_grid counts from -1 to 1, from edge to edge, on both sides
    half, whole = torch.tensor([columns / 2, rows / 2]).double(), (high - low).double()
    linear, middle = matrix[:, :2], matrix[:, :2] @ half + matrix[:, 2] - low
    theta = torch.cat([linear * half * 2 / whole[:, None], (middle * 2 / whole - 1)[:, None]], 1)
    grid = F.affine_grid(theta[None].to(planes), [1, 1, rows, columns], align_corners=False)
    return F.grid_sample(part, grid, mode="bicubic", padding_mode="border", align_corners=False)[0]


def _near(planes: Tensor) -> Tensor:
    """(C, H, W): means over the surroundings of each pixel, about a twentieth of the side wide, smooth."""
    radius = max(1, round(planes.shape[-1] / 80))
    for _ in range(2):
        planes = F.avg_pool2d(planes, 2 * radius + 1, 1, radius, count_include_pad=False)
    return planes


def _smooth(x: Tensor) -> Tensor:
    """From 0 at 0 to 1 at 1 without a bend."""
    x = x.clamp(0, 1)
    return x * x * (3 - 2 * x)


def _rotation(angle: float) -> Tensor:
    """(2, 2) turns columns by ``angle`` radians, clockwise as seen; rows, multiplied from the left, back."""
    return torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]], dtype=torch.float64)


def _matrix(angle: float, scale: float, x: float, y: float) -> Tensor:
    """(2, 3) scales, turns, then moves."""
    return torch.cat([_rotation(angle) * scale, torch.tensor([[x], [y]], dtype=torch.float64)], 1)


def _array(image: Tensor) -> np.ndarray:
    """(3, H, W) in [-1, 1] -> (H, W, 3) uint8."""
    levels = image.detach().add(1).mul(127.5).round().clamp(0, 255).byte()
    return np.ascontiguousarray(levels.permute(1, 2, 0).cpu().numpy())


def _dlib() -> Any:
    try:
        import dlib
    except ImportError as error:
        raise _missing() from error
    return dlib


def _missing() -> UsageError:
    return UsageError("finding faces needs dlib, which is not installed", "pip install 'zoo-core[faces]'")


def _model(name: str) -> str:
    """The path of a file of face_recognition_models, which cannot be imported: it wants pkg_resources."""
    spec = importlib.util.find_spec("face_recognition_models")
    path = Path(spec.origin).parent / "models" / name if spec and spec.origin else None
    if path is None or not path.is_file():
        raise _missing()
    return str(path)


@functools.cache
def _detector() -> Any:
    return _dlib().get_frontal_face_detector()


@functools.cache
def _predictor() -> Any:
    return _dlib().shape_predictor(_model("shape_predictor_68_face_landmarks.dat"))


@functools.cache
def _recogniser() -> Any:
    return _dlib().face_recognition_model_v1(_model("dlib_face_recognition_resnet_model_v1.dat"))
