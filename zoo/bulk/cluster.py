"""The work on a cluster: actors of Ray Data that load the model once. The only module that imports Ray (extra ``cluster``).

Names stay with one small actor on the machine that began: the data set is the numbers of blocks of jobs, and an actor
asks for the names when it comes to a block, and then, too, how far one that died was with it.
"""

from __future__ import annotations

import logging
import os
import pickle
import platform
import re
from array import array
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

from zoo.bulk.ledger import Ledger, Trace
from zoo.bulk.model import Model
from zoo.bulk.plan import Job
from zoo.bulk.spool import Spool
from zoo.bulk.work import Became, How, Watch, translated
from zoo.errors import NetworkError, NotFoundError, UsageError, ZooError, describe
from zoo.translator import Translator

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anybody

BLOCK = 64
"""Jobs in a block at most: what an actor is given at once."""

CORES = 4
"""That an actor computes with, where there is no GPU and its machine has them."""

STORE = 200_000_000
"""Bytes for Ray's objects, beside the weights, where Ray is started for one command."""

log = logging.getLogger("zoo")


class _Desk(Ledger):
    """The actor with the names."""

    def __init__(self) -> None:
        super().__init__()
        self._blocks, self._places = Spool(), array("q")

    def add(self, jobs: list[Job]) -> None:
        self._places.append(self._blocks.add(*jobs))

    def block(self, number: int) -> tuple[list[Job], dict[int, Trace]]:
        jobs = [Job(*row) for row in self._blocks.at(self._places[number])]
        return jobs, self.known(job.number for job in jobs)


@dataclass(frozen=True)
class Sent:
    """A model as actors are sent it."""

    model: Model
    weights: Any  # Ray's reference to their bytes
    version: str

    def built(self) -> Translator:
        """On the machine where it arrived. Errors as of ``zoo.load``, with the machine's name."""
        if (mine := version("zoo-core")) != self.version:
            raise ZooError(f"{platform.node()} has zoo-core {mine}, not {self.version}", "install the same everywhere")
        return self.model.built_elsewhere(lambda: installed().get(self.weights))


@dataclass(frozen=True)
class _Parcel:
    """All that an actor is sent."""

    sent: Sent
    how: How
    desk: Any
    threads: int
    folder: str


class _Actor(Watch, logging.Handler):
    """Draws blocks. What it cannot do it answers, so that the error is told in one line."""

    def __init__(self, parcel: _Parcel) -> None:
        import torch

        logging.Handler.__init__(self)
        self.parcel, self.desk = parcel, parcel.desk
        self.broken: ZooError | None = None
        self.heard: list[str] = []
        log.addHandler(self)
        log.propagate = False
        with suppress(OSError):  # then only whole paths mean the same
            os.chdir(parcel.folder)
        torch.set_num_threads(parcel.threads)
        try:
            self.translator = parcel.sent.built()
        except ZooError as error:
            self.broken = error

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        import ray

        answers: list[Became] = []
        for number in batch["item"]:
            if self.broken:
                break
            jobs, self.known = ray.get(self.desk.block.remote(int(number)))
            answers += translated(self.translator, jobs, self.parcel.how, None, self)
        heard, self.heard = self.heard, []
        answer = (answers, heard, self.broken, f"{platform.node()} {os.getpid()}")
        return {"answer": [pickle.dumps(answer)]}

    def begins(self, number: int) -> None:
        self.desk.begins.remote(number)

    def claims(self, number: int, digest: str) -> None:
        import ray

        ray.get(self.desk.claims.remote(number, digest))  # it is known before the name is given

    def emit(self, record: logging.LogRecord) -> None:
        self.heard.append(record.getMessage())


class Cluster:
    """A connection to Ray: that of the program, of a cluster at ``address``, or to one that is started for this."""

    def __init__(self, address: str = "auto", room: int = 0) -> None:
        self.address, self.room, self._ours = address, room, False

    def __enter__(self) -> Cluster:
        ray = installed()
        if ray.is_initialized():
            return self
        quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
        try:
            if self.address != "local":
                try:
                    ray.init(self.address, **quiet)
                    self._ours = True
                    return self
                except ConnectionError:
                    if self.address != "auto" or os.environ.get("RAY_ADDRESS"):
                        raise
            store = STORE + self.room
            ray.init("local", include_dashboard=False, object_store_memory=store, _node_ip_address="127.0.0.1", **quiet)
            self._ours = True
        except Exception as error:  # of Ray, of gRPC
            where = os.environ.get("RAY_ADDRESS", "") if self.address == "auto" else self.address
            raise NetworkError(
                f"there is no cluster of Ray at {where or 'this machine'}: {describe(error)}",
                "ray start --head starts one; --cluster=local uses this machine alone",
            ) from error
        return self

    def __exit__(self, *_: object) -> None:
        if self._ours:
            installed().shutdown()

    def actors(self, asked: int | None, device: str | None, most: int = CORES) -> dict[str, Any]:
        """How many, and what each takes, cores up to ``most``: options of Ray Data."""
        from ray.data import ActorPoolStrategy

        ray = installed()
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        gpus = int(sum(node.get("GPU", 0) for node in nodes))
        if gpus and (device is None or device.startswith("cuda")):
            cores, count = 1, gpus
        else:
            cores = int(min([most, *(node["CPU"] for node in nodes if node.get("CPU", 0) >= 1)]))
            count = int(sum(node.get("CPU", 0) // cores for node in nodes))
            gpus = 0
        if not count:
            raise ZooError("the cluster has neither a CPU nor a GPU that may be used", "ray status shows what it has")
        count = asked or count
        pool = ActorPoolStrategy(min_size=1, max_size=count, max_tasks_in_flight_per_actor=2)
        return {"compute": pool, "num_cpus": cores, **({"num_gpus": 1} if gpus else {})}

    def parcel(self, model: Model) -> Sent:
        """The model, with a reference to the bytes of its weights."""
        assert model.found.path is not None
        return Sent(model, installed().put(model.found.path.read_bytes()), version("zoo-core"))

    def work(
        self,
        model: Model,
        how: How,
        jobs: Iterator[Job],
        count: int,
        asked: int | None,
        told: dict[str, int],
        cores: int = CORES,
    ) -> Iterator[Became]:
        """What became of ``count`` jobs, as it comes. ``told`` has the number of actors that have answered."""
        ray = installed()
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        options = self.actors(asked, model.device, cores)
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        desk = ray.remote(_Desk).options(num_cpus=0, scheduling_strategy=here).remote()
        size = max(1, min(BLOCK, count // (8 * options["compute"].max_size)))
        blocks = 0
        while block := [*islice(jobs, size)]:
            sent = desk.add.remote(block)
            blocks += 1
            if blocks % 100 == 0:
                ray.get(sent)  # no more of them wait than that
        parcel = _Parcel(self.parcel(model), how, desk, options["num_cpus"], str(Path.cwd()))
        actors: set[str] = set()
        with _quiet_data():
            numbers = ray.data.from_items([*range(blocks)], override_num_blocks=blocks)
            drawn = numbers.map_batches(_Actor, fn_constructor_args=(parcel,), batch_size=None, **options)
            for batch in drawn.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
                for content in batch.column("answer").to_pylist():
                    became, heard, broken, actor = pickle.loads(content)  # noqa: S301  (from our own actors)
                    actors.add(actor)
                    told["actors"] = len(actors)
                    for text in heard:
                        log.warning("%s", text)
                    if broken:
                        raise broken
                    for one in became:
                        desk.ends.remote(one.job.number)
                        yield one


def installed() -> Any:
    """Ray. UsageError where it is not."""
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise UsageError("a cluster needs Ray, which is not installed", "pip install 'zoo-core[cluster]'") from error
    return ray


@contextmanager
def _quiet_data() -> Iterator[None]:
    """Ray Data draws no bars of its own; what ends it is one line. What the program has set is as before."""
    from ray.data import DataContext

    context, logger = DataContext.get_current(), logging.getLogger("ray.data")
    quiet = {"enable_progress_bars": False, "print_on_execution_start": False}
    before, level = {name: getattr(context, name) for name in quiet}, logger.level
    try:
        vars(context).update(quiet)
        logger.setLevel(logging.CRITICAL)
        yield
    except (ZooError, GeneratorExit):
        raise
    except Exception as error:
        raise _plain(error) from error
    finally:
        vars(context).update(before)
        logger.setLevel(level)


def _plain(error: Exception) -> ZooError:
    """What a failure on another machine means, in one line."""
    if missing := re.search(r"No module named '([\w.]+)'", str(error)):
        name = missing[1].partition(".")[0]
        hint = "install the same zoo-core and plugins on all machines"
        return NotFoundError(f"a machine of the cluster has no {name}", hint)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return ZooError(f"the cluster gave up: {lines[-1] if lines else type(error).__name__}", "--debug shows where")
