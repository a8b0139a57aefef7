"""One face through the frames of a video, without the shaking of single detections."""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from zoo import faces
from zoo.errors import ImageError
from zoo.faces import Face
from zoo.pictures.image import Source, read

LOOKS = 10.0
"""Times a second that faces are looked for; from one of them to the next a face moves evenly."""

NEAR = 360
"""Pixels along the side of the surroundings of a known face that the detector sees: three times its height."""

SAME = 0.7
"""Heights of a face that it moves at most from one look to the next; two people are further apart."""

AWAY = 1.0
"""Seconds: a face that was lost for longer is another one when it comes back."""

SMOOTH = 0.3
"""Seconds, the standard deviation of the Gaussian that a face's way is smoothed with."""


def follow(frames: Iterable[Source], rate: float, number: int = 1) -> list[Face]:
    """Where one face is in each of ``frames``, of which ``rate`` make a second.

    ``number`` 1 is, of those that a frame shows, the face that is seen the longest and largest, by the sum of its
    heights; 2 the next. Where it is lost it moves on evenly if it comes back within a second; else it stays where it
    was, and jumps half-way to where the next one appears. ``frames`` are gone through once, and none is kept.

    ImageError if there is no such face in any frame.
    """
    tracks, count = _tracks(frames, rate)
    shown = _shown(tracks, [track.way(SMOOTH * rate) for track in tracks], count, number)
    if not shown:
        what = f"there is no face {number}" if tracks else "no face found"
        raise ImageError(f"{what} in any frame", "give a video of a face seen from the front; 1 is the largest")
    frames_with_it = sorted(shown)
    return [_face(shown[_nearest(frames_with_it, at)]) for at in range(count)]


def everyone(frames: Iterable[Source], rate: float) -> list[dict[int, Face]]:
    """The faces of each of ``frames``, of which ``rate`` make a second, by numbers that stay: 1 is seen the longest and
    largest. A face that is lost for less than a second moves on evenly. ImageError if there is none in any frame."""
    tracks, count = _tracks(frames, rate)
    if not tracks:
        raise ImageError("no face found in any frame", "give a video of a face seen from the front")
    ways = [track.way(SMOOTH * rate) for track in tracks]
    return [
        {
            number: _face(way[at - track.at[0]])
            for number, (track, way) in enumerate(zip(tracks, ways), 1)
            if track.at[0] <= at <= track.last
        }
        for at in range(count)
    ]


def _tracks(frames: Iterable[Source], rate: float) -> tuple[list[_Track], int]:
    """The faces of a video, the longest and largest seen first, and the number of its frames."""
    step, every = max(1, round(rate / LOOKS)), max(1, round(rate))
    tracks: list[_Track] = []
    count = 0
    for count, frame in enumerate(frames, 1):
        at = count - 1
        if at % step == 0:
            known = [track.faces[-1] for track in tracks if track.last == at - step] if at % every >= step else []
            for face in _look(read(frame).rgb, known):
                _link(tracks, at, face, AWAY * rate)
    tracks = [track for track in tracks if len(track.at) > 1] or tracks  # what is seen once is often no face
    tracks.sort(key=lambda track: -track.weight)
    return tracks, count


def _look(image: Tensor, known: Sequence[Face]) -> list[Face]:
    """The faces in a frame (3, H, W): near where the ``known`` ones were, or anywhere if none is or one is lost.

    Near a face takes a fifth of the time, in frames of 1280×720."""
    near = [_beside(image, face) for face in known]
    return [face for face in near if face] if near and all(near) else faces.find(image, thorough=False)


def _beside(image: Tensor, face: Face) -> Face | None:
    """The largest face in the square of three times its height around where this one was."""
    middle, reach = face.landmarks.mean(0), 1.5 * face.height
    left, top = (middle - reach).int().clamp(min=0).tolist()
    right, bottom = (middle + reach).int().clamp(min=0).tolist()
    part = image[:, top:bottom, left:right]
    found = faces.find(part, NEAR) if part.numel() else []
    return _face(found[0].landmarks + torch.tensor([left, top])) if found else None


def _link(tracks: list[_Track], at: int, face: Face, away: float) -> None:
    """Add a face of a frame to the track that it goes on; one that is new begins a track."""
    near = sorted((track for track in tracks if track.last >= at - away), key=lambda track: track.distance(face))
    if not near or near[0].distance(face) > SAME:
        tracks.append(_Track(at, face))
    elif near[0].last < at:  # else it has been seen twice
        near[0].add(at, face)


class _Track:
    """A face: the numbers of the frames that it was seen in, and what it was like."""

    def __init__(self, at: int, face: Face) -> None:
        self.at, self.faces = [at], [face]

    def add(self, at: int, face: Face) -> None:
        self.at.append(at)
        self.faces.append(face)

    @property
    def last(self) -> int:
        return self.at[-1]

    @property
    def weight(self) -> float:
        return sum(face.height for face in self.faces)

    def distance(self, face: Face) -> float:
        """From where it was last, in heights of the face."""
        last = self.faces[-1]
        return float(torch.dist(last.landmarks.mean(0), face.landmarks.mean(0))) / max(last.height, 1.0)

    def way(self, deviation: float) -> Tensor:
        """(frames, 68, 2): landmarks from the first frame that shows it to the last, smoothed over frames."""
        columns = torch.stack([face.landmarks for face in self.faces]).flatten(1).T.numpy()  # (136, times seen)
        frames = np.arange(self.at[0], self.last + 1)
        dense = torch.from_numpy(np.stack([np.interp(frames, self.at, column) for column in columns])).float()
        reach = math.ceil(3 * deviation)
        kernel = torch.arange(-reach, reach + 1).div(deviation).square().mul(-0.5).exp()[None, None]
        total = F.conv1d(torch.ones(1, 1, len(frames)), kernel, padding=reach)  # less near its ends
        return (F.conv1d(dense[:, None], kernel, padding=reach) / total)[:, 0].T.unflatten(1, (68, 2))


def _shown(tracks: Sequence[_Track], ways: Sequence[Tensor], count: int, number: int) -> dict[int, Tensor]:
    """For the frames that have it, the landmarks of the ``number``-th track there."""
    shown = {}
    for at in range(count):
        there = [way[at - track.at[0]] for track, way in zip(tracks, ways) if track.at[0] <= at <= track.last]
        if len(there) >= number:
            shown[at] = there[number - 1]
    return shown


def _nearest(numbers: Sequence[int], at: int) -> int:
    """The one of these sorted numbers that is nearest."""
    right = bisect(numbers, at)
    return min(numbers[max(right - 1, 0) : right + 1], key=lambda one: abs(one - at))


def _face(landmarks: Tensor) -> Face:
    (left, top), (right, bottom) = landmarks.amin(0).tolist(), landmarks.amax(0).tolist()
    return Face((left, top, right, bottom), landmarks)
