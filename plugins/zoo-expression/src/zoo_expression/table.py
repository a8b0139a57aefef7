"""Tables of action units: what OpenFace writes, or `zoo face-crops`."""

from __future__ import annotations

import csv
import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from zoo.errors import ConfigError, NotFoundError
from zoo.helpers.files import atomic
from zoo.helpers.reading import open_table
from zoo_expression.units import MOST, UNITS

TABLE = "aus.csv"
COLUMNS = tuple(f"AU{number:02d}_r" for number in UNITS)
SURE = 0.8
"""OpenFace's ``confidence`` from which its intensities are used."""


@dataclass(frozen=True)
class Row:
    """One picture's intensities."""

    file: str
    units: tuple[float, ...]  # 17, from 0 to 5; none if they are not usable
    usable: bool = True
    person: str = ""  # as the table says, else the folder that the picture lies in
    landmarks: tuple[float, ...] = ()  # x0 … x67, y0 … y67, in the picture's pixels, where the table has them


def read_table(path: Path) -> Iterator[Row]:
    """The rows of a CSV file with a column ``file`` and the units' ``AU01_r`` …; names may have spaces around them.

    OpenFace's own columns are understood: where ``success`` is 0 or ``confidence`` is below ``SURE``, a row is not
    usable. NotFoundError, ConfigError.
    """
    if not path.exists():
        raise NotFoundError(f"there is no table {path}", f"give a folder with {TABLE}: zoo face-crops makes one")
    for line in _lines(path, ("file",)):
        yield line.row("file")


def write_table(path: Path, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A CSV file as ``read_table`` takes it where ``heads`` are ``file`` and ``COLUMNS``."""
    with atomic(path) as part, part.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        csv.writer(file).writerows([heads, *rows])


class Labels:
    """Intensities that OpenFace measured, looked up by the names of pictures.

    ``path`` is a folder of the tables that FaceLandmarkImg writes, one for each picture and named like it, or one
    table with a column ``file`` or ``filename``: where the pictures lie below their folder, or their bare names.
    NotFoundError, ConfigError.
    """

    def __init__(self, path: Path) -> None:
        self.rows: dict[str, list[Row]] = {}
        if not path.exists():
            raise NotFoundError(f"there is no table {path}", "give OpenFace's table, or a folder of them")
        self._named_by_table = path.is_dir()
        if self._named_by_table:
            for table in _tables(path):
                name = table.relative_to(path).with_suffix("").as_posix()
                self.rows[name] = [line.row(None) for line in _lines(table, ())]
        else:
            for line in _lines(path, ("file", "filename")):
                row = line.row("file" if "file" in line.cells else "filename")
                self.rows.setdefault(str(PurePosixPath(row.file)), []).append(row)

    def find(self, names: Sequence[str]) -> dict[str, list[Row]]:
        """The rows of each picture that has some; ``names`` are where all of them lie below their folder.

        A name counts where one picture alone is called so."""
        keys = {name: str(PurePosixPath(name).with_suffix("")) if self._named_by_table else name for name in names}
        bare = {name: PurePosixPath(key).name for name, key in keys.items()}
        found: dict[str, list[Row]] = {}
        for called in (bare, keys):  # what names the place counts more
            shared = Counter(called.values())
            found |= {name: self.rows[key] for name, key in called.items() if key in self.rows and shared[key] == 1}
        return found


@dataclass(frozen=True)
class _Line:
    """A line of a table."""

    path: Path
    number: int
    cells: dict[str, str | None]

    def row(self, column: str | None) -> Row:
        """``column`` has the picture's name."""
        file = (self.cells[column] or "").strip() if column else ""
        sure = self._value("success") == 1 if "success" in self.cells else True
        if not sure or ("confidence" in self.cells and self._value("confidence") < SURE):
            return Row(file, (), False)
        units = tuple(self._value(name) for name in COLUMNS)
        if not all(0 <= unit <= MOST for unit in units):
            raise ConfigError(f"{self.path}, line {self.number}: an intensity is not from 0 to 5", "correct the table")
        return Row(file, units, True, self._person(file), self._landmarks())

    def _person(self, file: str) -> str:
        named = (self.cells.get("person") or self.cells.get("identity") or "").strip()
        return named or PurePosixPath(file).parent.as_posix()

    def _landmarks(self) -> tuple[float, ...]:
        for form in ("{}{}", "{}_{}"):  # OpenFace writes x_0
            names = [form.format(axis, point) for axis in "xy" for point in range(68)]
            if all(name in self.cells for name in names):
                return tuple(self._value(name) for name in names)
        return ()

    def _value(self, name: str) -> float:
        try:
            found = float(self.cells[name] or "")
        except ValueError:
            found = math.nan
        if not math.isfinite(found):
            raise ConfigError(
                f"{self.path}, line {self.number}: {name} is {self.cells[name]!r}, not a number", "correct the table"
            )
        return found


def _lines(path: Path, name: Sequence[str]) -> Iterator[_Line]:
    """The lines of a table that has the units' columns and, where ``name`` lists some, one of these."""
    try:
        with open_table(path) as file:
            rows = csv.DictReader(file, skipinitialspace=True)
            rows.fieldnames = heads = [head.strip() for head in rows.fieldnames or ()]
            if "file" not in heads and {"frame", "timestamp"} <= set(heads):
                raise ConfigError(
                    f"{path} is of OpenFace's FeatureExtraction, which does not say which picture a row is of",
                    "run FaceLandmarkImg -fdir PHOTOS -aus -out_dir CSVS and give the folder CSVS",
                )
            if name and not set(name) & set(heads):
                raise ConfigError(
                    f"{path} has no column {' or '.join(name)}",
                    "it says which picture a row is of; of FaceLandmarkImg's tables give zoo face-crops the folder",
                )
            if missing := [head for head in COLUMNS if head not in heads]:
                raise ConfigError(
                    f"{path} has no column {missing[0]}", "it needs AU01_r to AU45_r, as OpenFace names them"
                )
            for row in rows:
                yield _Line(path, rows.line_num, row)
    except (ValueError, csv.Error) as error:
        raise ConfigError(f"{path} is not a CSV table: {error}", "give a table as OpenFace writes it") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}", "check its permissions") from None


def _tables(folder: Path) -> list[Path]:
    """The CSV files in a folder and below, sorted. NotFoundError if there is none."""
    found = [
        Path(place, name)
        for place, _, names in os.walk(folder)
        for name in names
        if name.lower().endswith(".csv") and not name.startswith(".")
    ]
    if not found:
        raise NotFoundError(f"there is no CSV file in {folder}", "give the folder that FaceLandmarkImg wrote")
    return sorted(found)
