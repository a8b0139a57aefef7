"""Does a tensor have the form and the range that the vocabulary gives its name?"""

from __future__ import annotations

import re
from collections.abc import Sequence

from torch import Tensor

from zoo.vocabulary import word

ROUNDING = 1e-3


def strange(name: str, tensor: Tensor, size: Sequence[int]) -> str:
    """What is not as `zoo.vocabulary` says, for pictures of ``size`` (H, W); "" if all is, or the word is none of it."""
    found = word(name)
    if found is None:
        return ""
    dims, known = found.shape.strip("()").rstrip(",").split(","), {"H": size[0], "W": size[1]}
    if dims[-1] == "…":
        dims = [*dims[:-1], *["…"] * (tensor.dim() - len(dims) + 1)]
    lengths = [known.get(dim, int(dim) if dim.isdigit() else None) for dim in dims]
    if len(lengths) != tensor.dim() or any(want not in (None, is_) for want, is_ in zip(lengths, tensor.shape)):
        return f"{name} is {tuple(tensor.shape)}, not {found.shape}"
    limits = re.fullmatch(r"(−?\d) … (\d)", found.span)
    if limits and (there := tensor.detach().float()[tensor.isfinite()]).numel():
        low, high = (float(limit.replace("−", "-")) for limit in limits.groups())
        if float(there.min()) < low - ROUNDING or float(there.max()) > high + ROUNDING:
            return f"{name} goes from {float(there.min()):.3g} to {float(there.max()):.3g}, not {found.span}"
    return ""
