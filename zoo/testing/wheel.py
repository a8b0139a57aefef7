"""Wheels, and environments that hold nothing but a wheel and what it declares."""

from __future__ import annotations

import email
import importlib.metadata
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import venv
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlparse
from zipfile import ZipFile

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LARGEST = 60_000_000  # bytes of a wheel


def run(python: Path | str, *words: str | Path, cwd: Path | None = None, **environment: str) -> str:
    """What ``python -m words`` prints; AssertionError with the last line of its errors if it fails.

    The environment's own packages count, and no others."""
    kept = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "ZOO_PLUGINS")}
    command = [str(python), "-m", *map(str, words)]
    done = subprocess.run(
        command, cwd=cwd or Path(python).parent, env=kept | environment, capture_output=True, text=True, timeout=600
    )
    said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()
    assert done.returncode == 0, f"{' '.join(command[2:])} says: {said[-1]}"
    return done.stdout


def build(project: Path, folder: Path) -> Path:
    """The wheel of ``project``, made in the new ``folder`` with the build tools that are installed here."""
    folder.mkdir(parents=True)
    tools = ("--no-index", "--no-build-isolation", "--no-deps", "--disable-pip-version-check")
    run(sys.executable, "pip", "wheel", *tools, "-w", folder, project, cwd=folder)
    (made,) = folder.glob("*.whl")
    return made


@cache
def _kept() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="zoo-wheels-")  # until this process ends


@cache
def _in_development(project: Path) -> Path:
    """The wheel of what others need, built once: nobody edits it while tests run."""
    return build(project, Path(_kept().name) / project.name)


def content(wheel: Path) -> set[str]:
    with ZipFile(wheel) as archive:
        return set(archive.namelist())


def licences(wheel: Path) -> list[str]:
    return [name for name in content(wheel) if ".dist-info/licenses/" in name]


def files(package: Path) -> set[str]:
    """What a wheel must hold of the folder of a package: all but what Python makes of it."""
    return {
        f"{package.name}/{path.relative_to(package).as_posix()}"
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    }


def environment(folder: Path, wheel: Path) -> Path:
    """The Python of a new environment with ``wheel``, what it requires, what that requires …, and nothing else.

    Nothing is downloaded: packages that are installed here are linked, those in development built."""
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    wheels = [wheel]
    for name in sorted(_closure(wheel)):
        distribution = importlib.metadata.distribution(name)
        if project := _project(distribution):
            wheels.append(_in_development(project))
        else:
            _link(distribution, site)
    words = ("install", "--no-index", "--no-deps", "--no-compile", "--quiet")
    run(sys.executable, "pip", "--python", python, *words, *wheels, cwd=folder)
    return python


def _closure(wheel: Path) -> set[str]:
    """The distributions that a wheel needs, by name."""
    with ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(archive.read(name))
    queue = [*_wanted(metadata.get_all("Requires-Dist", []), "")]
    needed: set[tuple[str, str]] = set()
    while queue:
        name, extra = wanted = queue.pop()
        if wanted in needed:
            continue
        needed.add(wanted)
        try:
            queue += _wanted(importlib.metadata.distribution(name).requires or [], extra)
        except importlib.metadata.PackageNotFoundError:
            raise AssertionError(f"{name} is required, but is not installed here") from None
    return {name for name, _ in needed}


def _wanted(requirements: Iterable[str], extra: str) -> Iterator[tuple[str, str]]:
    """(name, extra) of the requirements that count here."""
    for requirement in map(Requirement, requirements):
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            for option in ("", *requirement.extras):
                yield canonicalize_name(requirement.name), option


def _project(distribution: importlib.metadata.Distribution) -> Path | None:
    """Where an editable install has its source (PEP 610)."""
    origin = json.loads(distribution.read_text("direct_url.json") or "{}")
    if not origin.get("dir_info", {}).get("editable"):
        return None
    return Path(unquote(urlparse(origin["url"]).path))


def _link(distribution: importlib.metadata.Distribution, site: Path) -> None:
    for top in {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
        if not (site / top).exists():  # a namespace that several share
            (site / top).symlink_to(Path(str(distribution.locate_file(top))))
