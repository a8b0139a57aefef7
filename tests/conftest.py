"""No test reaches the network or the user's caches."""

from __future__ import annotations

import gc
import importlib
import ipaddress
import pickle
import socket
import sys
from collections.abc import Iterator
from functools import lru_cache
from typing import Any
from unittest.mock import patch

import pytest
import torch
from shared import leave as leave

from zoo.catalogue.host import host
from zoo.catalogue.registry import registry
from zoo.helpers import reading

SETTINGS = (
    "HF_ENDPOINT",
    "HF_HUB_OFFLINE",
    "HF_TOKEN",
    "HF_HUB_CACHE",
    "ZOO_MEMORY",
    "ZOO_MIRRORS",
    "ZOO_PLUGINS",
    "ZOO_DEBUG",
)
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Loopback only, in this process; an endpoint where nobody listens for others; caches of its own."""
    for name in (*SETTINGS, *PROXIES):
        monkeypatch.delenv(name, raising=False)
    caches = tmp_path_factory.mktemp("caches")
    monkeypatch.setenv("HF_HOME", str(caches / "huggingface"))
    monkeypatch.setenv("ZOO_CACHE", str(caches / "zoo"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, _guarded(getattr(socket.socket, name)))
    if _seen != sys.path:
        forget()
        _seen[:] = sys.path
    before = host(), registry()  # read once for all tests
    yield
    if not (host.cache_info().currsize and host() is before[0] and registry() is before[1]):
        remember(*before)


_seen: list[str] = []  # where the plugins were looked for


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    gc.freeze()  # what is imported stays; a search of it for what is not costs a tenth of all tests
    marked = [item for item in items if item.get_closest_marker("cuda")]
    if marked and not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


def forget() -> None:
    """What is kept for the length of a process, and depends on the environment."""
    host.cache_clear()
    registry.cache_clear()


def remember(plugins: Any, cards: Any) -> None:
    """What was read before is what there is, though nobody reads it again."""
    forget()
    hosts, registries = (importlib.import_module(f"zoo.catalogue.{name}") for name in ("host", "registry"))
    with (
        patch.multiple(hosts, discover=dict, PluginHost=lambda *_: plugins),
        patch.multiple(registries, read_yaml=lambda *_: {}, parse_cards=lambda *_: ([], []), Registry=lambda *_: cards),
    ):
        host(), registry()


@lru_cache(256)
def _parsed(text: str) -> bytes:
    return pickle.dumps(_parse(text))


_parse = reading.parse_yaml
# the same few files are read in most tests: parsed once, and each time as new
vars(reading)["parse_yaml"] = lambda text: pickle.loads(_parsed(text))  # noqa: S301  (our own)


def _guarded(connect: Any) -> Any:
    def only_loopback(self: socket.socket, address: Any) -> Any:
        if isinstance(address, tuple) and not _is_loopback(str(address[0])):
            raise RuntimeError(f"a test wants to reach {address[0]}")
        return connect(self, address)

    return only_loopback


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"
