"""Pictures on the way from one person to another, and what they are written as."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from zoo.errors import ImageError, UsageError
from zoo.files import atomic
from zoo.image import FORMATS, write

MOVING = (".gif", ".webp")


@dataclass(frozen=True)
class Strip:
    """The pictures, all of one size."""

    frames: list[Image.Image]

    @property
    def picture(self) -> Image.Image:
        """All of them beside each other (figure 4)."""
        width, height = self.frames[0].size
        strip = Image.new("RGB", (width * len(self.frames), height))
        for number, frame in enumerate(self.frames):
            strip.paste(frame, (number * width, 0))
        return strip

    def save(self, path: str | Path, seconds: float = 2.0) -> None:
        """A moving picture, there and back in twice ``seconds``, for .gif and .webp; else all beside each other.

        Written whole or not at all. UsageError, ImageError for what cannot be written.
        """
        path, suffix = Path(path), Path(path).suffix.lower()
        if suffix not in MOVING:
            return write(self.picture, path)
        if seconds <= 0:
            raise UsageError(f"seconds = {seconds:g} is not above 0", "give the time from one end to the other")
        frames = [*self.frames, *self.frames[-2:0:-1]]
        pause = max(20, round(1000 * seconds / max(1, len(self.frames) - 1)))
        options = {"save_all": True, "append_images": frames[1:], "duration": pause, "loop": 0}
        try:
            with atomic(path) as part:
                frames[0].save(part, FORMATS.get(suffix, ("GIF",))[0], **options)
        except OSError as error:
            raise ImageError(f"{path} cannot be written: {error}", "check the folder") from error
