"""Style transfer without a generator network: the picture itself is optimised, and VGG-19 says how far it has come.

Gatys, Ecker, Bethge, *Image Style Transfer Using Convolutional Neural Networks*, CVPR 2016, and 新家 ほか on one kind of
object. The recipe names the losses; any that the zoo knows will do, if it needs no more than a picture has:
``source`` the photograph, ``output`` what becomes of it, ``target`` the style, ``object`` where the style goes.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.blocks.vgg import VGG19
from zoo.catalogue.host import host
from zoo.errors import ConfigError, ImageError, UsageError
from zoo.faces import find
from zoo.generator import Generator, SizeRule, build_part
from zoo.loss import Loss, Views
from zoo.machine import memory
from zoo.providers.faces import face_map
from zoo.train.supply import Supply, provider_of, supply
from zoo.trainer import Trainer
from zoo.weights.file import load_weights, read_header
from zoo_partstyle.choose import fingerprint
from zoo_partstyle.locate import SMALLEST, object_map
from zoo_partstyle.losses import GuidedContentLoss
from zoo_partstyle.objects import named, object_set
from zoo_partstyle.optimise import Objective, Plan, optimise, scaled, size_of

log = logging.getLogger(__name__)

NEED = 5000
"""Bytes for each pixel: VGG-19's features and what leads back through them. 4.3 to 4.8 kB were measured on a CPU."""

PROVIDES = frozenset({"source", "output", "target", "object"})


class _Optimising(Trainer):
    """What providers are told of the optimisation, which is no training: they complete the photograph alone."""

    exported, domains = "picture", 1
    phases: ClassVar = {"picture": ("picture",)}
    provides: ClassVar = {"picture": PROVIDES}

    @classmethod
    def held(cls) -> frozenset[str]:
        return frozenset()


def _of_photo(needs: frozenset[str]) -> Supply:
    """How losses come by what no picture has, but can be found in the photograph, as where its face is."""
    return supply(needs - PROVIDES, frozenset({"source"}), _Optimising, "picture")


class PictureOptimiser(Generator):
    """Image (N,3,H,W) in [-1,1], styles and objects -> the picture that makes the losses small.

    ``losses`` are terms as in a recipe's phase. With ``compose`` the style goes where the object is and nothing else
    changes: the picture is source + map · (x - source), and x is optimised. The map is the mask that is given, or is
    found by the object's filters (`zoo_partstyle.locate`). With ``near``, layers of VGG-19, the photograph counts more where its faces
    are: there the features of these are compared as well.
    """

    learns: ClassVar = ""

    def __init__(
        self,
        losses: Mapping[str, Mapping[str, Any]],
        compose: bool = False,
        iterations: int = 150,
        levels: int = 1,
        last: str = "conv5_1",
        near: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.iterations, self.levels = iterations, levels
        self.vgg = VGG19(last=last)
        self.size = SizeRule(minimum=SMALLEST if compose else VGG19.minimum, whole=True)
        self.losses, self.compose, self.near = losses, compose, near
        if beyond := [layer for layer in near if layer not in self.vgg.layers]:
            raise ConfigError(f"near: this VGG-19 has no layer {beyond[0]}", f"it ends at {self.vgg.layers[-1]}")
        terms = self._build(None)
        for term, (_, loss) in terms.items():
            if missing := _of_photo(loss.needs).missing:
                raise ConfigError(
                    f"loss {term!r} needs {', '.join(sorted(missing))}, which no picture has",
                    f"take one that needs only {', '.join(sorted(PROVIDES))}",
                )
        if not any("output" in loss.needs for _, loss in terms.values()):
            raise ConfigError("no loss looks at the picture", "give generator.losses one with a weight above 0")

    def load(self, path: Path) -> None:
        """Take the weights of VGG-19 in either flavour, or of a file that the zoo wrote of this network."""
        if read_header(path).network:
            load_weights(path, self)
        else:
            self.vgg.load(path)

    def parts(  # type: ignore[override]
        self,
        image: Tensor,
        *,
        style: Sequence[Tensor],
        blend: Tensor | None = None,
        object: str | None = None,
        mask: Sequence[Tensor] = (),
        strength: Tensor | None = None,
        faces: Tensor | None = None,
        start: Tensor | None = None,
        noise: Tensor | None = None,
        seed: Tensor | None = None,
        iterations: Tensor | None = None,
        levels: Tensor | None = None,
        optimiser: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """``style``: pictures (N,3,h,w) of any size, mixed by ``blend``, or one for each of several ``object``s (names
        or paths, separated by commas), whose place ``mask`` may give. ``faces``: how much more the photograph counts in them.
        ``start``: another picture to begin with, of which
        ``noise`` 0 … 1 is drowned in chance. ``optimiser``: 0 L-BFGS, 1 Adam."""
        if image[0, 0].numel() * NEED > memory.allowed(image.device, share=0.9):
            raise MemoryError  # a system that promises more than it has would kill the process
        objects = named(object)
        plan = Plan(
            int(_first(iterations, self.iterations)),
            int(_first(levels, self.levels)),
            ("lbfgs", "adam")[int(_first(optimiser, 0))],
        )
        made = []
        with torch.inference_mode(False), torch.enable_grad():
            for i in range(len(image)):
                photo = image[i : i + 1].clone()
                task = _Task(
                    self,
                    photo,
                    [picture[i : i + 1].clone() for picture in style],
                    None if blend is None else [float(share) for share in blend[i]],
                    objects,
                    [picture[i : i + 1].clone() for picture in mask],
                    float(_first(strength, 1.0)),
                    float(_first(faces, 0.0)),
                )
                begin = photo if start is None else scaled(start[i : i + 1].clone(), size_of(photo))
                begin = _drowned(begin, float(_first(noise, 0.0)), int(_first(seed, 0)))
                made.append(task.result(optimise(begin, photo, task.objective, plan)))
        return {"image": torch.cat(made)}

    def _build(self, object: str | None) -> dict[str, tuple[float, Loss]]:
        """The terms with their weights. Losses over VGG-19's features get this one, and those of an object its name."""
        terms: dict[str, tuple[float, Loss]] = {}
        for term, spec in self.losses.items():
            options = {"name": term, **spec}
            weight = float(options.pop("weight", 1.0))
            takes = inspect.signature(host().part("loss", options["name"])).parameters
            context: dict[str, Any] = {"vgg": self.vgg} if "vgg" in takes else {}
            if object is not None and "object" in takes:
                context["object"] = object
            if weight:
                terms[term] = (weight, build_part("loss", options, **context))
        return terms


class _Task:
    """One photograph, its styles and objects."""

    def __init__(
        self,
        network: PictureOptimiser,
        photo: Tensor,
        styles: Sequence[Tensor],
        blend: Sequence[float] | None,
        objects: Sequence[str],
        masks: Sequence[Tensor],
        strength: float,
        faces: float,
    ) -> None:
        self.photo, self.styles, self.strength = photo, styles, strength
        self.faces: tuple[Tensor, float, Loss] | None = None
        if faces and network.near and (area := faces_in(photo)) is not None:
            self.faces = area, faces, GuidedContentLoss(network.near, network.vgg)
        self.maps = maps(network.vgg, photo, objects, masks) if network.compose else []
        self.compose = network.compose
        needs = frozenset().union(*(loss.needs for _, loss in network._build(None).values()))
        self.providers = {name: build_part("provider", provider_of(name, {})) for name in _of_photo(needs).providers}
        count, own = len(styles), len(objects) == len(styles) > 1  # does each object take a style of its own?
        share = [weight / sum(blend) for weight in blend] if blend else [1 / count] * count
        self.pairs = []
        for k in range(max(1, len(objects))):
            losses = network._build(objects[k] if objects and not masks else None)
            for style in [k] if own else range(count):
                self.pairs.append((k, style, share[style] * (count if own else 1), losses))

    def objective(self, size: tuple[int, int]) -> Objective:
        """What shall become small for pictures (1,3,H,W) of ``size``."""
        photo = scaled(self.photo, size)
        areas = [F.interpolate(area, size, mode="area") for area in self.maps]
        union = torch.stack(areas).amax(0) if areas else torch.ones_like(photo[:, :1])
        styles = [_no_larger(style, max(size)) for style in self.styles]
        whole = Views({"source": photo, "object": union})
        for name, provider in self.providers.items():
            whole = Views({name: provider(whole).detach()}, whole)
        fixed = [
            Views({"target": styles[style], "object": areas[k] if areas else union}, whole)
            for k, style, _, _ in self.pairs
        ]

        people = None
        if self.faces is not None:
            people = Views({"source": photo, "object": F.interpolate(self.faces[0], size, mode="area")})

        def evaluate(picture: Tensor) -> tuple[Tensor, dict[str, float]]:
            picture = picture + (picture.clamp(-1, 1) - picture).detach()  # colours that exist; the way back is free
            output = photo + union * (picture - photo) if self.compose else picture
            now = Views({"output": output})
            terms = {
                name: weight * loss(Views({}, now, whole)).float()
                for name, (weight, loss) in self.pairs[0][-1].items()
                if "target" not in loss.needs
            }
            if self.faces is not None and people is not None:
                _, much, near = self.faces
                terms["faces"] = much * near(Views({}, now, people)).float()
            for (_, _, share, losses), still in zip(self.pairs, fixed):
                step = Views({}, now, still)
                for name, (weight, loss) in losses.items():
                    if "target" in loss.needs:
                        value = self.strength * share * weight * loss(step).float()
                        terms[name] = terms[name] + value if name in terms else value
            return torch.stack([*terms.values()]).sum(), {name: float(term.detach()) for name, term in terms.items()}

        return evaluate

    def result(self, picture: Tensor) -> Tensor:
        if not self.compose:
            return picture
        return self.photo + torch.stack(self.maps).amax(0) * (picture - self.photo)


def faces_in(photo: Tensor) -> Tensor | None:
    """Where the faces of a photograph (1,3,H,W) are, (1,1,H,W) in [0, 1]; None without any, or without dlib, which a line says."""
    height, width = size_of(photo)
    try:
        found = find(photo[0].detach().float().cpu(), thorough=False)
    except UsageError as error:
        log.warning("faces are painted as the rest is: %s; %s", error.message, error.hint)
        return None
    sides = torch.tensor([width, height])
    areas = [face_map(face.landmarks / sides, height, width) for face in found]
    return torch.stack(areas).amax(0)[None].to(photo.device) if areas else None


def maps(vgg: VGG19, photo: Tensor, objects: Sequence[str], masks: Sequence[Tensor]) -> list[Tensor]:
    """Where each object is, (1,1,H,W) in [0, 1]: the masks' brightness, or what the objects' filters show."""
    if masks:
        return [scaled((mask.mean(1, keepdim=True) + 1) / 2, size_of(photo)).clamp(0, 1) for mask in masks]
    found = []
    for name in objects:
        chosen = object_set(name)
        if chosen.made and chosen.made.network not in ("", fingerprint(vgg)):
            log.warning("the filters of %s were chosen in another VGG-19 than this one, where they mean nothing", name)
        area, sure = object_map(vgg, photo, chosen)
        if not sure:
            log.warning("no %s was found in the picture: it stays nearly as it is; a mask says where it is", name)
        found.append(area)
    if not found:
        raise ImageError("nothing says where the style goes", "give object= or mask=")
    return found


def _first(value: Tensor | None, default: float) -> float:
    return default if value is None else float(value[0])


def _drowned(image: Tensor, share: float, seed: int) -> Tensor:
    chance = torch.rand(image.shape, generator=torch.Generator().manual_seed(seed)).to(image) * 2 - 1
    return image * (1 - share) + chance * share


def _no_larger(style: Tensor, side: int) -> Tensor:
    """A style of more pixels than the picture would show strokes that are too fine for it, and cost as many."""
    height, width = style.shape[-2:]
    scale = side / max(height, width)
    least = VGG19.minimum
    return style if scale >= 1 else scaled(style, (max(least, round(height * scale)), max(least, round(width * scale))))
