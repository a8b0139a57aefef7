"""Faces aligned by their landmarks: eyes, nose and mouth lie where those of an average face lie, hair and chin inside.

What the paper misses (section 4.4): faces that do not lie upon each other do not fuse.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zoo import faces

# iBUG's 68 points of an average frontal face: the mean of 5 320 portraits and their mirror images after Procrustes
# analysis. x, y; the box around them is 1 high and has its middle at 0, 0.
SHAPE = (
    *((-0.506, -0.319), (-0.502, -0.182), (-0.486, -0.047), (-0.460, 0.085), (-0.410, 0.209), (-0.331, 0.317)),
    *((-0.234, 0.407), (-0.124, 0.479), (0.000, 0.500), (0.124, 0.479), (0.234, 0.407), (0.331, 0.317)),
    *((0.410, 0.209), (0.460, 0.085), (0.486, -0.047), (0.502, -0.182), (0.506, -0.319)),  # jaw
    *((-0.421, -0.427), (-0.356, -0.484), (-0.265, -0.500), (-0.172, -0.486), (-0.085, -0.450)),  # brows
    *((0.085, -0.450), (0.172, -0.486), (0.265, -0.500), (0.356, -0.484), (0.421, -0.427)),
    *((0.000, -0.346), (0.000, -0.256), (0.000, -0.167), (0.000, -0.075)),  # nose
    *((-0.106, -0.018), (-0.055, 0.001), (0.000, 0.018), (0.055, 0.001), (0.106, -0.018)),
    *((-0.317, -0.336), (-0.261, -0.368), (-0.194, -0.367), (-0.135, -0.323), (-0.198, -0.313), (-0.265, -0.314)),
    *((0.135, -0.323), (0.194, -0.367), (0.261, -0.368), (0.317, -0.336), (0.265, -0.314), (0.198, -0.313)),  # eyes
    *((-0.207, 0.140), (-0.132, 0.112), (-0.055, 0.099), (0.000, 0.112), (0.055, 0.099), (0.132, 0.112)),
    *((0.207, 0.140), (0.135, 0.215), (0.060, 0.248), (0.000, 0.254), (-0.060, 0.248), (-0.135, 0.215)),  # mouth
    *((-0.176, 0.145), (-0.056, 0.141), (0.000, 0.147), (0.056, 0.141), (0.176, 0.145)),
    *((0.057, 0.182), (0.000, 0.189), (-0.057, 0.182)),
)
FRAME = faces.Frame(2.0, 0.61)
"""Where the average face lies in the square: in portraits of celebrities the hair just fits."""

FITTED = slice(27, 68)
"""The landmarks that are aligned: nose, eyes, mouth. Brows and jaw differ from face to face."""


SEEN = 160
"""Pixels of the aligned square in which a face is looked for again."""


def average() -> Tensor:
    """(68, 2): the average face's landmarks in an aligned square, in shares of its side."""
    shape = torch.tensor(SHAPE, dtype=torch.float64)
    return shape / FRAME.scale + torch.tensor([0.5, FRAME.middle])


def align(image: Tensor, face: faces.Face, size: int) -> faces.Crop:
    """``face`` of a picture (3, H, W), aligned in a square of ``size`` pixels; the picture's border is repeated."""
    return faces.crop(image, aligned(face), size, FRAME)


def aligned(face: faces.Face) -> faces.Face:
    """The average face where ``face`` is, by a similarity (turn, scale, shift), by least squares over ``FITTED``."""
    shape = torch.tensor(SHAPE, dtype=torch.float64)
    source, wanted = (torch.complex(*points.unbind(1)) for points in (shape, face.landmarks.double()))
    near, far = source[FITTED] - source[FITTED].mean(), wanted[FITTED] - wanted[FITTED].mean()
    turn = (near.conj() * far).sum() / near.abs().square().sum()  # and scale
    moved = turn * (source - source[FITTED].mean()) + wanted[FITTED].mean()
    return faces.Face(face.box, torch.view_as_real(moved).float())


def misfit(image: Tensor, face: faces.Face) -> float:
    """How far from those of the average face the landmarks are which are found once ``face`` of a picture (3, H, W) is
    aligned: the mean over ``FITTED``, in heights of the face; infinite if no face is found there."""
    square = align(image, face, SEEN).image
    found = faces.find(square, round(1.5 * SEEN), thorough=False)
    far = [(one.landmarks / SEEN - average())[FITTED].norm(dim=1).mean() for one in found]
    return FRAME.scale * float(min(far, default=torch.inf))


def yaw(face: faces.Face) -> float:
    """Where it looks: 0 at the camera, about 1 to the picture's right in profile, -1 to its left."""
    left, nose, right = face.upright[[0, 30, 16], 0].tolist()
    return (2 * nose - left - right) / max(right - left, 1e-6)
