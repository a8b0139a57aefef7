"""Batches ahead of time: the next ones are prepared while a step computes."""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, default_collate, get_worker_info

from zoo.train.data import Pictures, Share

READERS = 4  # threads at most; decoding lets them run side by side


def batches(data: Pictures, share: Share, workers: int) -> Iterator[dict[str, Tensor]]:
    """The samples of ``share``, batch by batch, prepared by ``workers`` processes, or by threads of this one if 0."""
    if not workers:
        return _by_threads(data, share)
    data.share()
    return iter(DataLoader(data, batch_sampler=share, num_workers=workers, worker_init_fn=_begin))


def _by_threads(data: Pictures, share: Share) -> Iterator[dict[str, Tensor]]:
    readers = min(READERS, os.cpu_count() or 1)
    # Who leaves the last autocast of a thread empties the cache of cast weights, which all threads share: in the midst of a
    # step gradients would be added up in another precision, and a run not go on bit for bit. Readers never leave the last.
    pool = ThreadPoolExecutor(readers, "pictures", initializer=torch.autocast_increment_nesting)
    waiting: deque[Future[dict[str, Tensor]]] = deque()
    try:
        for indices in share:
            waiting.append(pool.submit(_batch, data, indices))
            if len(waiting) > readers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _batch(data: Pictures, indices: list[int]) -> dict[str, Tensor]:
    batch: dict[str, Tensor] = default_collate([data[i] for i in indices])
    return batch


def _begin(_: int) -> None:
    """A worker goes on when Ctrl-C or a job manager signals the whole group: the engine decides when to stop.

    The workers together keep no more pictures than one process would.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    worker = get_worker_info()
    assert worker is not None
    cast(Pictures, worker.dataset).shelf.room //= worker.num_workers
