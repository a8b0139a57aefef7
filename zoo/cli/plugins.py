"""``zoo plugins``"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from zoo.catalogue.host import host
from zoo.catalogue.registry import registry
from zoo.cli.list import JsonOption
from zoo.cli.output import as_json, notes, table
from zoo.doctor.plugins import brings, check_plugins
from zoo.errors import PluginError


def command(
    check: Annotated[bool, typer.Option("--check", help="Import each; exit code 2 if anything is broken.")] = False,
    json: JsonOption = False,
) -> None:
    """The installed plugins, and what is wrong with a broken one; the others keep working.

    Without --check no plugin is imported, and only faults that show from outside are known. With it each is imported
    in another process, and its recipes, cards and bundled weights are looked at, too.
    """
    if check:
        faults = check_plugins()
    else:
        faults = {name: [host().faults[name]] if name in host().faults else [] for name in host().plugins}
    states: list[dict[str, Any]] = [
        {
            "name": name,
            "version": plugin.version,
            "state": "broken" if faults[name] else "works" if check else "found",
            "faults": faults[name],
            "brings": brings(name),
        }
        for name, plugin in host().plugins.items()
    ]
    if json:
        as_json(states)
    else:
        rows = [
            (state["name"], state["version"], state["state"], text) if i == 0 else ("", "", "", text)
            for state in states
            for i, text in enumerate(state["faults"] or [state["brings"]])
        ]
        table(("PLUGIN", "VERSION", "STATE", "WHAT"), rows)
    wrong = [*host().unlisted(), *host().conflicts(), *registry().problems]
    notes(wrong)
    if broken := [name for name in faults if faults[name]] if check else []:
        raise PluginError(f"broken: {', '.join(broken)}", "update it, or leave it out with ZOO_PLUGINS")
    if check and wrong:
        raise PluginError("each plugin works, but not all of them together", "the lines above say why")
