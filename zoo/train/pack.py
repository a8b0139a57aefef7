"""A training run made into something to share: weights with their recipe in the header, config.json, a model card."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch import Tensor

from zoo.catalogue.host import host
from zoo.errors import NotFoundError, UsageError
from zoo.helpers.files import atomic, clean
from zoo.publish.model_page import front_matter
from zoo.recipe import Recipe
from zoo.train import checkpoint
from zoo.train.folder import OF_A_RUN, RUN, settings
from zoo.weights.file import PACKED, weights_bytes
from zoo.weights.resolve import called

log = logging.getLogger("zoo.train")
CONFIG, CARD = "config.json", "README.md"


def pack(run: Path, out: Path | None = None, *, bits: int = 16, licence: str = "unknown", last: bool = False) -> Path:
    """Write ``model.safetensors``, ``config.json`` and ``README.md`` of ``run``, from its newest whole checkpoint.

    ``out`` is the folder, by default ``run/packed``. The weights are the averaged ones, those that were best on the
    held-out sitters unless the ``last`` are asked for, in 32, 16 or 8 ``bits`` a number
    (`zoo.weights.file.save_weights`). Packing again replaces the three files, but for a card that somebody has completed
    since: one that its last line does not fit.
    UsageError for a folder with files of these names that were not packed from this run: the run keeps their hashes.
    """
    about_run = settings(run)
    recipe = Recipe.model_validate(about_run["recipe"])
    if (newest := checkpoint.newest(run / "checkpoints")) is None:
        raise NotFoundError(f"{run} holds no checkpoint yet", "let zoo train reach its first one (--save-every)")
    tensors, facts = newest
    folder = out or run / "packed"
    packed = _Packed(run)
    _check_free(folder, run, packed)
    clean(folder)  # what a packing that was killed left behind
    trained = {
        "steps": facts["step"],
        "hours": round(facts["seconds"] / 3600, 2),
        "samples_per_step": about_run["samples_per_step"],
        "seed": about_run["seed"],
        "precision": about_run["precision"],
        "photos": [Path(path).name for path in about_run["photos"]],  # names only: paths are the user's own business
        "drawings": list(about_run["drawings"]),
        "started_from": None if about_run["start_from"] is None else _started_from(Path(about_run["start_from"])),
    }
    about = {"trained": trained, "licence": licence}
    best = _best(tensors, trained, facts.get("watch")) if not last else {}
    chosen = best or checkpoint.select("average", tensors)
    weights = weights_bytes(run, chosen, recipe.network(), facts=about, bits=bits)
    config = {
        "network": recipe.network(),
        "recipe": recipe.model_dump(mode="json"),
        **about,
        "zoo": version("zoo-core"),
    }
    files = {PACKED: weights, CONFIG: (json.dumps(config, indent=2, ensure_ascii=False) + "\n").encode()}
    if os.path.lexists(folder / CARD) and (not packed.wrote(folder / CARD) or _is_edited(folder / CARD)):
        log.warning("%s has been edited and is kept as it is", folder / CARD)
    else:
        files[CARD] = _sealed(_card(recipe, trained, licence)).encode()
    packed.write(folder, files)
    return folder


def _started_from(path: Path) -> str:
    """What was published by its name there, a file by its own."""
    return called(path) or path.name


def _best(tensors: Mapping[str, Tensor], trained: dict[str, Any], watch: Mapping[str, Any] | None) -> dict[str, Tensor]:
    """The weights that were best on the held-out sitters, told in ``trained``; none where nobody was held out."""
    weights = checkpoint.select("best", tensors)
    if watch is None or not weights:
        return {}
    looks = dict(watch["looks"])
    began, best = watch["looks"][0], watch["best"]
    if best == began[0] and len(looks) > 1:
        log.warning(
            "the run did not get better than what it began with, which is packed; --last packs its last weights"
        )
    elif best != trained["steps"]:
        log.info("packed: step %d, the best on held-out sitters; --last packs step %d", best, trained["steps"])
    trained |= {"of_steps": trained["steps"], "steps": best}
    trained |= {"held_out_distance": looks[best], "held_out_began": began[1]}
    return weights


def _sealed(card: str) -> str:
    """The card with a last line that tells whether it was changed: in the file itself, so no crash can part them."""
    return f"{card}\n<!-- zoo pack replaces this card until you change it: {hashlib.sha256(card.encode()).hexdigest()} -->\n"


def _is_edited(path: Path) -> bool:
    text = path.read_text(encoding="utf-8", errors="replace")
    return text != _sealed(text.rpartition("\n<!--")[0])


class _Packed:
    """The hashes of all that was packed from a run, a line each in ``run/.packed``: these files may be replaced."""

    def __init__(self, run: Path) -> None:
        self.path = run / ".packed"
        if self.path.exists():
            self.known = set(self.path.read_text(encoding="ascii", errors="replace").split())
        else:  # an older zoo packed what is in run/packed
            old = (run / "packed" / name for name in (PACKED, CONFIG, CARD))
            self.known = {_digest(path.read_bytes()) for path in old if path.is_file()}

    def wrote(self, path: Path) -> bool:
        """Is it a file that was packed from this run?"""
        return path.is_file() and not path.is_symlink() and _digest(path.read_bytes()) in self.known

    def write(self, folder: Path, files: Mapping[str, bytes]) -> None:
        """First the note: after a kill in between the files are known, too."""
        ours = {name for name in files if self.wrote(folder / name)}
        self.known.update(map(_digest, files.values()))
        with atomic(self.path) as part:
            part.write_text("".join(f"{line}\n" for line in sorted(self.known)), encoding="ascii")
        for name, content in files.items():
            with atomic(folder / name, name in ours) as part:
                part.write_bytes(content)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _check_free(folder: Path, run: Path, packed: _Packed) -> None:
    """Files that were packed from this run are replaced, no others."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is not a folder", "give --out a folder")
    place = folder.resolve()
    if (place / RUN).exists() or (place.name in OF_A_RUN and (place.parent / RUN).exists()):
        raise UsageError(f"{folder} belongs to a training run", f"give --out another folder, as {run / 'packed'}")
    found = [path for path in (folder / name for name in (PACKED, CONFIG, CARD)) if os.path.lexists(path)]
    ours = [path for path in found if packed.wrote(path)]
    if others := [path for path in found if path not in ours and (path.name != CARD or not ours)]:
        raise UsageError(
            f"{folder} holds a {others[0].name} that zoo pack did not write from this run",
            "give --out another folder",
        )


def _card(recipe: Recipe, trained: dict[str, Any], licence: str) -> str:
    rows = "\n".join(f"| {name.replace('_', ' ')} | {_plain(value)} |" for name, value in trained.items())
    plugin = host().plugins.get(recipe.plugin)
    install = f"zoo-core {recipe.plugin}".strip() if plugin else "zoo-core"
    return f"""{front_matter(licence, recipe.name)}
# {recipe.summary or recipe.name}

Trained with recipe `{recipe.name}` of {recipe.plugin or "a file of its own"}.

```
pip install {install}
zoo translate {PACKED} portrait.jpg -o drawing.png
```

```python
import zoo

zoo.load("{PACKED}").translate("portrait.jpg").save("drawing.png")
```

| trained | |
|---|---|
{rows}

Licence of the weights: {licence}. The pictures they were trained on may set narrower terms: say here which.
"""


def _plain(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else "—" if value is None else str(value)
