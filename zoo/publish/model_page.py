"""The page of a model on the Hub, its README.md: front matter that the Hub reads, and commands that are right there."""

from __future__ import annotations

import re
from typing import Any

import yaml

from zoo.card import Card, Weights
from zoo.weights.hub import LIBRARY
from zoo.weights.hub_name import PREFIX

_LICENCES = re.compile(  # the Hub's own names (its docs, repositories-licenses), those that weights may well have
    r"""mit|isc|zlib|wtfpl|unlicense|unknown|other|apache-2\.0|mpl-2\.0|bsl-1\.0|(afl|osl)-3\.0|artistic-2\.0
    |bsd(-[23]-clause|-3-clause-clear)?|gpl(-[23]\.0)?|lgpl(-2\.1|-3\.0)?|agpl-3\.0|epl-[12]\.0|eupl-1\.1
    |cc|cc0-1\.0|cc-by-(2\.0|2\.5)|cc-by-nc(-sa)?-2\.0|cc-by(-nc|-sa|-nc-sa|-nc-nd)?-[34]\.0|cc-by-nd-4\.0
    |openrail(\+\+)?|(bigscience|creativeml)-openrail-m""",
    re.X,
)
_SEAL = re.compile(r"\n<!-- zoo pack [^\n]*-->\n\Z")


def front_matter(licence: str, *tags: str) -> str:
    """What the Hub reads at the head of a page. It knows licences by its own names, and any other as `other`."""
    front = {"library_name": LIBRARY, "pipeline_tag": "image-to-image", **terms(licence), "tags": [LIBRARY, *tags]}
    return f"---\n{yaml.safe_dump(front, sort_keys=False)}---\n"


def terms(licence: str) -> dict[str, str]:
    """A licence as the Hub's front matter says it."""
    name = "-".join(re.findall(r"[a-z0-9.+]+", licence.lower()))
    if _LICENCES.fullmatch(name):
        return {"license": name}
    return {"license": "other", "license_name": name or "see-below"}


def published(page: str, packed: str, repo: str, model: str | None) -> str:
    """The page of ``zoo pack`` as it is right on the Hub: its commands name the model, or else the repository."""
    name = model or f"{PREFIX}{repo}"
    page = _SEAL.sub("\n", page).replace(f"zoo translate {packed}", f"zoo translate {name}")
    return page.replace(f'zoo.load("{packed}")', f'zoo.load("{name}")').rstrip() + "\n"


def of_card(card: Card, weights: Weights, model: str) -> str:
    """A page for weights that have no other, of what their card says."""
    rows: list[tuple[str, Any]] = [("file", f"`{weights.file}`, {weights.bytes} bytes"), ("SHA-256", weights.sha256)]
    if weights.trained:
        rows += list(weights.trained.model_dump(exclude_none=True).items())
    rows += [(f"{metric.name} (n = {metric.n})", f"{metric.value}. {metric.protocol}") for metric in weights.metrics]
    table = "\n".join(f"| {name} | {str(value).replace('|', '/')} |" for name, value in rows)
    paper = f"{card.paper.title}. {', '.join(card.paper.authors)}" + (f", {card.paper.year}" if card.paper.year else "")
    return f"""{front_matter(card.licence.weights, card.recipe or card.name)}
# {card.summary}

```
pip install zoo-core {card.plugin}
zoo translate {model} portrait.jpg -o drawing.png
```

```python
import zoo

zoo.load("{model}").translate("portrait.jpg").save("drawing.png")
```

Paper: {paper}{f" ({card.paper.url})" if card.paper.url else ""}

| weights | |
|---|---|
{table}

| licence | |
|---|---|
| code | {card.licence.code} |
| weights | {card.licence.weights} |
| data | {card.licence.data} |
"""
