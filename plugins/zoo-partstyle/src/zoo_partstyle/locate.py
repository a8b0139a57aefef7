"""Where the object is: the filters that respond to it say so, in one picture, without labels or masks.

1. Evidence. A set weighs the filters of a few layers; their sum is high on the object. It is coarse, and highest on
   heads.
2. Figure. Within the picture the positions with much evidence are told from those with little by what the layers see
   there (ridge regression), and likeness carries the answer on to the rest (diffusion over a graph of all positions):
   the body follows the head.
3. Edges. The same once more on a finer grid with colours, then fitted to the picture (guided filter, He et al. 2013).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.errors import ControlError, ImageError
from zoo_partstyle.objects import ObjectSet, Place

Network = Callable[[Tensor, Sequence[str]], list[Tensor]]  # VGG19

SIDE = 384  # the network looks at pictures of about this height and width
SMALLEST = 64  # pixels a side
FINE, COARSE = "conv3_1", ("conv3_1", "conv4_1", "conv5_1")  # what tells figure from ground; the grid is conv4_1's
PRESENT = (0.6, 0.9)  # the best hundredth of the evidence where an object is surely absent, and surely there


class Found(NamedTuple):
    """``map`` (1, 1, H, W) in [0, 1]; ``sure``: is the object in the picture at all. If not, the map is low."""

    map: Tensor
    sure: bool


@torch.no_grad()
def object_map(vgg: Network, image: Tensor, objects: ObjectSet) -> Found:
    """Where in ``image`` (1, 3, H, W) in [-1, 1] the object is.

    ImageError if the picture is smaller than 64 pixels a side; ControlError if the set says nothing about places.
    """
    h, w = image.shape[-2:]
    if min(h, w) < SMALLEST:
        raise ImageError(
            f"a picture of {w}×{h} is too small to find a {objects.object} in",
            f"give one of at least {SMALLEST} pixels a side, or a mask",
        )
    if objects.place is None:
        raise ControlError(f"the set for {objects.object} does not say where it is", "make it anew with zoo filters")
    small = _working(image)
    layers = tuple(dict.fromkeys((*COARSE, *objects.place.layers)))
    roots = {layer: x.float().sqrt() for layer, x in zip(layers, vgg(small, layers))}
    h4, w4 = roots["conv4_1"].shape[-2:]
    seen = evidence(roots, objects.place, (h4, w4))
    low, high = PRESENT
    confidence = min(max((float(_quantile(seen, 0.99)) - low) / (high - low), 0.0), 1.0)
    found = confidence * edges(figure(roots, seen), roots[FINE], small)
    found = F.interpolate(found, (h, w), mode="bilinear", align_corners=False)
    return Found(found.clamp(0, 1), confidence >= 0.5)


def evidence(roots: Mapping[str, Tensor], place: Place, size: tuple[int, int]) -> Tensor:
    """The weighted sum of the features' roots, (1, 1, *size): about 1 on the object, 0 elsewhere."""
    total = torch.full((1, 1, *size), place.bias)
    for layer, weights in zip(place.layers, place.weights):
        x = roots[layer]
        term = torch.einsum("nchw,c->nhw", x, x.new_tensor(weights))[:, None]
        if tuple(term.shape[-2:]) == size:
            term = F.avg_pool2d(term, 3, 1, 1, count_include_pad=False)  # the weights were learnt on a coarser grid
        total = total.to(term) + _at(term, size)
    return total


def figure(roots: Mapping[str, Tensor], seen: Tensor) -> Tensor:
    """Evidence (1, 1, h, w) -> the figure, near 1 on the object and near 0 elsewhere, of the same form."""
    h, w = seen.shape[-2:]
    columns = torch.cat([_components(_at(roots[layer], (h, w)), 24) for layer in COARSE], 1)  # (P, D)
    diffuse = _likeness(columns, _positions(h, w).to(columns))
    low = float(_quantile(seen, 0.5).clamp(0.2, 0.45))  # a small object stands out; a large one is most of the picture
    high = float(_quantile(seen, 0.995).clamp(0.8, 1.1))
    start = ((seen.flatten() - low) / (high - low)).clamp(0, 1)
    now = start
    for _ in range(3):
        told = _told_apart(columns, now > 0.6, now < 0.35, damping=0.05)
        now = diffuse(0.3 * start + 0.7 * told)
        now = _stretched(now, 0.05, 0.98)
    return _filled(_parted(now).view(1, 1, h, w))


def edges(coarse: Tensor, roots: Tensor, image: Tensor) -> Tensor:
    """The figure (1, 1, h, w) at the picture's size, along its edges. ``roots``: the finer layer's."""
    size = (roots.shape[-2], roots.shape[-1])
    colours = _at((image + 1) / 2, size)
    r, g, b = colours.unbind(1)
    mixed = torch.stack([r, g, b, r * r, g * g, b * b, r * g, g * b, b * r], -1).flatten(0, 2)
    mixed = (mixed - mixed.mean(0)) / mixed.std(0).clamp_min(1e-6) / 3
    columns = torch.cat([_components(roots, 32), mixed], 1)
    start = _at(coarse, size).flatten()
    now = start
    for _ in range(2):
        told = torch.sigmoid(6 * (_told_apart(columns, now > 0.7, now < 0.3, damping=0.02) - 0.5))
        now = (start * told).sqrt()  # both have to say so
    fine = F.interpolate(_filled(now.view(1, 1, *size)), image.shape[-2:], mode="bilinear", align_corners=False)
    return torch.sigmoid(10 * (guided((image + 1) / 2, fine, radius=4, eps=1e-3) - 0.5))


def _working(image: Tensor) -> Tensor:
    """The picture at the size at which the network looks."""
    h, w = image.shape[-2:]
    scale = max(SIDE / (h * w) ** 0.5, SMALLEST / min(h, w))
    size = (max(SMALLEST, round(h * scale)), max(SMALLEST, round(w * scale)))
    return F.interpolate(image.float(), size, mode="bicubic", antialias=True, align_corners=False).clamp(-1, 1)


def _at(x: Tensor, size: tuple[int, int]) -> Tensor:
    if x.shape[-2] > size[0] or x.shape[-1] > size[1]:
        return F.adaptive_avg_pool2d(x, size)
    return F.interpolate(x, size, mode="bilinear", align_corners=False)


def _components(x: Tensor, count: int) -> Tensor:
    """(1, C, h, w) -> (P, count): the first principal components, of mean square 1 together; 0 where all is alike."""
    rows = x[0].flatten(1).T
    rounding = 1e-4 * _size(rows) + 1e-6
    rows = rows - rows.mean(0)
    if _size(rows) < rounding:
        return torch.zeros_like(rows[:, :count])
    vectors = torch.linalg.eigh(rows.T @ rows).eigenvectors[:, -count:]
    rows = rows @ vectors
    return rows / _size(rows)


def _size(rows: Tensor) -> Tensor:
    """The root of the mean square of rows."""
    return rows.square().sum(1).mean().sqrt()


def _positions(h: int, w: int) -> Tensor:
    y, x = (torch.arange(n) + 0.5 for n in (h, w))
    return torch.stack(torch.meshgrid(y, x, indexing="ij"), -1).reshape(-1, 2) / max(h, w)


def _quantile(values: Tensor, share: float) -> Tensor:
    ordered = values.flatten().sort().values  # torch.quantile refuses large tensors
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def _stretched(values: Tensor, low: float, high: float) -> Tensor:
    """The quantiles ``low`` and ``high`` become 0 and 1."""
    a, b = _quantile(values, low), _quantile(values, high)
    return ((values - a) / (b - a).clamp_min(1e-6)).clamp(0, 1)


def _told_apart(columns: Tensor, figure: Tensor, ground: Tensor, damping: float) -> Tensor:
    """The linear function of the columns that is about 1 on the figure and 0 on the ground, both counting alike."""
    if not figure.any() or not ground.any():
        return torch.full(figure.shape, float(figure.any())).to(columns)
    weight = (0.5 * figure / figure.sum() + 0.5 * ground / ground.sum())[:, None]
    centred = columns - (weight * columns).sum(0)
    square = (centred * weight).T @ centred
    square = square + damping * square.diagonal().mean().clamp_min(1e-9) * torch.eye(len(square)).to(square)
    slope = torch.linalg.solve(square, (centred * weight).T @ (figure.to(columns) - 0.5))
    return (centred @ slope + 0.5).clamp(-0.5, 1.5)


def _likeness(
    columns: Tensor, positions: Tensor, alike: float = 0.22, near: float = 0.15
) -> Callable[[Tensor], Tensor]:
    """Diffusion over a graph whose edges are strong between positions that look alike and are near."""
    apart = torch.cdist(columns, columns).square()
    strength = torch.exp(-apart / apart.mean().clamp_min(1e-12) / (2 * alike**2))
    strength *= torch.exp(-torch.cdist(positions, positions).square() / (2 * near**2))
    strength.fill_diagonal_(1)  # which rounding makes less of where all positions look alike
    root = strength.sum(1).sqrt()
    system = torch.eye(len(strength)).to(strength) - 0.9 * strength / root[:, None] / root[None]
    factor = torch.linalg.cholesky(system)
    return lambda values: 0.1 * torch.cholesky_solve((values * root)[:, None], factor)[:, 0] / root


def _parted(values: Tensor, bins: int = 128) -> Tensor:
    """Values in [0, 1] pushed to its ends, away from the threshold that parts them best (Otsu 1979)."""
    share = torch.histc(values.cpu(), bins, 0, 1) / len(values)
    centre = (torch.arange(bins) + 0.5) / bins
    below, mass = share.cumsum(0), (share * centre).cumsum(0)
    between = (mass[-1] * below - mass).square() / (below * (1 - below)).clamp_min(1e-6)
    best = centre[between >= 0.999 * between.max()].mean()  # between two groups that are far apart any is as good
    return torch.sigmoid(6 * (values - float(best)))


def _filled(values: Tensor) -> Tensor:
    """Holes filled: ground that no way over ground connects with the picture's border, such as eyes and a nose."""
    ground = 1 - values
    reached = ground.clone()
    reached[..., 1:-1, 1:-1] = 0
    for _ in range(sum(values.shape[-2:])):
        reached = torch.minimum(F.max_pool2d(reached, 3, 1, 1), ground)
    return 1 - reached


def guided(image: Tensor, values: Tensor, radius: int, eps: float) -> Tensor:
    """Values (1, 1, h, w) fitted to the edges of ``image`` (1, 3, h, w) in [0, 1]: locally linear in its colours."""

    def mean(x: Tensor) -> Tensor:
        return F.avg_pool2d(F.pad(x, (radius,) * 4, mode="replicate"), 2 * radius + 1, 1)

    n, c, h, w = image.shape
    colour, level = mean(image), mean(values)
    shared = mean(image * values) - colour * level
    outer = mean((image[:, :, None] * image[:, None]).reshape(n, c * c, h, w)).reshape(n, c, c, h, w)
    outer = (outer - colour[:, :, None] * colour[:, None]).permute(0, 3, 4, 1, 2) + eps * torch.eye(c).to(image)
    slope = torch.linalg.solve(outer, shared.permute(0, 2, 3, 1)[..., None])[..., 0].permute(0, 3, 1, 2)
    offset = level - (slope * colour).sum(1, keepdim=True)
    return (mean(slope) * image).sum(1, keepdim=True) + mean(offset)
