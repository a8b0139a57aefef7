"""Which filters respond to one kind of object: section 3 of the paper, with labels in place of the looking.

The paper takes a filter when each of the nine pictures that excite it most shows the object. Here the share that does
so is its purity, and a filter is taken from a threshold on. Pictures are read one by one and forgotten: of a layer
only the top nine of every filter and a few sums are kept, however many pictures there are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.blocks.vgg import VGG19
from zoo.errors import ConfigError, ImageError, ZooError, one_line
from zoo.pictures.image import find_pictures, read
from zoo.progress import tell
from zoo_partstyle.learn import Sums, columns_of, told_apart
from zoo_partstyle.objects import Layer, Made, ObjectSet, Place, width
from zoo_partstyle.sheet import Top

Network = Callable[[Tensor, Sequence[str]], list[Tensor]]  # VGG19
LAYERS = ("conv4_1", "conv5_1")
THRESHOLD = {"conv4_1": 6 / 9, "conv5_1": 8 / 9}
"""Of purity; of other layers 8/9. conv4_1 sees parts smaller than an object, and few of its filters are pure."""
OTHERS = {"auc": 0.8, "contrast": 3.0}
NEARLY = 0.005  # thresholds are written with two digits: 0.67 is 6/9
SIDE = 224  # pictures are scaled down to this short side
KINDRED = 3.0  # what pictures of kindred things weigh together, for the place, against those of the object


@dataclass
class Choice:
    """What ``choose`` found: the set, the top pictures of every filter, and what could not be used."""

    set: ObjectSet
    tops: dict[str, Top]
    pictures: Sequence[Path]
    left_out: list[str] = field(default_factory=list)


Criterion = Literal["purity", "auc", "contrast"]


def choose(
    vgg: Network,
    pictures: Sequence[Path],
    shows: Callable[[Path], bool],
    object: str,
    *,
    near: Callable[[Path], bool] = lambda path: False,
    layers: Sequence[str] = LAYERS,
    threshold: float | Mapping[str, float] | None = None,
    top: int = 9,
    by: Criterion = "purity",
    masks: Path | None = None,
    device: str | torch.device = "cpu",
) -> Choice:
    """Choose the filters of the object, and weigh all filters so that they say where it is.

    ``by`` says what has to reach ``threshold``, one number or one a layer: "purity"; "auc", how well a filter's mean
    activation tells the pictures with the object from the others, which a few pictures suffice for; "contrast", its
    mean activation inside the ``masks`` over that outside, a folder of masks named like the pictures. What is ``near``
    is akin to the object and helps to learn its place where few pictures show it.

    ConfigError if no filter passes, with the best there is; if no picture, or every picture, shows the object.
    """
    looker = _Looker(vgg, list(layers), top, masks, device)
    kinds = ["object" if shows(path) else "near" if near(path) else "rest" for path in pictures]
    for number, features, mask in looker.through(pictures, range(len(pictures)), "looking at pictures"):
        looker.count(number, features, kinds[number] == "object", mask)
        looker.learn(features, kinds[number], mask, None)
    usable = [number for number in range(len(pictures)) if number not in looker.bad]
    showing = sum(kinds[number] == "object" for number in usable)
    _check(object, len(usable), showing, looker)
    weights, bias = looker.place()
    for again in (1, 2):  # now with the better half of each picture: less of the ground around the object
        looker.restart()
        chosen = [number for number in usable if kinds[number] != "rest"]
        for number, features, mask in looker.through(pictures, chosen, f"finding the place, {again} of 2"):
            looker.learn(features, kinds[number], mask, weights)
        weights, bias = looker.place()
    limits = {layer: _limit(threshold, layer, by) for layer in layers}
    found = {layer: looker.chosen(layer, limits[layer], by) for layer in layers}
    if not any(layer.filters for layer in found.values()):
        raise _nothing(object, looker, by, limits, showing)
    rows = weights.split([looker.tops[layer].value.shape[0] for layer in layers])
    place = Place(layers=tuple(layers), weights=tuple(tuple(_short(w) for w in row) for row in rows), bias=_short(bias))
    made = Made(pictures=len(usable), showing=showing, by=by, top=top, threshold=limits, network=fingerprint(vgg))
    chosen_set = ObjectSet(object=object, layers=found, place=place, made=made)
    return Choice(chosen_set, looker.tops, pictures, [*looker.bad.values()])


class _Looker:
    """What is kept of the pictures: the top ones of every filter, and sums."""

    def __init__(
        self, vgg: Network, layers: list[str], top: int, masks: Path | None, device: str | torch.device
    ) -> None:
        self.vgg, self.layers, self.device = vgg, layers, device
        self.masks = {path.stem: path for path in find_pictures([masks])} if masks else {}
        self.tops = {layer: Top.empty(width(layer), top) for layer in layers}
        size = sum(width(layer) for layer in layers)
        self.sums = {kind: Sums.empty(size) for kind in ("object", "near", "rest", "around")}
        self.inside, self.outside = Sums.empty(size, square=False), Sums.empty(size, square=False)
        self.levels = {
            shows: torch.zeros(size, 256) for shows in (True, False)
        }  # how often a filter's mean was so high
        self.bad: dict[int, str] = {}

    def through(
        self, pictures: Sequence[Path], numbers: Sequence[int], what: str
    ) -> Iterator[tuple[int, list[Tensor], Tensor | None]]:
        """Each picture's number, features and mask. What cannot be read is remembered as bad."""
        for done, number in enumerate(numbers, start=1):
            path = pictures[number]
            try:
                image = _scaled(read(path).rgb[None])
                mask = read(self.masks[path.stem]).rgb[None].mean(1, keepdim=True) if path.stem in self.masks else None
                if mask is not None:
                    mask = F.interpolate((mask + 1) / 2, image.shape[-2:], mode="area")
                with torch.inference_mode():
                    features = [x.float().cpu() for x in self.vgg(image.to(self.device), self.layers)]
            except ZooError as error:
                self.bad[number] = one_line(str(error))
            else:
                yield number, features, mask
            tell(what, done, len(numbers))

    def count(self, number: int, features: Sequence[Tensor], shows: bool, mask: Tensor | None) -> None:
        """The filters' peaks; and their means inside the mask and outside."""
        for layer, x in zip(self.layers, features):
            self.tops[layer].add(x[0], number, shows)
        mean = torch.cat([x[0].mean((1, 2)) for x in features])
        level = ((mean + 1e-6).log2() * 10 + 128).round().clamp(0, 255).long()  # 7 % apart
        self.levels[shows][torch.arange(len(level)), level] += 1
        if mask is not None:
            columns, weight = columns_of(features, root=False), _on_grid(mask, features)
            self.inside.add(columns, weight)
            self.outside.add(columns, 1 - weight)

    def learn(self, features: Sequence[Tensor], kind: str, mask: Tensor | None, weights: Tensor | None) -> None:
        """What the positions of a picture teach of the place: those in the mask, or those with the most evidence."""
        columns = columns_of(features)
        if kind == "object" and mask is not None:
            self.sums["object"].add(columns, _on_grid(mask, features))
            self.sums["around"].add(columns, 1 - _on_grid(mask, features))
            return
        weight = torch.ones(len(columns))
        if weights is not None:
            seen = columns.double() @ weights
            weight = (seen >= seen.median()).float()
        self.sums[kind].add(columns, weight)

    def restart(self) -> None:
        for kind in ("object", "near", "around"):
            self.sums[kind] = Sums.empty(len(self.sums[kind].first))

    def place(self) -> tuple[Tensor, float]:
        """The weights of all filters, and the bias."""
        figure, near, rest = self.sums["object"], self.sums["near"], self.sums["rest"]
        if near.count:
            figure = figure.plus(near, KINDRED * figure.count / near.count)
        return told_apart(figure, rest.plus(self.sums["around"], 1.0))

    def rank(self, layer: str, by: Criterion) -> Tensor:
        """(C,): what the filters of a layer are chosen by."""
        if by == "purity":
            return self.tops[layer].purity()
        start = sum(width(name) for name in self.layers[: self.layers.index(layer)])
        part = slice(start, start + width(layer))
        if by == "contrast":
            inside, outside = (sums.first / max(sums.count, 1e-6) for sums in (self.inside, self.outside))
            return (inside / outside.clamp_min(1e-6)).clamp(max=1e6)[part].float()
        shown, others = (self.levels[kind][part] for kind in (True, False))
        below = others.cumsum(1) - others / 2
        return (shown * below).sum(1) / (shown.sum(1) * others.sum(1)).clamp_min(1)

    def chosen(self, layer: str, limit: float, by: Criterion) -> Layer:
        """The filters that reach the limit, the best first, then those with the highest peaks."""
        purity, rank = self.tops[layer].purity(), self.rank(layer, by)
        peak = self.tops[layer].value.mean(1)
        order = sorted(range(len(rank)), key=lambda i: (-float(rank[i]), -float(peak[i]), i))
        taken = [i for i in order if float(rank[i]) >= limit - NEARLY]
        return Layer(
            filters=tuple(taken),
            purity=tuple(round(float(purity[i]), 3) for i in taken),
            score=None if by == "purity" else tuple(round(float(rank[i]), 3) for i in taken),
        )


def fingerprint(vgg: Network) -> str:
    """Which network it is: filters of another one have other numbers. The signs of the first weights, hashed."""
    first = getattr(vgg, "conv1_1", None)
    if first is None:
        return ""
    return hashlib.sha256((first.weight > 0).flatten().byte().cpu().numpy().tobytes()).hexdigest()[:16]


def _limit(threshold: float | Mapping[str, float] | None, layer: str, by: Criterion) -> float:
    usual = THRESHOLD.get(layer, 8 / 9) if by == "purity" else OTHERS[by]
    if threshold is None:
        return round(usual, 4)
    return float(threshold.get(layer, usual) if isinstance(threshold, Mapping) else threshold)


def _check(object: str, usable: int, showing: int, looker: _Looker) -> None:
    if not usable:
        first = next(iter(looker.bad.values()), "the folder holds none")
        raise ConfigError("there is no picture that can be used", first)
    if not 0 < showing < usable:
        raise ConfigError(
            f"{'none' if not showing else 'each'} of the {usable} pictures shows a {object}",
            "it takes some that do and some that do not: see --labels and --classes",
        )


def _nothing(object: str, looker: _Looker, by: Criterion, limits: Mapping[str, float], showing: int) -> ConfigError:
    best, layer, number = max(
        (float(rank.max()), layer, int(rank.argmax())) for layer in limits for rank in [looker.rank(layer, by)]
    )
    top = next(iter(looker.tops.values())).value.shape[1]
    hint = f"lower --threshold to {int(best * 100) / 100:g} or less, or give more pictures or other --layers"
    if by == "purity" and showing < top:
        hint = f"only {showing} pictures show a {object}: give more, or try --by auc"
    return ConfigError(
        f"no filter responds to a {object} alone: the best {by} is {best:.2f}, {layer} filter {number}", hint
    )


def _scaled(image: Tensor) -> Tensor:
    h, w = image.shape[-2:]
    if min(h, w) < VGG19.minimum:
        raise ImageError(f"a picture of {w}×{h} is too small", f"give at least {VGG19.minimum} pixels a side")
    scale = min(1.0, SIDE / min(h, w), 4 * SIDE / max(h, w))
    size = [max(VGG19.minimum, round(side * scale)) for side in (h, w)]
    return F.interpolate(image, size, mode="bicubic", antialias=True).clamp(-1, 1) if scale < 1 else image


def _on_grid(mask: Tensor, features: Sequence[Tensor]) -> Tensor:
    return F.interpolate(mask, min(tuple(x.shape[-2:]) for x in features), mode="area").flatten()


def _short(value: Tensor | float) -> float:
    return float(f"{float(value):.3g}")
