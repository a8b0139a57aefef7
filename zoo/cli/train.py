"""``zoo train``: learn an illustrator's hand from pictures."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path
from typing import Annotated, Any

import typer

from zoo.errors import UsageError


def command(
    recipe: Annotated[str, typer.Argument(help="A recipe's name (zoo parts recipe) or a YAML file.")],
    photos: Annotated[list[Path], typer.Option(help="Folder of photographs; again for more, which take turns.")],
    drawings: Annotated[
        list[str] | None, typer.Option(help="Folder of drawings, or NAME=DIR for each of several hands.")
    ] = None,
    test_photos: Annotated[
        list[Path] | None, typer.Option(help="Measured on these; else some sitters are held out by themselves.")
    ] = None,
    test_drawings: Annotated[list[Path] | None, typer.Option(help="The artist's drawings of them, same names.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run; default runs/RECIPE.")] = None,
    pairs: Annotated[
        bool, typer.Option(help="Pictures of one sitter have the same path and name in both folders.")
    ] = False,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a value of the recipe.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Length of the run in steps …")] = None,
    epochs: Annotated[float | None, typer.Option(help="… or in passes over the larger side …")] = None,
    minutes: Annotated[float | None, typer.Option(help="… or in minutes, made steps once the pace is known.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed and pictures give the same run.")] = 0,
    bf16: Annotated[bool, typer.Option(help="Mixed precision.")] = False,
    compile: Annotated[
        bool | None,
        typer.Option(
            "--compile/--no-compile",
            help="Generate code for the networks: minutes, then faster steps. Unless given, where that pays.",
        ),
    ] = None,
    accumulate: Annotated[int, typer.Option(help="Batches whose gradients are added before an update.")] = 1,
    workers: Annotated[int, typer.Option(help="Processes that prepare pictures.")] = 0,
    device: Annotated[str | None, typer.Option(help="cpu; default: what Accelerate chooses.")] = None,
    start_from: Annotated[
        str | None, typer.Option(help="Model, weights file, hub:USER/REPO or run folder to begin with.")
    ] = None,
    save_every: Annotated[int, typer.Option(help="Steps between checkpoints.")] = 500,
    preview_every: Annotated[int, typer.Option(help="Steps between preview grids.")] = 500,
    measure_every: Annotated[
        int | None, typer.Option(help="Steps between looks at held-out sitters; default a twelfth, at most 500.")
    ] = None,
    log_every: Annotated[int, typer.Option(help="Steps between lines of log.jsonl.")] = 10,
) -> None:
    """Train RECIPE on your pictures. The same command again goes on where the run stopped.

    Example: zoo train cycleda-small --photos photos --drawings drawings --minutes 60
    """
    try:
        import accelerate  # noqa: F401
    except ImportError as exc:
        raise UsageError("training needs Accelerate, which is not installed", "pip install 'zoo-core[train]'") from exc

    from zoo.helpers.console import Console
    from zoo.helpers.terminal import OneLine
    from zoo.train.engine import Options
    from zoo.train.run import train

    first = os.environ.get("RANK", "0") == "0"  # of the processes of accelerate launch only one speaks
    console = Console(stderr=True, quiet=not first)
    threading.excepthook = _of_a_thread
    handler = logging.StreamHandler()
    handler.setFormatter(OneLine("zoo: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("zoo").setLevel(logging.INFO if first else logging.ERROR)
    folder = out or Path("runs") / Path(recipe).stem
    options = Options(
        out=folder, seed=seed, steps=steps, epochs=epochs, minutes=minutes, bf16=_launched_in_bf16() or bf16, compile=compile,
        accumulate=accumulate, workers=workers, device=device, save_every=save_every, preview_every=preview_every,
        measure_every=measure_every, log_every=log_every,
        start_from=None if start_from is None else _weights(start_from),
    )  # fmt: skip
    stopped = train(
        recipe,
        photos,
        [_hand(text) for text in drawings or ()],
        options,
        overrides=set_ or (),
        pairs=pairs,
        test=(test_photos or (), test_drawings or ()),
        console=console,
    )
    if stopped:
        console.print(f"stopped by {stopped}; {folder} is saved, the same command goes on", **_AS_IT_IS)
        raise typer.Exit(130 if stopped == "SIGINT" else 143)
    console.print(f"done: {folder / 'index.html'} shows how it went; next: zoo pack {folder}", **_AS_IT_IS)


_AS_IT_IS: Any = {"highlight": False, "markup": False, "soft_wrap": True}  # a path may be long, and have brackets


def _launched_in_bf16() -> bool:
    """``accelerate launch --mixed_precision bf16``, or its config, means ``--bf16``. UsageError for another precision."""
    asked = os.environ.get("ACCELERATE_MIXED_PRECISION", "no").lower()
    if asked not in ("no", "bf16"):
        raise UsageError(
            f"accelerate launch --mixed_precision {asked} is not for zoo train", "give bf16, or no for full precision"
        )
    return asked == "bf16"


def _of_a_thread(args: threading.ExceptHookArgs) -> None:
    """A disk that is full shows in the thread that writes for TensorBoard; it is raised again in the main one."""
    if not isinstance(args.exc_value, OSError):
        threading.__excepthook__(args)


def _hand(text: str) -> tuple[str, Path]:
    """``NAME=DIR`` or ``DIR``; the folder's own name is a hand's name, too."""
    name, equals, folder = text.partition("=")
    if equals and not Path(text).is_dir():
        return name, Path(folder)
    path = Path(text)
    return path.resolve().name, path


def _weights(name: str) -> Path:
    """A path as it is, a model's name or one of the Hub as its weights on disk."""
    if Path(name).exists():
        return Path(name)
    from zoo.weights.sources import download

    return download(name)
