"""Action units of the Facial Action Coding System and the expressions made of them. No torch here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

UNITS = {
    1: "inner brow raiser",
    2: "outer brow raiser",
    4: "brow lowerer",
    5: "upper lid raiser",
    6: "cheek raiser",
    7: "lid tightener",
    9: "nose wrinkler",
    10: "upper lip raiser",
    12: "lip corner puller",
    14: "dimpler",
    15: "lip corner depressor",
    17: "chin raiser",
    20: "lip stretcher",
    23: "lip tightener",
    25: "lips part",
    26: "jaw drop",
    45: "blink",
}
"""The 17 units that OpenFace measures, in its order."""

ROW = {number: row for row, number in enumerate(UNITS)}
NAMES = tuple(f"AU{number}" for number in UNITS)
MOST = 5.0
"""Intensities go from 0, relaxed, to this, as far as a face can."""

EXPRESSIONS: Mapping[str, Sequence[int]] = {
    "happiness": (6, 12),
    "sadness": (1, 4, 15),
    "surprise": (1, 2, 5, 26),
    "fear": (1, 2, 4, 5, 7, 20, 26),
    "anger": (4, 5, 7, 23),
    "disgust": (9, 15, 16),
    "contempt": (12, 14),
    "natural": (),
}
"""The thesis's table of expressions. Unit 16, lower lip depressor, is not among the 17: disgust does without."""

OPEN: Mapping[str, Sequence[int]] = {"happiness": (25, 26)}
"""Units of which an expression says nothing: people smile with their lips shut or parted, and it stays as it is."""

FULL = 2.0
"""The intensity of an expression's units where the expression is 1; beyond it the thesis saw faces break."""

STRONGEST = 1.5
"""Shares of an expression go up to this; faces may break beyond 1."""

HALVES = ("left", "right")
"""The sides of a face, as its owner says."""

COMPETING = ((23, 25), (12, 15), (5, 45))
"""Units that pull one place of the face two ways. The thesis names 23, which presses the lips, with 25, which parts
them: the mouth breaks."""

LABELS = ("neutral", "angry", "happy", "sad", "surprised")
"""StarGAN's five expressions; what each is made of:"""
LABELLED = {"angry": "anger", "happy": "happiness", "sad": "sadness", "surprised": "surprise"}


def pattern(expression: str) -> list[float]:
    """The 17 intensities of an expression that is 1: ``FULL`` for its units, 0 for the others. Where a jaw drops (26) lips part
    as well (25): FACS scores them together, and 26 alone leaves a mouth nearly shut."""
    units = EXPRESSIONS[expression]
    return [FULL if number in units or (number == 25 and 26 in units) else 0.0 for number in UNITS]
