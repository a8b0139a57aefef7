"""Faces in a picture, found and judged.

A picture is a tensor (3, H, W) in [-1, 1]. Coordinates are pixels, x to the right, y down, counted along the pixels'
edges: the middle of the first pixel lies at (0.5, 0.5).

The only module that imports dlib (D. E. King, "Dlib-ml: A Machine Learning Toolkit", JMLR 2009), which brings the
detector (histograms of oriented gradients), the landmarks (V. Kazemi and J. Sullivan, "One Millisecond Face Alignment
with an Ensemble of Regression Trees", CVPR 2014; trained on iBUG 300-W) and the descriptor (a ResNet of 29 layers).
"""

from __future__ import annotations

import functools
import importlib.util
import logging
import math
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.errors import ImageError, UsageError
from zoo.faces.geometry import exactly, placed, resampled, rotation

SEEN = 1280
"""Pixels along the longer side that the detector sees at most: its time grows with their square."""

MAGNIFIED = 2.0
"""Pictures are scaled up by this much: the detector sees faces from 80 pixels."""

MARGIN = 0.25
"""Shares of a picture's longer side, added around it by replication: the detector misses faces at the border."""

SURE = 0.3
"""The detector's score above which there may be several faces: a badge on a space suit has 0.09, most faces over 1."""

SIGHT = 80
"""Pixels of the smallest face that the detector sees."""

PART, FINER = 2560, 8
"""Where small faces are looked for: pixels along the side of a part that the detector sees at once, and by how much it is
finer than the view before, at most."""

HANDS = 4
"""Parts that are looked at together, at most, each on a core: a detector keeps 40 MB of what it sees."""

PIXELS = 100e6
"""Pixels of all parts together, at most: in pictures of more than 25 megapixels the smallest faces are not looked for."""

SMALLEST = 32
"""Pixels from brow to chin below which there is too little of a face for a network."""

PROFILE = 0.75
"""`Face.turned` above which too little of a face is seen."""

log = logging.getLogger("zoo")

MIRRORED = (
    *range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1),
    45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40, *range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1),
    *range(67, 64, -1),
)  # fmt: skip
"""Where each landmark lies in the mirror."""

LOCK = threading.RLock()  # dlib's objects change while they work

_IDLE: list[Any] = []  # detectors, each for one thread at a time


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
        return self.landmarks.double() @ rotation(self.angle)

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


@exactly
def find(image: Tensor, seen: int = SEEN, thorough: bool = True) -> list[Face]:
    """The faces in a picture (3, H, W) in [-1, 1], the largest first; [] if there is none.

    Found are faces that look about towards the camera and are tilted by less than about 40°, from 40 pixels on: in
    pictures of more than 640, faces below a sixteenth of the longer side are looked for in parts, which takes seconds
    in photographs of 12 megapixels; in more than 25 the smallest that are found are larger. A picture without a face is
    turned both ways: what lies on its side is found as it lies, and a line says so. Unless ``thorough`` there is only a
    look at the whole picture. ``seen`` are the pixels along the longer side that the detector sees then, at most: where
    faces are larger, fewer are faster, and the look is the only one, too.

    UsageError if dlib or its models are not installed.
    """
    dlib = dlib_module()
    scale = min(MAGNIFIED, seen / max(image.shape[-2:]))
    found = _whole(image, scale)
    if thorough and seen == SEEN:
        found += _small(image, scale, found)
        if not found:
            return _lying(image, scale)
    with LOCK:
        faces = [Face(box, _landmarks(dlib, image, box)) for box, _ in found]
    return sorted(faces, key=lambda face: face.box[0] - face.box[2])


Box = tuple[float, float, float, float]


def _whole(image: Tensor, scale: float) -> list[tuple[Box, float]]:
    """Boxes of faces and how sure the detector is of them, in a picture scaled to what it sees."""
    margin = MARGIN * max(image.shape[-2:])
    size = [math.ceil((length + 2 * margin) * scale) for length in image.shape[-2:]]
    view = array(resampled(image, placed(0, 1 / scale, -margin, -margin), size))
    found = _detected(view, -margin, -margin, scale)
    doubtful = min(SURE, max((score for _, score in found), default=0))  # one counts only where there is no better
    return [(box, score) for box, score in found if score >= doubtful]


def _small(image: Tensor, scale: float, known: Sequence[tuple[Box, float]]) -> list[tuple[Box, float]]:
    """What is seen only in finer views than this ``scale`` is, beside the ``known`` ones."""
    found = list(known)
    finest = min(MAGNIFIED, math.sqrt(PIXELS / image[0].numel()))
    steps = math.ceil(math.log(max(finest / scale, 1), FINER))  # even ones: each view costs as much as it is finer
    for step in range(steps):
        coarser, finer = (scale * (finest / scale) ** (of / steps) for of in (step, step + 1))
        for box, score in _parts(image, finer, 1.25 * SIGHT / coarser):
            if score >= SURE and not any(_same(box, other) for other, _ in found):
                found.append((box, score))
    return found[len(known) :]


def _parts(image: Tensor, scale: float, lap: float) -> Iterator[tuple[Box, float]]:
    """The same of a larger picture, part by part, in grey, which takes two thirds of the time. Parts lap over by ``lap``
    pixels: larger faces are known."""
    grey = image.mean(0, keepdim=True)
    side = max(PART / scale, 2 * lap)
    tops, lefts = (_starts(length, side, lap) for length in image.shape[-2:])
    corners = product(tops, lefts)
    hands = min(HANDS, torch.get_num_threads())
    with ThreadPoolExecutor(hands) as pool:
        while some := [*islice(corners, hands)]:
            views = [_grey(grey[:, top : top + round(side), left : left + round(side)], scale) for top, left in some]
            for found in pool.map(lambda view, corner: _detected(view, corner[1], corner[0], scale), views, some):
                yield from found


def _grey(part: Tensor, scale: float) -> np.ndarray:
    size = [math.ceil(length * scale) for length in part.shape[-2:]]
    view = F.interpolate(part[None], size, mode="bilinear", antialias=scale < 1, align_corners=False)[0]
    return array(view)[..., 0]


def _starts(length: int, side: float, lap: float) -> list[int]:
    """Where parts begin along a side."""
    number = max(1, math.ceil((length - lap) / (side - lap)))
    return [round(i * (side - lap)) for i in range(number)]


def _detected(view: np.ndarray, left: float, top: float, scale: float) -> list[tuple[Box, float]]:
    """What the detector sees in a view that lies there in a picture, in the picture's pixels."""
    try:
        detector = _IDLE.pop()
    except IndexError:
        detector = dlib_module().get_frontal_face_detector()
    found, scores, _ = detector.run(np.ascontiguousarray(view))
    _IDLE.append(detector)
    return [
        (
            (
                one.left() / scale + left,
                one.top() / scale + top,
                (one.right() + 1) / scale + left,
                (one.bottom() + 1) / scale + top,
            ),
            score,
        )
        for one, score in zip(found, scores)
    ]


def _same(one: Box, other: Box) -> bool:
    """Do boxes share half of what the smaller one covers?"""
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    smaller = min((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return across > 0 and down > 0 and across * down > smaller / 2


def _lying(image: Tensor, scale: float) -> list[Face]:
    """The faces of a picture that lies on its side, as they lie; [] if it does not, too."""
    for turns, way in ((1, "left"), (3, "right")):
        turned = image.rot90(turns, (1, 2))
        sure = [box for box, score in _whole(turned, scale) if score >= SURE]
        if sure:
            log.warning(
                "the picture lies on its side: turn it a quarter to the %s; its faces are taken as they lie", way
            )
            with LOCK:
                points = [_landmarks(dlib_module(), turned, box) for box in sure]
            faces = [Face(_around(back), back) for back in (_turned_back(one, image, turns) for one in points)]
            return sorted(faces, key=lambda face: -face.height)
    return []


def _turned_back(points: Tensor, image: Tensor, turns: int) -> Tensor:
    x, y = points.unbind(1)
    height, width = image.shape[-2:]
    return torch.stack([width - y, x] if turns == 1 else [y, height - x], 1)


def _around(points: Tensor) -> Box:
    (left, top), (right, bottom) = points.amin(0).tolist(), points.amax(0).tolist()
    return left, top, right, bottom


@exactly
def landmarks(image: Tensor) -> Tensor:
    """(68, 2): the landmarks of a face that fills a square (3, S, S) as `zoo.faces.FACE` cuts it out, in its pixels."""
    return _landmarks(dlib_module(), image, _filled(image.shape[-1]))


def _filled(size: int) -> Box:
    """The box of a face that fills a square."""
    return 0.1 * size, 0.13 * size, 0.9 * size, 0.93 * size


@exactly
def second_look(image: Tensor) -> tuple[Tensor, Tensor]:
    """The landmarks (68, 2) of such a square as the mean of it and of its mirror image, and (68,) by how much the two
    differ, in distances of the eyes' middles: about 0.01 where a face is seen well, far more where it is hidden or turned
    away and the landmarks are guessed."""
    size = image.shape[-1]
    view, matrix = _view(image, _filled(size))
    here, mirrored = (_marked(dlib_module(), seen, matrix) for seen in (view, view[:, ::-1]))
    mirrored = mirrored[list(MIRRORED)]
    there = torch.stack([size - mirrored[:, 0], mirrored[:, 1]], 1)
    points = (here + there) / 2
    apart = (points[42:48].mean(0) - points[36:42].mean(0)).norm().clamp(min=1e-6)
    return points, (here - there).norm(dim=1) / apart


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


def all_usable(found: Sequence[Face], number: int | None, verb: str, whole: str) -> list[Face]:
    """As `usable`; a line names the faces that are left out, by their numbers, and why."""
    good = usable(found, number, verb, whole)
    if number is None and len(good) < len(found):
        faults = [f"face {i}: {why}" for i, face in enumerate(found, 1) if (why := fault(face, verb))]
        more = f"; and {len(faults) - 3} more" if len(faults) > 3 else ""
        log.warning("%d of %d faces left as they are: %s%s", len(faults), len(found), "; ".join(faults[:3]), more)
    return good


def _landmarks(dlib: Any, image: Tensor, box: Box) -> Tensor:
    """(68, 2) in the pixels of ``image``."""
    return _marked(dlib, *_view(image, box))


def _view(image: Tensor, box: Box) -> tuple[np.ndarray, Tensor]:
    """What dlib sees of a face: it gives whole pixels, so every face is 300 of them wide. And where they lie in the image."""
    scale = (box[2] - box[0]) / 300
    matrix = placed(0, scale, box[0] - 150 * scale, box[1] - 150 * scale)
    return array(resampled(image, matrix, (600, 600))), matrix


def _marked(dlib: Any, view: np.ndarray, matrix: Tensor) -> Tensor:
    shape = _predictor()(np.ascontiguousarray(view), dlib.rectangle(150, 150, 449, 449))
    points = torch.tensor([[point.x + 0.5, point.y + 0.5, 1] for point in shape.parts()])
    return (points.double() @ matrix.T).float()


def array(image: Tensor) -> np.ndarray:
    """(3, H, W) in [-1, 1] -> (H, W, 3) uint8."""
    levels = image.detach().add(1).mul_(127.5).round_().clamp_(0, 255).byte()
    return levels.permute(1, 2, 0).contiguous().cpu().numpy()


def dlib_module() -> Any:
    try:
        import dlib
    except ImportError as error:
        raise _missing() from error
    return dlib


def _missing() -> UsageError:
    return UsageError("finding faces needs dlib, which is not installed", "pip install 'zoo-core[faces]'")


def model_file(name: str) -> str:
    """The path of a file of face_recognition_models, which cannot be imported: it wants pkg_resources."""
    spec = importlib.util.find_spec("face_recognition_models")
    path = Path(spec.origin).parent / "models" / name if spec and spec.origin else None
    if path is None or not path.is_file():
        raise _missing()
    return str(path)


@functools.cache
def _predictor() -> Any:
    return dlib_module().shape_predictor(model_file("shape_predictor_68_face_landmarks.dat"))
