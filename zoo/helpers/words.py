"""What may be said: no secrets, nothing that a terminal obeys, and no more than one reads. One place for each."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from unicodedata import category
from urllib.parse import unquote

LONGEST = 2000  # characters of a message

_UNSEEN = re.compile(r"[^\x20-\x7e\n\t]")
_TELLTALE = re.compile(r"TOKEN|SECRET|PASSWORD|KEY", re.IGNORECASE)
_ADDRESSES = re.compile(r"[a-z]+_proxy|ZOO_MIRRORS|HF_ENDPOINT", re.IGNORECASE)
_PATTERNS = (
    (re.compile(r"(?<=://)[^\s/?#]*@"), "***@"),
    (re.compile(r"(\w://[^\s?]{0,2000})\?[^\s'\")>]*[^\s'\")>:;,.]"), r"\1?***"),  # signatures stand there
    (re.compile(r"\bhf_\w{8,}"), "***"),
    (re.compile(r"\b(bearer|basic) [\w.~+/=-]{8,}", re.IGNORECASE), r"\1 ***"),
)


def printable(text: str) -> str:
    """``text`` with an escape for whatever a terminal obeys, or reads from right to left; lines and tabs stay."""
    return _UNSEEN.sub(_seen, text)


def _seen(found: re.Match[str]) -> str:
    sign = found[0]
    shown = sign.isprintable() or category(sign) == "Zs"
    return sign if shown else sign.encode("unicode_escape").decode()


def shortened(text: str, longest: int = LONGEST) -> str:
    """The beginning of what is too long to be read."""
    return text if len(text) <= longest else f"{text[:longest]}… ({len(text)} characters)"


def is_secret(name: str) -> bool:
    """Does a variable of this name hold a secret?"""
    return _TELLTALE.search(name) is not None


def masked(text: str) -> str:
    """``text`` without passwords, tokens and signatures: those of the environment, and whatever looks like one."""
    for secret in sorted({*_secrets()}, key=len, reverse=True):
        text = text.replace(secret, "***@" if secret.endswith("@") else "***")
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    return text


def _secrets() -> Iterator[str]:
    """What the environment holds: variables by their names; logins and queries of proxies, mirrors and the Hub."""
    for name, value in os.environ.items():
        if is_secret(name):
            yield from (word for word in (value, value.strip()) if len(word) > 5)
        elif _ADDRESSES.fullmatch(name):
            for address in value.split(",") if name == "ZOO_MIRRORS" else [value]:
                login, at, _ = address.strip().rpartition("://")[2].rpartition("@")
                if at:
                    yield f"{login}@"
                    password = login.partition(":")[2]
                    yield from (word for word in (login, password, unquote(password)) if len(word) > 5)
                _, mark, query = address.strip().partition("?")
                if mark and query:
                    yield query
                    values = (part.rpartition("=")[2] for part in query.split("&"))
                    yield from (word for word in values if len(word) > 5)
