"""The pictures that excite each filter most, and a contact sheet of them, for a person to judge."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from zoo.pictures.image import read, to_pil
from zoo_partstyle.objects import ObjectSet

TILE, GAP, MARGIN, HEAD = 112, 4, 132, 34
RIGHT, WRONG, INK, PAPER = (0, 150, 60), (205, 30, 40), (20, 20, 20), (255, 255, 255)
ROWS = 100
REACH = {1: 0.06, 2: 0.1, 3: 0.2, 4: 0.35, 5: 0.6}  # what a filter of a block sees, as a share of the shorter side


@dataclass
class Top:
    """The pictures that excite each filter of a layer most, best first; of equal ones the earlier picture."""

    value: Tensor  # (C, top), -inf where there is no picture yet
    picture: Tensor  # (C, top), its number
    where: Tensor  # (C, top, 2), where in the picture the filter peaks: shares of its height and width
    shows: Tensor  # (C, top), does it show the object

    @classmethod
    def empty(cls, channels: int, top: int) -> Top:
        shape = (channels, top)
        nothing = torch.full(shape, -torch.inf)
        return cls(nothing, torch.full(shape, -1), torch.zeros(*shape, 2), torch.zeros(shape, dtype=torch.bool))

    def add(self, features: Tensor, number: int, shows: bool) -> None:
        """One picture's features (C, h, w)."""
        channels, h, w = features.shape
        peak, at = features.flatten(1).max(1)
        place = torch.stack([(at // w + 0.5) / h, (at % w + 0.5) / w], -1)
        value = torch.cat([self.value, peak[:, None]], 1)
        order = value.argsort(dim=1, descending=True, stable=True)[:, :-1]
        new = {"picture": torch.tensor(number), "shows": torch.tensor(shows)}
        for name, one in new.items():
            row = torch.cat([getattr(self, name), one.expand(channels, 1)], 1)
            setattr(self, name, row.gather(1, order))
        where = torch.cat([self.where, place[:, None]], 1)
        self.where = where.gather(1, order[..., None].expand(-1, -1, 2))
        self.value = value.gather(1, order)

    def purity(self) -> Tensor:
        """(C,): the share of a filter's pictures that show the object. A filter that is silent in one of them has 0."""
        return self.shows.float().mean(1) * (self.value > 0).all(1)


def contact_sheet(title: str, chosen: ObjectSet, tops: Mapping[str, Top], pictures: Sequence[Path]) -> Image.Image:
    """A row for each chosen filter with its pictures, best first.

    A tile is the middle square of a picture, moved so that the filter's peak is in it. The thin box is about the part
    that the filter sees at its peak. A green frame: the picture shows the object; a red one: it does not. Of more than
    100 filters the first 100 are shown.
    """
    rows = [
        (layer, number, f"{layer}\nfilter {number}\npurity {purity:.2f}" + _score(chosen, one.score, i))
        for layer, one in chosen.layers.items()
        for i, (number, purity) in enumerate(zip(one.filters, one.purity))
    ][:ROWS]
    columns = max(top.value.shape[1] for top in tops.values())
    pitch = TILE + 3 * GAP
    sheet = Image.new("RGB", (max(MARGIN + columns * pitch + GAP, 640), HEAD + len(rows) * pitch), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((GAP * 2, GAP * 2), title, INK, ImageFont.load_default(15))
    thumbnail = functools.lru_cache(512)(lambda number: _thumbnail(to_pil(read(pictures[number]).rgb)))
    for y, (layer, number, text) in enumerate(rows):
        upper = HEAD + y * pitch
        draw.multiline_text((GAP * 2, upper + GAP), text, INK, ImageFont.load_default(13), spacing=5)
        top = tops[layer]
        for x, (picture, shows) in enumerate(zip(top.picture[number].tolist(), top.shows[number].tolist())):
            if picture < 0:  # fewer pictures than places
                continue
            left = MARGIN + x * pitch
            outer = (left, upper, left + TILE + 2 * GAP - 1, upper + TILE + 2 * GAP - 1)
            draw.rectangle(outer, RIGHT if shows else WRONG)
            v, u = top.where[number, x].tolist()
            sheet.paste(_tile(thumbnail(picture), (v, u), REACH[int(layer[4])]), (left + GAP, upper + GAP))
    return sheet


def _score(chosen: ObjectSet, values: Sequence[float] | None, i: int) -> str:
    return "" if values is None or chosen.made is None else f"\n{chosen.made.by} {values[i]:.2f}"


def _thumbnail(image: Image.Image) -> Image.Image:
    """A picture no larger than the sheet needs."""
    scale = TILE / min(image.size)
    return image.convert("RGB").resize([max(1, round(side * scale)) for side in image.size], Image.Resampling.LANCZOS)


def _tile(image: Image.Image, where: tuple[float, float], reach: float) -> Image.Image:
    """The square of a thumbnail around the peak, as near to the middle as the peak allows; with a box at the peak."""
    width, height = image.size
    y, x = where[0] * height, where[1] * width
    left = round(min(max((width - TILE) / 2, x - TILE * 0.75), x - TILE * 0.25)) if width > TILE else 0
    upper = round(min(max((height - TILE) / 2, y - TILE * 0.75), y - TILE * 0.25)) if height > TILE else 0
    left, upper = min(max(left, 0), max(width - TILE, 0)), min(max(upper, 0), max(height - TILE, 0))
    tile = image.crop((left, upper, left + TILE, upper + TILE))
    half = reach * TILE / 2
    box = [min(max(v, 0), TILE - 1) for v in (x - left - half, y - upper - half, x - left + half, y - upper + half)]
    ImageDraw.Draw(tile).rectangle(box, outline=(255, 225, 0))
    return tile
