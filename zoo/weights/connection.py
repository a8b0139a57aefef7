"""HTTP that ends: a server that says little, or nothing for ever, is left for the next source."""

from __future__ import annotations

import http.client
import io
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

TIMEOUT = 30  # seconds without a byte
MINUTE, LEAST = 60.0, 60_000  # seconds, and the bytes that must come in them
MOST_HEADERS = 1 << 20  # bytes before the first of a file: a server may say "100 Continue" again and again


class SlowError(TimeoutError):
    """Bytes come, but so few that the file would take days, or none of the file."""


class Pace:
    """How fast bytes come or go. SlowError where they are too few in so many minutes."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, minutes: int = 1) -> None:
        self.clock, self.minutes = clock, minutes
        self.since, self.bytes = clock(), 0

    def add(self, count: int) -> None:
        self.bytes += count
        if (passed := self.clock() - self.since) >= MINUTE * self.minutes:
            if self.bytes < LEAST * self.minutes:
                raise SlowError(f"only {self.bytes} bytes moved in {passed:.0f} seconds")
            self.since, self.bytes = self.clock(), 0


class _Paced(io.RawIOBase):
    """What a server sends, while it comes at a pace."""

    def __init__(self, raw: Any, clock: Callable[[], float] = time.monotonic) -> None:
        self.raw, self.pace = raw, Pace(clock)
        self.before_answer = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        count = self.raw.readinto(buffer)
        if self.before_answer >= 0:
            self.before_answer += count or 0
            if self.before_answer > MOST_HEADERS:
                raise SlowError("a megabyte of headers and no answer")
        self.pace.add(count or 0)
        return count

    def close(self) -> None:
        self.raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: Any, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.fp.close()
        self.paced = _Paced(sock.makefile("rb", buffering=0))
        self.fp = io.BufferedReader(self.paced)

    def begin(self) -> None:
        super().begin()
        self.paced.before_answer = -1


class _Http(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(_Connection, req)


class _Https(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(_SecureConnection, req)


class _Connection(http.client.HTTPConnection):
    response_class = _Response


class _SecureConnection(http.client.HTTPSConnection):
    response_class = _Response


class _Redirects(urllib.request.HTTPRedirectHandler):
    """From the web to the web: no file of this machine, no FTP."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        kind = newurl.partition(":")[0].lower()
        if kind not in ("http", "https"):
            raise urllib.error.URLError(f"it leads to an address of {kind}, which is not followed")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def opened(request: urllib.request.Request, timeout: float | None = None) -> Any:
    """The answer to a request over HTTP. Errors as of ``urllib.request.urlopen``; SlowError as it is read."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        _Http(),
        _Https(),
        urllib.request.HTTPDefaultErrorHandler(),
        _Redirects(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener.open(request, timeout=TIMEOUT if timeout is None else timeout)
