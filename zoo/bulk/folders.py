"""Pictures of folders that become a table, and pictures of a table that become a folder. See `zoo.bulk.tables`."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import PurePath, PurePosixPath
from typing import Any

from zoo.bulk import addresses, tables
from zoo.errors import UsageError, ZooError
from zoo.pictures.find import is_picture
from zoo.pictures.image import FORMATS, Encoded

PART = 128
"""Pictures in a part of a table: they are in memory together, with their translations."""

PATH, IMAGE = "path", "image"
"""The columns of a table that is made of pictures, beside that of errors."""

Member = Sequence[str]  # a picture, what it is called in the table, and the suffix of its format there
Row = Sequence[Any]  # a table, the number of a row group, and of a row in it


def part(number: int, out: str, members: list[Member]) -> str:
    """The part of the table ``out`` that these become. UsageError if it is there, of other pictures."""
    tables.parquet(out)
    name = f"{out}/pictures-{number:05}{tables.TABLE}"
    if addresses.There()(name) and _paths(name) != [called for _, called, _ in members]:
        raise UsageError(f"{name} holds other pictures than those it would be made of", "give another --out")
    return name


def _paths(name: str) -> list[str] | None:
    with tables.opened(name) as table:
        return table.read([PATH]).column(0).to_pylist() if PATH in table.schema_arrow.names else None


def drawn(
    members: Iterable[Member], stream: Callable[[Iterator[Any]], Iterator[Any]], metadata: bool
) -> tuple[bytes, dict[str, ZooError], int]:
    """The table that pictures become, those that failed, by name, and how many were drawn."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    members, failed = [*members], {}
    columns: dict[str, list[Any]] = {PATH: [called for _, called, _ in members], IMAGE: [], tables.ERROR: []}
    results = stream(addresses.source(source) for source, *_ in members)
    for (source, _, suffix), result in zip(members, results):
        content, error = tables.encoded(result, suffix, metadata)
        if error:
            failed[source] = error
        columns[IMAGE].append(content)
        columns[tables.ERROR].append(str(error) if error else None)
    schema = pa.schema([(PATH, pa.string()), (IMAGE, pa.binary()), (tables.ERROR, pa.string())])
    written = io.BytesIO()
    pq.write_table(pa.table(columns, schema), written)
    return written.getvalue(), failed, len(members) - len(failed)


def rows(name: str, format: str | None) -> Iterator[tuple[str, PurePosixPath, Row]]:
    """What each row of a table is called in messages, the file that its picture becomes, and where it is.

    The file has the name that the row says, below the folder whatever that is, or else its number."""
    _column.cache_clear()  # a table may be another by now
    taken: set[int] = set()
    number = 0
    with tables.opened(name) as table:
        column = tables.column(name, table.schema_arrow)
        for group in range(table.num_row_groups):
            for within, told in enumerate(_told(table, group, column)):
                below = _below(told) if told else None
                if below is None:
                    below = PurePosixPath(f"{PurePath(name).stem}-{number:06}")
                suffix = below.suffix if is_picture(below.name) else ""
                stem = below.with_suffix("") if suffix else below
                suffix = f".{format}" if format else suffix if suffix.lower() in FORMATS else ".png"
                result = stem.with_name(stem.name + suffix)
                if hash(result) in taken:
                    result = stem.with_name(f"{stem.name}-{number:06}{suffix}")
                taken.add(hash(result))
                yield f"{name} row {number}{f' ({told})' if told else ''}", result, (name, group, within)
                number += 1


def _told(table: Any, group: int, column: str) -> Iterator[str | None]:
    """What the rows of a group say that they are called."""
    import pyarrow as pa

    schema = table.schema_arrow
    known = next((one for one in tables.NAMES if one in schema.names and one != column), None)
    kind = schema.field(column).type
    if not known and not (pa.types.is_struct(kind) and kind.get_field_index("path") >= 0):
        yield from [None] * table.metadata.row_group(group).num_rows
        return
    for value in table.read_row_group(group, [known or f"{column}.path"]).column(0).to_pylist():
        value = value.get("path") if isinstance(value, dict) else value
        yield str(value) if isinstance(value, str | int) else None


def _below(told: str) -> PurePosixPath | None:
    """A name as one below the folder: of an address, an absolute path or one that leaves the folder the last part."""
    parts = [one for one in told.replace("\\", "/").replace("\0", "").split("/") if one not in ("", ".")]
    strange = "://" in told or told.startswith(("/", "\\")) or ".." in parts or ":" in "".join(parts[:1])
    if strange:
        parts = [
            one.partition("?")[0] if "://" in told else one for one in parts[-1:] if one != ".." and ":" not in one
        ]
    parts = [one for one in parts if one]
    return PurePosixPath(*parts) if parts else None


def picture(label: str, row: Row) -> Encoded:
    """What a translator reads."""
    return Encoded(label, functools.partial(_content, *row))


def _content(name: str, group: int, within: int) -> bytes:
    value = _column(name, group)[within].as_py()
    return (value.get("bytes") if isinstance(value, dict) else value) or b""


@functools.lru_cache(1)
def _column(name: str, group: int) -> Any:
    """The pictures of a row group: rows come one after the other."""
    with tables.opened(name) as table:
        return table.read_row_group(group, [tables.column(name, table.schema_arrow)]).column(0)
