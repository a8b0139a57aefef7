"""Controls: what a user may turn besides the picture. Declared once, they check keywords, make command-line
options, web widgets and documentation, and become the tensors that a generator takes. No torch at import."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from zoo.errors import ConfigError, ControlError, close_match
from zoo.helpers import bounds

if TYPE_CHECKING:
    from torch import Tensor

# Names that `Translator.translate` and `zoo translate` use themselves.
RESERVED = frozenset({
    "batch", "bf16", "compile", "damaged", "debug", "device", "dtype", "format", "help", "image", "images", "inputs", "json",
    "model", "name", "on_exists", "out", "output", "previews", "progress", "replace", "self", "size", "tile", "weights",
})  # fmt: skip


class _Control(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$", max_length=64)
    help: str = Field("", max_length=1000)

    @model_validator(mode="after")
    def _default_is_allowed(self) -> _Control:
        if self.name in RESERVED:
            raise ValueError("the name is taken by an option of translate")
        try:
            self.default_value()
        except ControlError as error:
            raise ValueError(error.message) from None
        return self

    @property
    def option(self) -> str:
        """The command-line option, ``--hand``."""
        return "--" + self.name.replace("_", "-")

    @property
    def takes(self) -> str:
        """What the control accepts, in words."""
        raise NotImplementedError

    def default_value(self) -> Any:
        """The checked default; ControlError if the user has to give one."""
        raise NotImplementedError

    def accept(self, value: Any) -> Any:
        """``value`` in its plain form; ControlError if it is not one of what the control takes."""
        raise NotImplementedError

    def text(self, value: str) -> Any:
        """The checked value of a command-line string."""
        raise NotImplementedError

    def tensor(self, value: Any, n: int) -> Any:
        """A checked value as the generator takes it, for ``n`` pictures: mostly a tensor of shape (n, …)."""
        raise NotImplementedError

    def _refuse(self, value: Any, hint: str = "") -> ControlError:
        return ControlError(f"{self.name} = {_short(value)} is not {self.takes}", hint or self.help)


class Number(_Control):
    """A real number from ``minimum`` to ``maximum``; tensor (n,) float32."""

    type: Literal["number"] = "number"
    default: float | None = 0.0  # None: what the model says
    minimum: float = -math.inf
    maximum: float = math.inf

    @property
    def takes(self) -> str:
        return f"a number{_range(self.minimum, self.maximum)}"

    def default_value(self) -> float | None:
        return self.accept(self.default)

    def accept(self, value: Any) -> float | None:
        if value is None and self.default is None:
            return None
        number = _number(value)
        if number is None or not self.minimum <= number <= self.maximum:
            raise self._refuse(value)
        return number

    def text(self, value: str) -> float | None:
        return self.accept(_parse(value))

    def tensor(self, value: float, n: int) -> Tensor:
        import torch

        return torch.full((n,), value)


class Integer(_Control):
    """A whole number from ``minimum`` to ``maximum``; tensor (n,) int64."""

    type: Literal["integer"] = "integer"
    default: int | None = None  # what the model says
    minimum: int = -(2**53)
    maximum: int = 2**53

    @property
    def takes(self) -> str:
        limits = (limit if abs(limit) < 2**53 else math.inf * limit for limit in (self.minimum, self.maximum))
        return f"a whole number{_range(*limits)}"

    def default_value(self) -> int | None:
        return self.accept(self.default)

    def accept(self, value: Any) -> int | None:
        if value is None:
            return None
        number = _number(value)
        if number is None or not self.minimum <= number <= self.maximum or number != int(number):
            raise self._refuse(value)
        return int(number)

    def text(self, value: str) -> int | None:
        return self.accept(_parse(value))

    def tensor(self, value: int, n: int) -> Tensor:
        import torch

        return torch.full((n,), value, dtype=torch.int64)


class Numbers(_Control):
    """``length`` numbers, each from ``minimum`` to ``maximum``; tensor (n, length) float32. Text: ``0.1,0,0.5``.

    Without ``length`` as many as the user gives, or None."""

    type: Literal["numbers"] = "numbers"
    length: int | None = Field(None, gt=0, le=bounds.ENTRIES)
    default: tuple[float, ...] | None = None  # zeros
    minimum: float = -math.inf
    maximum: float = math.inf

    @property
    def takes(self) -> str:
        return f"{self.length or 'some'} numbers{_range(self.minimum, self.maximum)}"

    def default_value(self) -> tuple[float, ...] | None:
        return self.accept((0.0,) * self.length if self.default is None and self.length else self.default)

    def accept(self, value: Any) -> tuple[float, ...] | None:
        if value is None and not self.length:
            return None
        try:
            numbers = [_number(item) for item in value]
        except TypeError:
            raise self._refuse(value) from None
        if (
            len(numbers) != (self.length or len(numbers))
            or not numbers
            or any(number is None or not self.minimum <= number <= self.maximum for number in numbers)
        ):
            raise self._refuse(value)
        return tuple(number for number in numbers if number is not None)

    def text(self, value: str) -> tuple[float, ...] | None:
        return self.accept([_parse(item) for item in value.split(",")])

    def tensor(self, value: Sequence[float], n: int) -> Tensor:
        import torch

        return torch.tensor([list(value)] * n, dtype=torch.float32)


class Choice(_Control):
    """One of the names in ``choices``; tensor (n,) int64, the place in the list."""

    type: Literal["choice"] = "choice"
    choices: tuple[str, ...] = Field(min_length=1, max_length=bounds.ENTRIES)
    default: str | None = None  # the first

    @property
    def takes(self) -> str:
        return "one of " + ", ".join(self.choices)

    def default_value(self) -> str:
        return self.accept(self.choices[0] if self.default is None else self.default)

    def accept(self, value: Any) -> str:
        if not isinstance(value, str) or value not in self.choices:
            raise self._refuse(value, close_match(str(value), self.choices))
        return value

    def text(self, value: str) -> str:
        return self.accept(value)

    def tensor(self, value: str, n: int) -> Tensor:
        import torch

        return torch.full((n,), self.choices.index(value), dtype=torch.int64)


class Flag(_Control):
    """On or off; tensor (n,) bool."""

    type: Literal["flag"] = "flag"
    default: bool = False

    @property
    def takes(self) -> str:
        return "true or false"

    def default_value(self) -> bool:
        return self.default

    def accept(self, value: Any) -> bool:
        if not isinstance(value, bool):
            raise self._refuse(value)
        return value

    def text(self, value: str) -> bool:
        yes, no = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
        return self.accept(value.lower() in yes if value.lower() in yes + no else value)

    def tensor(self, value: bool, n: int) -> Tensor:
        import torch

        return torch.full((n,), value)


class Text(_Control):
    """Words that the model understands, such as names or a path: it says itself what is wrong with them."""

    type: Literal["text"] = "text"
    default: str | None = None

    @property
    def takes(self) -> str:
        return "text"

    def default_value(self) -> str | None:
        return self.accept(self.default)

    def accept(self, value: Any) -> str | None:
        if value is not None and (not isinstance(value, str) or not value.strip() or not value.isprintable()):
            raise self._refuse(value)
        return value

    def text(self, value: str) -> str | None:
        return self.accept(value)

    def tensor(self, value: str, n: int) -> Any:
        return value


class Image(_Control):
    """Another picture, as `Translator.translate` takes it; tensor (n, 3, H, W) float32 in [-1, 1].

    ``many``: one or several of them, as a list, and on the command line by the option again and again; tensors."""

    type: Literal["image"] = "image"
    required: bool = True
    many: bool = False

    @property
    def takes(self) -> str:
        return "a picture, or several" if self.many else "a picture"

    def default_value(self) -> None:
        return None

    def accept(self, value: Any) -> Any:
        if value is None and self.required:
            raise ControlError(f"{self.name} is missing: it takes {self.takes}", self.help)
        if not self.many or value is None:
            return value  # read and checked by zoo.pictures.image
        if isinstance(value, list | tuple) and not value:
            raise ControlError(f"{self.name} is an empty list: it takes {self.takes}", self.help)
        return list(value) if isinstance(value, list | tuple) else [value]

    def text(self, value: str) -> str:
        return value

    def tensor(self, value: Any, n: int) -> Any:
        if self.many:
            return [picture.expand(n, *picture.shape) for picture in value]
        return value.expand(n, *value.shape)


Control = Annotated[Number | Integer | Numbers | Choice | Flag | Text | Image, Field(discriminator="type")]
_CONTROLS: TypeAdapter[list[Control]] = TypeAdapter(list[Control])


def parse_controls(specs: Iterable[Mapping[str, Any]]) -> list[Control]:
    """The controls of a recipe or weights header. ConfigError if a declaration does not fit."""
    specs = list(specs)
    try:
        controls = _CONTROLS.validate_python(specs)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][2:])  # after the place in the list and the type
        told = f"{where}: {first['msg']}" if where else first["msg"].removeprefix("Value error, ")
        spec = specs[int(first["loc"][0])] if first["loc"] else specs
        raise ConfigError(f"control {_short(spec)}: {told}", "correct the recipe's controls") from None
    names = [control.name for control in controls]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ConfigError(f"control {min(twice)} is declared twice", "give each control its own name")
    return controls


def check(controls: Sequence[Control], given: Mapping[str, Any]) -> dict[str, Any]:
    """Every control's value: the given one, checked, or the default.

    ControlError for an unknown name (with close matches) and for a value that the control does not take."""
    names = [control.name for control in controls]
    for name in given:
        if name not in names:
            raise ControlError(f"no control is called {name}", close_match(name, names))
    return {
        control.name: control.accept(given[control.name] if control.name in given else control.default_value())
        for control in controls
    }


def _number(value: Any) -> float | None:
    """``value`` as a finite float; numpy and torch scalars count, text and booleans do not."""
    if isinstance(value, str | bytes | bool) or not hasattr(value, "__float__"):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _parse(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _range(minimum: float, maximum: float) -> str:
    if math.isfinite(minimum) and math.isfinite(maximum):
        return f" from {minimum:g} to {maximum:g}"
    if math.isfinite(minimum):
        return f" of at least {minimum:g}"
    return f" of at most {maximum:g}" if math.isfinite(maximum) else ""


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
