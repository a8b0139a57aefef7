"""Pictures in Parquet: the bytes of files in a column, and those of their translations in another table.

A table becomes a folder of tables, one of each row group, which are read, drawn and written whole. All columns are kept;
in the place of each picture is its translation, null where it failed, and the column ``error`` says why.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice, tee
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from PIL import Image

from zoo.bulk import addresses
from zoo.errors import ImageError, UsageError, ZooError, describe
from zoo.pictures.image import FORMATS, Encoded, encode

if TYPE_CHECKING:
    import pyarrow as pa

TABLE = ".parquet"
ERROR = "error"
PICTURES = ("image", "picture", "bytes", "jpg", "png", "webp")
"""The column of the pictures, where there are several of bytes."""
NAMES = ("path", "file_name", "filename", "name", "key", "id", "url")
"""The column that says what a row's picture is called, where there is one."""

_ROWS = 64  # that are decoded into Python's bytes at once
_SUFFIXES = {name: suffix for suffix, (name, *_) in reversed(FORMATS.items())}


def plan(words: Sequence[str], out: str, add: Callable[[str, str, int, int], None]) -> None:
    """A job for each row group, with the number of its rows. UsageError for what is no table, or holds no pictures."""
    for word in words:
        names = addresses.beside(word, TABLE)
        if not names:
            raise UsageError(f"{word} is no table, and {out} is one", f"give tables that end with {TABLE}, or a folder")
        for name in names:
            with opened(name) as table:
                column(name, table.schema_arrow)
                for group in range(table.num_row_groups):
                    rows = table.metadata.row_group(group).num_rows
                    add(name, f"{out}/{PurePath(name).stem}-{group:05}{TABLE}", group, rows)


def column(name: str, schema: pa.Schema) -> str:
    """The column with the pictures: bytes, or bytes and path as datasets of the Hub have them. UsageError."""
    import pyarrow as pa

    def of_bytes(kind: pa.DataType) -> bool:
        if pa.types.is_struct(kind):
            return kind.get_field_index("bytes") >= 0 and of_bytes(kind.field("bytes").type)
        return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

    found = [field.name for field in schema if of_bytes(field.type)]
    if len(found) > 1:
        found = [known for known in PICTURES if known in found][:1] or found
    if not found:
        raise UsageError(f"{name} has no column of bytes", f"its columns are: {', '.join(schema.names)}")
    if len(found) > 1:
        raise UsageError(f"{name} has several columns of bytes: {', '.join(found)}", "call that of the pictures image")
    return found[0]


def translated(
    name: str,
    group: int,
    format: str | None,
    stream: Callable[[Iterator[Encoded]], Iterator[Any]],
    *,
    metadata: bool = True,
) -> tuple[bytes, dict[str, ZooError], int]:
    """The table that a row group becomes, the pictures that failed, by name, and how many were drawn. ``stream`` is the
    translator's."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    failed: dict[str, ZooError] = {}
    written = io.BytesIO()
    with opened(name) as table:
        schema = table.schema_arrow
        where = schema.get_field_index(column(name, schema))
        full = schema if ERROR in schema.names else schema.append(pa.field(ERROR, pa.string()))
        above = sum(table.metadata.row_group(one).num_rows for one in range(group))
        pictures, ahead = tee(_pictures(table, group, where, f"{name} row", above))
        results = stream(picture for _, picture in ahead)
        with pq.ParquetWriter(written, full) as writer:
            for batch in table.iter_batches(_ROWS, row_groups=[group]):
                values, errors = [], []
                for (value, picture), result in zip(islice(pictures, len(batch)), results):
                    content, error = encoded(result, f".{format}" if format else suffix_of(picture.fetch()), metadata)
                    if error:
                        failed[picture.name] = error
                    errors.append(str(error) if error else None)
                    values.append(
                        None if error else {**value, "bytes": content} if isinstance(value, dict) else content
                    )
                columns = dict(zip(schema.names, batch.columns))
                columns[schema.names[where]] = pa.array(values, schema.field(where).type)
                columns[ERROR] = pa.array(errors, full.field(ERROR).type)
                writer.write_batch(pa.RecordBatch.from_arrays([columns[field] for field in full.names], schema=full))
    return written.getvalue(), failed, table.metadata.row_group(group).num_rows - len(failed)


def _pictures(table: Any, group: int, where: int, called: str, number: int) -> Iterator[tuple[Any, Encoded]]:
    """What stands in the column, and the picture that it holds; its name has the number of the row, and what it says."""
    names = next((name for name in NAMES if name in table.schema_arrow.names), None)
    for batch in table.iter_batches(_ROWS, row_groups=[group]):
        told = batch.column(names).to_pylist() if names else [None] * len(batch)
        for value, name in zip(batch.column(where).to_pylist(), told):
            content = value.get("bytes") if isinstance(value, dict) else value
            name = name or (value.get("path") if isinstance(value, dict) else None)
            yield value, Encoded(f"{called} {number}{f' ({name})' if name else ''}", partial(bytes, content or b""))
            number += 1


def encoded(result: Any, suffix: str, metadata: bool = True) -> tuple[bytes | None, ZooError | None]:
    if isinstance(result, ZooError):
        return None, result
    try:
        return encode(result, suffix, metadata=metadata), None
    except (OSError, ValueError) as error:  # a side too long for the format
        return None, ImageError(f"cannot be written: {error}", "write png")


def suffix_of(content: bytes) -> str:
    """Of the format that the picture has, if that can be written."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            return _SUFFIXES.get(image.format or "", ".png")
    except Exception:  # it failed, or is HEIC
        return ".png"


def parquet(name: str) -> Any:
    """pyarrow's module. UsageError where it is not installed, and the table ``name`` can be neither read nor written."""
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise UsageError(f"{name} needs pyarrow, which is not installed", "pip install 'zoo-core[cluster]'") from error
    return pyarrow.parquet


@contextmanager
def opened(name: str) -> Iterator[Any]:
    pq = parquet(name)
    with addresses.reading(name) as file:
        try:
            table = pq.ParquetFile(file)
        except Exception as error:  # pyarrow's, which are many
            raise ImageError(f"{name} is no Parquet file: {describe(error)}", "copy or write it again") from error
        yield table
