"""The work itself: jobs in, what became of them out. In one process, in each of several, and in each of a cluster."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from itertools import groupby, tee
from pathlib import Path, PurePath
from types import MappingProxyType
from typing import Any, NamedTuple

from torch import Tensor

from zoo.bulk import addresses, folders, tables
from zoo.bulk.ledger import Trace
from zoo.bulk.plan import Job
from zoo.errors import ExistsError, PartialFailure, ZooError
from zoo.pictures.image import Source, encode, to_pil, write, writing
from zoo.progress import Progress
from zoo.translator import Translator

PREVIEWS = 10
"""How many pictures of the way are kept."""

DEATHS = 3
"""A picture at which so many processes have ended is not tried again."""


@dataclass(frozen=True)
class How:
    """What was asked for, the same for all jobs."""

    on_exists: str = "error"  # or skip, overwrite
    damaged: bool = False
    format: str | None = None
    previews: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)  # size, batch, tile, and the values of controls
    metadata: bool = True  # of the pictures, kept in the results
    several: bool = True  # jobs, whose previews are told apart by number


class Became(NamedTuple):
    """What became of a job: it is ``translated``, ``skipped`` because somebody made the result meanwhile, or ``failed``.

    ``error`` says why it failed, or what of it is damaged."""

    job: Job
    what: str
    error: ZooError | None = None
    pictures: int = 1  # of a table there are many,
    failed: Mapping[str, ZooError] = {}  # and of these some have


class Watch:
    """Hears of the work under way, for whoever takes over that of a process which died. Alone nobody does."""

    known: Mapping[int, Trace] = MappingProxyType({})  # what is known of jobs that were begun before

    def begins(self, number: int) -> None:
        """A job's picture is read, and drawn."""

    def claims(self, number: int, digest: str) -> None:
        """A result of this SHA-256 is given its name next."""


def translated(
    translator: Translator,
    jobs: Iterable[Job],
    how: How,
    progress: Progress | None = None,
    watch: Watch | None = None,
) -> Iterator[Became]:
    """Draw and write; what became of each job, in their order. Those that were begun before come first."""
    watch = watch or Watch()
    if watch.known:
        jobs = [*jobs]
        for job in jobs:
            if trace := watch.known.get(job.number):
                yield from _once_more(translator, job, how, progress, watch, trace)
        jobs = [job for job in jobs if job.number not in watch.known]
    yield from _drawn(translator, jobs, how, progress, watch)


def _once_more(
    translator: Translator, job: Job, how: How, progress: Progress | None, watch: Watch, trace: Trace
) -> Iterator[Became]:
    """A job at which a process died, by itself: others shall not share its fate, and no picture is drawn for ever."""
    whole = job.moves and how.on_exists != "overwrite" and os.path.lexists(job.target)  # it was not there before
    if whole or (trace.digest and addresses.holds(job.target, trace.digest)):
        yield Became(job, "translated")
    elif trace.begun >= DEATHS:
        why = ZooError(
            f"{job.source}: the process that draws it ended {trace.begun} times", "does the memory suffice? try --size"
        )
        yield Became(job, "failed", why)
    else:
        yield from _drawn(translator, [job], how, progress, watch)


def _drawn(
    translator: Translator, jobs: Iterable[Job], how: How, progress: Progress | None, watch: Watch
) -> Iterator[Became]:
    """Pictures one after the other go through the network together; videos and tables each by itself."""
    for alone, some in groupby(jobs, lambda job: job.moves or job.tabled):
        if not alone:
            yield from _pictures(translator, some, how, progress, watch)
            continue
        for job in some:
            watch.begins(job.number)
            hears = _Previews(how, progress, job)
            yield (_table if job.tabled else _video)(translator, job, how, hears, watch)


def _pictures(
    translator: Translator, jobs: Iterable[Job], how: How, progress: Progress | None, watch: Watch
) -> Iterator[Became]:
    ahead, jobs = tee(jobs)

    def sources() -> Iterator[Source]:
        for job in ahead:
            watch.begins(job.number)
            yield folders.picture(job.source, job.row) if job.row else addresses.source(job.source)

    hears = _Previews(how, progress)
    results = translator.stream(sources(), progress=hears, **how.options)
    for hears.job in jobs:
        result = next(results)
        yield _outcome(hears.job, how, partial(_written, result, hears.job, how, watch))


def _written(result: Any, job: Job, how: How, watch: Watch) -> None:
    if isinstance(result, ZooError):
        raise result
    with writing(job.target):
        content = encode(result, PurePath(job.target).suffix, metadata=how.metadata)
    watch.claims(job.number, sha256(content).hexdigest())
    addresses.put(content, job.target, how.on_exists == "overwrite")


def _video(translator: Translator, job: Job, how: How, progress: Progress, watch: Watch) -> Became:
    replace = how.on_exists == "overwrite"
    rewrite = partial(translator.translate_video, job.source, job.target, replace=replace, damaged=how.damaged)
    return _outcome(job, how, partial(rewrite, progress=progress, **how.options))


def _table(translator: Translator, job: Job, how: How, progress: Progress, watch: Watch) -> Became:
    """A row group, or a part that pictures become. It is done where some of these failed: the new table says which."""
    stream = partial(translator.stream, progress=progress, **how.options)
    try:
        if job.members is not None:
            content, failed, pictures = folders.drawn(job.members, stream, how.metadata)
        else:
            assert job.group is not None
            rest = job.source, job.group, how.format, stream
            content, failed, pictures = tables.translated(*rest, metadata=how.metadata)
        watch.claims(job.number, sha256(content).hexdigest())
        addresses.put(content, job.target, how.on_exists == "overwrite")
    except ZooError as error:
        return _outcome(job, how, partial(_raise, error))
    return Became(job, "translated", None, pictures, failed)


def _raise(error: ZooError) -> None:
    raise error


def _outcome(job: Job, how: How, do: Callable[[], None]) -> Became:
    """What becomes of the job when it is done so."""
    try:
        do()
    except PartialFailure as error:  # of a damaged video the rest is there
        return Became(job, "translated", error)
    except ExistsError as error:
        return Became(job, "skipped") if how.on_exists == "skip" else Became(job, "failed", error)
    except ZooError as error:
        return Became(job, "failed", error)
    return Became(job, "translated")


class _Previews:
    """Passes on what the present piece of work tells of itself, and keeps pictures of its way in a folder."""

    def __init__(self, how: How, onward: Progress | None, job: Job | None = None) -> None:
        self.how, self.onward, self.job = how, onward, job

    def __call__(self, what: str, done: int, total: int, image: Tensor | None = None) -> None:
        if self.onward:
            self.onward(what, done, total, image)
        if not self.how.previews or image is None or self.job is None or not done:
            return
        if done * PREVIEWS // total > (done - 1) * PREVIEWS // total:
            stem = PurePath(self.job.target).stem
            number = f"{self.job.number + 1}-" if self.how.several else ""
            name = f"{number}{stem}-{done:0{len(str(total))}}.png"
            write(to_pil(image[0]), Path(self.how.previews, name))
