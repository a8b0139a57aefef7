"""Picture in, picture out: the Translator that `zoo.load` returns."""

from __future__ import annotations

import logging
import operator
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any, SupportsIndex
from weakref import WeakSet

import numpy as np
import torch
from torch import Tensor

from zoo.card import Card
from zoo.control import Control, check, parse_controls
from zoo.control import Image as ImageControl
from zoo.errors import ExistsError, ImageError, NotFoundError, PartialFailure, UsageError, ZooError
from zoo.generator import Generator
from zoo.machine.chance import numbers_kept
from zoo.machine.compiler import compiled
from zoo.machine.device import DTYPES, in_plain_torch, pick_device, plain_torch
from zoo.machine.kernels import LAYOUTS, kernels
from zoo.pictures import image as pictures
from zoo.pictures import large, video
from zoo.pictures.batches import Batches, Focus
from zoo.pictures.fit import fit
from zoo.pictures.image import Picture, Source
from zoo.pictures.tiles import Tiler
from zoo.progress import Progress, listening

log = logging.getLogger("zoo")

_BEGUN: WeakSet[Translator] = WeakSet()  # the translators of this process


def _after_fork() -> None:
    """A forked process has none of the threads that held a lock, or that OpenMP shares its work among: it would wait for
    them for ever. So it computes with one, as torch's own workers do."""
    begun = list(_BEGUN)
    for translator in begun:
        translator._lock = threading.RLock()
    if begun:
        torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _whole(value: object, least: int) -> bool:
    """Is it a whole number from ``least`` on, or None?"""
    return value is None or (isinstance(value, SupportsIndex) and operator.index(value) >= least)


def _sent(value: Any, device: torch.device) -> Any:
    if isinstance(value, list):
        return [_sent(one, device) for one in value]
    return value.to(device) if isinstance(value, Tensor) else value


class Translator:
    """Draws pictures with a generator.

    A plugin may subclass it, for verbs of its own or to replace ``draw`` or ``framed``. ``framing`` are the names of the
    controls that say which part of a picture is drawn: ``framed`` and ``follow`` take them, and the network does not.
    ``finishing`` are those of what ``draw`` does beside the network, which does not take them either.
    """

    framing: frozenset[str] = frozenset()
    finishing: frozenset[str] = frozenset()
    unexported: str = ""
    """Why an exported network would not do what the model does: it is refused then."""
    origin: str = ""
    """``hub:USER/REPO@COMMIT`` of what was loaded by a name of the Hub."""

    def __init__(
        self,
        generator: Generator,
        network: Mapping[str, Any] | None = None,
        *,
        card: Card | None = None,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
        compile: bool = False,
    ) -> None:
        self.network = dict(network or {})
        self.card = card
        self.controls = parse_controls(self.network.get("controls", ()))
        self.working = int(self.network.get("working") or 0)
        self.generator = generator
        self.size = generator.size  # of the pictures that `draw` gets
        self.device = pick_device(device)
        self.dtype: torch.dtype = DTYPES[dtype] or torch.float32
        self._compiled = compile
        self._begin()
        self.to(self.device)

    def _begin(self) -> None:
        """What belongs to one process, and is neither copied nor sent."""
        self._call = compiled(self.generator, self.device.type) if self._compiled else self.generator
        self._lock = threading.RLock()  # one picture at a time: a network's mode and place are shared
        _BEGUN.add(self)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_call", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._begin()

    @property
    def name(self) -> str:
        """The model's name, or what it was loaded by."""
        named = self.card.name if self.card else self.network.get("recipe", type(self.generator).__name__)
        return self.origin or str(named)

    def __repr__(self) -> str:
        facts = [self.name, str(self.device), str(self.dtype).removeprefix("torch.")]
        facts += [f"{control.name}: {control.takes}" for control in self.controls]
        return f"{type(self).__name__}({', '.join(facts)})"

    def to(self, device: str | torch.device) -> Translator:
        """Move to another device, as ``"cuda:1"``."""
        with self._lock:
            self.device = pick_device(device)
            self.generator.to(self.device).to(memory_format=self._layout())
        return self

    def translate(
        self,
        image: Any,
        *,
        size: int | None = None,
        batch: int | None = None,
        tile: int | None = None,
        progress: Progress | None = None,
        **controls: Any,
    ) -> Any:
        """Translate a picture, several of them, or the pictures of a folder and of those below it.

        ``image``: path, a file's bytes, PIL picture, array (H, W[, C]) or tensor (C, H, W): see `zoo.pictures.image.read`. The result has its
        form and size: PIL for path and PIL, array, or tensor; a list for a list, a folder or what gives pictures one
        by one, as ``Path.glob`` does; (N, 3, H, W) for a tensor (N, C, H, W), (N, H, W, 3) for an array (N, H, W, C). It is RGB, with the alpha that the picture had. Where a model draws a part of the picture only, as
        the face, it is as large as this part. The ``info`` of a PIL result has what of the picture's EXIF, resolution and
        comment is still true; Pillow writes EXIF that it is given, ``result.save(path, exif=result.info["exif"])``.

        ``size``: the network sees the picture scaled to this long side in pixels, and the result is scaled back; 0 is
        the picture as it is. Unless given, a picture larger than the network's working size is scaled down to it,
        because faces much larger than those of the training are drawn poorly. ``batch``: how many pictures of equal
        size go through the network together; by itself as many as make a megapixel. ``tile``: the network sees at most
        this many pixels along a side at once, and larger pictures are drawn in tiles that show no seams, see
        docs/large-pictures.md; by itself where a picture would take more than half of the free memory, or more than
        ``ZOO_MEMORY``. ``progress`` is called while a picture takes its time: `zoo.progress.Progress`. ``controls``:
        those of `Translator.controls`.

        Ctrl-C during an optimisation gives the best picture so far, where one is translated, not several.

        ControlError: a control that does not exist or a value out of range. ImageError: a picture that cannot be used.
        """
        if isinstance(image, Tensor | np.ndarray) and image.ndim == 4:
            if not len(image):
                raise ImageError(f"{type(image).__name__} of 0 pictures", "give at least one")
            rest: dict[str, Any] = {"size": size, "batch": batch, "tile": tile, "progress": progress, **controls}
            drawn = self.translate(list(image), **rest)
            if len({one.shape for one in drawn}) > 1:
                raise ImageError("the parts that were drawn are not of one size", "give a list of pictures")
            return torch.stack(drawn) if isinstance(image, Tensor) else np.stack(drawn)
        if isinstance(image, str | os.PathLike) and Path(image).is_dir():
            sources = pictures.find_pictures([Path(image)])
            if not sources:
                raise NotFoundError(f"{image} holds no pictures", "give a folder with PNG, JPEG or WebP files")
            rest = {"size": size, "batch": batch, "tile": tile, "progress": progress, **controls}
            return self.translate(sources, **rest)
        many = isinstance(image, list | tuple | Iterator)
        results = []
        for result in self.stream(
            image if many else [image], size=size, batch=batch, tile=tile, progress=progress, **controls
        ):
            if isinstance(result, ZooError):
                raise result
            results.append(result)
        return results if many else results[0]

    def stream(
        self,
        images: Iterable[Source],
        *,
        size: int | None = None,
        batch: int | None = None,
        tile: int | None = None,
        progress: Progress | None = None,
        **controls: Any,
    ) -> Iterator[Any]:
        """Results one after the other, as pictures are read; a ZooError in the place of a picture that failed.

        After Ctrl-C during an optimisation the best picture so far comes still, and KeyboardInterrupt in the place of
        the next."""
        with plain_torch():
            batches, framing = self.prepared(size, batch, tile, progress, controls)
        return in_plain_torch(self.results(images, batches, framing))

    def translate_video(
        self,
        source: str | os.PathLike[str],
        target: str | os.PathLike[str],
        *,
        size: int | None = None,
        batch: int | None = None,
        tile: int | None = None,
        progress: Progress | None = None,
        replace: bool = True,
        damaged: bool = False,
        **controls: Any,
    ) -> None:
        """Translate a video frame by frame into the file ``target``: .mp4, .m4v, .mov, .mkv or .webm.

        Options and controls are those of ``translate``, the same for all frames. Frames keep their times, and the sound
        is copied; only a few frames are in memory at once. ``target`` is whole or not there. See docs/videos.md.

        Of a damaged video what can be read is written, and PartialFailure says what is missing; a warning does where
        ``damaged`` says that this is fine. Unless ``target`` may be ``replace``d, ExistsError if something is there.

        NotFoundError; ImageError for what is no video, cannot be drawn or written; UsageError if PyAV is missing.
        """
        with plain_torch():
            looked_through = self.filmed(controls, size=size, batch=batch, tile=tile)
        film = video.probe(source)
        video.writable(target)
        if not replace and os.path.lexists(target):  # not after an hour
            raise ExistsError(target)
        with plain_torch(), listening(progress):
            lost = video.rewrite(film, target, looked_through(film), replace)
        if lost and not damaged:
            raise PartialFailure(
                f"{source} is damaged: {lost}", f"{target} has the rest; damaged=True is fine with that"
            )
        if lost:
            log.warning("%s is damaged: %s", source, lost)

    # -- to be replaced by a subclass ---------------------------------------------------------------------------------

    def check(self, controls: dict[str, Any]) -> dict[str, Any]:
        """The values of all controls, before any picture is read; to be replaced where they depend on each other.

        ControlError for what does not go together."""
        return controls

    def framed(self, picture: Picture, **controls: Any) -> Picture:
        """The part of a picture that is drawn: all of it, until a subclass cuts something out (`Picture.cut`).

        ``controls`` are the checked values of those in ``framing``. ImageError if there is nothing to draw."""
        return picture

    def results(self, images: Iterable[Source], batches: Batches, framing: dict[str, Any]) -> Iterator[Any]:
        """What `stream` gives. Each picture is drawn as one, until a subclass draws parts of it and joins them.

        ``framing`` are the values of the controls of that name."""
        return batches.results(images, repeat(partial(self.framed, **framing)))

    def follow(self, frames: Iterable[Source], rate: float, **controls: Any) -> Iterable[Callable[[Picture], Picture]]:
        """For each frame of a video what cuts out the part that is drawn, all of one size.

        It is ``framed``, for each frame by itself, until a subclass looks through ``frames``, of which ``rate`` make a
        second, so that the part does not shake. ``controls`` as for ``framed``."""
        return repeat(partial(self.framed, **controls))

    def draw(self, image: Tensor, **controls: Any) -> Tensor:
        """image (N, 3, H, W) in [-1, 1] as the size rule wants it -> (N, 3, H, W) in [-1, 1]."""
        return self._call(image, **controls)

    def finer(self, drawn: Tensor) -> Tensor:
        """What was drawn (N, 3, H, W) -> (N, 3, kH, kW), for pictures that have more pixels than the network sees: the same, k = 1, until
        a subclass knows better. An exported network is without it."""
        return drawn

    def exported(self) -> list[Control]:
        """The controls that an exported network has as inputs: without them it would not run, or draw something else."""
        return [
            control
            for control in self.controls
            if control.name not in self.framing
            and (control.required if isinstance(control, ImageControl) else control.default_value() is not None)
        ]

    def part(self) -> dict[str, Any] | None:
        """What part of a picture ``draw`` sees, as facts (JSON) for who runs an exported network; None for all of it."""
        return None

    def filmed(
        self, controls: dict[str, Any], *, size: int | None, batch: int | None, tile: int | None
    ) -> Callable[[video.Film], Callable[[Iterable[np.ndarray]], Iterable[Any]]]:
        """What looks through a film and gives what draws its frames, one after the other.

        ``controls`` and options are those of a call, and are checked here, before the film is read. Each frame is drawn
        by itself, until a subclass edits what it sees over time."""
        batches, framing = self.prepared(size, batch, tile, None, controls)

        def looked_through(film: video.Film) -> Callable[[Iterable[np.ndarray]], Iterable[Any]]:
            frames = (image for _, image in film.frames("looking through"))
            cuts = self.follow(frames, float(film.rate), **framing)
            return lambda images: batches.results(images, cuts)

        return looked_through

    # -- for the verbs of a subclass ----------------------------------------------------------------------------------

    def prepared(
        self, size: int | None, batch: int | None, tile: int | None, progress: Progress | None, controls: dict[str, Any]
    ) -> tuple[Batches, dict[str, Any]]:
        """What draws the pictures of a call, and the values of ``framing``; all is checked before a picture is read."""
        if not _whole(size, 0):
            raise UsageError(f"size = {size!r} is not a size", "give the long side in pixels, or 0 for no scaling")
        if not _whole(batch, 1):
            raise UsageError(f"batch = {batch!r} is not a number of pictures", "give 1 or more")
        if not _whole(tile, 1):
            raise UsageError(f"tile = {tile!r} is not a size", "give the side of a tile in pixels")
        values = self.checked(controls, size)
        framing = {name: values.pop(name) for name in self.framing & values.keys()}
        drawn = partial(self._drawn, values=values, tile=tile, progress=progress)
        return Batches(drawn, self.size, self.working, size, batch, self.name, self._finer), framing

    def checked(self, controls: dict[str, Any], size: int | None = None) -> dict[str, Any]:
        """The checked values of all controls that have one; pictures as the network sees them at the long side ``size``.

        ControlError, ImageError."""
        values = self.check(check(self.controls, controls))
        values = {name: value for name, value in values.items() if value is not None}
        for control in self.controls:
            if isinstance(control, ImageControl) and (value := values.get(control.name)) is not None:
                seen = [
                    fit(pictures.read(one).on_white().rgb, self.size, self.working, size)[0]
                    for one in (value if control.many else [value])
                ]
                values[control.name] = seen if control.many else seen[0]
        return values

    def tensors(self, values: Mapping[str, Any], number: int) -> dict[str, Any]:
        """The ``values`` of controls as the network takes them for ``number`` pictures, on its device."""
        return {
            control.name: _sent(control.tensor(values[control.name], number), self.device)
            for control in self.controls
            if values.get(control.name) is not None
        }

    def on_device(self, image: Tensor) -> Tensor:
        """Pictures (N, C, H, W) on the device of the network, in the layout that it is fastest with."""
        return image.to(self.device, memory_format=self._layout())

    @contextmanager
    def inference(self) -> Iterator[None]:
        """Here the network may be called: one thread at a time, in evaluation mode, without gradients, in the
        translator's precision. Afterwards modes and random numbers are as they were."""
        with self._lock:
            training = [module for module in self.generator.modules() if module.training]
            cuda = self.device.type == "cuda"
            index = torch.cuda.current_device() if cuda and self.device.index is None else self.device.index
            half = torch.autocast(self.device.type, self.dtype) if self.dtype != torch.float32 else nullcontext()
            try:
                for module in training:
                    module.training = False
                with numbers_kept([index] if cuda else [], not self._compiled), torch.inference_mode(), half:
                    yield
            finally:
                for module in training:
                    module.training = True

    # -- how a picture is drawn ---------------------------------------------------------------------------------------

    def _drawn(
        self, image: Tensor, focus: Focus, values: Mapping[str, Any], tile: int | None, progress: Progress | None
    ) -> Tensor:
        """``draw`` with the controls' values, in tiles where the picture is large, and without a trace."""
        with self.inference(), listening(progress):
            controls = self.tensors(values, len(image))
            why_not = self._why_whole(controls)
            tiler = Tiler(self.generator, controls, self.device, self.on_device, focus=None if why_not else focus)

            def whole(image: Tensor) -> Tensor:
                if tiler.focus:
                    return replace(tiler, tile=max(image.shape[-2:])).draw(image)
                return self.draw(self.on_device(image), **controls)

            return large.draw(whole, image, tiler, tile, why_not)

    def _finer(self, drawn: Tensor) -> Tensor:
        if type(self).finer is Translator.finer:  # and it may be large
            return drawn
        with self.inference():
            return self.finer(self.on_device(drawn)).to(drawn.device)

    def _why_whole(self, controls: Mapping[str, Any]) -> str:
        """Why pictures are never drawn in tiles; empty if they may be."""
        if self.size.fixed:
            return "the network takes pictures of one size"
        if self.size.whole:
            return "the network has to see a picture whole"
        if type(self).draw is not Translator.draw:
            return f"{type(self).__name__} has its own way of drawing"
        if seconds := [c.name for c in self.controls if isinstance(c, ImageControl) and c.name in controls]:
            return f"the network also sees the picture {seconds[0]}"
        return ""

    def _layout(self) -> torch.memory_format:
        return LAYOUTS[kernels(self.device.type, self.dtype == torch.bfloat16).inference]
