"""``zoo translate``"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import typer
from torch import Tensor

from zoo.catalogue.registry import registry
from zoo.cli.bars import Bars
from zoo.cli.list import JsonOption
from zoo.cli.output import as_json, notes, quiet_libraries
from zoo.cli.streams import STREAM, piped
from zoo.control import Control, Flag, parse_controls
from zoo.errors import ExistsError, NotFoundError, PartialFailure, UsageError, ZooError, close_match, one_line
from zoo.helpers.inputs import Inputs
from zoo.loading import is_recipe, load, need_plugin, weights_file
from zoo.pictures import video
from zoo.pictures.image import FORMATS, existing, find_pictures, to_pil, writable, write
from zoo.recipe import load_recipe, network_of
from zoo.translator import Translator
from zoo.weights.file import read_header
from zoo.weights.sources import pinned

OPTIONS = (
    "--out",
    "--format",
    "--on-exists",
    "--damaged",
    "--size",
    "--batch",
    "--tile",
    "--device",
    "--bf16",
    "--compile",
    "--weights",
    "--previews",
    "--no-metadata",
    "--json",
)

PREVIEWS = 10
"""How many pictures of the way --previews keeps."""


class OnExists(StrEnum):
    error = "error"
    skip = "skip"
    overwrite = "overwrite"


class Format(StrEnum):
    png = "png"
    jpg = "jpg"
    webp = "webp"


@dataclass(frozen=True)
class Job:
    """One picture or video and where its translation goes."""

    source: Path
    target: Path


@dataclass
class Outcome:
    """What became of jobs, those apart that are simply done."""

    failed: dict[Job, ZooError] = field(default_factory=dict)
    skipped: list[Job] = field(default_factory=list)  # somebody made the result meanwhile
    damaged: dict[Job, str] = field(default_factory=dict)  # videos that are done as far as they can be read


def command(
    name: Annotated[
        str, typer.Argument(metavar="MODEL", help="A model (zoo list), a .safetensors file, hub:USER/REPO.")
    ],
    words: Annotated[
        list[str], typer.Argument(metavar="IN… [CONTROLS]", help="Pictures, folders of them, videos; -: stdin.")
    ],
    out: Annotated[
        str, typer.Option("--out", "-o", help="A file for one input, else a folder, as FOLDER/ is; -: stdout.")
    ],
    format: Annotated[Format | None, typer.Option(help="Of pictures; else that of each.")] = None,
    on_exists: Annotated[OnExists, typer.Option(help="What to do if a result is there already.")] = OnExists.error,
    damaged: Annotated[bool, typer.Option("--damaged", help="Damaged videos are fine as far as they go.")] = False,
    size: Annotated[int | None, typer.Option(help="Long side that the network sees; 0: as the picture is.")] = None,
    batch: Annotated[int | None, typer.Option(help="How many pictures of equal size at once.")] = None,
    tile: Annotated[int | None, typer.Option(help="Side of the tiles that larger pictures are drawn in.")] = None,
    device: Annotated[str | None, typer.Option(help="cuda, cuda:1, mps or cpu; else the best there is.")] = None,
    bf16: Annotated[bool, typer.Option("--bf16", help="Faster, slightly less exact arithmetic.")] = False,
    compile: Annotated[
        bool, typer.Option("--compile", help="For CUDA: slow at the first picture, then faster.")
    ] = False,
    weights: Annotated[
        str | None, typer.Option(help="Other weights of the same recipe: a file, or the model whose they are.")
    ] = None,
    previews: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep ten pictures of the way, where one is optimised.")
    ] = None,
    no_metadata: Annotated[
        bool, typer.Option("--no-metadata", help="Leave out EXIF with its place, profile, resolution and comment.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Translate pictures, folders of pictures with those below them, whose tree is kept, and videos that are named.

    Controls of the model are options too: --hand second-hand, see zoo info MODEL. An input is never overwritten, and
    results are whole or not there. Ctrl-C while a picture is optimised keeps the best so far. Exit code 6: some
    pictures failed, the others are done; or a video is damaged.
    """
    if name.startswith("-"):
        raise UsageError(f"{name} stands where the model's name should be", "zoo translate MODEL IN… -o OUT")
    name, weights = pinned(name), weights and pinned(weights)
    inputs, values = split(words, controls_of(name))
    read = Inputs(name, weights, *values.values())
    options: dict[str, Any] = {"size": size, "batch": batch, "tile": tile, **values}

    def loaded() -> Translator:
        precision = "bf16" if bf16 else None
        return load(name, weights=weights or "default", device=device, dtype=precision, compile=compile)

    if STREAM in (*inputs, out):
        if previews:
            raise UsageError(f"--previews has no names for {STREAM}", "give -o and the picture a name")
        kind = format.value if format else None
        return piped(
            inputs,
            out,
            kind,
            on_exists.value,
            read,
            loaded,
            options | {"model": name},
            metadata=not no_metadata,
            json=json,
        )
    jobs, left = plan(inputs, out, format.value if format else None, read)
    there = [job for job in jobs if os.path.lexists(job.target)]
    if there and on_exists is OnExists.error:
        raise UsageError(
            f"{len(there)} of {len(jobs)} results are there already, such as {there[0].target}",
            "give another --out, or --on-exists skip or overwrite",
        )
    if there and left and on_exists is OnExists.overwrite:
        raise UsageError(
            f"{there[0].target} may be a picture of yours: {out} holds others that are no results, such as {left[0]}",
            "give another --out",
        )
    if previews and previews.is_dir() and any(previews.iterdir()):
        if on_exists is not OnExists.overwrite:
            raise UsageError(f"{previews} is not empty", "give --previews a new folder, or --on-exists overwrite")
        Inputs(name, weights, *values.values(), [job.source for job in jobs]).keep_out(previews)
    if left:
        notes([f"{len(left)} pictures in {out}, where the results go, are left out, such as {left[0]}"])
    skipped = there if on_exists is OnExists.skip else []
    over = {job.target for job in skipped}
    todo = [job for job in jobs if job.target not in over]
    translator = loaded()
    films = [job for job in todo if video.moves(job.source)]
    stills = [job for job in todo if not video.moves(job.source)]
    todo = stills + films
    replace = on_exists is OnExists.overwrite
    with quiet_libraries(), _Bars(todo, previews) as bars:
        options["progress"] = bars
        results = translator.stream((job.source for job in stills), **options)
        made = chain(results, _rewritten(translator, films, {**options, "replace": replace, "damaged": damaged}))
        became = _write(todo, made, bars, on_exists, metadata=not no_metadata)

    failed, skipped = became.failed, [*skipped, *became.skipped]
    others = {*failed, *became.skipped}
    done = [job for job in todo if job not in others]
    if json:
        as_json({
            "model": name,
            "translated": [
                {
                    "input": str(job.source),
                    "output": str(job.target),
                    **({"damaged": became.damaged[job]} if job in became.damaged else {}),
                }
                for job in done
            ],
            "skipped": [{"input": str(job.source), "output": str(job.target)} for job in skipped],
            "failed": [{"input": str(job.source), "error": str(error)} for job, error in failed.items()],
            **({"left_out": [*map(str, left)]} if left else {}),
        })  # fmt: skip
    if failed and len(jobs) == 1:
        raise next(iter(failed.values()))
    counts = f"{len(done)} translated, {len(skipped)} skipped, {len(failed)} failed"
    if failed:
        raise PartialFailure(counts, "the pictures that failed are named above")
    if became.damaged:
        raise PartialFailure(f"{counts}; {len(became.damaged)} videos are damaged", "--damaged says that this is fine")
    typer.echo(f"{counts}, by {translator.origin}" if translator.origin else counts, err=True)


command.settings = {"context_settings": {"ignore_unknown_options": True}}  # type: ignore[attr-defined]  # controls


def controls_of(name: str) -> list[Control]:
    """The controls of a model or weights file, known before the model is loaded."""
    if is_recipe(name):
        return parse_controls(load_recipe(name).controls)
    if path := weights_file(name):
        return parse_controls(read_header(path).network.get("controls", ()))
    card = registry().card(name)[0]
    need_plugin(card.plugin, card.name)
    return parse_controls(network_of(card)["controls"])


def split(words: Sequence[str], controls: Sequence[Control]) -> tuple[list[str], dict[str, Any]]:
    """Inputs, and the values of controls: ``--mix 0.5``, ``--mix=0.5``, and for a flag ``--flag`` or ``--no-flag``.

    What takes several pictures is given several times."""
    known = {control.option: control for control in controls}
    inputs: list[str] = []
    values: dict[str, Any] = {}
    rest = iter(words)
    for word in rest:
        option, equals, text = word.partition("=")
        if not option.startswith("--"):
            inputs.append(word)
            continue
        control = known.get(option) or known.get("--" + option.removeprefix("--no-"))
        if control is None or (option not in known and not isinstance(control, Flag)):
            raise UsageError(f"there is no option {option}", close_match(option, [*known, *OPTIONS]))
        if isinstance(control, Flag) and not equals:
            values[control.name] = option in known
            continue
        value = text if equals else next(rest, None)
        if value is None:
            raise UsageError(f"{option} has no value", f"it takes {control.takes}")
        taken = control.text(value)
        values[control.name] = [*values.get(control.name, ()), taken] if getattr(control, "many", False) else taken
    if not inputs:
        raise UsageError("there is no picture to translate", "zoo translate MODEL IN… -o OUT")
    return inputs, values


def plan(inputs: Sequence[str], to: str | Path, format: str | None, read: Inputs) -> tuple[list[Job], list[Path]]:
    """What becomes what, and the pictures that are left out. Every conflict is found before any work: UsageError.

    ``read`` are the files that the call reads beside the pictures. A picture below an input folder is left out where
    it lies in the folder ``to``: it may be an earlier result. The results of this call are not counted among those.
    """
    left: list[Path] = []
    paths, out = [existing(word) for word in inputs], Path(to)
    folder = str(to).endswith(("/", os.sep)) or out.is_dir()
    if len(paths) == 1 and not paths[0].is_dir() and out.suffix and not folder:
        (video.writable if video.moves(paths[0]) else writable)(out)
        if format and FORMATS[f".{format}"] != FORMATS.get(out.suffix.lower()):
            raise UsageError(f"--format {format} is not what {out} says", "leave one of them out")
        jobs = [Job(paths[0], out)]
    else:
        jobs = [job for path in paths for job in _jobs(path, out, format, left)]
    jobs = list({(os.path.realpath(job.source), job.target): job for job in jobs}.values())  # one given twice is one
    if not jobs:
        raise NotFoundError(f"there are no pictures in {', '.join(inputs)}", "give pictures, or folders that hold some")
    _refuse_conflicts(jobs, read)
    results = {os.path.realpath(job.target) for job in jobs} if left else ()
    return jobs, [path for path in left if os.path.realpath(path) not in results]


def _jobs(path: Path, out: Path, format: str | None, left: list[Path]) -> Iterable[Job]:
    """Of a picture, or of those in a folder; those that lie in ``out``, a folder below it, are ``left``."""
    results = out.resolve()
    inside = path.is_dir() and path.resolve() in results.parents
    taken: set[Path] = set()
    for source in find_pictures([path]):
        if inside and results in (place := Path(os.path.realpath(source.parent)), *place.parents):
            left.append(source)
            continue
        below = source.relative_to(path) if path.is_dir() else Path(source.name)
        suffix = _suffix(source, format)
        target = out / below.with_suffix(suffix)
        if target in taken and not format and suffix != source.suffix:
            target = out / f"{below}{suffix}"  # a.tga beside a.heic, which has become a.png
        taken.add(target)
        yield Job(source, target)


def _suffix(source: Path, format: str | None) -> str:
    """Of a result that is not named."""
    if video.moves(source):
        return source.suffix if source.suffix.lower() in video.FORMATS else ".mp4"
    return f".{format}" if format else source.suffix if source.suffix.lower() in FORMATS else ".png"


def _refuse_conflicts(jobs: Sequence[Job], read: Inputs) -> None:
    sources = Inputs([job.source for job in jobs])
    targets: dict[Path, Path] = {}
    for job in jobs:
        if job.target in targets:
            raise UsageError(
                f"{targets[job.target]} and {job.source} would both become {job.target}",
                "translate them into two folders",
            )
        targets[job.target] = job.source
        sources.spare(job.target)
        read.spare(job.target)
        if job.target.is_dir():
            raise UsageError(f"{job.target} is a folder", "give another --out")
    for place in {job.target.parent for job in jobs}:
        above = next(folder for folder in (place.absolute() / "x").parents if os.path.lexists(folder))
        if not above.is_dir():
            raise UsageError(f"{above} is not a folder", "give another --out")


class _Bars(Bars):
    """One for the pictures, and one for what the present one tells; pictures of its way go into ``previews``."""

    def __init__(self, jobs: Sequence[Job], previews: Path | None) -> None:
        super().__init__()
        self._jobs, self._previews, self._done = jobs, previews, 0
        self._pictures = self.add_task("translating", total=len(jobs))

    def __call__(self, what: str, done: int, total: int, image: Tensor | None = None) -> None:
        super().__call__(what, done, total, image)
        if self._previews and image is not None and done and done * PREVIEWS // total > (done - 1) * PREVIEWS // total:
            number = f"{self._done + 1}-" if len(self._jobs) > 1 else ""
            name = f"{number}{self._jobs[self._done].target.stem}-{done:0{len(str(total))}}.png"
            write(to_pil(image[0]), self._previews / name)

    def picture(self) -> None:
        """One more is done."""
        self.silence()
        self.advance(self._pictures)
        self._done += 1


def _write(jobs: Sequence[Job], results: Iterable[Any], bars: _Bars, on_exists: OnExists, *, metadata: bool) -> Outcome:
    """Put results on disk as they come, None for one that is there."""
    became = Outcome()

    def say(job: Job, text: str) -> None:
        told = text if str(job.source) in text else f"{job.source}: {text}"
        bars.console.print(f"zoo: {one_line(told)}", markup=False, highlight=False, soft_wrap=True)

    for job, result in zip(jobs, results):
        try:
            if isinstance(result, ZooError):
                raise result
            if result is not None:
                write(result, job.target, on_exists is OnExists.overwrite, metadata=metadata)
        except PartialFailure as error:
            became.damaged[job] = error.message
            say(job, error.message)
        except ZooError as error:
            if isinstance(error, ExistsError) and on_exists is OnExists.skip:
                became.skipped.append(job)
            else:
                became.failed[job] = error
                if len(jobs) > 1:
                    say(job, str(error))
        bars.picture()
    return became


def _rewritten(translator: Translator, jobs: Sequence[Job], options: Mapping[str, Any]) -> Iterator[ZooError | None]:
    """Videos, each None when it is done, or why it is not."""
    for job in jobs:
        try:
            translator.translate_video(job.source, job.target, **options)
            yield None
        except ZooError as error:
            yield error
