"""A real cluster of Ray: two nodes on this machine, one of which is killed in the middle."""

from __future__ import annotations

import io
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import forget, leave
from dying import install_dying
from PIL import Image

import zoo.bulk
from zoo.errors import NotFoundError

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.slow
NODE = {"num_cpus": 1, "object_store_memory": 80_000_000, "node_ip_address": "127.0.0.1"}
COLOURS = np.random.default_rng(0).integers(0, 250, (9, 7, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Two nodes with a core each, and this program as their driver. The plugin is on their path."""
    from ray.cluster_utils import Cluster

    site, caches = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("caches")
    install_dying(site)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "PYTHONPATH": str(site),
            "ZOO_CACHE": str(caches),
            "DYING_SLOWLY": "0.1",
            "DYING": str(caches),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # on Linux, too: all stays on the loopback
        }.items():
            patch.setenv(name, value)
        patch.setattr("ray._private.ray_constants.ENABLE_RAY_CLUSTER", False)
        patch.syspath_prepend(str(site))
        forget()
        nodes = Cluster(initialize_head=True, connect=False, head_node_args={**NODE, "include_dashboard": False})
        try:
            nodes.add_node(**NODE)
            ray.init(nodes.address, log_to_driver=False, logging_level="ERROR", _node_ip_address="127.0.0.1")
            yield nodes
        finally:
            ray.shutdown()
            nodes.shutdown()
    for name in ("zoo_tiny", "zoo_tiny.plugin"):
        sys.modules.pop(name, None)


@pytest.fixture
def pictures(cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Pictures in the folder ``in`` of an empty one; the last of them is none."""
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()

    def make(count: int) -> None:
        for number in range(count):
            Image.fromarray(COLOURS).save(f"in/{number:03}.png")
        Path("in/none.png").write_bytes(b"none")

    return make


def names(folder: str) -> set[str]:
    return {path.name for path in Path(folder).iterdir()}


def whole(folder: str) -> bool:
    for path in Path(folder).glob("*.png"):
        with Image.open(path) as image:
            if not np.array_equal(np.asarray(image), COLOURS):
                return False
    return True


def test_the_same_as_in_one_process(pictures: Callable[[int], None], capsys: pytest.CaptureFixture[str]) -> None:
    pictures(5)
    words = ("translate", "tiny", "in", "--json", "--device", "cpu", "--hand", "second")
    code, out, err = leave(capsys, *words, "-o", "one")
    there = leave(capsys, *words, "-o", "two", "--cluster")
    assert there[0] == code == 6
    assert there[2].count("in/none.png") == err.count("in/none.png") == 1
    assert there[2].splitlines()[-2:] == err.splitlines()[-2:]
    told, expected = json.loads(there[1].replace("two/", "one/")), json.loads(out)
    for what in ("translated", "skipped", "failed"):
        assert sorted(told[what], key=str) == sorted(expected[what], key=str)
    for name in names("one"):
        assert Path("one", name).read_bytes() == Path("two", name).read_bytes()
    refused = leave(capsys, *words, "-o", "two", "--cluster")
    assert refused[:2] == (2, "") and "5 of 6 results are there already" in refused[2]


def test_a_machine_dies_and_nothing_is_lost(cluster: Any, pictures: Callable[[int], None]) -> None:
    pictures(24)
    orders = [Path(os.environ["DYING"], when) for when in ("before", "after")]
    for order in orders:  # one actor dies when a result is written but not named, one before it can say that it is
        order.touch()

    def kill() -> None:
        while not (Path("out").is_dir() and len(names("out")) > 8):
            time.sleep(0.1)
        cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)

    killer = threading.Thread(target=kill)
    killer.start()
    report = zoo.bulk.translate("in", "tiny", "out", device="cpu")
    killer.join()
    assert not any(order.exists() for order in orders)
    assert (report.translated, report.skipped, [*report.failed]) == (24, 0, ["in/none.png"])
    assert {name for name in names("out") if not name.startswith(".")} == {f"{n:03}.png" for n in range(24)}
    assert whole("out")


def test_tables_and_pipelines(pictures: Callable[[int], None]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pictures(1)
    content = Path("in/000.png").read_bytes()
    rows = {"id": [1, 2, 3], "image": [{"bytes": one, "path": "a"} for one in (content, b"none", content)]}
    pq.write_table(pa.table(rows), "shop.parquet", row_group_size=2)
    report = zoo.bulk.translate("shop.parquet", "tiny", "out.parquet", device="cpu", invert=True)
    assert report.translated == 2 and ["row 1 (2)" in name for name in report.failed] == [True]
    drawn = pq.read_table("out.parquet").to_pylist()
    assert [row["id"] for row in drawn] == [1, 2, 3]
    assert (
        [row["image"] is None for row in drawn] == [row["error"] is not None for row in drawn] == [False, True, False]
    )
    with Image.open(io.BytesIO(drawn[2]["image"]["bytes"])) as image:
        assert np.abs(255 - np.asarray(image).astype(int) - COLOURS).max() <= 1
    data = ray.data.from_items([{"bytes": content}, {"bytes": b"none"}])
    lazily = zoo.bulk.translate(data, "tiny", device="cpu", invert=True)
    one, other = sorted(lazily.take_all(), key=lambda row: row["error"] is not None)
    assert one["bytes"] == drawn[0]["image"]["bytes"] and other["bytes"] is None and other["error"]


def test_a_worker_without_the_plugin_says_which(cluster: Any, pictures: Callable[[int], None]) -> None:
    class Busy:  # here, so that it is sent with its code
        def here(self) -> None:
            pass

    pictures(1)
    busy = [ray.remote(num_cpus=1)(Busy).remote() for _ in range(int(ray.cluster_resources()["CPU"]))]
    ray.get([one.here.remote() for one in busy])
    bare = cluster.add_node(**NODE, env_vars={"PYTHONPATH": ""})
    try:
        with pytest.raises(NotFoundError, match="tiny needs the plugin zoo-tiny"):
            zoo.bulk.translate("in", "tiny", "out", device="cpu")
    finally:
        for one in busy:
            ray.kill(one)
        cluster.remove_node(bare)
    assert not Path("out").exists()
