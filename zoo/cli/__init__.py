"""The command ``zoo``. A command's module is imported only when it runs: ``zoo --help`` answers at once."""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from zoo.errors import UsageError, ZooError, close_match, one_line
from zoo.helpers.interrupt import tidy_up
from zoo.helpers.terminal import guarded
from zoo.helpers.words import masked, shortened

COMMANDS = {
    "list": ("zoo.cli.list:command", "The models, one line each."),
    "info": ("zoo.cli.info:command", "All about one model: paper, licences, weights, metrics, controls."),
    "translate": ("zoo.cli.translate:command", "Translate pictures, folders of pictures, and videos."),
    "page": ("zoo.cli.page:command", "Translate in the browser: a web page of the models that are installed."),
    "download": ("zoo.cli.download:command", "Bring weights to this machine, or into a folder."),
    "train": ("zoo.cli.train:command", "Train a model on your own pictures, or go on with a run."),
    "pack": ("zoo.cli.pack:command", "Make a weights file and a model card of a training run."),
    "publish": ("zoo.cli.publish:command", "Upload packed weights to the Hub, and complete their card."),
    "eval": ("zoo.cli.eval:command", "Measure a model on pairs: LPIPS, SSIM, FID, KID."),
    "survey": ("zoo.cli.survey:command", "Let people rate models: make the page, print the table."),
    "export": ("zoo.cli.export:command", "Write a model as an ONNX file, for machines without the zoo."),
    "plugins": ("zoo.cli.plugins:command", "The installed plugins, and what is wrong with a broken one."),
    "doctor": ("zoo.cli.doctor:command", "All about this installation, for a bug report."),
    "new": ("zoo.cli.new:command", "Write a plugin to begin with, which passes the contract tests."),
    "parts": ("zoo.cli.parts:command", "Blocks, losses, generators … that a recipe may name."),
}


class _Commands(TyperGroup):
    """Knows every command by its line of help, and imports the one that is asked for; plugins may bring more."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*COMMANDS, *of_plugins()]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in COMMANDS:
            module, _, attribute = COMMANDS[cmd_name][0].partition(":")
            function = getattr(importlib.import_module(module), attribute)
        elif cmd_name in of_plugins():
            function = importlib.import_module("zoo.cli.of_plugin").command(cmd_name)
        else:
            raise UsageError(f"there is no command {cmd_name!r}", close_match(cmd_name, self.list_commands(ctx)))
        tidy_up()
        if isinstance(function, typer.Typer):  # a command of commands
            return typer.main.get_command(function)
        one = typer.Typer(add_completion=False, rich_markup_mode=None)
        one.command(cmd_name, **getattr(function, "settings", {}))(function)
        return typer.main.get_command(one)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])
        if brought := of_plugins():
            with formatter.section("Commands of plugins"):
                formatter.write_dl([*brought.items()])


def of_plugins() -> dict[str, str]:
    """The commands that plugins declare, and whose they are."""
    from zoo.catalogue.host import host

    return {part.name: part.owner for part in host().parts() if part.kind == "command" and part.name not in COMMANDS}


app = typer.Typer(cls=_Commands, add_completion=False, rich_markup_mode=None)


def _version(wanted: bool) -> None:
    if wanted:
        from zoo import __version__

        typer.echo(f"zoo {__version__}")
        raise typer.Exit()


@app.callback(epilog="zoo COMMAND --help tells more. Data goes to stdout, progress and errors to stderr.")
def _zoo(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True)] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks; may stand anywhere.")] = False,
) -> None:
    """A model zoo for picture-to-picture papers."""


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run ``zoo`` and leave with its exit code. An error is one line of what and why, one of what to do."""
    with guarded():
        sys.exit(_run(args))


def _run(args: Sequence[str] | None) -> int:
    words = [*(sys.argv[1:] if args is None else args)]  # `list` is a command's module here
    debug = "--debug" in words or os.environ.get("ZOO_DEBUG", "") not in ("", "0")
    words = [word for word in words if word != "--debug"]
    if not sys.warnoptions:
        warnings.filterwarnings("ignore", module="PIL")  # of damaged pictures: it goes on, or an error follows
    try:
        _refuse_empty(words)
        code = typer.main.get_command(app)(words or ["--help"], prog_name="zoo", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    except Exception as exc:
        if debug:
            raise
        code = _report(exc)
    return code if isinstance(code, int) else 0


def _refuse_empty(words: Sequence[str]) -> None:
    """An empty path is the current folder to Python, and mostly a variable that was never set."""
    for before, word in zip(["zoo", *words], words):
        if not word or (word.startswith("--") and word.endswith("=") and word.count("=") == 1):
            raise UsageError(
                f"nothing is given after {word.rstrip('=') or before}", 'is a variable unset, as in "$DIR"?'
            )


def _report(exc: Exception) -> int:
    if isinstance(exc, ZooError):
        message, hint, code = exc.message, exc.hint, exc.exit_code
    elif show := getattr(exc, "format_message", None):  # the parser's; Typer's version says of which click
        context = getattr(exc, "ctx", None)
        message, hint, code = show(), f"{context.command_path if context else 'zoo'} --help", 2
    elif isinstance(exc, OSError) and exc.strerror:  # a full disk, a folder that must not be written
        message = f"{exc.filename}: {exc.strerror}" if exc.filename else exc.strerror
        hint, code = "check the disk and its permissions; --debug shows where", 1
    else:
        message, hint, code = f"{type(exc).__name__}: {exc}", "--debug shows where", 1
    for head, text in (("zoo", message), ("hint", hint)):
        if text:
            typer.echo(f"{head}: {one_line(shortened(masked(text)))}", err=True)
    return code
