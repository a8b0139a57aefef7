"""A training run made into something to share: weights with their recipe in the header, config.json, a model card."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from zoo.errors import ConfigError, NotFoundError
from zoo.files import atomic
from zoo.plugins import describe, host
from zoo.recipe import Recipe
from zoo.train import checkpoint
from zoo.weights import save_weights

WEIGHTS = "model.safetensors"


def pack(run: Path, out: Path | None = None, *, half: bool = True, licence: str = "unknown") -> Path:
    """Write ``model.safetensors``, ``config.json`` and ``README.md`` of the newest whole checkpoint of ``run``.

    ``out`` is the folder, by default ``run/packed``. The weights are the averaged ones, fp16 if ``half``.
    """
    settings = _settings(run)
    recipe = Recipe.model_validate(settings["recipe"])
    tensors, facts = _newest(run)
    trained = {
        "steps": facts["step"],
        "hours": round(facts["seconds"] / 3600, 2),
        "samples_per_step": settings["samples_per_step"],
        "seed": settings["seed"],
        "precision": settings["precision"],
        "photos": [Path(path).name for path in settings["photos"]],  # names only: paths are the user's own business
        "drawings": list(settings["drawings"]),
        "started_from": None if settings["start_from"] is None else Path(settings["start_from"]).name,
    }
    about = {"trained": trained, "licence": licence}
    folder = out or run / "packed"
    weights = checkpoint.select("average", tensors)
    save_weights(folder / WEIGHTS, weights, recipe.network(), facts=about, half=half)
    config = {
        "network": recipe.network(),
        "recipe": recipe.model_dump(mode="json"),
        **about,
        "zoo": version("zoo-core"),
    }
    _write(folder / "config.json", json.dumps(config, indent=2, ensure_ascii=False) + "\n")
    _write(folder / "README.md", _card(recipe, trained, licence))
    return folder


def _settings(run: Path) -> dict[str, Any]:
    path = run / "run.yaml"
    if not path.is_file():
        raise NotFoundError(f"{run} is not the folder of a training run", "give what zoo train had as --out")
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as exc:
        raise ConfigError(f"{path} is damaged: {describe(exc)}", "restore it; it holds the run's recipe") from exc


def _newest(run: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    found = checkpoint.checkpoints(run / "checkpoints")
    if not found:
        raise NotFoundError(f"{run} holds no checkpoint yet", "let zoo train reach its first one (--save-every)")
    return checkpoint.load(found[-1])


def _write(path: Path, text: str) -> None:
    with atomic(path) as part:
        part.write_text(text, encoding="utf-8")


def _card(recipe: Recipe, trained: dict[str, Any], licence: str) -> str:
    front = {"library_name": "zoo", "pipeline_tag": "image-to-image", "license": licence, "tags": ["zoo", recipe.name]}
    rows = "\n".join(f"| {name.replace('_', ' ')} | {_plain(value)} |" for name, value in trained.items())
    plugin = host().plugins.get(recipe.plugin)
    install = f"zoo-core {recipe.plugin}".strip() if plugin else "zoo-core"
    return f"""---
{yaml.safe_dump(front, sort_keys=False)}---

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
