"""Packed weights onto the Hub, and where they are into their card.

The order leaves nothing half: everything that can be checked here is checked first; then one commit; then the Hub is
asked whether it has those bytes; then the card is written, at once or not at all.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from zoo.card import Card, HubFile, Weights
from zoo.catalogue.host import host
from zoo.catalogue.registry import registry
from zoo.errors import IntegrityError, NotFoundError, UsageError, ZooError, describe
from zoo.helpers.reading import read_small
from zoo.publish import model_page
from zoo.publish.card_file import card_file, with_entry, write
from zoo.publish.upload import check, upload
from zoo.recipe import network_of
from zoo.weights.file import PACKED, Header, check_finite_file, read_header
from zoo.weights.hub_name import PREFIX
from zoo.weights.sources import locate

CONFIG, PAGE = "config.json", "README.md"
_BEHIND = ("file", "sha256", "bytes", "bundled")  # of a card's weights: `hub` follows these


@dataclass(frozen=True)
class Publication:
    """What goes to the Hub, and what is said of it afterwards. Without a ``card`` the entry is for the user to paste."""

    path: Path
    page: str
    config: bytes | None
    tag: str
    weights: Weights  # with ``hub``; its revision is all zeros until it is known
    card: Path | None = None  # the YAML file
    keys: tuple[str, ...] = ()  # of the entry in it
    new: bool = True  # False: the Hub had all of it already

    @property
    def repo(self) -> str:
        assert self.weights.hub is not None
        return self.weights.hub.repo

    @property
    def small(self) -> dict[str, bytes]:
        """What goes up beside the weights, by its bytes: no name is followed after it was checked."""
        return {PAGE: self.page.encode(), **({CONFIG: self.config} if self.config is not None else {})}

    def sizes(self) -> dict[str, int]:
        return {self.weights.file: self.weights.bytes, **{name: len(data) for name, data in self.small.items()}}

    def hashes(self) -> dict[str, str]:
        """The SHA-256 of each file that goes up."""
        small = {name: hashlib.sha256(data).hexdigest() for name, data in self.small.items()}
        return {self.weights.file: self.weights.sha256, **small}

    def entry(self) -> dict[str, Any]:
        """The weights as a card says it."""
        return self.weights.model_dump(mode="json", exclude_defaults=True)

    def edited(self) -> str:
        """The text of the card's file with this entry."""
        assert self.card is not None
        text = self.card.read_bytes().decode("utf-8")
        if self.keys[-1] == "hub":
            return with_entry(text, self.keys, self.entry()["hub"], _BEHIND)
        return with_entry(text, self.keys, self.entry())


def publish(
    name: str, repo: str, *, folder: Path | None = None, private: bool = False, message: str = "", dry_run: bool = False
) -> Publication:
    """Upload weights to ``repo`` of the Hub and write repo, revision and SHA-256 into their card.

    ``name``: a model or ``model.tag`` with a card, or a folder of ``zoo pack`` for weights without one. ``folder``:
    the packed folder of new weights for the card; without it the card's own, where they are on this machine.
    ``dry_run`` checks all that can be checked here, and asks nobody.

    UsageError for what must not or cannot be published, NetworkError for what the Hub refuses.
    """
    plan = prepare(name, repo, folder)
    if dry_run:
        return plan
    repo = plan.repo
    revision, new = upload(
        repo, plan.weights, plan.path, plan.small, message or f"{plan.weights.file}, by zoo publish", private=private
    )
    weights = plan.weights.model_copy(update={"hub": HubFile(repo=repo, revision=revision)})
    done = replace(plan, weights=weights, new=new)
    check(done.weights)
    if done.card is not None:
        try:
            write(done.card, done.edited())
        except OSError as exc:
            raise ZooError(
                f"{repo} has the weights at {revision}, but {done.card} cannot be written: {describe(exc)}",
                "once it can, publish again: nothing will be uploaded twice",
            ) from exc
    return done


def prepare(name: str, repo: str, folder: Path | None = None) -> Publication:
    """Everything but the upload. Errors as of ``publish``."""
    repo = repo.removeprefix(PREFIX)
    try:
        hub = HubFile(repo=repo, revision="0" * 40)
    except ValidationError as exc:
        raise UsageError(f"{repo!r} is not a repository's name", "give --repo USER/NAME") from exc
    model, _, tag = name.partition(".")
    if model not in registry().cards and Path(name).is_dir():  # a model's name comes first, as in zoo.load
        if folder is not None:
            raise UsageError(f"{name} is a folder already", "leave out --folder, or give a model's name")
        return _without_card(Path(name), hub)
    if "/" in name or name.endswith(".safetensors"):
        raise NotFoundError(f"there is no folder {name}", "give a model's name, or the folder that zoo pack wrote")
    card, _ = registry().card(model)
    path, keys = card_file(card)
    tag = tag or (card.default or "" if folder is None else "")
    if not tag:
        raise UsageError(
            f"weights of {model} need a tag" if folder else f"{model} has no weights yet",
            f"zoo publish {model}.TAG --repo {repo} --folder {folder or f'runs/{card.recipe}/packed'}",
        )
    plan = _known(card, tag, hub) if folder is None else _packed(card, tag, folder, hub)
    keys = (*keys, "weights", tag, *(("hub",) if tag in card.weights else ()))
    try:
        Card.model_validate({**card.model_dump(), "weights": {tag: plan.weights.model_dump()}})
    except ValidationError as exc:
        raise UsageError(
            f"{tag!r} is not a tag: {describe(exc)}", "lower case letters and digits, with - between"
        ) from exc
    plan = replace(plan, card=path, keys=keys)
    plan.edited()  # or an error, before anything is uploaded
    return plan


def _known(card: Card, tag: str, hub: HubFile) -> Publication:
    """Weights that the card has already, from this machine."""
    weights = card.get(tag).model_copy(update={"hub": None})
    path = locate(card.model_copy(update={"weights": {tag: weights}}), tag, offline=True)
    check_finite_file(path)
    weights = weights.model_copy(update={"hub": hub})
    return Publication(path, model_page.of_card(card, weights, card.tagged(tag)), None, tag, weights)


def _packed(card: Card, tag: str, folder: Path, hub: HubFile) -> Publication:
    """What ``zoo pack`` wrote, for a card."""
    header, page, config = _read(folder)
    _of_this_recipe(header, card)
    tagged = f"{card.name}.{tag}" if card.weights and tag != card.default else card.name
    weights = _weights(folder / PACKED, header, f"{card.name}-{tag}.safetensors", hub, card)
    if old := card.weights.get(tag):
        if old.sha256 != weights.sha256:
            raise UsageError(
                f"{card.name}.{tag} are other weights already, and what is published stays what it is",
                f"publish these under a tag of their own: zoo publish {card.name}.TAG",
            )
        weights = old.model_copy(update={"hub": hub})
    page = model_page.published(page, PACKED, hub.repo, tagged)
    return Publication(folder / PACKED, page, config, tag, weights)


def _without_card(folder: Path, hub: HubFile) -> Publication:
    header, page, config = _read(folder)
    name = hub.repo.partition("/")[2]
    weights = _weights(folder / PACKED, header, f"{name}.safetensors", hub)
    page = model_page.published(page, PACKED, hub.repo, None)
    tag = re.sub(r"[^a-z0-9]+", "-", name.lower())[:64].strip("-")
    return Publication(folder / PACKED, page, config, tag, weights)


def _read(folder: Path) -> tuple[Header, str, bytes]:
    """The three files of ``zoo pack``, fit to be shown to others."""
    for name in (PACKED, CONFIG, PAGE):
        if (folder / name).is_symlink() or ((folder / name).exists() and not (folder / name).is_file()):
            raise UsageError(
                f"{folder / name} is a link or no file, which zoo pack does not write",
                "what it leads to is not published",
            )
    try:
        page, config = read_small(folder / PAGE).decode("utf-8"), read_small(folder / CONFIG)
    except FileNotFoundError as exc:
        raise NotFoundError(
            f"there is no {Path(exc.filename).name} in {folder}", "give the folder that zoo pack wrote: RUN/packed"
        ) from exc
    except (OSError, ValueError) as exc:
        raise UsageError(f"cannot read {folder}: {describe(exc)}", "pack the run again") from exc
    header = read_header(folder / PACKED)
    check_finite_file(folder / PACKED)
    if not header.network:
        raise IntegrityError(f"{folder / PACKED} does not say which network it is for", "make it with zoo pack")
    _written_by_pack(folder / CONFIG, config, header)
    if str(header.facts.get("licence", "unknown")) in ("", "unknown"):
        raise UsageError(
            "nobody may use weights without a licence, and these name none",
            'zoo pack RUN --licence "CC BY-NC 4.0", or whatever the training pictures allow',
        )
    return header, page, config


def _written_by_pack(path: Path, config: bytes, header: Header) -> None:
    """UsageError unless it is the config.json of these weights, and holds nothing but what ``zoo pack`` puts there."""
    try:
        told = json.loads(config)
        known = {"network", "recipe", "trained", "licence", "zoo"}
        right = told.keys() <= known and told.get("network", header.network) == header.network
    except (ValueError, AttributeError, KeyError, RecursionError):
        right = False
    if not right:
        raise UsageError(f"{path} is not what zoo pack wrote beside these weights", "pack the run again")


def _of_this_recipe(header: Header, card: Card) -> None:
    """The same parts and controls; sizes and options may differ, as a small recipe's from the paper's."""
    known = {part.name for part in host().parts() if part.kind in ("generator", "block")}

    def made_of(network: dict[str, Any]) -> tuple[object, ...]:
        parts = {
            key: value for key, value in dict(network["generator"]).items() if isinstance(value, str) and value in known
        }
        return network.get("plugin"), parts, [control["name"] for control in network.get("controls", [])]

    if made_of(header.network) != made_of(network_of(card)):
        raise UsageError(
            f"these weights are of the recipe {header.network['recipe']}, whose network is not that of {card.name}",
            "give the model that they are of, or publish the folder without a card",
        )


def _weights(path: Path, header: Header, file: str, hub: HubFile, card: Card | None = None) -> Weights:
    with path.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    facts: dict[str, Any] = {"file": file, "sha256": digest, "bytes": path.stat().st_size, "hub": hub}
    trained = header.facts.get("trained")
    if isinstance(trained, dict):
        pictures = [*trained.get("photos", []), *trained.get("drawings", [])]
        facts["trained"] = {
            "data": ", ".join(map(str, pictures)) or "not said",
            "recipe": None if card and card.recipe == header.network["recipe"] else header.network["recipe"],
            "steps": trained.get("steps"),
            "seed": trained.get("seed"),
            "hours": trained.get("hours") or None,
        }
    try:
        return Weights.model_validate(facts)
    except ValidationError as exc:
        raise UsageError(f"a card cannot say this of {path}: {describe(exc)}", "rename, or pack the run again") from exc
