"""The words of the page, as HTML: nothing of what others wrote is taken for markup."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from html import escape

from PIL import Image

from zoo.page.shown import Shown
from zoo.page.work import Failed, Told
from zoo.pictures.image import encode


def head(shown: Shown | None, here: bool) -> str:
    """The page's title: the model's where there is only one. ``here``: it is for the machine alone that it runs on."""
    if shown is None:
        stay = " Nothing leaves this machine." if here else ""
        return f"<h1>The zoo</h1><p>Pictures in, pictures out.{stay}</p>"
    return f"<h1>{escape(shown.title)}</h1><p>{escape(shown.summary)}</p>"


def status(told: Told) -> str:
    bar = f'<progress value="{told.done}" max="{told.total}"></progress>' if told.total else "<progress></progress>"
    count = f" <span>{told.done} / {told.total}</span>" if told.total else ""
    return f'<div class="zoo-status" role="status"><p>{escape(told.what)}{count}</p>{bar}</div>'


def waiting(before: int) -> str:
    """Where a visitor stands in the line."""
    people = "1 person is" if before == 1 else f"{before} people are"
    return f'<div class="zoo-status" role="status"><p>{people} before you: your turn comes by itself</p></div>'


def becoming(image: Image.Image) -> str:
    """The picture on its way."""
    encoded = base64.b64encode(encode(image, ".jpg")).decode()
    return f'<img class="zoo-becoming" alt="The picture as it is by now" src="data:image/jpeg;base64,{encoded}">'


def outcome(failed: Iterable[Failed], remarks: Iterable[str] = (), done: int = 0, stopped: bool = False) -> str:
    """What is to be said when all is over; "" where a result says it all."""
    lines = [
        f'<div class="zoo-error" role="alert"><p>{escape(f"{one.name}: " if one.name and one.name not in one.message else "")}'
        f"{escape(one.message)}</p>{f'<p>{escape(one.hint)}</p>' if one.hint else ''}</div>"
        for one in failed
    ]
    if stopped:
        kept = "this is the best so far" if done else "there was nothing to keep yet"
        lines.append(f'<div class="zoo-note" role="status"><p>Stopped: {kept}.</p></div>')
    lines += [f'<div class="zoo-note" role="status"><p>{escape(one)}</p></div>' for one in dict.fromkeys(remarks)]
    return "".join(lines)


def caption(text: str) -> str:
    return f'<p class="zoo-caption">{escape(text)}</p>'


def about(shown: Shown) -> str:
    """The card: what the model is, whose, and what may be done with it."""
    rows: list[tuple[str, str]] = []
    if card := shown.card:
        year = f", {card.paper.year}" if card.paper.year else ""
        link = card.paper.url or ""
        title = escape(card.paper.title)
        if link.startswith("https://"):
            title = f'<a href="{escape(link, quote=True)}" rel="noreferrer noopener" target="_blank">{title}</a>'
        rows.append(("Paper", f"{escape(', '.join(card.paper.authors))}: {title}{year}"))
        rows += [
            (f"Licence of the {part}", escape(getattr(card.licence, part))) for part in ("weights", "code", "data")
        ]
        weights = card.get(shown.tag)
        if weights.trained:
            rows.append(("Trained on", escape(weights.trained.data)))
        rows.append(("File", f"{escape(weights.file)}, {weights.bytes / 1e6:.1f} MB"))
    else:
        rows.append(("Recipe", escape(str(shown.network.get("recipe", "unknown")))))
        rows.append(("Licence of the weights", escape(str(shown.facts.get("licence", "not said")))))
    rows.append(("Plugin", escape(str(shown.network.get("plugin") or "zoo-core"))))
    table = "".join(f"<dt>{name}</dt><dd>{text}</dd>" for name, text in rows)
    return f'<div class="zoo-about"><h2>{escape(shown.title)}</h2><p>{escape(shown.summary)}</p><dl>{table}</dl></div>'
