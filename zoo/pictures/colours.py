"""The colours of wide and bright films, as phones record them, brought to those of a picture.

HLG and PQ (ITU-R BT.2100) tell more light than white paper sends back. Reference white is 203 cd/m² (BT.2408, table 1):
what is darker keeps its brightness, up to ``KNEE``; what is brighter is pressed between there and white, its hue kept.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

WHITE = 203.0
"""cd/m² of a white sheet of paper (BT.2408): what becomes white."""

PEAK = 1000.0
"""cd/m² of the display that HLG is looked at on (BT.2100, table 5, where the system gamma is 1.2)."""

KNEE = 0.8
"""Light below this share of white is left as it is."""

BT709, BT2020 = 1, 9
PQ, HLG = 16, 18
"""FFmpeg's numbers for primaries and transfer functions, which are those of ITU-T H.273."""

_TO_709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32
)  # BT.2087, from BT.2020
_LUMINANCE = np.array([0.2627, 0.6780, 0.0593], np.float32)  # of BT.2020's primaries

_STEPS = np.linspace(0, 1, 2**12, dtype=np.float32)


def ordinary(transfer: int, primaries: int) -> bool:
    """Are the numbers of a frame those of a picture already?"""
    return transfer not in (PQ, HLG) and primaries != BT2020


def to_srgb(deep: np.ndarray, transfer: int, primaries: int) -> np.ndarray:
    """(H, W, 3) uint16, full range, of this transfer function and these primaries -> (H, W, 3) uint8 in sRGB."""
    level = deep >> 4
    if transfer == HLG:
        light = _HLG_LIGHT[level]  # of the scene
        light *= (light @ _LUMINANCE)[..., None] ** np.float32(0.2) * (PEAK / WHITE)  # that of the display
    elif transfer == PQ:
        light = _PQ_LIGHT[level]
    else:
        light = _SRGB_LIGHT[level]
    if primaries == BT2020:
        light = light @ _TO_709.T
    if transfer in (PQ, HLG):
        brightest = light.max(-1, keepdims=True)
        pressed = KNEE + (1 - KNEE) * (1 - np.exp((KNEE - brightest) / (1 - KNEE)))
        light *= np.where(brightest > KNEE, pressed / np.maximum(brightest, KNEE), np.float32(1))
    return _SRGB_LEVEL[np.rint(light.clip(0, 1) * (len(_SRGB_LEVEL) - 1)).astype(np.uint16)]


def _hlg(signal: np.ndarray) -> np.ndarray:
    """The inverse of HLG's transfer function (BT.2100, table 5): light of the scene, 1 at most."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)


def _pq(signal: np.ndarray) -> np.ndarray:
    """PQ's transfer function (BT.2100, table 4): light of the display, 1 where it is that of white paper."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    root = signal ** (1 / m2)
    return 10000 / WHITE * (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1)


def _srgb(signal: np.ndarray) -> np.ndarray:
    """sRGB's (IEC 61966-2-1), as films of eight bits are looked at beside pictures."""
    return np.where(signal <= 0.04045, signal / 12.92, ((signal + 0.055) / 1.055) ** 2.4)


def _table(function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    return function(_STEPS.astype(np.float64)).astype(np.float32)


_HLG_LIGHT, _PQ_LIGHT, _SRGB_LIGHT = map(_table, (_hlg, _pq, _srgb))
_LIGHT = np.linspace(0, 1, 2**14)
_SRGB_LEVEL = np.rint(
    255 * np.where(_LIGHT <= 0.0031308, 12.92 * _LIGHT, 1.055 * np.maximum(_LIGHT, 1e-9) ** (1 / 2.4) - 0.055)
).astype(np.uint8)
