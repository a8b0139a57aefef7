"""What can be known of this installation, for a bug report. Nothing secret, and no user's name, is in it.

Whatever may crash or hang (plugins, torch, connections) is asked in processes of their own, all at the same time.
"""

from __future__ import annotations

import getpass
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import shutil
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement

import zoo
from zoo.catalogue.host import host
from zoo.catalogue.manifest import CORE
from zoo.catalogue.registry import registry
from zoo.doctor import isolated, machine
from zoo.doctor.plugins import brings, check_plugins
from zoo.errors import describe
from zoo.helpers.forks import Forks
from zoo.helpers.words import is_secret, masked
from zoo.weights.cache import cache_folder, cached, expanded, hub_cache
from zoo.weights.remote import endpoint, is_offline
from zoo.weights.sources import is_url, mirrors, where

ENVIRONMENT = re.compile(
    r"(ZOO|HF|HUGGING_?FACE|TORCH|PYTORCH|CUDA|OMP|MKL|KMP|ACCELERATE)_\w+|[a-z]+_proxy|XDG_CACHE_HOME|SSL_CERT_\w+",
    re.IGNORECASE,
)
PATIENCE = 15  # seconds for a connection, and what comes before it
IMPORT = 60  # seconds for torch, and for a plugin


@dataclass(frozen=True)
class Fact:
    """One line of the page; ``bad`` is something that does not work."""

    name: str
    text: str
    bad: bool = False


def examine(verify: bool = False) -> dict[str, list[Fact]]:
    """The page by sections. ``verify`` also reads every weights file on this disk. Never raises."""
    sections: dict[str, Callable[[], Iterator[Fact]]] = {
        "zoo": _zoo,
        "packages": _packages,
        "machine": _machine,
        "devices": lambda: _devices(forks),
        "caches": _caches,
        "network": _network,
        "plugins": lambda: _plugins(forks),
        "models": lambda: _models(verify),
        "environment": _environment,
    }
    clean = _cleaner()

    def look(section: Callable[[], Iterator[Fact]]) -> list[Fact]:
        try:
            return [Fact(clean(fact.name), clean(fact.text), fact.bad) for fact in section()]
        except Exception as exc:  # the patient is ill: that is what the page is for
            return [Fact("fault", clean(f"cannot be looked at: {describe(exc)}"), bad=True)]

    with Forks("torch") as forks, ThreadPoolExecutor(len(sections)) as pool:
        return dict(zip(sections, pool.map(look, sections.values())))


def _zoo() -> Iterator[Fact]:
    distribution = importlib.metadata.distribution(CORE)
    direct = json.loads(distribution.read_text("direct_url.json") or "{}")
    kind = "editable" if direct.get("dir_info", {}).get("editable") else "wheel"
    yield Fact(CORE, f"{distribution.version}, {kind}, in {Path(zoo.__file__).parent}")
    yield Fact("Python", f"{platform.python_version()} ({platform.python_implementation()}), {sys.executable}")


def _packages() -> Iterator[Fact]:
    """Everything that the core asks for, then what its extras do: they may be left out."""
    told: set[str] = set()
    for text in importlib.metadata.requires(CORE) or ():  # those of extras come last
        wanted = Requirement(text)
        extra = match[1] if (match := re.search(r"""extra == ['"]([\w-]+)['"]""", str(wanted.marker))) else ""
        if extra == "dev" or wanted.name == CORE or (not extra and wanted.marker and not wanted.marker.evaluate()):
            continue
        whose = f"{CORE}[{extra}]" if extra else CORE
        try:
            version = importlib.metadata.version(wanted.name)
        except importlib.metadata.PackageNotFoundError:
            yield Fact(
                wanted.name, f"not installed: pip install '{whose}'" if extra else "not installed", bad=not extra
            )
            continue
        fits = wanted.specifier.contains(version, prereleases=True)
        if not (fits and wanted.name in told):
            yield Fact(
                wanted.name,
                version if fits else f"{version}, but {whose} needs {wanted.specifier}",
                bad=not extra and not fits,
            )
        told.add(wanted.name)


def _machine() -> Iterator[Fact]:
    yield Fact("system", platform.platform())
    yield Fact("processor", machine.processor())
    yield Fact("cores", machine.cores())
    yield Fact("memory", machine.memory())


def _devices(forks: Forks) -> Iterator[Fact]:
    try:
        for device in isolated.call("zoo.doctor.machine:devices", timeout=IMPORT, forks=forks):
            text = f"{device['about']}; {device.get('works') or device['error']}"
            yield Fact(device["name"], text, bad="error" in device)
            yield Fact(f"{device['name']} kernels", device["kernels"])
    except isolated.Lost as exc:
        yield Fact("torch", f"when it is imported and tried, {exc}", bad=True)


def _caches() -> Iterator[Fact]:
    for name, folder in (("zoo", cache_folder()), ("Hub", hub_cache())):
        there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        room = f"{machine.gigabytes(shutil.disk_usage(there).free)} free"
        try:
            if not there.is_dir():
                raise NotADirectoryError(f"{there} is not a folder")
            with tempfile.TemporaryFile(dir=there):
                pass
        except OSError as exc:
            yield Fact(name, f"{folder}, cannot be written: {exc.strerror or exc}", bad=True)
            continue
        files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
        size = sum(path.stat().st_size for path in files)
        about = f"{len(files)} files, {size / 1e6:.1f} MB" if there == folder else "not there yet"
        yield Fact(name, f"{folder}, {about}, can be written, {room}")


def _network() -> Iterator[Fact]:
    from huggingface_hub import get_token

    yield Fact("token", "yes" if get_token() else "none")
    yield Fact("proxies", ", ".join(f"{k} {v}" for k, v in urllib.request.getproxies().items()) or "none")
    urls = [endpoint(), *filter(is_url, mirrors())]
    with ThreadPoolExecutor(len(urls)) as pool:
        states = dict(zip(urls, pool.map(_state, urls)))
    yield Fact("Hub", f"{endpoint()}: {states[endpoint()]}")
    for mirror in mirrors():
        there = states[mirror] if is_url(mirror) else "there" if expanded(mirror).is_dir() else "no such folder"
        yield Fact("mirror", f"{mirror}: {there}", bad=there not in ("there", REACHED, OFFLINE))


REACHED, OFFLINE = "reached", "not asked, HF_HUB_OFFLINE forbids it"


def _state(url: str) -> str:
    if is_offline():
        return OFFLINE
    try:
        why = isolated.call("zoo.weights.remote:answers", url, timeout=PATIENCE)
    except isolated.Lost as exc:
        why = f"{exc}"
    return f"not reached: {why}" if why else REACHED


def _plugins(forks: Forks) -> Iterator[Fact]:
    for name, faults in check_plugins(IMPORT, forks).items():
        version = host().plugins[name].version
        yield Fact(
            name, f"{version}, works: {brings(name)}" if not faults else f"{version}, broken: {faults[0]}", bool(faults)
        )
        for fault in faults[1:]:
            yield Fact("", fault, bad=True)
    for line in [*host().unlisted(), *host().conflicts(), *registry().problems]:
        yield Fact("names", line, bad=True)


def _models(verify: bool) -> Iterator[Fact]:
    cards = list(registry().cards.values())
    if lost := [card.name for card in cards if card.plugin not in host().plugins]:
        yield Fact("no plugin", ", ".join(lost))
    places: dict[str, list[str]] = {}
    for card in cards:
        if not card.weights:
            places.setdefault("no weights", []).append(card.name)
        for tag, weights in card.weights.items():
            places.setdefault(where(weights, card.plugin), []).append(card.tagged(tag))
            owner = host().plugins.get(card.plugin)
            bundled = [owner.folder / "weights" / weights.file] if owner and owner.folder and weights.bundled else []
            for path in [*cached(weights), *bundled] if verify else ():
                with suppress(FileNotFoundError), path.open("rb") as file:
                    if hashlib.file_digest(file, "sha256").hexdigest() != weights.sha256:
                        yield Fact(card.tagged(tag), f"{path} is damaged", bad=True)
    for place, names in places.items():
        yield Fact("nowhere" if place == "none" else place, ", ".join(names))


def _environment() -> Iterator[Fact]:
    for name, value in sorted(os.environ.items()):
        if ENVIRONMENT.fullmatch(name):
            yield Fact(name, ("set" if value else "empty") if is_secret(name) else value or '""')


def _cleaner() -> Callable[[str], str]:
    """What takes secrets, the home folder and the user's name out of a text."""
    home = user = ""
    with suppress(Exception):  # a process without a user, or a user without a home
        home = str(Path.home())
    with suppress(Exception):
        user = getpass.getuser()

    def clean(text: str) -> str:
        text = masked(text)
        text = text.replace(home, "~") if len(home) > 1 else text
        return re.sub(rf"(?<=[/\\]){re.escape(user)}(?=[/\\]|$)", "USER", text) if user else text

    return clean
