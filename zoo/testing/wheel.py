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
import tomllib
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
    return _run(
        [str(python), "-m", *map(str, words)], cwd or Path(python).parent, " ".join(map(str, words)), environment
    )


def _run(command: list[str], cwd: Path, told: str, environment: dict[str, str]) -> str:
    kept = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "ZOO_PLUGINS")}
    done = subprocess.run(command, cwd=cwd, env=kept | environment, capture_output=True, text=True, timeout=600)
    said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()
    assert done.returncode == 0, f"{told} says: {said[-1]}"
    return done.stdout


BUILD = """
import importlib, sys
module, _, inner = sys.argv[1].partition(":")
sys.path[:0] = sys.argv[3:]
backend = importlib.import_module(module)
for name in filter(None, inner.split(".")):
    backend = getattr(backend, name)
backend.build_wheel(sys.argv[2])
"""


def build(project: Path, folder: Path) -> Path:
    """The wheel of ``project``, made in the new ``folder`` as pip has it made (PEP 517), with build tools installed here."""
    folder.mkdir(parents=True)
    declared = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8")).get("build-system", {})
    backend = declared.get("build-backend", "setuptools.build_meta:__legacy__")
    beside = [str(project / path) for path in declared.get("backend-path", [])]
    _run(
        [sys.executable, "-P", "-c", BUILD, backend, str(folder), *beside], project, f"{backend} of {project.name}", {}
    )
    (made,) = folder.glob("*.whl")
    return made


@cache
def _kept() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="zoo-wheels-")  # until this process ends


@cache
def _in_development(project: Path) -> Path:
    """What the wheel of what others need installs, built once: nobody edits it while tests run."""
    folder = Path(_kept().name) / project.name
    with ZipFile(build(project, folder / "wheel")) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


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

    Nothing is downloaded: packages that are installed here are linked, those in development built and linked."""
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    with ZipFile(wheel) as archive:  # all that pip does of a wheel without scripts
        archive.extractall(site)
    for name in sorted(_closure(wheel)):
        distribution = importlib.metadata.distribution(name)
        if project := _project(distribution):
            source = _in_development(project)
            _link(source, [path.name for path in source.iterdir()], site)
        else:
            tops = {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}
            _link(Path(str(distribution.locate_file(""))), tops, site)
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


def _link(source: Path, tops: Iterable[str], site: Path) -> None:
    for top in tops:
        if not (site / top).exists():  # a namespace that several share
            (site / top).symlink_to(source / top)
