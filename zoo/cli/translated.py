"""What `zoo translate` tells of its work: bars while it lasts, failures as they happen, and the report."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any

import typer

import zoo.cli.bars
from zoo.bulk.plan import Plan
from zoo.bulk.spool import Spool
from zoo.bulk.work import Became, How
from zoo.cli.output import Listed
from zoo.errors import PartialFailure, ZooError, one_line


class Bars(zoo.cli.bars.Bars):
    """One for the pictures, and one for what the present one tells."""

    def __init__(self, total: int) -> None:
        super().__init__()
        self.processes: dict[str, int] = {}  # how many of them there are, where this one draws nothing itself
        self._since = time.monotonic()
        self._done = self._failed = 0
        self._pictures = self.add_task("translating", total=total)

    def told(self, one: Became) -> None:
        """One more is done."""
        self._done += one.pictures + len(one.failed)
        self._failed += len(one.failed) + (one.what == "failed")
        self.silence()
        self.update(self._pictures, completed=self._done, description=" · ".join(self._facts()))

    def _facts(self) -> Iterator[str]:
        yield "translating"
        if count := self.processes.get("actors"):
            yield f"{self._done / max(time.monotonic() - self._since, 1e-3):.1f} pictures a second"
            yield f"{count} at work"
        if self._failed:
            yield f"{self._failed} failed"


class Report:
    """Counts in memory, names on disk."""

    def __init__(self, jobs: Plan, how: How, bars: Bars) -> None:
        self.jobs, self.how, self.bars = jobs, how, bars
        self.translated = self.failed = self.damaged = 0
        self.skipped = jobs.there if how.on_exists == "skip" else 0
        self.error: ZooError | None = None  # the last one
        self.rows = Spool()

    def of(self, made: Iterable[Became]) -> Report:
        for one in made:
            self._count(one)
            self.bars.told(one)
        return self

    def _count(self, one: Became) -> None:
        job, error = one.job, one.error
        self.rows.add(one.what, job.source, job.target, str(error) if one.what == "failed" else error and error.message)
        if one.what == "skipped":
            self.skipped += 1
        elif one.what == "failed":
            self.failed += 1
            self.error = error
            if len(self.jobs) > 1:
                self._say(job.source, str(error))
        else:
            self.translated += one.pictures
            self.damaged += error is not None
            if error:
                self._say(job.source, error.message)
        for name, why in one.failed.items():
            self.failed += 1
            self.rows.add("failed", name, job.target, str(why))
            self._say(name, str(why))

    def _say(self, source: str, text: str) -> None:
        told = text if source in text else f"{source}: {text}"
        self.bars.console.print(f"zoo: {one_line(told)}", markup=False, highlight=False, soft_wrap=True)

    def as_json(self, model: str) -> dict[str, Any]:
        def rows(what: str) -> Iterator[list[Any]]:
            return (rest for word, *rest in self.rows if word == what)

        there = self.jobs.jobs(there=True) if self.how.on_exists == "skip" else ()
        skipped = [([job.source, job.target] for job in there), (row[:2] for row in rows("skipped"))]
        return {
            "model": model,
            "translated": Listed(
                {"input": source, "output": target, **({"damaged": damage} if damage else {})}
                for source, target, damage in rows("translated")
            ),
            "skipped": Listed({"input": source, "output": target} for some in skipped for source, target in some),
            "failed": Listed({"input": source, "error": error} for source, _, error in rows("failed")),
            **({"left_out": Listed(name for (name,) in self.jobs.left)} if self.jobs.left.count else {}),
        }

    def leave(self, origin: str) -> None:
        """The last line, with the name that the model has on the Hub; an error that says so where not all is well."""
        if self.error and len(self.jobs) == 1:
            raise self.error
        counts = f"{self.translated} translated, {self.skipped} skipped, {self.failed} failed"
        if self.failed:
            raise PartialFailure(counts, "the pictures that failed are named above")
        if self.damaged:
            raise PartialFailure(f"{counts}; {self.damaged} videos are damaged", "--damaged says that this is fine")
        typer.echo(f"{counts}, by {origin}" if origin else counts, err=True)
