"""The errors a user may see: each says what happened, what to do about it, and carries an exit code."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from zoo.helpers.words import masked, printable, shortened


class ZooError(Exception):
    """Base of every error meant for a user. ``hint`` says what to do next; ``exit_code`` is what ``zoo`` returns.

    Neither holds a secret, or more than one reads.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        self.message, self.hint = shortened(masked(message)), shortened(masked(hint))
        super().__init__(self.message, self.hint)

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), self.message, self.hint)


def _again(kind: type[ZooError], message: str, hint: str) -> ZooError:
    """The error as it was in another process, whatever its class makes of what it is given."""
    error = kind.__new__(kind)
    ZooError.__init__(error, message, hint)
    return error


class UsageError(ZooError):
    """The call itself is wrong: an option, a value, a file that is not what was asked for."""

    exit_code = 2


class ExistsError(UsageError):
    """Something has a result's name already, and is not replaced."""

    def __init__(self, path: object, hint: str = "give another name for the result") -> None:
        super().__init__(f"{path} is there already", hint)


class ConfigError(UsageError):
    """A recipe, card, manifest or ``--set`` that does not fit its schema."""


class ControlError(UsageError):
    """An unknown control or a value outside its range."""


class ImageError(UsageError):
    """A picture that cannot be read, used or written."""


class PluginError(UsageError):
    """A plugin that cannot be used: it fails to import, breaks a rule, or needs another core."""


class NotFoundError(ZooError):
    """A name or file that is not there."""

    exit_code = 3


class NetworkError(ZooError):
    """A download or an upload that did not happen."""

    exit_code = 4


class IntegrityError(ZooError):
    """A file whose bytes, header or shapes are not what they must be."""

    exit_code = 5


class PartialFailure(ZooError):
    """Some members of a batch failed; the others are done."""

    exit_code = 6


TOLD = 20
"""Of more names than these the first are told."""


def close_match(word: str, options: Iterable[str]) -> str:
    """``did you mean …?`` for the options near to ``word``, else the options themselves, those of a list in its order; of many the first."""
    import difflib  # not at every start

    known = options if isinstance(options, list) else sorted(options)
    if near := difflib.get_close_matches(word[:100], [name for name in known[:2000] if len(name) <= 100], n=3):
        return f"did you mean {' or '.join(near)}?"
    more = f" and {len(known) - TOLD} more" if len(known) > TOLD + 1 else ""
    return f"there are: {', '.join(known[:TOLD] if more else known)}{more}" if known else "there are none"


def one_line(text: str) -> str:
    """``text`` on one line, without anything that a terminal would obey: file names may hold it."""
    return printable(" ".join(text.split()))


def describe(exc: BaseException) -> str:
    """One line for any exception."""
    return shortened(masked(_described(exc)))


def _described(exc: BaseException) -> str:
    if isinstance(exc, ZooError):
        return str(exc)
    if type(exc).__name__ == "ValidationError" and hasattr(exc, "errors"):  # pydantic's, which is not imported here
        first = exc.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg'].removeprefix('Value error, ')}".removeprefix(": ")
    text = str(exc).strip()
    return f"{type(exc).__name__}: {text.splitlines()[0]}" if text else type(exc).__name__
