"""A new plugin from the template beside this file, which is a whole plugin itself: zoo-example. No torch here."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from zoo.catalogue.host import host
from zoo.catalogue.manifest import CORE
from zoo.errors import UsageError
from zoo.helpers.files import place

TEMPLATE = Path(__file__).parent / "template"
NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
LONGEST = 40  # characters


def make(name: str, out: Path | None = None) -> Path:
    """Write the plugin ``zoo-NAME`` into the new folder ``out``, by default of that name, and give its path.

    The folder is whole or not there. UsageError: a name that cannot be a package's or is taken, a folder that exists."""
    short = name.removeprefix("zoo-")
    if not NAME.fullmatch(short) or len(short) > LONGEST:
        raise UsageError(
            f"{name!r} cannot be a plugin's name",
            f"lower-case letters, digits and hyphens, beginning with a letter, up to {LONGEST} characters: my-plugin",
        )
    _check_free(short)
    folder = out or Path(f"zoo-{short}")
    if folder.exists() or folder.is_symlink():
        raise UsageError(f"{folder} exists already", "give --out a folder that does not exist, or another name")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".zoo-new-") as temporary:
        plugin = Path(temporary) / "plugin"
        for path in sorted(TEMPLATE.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                target = plugin / _renamed(path.relative_to(TEMPLATE).as_posix(), short)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(_renamed(path.read_text(encoding="utf-8"), short), encoding="utf-8")
        place(plugin, folder)
    return folder


def _check_free(short: str) -> None:
    if f"zoo-{short}" in (CORE, *host().plugins):
        raise UsageError(f"zoo-{short} is installed already", "give another name")
    wanted = {short, f"{short}-gate", f"{short}-edges"}
    if taken := next((part for part in host().parts() if part.name in wanted), None):
        raise UsageError(f"the {taken.kind} {taken.name!r} is of {taken.owner} already", "give another name")


def _renamed(text: str, short: str) -> str:
    """The template's name in each of its spellings."""
    words = short.split("-")
    text = text.replace("zoo_example", f"zoo_{'_'.join(words)}")
    return text.replace("Example", "".join(map(str.capitalize, words))).replace("example", short)
