"""`zoo.load`: from a name or a file to a translator with its weights."""

from __future__ import annotations

import inspect
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from zoo.card import Card, Weights
from zoo.catalogue.host import host
from zoo.catalogue.manifest import CORE
from zoo.catalogue.registry import registry
from zoo.errors import IntegrityError, NotFoundError, UsageError, close_match
from zoo.generator import build_generator, generator_of
from zoo.machine.device import DTYPES, pick_device, plain_torch
from zoo.recipe import load_recipe, network_of
from zoo.translator import Translator
from zoo.weights.file import PACKED, read_header
from zoo.weights.hub_name import is_hub
from zoo.weights.sources import download, locate, pinned

_PICKLES = (".pth", ".pt", ".ckpt", ".bin", ".pkl")


def load(
    name: str | os.PathLike[str],
    *,
    weights: str | os.PathLike[str] | None = "default",
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    compile: bool = False,
) -> Translator:
    """The translator of a model, of a weights file (``.safetensors``) that the zoo wrote, or the folder in which ``zoo pack``
    put it, or of what somebody published.

    That is ``hub:USER/REPO``, at its newest commit, or ``hub:USER/REPO@REVISION``; `Translator.origin` is the name with
    the commit that was loaded, and loads the same again.

    ``weights``: "default" for the model's own, a path for others of the same recipe, or None for the untrained
    network, whose name may then be any recipe's. With a path, or the name of the model whose weights they are,
    ``name`` may also be a recipe file (``.yaml``): your own losses in a style transfer, say. ``device``: the best
    there is unless given. ``dtype``: "bf16" for faster, slightly less exact arithmetic. ``compile``, for CUDA, trades
    minutes at the first picture for speed at the next.

    NotFoundError: no such model, file, plugin or weights. IntegrityError: a file that is damaged or does not fit.
    """
    _check_types(name, weights, dtype, compile)
    return build(find(name, weights), device=pick_device(device), dtype=dtype, compile=compile)


@dataclass(frozen=True)
class Found:
    """A model before it is built: ``network`` is what the weights have to be of; None takes them at their header's word,
    or else at the card's. ``path`` is None for an untrained network."""

    network: dict[str, Any] | None
    path: Path | None
    card: Card | None = None
    weights: Weights | None = None  # of the card, where it says whose bytes they are
    origin: str = ""  # the name on the Hub, with the commit


def find(name: str | os.PathLike[str], weights: str | os.PathLike[str] | None = "default") -> Found:
    """The network and the weights that ``load`` builds for these names, on this disk by now. Errors as of ``load``."""
    if weights is None:
        card = registry().card(str(name))[0] if str(name).partition(".")[0] in registry().cards else None
        if card:
            need_plugin(card.plugin, card.name)
        return Found(network_of(card) if card else load_recipe(str(name)).network(), None, card)
    if is_hub(name):
        name = pinned(str(name))
    if path := weights_file(name):
        if weights != "default":
            raise UsageError(f"{name} is a weights file already", "leave out weights=, or give the model's name")
        return Found(None, path, origin=str(name) if is_hub(name) else "")
    if is_recipe(name):
        if weights == "default":
            raise UsageError(
                f"{name} is a recipe, which has no weights", "give weights=: a file or a model's name, or None"
            )
        path, theirs = _weights(weights)
        return Found(load_recipe(str(name)).network(), path, None, theirs)
    card, tag = registry().card(str(name))
    need_plugin(card.plugin, card.name)
    if weights == "default":
        return Found(None, locate(card, tag), card, card.get(tag))
    path, theirs = _weights(weights)
    return Found(network_of(card), path, card, theirs)


def _check_types(name: object, weights: object, dtype: object, compile: object) -> None:
    """UsageError for what a type checker would refuse, which not everybody runs."""
    if not isinstance(name, str | os.PathLike):
        raise UsageError(f"{name!r} is neither a model's name nor a path", "zoo.list_models() gives the names")
    if not isinstance(weights, str | os.PathLike | None):
        raise UsageError(f"weights = {weights!r} is not a path", 'give a path, "default" or None')
    if not isinstance(dtype, str | torch.dtype | None) or dtype not in DTYPES:
        raise UsageError(f"dtype {dtype!r} is not known", close_match(str(dtype), ("fp32", "bf16")))
    if not isinstance(compile, bool):
        raise UsageError(f"compile = {compile!r} is neither True nor False", "give one of them")


def is_recipe(name: str | os.PathLike[str]) -> bool:
    """Is it the path of a recipe file?"""
    return Path(name).suffix in (".yaml", ".yml")


def _weights(name: str | os.PathLike[str]) -> tuple[Path, Weights | None]:
    """Where they are, and what their card says of them."""
    if path := weights_file(name):
        return path, None
    card, tag = registry().card(str(name))
    return locate(card, tag), card.get(tag)


def weights_file(name: str | os.PathLike[str]) -> Path | None:
    """The path that ``name`` is or that a name of the Hub leads to, None if it is a model's name or a recipe file.

    NotFoundError for a path that no weights can have."""
    if is_hub(name):
        return download(str(name))
    if is_recipe(name):
        return None
    if (packed := Path(name, PACKED)).is_file() and str(name).partition(".")[0] not in registry().cards:
        return packed
    if Path(name).suffix == ".safetensors" or isinstance(name, os.PathLike):
        return Path(name)
    if os.sep in name or Path(name).suffix in _PICKLES or Path(name, "run.yaml").is_file():
        hint = (
            "give a model's name (zoo list) or a .safetensors file, which zoo pack makes of a run; pickles are not read"
        )
        if Path(name, "run.yaml").is_file():
            hint = f"it is a run: zoo pack {name}, and give what that prints"
        elif repo := re.fullmatch(r"(?:https?://[^/]+/)?([\w.-]+/[\w.-]+?)/?", str(name)):
            hint = f"is it on the Hub? then hub:{repo[1]}; else {hint}"
        raise NotFoundError(f"{name} is not a weights file", hint)
    return None


def build(
    model: Found,
    *,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    compile: bool = False,
) -> Translator:
    """The translator of a model that was found. Errors and options as of ``load``."""
    network, path, card = model.network, model.path, model.card
    found = read_header(path).network if path is not None else {}
    if found and network and found["recipe"] != network["recipe"]:
        raise UsageError(f"{path} holds {found['recipe']}, not {network['recipe']}", f"zoo.load({str(path)!r})")
    network = found or network or (network_of(card) if card else None)
    if network is None:
        raise NotFoundError(f"{path} does not say which network it is of", "give a file that `zoo pack` wrote")
    need_plugin(network.get("plugin") or CORE, str(network["recipe"]))
    with plain_torch():
        part = network.get("translator")
        make = host().part("translator", part) if part else Translator
        # without weights it draws from the caller's random numbers: their seed decides
        generator = build_generator(network) if path is None else generator_of(path, network)
        translator: Translator = make(generator.eval(), network, card=card, device=device, dtype=dtype, compile=compile)
        _check_controls(translator, path)
        translator.origin = model.origin
        return translator


def _check_controls(translator: Translator, path: Path | None) -> None:
    """IntegrityError for a control that the network would stumble over, where it is the core that hands them on."""
    taken = inspect.signature(translator.generator.parts).parameters
    if type(translator) is not Translator or any(one.kind is one.VAR_KEYWORD for one in taken.values()):
        return
    network, hint = type(translator.generator).__name__, "correct the recipe, and pack the run again"
    names, whose = {control.name for control in translator.controls}, path or repr(translator)
    for name in sorted(names - taken.keys()):
        raise IntegrityError(f"{whose} has a control {name}, which {network} does not take", hint)
    for name in [*taken][1:]:  # the first is the picture
        needed = taken[name].default is taken[name].empty and taken[name].kind is not taken[name].VAR_POSITIONAL
        if needed and name not in names:
            raise IntegrityError(f"{whose} has no control {name}, which {network} needs", hint)


def need_plugin(plugin: str, model: str) -> None:
    """NotFoundError that says how to install ``plugin`` if it is not there, PluginError if it cannot be used."""
    if plugin in host().plugins:
        return host().load(plugin)  # before its weights are downloaded
    hint = f"pip install {plugin} (in a checkout of the zoo: pip install ./plugins/{plugin})"
    if all(card.plugin != plugin for card in registry().cards.values()):
        hint = f"pip install {plugin}, if you trust it: a plugin is a program, and the zoo does not know this one"
    if "ZOO_PLUGINS" in os.environ:
        hint = f"if it is, ZOO_PLUGINS={os.environ['ZOO_PLUGINS']} leaves it out; else {hint}"
    raise NotFoundError(f"{model} needs the plugin {plugin}, which is not installed", hint)
