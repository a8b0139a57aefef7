"""`zoo.bulk.translate`: pictures by the million, by the processes of this machine or those of a cluster."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from zoo.bulk.cluster import Cluster, installed
from zoo.bulk.model import Model
from zoo.bulk.pipeline import Drawing
from zoo.bulk.plan import Job, Plan, plan
from zoo.bulk.processes import by_processes
from zoo.bulk.work import Became, How
from zoo.errors import UsageError, ZooError
from zoo.helpers.inputs import Inputs
from zoo.pictures.image import Encoded

BATCH = 16
"""Rows of a data set that are drawn together."""


@dataclass
class Report:
    """What became of the pictures of a call."""

    translated: int = 0
    skipped: int = 0
    failed: dict[str, ZooError] = field(default_factory=dict)
    damaged: dict[str, ZooError] = field(default_factory=dict)  # videos that are done as far as they can be read


def translate(
    pictures: Any,
    model: str,
    out: str | os.PathLike[str] | None = None,
    *,
    cluster: str | None = "auto",
    workers: int | None = None,
    weights: str | os.PathLike[str] = "default",
    device: str | None = None,
    bf16: bool = False,
    compile: bool = False,
    format: str | None = None,
    on_exists: str = "error",
    damaged: bool = False,
    column: str | None = None,
    **options: Any,
) -> Any:
    """Translate pictures, folders, addresses (``s3://``) and tables into ``out``; the result is a `Report`.

    All is as ``zoo translate MODEL IN… -o OUT --cluster`` has it, see docs/large-scale.md. ``cluster``: the address of
    one, ``"auto"`` for that of this program or machine, ``"local"`` for one of this machine alone; None for ``workers``
    processes without Ray. ``workers``: how many; by itself one a GPU, or as many as there are cores for. ``options``:
    ``size``, ``batch``, ``tile``, and the values of controls.

    A ``ray.data.Dataset`` gives one with the pictures of ``column`` translated, see `Drawing`; lazily, unless ``out``
    says into which folder it is written, as Parquet.
    """
    chosen = Model.of(model, str(weights), device=device, bf16=bf16, compile=compile)
    if hasattr(pictures, "map_batches"):
        return _dataset(pictures, chosen, out, workers, column, format, options)
    if out is None:
        raise UsageError("there is no out", "say where the results go")
    words = [os.fspath(one) for one in ([pictures] if isinstance(pictures, str | os.PathLike) else pictures)]
    jobs = plan(words, os.fspath(out), format, Inputs(model, str(weights), *options.values()))
    jobs.refuse(on_exists, os.fspath(out))
    how = How(on_exists, damaged, format, None, options)
    report = Report(skipped=jobs.there)
    for one in became(chosen, how, jobs, cluster=cluster, workers=workers):
        if one.what == "skipped":
            report.skipped += 1
        elif one.what == "failed" and one.error:
            report.failed[one.job.source] = one.error
        else:
            report.translated += one.pictures
            report.failed.update(one.failed)
            if one.error:
                report.damaged[one.job.source] = one.error
    return report


def todo(jobs: Plan, how: How) -> Iterator[Job]:
    """Those that are to be done: pictures first, then videos."""
    there = None if how.on_exists == "overwrite" else False
    return chain(jobs.jobs(there, moves=False), jobs.jobs(there, moves=True))


def became(
    model: Model,
    how: How,
    jobs: Plan,
    cluster: str | None = None,
    workers: int | None = None,
    told: dict[str, int] | None = None,
) -> Iterator[Became]:
    """What became of the jobs whose results are not there, as it comes, or of all where they are replaced.

    ``told`` is kept up to date with how many processes have answered. UsageError before any work."""
    if workers is not None and workers < 1:
        raise UsageError(f"{workers} workers draw nothing", "give 1 or more")
    told = {} if told is None else told
    if cluster is None:
        model.checked(dict(how.options))
        told["actors"] = workers or 1
        return by_processes(model, how, todo(jobs, how), workers or 1)
    installed()
    model.checked(dict(how.options))
    return _by_cluster(model, how, jobs, cluster, workers, told)


def _by_cluster(
    model: Model, how: How, jobs: Plan, cluster: str, workers: int | None, told: dict[str, int]
) -> Iterator[Became]:
    with Cluster(cluster, model.weights.bytes) as connected:
        count = len(jobs) - (jobs.there if how.on_exists != "overwrite" else 0)
        elsewhere = replace(how, options=_sent(how.options))
        yield from connected.work(model, elsewhere, todo(jobs, how), count, workers, told)


def _sent(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options for other machines: pictures that controls name by a path are sent along."""

    def sent(value: Any) -> Any:
        if isinstance(value, list):
            return [sent(one) for one in value]
        path = Path(value) if isinstance(value, str | os.PathLike) else None
        return Encoded(str(path), partial(bytes, path.read_bytes())) if path and path.is_file() else value

    return {name: sent(value) for name, value in options.items()}


def _dataset(
    dataset: Any,
    model: Model,
    out: str | os.PathLike[str] | None,
    workers: int | None,
    column: str | None,
    format: str | None,
    options: dict[str, Any],
) -> Any:
    with Cluster() as connected:
        settings = connected.actors(workers, model.device)
        drawing = {"column": column, "format": format, "sent": connected.parcel(model), **_sent(options)}
        drawn = dataset.map_batches(
            Drawing, fn_constructor_args=(model.name,), fn_constructor_kwargs=drawing, batch_size=BATCH, **settings
        )
        if out is None:
            return drawn
        drawn.write_parquet(os.fspath(out))
        return None
