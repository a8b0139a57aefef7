"""Sitters that no step sees: what a run draws of them says whether it gets better, and which of its weights are the best.

With the artist's drawing of each sitter the measure is how far features of VGG-19 are from that drawing's, as in LPIPS
(Zhang et al. 2018) without its learned weights. Without, it is how far the statistics of strokes are from the artist's
(Gatys et al. 2016, Gram matrices), and how far what looks alike is from the photograph's (Kolkin et al. 2019): the sum,
because a hand without a likeness is worth no more than a likeness without a hand. Less is better. The numbers of two runs
can be compared only if they measured the same sitters.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.blocks.vgg import VGG19
from zoo.errors import ImageError, NotFoundError
from zoo.generator import SizeRule
from zoo.losses.perceptual import distances, gram
from zoo.train.data import Pictures
from zoo.train.split import Sitter
from zoo.weights.networks import find

log = logging.getLogger("zoo.train")
COMPARED = ("conv1_2", "conv2_2", "conv3_2", "conv4_2")  # of a pair
STROKES = ("conv1_1", "conv2_1", "conv3_1")  # whose Gram matrices are the hand
LIKENESS = "conv4_1"
MANY = 16  # drawings whose statistics are the artist's
WORSE = 1.02  # times the number at the beginning: above it a run is said to get worse

Draw = Callable[[Tensor, Tensor], Tensor]  # photograph (1,3,H,W), hand (1,) -> drawing


@dataclass(frozen=True)
class Look:
    """What one look at the held-out sitters gave."""

    step: int
    distance: float


class HeldOut:
    """The sitters as pictures (3,H,W), and the distance of drawings to what they ought to be."""

    def __init__(
        self, sitters: Sequence[Sitter], data: Pictures, rule: SizeRule, vgg: VGG19, device: torch.device
    ) -> None:
        self.vgg, self.device = vgg.to(device), device
        self.hands = [sitter.hand for sitter in sitters]
        self.names = [sitter.photo.name for sitter in sitters]
        self.photos = [_cut(data.photograph(sitter.photo), data, rule) for sitter in sitters]
        self.drawings = [
            None if sitter.drawing is None else _as(_cut(data.whole(sitter.drawing), data, rule), photo)
            for sitter, photo in zip(sitters, self.photos)
        ]
        self.paired = all(drawing is not None for drawing in self.drawings)
        self.strokes: dict[int, list[Tensor]] = {}  # hand -> its mean Gram matrices
        if not self.paired:
            for hand in sorted(set(self.hands)):
                self.strokes[hand] = self._strokes([*data.wholes(data.drawings[hand].paths[:MANY])])

    @property
    def measure(self) -> str:
        """What the number is, for people."""
        return "distance to the artist's drawings" if self.paired else "distance of stroke and likeness"

    @torch.no_grad()
    def draw(self, draw: Draw) -> list[Tensor]:
        """What the network makes of each photograph, on the CPU."""
        return [
            draw(photo[None].to(self.device), torch.tensor([hand], device=self.device))[0].float().cpu()
            for photo, hand in zip(self.photos, self.hands)
        ]

    @torch.no_grad()
    def distance(self, made: Sequence[Tensor]) -> float:
        """The mean over the sitters; for the photographs themselves what it is worth to draw nothing."""
        return sum(map(self._one, made, self.photos, self.drawings, self.hands)) / len(made)

    def _one(self, made: Tensor, photo: Tensor, drawing: Tensor | None, hand: int) -> float:
        seen = self.vgg.features(made[None].to(self.device))
        if drawing is not None and self.paired:
            wanted = self.vgg(drawing[None].to(self.device), COMPARED)
            apart = [(_unit(seen[layer]) - _unit(one)).square().sum(1).mean() for layer, one in zip(COMPARED, wanted)]
            return float(torch.stack(apart).mean())
        strokes = [gram(seen[layer])[0] for layer in STROKES]
        apart = [(mine - its).norm() / its.norm() for mine, its in zip(strokes, self.strokes[hand])]
        (source,) = self.vgg(photo[None].to(self.device), (LIKENESS,))
        likeness = (distances(seen[LIKENESS]) - distances(source)).abs().sum(-1).mean()
        return float(torch.stack(apart).mean() + likeness)

    @torch.no_grad()
    def _strokes(self, drawings: Sequence[Tensor]) -> list[Tensor]:
        found = [[gram(f)[0] for f in self.vgg(drawing[None].to(self.device), STROKES)] for drawing in drawings]
        return [torch.stack(layer).mean(0) for layer in zip(*found)]


class Watch:
    """A run as its held-out sitters see it: every look, and the best weights so far. All of it is in each checkpoint."""

    def __init__(self, held: HeldOut) -> None:
        self.held = held
        self.looks: list[Look] = []
        self.best: Look | None = None
        self.weights: dict[str, Tensor] = {}
        self.drawn: list[Tensor] = []
        self.nothing = held.distance(held.photos)

    def look(self, step: int, network: nn.Module, draw: Draw) -> Look:
        self.drawn = self.held.draw(draw)
        now = Look(step, round(self.held.distance(self.drawn), 4))
        self.looks.append(now)
        if self.best is None or now.distance < self.best.distance:
            self.best = now
            self.weights = copy.deepcopy({name: tensor.detach() for name, tensor in network.state_dict().items()})
        elif self.worse and now.distance > WORSE * self.looks[0].distance:
            log.warning(
                "step %d is worse than the beginning, %.3f after %.3f on held-out sitters: stop, and begin anew with half the rate "
                "(--set optimiser.lr=…) or more drawings; zoo pack packs the best",
                step,
                now.distance,
                self.began,
            )
        return now

    @property
    def began(self) -> float:
        return self.looks[0].distance

    @property
    def worse(self) -> bool:
        """Nothing that was learned is better than what the run began with."""
        return self.best is not None and len(self.looks) > 1 and self.best.step == self.looks[0].step

    def told(self) -> dict[str, Any]:
        """The newest look, for the log."""
        assert self.best is not None
        now = self.looks[-1]
        return {"step": now.step, "distance": now.distance, "began": self.began, "best": self.best.distance}

    def line(self) -> str:
        """The newest look, for the bar."""
        assert self.best is not None
        return f"held out {self.looks[-1].distance:.3f} (began {self.began:.3f}, best {self.best.distance:.3f})"

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and facts for a checkpoint."""
        best = None if self.best is None else self.best.step
        return self.weights, {"looks": [[look.step, look.distance] for look in self.looks], "best": best}

    def load(self, weights: dict[str, Tensor], facts: dict[str, Any]) -> None:
        self.looks = [Look(int(step), float(distance)) for step, distance in facts["looks"]]
        self.best = next((look for look in self.looks if look.step == facts["best"]), None)
        self.weights = weights


def held_out(sitters: Sequence[Sitter], data: Pictures, rule: SizeRule, device: torch.device) -> HeldOut | None:
    """None, and a line that says so, where there is nobody to look at or nothing to see with."""
    usable = [sitter for sitter in sitters if _usable(sitter, data)]
    if not usable:
        return None
    try:
        vgg = VGG19(find("vgg", None, "zoo-partstyle:"), max(COMPARED))
    except NotFoundError:
        log.warning("held-out sitters are not measured without VGG-19: pip install zoo-partstyle brings it")
        return None
    return HeldOut(usable, data, rule, vgg, device)


def _usable(sitter: Sitter, data: Pictures) -> bool:
    for path in (sitter.photo, sitter.drawing):
        try:
            if path is not None:
                data.whole(path)
        except (ImageError, NotFoundError) as exc:
            log.warning("skipped %s, which was held out: %s", path, exc.message.removeprefix(f"{path} "))
            return False
    return True


def _cut(picture: Tensor, data: Pictures, rule: SizeRule) -> Tensor:
    """The middle of a picture (3,H,W), of a size that the network takes: the whole of it, where any will do."""
    if rule.fixed:
        height, width = data.data.size
    else:
        height, width = (side - side % rule.multiple_of for side in picture.shape[1:])
    top, left = (picture.shape[1] - height) // 2, (picture.shape[2] - width) // 2
    return picture[:, top : top + height, left : left + width]


def _as(drawing: Tensor, photo: Tensor) -> Tensor:
    """The drawing at its photograph's size."""
    if drawing.shape == photo.shape:
        return drawing
    return F.interpolate(drawing[None], photo.shape[1:], mode="bicubic", antialias=True)[0].clamp(-1, 1)


def _unit(features: Tensor) -> Tensor:
    return F.normalize(features.float(), dim=1, eps=1e-6)
