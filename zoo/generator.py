"""The Generator contract: a picture and controls in, a picture out."""

from __future__ import annotations

import functools
import inspect
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from zoo.catalogue.host import host
from zoo.catalogue.manifest import KINDS
from zoo.errors import ConfigError, IntegrityError, close_match, describe
from zoo.machine.ceiling import ceiling, unfilled, without_memory
from zoo.machine.chance import numbers_kept
from zoo.weights.file import load_weights, read_header

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SizeRule:
    """Which picture sizes a network takes.

    Height and width must be multiples of ``multiple_of`` and at least ``minimum``; ``fixed`` (H, W) allows one only.
    ``whole``: the network is made to see one picture, all of it: it gets no parts of pictures, and no batches.
    """

    multiple_of: int = 1
    minimum: int = 1
    fixed: tuple[int, int] | None = None
    whole: bool = False

    def above(self, length: float) -> int:
        """The smallest side that is allowed and at least ``length``, where none is fixed."""
        return math.ceil(max(length, self.minimum, 1) / self.multiple_of) * self.multiple_of


class Generator(nn.Module):
    """Image (N,3,H,W) in [-1,1] and controls -> image (N,3,H,W) in [-1,1].

    A subclass writes ``parts``; it is pure: the same image, controls and weights give the same result. ``makes`` are
    the names that ``parts`` gives beside ``image``; where they depend on options, ``__init__`` sets them, and
    ``can_make`` says which option brings what the class does not make unasked: ``{"flow": "warp=0.1"}``.

    ``asks`` are inputs beside the picture that it cannot be trained without, though it has them by itself in use; those
    that ``parts`` has no default for need not be said. ``learns`` is which of the parts training shapes; "" for none.
    """

    size: SizeRule = SizeRule()
    makes: frozenset[str] = frozenset()
    can_make: ClassVar[Mapping[str, str]] = {}
    asks: ClassVar[frozenset[str]] = frozenset()
    learns: ClassVar[str] = "image"

    def parts(self, image: Tensor, *_: Any, **controls: Any) -> dict[str, Tensor]:
        """Everything a loss may look at: ``image`` always, and what the paper names ("attention", "latent" …)."""
        raise NotImplementedError

    def forward(self, image: Tensor, **controls: Any) -> Tensor:
        return self.parts(image, **controls)["image"]

    def load(self, path: Path) -> None:
        """Take the weights of a safetensors file; to be replaced where the weights of others are taken, too."""
        load_weights(path, self)


def build_part(kind: str, spec: str | Mapping[str, Any], **context: Any) -> Any:
    """Build the part that ``spec`` names: ``"patchgan"`` or ``{"name": "patchgan", "width": 32}``.

    An option called like a kind of part (``block: dual-attention``) is itself a part: the constructor gets a
    callable that builds it. So any block fits any generator, whoever owns either. ``context`` holds arguments
    that come from the program rather than from the recipe. Wrong options raise ``ConfigError``.
    """
    return _factory(kind, spec, **context)()


def _factory(kind: str, spec: str | Mapping[str, Any], **context: Any) -> functools.partial[Any]:
    options: dict[str, Any] = dict(spec) if isinstance(spec, Mapping) else {"name": spec}
    name = options.pop("name", None)
    if not isinstance(name, str):
        raise ConfigError(f"a {kind} needs a name, got {spec!r}", "write for example {name: …} or the bare name")
    part = host().part(kind, name)
    for key in options.keys() & set(KINDS):
        options[key] = _factory(key, options[key])
    return functools.partial(_call, kind, name, part, {**options, **context})


def _call(kind: str, name: str, part: Any, options: dict[str, Any], *args: Any) -> Any:
    try:
        return part(*args, **options)
    except (TypeError, ValueError, RuntimeError, ArithmeticError) as exc:
        known = [
            key
            for key, option in inspect.signature(part).parameters.items()
            if key != "recipe" and option.kind not in (option.VAR_POSITIONAL, option.VAR_KEYWORD)  # those of nn.Module
        ]
        unknown = [key for key in options if key not in known and key != "recipe"]
        if isinstance(exc, TypeError) and unknown:
            raise ConfigError(f"{kind} {name!r} has no option {unknown[0]!r}", close_match(unknown[0], known)) from exc
        told = ", ".join(
            f"{key}: {value}" for key, value in options.items() if isinstance(value, str | int | float | list)
        )
        hint = f"correct its options ({told[:200]}); null leaves out one that the recipe had for another {kind}"
        raise ConfigError(f"{kind} {name!r} cannot be built: {describe(exc)}", hint) from exc


def build_generator(network: Mapping[str, Any]) -> Generator:
    """The generator of a weights' header or of ``recipe.network()``, with fresh weights."""
    generator = build_part("generator", network["generator"])
    if not isinstance(generator, Generator):
        raise ConfigError(f"{network['generator']!r} is not a zoo.Generator", "report this to the plugin's author")
    return generator


def generator_of(path: Path, network: Mapping[str, Any] | None = None) -> Generator:
    """The generator of a weights file with these weights; ``network`` where its header does not say what it is of.

    It is built twice, at first without memory: its numbers are those of a file, and are believed only when its tensors
    are known to be those of the network. IntegrityError if they are not.
    """
    header = read_header(path)
    network = network or header.network
    sizes = [math.prod(shape) for _, shape in header.tensors.values()]
    with numbers_kept(), ceiling(len(sizes), sum(sizes)):
        try:
            with without_memory():
                build_generator(network).load(path)
        except IntegrityError:
            raise
        except Exception:  # it cannot be built without memory; the ceiling holds
            log.debug("%s is compared while it is built", path)
        with unfilled():
            generator = build_generator(network)
    generator.load(path)
    return generator


def initialise(network: nn.Module, std: float = 0.02) -> None:
    """N(0, std) for every convolution, zero biases: CycleGAN's initialisation (Zhu et al. 2017, appendix 7.2)."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            torch.nn.init.normal_(module.weight, 0.0, std)
            if module.bias is not None:
                torch.nn.init.zeros_(module.bias)
