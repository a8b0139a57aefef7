"""``zoo translate``"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from zoo.bulk.model import Model
from zoo.bulk.plan import plan
from zoo.bulk.run import became, todo
from zoo.bulk.work import How, translated
from zoo.catalogue.registry import registry
from zoo.cli.list import JsonOption
from zoo.cli.output import as_json, notes, quiet_libraries
from zoo.cli.streams import STREAM, piped
from zoo.cli.translated import Bars, Report
from zoo.control import Control, Flag, Numbers, parse_controls
from zoo.errors import UsageError, close_match
from zoo.helpers.inputs import Inputs
from zoo.loading import is_recipe, load, need_plugin, weights_file
from zoo.recipe import load_recipe, network_of
from zoo.translator import Translator
from zoo.weights.file import read_header
from zoo.weights.hub_name import is_hub
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
    "--workers",
    "--cluster",
    "--json",
)

_ADDRESS = re.compile(r"auto|local|ray://.+|[\w.-]+:\d+|\[[0-9a-f:]+\]:\d+")  # of a cluster


class OnExists(StrEnum):
    error = "error"
    skip = "skip"
    overwrite = "overwrite"


class Format(StrEnum):
    png = "png"
    jpg = "jpg"
    webp = "webp"


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
    workers: Annotated[int | None, typer.Option(help="So many processes; of a cluster, so many actors.")] = None,
    cluster: Annotated[
        str | None, typer.Option(metavar="[ADDRESS]", help="By the machines of a Ray cluster; or by a Ray of its own.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Translate pictures, folders of pictures with those below them, whose tree is kept, and videos that are named.

    Controls of the model are options too: --hand line, see zoo info MODEL. An input is never overwritten, and
    results are whole or not there. Ctrl-C while a picture is optimised keeps the best so far. Exit code 6: some
    pictures failed, the others are done; or a video is damaged.
    """
    if name.startswith("-"):
        raise UsageError(f"{name} stands where the model's name should be", "zoo translate MODEL IN… -o OUT")
    name, weights = pinned(name), weights and pinned(weights)
    inputs, values = split(words, controls_of(name))
    read, kind = Inputs(name, weights, *values.values()), format.value if format else None
    options: dict[str, Any] = {"size": size, "batch": batch, "tile": tile, **values}

    def loaded() -> Translator:
        precision = "bf16" if bf16 else None
        return load(name, weights=weights or "default", device=device, dtype=precision, compile=compile)

    if STREAM in (*inputs, out):
        alone = {"--previews": previews, "--workers": workers, "--cluster": cluster}
        if given := [option for option, value in alone.items() if value is not None]:
            raise UsageError(f"{given[0]} is not for {STREAM}", "give -o and the picture a name")
        options["model"] = name
        metadata = not no_metadata
        return piped(inputs, out, kind, on_exists.value, read, loaded, options, metadata=metadata, json=json)
    jobs = plan(inputs, out, kind, read)
    jobs.refuse(on_exists.value, out)
    if previews and previews.is_dir() and any(previews.iterdir()):
        if on_exists is not OnExists.overwrite:
            raise UsageError(f"{previews} is not empty", "give --previews a new folder, or --on-exists overwrite")
        Inputs(name, weights, *values.values(), [job.source for job in jobs.jobs()]).keep_out(previews)
    if jobs.left.count:
        notes([f"{jobs.left.count} pictures in {out}, where the results go, are left out, such as {jobs.first_left}"])
    kept = str(previews) if previews else None
    how = How(on_exists.value, damaged, kind, kept, options, metadata=not no_metadata, several=len(jobs) > 1)
    model = {"device": device, "bf16": bf16, "compile": compile}
    with Bars(jobs.pictures - (jobs.pictures_there if on_exists is OnExists.skip else 0)) as bars:
        if cluster is None and workers is None:
            made = translated(loaded(), todo(jobs, how), how, bars)
        else:
            told = bars.processes
            made = became(Model.of(name, weights or "default", **model), how, jobs, cluster, workers, told)
        with quiet_libraries():
            report = Report(jobs, how, bars).of(made)
    if json:
        as_json(report.as_json(name))
    report.leave(name if is_hub(name) else "")


class _Command(TyperCommand):
    """``--cluster`` may stand without an address."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        for place, (word, after) in enumerate(zip(args, [*args[1:], ""])):
            if word == "--cluster" and not _ADDRESS.fullmatch(after):
                args = [*args[:place], "--cluster=auto", *args[place + 1 :]]
        return super().parse_args(ctx, args)


command.settings = {  # type: ignore[attr-defined]
    "cls": _Command,
    "context_settings": {"ignore_unknown_options": True},  # controls
}


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
        taken, many = control.text(value), getattr(control, "many", False)
        if control.name in values and not many:
            hint = f"several numbers go into one: {option} 1,0" if isinstance(control, Numbers) else "give it once"
            raise UsageError(f"{option} is given twice", hint)
        values[control.name] = [*values.get(control.name, ()), taken] if many else taken
    if not inputs:
        raise UsageError("there is no picture to translate", "zoo translate MODEL IN… -o OUT")
    return inputs, values
