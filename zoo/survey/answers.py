"""The raters' files: read, checked against the page's key, and summed up in a table."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import combinations
from pathlib import Path

import numpy as np

from zoo.errors import NotFoundError, UsageError, describe
from zoo.helpers.reading import open_table
from zoo.survey.key import Key
from zoo.survey.questions import RATINGS
from zoo.survey.statistics import Estimate, agreement, estimate

LONGEST = 1e9  # seconds
COLUMNS = ("page", "rater", "item", "result", "question", "rating", "seconds", "time")


@dataclass(frozen=True)
class Answer:
    """A line of a rater's file."""

    rater: str
    result: str
    question: str
    rating: int
    seconds: float
    time: datetime


@dataclass
class Answers:
    """What counts, by rater; lines that cannot be used; and what else should be known."""

    of: dict[str, list[Answer]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def find_answers(paths: Iterable[Path]) -> list[Path]:
    """Files as they are, folders as the .csv files in them. NotFoundError if there is none."""
    found: list[Path] = []
    for path in paths:
        found += sorted(path.glob("*.csv")) if path.is_dir() else [path]
    for path in found:
        if not path.is_file():
            raise NotFoundError(f"there is no file {path}", "give the files that the raters downloaded")
    if not found:
        raise NotFoundError("there are no answers", "give the .csv files that the raters downloaded, or their folder")
    return found


def read_answers(files: Sequence[Path], key: Key) -> Answers:
    """All answers to the key's page. Of a rater with several files the newest counts.

    UsageError for a file that is none of a rater's, or one of another page. A damaged line is left out and named.
    """
    answers = Answers()
    sources: dict[str, Path] = {}
    for file in files:
        for rater, given in _by_rater(file, key, answers.faults).items():
            if rater in sources:
                older, newer = sorted([(_last(answers.of[rater]), sources[rater]), (_last(given), file)])
                answers.notes.append(f"{rater} has two files: {newer[1]} counts, {older[1]} is older")
                if newer[1] != file:
                    continue
            answers.of[rater], sources[rater] = given, file
    wanted = len(key.results) * len(key.questions)
    for rater, given in answers.of.items():
        if len(given) < wanted:
            answers.notes.append(f"{rater} gave {len(given)} of {wanted} ratings")
    if not answers.of:
        raise UsageError("no rating can be used", answers.faults[0] if answers.faults else "the files are empty")
    return answers


def _last(given: Sequence[Answer]) -> datetime:
    return max(answer.time for answer in given)


def _by_rater(file: Path, key: Key, faults: list[str]) -> dict[str, list[Answer]]:
    given: dict[str, list[Answer]] = {}
    seen: set[tuple[str, str, str]] = set()
    for number, row in _rows(file):
        if row.get("page", key.page) != key.page:
            raise UsageError(f"{file} answers another page: {row['page']}, not {key.page}", "give the key of its page")
        try:
            answer = _answer(row, key)
            if (place := (answer.rater, answer.result, answer.question)) in seen:
                raise ValueError("it is rated twice")
        except ValueError as error:
            faults.append(f"{file}, line {number}: {error}")
        else:
            seen.add(place)
            given.setdefault(answer.rater, []).append(answer)
    return given


def _rows(file: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Lines with their numbers; each is read for itself, so that damage ends with the line.

    A spreadsheet may have put semicolons or tabs for the commas.
    """
    try:
        with open_table(file) as text:
            lines = text.read().splitlines()
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is not UTF-8 text", "save it as CSV UTF-8, or take the file as downloaded") from error
    except (OSError, ValueError) as error:
        raise UsageError(
            f"cannot read {file}: {describe(error)}", "give the files that the raters downloaded"
        ) from error
    comma = next((sign for sign in ";\t" if lines and sign in lines[0]), ",")
    if not lines or _cells(lines[0], comma) != [*COLUMNS]:
        raise UsageError(f"{file} is not a file of ratings", f"its first line has to be {','.join(COLUMNS)}")
    for number, line in enumerate(lines[1:], 2):
        if line.strip(comma):
            yield number, dict(zip(COLUMNS, cells)) if len(cells := _cells(line, comma)) == len(COLUMNS) else {}


def _cells(line: str, comma: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=comma, strict=True))
    except csv.Error:
        return []


def _answer(row: dict[str, str], key: Key) -> Answer:
    """ValueError says what is wrong with the line."""
    if not row:
        raise ValueError(f"it has not {len(COLUMNS)} values")
    result = key.results.get(row["result"])
    if result is None or result.item != row["item"]:
        raise ValueError(f"the page has no result {row['result']} of item {row['item']}")
    if row["question"] not in key.questions:
        raise ValueError(f"the page has no question {row['question']!r}")
    if row["rating"] not in map(str, RATINGS):
        raise ValueError(f"the rating {row['rating']!r} is not one of {', '.join(map(str, RATINGS))}")
    if not (rater := row["rater"].removeprefix("'").strip()):  # the page's guard against formulas
        raise ValueError("it does not say whose it is")
    try:
        seconds, time = float(row["seconds"]), datetime.fromisoformat(row["time"]).astimezone()
        if not 0 <= seconds < LONGEST:
            raise ValueError
    except (ValueError, OverflowError, OSError):  # the first and last days of the calendar are in no other time zone
        raise ValueError(f"cannot read {row['seconds']!r} seconds at {row['time']!r}") from None
    return Answer(rater, row["result"], row["question"], int(row["rating"]), seconds, time)


@dataclass(frozen=True)
class Mean:
    """Of one model under one question."""

    question: str
    model: str
    estimate: Estimate


@dataclass(frozen=True)
class Difference:
    """Model less ``other``, by the same raters on the same photographs."""

    question: str
    model: str
    other: str
    estimate: Estimate


@dataclass(frozen=True)
class Rater:
    name: str
    ratings: int
    seconds: float  # median of a rating
    mean: float


@dataclass(frozen=True)
class Table:
    means: list[Mean]
    differences: list[Difference]
    agreement: dict[str, float | None]
    raters: list[Rater]


def tabulate(answers: Answers, key: Key) -> Table:
    """Means of the models and of their differences with 95 % intervals, and the raters' agreement, by question."""
    raters, items = [*answers.of], [*key.items]
    means, differences, alphas = [], [], {}
    for question in key.questions:
        grids = {model: np.full((len(raters), len(items)), np.nan) for model in key.models}
        for row, given in enumerate(answers.of.values()):
            for answer in given:
                if answer.question == question:
                    result = key.results[answer.result]
                    grids[result.model][row, items.index(result.item)] = answer.rating
        rated = {model: grid for model, grid in grids.items() if not np.isnan(grid).all()}
        means += [Mean(question, model, estimate(grid, RATINGS[-1])) for model, grid in rated.items()]
        for one, other in combinations(rated, 2):
            difference = rated[one] - rated[other]
            if not np.isnan(difference).all():
                width = RATINGS[-1] - RATINGS[0]
                differences.append(Difference(question, one, other, estimate(difference, width)))
        alphas[question] = agreement(np.hstack([*grids.values()]))
    people = [
        Rater(
            name,
            len(given),
            statistics.median(answer.seconds for answer in given),
            statistics.fmean(answer.rating for answer in given),
        )
        for name, given in answers.of.items()
    ]
    return Table(means, differences, alphas, people)
