"""Which kernels are the fast ones: the only place where that is decided, by machine and by precision.

The table is what was measured (benchmarks/RESULTS.md). A machine in it is:

- ``cuda``: a GPU;
- ``amx``: a CPU that multiplies bf16 in tiles, eight times as fast as fp32;
- ``avx512-bf16``: a CPU with AVX-512 that multiplies bf16 in vectors, twice as fast as fp32;
- ``avx512``: a CPU with AVX-512 alone, whose bf16 products gain too little on Winograd's fewer ones in fp32;
- ``cpu``: any other CPU, on which a step in bf16 takes 2.5 times as long as one in fp32;
- ``other``: any other device.

bf16 means that torch's autocast is on.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import torch
from torch import Tensor


class Kernels(NamedTuple):
    """What one machine computes with in one precision.

    ``training`` and ``inference`` are the layouts of pictures, features and weights: ``last`` has the channels of a pixel
    side by side. ``convolution`` is that of stride 1: torch's own, or NNPACK's, which reads and writes fp32 with the
    channels ``first`` (`zoo.blocks.conv`). ``attention`` is torch's fused one, or the precision of our own's large products (`zoo.blocks.attention`).
    ``compiled``: is a training step worth torch.compile if the run is long? ``winograd``: the fewest channels and pixels from
    which NNPACK's 3×3 convolution is the faster one; it transforms the kernel anew for each picture.
    """

    training: str
    inference: str
    convolution: str
    attention: str
    compiled: bool = False
    winograd: tuple[int, int] = (0, 0)


TABLE = {
    #                   training  inference  convolution  attention  compiled
    ("cuda", "fp32"): Kernels("last", "first", "torch", "fused"),
    ("cuda", "bf16"): Kernels("last", "last", "torch", "fused"),
    ("amx", "fp32"): Kernels("first", "first", "nnpack", "fp32", winograd=(256, 64 * 64)),
    ("amx", "bf16"): Kernels("last", "last", "torch", "bf16", compiled=True),
    ("avx512-bf16", "fp32"): Kernels("first", "first", "nnpack", "fp32", winograd=(256, 64 * 64)),
    ("avx512-bf16", "bf16"): Kernels("last", "last", "torch", "bf16"),
    ("avx512", "fp32"): Kernels("first", "first", "nnpack", "fp32", winograd=(256, 64 * 64)),
    ("avx512", "bf16"): Kernels("first", "first", "nnpack", "fp32"),
    ("cpu", "fp32"): Kernels("first", "first", "nnpack", "fp32", winograd=(0, 32 * 32)),
    ("cpu", "bf16"): Kernels("first", "first", "nnpack", "fp32"),
    ("other", "fp32"): Kernels("first", "first", "torch", "fused"),
    ("other", "bf16"): Kernels("first", "first", "torch", "fused"),
}

LAYOUTS = {"first": torch.contiguous_format, "last": torch.channels_last}


@functools.cache
def machine(device: str = "cpu") -> str:
    """The name in the table of a kind of device, as torch calls it."""
    if device != "cpu":
        return "cuda" if device == "cuda" else "other"
    # The calls are torch's own business: a version that has them no longer is any other machine.
    if getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)():
        return "amx"
    if "AVX512" not in torch.backends.cpu.get_cpu_capability():
        return "cpu"
    return "avx512-bf16" if getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)() else "avx512"


def kernels(device: str, bf16: bool) -> Kernels:
    """Those of a kind of device, as torch calls it."""
    return TABLE[machine(device), "bf16" if bf16 else "fp32"]


def short(device: str) -> bool:
    """Do products of bf16 take half the time of fp32's, or less?"""
    return machine(device) in ("cuda", "amx", "avx512-bf16")


def slow(device: str) -> bool:
    """Do products of bf16 take longer than fp32's? They are not made by the machine, but from such of fp32."""
    return machine(device) == "cpu"


def kernels_for(x: Tensor) -> Kernels:
    """Those for a tensor, in the precision that autocast now gives it."""
    kind = x.device.type
    return kernels(kind, torch.is_autocast_enabled(kind))


def told(device: str) -> str:
    """The table's rows for a kind of device, in words."""
    rows = [(name, kernels(device, name == "bf16")) for name in ("fp32", "bf16")]
    return f"{machine(device)}: " + "; ".join(
        f"{name} with channels {row.training} in training and {row.inference} in inference, {row.convolution} "
        f"convolutions, {row.attention} attention" + (", compiled if the training is long" if row.compiled else "")
        for name, row in rows
    )
