"""Training pictures: a stream of samples out of folders. Two domains of them, unpaired or paired by file name."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from zoo.errors import ImageError, NotFoundError, UsageError, ZooError
from zoo.faces import dlib_module
from zoo.faces.backdrop import WHITE, cleared, paper_of, people
from zoo.faces.parsing import parsed
from zoo.losses.perceptual import in_colours
from zoo.pictures.find import by_name
from zoo.pictures.image import find_pictures, read
from zoo.recipe import Data
from zoo.train.augment import backdrop, frame, new_backdrop, other_sitter, recolour, relight
from zoo.train.index import Index, Known, current
from zoo.train.shelf import Shelf
from zoo.train.split import Sitter, hold_out

if TYPE_CHECKING:
    from rich.console import Console

SMALLEST = 64  # pixels on the short side; below that there is no face to learn from
LOOKED_AT = 24  # drawings of a folder that say what they are on, and whether in colours
SMALL = (192, 192)  # pixels, to see whether a drawing is in colours
LOOKING = 8  # files are looked at side by side: it is the disk that takes the time
log = logging.getLogger("zoo.train")


@dataclass
class Folder:
    """The usable pictures of one folder. The i-th ones of it and its ``partner``, if any, are used together or not."""

    name: str
    path: Path
    paths: list[Path] = field(default_factory=list)
    partner: Folder | None = None
    numbers: dict[Path, int] = field(default_factory=dict)  # places in ``faulty``
    faulty: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.bool))  # cannot be decoded, as is known

    def __len__(self) -> int:
        return len(self.paths)


class Pictures(Dataset[dict[str, Tensor]]):
    """An endless stream of samples out of folders: a pure function of seed and index, so that a run can go on anywhere
    and be spread over any processes. What a sample holds, and what an ``epoch`` is, a subclass says; it sets ``photos``.

    Pictures are decoded when their turn comes, and kept on a ``shelf``. In the place of one that cannot be decoded comes
    the next of its folder, whoever finds out and when. Several threads ask for samples at once.
    """

    photos: list[Folder]
    drawings: list[Folder]
    held_out: Sequence[Sitter] = ()
    papers: Sequence[str] = ()  # of each hand's drawings, where the recipe asks for them

    def __init__(self, data: Data, seed: int, console: Console | None = None) -> None:
        if data.backdrop != "keep" or data.augment.sitters:
            data = _with_dlib(data)
        if data.backdrop == "paper":  # of drawings, which a subclass may have
            data = data.model_copy(update={"backdrop": "white"})
        self.data, self.seed, self.console = data, seed, console
        self.drawings = []  # none where photographs are all that is learned from
        self.shelf, self.index = Shelf(), current()
        self.folders: list[Folder] = []

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "console": None}  # of this process

    @property
    def epoch(self) -> int:
        """Samples in which every photograph has been seen once."""
        return len(self.photos) * max(map(len, self.photos))

    @property
    def paper(self) -> str:
        """The colour of the paper that the drawings of all hands are on; ``white`` where it is light, or each hand's is another."""
        papers = set(self.papers) or {WHITE}
        return papers.pop() if len(papers) == 1 and WHITE not in papers else "white"

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Sample ``index``; among others ``seed``, the one source of all chance in a step."""
        raise NotImplementedError

    def share(self) -> None:
        """From here on processes that begin tell each other which pictures are faulty."""
        for folder in self.folders:
            folder.faulty.share_memory_()

    def remember(self) -> Index:
        """What is known of the files by now, for the next call."""
        for folder in self.folders:
            for path, number in folder.numbers.items():
                if folder.faulty[number]:
                    self.index.doubt(path)
        return self.index

    def _read(self, name: str, path: Path, *, results: bool = False) -> Folder:
        """A folder of pictures; results of the zoo are none unless ``results``: nobody photographed them."""
        from rich.progress import track  # draws random numbers when it is imported

        if not path.is_dir():
            raise NotFoundError(f"there is no folder {path}", "give a folder of pictures")
        folder, found, doubtful = Folder(name, path), find_pictures([path]), []
        quiet = self.console is None or not self.console.is_terminal
        with ThreadPoolExecutor(LOOKING) as pool:
            looks = pool.map(partial(_look, self.index, results), found)
            for file, seen in track(
                zip(found, looks), f"reading {name}", len(found), console=self.console, disable=quiet, transient=True
            ):
                if isinstance(seen, str):
                    log.warning("skipped %s: %s", file, seen)
                    continue
                if seen.doubtful:
                    log.warning("skipped %s: it cannot be decoded; the next one takes its place", file)
                    doubtful.append(len(folder.paths))
                folder.numbers[file] = len(folder.paths)
                folder.paths.append(file)
        if not folder.paths:
            raise UsageError(
                f"no usable picture in {path} ({len(found)} files looked at)", "give a folder of portraits"
            )
        folder.faulty = torch.zeros(len(folder.paths), dtype=torch.bool)
        folder.faulty[doubtful] = True
        self.folders.append(folder)
        return folder

    def whole(self, file: Path) -> Tensor:
        """A picture (3,H',W') in [-1,1] as training sees it, before anything is cut off."""
        return self._fit(file).float() / 127.5 - 1

    def photograph(self, file: Path) -> Tensor:
        """The same of a photograph: with paper behind its people, where the recipe wants it so."""
        return self._seen(self.whole(file))

    def _seen(self, photo: Tensor) -> Tensor:
        return photo if self.data.backdrop == "keep" else cleared(photo, self.data.backdrop)

    def wholes(self, files: Iterable[Path]) -> Iterator[Tensor]:
        """Those of the pictures that can be decoded: training says which cannot, and takes the next ones."""
        for file in files:
            with suppress(ImageError, NotFoundError):
                yield self.whole(file)

    def some(self, folder: Folder, count: int) -> Iterator[Tensor]:
        """Up to ``count`` pictures from everywhere in the folder."""
        return self.wholes(folder.paths[:: max(1, len(folder) // count)][:count])

    def _picture(self, folder: Folder, i: int) -> Tensor:
        """Picture i of the folder (3,H',W') in [-1,1]."""
        path = folder.paths[i]
        return self.shelf.get(path, partial(self._fit, path)).float() / 127.5 - 1

    def _photo(self, folder: Folder, i: int) -> Tensor:
        """Photograph i of the folder, as the recipe wants what is behind its people."""
        if self.data.backdrop == "keep":
            return self._picture(folder, i)
        made = self.shelf.get(("paper", folder.paths[i]), lambda: _levels(self._seen(self._picture(folder, i))))
        return made.float() / 127.5 - 1

    def _skin_and_eyes(self, folder: Folder, i: int) -> tuple[Tensor, ...]:
        """Where the skin and where the eyes of the people in photograph i are, each (1,H',W') from 0 to 1."""
        masks = self.shelf.get(
            ("sitter", folder.paths[i]), lambda: _levels(2 * _skin_and_eyes(self._picture(folder, i)) - 1)
        )
        return (masks.float() / 255).split(1)

    def _fit(self, file: Path) -> Tensor:
        """The picture (3,H',W') uint8, scaled to cover the training size, with a margin for the random crop."""
        goal = [round(side * self.data.augment.scale) for side in self.data.size]
        picture = read(file, (goal[0], goal[1])).on_white().rgb  # (3,H',W')
        factor = max(goal[0] / picture.shape[1], goal[1] / picture.shape[2])
        size = [max(g, round(side * factor)) for g, side in zip(goal, picture.shape[1:])]
        scaled = F.interpolate(picture[None], size, mode="bicubic", antialias=True, align_corners=False)[0]
        return _levels(scaled)

    def _decodes(self, folder: Folder, i: int) -> bool:
        """Is picture i of the folder good for something? If not, that is said once."""
        path = folder.paths[i]
        number = folder.numbers[path]
        if folder.faulty[number]:
            return False
        try:
            self.shelf.get(path, partial(self._fit, path))
        except (ImageError, NotFoundError) as exc:
            if not folder.faulty[number]:
                folder.faulty[number] = True
                log.warning("skipped %s: %s; the next one takes its place", path, _without(path, exc))
            return False
        return True

    def _whole(self, folder: Folder, i: int) -> int:
        """i, or the number of the next picture of the folder that can be decoded, and its partner with it."""
        pair = [folder] if folder.partner is None else [folder, folder.partner]
        for place in (*range(i, len(folder)), *range(i)):
            if all(self._decodes(one, place) for one in pair):
                return place
        raise UsageError(f"no picture of {folder.path} can be decoded", "give a folder of portraits")

    def _choose(self, folders: list[Folder], index: int, salt: int) -> tuple[int, int]:
        turn, which = divmod(index, len(folders))
        epoch, place = divmod(turn, len(folders[which]))
        rng = torch.Generator().manual_seed(mixed(self.seed, epoch, which, salt))
        return which, self._whole(folders[which], int(torch.randperm(len(folders[which]), generator=rng)[place]))

    def preview(self, count: int) -> dict[str, Tensor]:
        """A batch of ``count`` samples, the same ones at every call, with no augmentation but the crop."""
        plain = copy.copy(self)
        plain.data = self.data.model_copy(update={"augment": self.data.augment.model_copy(update=_PLAIN)})
        samples = [plain[i] for i in range(count)]
        return {name: torch.stack([s[name] for s in samples]) for name in samples[0]}


_PLAIN = {"flip": False, "rotate": 0.0, "colour": 0.0, "light": 0.0, "sitters": 0.0, "background": 0.0}


class Portraits(Pictures):
    """Sample ``index``: ``source`` and ``target`` (3,H,W) in [-1,1], ``hand``, ``seed``, and ``sitter``, the photograph that
    source is made of, in its own light and colours.

    Several folders take turns, whatever their sizes: one of 50 and one of 5 000 photographs give half of the steps each.
    Each passes through all its pictures in random order before it begins again. With several folders of drawings
    ``hand`` is the number of the folder. With ``pairs`` the i-th folders belong together, and in them pictures of one
    name, by their paths in the folder and without suffix.
    """

    def __init__(
        self,
        photos: Sequence[Path],
        drawings: Sequence[tuple[str, Path]],
        data: Data,
        seed: int,
        console: Console | None = None,
    ) -> None:
        super().__init__(data, seed, console)
        self.photos = [self._read(path.name, path) for path in photos]
        self.drawings = [self._read(name, path, results=True) for name, path in drawings]
        if data.pairs:
            self._pair()
        self.held_out = hold_out(self.photos, self.drawings, data.pairs, data.held_out)
        if data.backdrop == "paper":
            self.papers = [paper_of([*self.some(folder, LOOKED_AT)]) for folder in self.drawings]
            if self.data.backdrop != "keep":
                self.data = self.data.model_copy(update={"backdrop": self.paper})

    @property
    def epoch(self) -> int:
        """Samples in which every photograph or every drawing, whichever are more, has been seen once."""
        return max(len(side) * max(map(len, side)) for side in (self.photos, self.drawings))

    def _pair(self) -> None:
        if len(self.photos) != len(self.drawings):
            raise UsageError(
                f"{len(self.photos)} folders of photographs and {len(self.drawings)} of drawings cannot be paired",
                "with --pairs give as many --photos as --drawings, in the same order",
            )
        for photos, drawings in zip(self.photos, self.drawings):
            left, right = (by_name(side.path, side.paths) for side in (photos, drawings))
            for name in sorted(left.keys() ^ right.keys()):
                log.warning("skipped %s: no partner in %s or %s", name, photos.name, drawings.name)
            names = [name for name in left if name in right]
            if not names:
                raise UsageError(
                    f"no file name occurs both in {photos.name} and {drawings.name}",
                    "name both pictures of a sitter alike, and the folders in which they lie",
                )
            photos.paths, drawings.paths = [left[name] for name in names], [right[name] for name in names]
            photos.partner = drawings

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = torch.Generator().manual_seed(mixed(self.seed, index))
        augment, size = self.data.augment, self.data.size
        which, i = self._choose(self.photos, index, salt=1)
        hand, j = (which, i) if self.data.pairs else self._choose(self.drawings, index, salt=2)
        sitter, photo = self._changed(self.photos[which], i, rng)
        drawing = self._picture(self.drawings[hand], j)
        if self.data.pairs:
            photo, sitter, drawing = frame([photo, sitter, drawing], size, augment, rng)
        else:
            photo, sitter = frame([photo, sitter], size, augment, rng)
            (drawing,) = frame([drawing], size, augment, rng)
        if augment.colour:
            photo = recolour(photo, augment.colour, rng)
        seed = torch.tensor(mixed(self.seed + 1, index))
        return {"source": photo, "sitter": sitter, "target": drawing, "hand": torch.tensor(hand), "seed": seed}

    def _changed(self, folder: Folder, i: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Photograph i of the folder before another backdrop, as far as the recipe wants one; and in other light and with other skin
        and eyes as well."""
        augment, photo = self.data.augment, self._photo(folder, i)
        if augment.background and torch.rand((), generator=rng) < augment.background:
            mask = self.shelf.get(("behind", folder.paths[i]), lambda: _levels(2 * self.behind(photo) - 1))
            photo = new_backdrop(photo, mask.float() / 255, rng)
        sitter = photo
        if augment.sitters:
            skin, eyes = self._skin_and_eyes(folder, i)
            photo = other_sitter(photo, skin, eyes, augment.sitters, rng)
        if augment.light:
            photo = relight(photo, augment.light, rng)
        return sitter, photo

    @staticmethod
    def behind(photo: Tensor) -> Tensor:
        """(1,H,W) from 0 to 1: what of a photograph (3,H,W) in [-1,1] another backdrop takes the place of, here a plain one."""
        return backdrop(photo)


def drawn_in_colours(folders: Sequence[Path]) -> bool:
    """Are most of the drawings in each of the folders in colours? Looks at some; what cannot be read says nothing."""

    def coloured(folder: Path) -> bool:
        files, seen = find_pictures([folder]), []
        for file in files[:: max(1, len(files) // LOOKED_AT)][:LOOKED_AT]:
            with suppress(ImageError):
                drawing = F.interpolate(read(file, SMALL).on_white().rgb[None], SMALL, mode="area")
                seen.append(bool(in_colours(drawing)))
        return sum(seen) > len(seen) / 2

    with suppress(NotFoundError):
        return bool(folders) and all(map(coloured, folders))
    return False


def _with_dlib(data: Data) -> Data:
    """``data``, less what cannot be done without dlib."""
    try:
        dlib_module()
    except UsageError as error:
        if data.backdrop != "keep":
            log.warning("what is behind people stays in the photographs: %s; %s", error.message, error.hint)
        if data.augment.sitters:
            log.warning("people in photographs keep their skin and eyes: %s; %s", error.message, error.hint)
        augment = data.augment.model_copy(update={"sitters": 0.0})
        return data.model_copy(update={"backdrop": "keep", "augment": augment})
    return data


def _skin_and_eyes(photo: Tensor) -> Tensor:
    """(2,H,W) from 0 to 1: where skin and lips, and where the eyes of the people in a portrait (3,H,W) are."""
    masks = torch.zeros(2, *photo.shape[1:])
    for face in people(photo):
        seen = parsed(photo, face)
        for mask, parts in zip(masks, (("skin", "nose", "mouth", "ears", "neck"), ("eyes",))):
            torch.maximum(mask, seen.over(photo, seen.crop.matrix, *parts, outside=0.0), out=mask)
    return masks


def _levels(picture: Tensor) -> Tensor:
    return ((picture.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def _look(index: Index, results: bool, file: Path) -> Known | str:
    """What is known of the file, or why it cannot be used."""
    try:
        known = index.look(file)
    except (ImageError, NotFoundError) as exc:  # not found: a link that leads nowhere
        return _without(file, exc)
    if min(known.width, known.height) < SMALLEST:
        return f"{known.width}×{known.height} is smaller than {SMALLEST} pixels"
    if known.result and not results:
        return "it is no photograph, the zoo made it"
    return known


def _without(file: Path, error: ZooError) -> str:
    """What is wrong with the file, which has been named."""
    return error.message.removeprefix(f"{file} ")


class Share:
    """The indices of one process: from ``start`` on, in every global batch its own contiguous part."""

    def __init__(self, start: int, stop: int, batch: int, rank: int, processes: int) -> None:
        self.range = range(start, stop)
        self.batch, self.rank, self.processes = batch, rank, processes

    def __iter__(self) -> Iterator[list[int]]:
        for number in self.range:
            first = (number * self.processes + self.rank) * self.batch
            yield list(range(first, first + self.batch))

    def __len__(self) -> int:
        return len(self.range)


def mixed(*numbers: int) -> int:
    """One 63-bit seed of several numbers (splitmix64 over them), so that neighbours have nothing in common."""
    state = 0
    for number in numbers:
        state = (state + number + 0x9E3779B97F4A7C15) % 2**64
        state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        state = (state ^ (state >> 27)) * 0x94D049BB133111EB % 2**64
        state ^= state >> 31
    return state >> 1
