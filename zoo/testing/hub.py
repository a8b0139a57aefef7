"""A Hub on this machine's loopback: enough of the file protocol for the real ``huggingface_hub`` client.

>>> with LoopbackHub() as hub:                                            # doctest: +SKIP
...     hub.add("someone/model", "a" * 40, "model.safetensors", data)
...     os.environ["HF_ENDPOINT"] = hub.url
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import unquote

_RESOLVE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)")


@dataclass(frozen=True)
class Request:
    """What a client asked for. ``headers`` have lower-case names."""

    method: str
    path: str
    headers: Mapping[str, str]


class LoopbackHub:
    """Serves ``/{repo}/resolve/{revision}/{file}``, and the same files at ``/mirror/{file}`` and ``/mirror/{sha256}``.

    Faults are switched by attributes, at any time: ``down`` and ``cuts`` count down with each request they spoil.
    """

    def __init__(self) -> None:
        self.gated = False  # 401 with the Hub's code for it
        self.token = ""  # if set: 401 without this token
        self.down = 0  # so many requests are answered by 500
        self.cuts = 0  # so many downloads break off in the middle
        self.wrong = False  # as many bytes as promised, but others
        self.redirect = False  # downloads happen on another host, as from the Hub's content network
        self.requests: list[Request] = []
        self.files: dict[tuple[str, str, str], bytes] = {}  # by repository, revision and name
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        """The value for HF_ENDPOINT."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def port(self) -> int:
        return self._server.server_port

    @property
    def mirror(self) -> str:
        """The value for ZOO_MIRRORS."""
        return f"{self.url}/mirror"

    def add(self, repo: str, revision: str, file: str, data: bytes) -> str:
        """Publish a file; returns its SHA-256."""
        self.files[repo, revision, file] = data
        return hashlib.sha256(data).hexdigest()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: LoopbackHub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: Any) -> None:
        """Silence."""

    def _answer(self) -> None:
        hub, path = self.hub, unquote(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        hub.requests.append(Request(self.command, path, headers))
        if hub.down > 0:
            hub.down -= 1
            self._send(500)
        elif path.startswith(("/mirror/", "/content/")):
            wanted = path.split("/", 2)[2]
            found = [d for (_, _, name), d in hub.files.items() if wanted in (name, hashlib.sha256(d).hexdigest())]
            self._deliver(found[0], headers) if found else self._send(404)
        elif hub.gated:
            self._send(401, {"X-Error-Code": "GatedRepo"})
        elif hub.token and headers.get("authorization") != f"Bearer {hub.token}":
            self._send(401, {"X-Error-Code": "RepoNotFound"})
        elif match := _RESOLVE.fullmatch(path):
            self._resolve(match["repo"], match["revision"], match["file"], headers)
        else:
            self._send(404)

    def _resolve(self, repo: str, revision: str, file: str, headers: Mapping[str, str]) -> None:
        known = self.hub.files
        if not any(r == repo for r, _, _ in known):
            self._send(401, {"X-Error-Code": "RepoNotFound"})
        elif not any((r, v) == (repo, revision) for r, v, _ in known):
            self._send(404, {"X-Error-Code": "RevisionNotFound"})
        elif (data := known.get((repo, revision, file))) is None:
            self._send(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": revision})
        else:
            digest = hashlib.sha256(data).hexdigest()
            linked = {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(data)), "X-Repo-Commit": revision}
            if self.hub.redirect:
                other = f"http://localhost:{self.hub.port}/content/{digest}"
                self._send(302, {**linked, "Location": other})
            else:
                self._deliver(data, headers, {**linked, "ETag": f'"{digest}"'})

    def _deliver(self, data: bytes, asked: Mapping[str, str], headers: Mapping[str, str] | None = None) -> None:
        if self.hub.wrong:
            data = bytes(byte ^ 0xFF for byte in data)
        extra = {**(headers or {}), "Accept-Ranges": "bytes"}
        status, start = 200, 0
        if span := re.fullmatch(r"bytes=(\d+)-", asked.get("range", "")):
            status, start = 206, int(span[1])
            extra["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        self._send(status, extra, data[start:])

    def _send(self, status: int, headers: Mapping[str, str] | None = None, body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.hub.cuts > 0 and body:
            self.hub.cuts -= 1
            body = body[: len(body) // 2]
            self.close_connection = True
        self.wfile.write(body)
