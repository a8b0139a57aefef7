"""A translator as a step of somebody else's pipeline: a callable class for ``ray.data.Dataset.map_batches``."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.bulk.tables import ERROR, PICTURES, encoded, suffix_of
from zoo.errors import UsageError, ZooError
from zoo.loading import load
from zoo.pictures.image import Encoded

if TYPE_CHECKING:
    from zoo.bulk.cluster import Sent


class Drawing:
    """Batches of columns in and out, with the pictures of one column translated.

    They are bytes of files, ``{"bytes", "path"}`` as in data sets of the Hub, or arrays (H, W, C) as
    ``ray.data.read_images`` makes them, and come back in the form that they had, files in their format or ``format``.
    ``column`` need not be told where it is called image, picture, bytes, jpg, png or webp. A picture that fails is None,
    and the column ``error`` says why. The model is that of `zoo.load`, and is loaded once, when the object is made.

    >>> dataset.map_batches(Drawing, fn_constructor_args=("cycleda",), concurrency=2, num_cpus=4)  # doctest: +SKIP
    """

    def __init__(
        self,
        model: str,
        *,
        column: str | None = None,
        format: str | None = None,
        weights: str = "default",
        device: str | None = None,
        dtype: str | None = None,
        sent: Sent | None = None,
        **options: Any,
    ) -> None:
        self.translator = sent.built() if sent else load(model, weights=weights, device=device, dtype=dtype)
        self.translator.stream([], **options)  # wrong ones are told before the first picture
        self.column, self.format, self.options = column, format, options

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        name = self.column or next((known for known in PICTURES if known in batch), None)
        if name not in batch:
            raise UsageError(f"there is no column {name or 'of pictures'} among {', '.join(batch)}", "give column=")
        values = [*batch[name]]
        drawn: list[Any] = []
        errors: list[str | None] = []
        for value, result in zip(values, self.translator.stream(self._sources(values), **self.options)):
            error = result if isinstance(result, ZooError) else None
            if not error and not isinstance(value, np.ndarray):
                content = _content(value) or b""
                result, error = encoded(result, f".{self.format}" if self.format else suffix_of(content))
                result = {**value, "bytes": result} if isinstance(value, dict) else result
            drawn.append(None if error else result)
            errors.append(str(error) if error else None)
        return {**batch, name: _column(drawn), ERROR: np.array(errors, dtype=object)}

    def _sources(self, values: list[Any]) -> Iterator[Any]:
        for number, value in enumerate(values):
            if isinstance(value, np.ndarray):
                yield value
            else:
                yield Encoded(f"row {number} of a batch", partial(bytes, _content(value) or b""))


def _content(value: Any) -> bytes | None:
    return value.get("bytes") if isinstance(value, dict) else value


def _column(values: list[Any]) -> np.ndarray:
    """Arrays of one shape as one, all else as objects."""
    if values and all(isinstance(value, np.ndarray) and value.shape == values[0].shape for value in values):
        return np.stack(values)
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column
