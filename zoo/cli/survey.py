"""``zoo survey``: a page on which people rate what models drew, and the table of their answers."""

from __future__ import annotations

import random
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zoo.cli.list import JsonOption
from zoo.cli.output import as_json, megabytes, notes, progress, table, unpaired
from zoo.errors import PartialFailure, UsageError
from zoo.helpers.inputs import Inputs
from zoo.survey import LEVEL

if TYPE_CHECKING:
    from zoo.evaluate.compare import Sitter
    from zoo.survey.answers import Table
    from zoo.survey.statistics import Estimate

command = typer.Typer(add_completion=False, rich_markup_mode=None)

NAMES_HELP = "Models, weights files (.safetensors), hub:USER/REPO."
QUESTIONS_HELP = "Some of similarity,completeness, or a YAML file; else similarity, without drawings completeness."


@command.callback(epilog="Example: zoo survey make cyclegan cycleda --photos photos --drawings drawings")
def _survey() -> None:
    """People rate what models drew: make the page, then print the table of the answers."""


@command.command(short_help="Make the page for the raters, and its key.")
def make(
    photos: Annotated[Path, typer.Option(metavar="DIR", help="The photographs to translate.")],
    names: Annotated[list[str] | None, typer.Argument(metavar="MODEL", help=NAMES_HELP)] = None,
    drawings: Annotated[Path | None, typer.Option(metavar="DIR", help="The artist's, under the same names.")] = None,
    results: Annotated[list[str] | None, typer.Option(metavar="NAME=DIR", help="Results made already.")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The page.")] = Path("survey.html"),
    questions: Annotated[str, typer.Option(help=QUESTIONS_HELP)] = "",
    count: Annotated[int | None, typer.Option(min=1, help="Take so many photographs, chosen at random.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the choice of --count.")] = 0,
    size: Annotated[int, typer.Option(min=32, help="Long side in pixels to scale larger pictures down to.")] = 800,
    title: Annotated[str | None, typer.Option(help="The page's title.")] = None,
    consent: Annotated[str | None, typer.Option(help="The line that raters agree to.")] = None,
    no_consent: Annotated[bool, typer.Option("--no-consent", help="Leave that line out.")] = False,
    control: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="As zoo info shows them.")] = None,
    device: Annotated[str | None, typer.Option(help="cuda, cuda:1, mps or cpu; else the best there is.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a page and its key.")] = False,
) -> None:
    """Make the rating page: one HTML file for the raters, and its key, which you keep.

    Photograph, the artist's portrait and the models' results, which are in random order and carry no names. The key
    beside the page says which is whose. Exit code 6: some photographs were left out.

    Example: zoo survey make cyclegan cyclese cycleda --photos test/photo --drawings test/drawing -o survey.html
    """
    from zoo.evaluate.models import load_models, made_already, unite
    from zoo.machine.device import pick_device
    from zoo.survey.page import check_free, gather, write_page
    from zoo.survey.questions import choose

    check_free(out, Inputs(names, photos, drawings, results, questions, control), overwrite)
    asked = choose(questions, drawings is not None)
    sitters = _sitters(photos, drawings)
    made = [made_already(text, sitters) for text in results or ()]
    models = unite([*load_models(names or (), control or (), pick_device(device)), *made])
    if len(models) < 2:
        raise UsageError("a page compares at least two models", "name more, or give results with --results NAME=DIR")
    if count is not None:
        if count > len(sitters):
            raise UsageError(
                f"there are {len(sitters)} photographs for the page, not {count}", "give a smaller --count"
            )
        sitters = random.Random(seed).sample(sitters, count)
    with progress("translating", len(sitters)) as advance:
        gathered = gather(models, sitters, size, advance)
    key = write_page(out, gathered, asked, title, "" if no_consent else consent, overwrite)
    typer.echo(str(out))
    notes(
        [
            f"{len(gathered.items)} photographs, {len(models)} models, {megabytes(out.stat().st_size)}",
            f"keep {key} to yourself: it says which result is whose, and zoo survey table needs it",
            *(f"left out: {fault}" for fault in gathered.faults),
        ]
    )
    if gathered.faults:
        raise PartialFailure(f"{len(gathered.faults)} photographs were left out", "the page has the others")


def _sitters(photos: Path, drawings: Path | None) -> list[Sitter]:
    """Those that can be on the page; of the others stderr tells."""
    from zoo.evaluate.compare import Sitter, by_name, match

    if drawings is None:
        return [Sitter(name, path, None) for name, path in by_name(photos).items()]
    found = match(photos, drawings)
    unpaired(found)
    pairs = [sitter for sitter in found if sitter.photo and sitter.drawing]
    if not pairs:
        raise UsageError("no drawing has the name of a photograph", "name both alike, e.g. 001.jpg")
    return pairs


@command.command("table", short_help="Print means and confidence intervals of the answers.")
def table_command(
    answers: Annotated[list[Path], typer.Argument(metavar="FILE", help="The raters' .csv files, or their folder.")],
    key: Annotated[Path, typer.Option(metavar="FILE", help="The page's .key.json.")],
    json: JsonOption = False,
) -> None:
    """Print the means of the ratings and of the models' differences with 95 % confidence intervals.

    The intervals hold for other raters and other photographs of the same kind. Exit code 6: lines were left out.

    Example: zoo survey table answers/*.csv --key survey.key.json
    """
    from zoo.survey.answers import find_answers, read_answers, tabulate
    from zoo.survey.key import read_key

    page = read_key(key)
    read = read_answers(find_answers(answers), page)
    made = tabulate(read, page)
    if json:
        as_json({"page": page.page, "level": LEVEL, **asdict(made)})
    else:
        _print(made)
    notes(read.notes)
    notes(f"left out: {fault}" for fault in read.faults)
    if len(made.raters) == 1:
        notes(["one rater: the intervals tell how photographs differ, not how people do"])
    if read.faults:
        raise PartialFailure(f"{len(read.faults)} lines were left out", "the numbers are those of the others")


def _print(made: Table) -> None:
    heads = ("QUESTION", "MODEL", "MEAN", "95 % INTERVAL", "RATERS", "PHOTOS", "RATINGS")
    table(heads, [(m.question, m.model, *_cells(m.estimate)) for m in made.means])
    typer.echo()
    heads = ("QUESTION", "DIFFERENCE", "MEAN", "95 % INTERVAL", "RATERS", "PHOTOS", "PAIRS")
    table(heads, [(d.question, f"{d.model} - {d.other}", *_cells(d.estimate)) for d in made.differences])
    typer.echo()
    alphas = made.agreement.items()
    table(("QUESTION", "AGREEMENT (Krippendorff's alpha)"), [(q, "-" if a is None else f"{a:.2f}") for q, a in alphas])
    typer.echo()
    rows = [(r.name, str(r.ratings), f"{r.seconds:.1f}", f"{r.mean:.2f}") for r in made.raters]
    table(("RATER", "RATINGS", "SECONDS (median)", "MEAN"), rows)


def _cells(of: Estimate) -> tuple[str, ...]:
    interval = f"{of.interval[0]:.2f} … {of.interval[1]:.2f}" if of.interval else "-"
    return f"{of.mean:.2f}", interval, str(of.raters), str(of.items), str(of.ratings)
