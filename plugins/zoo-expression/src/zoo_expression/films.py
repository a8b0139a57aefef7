"""Expressions in videos: every face is followed, and edited alike from frame to frame.

A video is gone through three times, and no frame is kept: for where the faces are, for what they show, and to edit them.
Single readings shake: landmarks and units are smoothed over time.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from zoo import faces
from zoo.errors import ImageError
from zoo.faces import track
from zoo.pictures import image as pictures
from zoo.pictures import video
from zoo_expression.translator import VERB, ExpressionTranslator, unsure

STILL = 0.04
"""Seconds, the standard deviation of the Gaussian that landmarks are smoothed with: lips that speak must not lag."""

CALM = 0.15
"""The same of units."""

log = logging.getLogger("zoo")


@dataclass(frozen=True)
class Seen:
    """A face through a video: the frames that show it, one after the other, and what it shows there."""

    first: int
    landmarks: Tensor  # (T,68,2) in a frame's pixels
    units: Tensor  # (T,U), as conditions
    stays: Sequence[int]  # units that nothing moves

    def at(self, frame: int) -> tuple[faces.Face, Tensor] | None:
        """Its landmarks and its units (1,U) in a frame that shows it."""
        if not 0 <= (i := frame - self.first) < len(self.units):
            return None
        points = self.landmarks[i]
        (left, top), (right, bottom) = points.amin(0).tolist(), points.amax(0).tolist()
        return faces.Face((left, top, right, bottom), points), self.units[i : i + 1]


class FilmTranslator(ExpressionTranslator):
    """As `ExpressionTranslator`, and videos: ``like`` may be another video, whose units drive this one's over time."""

    def filmed(
        self, controls: dict[str, Any], *, size: int | None, batch: int | None, tile: int | None
    ) -> Callable[[video.Film], Callable[[Iterable[np.ndarray]], Iterable[Any]]]:
        like = controls.get("like")
        driver = Path(like) if isinstance(like, str | os.PathLike) and video.moves(Path(like)) else None
        if self.generator.labels or controls.get("face") == 0:
            return super().filmed(controls, size=size, batch=batch, tile=tile)
        values = self.checked({**controls, **({"like": None} if driver else {})}, size)

        def looked_through(film: video.Film) -> Callable[[Iterable[np.ndarray]], Iterable[np.ndarray]]:
            number, still = values.pop("face", None), values.pop("like", None)
            driven = self._units(video.probe(driver)) if driver else None
            if driven and driven[1] < film.count / film.rate:
                log.warning("%s is shorter than %s: its last expression stays", driver, film.path)
            followed = self.people(film)
            if number is not None and number not in followed:
                raise ImageError(f"there is no face {number} in any frame", "1 is the one seen longest and largest")
            chosen = [followed[number]] if number else list(followed.values())
            base = None
            if still is not None:
                with self.inference():
                    base = self.generator.own(self._batch([self._shown(still.float().cpu(), 1)])).cpu()
            work = _Work(chosen, values, base, driven[0] if driven else None, float(film.rate))
            return lambda images: self._drawn_frames(images, work)

        return looked_through

    def people(self, film: video.Film) -> dict[int, Seen]:
        """The faces of a film that can be edited, by number. ImageError if there is none."""
        rate = float(film.rate)
        shown = track.everyone((image for _, image in film.frames("looking through")), rate)
        found: dict[int, list[tuple[int, Tensor, Tensor, Tensor]]] = {}
        faults: dict[int, list[str]] = {}
        for at, (_, image) in zip(range(len(shown)), film.frames("reading faces")):
            picture = pictures.read(image).rgb
            for number, face in shown[at].items():
                if fault := faces.fault(face, VERB):
                    faults.setdefault(number, []).append(fault)
                found.setdefault(number, []).append((at, *self._read(picture, face)))
        left_out = {number: all_of[0] for number, all_of in faults.items() if 2 * len(all_of) > len(found[number])}
        some = len(left_out) < len(found)
        for number, fault in left_out.items():
            if some:
                log.warning("face %d is left as it is: %s", number, fault)
            del found[number]
        if not found:
            raise ImageError(next(iter(left_out.values())), "give a larger or a more frontal video")
        sure = self.generator.motion is None  # only what is moved has to lie where it seems to
        return {
            number: Seen(
                rows[0][0],
                smoothed(torch.stack([points for _, points, _, _ in rows]), STILL * rate),
                smoothed(torch.cat([units for _, _, units, _ in rows]), CALM * rate),
                () if sure else unsure(torch.stack([row[3] for row in rows]).median(0).values, f"face {number}"),
            )
            for number, rows in found.items()
        }

    def _read(self, picture: Tensor, face: faces.Face) -> tuple[Tensor, Tensor, Tensor]:
        """A face's landmarks (68,2) in a frame, near where it is known to be, its units (1,U), and `second_look`'s doubt."""
        crop = faces.crop(picture, face, 2 * self.side)
        known, doubt = faces.second_look(crop.image)
        points = torch.cat([known.double(), torch.ones(68, 1).double()], 1) @ crop.matrix.T
        with self.inference():
            seen = F.interpolate(crop.image[None], (self.side, self.side), mode="bilinear", antialias=True)
            return points.float(), self.generator.own(self.on_device(seen)).float().cpu(), doubt

    def _units(self, film: video.Film) -> tuple[Tensor, float]:
        """The units (T,U) of the first face of a film, frame by frame, and its seconds; where it is away, the last."""
        seen = self.people(film)[1]
        before = seen.units[:1].expand(seen.first, -1)
        units = torch.cat([before, seen.units])
        return _resampled(units, float(film.rate)), len(units) / float(film.rate)

    def _drawn_frames(self, images: Iterable[np.ndarray], work: _Work) -> Iterator[np.ndarray]:
        for at, image in enumerate(images):
            picture = pictures.read(image)
            rgb = picture.rgb
            there = [(*one, seen.stays) for seen in work.chosen if (one := seen.at(at))]
            with self.inference():
                for face, own, stays in there:
                    found = replace(self.seen(rgb, face), stays=stays)
                    batch = self._batch([found])
                    own = own.to(batch.device)
                    base = work.base(at, own)
                    given = self.tensors(work.values, 1)
                    asked = self.generator.halves(batch, base=base.to(own), **given)
                    rgb = found.paste(rgb, next(self.edited([found], batch, own, asked)))
            yield np.asarray(picture.like(rgb))


@dataclass(frozen=True)
class _Work:
    """What is asked of the faces of a film."""

    chosen: Sequence[Seen]
    values: dict[str, Any]
    still: Tensor | None  # (1,U) of a picture whose expression is taken over
    driven: Tensor | None  # (T,U) of another film, ``STEP`` of a second apart
    rate: float

    def base(self, frame: int, own: Tensor) -> Tensor:
        if self.driven is not None:
            return self.driven[min(round(frame / self.rate / STEP), len(self.driven) - 1)][None]
        return own if self.still is None else self.still


STEP = 0.01
"""Seconds between the units of a film that drives another: frames of the two need not come at one rate."""


def _resampled(units: Tensor, rate: float) -> Tensor:
    """(T,U), ``rate`` a second, as many as there are ``STEP`` in it, evenly between them."""
    number = max(1, round(len(units) / rate / STEP))
    return F.interpolate(units.T[None], number, mode="linear", align_corners=False)[0].T


def smoothed(values: Tensor, deviation: float) -> Tensor:
    """(T,…) smoothed over T by a Gaussian, less near its ends."""
    reach = max(1, math.ceil(3 * deviation))
    kernel = torch.arange(-reach, reach + 1).div(max(deviation, 1e-3)).square().mul(-0.5).exp()[None, None]
    rows = values.flatten(1).T[:, None]
    total = F.conv1d(torch.ones(1, 1, len(values)), kernel, padding=reach)
    return (F.conv1d(rows, kernel, padding=reach) / total)[:, 0].T.unflatten(1, values.shape[1:])
