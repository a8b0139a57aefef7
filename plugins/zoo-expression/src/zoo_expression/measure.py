"""Does a face show what was asked, what else moved, and is it still the same person: in numbers."""

from __future__ import annotations

from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from zoo.faces import SAME, Face, descriptor, find, landmarks
from zoo_expression.motion import distance
from zoo_expression.units import NAMES

VALUES = (0.0, 0.5, 1.0, 1.5, 2.0)
"""Intensities that are asked for, of each unit alone."""

JUDGED = ("AU2", "AU4", "AU6", "AU7", "AU10", "AU12", "AU25")
"""The units that the headline is a mean over: those that common pictures show often and strongly enough to be read."""


def correlation(x: Tensor, y: Tensor) -> float:
    """Pearson's, of two tensors of one shape, in [-1,1]; 0 where one of them does not vary: it follows nothing."""
    x, y = (one.double().flatten() - one.double().mean() for one in (x, y))
    spread = float(x.norm() * y.norm())
    return float(x @ y) / spread if spread > 1e-6 * x.numel() else 0.0


def slope(x: Tensor, y: Tensor) -> float:
    """How much y rises where x rises by 1, by least squares; 0 where x does not vary."""
    x, y = (one.double().flatten() - one.double().mean() for one in (x, y))
    return float(x @ y) / float(x @ x) if float(x @ x) > 0 else 0.0


def followed(measured: Tensor) -> list[dict[str, Any]]:
    """How each unit follows what is asked of it, and which other unit moves most with it.

    ``measured`` (17,V,N,17): all intensities of N faces when unit k is asked to have the v-th of ``VALUES``.
    """
    asked = torch.tensor(VALUES)[:, None].expand(measured.shape[1:3])  # (V,N)
    units = []
    for k, name in enumerate(NAMES):
        slopes = [slope(asked, measured[k, :, :, other]) for other in range(len(NAMES))]
        most = max((other for other in range(len(NAMES)) if other != k), key=lambda other: abs(slopes[other]))
        facts = {"unit": name, "correlation": correlation(asked, measured[k, :, :, k]), "slope": slopes[k]}
        units.append({**facts, "other": NAMES[most], "other_slope": slopes[most]})
    return units


def headline(units: list[dict[str, Any]]) -> dict[str, float]:
    """Means of ``followed`` over ``JUDGED``, and of the correlation over all 17; the other unit's slope in absolute."""
    judged = [unit for unit in units if unit["unit"] in JUDGED]
    return {
        "correlation": fmean(unit["correlation"] for unit in judged),
        "slope": fmean(unit["slope"] for unit in judged),
        "other_slope": fmean(abs(unit["other_slope"]) for unit in judged),
        "correlation_of_all": fmean(unit["correlation"] for unit in units),
    }


class Spread:
    """How the values of many attentions A lie between 0, all new, and 1, the picture as it was. Streaming."""

    bins = 1000

    def __init__(self) -> None:
        self.total = 0.0
        self.counts = torch.zeros(self.bins, dtype=torch.float64)

    def add(self, attention: Tensor) -> None:
        """``attention`` in [0,1], of any shape."""
        values = attention.float().cpu()
        self.total += float(values.double().sum())
        self.counts += torch.histc(values, self.bins, 0, 1).double()

    def facts(self) -> dict[str, float] | None:
        """None if nothing was added. The 5th and 95th percentile are exact to a thousandth."""
        number = float(self.counts.sum())
        if not number:
            return None
        reached = self.counts.cumsum(0) / number
        twentieth = self.bins // 20
        return {
            "mean": self.total / number,
            "p5": int((reached < 0.05).sum()) / self.bins,
            "p95": int((reached < 0.95).sum()) / self.bins,
            "below_0.05": float(self.counts[:twentieth].sum()) / number,
            "above_0.95": float(self.counts[-twentieth:].sum()) / number,
        }


REGIONS = {
    **dict.fromkeys(("AU2", "AU4"), range(17, 27)),
    **dict.fromkeys(("AU12", "AU15", "AU25", "AU26"), range(48, 68)),
}
"""Units whose motion landmarks tell, and which: brows and mouth."""

ASKED = (0.0, 1.0, 2.0)
LIDS = ((37, 41), (38, 40), (43, 47), (44, 46))


class Geometry:
    """How far landmarks go where a table of motion (17,68,2) says they go, by dlib's landmarks in the box of the face
    before: a judge of pictures may be fooled by paint, landmarks much less.

    An edit's landmarks are projected on the unit's row over its region: 1 is what the table has for one unit. How far an
    eye is open when it is asked to close, AU45 at 2, is measured as a share of what it was."""

    def __init__(self, table: Tensor) -> None:
        self.table = table
        self.before: dict[int, Tensor] = {}
        self.found: dict[str, list[tuple[float, float]]] = {name: [] for name in REGIONS}
        self.open: list[float] = []

    def learn(self, i: int, image: Tensor) -> None:
        """The i-th face (3,S,S) in [-1,1], cut out as `zoo.faces.FACE`, before."""
        self.before[i] = landmarks(image)

    def compare(self, i: int, unit: str, asked: float, edited: Tensor) -> None:
        """An edit of it that was asked to show so much of a unit."""
        was = self.before[i]
        if unit in REGIONS and asked in ASKED:
            row, region = self.table[NAMES.index(unit)], list(REGIONS[unit])
            moved = (landmarks(edited) - was)[region] / distance(was)
            self.found[unit].append((asked, float((moved * row[region]).sum() / row[region].square().sum())))
        if unit == "AU45" and asked == VALUES[-1]:
            self.open.append(_opening(landmarks(edited)) / max(_opening(was), 1e-6))

    def facts(self) -> dict[str, Any]:
        pairs = {unit: torch.tensor(found).T for unit, found in self.found.items()}
        units: list[dict[str, Any]] = [
            {"unit": unit, "correlation": correlation(*pair), "slope": slope(*pair)} for unit, pair in pairs.items()
        ]
        return {
            "correlation": fmean(unit["correlation"] for unit in units),
            "slope": fmean(unit["slope"] for unit in units),
            "open": fmean(self.open),
            "units": units,
        }


def _opening(points: Tensor) -> float:
    return sum(float(torch.dist(points[top], points[bottom])) for top, bottom in LIDS)


class Identity:
    """Who the faces of pictures are, by dlib's descriptor, before and after editing.

    Both are cut out by the landmarks of the picture before: an edit moves landmarks, and shall not hide behind that.
    UsageError if dlib is not installed.
    """

    def __init__(self) -> None:
        self.known: dict[int, tuple[Face, Tensor] | None] = {}
        self.distances: list[float] = []

    def learn(self, i: int, image: Tensor) -> None:
        """The i-th picture (3,H,W) in [-1,1], before."""
        faces = find(image)
        self.known[i] = (faces[0], descriptor(image, faces[0])) if faces else None

    def compare(self, i: int, edited: Tensor) -> None:
        """An edit of the i-th picture; nothing happens where no face was found before."""
        if known := self.known[i]:
            face, person = known
            self.distances.append(float((descriptor(edited, face) - person).norm()))

    def facts(self) -> dict[str, Any]:
        """Means are None if no face was found."""
        return {
            "distance": fmean(self.distances) if self.distances else None,
            "same": fmean(distance < SAME for distance in self.distances) if self.distances else None,
            "edits": len(self.distances),
            "faces_not_found": sum(known is None for known in self.known.values()),
        }
