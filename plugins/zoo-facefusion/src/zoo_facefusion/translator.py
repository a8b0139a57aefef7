"""Whole photographs of several people: their faces are found, aligned and fused, as one portrait or in the first photograph."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import repeat
from typing import Any

import numpy as np
import torch
from PIL.Image import Image as PILImage
from torch import Tensor
from torch.nn import functional as F

from zoo import faces
from zoo.control import Control
from zoo.errors import ControlError, ImageError, UsageError, ZooError, close_match
from zoo.faces import apart, track
from zoo.faces.portrait import Around, PortraitTranslator, around
from zoo.pictures import image as pictures
from zoo.pictures import video
from zoo.pictures.batches import Batches
from zoo.pictures.fit import fit, resize
from zoo.pictures.image import Picture, Source
from zoo.pictures.morph import Morph, shares
from zoo_facefusion.align import FINER, FITTED, FRAME, JAW, SHAPE, align, aligned, square, yaw
from zoo_facefusion.detail import ALONE, People, Portrait, carried
from zoo_facefusion.doubts import seen_well, turned
from zoo_facefusion.grid import table
from zoo_facefusion.networks import FusionGenerator, of_one
from zoo_facefusion.paste import put_back
from zoo_facefusion.regions import REGIONS

log = logging.getLogger("zoo")


class FusionTranslator(PortraitTranslator):
    """Fuses the face of a photograph with those of others: the photograph with the fused face in it, or a square portrait,
    as large as the photograph has the face.

    ``mix`` is also taken as one number, and ``region={"eyes": 0.0}`` as a shorter way for the controls of regions.
    `strip` shows the way from one to the other; `encode` and `decode` are for those who want the latents.
    """

    generator: FusionGenerator
    framing = PortraitTranslator.framing | {"detail", "people"}
    frame = FRAME
    largest = 512  # the network sees far fewer pixels
    call = ("fuse", "fused", "an aligned portrait")

    def stream(self, images: Iterable[Source], **options: Any) -> Iterator[Any]:
        return super().stream(images, **_plain(options))

    def translate_video(self, source: Any, target: Any, **options: Any) -> None:
        super().translate_video(source, target, **_plain(options))

    def check(self, controls: dict[str, Any]) -> dict[str, Any]:
        """The others are read, found and aligned here, before any picture is. ControlError, ImageError."""
        elements, mix, others = self.generator.elements, controls["mix"], controls["other"]
        if len(mix) not in (1, elements):
            raise ControlError(f"mix has {len(mix)} numbers", f"give one, or {elements}, one for each element")
        portions = controls.get("portions")
        if portions is not None and (len(portions) != len(others) or not sum(portions)):
            raise ControlError(
                f"portions = {list(portions)} do not fit {len(others)} other pictures",
                "give one for each, not all of them 0",
            )
        if controls.get("face") == 0:
            return {**controls, "other": [(pictures.read(one).rgb + 1) / 2 for one in others]}
        found = [self._other(one, f" {i}" if len(others) > 1 else "") for i, one in enumerate(others, 1)]
        portioned = None if portions is None else torch.tensor([portions])
        named = any(controls.get(name) is not None for name in set(REGIONS) - set(self.generator.names))
        names, shares = self.generator.names, self.generator.shares(torch.tensor([mix]), portioned, len(others))
        everywhere = (
            shares[0, :, names.index("shape")] if "shape" in names else shares[0].mean(1)
        )  # whose textures they are
        hair = controls.get("hair")
        if hair is None and len(mix) > 1 and "hair" in names:
            hair = mix[names.index("hair")]
        whole = controls.get("framing") != "face"  # a photograph keeps its hair: what hides the other's face is drawn
        if hair is None and len(mix) == 1:
            one = float(of_one(shares[..., :1])[0, 0, 0])
            controls = {**controls, "hair": 1.0 if whole and "hair" in names else one}
        elif whole and hair is not None and hair < 1:
            log.warning(
                "hair: a photograph keeps that of the person in it; --framing face, in Python framing='face', shows another's"
            )
            controls = {**controls, "hair": 1.0}
        regions = dict(zip(names, shares[0].T)) | {
            name: self.generator.regional(name, torch.tensor([[share]]), portioned, len(others))[0, :, 0]
            for name in REGIONS
            if (share := controls.get(name)) is not None
        }
        shape = regions.get("shape")
        regions = {name: share for name, share in regions.items() if name in REGIONS}
        asked = {"mix": torch.tensor([mix]), **({} if portioned is None else {"portions": portioned})}
        asked |= {name: torch.tensor([controls[name]]) for name in REGIONS if controls.get(name) is not None}
        people = People(found, everywhere, regions, shape, self.generator.by_parts, asked if named else {})
        return {**controls, "other": [(one.even + 1) / 2 for one in found], "people": people}

    def placed(self, face: faces.Face) -> faces.Face:
        return aligned(face)

    def results(self, images: Iterable[Source], batches: Batches, framing: dict[str, Any]) -> Iterator[Any]:
        if framing.get("face") == 0:
            return super().results(images, batches, framing)
        return apart.results(images, batches, repeat(partial(self.parts, size=batches.size, **framing)))

    def parts(
        self,
        picture: Picture,
        face: int | None = None,
        framing: Around = "whole",
        *,
        people: People = ALONE,
        **how: Any,
    ) -> apart.Parts:
        chosen = self.chosen(picture, face)
        turned(yaw(chosen), [one.looks for one in people.others])
        return self.of_face(picture, chosen, framing, people=people, **how)

    def of_face(
        self,
        picture: Picture,
        face: faces.Face,
        framing: Around = "whole",
        *,
        people: People,
        detail: float = 1.0,
        size: int | None = None,
        side: int | None = None,
    ) -> apart.Parts:
        """A face of a photograph, and how its fusion becomes the result. ``size`` is what the network is asked to see,
        ``side`` that of the portrait."""
        mine = self.portrait(picture, face, side)
        maps = people.maps(mine, self.size.above(self.working))

        def join(made: Sequence[Tensor]) -> Tensor:
            fused = made[0] if maps is None else self._regional(mine, people, maps, size)
            everyone, of_each = [mine, *people.others], people.shares(fused.shape[-1], maps)
            if detail:
                everyone = [self._softened(one, size) for one in everyone]
            points = people.points(mine) * fused.shape[-1]
            if framing == "face":
                return carried(fused, points, everyone, of_each, detail)
            points[JAW] = mine.crop.landmarks[JAW]  # that there are not two
            whole = put_back(picture.rgb, mine, carried(fused, points, everyone, of_each, detail), points)
            return whole if framing == "whole" else around(replace(picture, rgb=whole, alpha=None), face).rgb

        drawn = [mine.even] if maps is None else []  # with regions of its own a face is drawn by itself
        return apart.Parts(self.shown(picture, face, framing, side), drawn, join)

    def shown(self, picture: Picture, face: faces.Face, framing: Around, side: int | None = None) -> Picture:
        """What of a photograph a result shows."""
        if framing == "face":
            return self.cut(picture, face, side)
        return around(picture, face) if framing == "portrait" else picture

    def filmed(
        self, controls: dict[str, Any], *, size: int | None, batch: int | None, tile: int | None
    ) -> Callable[[video.Film], Callable[[Iterable[np.ndarray]], Iterable[Any]]]:
        batches, framing = self.prepared(size, batch, tile, None, _plain(controls))
        number, how = framing.pop("face", None), framing.get("framing", "whole")
        if number == 0 or how == "portrait":
            return super().filmed(controls, size=size, batch=batch, tile=tile)

        def looked_through(film: video.Film) -> Callable[[Iterable[np.ndarray]], Iterable[Any]]:
            frames, side = (image for _, image in film.frames("looking through")), None
            seen: Sequence[faces.Face | None]
            if how == "face":
                seen, side = self.followed(frames, float(film.rate), number)
            else:
                found = [at.get(number or 1) for at in track.everyone(frames, float(film.rate))]
                seen = [face if face and not faces.fault(face, self.call[0]) else None for face in found]
            draw = partial(self.of_face, side=side, size=size, **framing)
            cuts = [apart.untouched if face is None else partial(draw, face=face) for face in seen]
            return lambda images: apart.results(images, batches, cuts)

        return looked_through

    def exported(self) -> list[Control]:
        """``mix`` has a number for each element there; hair is one person's."""
        generator, controls = self.generator, super().exported()
        for i, control in enumerate(controls):
            if control.name == "mix":
                (mine, _) = generator.shares(torch.tensor([control.default_value()]), None, 1)[0].tolist()
                controls[i] = control.model_copy(update={"length": generator.elements, "default": tuple(mine)})
        return controls

    def part(self) -> dict[str, Any]:
        return {
            **super().part(),
            "average": list(map(list, SHAPE)),
            "fitted": [FITTED.start, FITTED.stop],
            "moved": "each landmark to the average face's, by a thin-plate spline that is 0 along the border, in a square"
            f" {FINER} times as large",
        }

    def draw(self, image: Tensor, other: Sequence[Tensor] = (), **controls: Any) -> Tensor:
        size = image.shape[-2:]
        fitted = [one if one.shape[-2:] == size else _scaled(one, size) for one in other]
        return self._call(image, other=fitted, **controls)

    # -- verbs of its own ---------------------------------------------------------------------------------------------

    def strip(
        self,
        a: Source,
        b: Source,
        *,
        steps: int = 6,
        face: int | None = None,
        framing: Around = "face",
        **controls: Any,
    ) -> Morph:
        """From ``a`` to ``b`` in ``steps`` pictures, whose mix falls from 1 to 0 (figure 4): squares, unless ``framing``
        says otherwise, since a photograph of ``a`` does not become one of ``b``.

        ``controls`` are those of regions and detail. ControlError, ImageError. UsageError for fewer than two
        steps."""
        way = shares(steps, 1, 0)
        if taken := {"mix", "other"} & controls.keys():
            raise ControlError(f"a strip takes no {min(taken)}", "its mix goes from 1 to 0")
        if face == 0:
            return Morph([self.translate(a, other=b, mix=share, face=0, framing=framing, **controls) for share in way])
        other, picture = self._other(b), pictures.read(a)
        chosen = self.chosen(picture, face)
        turned(yaw(chosen), [other.looks])
        return Morph([self._fused(picture, chosen, other, mix=share, framing=framing, **controls) for share in way])

    def grid(
        self, people: Sequence[Source], *, height: int = 256, framing: Around = "whole", **controls: Any
    ) -> PILImage:
        """Everyone with everyone in one picture: the people along its left side and its top, and where a row and a column
        meet the fusion of both, the row's person being the first: a row is that person's photograph, or as ``framing`` says.

        ``controls`` are those of `translate` but ``other``, ``portions`` and ``face``; see `table` for ``height``.
        ControlError, ImageError. UsageError for fewer than two people."""
        if len(people) < 2:
            raise UsageError(f"a grid of {len(people)} people shows no fusion", "give two photographs or more")
        if taken := {"other", "portions", "face"} & controls.keys():
            raise ControlError(
                f"a grid takes no {min(taken)}", "it fuses the largest faces of two photographs at a time"
            )
        found = [self._found(one, f"photograph {n}") for n, one in enumerate(people, 1)]
        others = [self._softened(self.portrait(*one), None) for one in found]
        rows: list[list[PILImage | None]] = [[None]]
        for picture, face in found:
            made = [self._fused(picture, face, other, framing=framing, **controls) for other in others]
            shown = self.shown(picture, face, framing)
            mine, *fused = Morph([pictures.to_pil(shown.on_white().rgb), *made]).pictures
            rows[0].append(mine)
            rows.append([mine, *fused])
        return table(rows, height)

    def encode(self, image: Source, *, face: int | None = None) -> Tensor:
        """The latent (C,h,w) of a face, float32 on the CPU. ImageError if there is no such face."""
        picture = pictures.read(image)
        even = picture.rgb if face == 0 else self.portrait(picture, self.chosen(picture, face)).even
        with self.inference():
            latent = self.generator.encode(self.on_device(self._fitted(even)))[0]
        return latent.float().cpu().clone()  # a common tensor, that can be written to

    def decode(self, latent: Tensor) -> PILImage | list[PILImage]:
        """A latent (C,h,w) -> its portrait, a PIL picture; (N,C,h,w) -> a list of them. UsageError for another form."""
        channels = len(self.generator.element_of)
        if latent.dim() not in (3, 4) or latent.shape[-3] != channels or not latent.is_floating_point():
            raise UsageError(
                f"a tensor {tuple(latent.shape)} is no latent", f"give one of encode: {channels} channels, h, w"
            )
        with self.inference():
            made = self.generator.decode(self.on_device(latent.float().reshape(-1, *latent.shape[-3:]))).cpu()
        images = [pictures.to_pil(one) for one in made]
        return images if latent.dim() == 4 else images[0]

    # -- faces --------------------------------------------------------------------------------------------------------

    def chosen(self, picture: Picture, number: int | None) -> faces.Face:
        return seen_well(picture.rgb, super().chosen(picture, number))

    def portrait(self, picture: Picture, face: faces.Face, side: int | None = None) -> Portrait:
        """A face of a photograph, aligned, as large as the photograph has it or ``side`` pixels wide."""
        side = side or self.side(face)
        return Portrait(square(picture.rgb, face, side), align(picture.rgb, face, side).image, yaw(face))

    def _other(self, other: Source | Portrait, number: str = "") -> Portrait:
        if isinstance(other, Portrait):
            return other
        return self._softened(self.portrait(*self._found(other, f"other{number}")), None)

    def _found(self, source: Source, called: str) -> tuple[Picture, faces.Face]:
        """A photograph and its largest face. ImageError, which says what it is ``called``."""
        try:
            picture = pictures.read(source)
            return picture, self.chosen(picture, None)
        except ImageError as error:
            name = f" ({source})" if isinstance(source, str | os.PathLike) else ""
            raise ImageError(f"{called}{name}: {error.message}", error.hint) from error

    def _fused(self, picture: Picture, face: faces.Face, other: Portrait, **controls: Any) -> Any:
        """The fusion of a face that was found with another."""
        batches, framing = self.prepared(None, None, None, None, _plain({**controls, "other": other}))
        (made,) = apart.results([picture], batches, [partial(self.of_face, face=face, **framing)])
        if isinstance(made, ZooError):
            raise made
        return made

    def _regional(self, mine: Portrait, people: People, maps: Tensor, size: int | None) -> Tensor:
        """(3,S,S): the fusion of a face by ``maps`` of regions, as large as its crop."""
        fitted, box = fit(mine.even, self.size, self.working, size)
        side = fitted.shape[-2:]
        controls = {**people.asked, "maps": F.interpolate(maps[None], side, mode="area")}
        controls = {name: value.to(self.device) for name, value in controls.items()}
        others = [_scaled(one.even[None].to(self.device), side) for one in people.others]
        with self.inference():
            made = self.draw(self.on_device(fitted[None]), others, **controls)[0].float().cpu()
        return resize(made[:, *box], mine.even.shape[-2:])

    def _softened(self, portrait: Portrait, size: int | None) -> Portrait:
        """With what the network, asked to see ``size``, gives back of it alone."""
        if portrait.soft is not None:
            return portrait
        fitted, box = fit(portrait.even, self.size, self.working, size)
        with self.inference():
            made = self.generator(self.on_device(fitted[None]))[0].float().cpu()
        return replace(portrait, soft=resize(made[:, *box], portrait.even.shape[-2:]))

    def _fitted(self, image: Tensor) -> Tensor:
        """(3,H,W) -> (1,3,s,s) in the network's working size."""
        side = self.size.above(self.working)
        return _scaled(image[None], (side, side))


def _scaled(images: Tensor, size: Sequence[int]) -> Tensor:
    """(N,3,H,W) -> (N,3,*size)."""
    return F.interpolate(images, tuple(size), mode="bicubic", antialias=True).clamp(-1, 1)


def _plain(controls: Mapping[str, Any]) -> dict[str, Any]:
    """``mix`` as numbers where it is one, and ``region`` as the controls that it names. ControlError."""
    plain = dict(controls)
    mix = plain.get("mix")
    if isinstance(mix, int | float) and not isinstance(mix, bool):
        plain["mix"] = (mix,)
    region = plain.pop("region", None)
    if region is None:
        return plain
    if not isinstance(region, Mapping):
        raise ControlError(f"region = {region!r} is not a mapping", 'write region={"eyes": 0.0}')
    for name, share in region.items():
        if name not in REGIONS:
            raise ControlError(f"no region is called {name!r}", close_match(str(name), REGIONS))
        if plain.get(name) is not None:
            raise ControlError(f"{name} is given twice", "leave it out of region")
        plain[name] = share
    return plain
