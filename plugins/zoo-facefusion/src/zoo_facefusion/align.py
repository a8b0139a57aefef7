"""Faces aligned by their landmarks: all 68 lie where those of an average face lie, and hair and chin are inside.

What the paper misses (section 4.4): faces that do not lie upon each other do not fuse. A similarity puts eyes, nose and mouth
there as well as it can, a thin-plate spline each landmark: the shape-free faces of active appearance models (Cootes et al. 1998),
which have textures that can be mixed, and shapes that are mixed apart.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from zoo import faces
from zoo.faces.geometry import exactly, spline
from zoo.pictures.fit import resize, warped

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
"""The landmarks by which the similarity is found: nose, eyes, mouth. Brows and jaw differ from face to face."""

JAW = slice(0, 17)

FINER = 2
"""So many times as fine are the pixels in which faces are moved: that they stay sharp."""

SEEN = 160
"""Pixels of the aligned square in which a face is looked for again."""


def average() -> Tensor:
    """(68, 2): the average face's landmarks in an aligned square, in shares of its side."""
    shape = torch.tensor(SHAPE, dtype=torch.float64)
    return shape / FRAME.scale + torch.tensor([0.5, FRAME.middle])


def align(image: Tensor, face: faces.Face, size: int) -> faces.Crop:
    """``face`` of a picture (3, H, W), shape-free in a square of ``size`` pixels."""
    fine = square(image, face, FINER * size)
    even = resize(shape_free(fine.image, fine.landmarks), (size, size))
    matrix = torch.cat([fine.matrix[:, :2] * FINER, fine.matrix[:, 2:]], 1)
    return faces.Crop(even, average().float() * size, matrix)


def square(image: Tensor, face: faces.Face, size: int) -> faces.Crop:
    """``face`` of a picture (3, H, W) with its own shape, turned, scaled and moved into a square of ``size`` pixels, calm beyond
    the picture's border."""
    height, width = image.shape[-2:]
    crop = faces.calmed(faces.crop(image, aligned(face), size, FRAME), width, height)
    back = torch.linalg.inv(crop.matrix[:, :2])
    return replace(crop, landmarks=((face.landmarks.double() - crop.matrix[:, 2]) @ back.T).float())


@exactly
def shape_free(planes: Tensor, landmarks: Tensor) -> Tensor:
    """planes (C, S, S) of a face with ``landmarks`` (68, 2) in their pixels -> the same with those of the average face."""
    there = average().float() * planes.shape[-1]
    return warped(planes[None], spline(there, landmarks - there, planes.shape[-1])[None].to(planes))[0]


@exactly
def shaped(planes: Tensor, landmarks: Tensor) -> Tensor:
    """The way back of `shape_free`."""
    there = average().float() * planes.shape[-1]
    return warped(planes[None], spline(landmarks, there - landmarks, planes.shape[-1])[None].to(planes))[0]


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
    aligned by a similarity: the mean over ``FITTED``, in heights of the face; infinite if no face is found there."""
    found = faces.find(faces.crop(image, aligned(face), SEEN, FRAME).image, round(1.5 * SEEN), thorough=False)
    far = [(one.landmarks / SEEN - average())[FITTED].norm(dim=1).mean() for one in found]
    return FRAME.scale * float(min(far, default=torch.inf))


def yaw(face: faces.Face) -> float:
    """Where it looks: 0 at the camera, about 1 to the picture's right in profile, -1 to its left."""
    left, nose, right = face.upright[[0, 30, 16], 0].tolist()
    return (2 * nose - left - right) / max(right - left, 1e-6)
