"""Pictures on the way from one result to another, and what they are written as."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from zoo.errors import ImageError, UsageError
from zoo.files import atomic
from zoo.image import FORMATS, read, to_pil, write

MOVING = (".gif", ".webp", ".mp4")


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

    def save(self, path: str | Path, seconds: float = 2.0) -> None:
        """A moving picture, there and back in twice ``seconds``, for .gif, .webp and .mp4; else the strip.

        Written whole or not at all. UsageError for .mp4 without ffmpeg; ImageError for what cannot be written.
        """
        path, suffix = Path(path), Path(path).suffix.lower()
        if suffix not in MOVING:
            return write(self.strip(), path)
        if seconds <= 0:
            raise UsageError(f"seconds = {seconds:g} is not above 0", "give the time from one end to the other")
        there = [frame.convert("RGB") for frame in self.pictures]
        frames = [*there, *there[-2:0:-1]]
        pause = 1000 * seconds / max(1, len(there) - 1)
        try:
            with atomic(path) as part:
                if suffix == ".mp4":
                    _film(frames, part, 1000 / pause)
                else:
                    frames[0].save(
                        part, FORMATS.get(suffix, ("GIF",))[0], save_all=True, append_images=frames[1:],
                        duration=max(20, round(pause)), loop=0, **({"quality": 90} if suffix == ".webp" else {}),
                    )  # fmt: skip
        except OSError as error:
            raise ImageError(f"{path} cannot be written: {error}", "check the folder") from error


def ffmpeg() -> str:
    """Where ffmpeg is. UsageError if it is not installed."""
    if (program := shutil.which("ffmpeg")) is None:
        raise UsageError("an .mp4 needs ffmpeg, which is not installed", "install ffmpeg, or write a .gif or .webp")
    return program


def _film(frames: Sequence[Image.Image], path: Path, rate: float) -> None:
    program = ffmpeg()
    with tempfile.TemporaryDirectory() as folder:
        for number, frame in enumerate(frames):
            frame.crop((0, 0, frame.width // 2 * 2, frame.height // 2 * 2)).save(Path(folder, f"{number:05}.png"))
        command = [
            *(program, "-loglevel", "error", "-y", "-framerate", f"{rate:.3f}", "-i", str(Path(folder, "%05d.png"))),
            *("-pix_fmt", "yuv420p", "-movflags", "+faststart", "-f", "mp4", str(path)),
        ]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        raise ImageError(f"ffmpeg cannot write the film: {made.stderr.strip()[:200]}", "write a .gif instead")


def _scaled(frame: Image.Image, height: int) -> Image.Image:
    if frame.height <= height:
        return frame
    return frame.resize((max(1, round(frame.width * height / frame.height)), height), Image.Resampling.LANCZOS)
