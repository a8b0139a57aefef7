"""Who a face is."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from zoo.faces.crops import Frame, crop
from zoo.faces.detect import LOCK, Face, array, dlib_module, model_file
from zoo.faces.geometry import exactly

SAME = 0.6
"""Descriptors nearer to each other than this are of one person, says dlib."""


@exactly
def descriptor(image: Tensor, face: Face) -> Tensor:
    """(128,) float32: who ``face`` of a picture (3, H, W) is. Of one person where the distance is below ``SAME``."""
    dlib = dlib_module()
    seen = crop(image, face, 300, Frame(2.0, 0.5))  # dlib cuts 150 pixels out of it
    points = [dlib.point(round(x), round(y)) for x, y in (seen.landmarks - 0.5).tolist()]
    shape = dlib.full_object_detection(dlib.rectangle(0, 0, 299, 299), points)
    with LOCK:
        return torch.tensor(list(_recogniser().compute_face_descriptor(array(seen.image), shape)))


@functools.cache
def _recogniser() -> Any:
    return dlib_module().face_recognition_model_v1(model_file("dlib_face_recognition_resnet_model_v1.dat"))
