"""``zoo plugins``"""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

import typer

from zoo.cli.list import JsonOption
from zoo.cli.output import as_json, table
from zoo.errors import PluginError
from zoo.plugins import PluginHost, host


def command(
    check: Annotated[bool, typer.Option("--check", help="Import each; exit code 2 if one is broken.")] = False,
    json: JsonOption = False,
) -> None:
    """The installed plugins, and what is wrong with a broken one; the others keep working.

    Without --check no plugin is imported, and only faults that show from outside are known.
    """
    plugins = host()
    if check:
        for name in plugins.plugins:
            with suppress(PluginError):
                plugins.load(name)
    states = _states(plugins, check)
    if json:
        as_json(states)
    else:
        table(("PLUGIN", "VERSION", "STATE", "WHAT"), [tuple(state.values()) for state in states])
    if check and plugins.faults:
        raise PluginError(f"broken: {', '.join(plugins.faults)}", "update it, or leave it out with ZOO_PLUGINS")


def _states(plugins: PluginHost, checked: bool) -> list[dict[str, str]]:
    parts = plugins.parts()
    return [
        {
            "name": name,
            "version": plugin.version,
            "state": "broken" if name in plugins.faults else "works" if checked else "found",
            "what": plugins.faults.get(name) or _brings([part.kind for part in parts if part.owner == name]),
        }
        for name, plugin in plugins.plugins.items()
    ]


def _brings(kinds: list[str]) -> str:
    counts = {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}
    return ", ".join(f"{n} {_plural(kind) if n > 1 else kind}" for kind, n in counts.items()) or "no parts"


def _plural(kind: str) -> str:
    return f"{kind}es" if kind.endswith("s") else f"{kind}s"
