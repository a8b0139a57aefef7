"""Names of the Hub: ``hub:USER/REPO``, with ``@REVISION`` for a commit, branch or tag. No torch here."""

from __future__ import annotations

import re
from dataclasses import dataclass

from zoo.card import Weights
from zoo.errors import UsageError

PREFIX = "hub:"
SHORT = "hub:USER/REPO, with @REVISION for a commit, branch or tag"

COMMIT = re.compile(r"[0-9a-f]{40}")
_NAME = re.compile(
    r"hub:(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)"
    r"(/(?P<file>[A-Za-z0-9][\w.-]*\.safetensors))?(@(?P<revision>[A-Za-z0-9][\w./-]*))?",
    re.ASCII,
)


@dataclass(frozen=True)
class HubName:
    """``hub:USER/REPO[/FILE.safetensors][@REVISION]``; a file is named where a repository holds several."""

    repo: str
    file: str | None = None
    revision: str | None = None

    def __str__(self) -> str:
        at = f"@{self.revision}" if self.revision else ""
        return f"{PREFIX}{self.repo}{f'/{self.file}' if self.file else ''}{at}"

    @property
    def is_fixed(self) -> bool:
        """Is it a commit, which cannot move?"""
        return COMMIT.fullmatch(self.revision or "") is not None

    def at(self, weights: Weights) -> HubName:
        """The same at the commit of these weights."""
        assert weights.hub is not None
        return HubName(self.repo, self.file, weights.hub.revision)


def is_hub(name: object) -> bool:
    """Is it a name of the Hub?"""
    return isinstance(name, str) and name.startswith(PREFIX)


def parse(name: str) -> HubName:
    """UsageError for what the Hub has no name for."""
    found = _NAME.fullmatch(name)
    if not found or ".." in name or len(found["repo"]) > 96:
        raise UsageError(f"{name!r} is not a name of the Hub", f"write {SHORT}")
    return HubName(found["repo"], found["file"], found["revision"])
