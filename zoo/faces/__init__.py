"""Faces in a picture: find them, cut one out upright, put it back, tell who it is."""

from zoo.faces.crops import FACE, FAINT, PORTRAIT, Crop, Frame, alike, calmed, crop, move, paste
from zoo.faces.detect import (
    MIRRORED,
    PROFILE,
    SEEN,
    SMALLEST,
    Face,
    all_usable,
    dlib_module,
    fault,
    find,
    landmarks,
    second_look,
    usable,
)
from zoo.faces.identity import SAME, descriptor

__all__ = [
    "FACE",
    "FAINT",
    "MIRRORED",
    "PORTRAIT",
    "PROFILE",
    "SAME",
    "SEEN",
    "SMALLEST",
    "Crop",
    "Face",
    "Frame",
    "alike",
    "all_usable",
    "calmed",
    "crop",
    "descriptor",
    "dlib_module",
    "fault",
    "find",
    "landmarks",
    "move",
    "paste",
    "second_look",
    "usable",
]
