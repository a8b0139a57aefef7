"""Pictures on the way from one result to another, and what they are written as."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from zoo.errors import ImageError, UsageError
from zoo.helpers.files import atomic
from zoo.helpers.inputs import Inputs
from zoo.pictures import video
from zoo.pictures.image import FORMATS, read, to_pil, writable, write

MOVING = (".gif", ".webp", *video.FORMATS)


@dataclass(frozen=True)
class Morph:
    """The frames, each in the form of the picture that came in."""

    frames: list[Any]

    @property
    def pictures(self) -> list[Image.Image]:
        return [frame if isinstance(frame, Image.Image) else to_pil(read(frame).rgb) for frame in self.frames]

    def strip(self, height: int = 256) -> Image.Image:
        """All frames beside each other; larger ones scaled to ``height`` pixels."""
        frames = [_scaled(frame, height) for frame in self.pictures]
        strip = Image.new("RGB", (sum(frame.width for frame in frames), frames[0].height), "white")
        x = 0
        for frame in frames:
            strip.paste(frame, (x, 0), frame if frame.has_transparency_data else None)
            x += frame.width
        return strip

    def save(self, path: str | Path, seconds: float = 2.0, replace: bool = True) -> None:
        """A moving picture, there and back in twice ``seconds``, for .gif, .webp, .mp4 and other films; else the strip.

        Written whole or not at all; ExistsError if something is there and not to be replaced. UsageError for a film
        without PyAV; ImageError for what cannot be written.
        """
        path, suffix = Path(path), Path(path).suffix.lower()
        if suffix not in MOVING:
            return write(self.strip(), path, replace)
        if seconds <= 0:
            raise UsageError(f"seconds = {seconds:g} is not above 0", "give the time from one end to the other")
        there = [frame.convert("RGB") for frame in self.pictures]
        frames = [*there, *there[-2:0:-1]]
        rate = max(1, len(there) - 1) / seconds
        try:
            if suffix in video.FORMATS:
                return video.write(map(np.asarray, frames), path, rate, replace)
            with atomic(path, replace) as part:
                frames[0].save(
                    part, FORMATS.get(suffix, ("GIF",))[0], save_all=True, append_images=frames[1:],
                    duration=max(20, round(1000 / rate)), loop=0, **({"quality": 90} if suffix == ".webp" else {}),
                )  # fmt: skip
        except OSError as error:
            raise ImageError(f"{path} cannot be written: {error}", "check the folder") from error

    def report(self, path: Path, seconds: float, replace: bool) -> dict[str, Any]:
        """Save it, and what a command says then."""
        self.save(path, seconds, replace)
        return {"lines": [f"{len(self.frames)} pictures: {path}"], "out": str(path), "steps": len(self.frames)}


def shares(steps: int, start: float = 0.0, end: float = 1.0) -> list[float]:
    """From ``start`` to ``end`` in so many ``steps``, both counted. UsageError for fewer than two."""
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 2:
        raise UsageError(f"steps = {steps!r} is not 2 or more", "give the number of pictures")
    return torch.linspace(start, end, steps).tolist()


def ready(path: Path, inputs: Iterable[object], overwrite: bool) -> None:
    """UsageError or ImageError if a morph cannot be saved there or would replace something, before any work is done.

    ``inputs`` are whatever the call was given: see `zoo.helpers.inputs.Inputs`."""
    if path.suffix.lower() in video.FORMATS:
        video.installed()
    elif path.suffix.lower() not in MOVING:
        writable(path)
    Inputs(*inputs).ready(path, replace=overwrite)


def _scaled(frame: Image.Image, height: int) -> Image.Image:
    if frame.height <= height:
        return frame
    return frame.resize((max(1, round(frame.width * height / frame.height)), height), Image.Resampling.LANCZOS)
