"""A training run made into something to share: weights with their recipe in the header, config.json, a model card."""

from __future__ import annotations

import hashlib
import json
import logging
from importlib.metadata import version
from pathlib import Path
from typing import Any

from zoo.catalogue.host import host
from zoo.errors import NotFoundError, UsageError
from zoo.helpers.files import atomic, clean
from zoo.publish.model_page import front_matter
from zoo.recipe import Recipe
from zoo.train import checkpoint
from zoo.train.folder import settings
from zoo.weights.file import save_weights

log = logging.getLogger("zoo.train")
WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"


def pack(run: Path, out: Path | None = None, *, half: bool = True, licence: str = "unknown") -> Path:
    """Write ``model.safetensors``, ``config.json`` and ``README.md`` of the newest whole checkpoint of ``run``.

    ``out`` is the folder, by default ``run/packed``. The weights are the averaged ones, fp16 if ``half``. Packing again
    replaces the three files, but for a card that somebody has completed since: one that its last line does not fit.
    """
    about_run = settings(run)
    recipe = Recipe.model_validate(about_run["recipe"])
    if (newest := checkpoint.newest(run / "checkpoints")) is None:
        raise NotFoundError(f"{run} holds no checkpoint yet", "let zoo train reach its first one (--save-every)")
    tensors, facts = newest
    folder = out or run / "packed"
    _check_ours(folder)
    clean(folder)  # what a packing that was killed left behind
    trained = {
        "steps": facts["step"],
        "hours": round(facts["seconds"] / 3600, 2),
        "samples_per_step": about_run["samples_per_step"],
        "seed": about_run["seed"],
        "precision": about_run["precision"],
        "photos": [Path(path).name for path in about_run["photos"]],  # names only: paths are the user's own business
        "drawings": list(about_run["drawings"]),
        "started_from": None if about_run["start_from"] is None else Path(about_run["start_from"]).name,
    }
    about = {"trained": trained, "licence": licence}
    weights = checkpoint.select("average", tensors)
    save_weights(folder / WEIGHTS, weights, recipe.network(), facts=about, half=half)
    config = {
        "network": recipe.network(),
        "recipe": recipe.model_dump(mode="json"),
        **about,
        "zoo": version("zoo-core"),
    }
    _write(folder / CONFIG, json.dumps(config, indent=2, ensure_ascii=False) + "\n")
    if _is_edited(folder / CARD):
        log.warning("%s has been edited and is kept as it is", folder / CARD)
    else:
        _write(folder / CARD, _sealed(_card(recipe, trained, licence)))
    return folder


def _sealed(card: str) -> str:
    """The card with a last line that tells whether it was changed: in the file itself, so no crash can part them."""
    return f"{card}\n<!-- zoo pack replaces this card until you change it: {hashlib.sha256(card.encode()).hexdigest()} -->\n"


def _is_edited(path: Path) -> bool:
    if not path.exists():
        return False
    text = path.read_text(encoding="utf-8", errors="replace")
    return text != _sealed(text.rpartition("\n<!--")[0])


def _check_ours(folder: Path) -> None:
    """Files of an earlier packing are replaced; a folder with others of these names is somebody's own."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is not a folder", "give --out a folder")
    if not (folder / WEIGHTS).exists() and (found := [name for name in (CONFIG, CARD) if (folder / name).exists()]):
        raise UsageError(f"{folder} holds a {found[0]} that zoo pack did not write", "give --out another folder")


def _write(path: Path, text: str) -> None:
    with atomic(path) as part:
        part.write_text(text, encoding="utf-8")


def _card(recipe: Recipe, trained: dict[str, Any], licence: str) -> str:
    rows = "\n".join(f"| {name.replace('_', ' ')} | {_plain(value)} |" for name, value in trained.items())
    plugin = host().plugins.get(recipe.plugin)
    install = f"zoo-core {recipe.plugin}".strip() if plugin else "zoo-core"
    return f"""{front_matter(licence, recipe.name)}
# {recipe.summary or recipe.name}

Trained with recipe `{recipe.name}` of {recipe.plugin or "a file of its own"}.

```
pip install {install}
zoo translate {WEIGHTS} portrait.jpg -o drawing.png
```

```python
import zoo

zoo.load("{WEIGHTS}").translate("portrait.jpg").save("drawing.png")
```

| trained | |
|---|---|
{rows}

Licence of the weights: {licence}. The pictures they were trained on may set narrower terms: say here which.
"""


def _plain(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else "—" if value is None else str(value)
