"""Whole photographs of several people: their faces are found, aligned and fused into one portrait."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

from PIL.Image import Image as PILImage
from torch import Tensor
from torch.nn import functional as F

from zoo import faces
from zoo.control import Control, check
from zoo.errors import ControlError, ImageError, UsageError, close_match
from zoo.faces.portrait import Around, PortraitTranslator
from zoo.pictures import image as pictures
from zoo.pictures.image import Picture, Source
from zoo.pictures.morph import Morph, shares
from zoo_facefusion.align import FITTED, FRAME, SHAPE, aligned, yaw
from zoo_facefusion.networks import FusionGenerator
from zoo_facefusion.regions import REGIONS

APART = 0.5
"""Difference of two faces' `yaw` from which they are turned too differently to fuse without double contours."""

log = logging.getLogger("zoo")


class FusionTranslator(PortraitTranslator):
    """Fuses the face of a photograph with those of others: a square portrait, as large as the photograph has the face.

    ``mix`` is also taken as one number, and ``region={"eyes": 0.0}`` as a shorter way for the controls of regions.
    `strip` shows the way from one to the other; `encode` and `decode` are for those who want the latents.
    """

    generator: FusionGenerator
    framing = PortraitTranslator.framing | {"yaws"}  # where the others look
    frame = FRAME
    largest = 512  # the network sees far fewer pixels
    call = ("fuse", "fused", "an aligned portrait")

    def stream(self, images: Iterable[Source], **options: Any) -> Iterator[Any]:
        return super().stream(images, **_plain(options))

    def translate_video(self, source: Any, target: Any, **options: Any) -> None:
        super().translate_video(source, target, **_plain(options))

    def check(self, controls: dict[str, Any]) -> dict[str, Any]:
        """The others are read, found and aligned here, before any picture is. ControlError, ImageError."""
        elements, others = self.generator.elements, len(controls["other"])
        if len(controls["mix"]) not in (1, elements):
            raise ControlError(
                f"mix has {len(controls['mix'])} numbers", f"give one, or {elements}, one for each element"
            )
        portions = controls.get("portions")
        if portions is not None and (len(portions) != others or not sum(portions)):
            raise ControlError(
                f"portions = {list(portions)} do not fit {others} other pictures",
                "give one for each, not all of them 0",
            )
        aligned, yaws = [], list[float]()
        for i, other in enumerate(controls["other"], 1):
            try:
                picture, looks = self._aligned(pictures.read(other), 0 if controls.get("face") == 0 else None)
            except ImageError as error:
                raise ImageError(f"other{f' {i}' if others > 1 else ''}: {error.message}", error.hint) from error
            aligned.append((picture.rgb + 1) / 2)
            yaws += looks
        return {**controls, "other": aligned, "yaws": yaws}

    def framed(
        self,
        picture: Picture,
        face: int | None = None,
        framing: Around = "face",
        yaws: Sequence[float] = (),
        **_: Any,
    ) -> Picture:
        aligned, looks = self._aligned(picture, face)
        for mine in looks:
            other = max(yaws, key=lambda yaw: abs(yaw - mine), default=mine)
            if abs(other - mine) > APART:
                log.warning(
                    "the faces look %+.2f and %+.2f to the side (-1 left, 0 into the camera, 1 right): turned so"
                    " differently they may show double contours", mine, other,
                )  # fmt: skip
        return aligned

    def placed(self, face: faces.Face) -> faces.Face:
        return aligned(face)

    def exported(self) -> list[Control]:
        """``mix`` has a number for each element there."""
        elements = self.generator.elements
        return [
            control.model_copy(
                update={"length": elements, "default": cast(tuple[float, ...], control.default_value()) * elements}
            )
            if control.name == "mix"
            else control
            for control in super().exported()
        ]

    def part(self) -> dict[str, Any]:
        return {**super().part(), "average": list(map(list, SHAPE)), "fitted": [FITTED.start, FITTED.stop]}

    def draw(self, image: Tensor, other: Sequence[Tensor] = (), **controls: Any) -> Tensor:
        size = image.shape[-2:]
        fitted = [one if one.shape[-2:] == size else _scaled(one, size) for one in other]
        return self._call(image, other=fitted, **controls)

    # -- verbs of its own ---------------------------------------------------------------------------------------------

    def strip(self, a: Source, b: Source, *, steps: int = 6, face: int | None = None, **controls: Any) -> Morph:
        """From ``a`` to ``b`` in ``steps`` portraits, whose mix falls from 1 to 0 (figure 4).

        ``controls`` are those of regions. ControlError, ImageError. UsageError for fewer than two steps."""
        way = shares(steps, 1, 0)
        if taken := {"mix", "other"} & controls.keys():
            raise ControlError(f"a strip takes no {min(taken)}", "its mix goes from 1 to 0")
        values = self.check(check(self.controls, _plain({**controls, "other": b, "face": face})))
        first = self.framed(pictures.read(a), values["face"], values["yaws"])
        given = {**controls, "other": [pictures.to_pil(one * 2 - 1) for one in values["other"]], "face": 0}
        picture = pictures.to_pil(first.rgb)
        return Morph([self.translate(picture, mix=share, **given) for share in way])

    def encode(self, image: Source, *, face: int | None = None) -> Tensor:
        """The latent (C,h,w) of a face, float32 on the CPU. ImageError if there is no such face."""
        picture, _ = self._aligned(pictures.read(image), face)
        with self.inference():
            latent = self.generator.encode(self.on_device(self._fitted(picture.rgb)))[0]
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

    def _aligned(self, picture: Picture, number: int | None) -> tuple[Picture, list[float]]:
        """The portrait of a face and where it looks; the picture itself where ``number`` is 0, and nothing known of it."""
        if number == 0:
            return picture, []
        face = self.chosen(picture, number)
        return self.cut(picture, face), [yaw(face)]

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
