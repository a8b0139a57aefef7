"""``zoo anime-points``: 40 points for each drawn face, out of what another detector found.

Eyes, nose and mouth come from its boxes, or from its 28 points; brows are set above the eyes, where hair hides most of
them; the jaw's 17 points come from a search for the outline (section 4.1 of the thesis).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from torch import Tensor

from zoo.errors import ImageError, NotFoundError, UsageError
from zoo.helpers.inputs import Inputs
from zoo.pictures.image import find_pictures, read, to_pil, writable, write
from zoo.progress import tell
from zoo_animeface.detections import Array, Box, Detection, middle, read_detections
from zoo_animeface.outline import NODES, Outline, search
from zoo_animeface.points import MIRROR, SIDE, TABLE, Row, write_points
from zoo_animeface.sheet import sheet as look_at

BROW = ((0.0, -0.30), (0.5, -0.42), (1.0, -0.30))
EYE = ((0.0, 0.5), (0.32, 0.04), (0.68, 0.04), (1.0, 0.5), (0.68, 0.96), (0.32, 0.96))
MOUTH = ((0.0, 0.5), (0.5, 0.0), (1.0, 0.5), (0.5, 1.0))
"""Where points lie in the box of an eye or of the mouth, in shares of its width and height."""

CHEEK = (
    *((1.0, 0.0), (0.99, 0.18), (0.95, 0.36), (0.86, 0.54), (0.72, 0.70)),
    *((0.54, 0.83), (0.34, 0.92), (0.15, 0.975), (0.0, 1.0)),
)
"""First guess of half an outline, from the height of the eyes to the chin: in shares of its width there, and of the way."""

BESIDE = 0.1
"""Where it begins: outside of the eye's box by this share of the way from the eyes to the chin."""

REACHES = (0.2, 0.1)
"""How far the outline may lie from the guess, in shares of that way; and then from what was found."""

WAY = 100.0
"""Pixels that the way has in the picture in which the outline is looked for."""

CLEAR = 0.3
"""Strength from which a piece of the outline is seen; at least ``SEEN`` of it have to be."""

SEEN = 0.45

UNREADABLE = "no picture that can be read"
ODD = "eyes, mouth and chin do not make a face"
HIDDEN = "the outline is not seen"
STRAYS = "the outline misses the chin, an eye or the mouth"
UNSEEN = "not found in the mirror image"
APART = "the mirror image has its points elsewhere"

FAR = 4.0
"""Pixels of 112 by which the points of a face and of its mirror image may be apart, root mean square."""

SHEET = 48
"""Pictures on a sheet."""


def anime_points(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The drawings.")],
    detections: Annotated[Path, typer.Option(metavar="CSV", help="What a detector found in them, boxes or 28 points.")],
    out: Annotated[Path | None, typer.Option(metavar="CSV", help=f"The table; else {TABLE} in the folder.")] = None,
    mirrored: Annotated[
        Path | None,
        typer.Option(metavar="CSV", help="What it found in their mirror images: the mean of both is more exact."),
    ] = None,
    sheet: Annotated[Path | None, typer.Option(metavar="PNG", help=f"{SHEET} of the faces with their points.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace what is there.")] = False,
) -> dict[str, Any]:
    """Make 40 points for each drawn face: what dan-anime learns from. Faces that do not fit are left out and counted.

    The detections are a CSV table with a column file and either the boxes of eyes and mouth, nose and chin (rex, rey,
    rew, reh, lex … mh, nx, ny, cx, cy; re is the person's right eye) or 28 points (x0, y0 … x27, y27).

    Labels made by machines scatter, and no detector measures better than its labels. With --mirrored, a table of the same
    pictures turned round from left to right, each point is the mean of both looks; how far they are apart is said, and faces
    where it is much are left out.

    Example: zoo anime-points drawings --detections detections.csv --sheet look.png
    """
    if not folder.is_dir():
        raise NotFoundError(f"there is no folder {folder}", "give the folder with the drawings")
    table = out or folder / TABLE
    if sheet:
        writable(sheet)
    Inputs(detections, *([mirrored] if mirrored else []), find_pictures([folder])).ready(
        table, *([sheet] if sheet else []), replace=overwrite
    )
    found = list(read_detections(detections))
    again = dict(read_detections(mirrored)) if mirrored else {}
    rows, left_out, apart = [], {}, list[float]()
    for number, (name, detection) in enumerate(found):
        tell("finding outlines", number, len(found))
        other = again.get(name, UNSEEN) if mirrored else None
        row = detection if isinstance(detection, str) else _labelled(folder, name, detection, other, apart)
        if isinstance(row, Row):
            rows.append(row)
        else:
            left_out[name] = row
    tell("finding outlines", len(found), len(found))
    if not rows:
        raise UsageError(f"none of the {len(found)} faces of {detections} can be used", _why(left_out.values()))
    write_points(table, rows, overwrite)
    if sheet:
        write(to_pil(_overview(folder, rows)), sheet, overwrite)
    return _report(table, rows, left_out, len(found), apart)


def labelled(image: NDArray[np.uint8], detection: Detection) -> Tensor | str:
    """RGB picture (H,W,3) and what was found in it -> the shape (40,2) in shares, or why there is none."""
    if not detection.plausible:
        return ODD
    outline = _outline(image, detection)
    if (outline.strength > CLEAR).mean() < SEEN:
        return HIDDEN
    jaw, inner = _jaw(outline.points), _inner(detection)
    if _strays(outline.points, inner, detection):
        return STRAYS
    height, width = image.shape[:2]
    return torch.from_numpy(np.concatenate([jaw, inner]) / (width, height)).float()


def _labelled(
    folder: Path, name: str, detection: Detection, mirrored: Detection | str | None, apart: list[float]
) -> Row | str:
    """A drawing with its points; where its mirror image was looked at, too, see `_both`, ``apart`` hears how far they differ."""
    try:
        picture = to_pil(read(folder / name).rgb)
    except (ImageError, NotFoundError):
        return UNREADABLE
    image = np.asarray(picture)
    shape = labelled(image, detection)
    if mirrored is not None and not isinstance(shape, str):
        shape = _both(image, shape, mirrored, apart)
    return shape if isinstance(shape, str) else Row(name, picture.width, picture.height, shape)


def _both(image: NDArray[np.uint8], shape: Tensor, mirrored: Detection | str, apart: list[float]) -> Tensor | str:
    """The mean of the ``shape`` (40,2) found in a picture and that of its mirror image, in which this was found."""
    other = UNSEEN if isinstance(mirrored, str) else labelled(np.ascontiguousarray(image[:, ::-1]), mirrored)
    if isinstance(other, str):
        return UNSEEN
    back = other[list(MIRROR)] * torch.tensor([-1.0, 1.0]) + torch.tensor([1.0, 0.0])
    apart.append(SIDE * float((shape - back).square().sum(1).mean().sqrt()))
    return APART if apart[-1] > FAR else (shape + back) / 2


def _inner(detection: Detection) -> Array:
    """(23,2): all points but the jaw's."""
    points = detection.points
    if points is None:
        tilt, eyes = detection.tilt, (detection.right, detection.left)
        parts = [_placed(BROW, box, tilt) for box in eyes] + [_placed(EYE, box, tilt) for box in eyes]
        mouth = _placed(MOUTH, detection.mouth, tilt)
    else:
        parts = [points[5:11], _lids(points[11:14], points[14:17]), _lids(points[17:20], points[20:23])]
        mouth = points[24:]
    return np.concatenate([*parts, detection.nose[None], mouth])


def _placed(shares: Sequence[tuple[float, float]], box: Box, tilt: float) -> Array:
    """Points of a box that is as large as it says and turned about its middle."""
    x, y = ((np.array(shares) - 0.5) * box[2:]).T
    cos, sin = np.cos(tilt), np.sin(tilt)
    return middle(box) + np.stack([cos * x - sin * y, sin * x + cos * y], 1)


def _lids(above: Array, below: Array) -> Array:
    """Three points of each lid -> the six of iBUG's eye: corner, two above, corner, two below, in a circle."""
    above, below = (lid[lid[:, 0].argsort()] for lid in (above, below))
    corners = (above[[0, 2]] + below[[0, 2]]) / 2
    (first, second), (third, fourth) = ((lid[[0, 1]] * (1, 2) + lid[[1, 2]] * (2, 1)) for lid in (above, below))
    return np.stack([corners[0], first / 3, second / 3, corners[1], fourth / 3, third / 3])


def _outline(image: NDArray[np.uint8], detection: Detection) -> Outline:
    import cv2  # here, since it changes the environment

    scale = WAY / detection.length
    method = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    seen = np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=method), np.uint8)
    features = [_scaled(box, scale, 1.2) for box in (detection.right, detection.left, detection.mouth)]
    if detection.points is None:
        guess, pinned = _guess(detection), range(0)
    else:
        guess, pinned = _through(detection.points[:5]), range(0, NODES, NODES // 4)
    found, skin = guess * scale, _scaled(_skin(detection), scale)
    for reach in REACHES:
        outline = search(seen, found, reach * WAY, skin, features, pinned)
        found = outline.points
    return Outline(found / scale, outline.strength)


def _guess(detection: Detection) -> Array:
    """(NODES,2): from the height of the eyes down to the chin and up again."""
    between, eyes = detection.between, (detection.right, detection.left)
    down = detection.chin - between
    across = np.array([np.cos(detection.tilt), np.sin(detection.tilt)])
    half = _evenly(np.array(CHEEK), NODES // 2 + 1)
    sides = []
    for box, sign in zip(eyes, (-1, 1)):
        width = np.linalg.norm(middle(box) - between) + box[2] / 2 + BESIDE * detection.length
        sides.append(between + half[:, :1] * (sign * width * across) + half[:, 1:] * down)
    return np.concatenate([sides[0], sides[1][-2::-1]])


def _through(jaw: Array) -> Array:
    """(5,2) -> (NODES,2): lines from each point to the next, with as many nodes on each."""
    parts = [_evenly(jaw[i : i + 2], NODES // 4 + 1)[:-1] for i in range(4)]
    return np.concatenate([*parts, jaw[4:]])


def _jaw(outline: Array) -> Array:
    """(NODES,2) -> (17,2): evenly spaced from the ears to the chin, where the outline is farthest from between them."""
    far = np.linalg.norm(outline - (outline[0] + outline[-1]) / 2, axis=1)
    weight = np.exp((far - far.max()) / (0.02 * far.max()))
    chin = round(float((weight * np.arange(NODES)).sum() / weight.sum()))
    return np.concatenate([_evenly(outline[: chin + 1], 9), _evenly(outline[chin:], 9)[1:]])


def _evenly(line: Array, count: int) -> Array:
    """(K,2) -> (count,2): along the line at equal distances."""
    way = np.concatenate([[0.0], np.linalg.norm(np.diff(line, axis=0), axis=1).cumsum()])
    at = np.linspace(0, way[-1], count)
    return np.stack([np.interp(at, way, line[:, i]) for i in (0, 1)], 1)


def _skin(detection: Detection) -> Box:
    """Between the middles of the eyes, from below them to the mouth."""
    right, left, mouth = detection.right, detection.left, detection.mouth
    x, y = middle(right)[0], max(right[1] + right[3], left[1] + left[3])
    return x, y, middle(left)[0] - x, max(mouth[1] + mouth[3] - y, 0.1 * detection.length)


def _scaled(box: Box, scale: float, larger: float = 1.0) -> Box:
    """Of another size, and ``larger`` about its middle."""
    x, y = middle(box)
    width, height = box[2] * larger, box[3] * larger
    return (x - width / 2) * scale, (y - height / 2) * scale, width * scale, height * scale


def _strays(outline: Array, inner: Array, detection: Detection) -> bool:
    """Does it miss the chin, or cut off the mouth or the lower half of an eye?"""
    import cv2  # here, since it changes the environment

    if np.linalg.norm(outline[NODES // 2] - detection.chin) > 0.12 * detection.length:
        return True
    line = outline.astype(np.float32)[:, None]
    inside = [
        cv2.pointPolygonTest(line, (float(x), float(y)), True) for x, y in inner[[10, 11, 16, 17, *range(19, 23)]]
    ]
    return min(inside) < -0.03 * detection.length


def _overview(folder: Path, rows: Sequence[Row]) -> Tensor:
    """Faces evenly spread over the table."""
    chosen = [rows[i * len(rows) // min(SHEET, len(rows))] for i in range(min(SHEET, len(rows)))]
    return look_at([(read(folder / row.file).rgb, row.shape) for row in chosen if row.shape is not None])


def _why(reasons: Iterable[str]) -> str:
    return ", ".join(f"{reason}: {count}" for reason, count in Counter(reasons).most_common())


def _report(
    table: Path, rows: Sequence[Row], left_out: Mapping[str, str], total: int, apart: Sequence[float]
) -> dict[str, Any]:
    counts = Counter(left_out.values())
    lines = [f"{table}: {len(rows)} of {total} faces with 40 points each"]
    if apart:
        mean = fmean(one**2 for one in apart) ** 0.5
        lines.append(
            f"points of faces and of their mirror images are {mean:.2f} pixels of {SIDE} apart ({len(apart)} faces)"
        )
    return {
        "rows": [{"reason": reason, "faces": count} for reason, count in counts.most_common()],
        "lines": lines,
        "table": str(table),
        "faces": total,
        "kept": len(rows),
        "left_out": dict(left_out),
        "failed": f"{counts[UNREADABLE]} pictures could not be read" if counts[UNREADABLE] else "",
    }
