"""What sets a face apart from the average one, exaggerated: a caricature before it is drawn (S. E. Brennan, "Caricature Generator: The
Dynamic Exaggeration of Faces by Computer", Leonardo 18, 1985)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.faces.crops import Frame
from zoo.faces.detect import MIRRORED, Face
from zoo.faces.geometry import exactly, spline
from zoo.pictures.image import Picture

MEAN = (
    torch.tensor([
        [
            -1093, -1074, -1028, -974, -877, -714, -507, -267, 0, 267, 507, 714, 877, 974, 1028, 1074, 1093, -928, -773,
            -577, -383, -194, 194, 383, 577, 773, 928, 0, 0, 0, 0, -194, -100, 0, 100, 194, -696, -572, -418, -294,
            -434, -585, 294, 418, 572, 696, 585, 434, -398, -247, -105, 0, 105, 247, 398, 254, 114, 0, -114, -254, -323,
            -108, 0, 108, 323, 108, 0, -108,
        ],
        [
            -612, -320, -30, 254, 522, 755, 951, 1107, 1150, 1107, 951, 755, 522, 254, -30, -320, -612, -806, -907,
            -921, -882, -802, -802, -882, -921, -907, -806, -599, -405, -209, -12, 109, 145, 176, 145, 109, -590, -664,
            -658, -552, -524, -526, -552, -658, -664, -590, -526, -524, 464, 398, 358, 388, 358, 398, 464, 593, 648,
            658, 648, 593, 475, 468, 477, 468, 475, 486, 498, 486,
        ],
        [
            -1105, -1057, -1039, -1022, -907, -700, -443, -181, -91, -181, -443, -700, -907, -1022, -1039, -1057, -1105,
            -163, 56, 242, 389, 497, 497, 389, 242, 56, -163, 492, 618, 761, 900, 470, 547, 590, 547, 470, -28, 65, 98,
            102, 96, 61, 102, 98, 65, -28, 61, 96, -72, 240, 417, 445, 417, 240, -72, 135, 284, 311, 284, 135, -34, 367,
            399, 367, -34, 305, 334, 305,
        ],
    ])
    / 1000
)  # fmt: skip
"""The average of calm faces seen from the front, and how far each landmark lies towards the camera: x, y and z in shares of the distance
between the eyes. x and y are those of 314 faces of CelebA; z is what explains those of 5 293 in any pose best."""

FRONT, SIDEWAYS = 0.1, 0.4
"""The sine of the angle by which a face is turned up to which all of it is exaggerated, and from which nothing: which of its halves is the
wider one says nothing about it then."""

REACH = Frame(3.4, 0.5)
"""The square around a face in which a picture is moved: with hair and neck, which follow."""

FLOW = 256
"""Pixels along its side in which it is told how: it is smooth."""

STRIP = 2**20
"""Pixels that are moved at once."""


@exactly
def exaggerated(picture: Picture, found: Sequence[Face], by: float) -> Picture:
    """A picture whose ``found`` faces differ from the average face (1 + ``by``) times as much: 1 is a caricature that an artist would call
    mild, 2 is a strong one. Their poses stay, both halves of a face change alike, and what is around it follows smoothly."""
    for face in found:
        others = [other.landmarks for other in found if other is not face]
        picture = _moved(picture, face, peculiar(face.landmarks) * by, others)
    return picture


def peculiar(landmarks: Tensor) -> Tensor:
    """(68, 2) in pixels: how far each of a face's ``landmarks`` (68, 2) lies from where the average face in its place and pose has it; less, the
    farther it is turned away."""
    points = landmarks.double()
    mean, depth = MEAN[:2].T.double(), MEAN[2].double()
    middle = points.mean(0)
    turn = _similarity(mean, points - middle)  # (2, 2), rows from the left: the average face as it lies in the picture
    back = torch.linalg.inv(turn)
    apart = (points - middle) @ back - mean
    pose = depth @ apart / (depth @ depth)  # (2,): turned to a side, and up or down, each landmark moves by its depth
    apart = apart - torch.outer(depth, pose)
    mirrored = apart[list(MIRRORED)] * torch.tensor([-1.0, 1.0], dtype=torch.float64)
    share = ((SIDEWAYS - pose[0].abs()) / (SIDEWAYS - FRONT)).clamp(0, 1)
    return ((apart + mirrored) / 2 * share @ turn).float()


def _similarity(points: Tensor, others: Tensor) -> Tensor:
    """(2, 2) that brings ``points`` (N, 2) nearest to the ``others``, all about 0, scaled and turned."""
    length = points.square().sum()
    same = (points * others).sum() / length
    across = (points[:, 0] * others[:, 1] - points[:, 1] * others[:, 0]).sum() / length
    return torch.stack([torch.stack([same, across]), torch.stack([-across, same])])


def _moved(picture: Picture, face: Face, by: Tensor, others: Sequence[Tensor]) -> Picture:
    """A picture in which the landmarks of a face are moved ``by`` (68, 2) pixels, and those of the ``others`` (68, 2) stay."""
    low, high = face.landmarks.amin(0), face.landmarks.amax(0)
    side = face.height * REACH.scale
    corner = (low + high) / 2 - side * torch.tensor([0.5, REACH.middle])
    still = torch.cat([torch.empty(0, 2), *others])
    still = still[((still > corner) & (still < corner + side)).all(1)]
    goals = torch.cat([face.landmarks + by, still])
    values = torch.cat([-by, torch.zeros_like(still)])
    flow = spline((goals - corner) * (FLOW / side), values * (FLOW / side), FLOW)  # in shares of the square
    return replace(
        picture,
        rgb=_pulled(picture.rgb, flow, corner, side).clamp_(-1, 1),
        alpha=None if picture.alpha is None else _pulled(picture.alpha[None], flow, corner, side)[0].clamp_(0, 1),
    )


def _pulled(planes: Tensor, flow: Tensor, corner: Tensor, side: float) -> Tensor:
    """``planes`` (C, H, W) whose every pixel in a square comes from ``flow`` (2, S, S) beside it, in shares of its ``side``."""
    height, width = planes.shape[-2:]
    (left, top), (right, bottom) = corner.floor().int().tolist(), (corner + side).ceil().int().tolist()
    left, top, right, bottom = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
    moved = planes.clone()
    x = torch.arange(left, right) + 0.5
    rows = max(1, STRIP // max(1, len(x)))
    for y in (torch.arange(top, bottom) + 0.5).split(rows):
        at = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)  # (h, w, 2)
        by = F.grid_sample(flow[None], (2 * (at - corner) / side - 1)[None], padding_mode="border", align_corners=False)
        source = (at + by[0].permute(1, 2, 0) * side) / at.new_tensor([width, height])
        part = slice(int(y[0]), int(y[-1]) + 1)
        moved[:, part, left:right] = F.grid_sample(
            planes[None], (2 * source - 1)[None], mode="bicubic", padding_mode="border", align_corners=False
        )[0]
    return moved
