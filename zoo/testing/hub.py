"""A Hub on this machine's loopback: enough of the protocol for the real ``huggingface_hub`` client.

>>> with LoopbackHub() as hub:                                            # doctest: +SKIP
...     hub.add("someone/model", "a" * 40, "model.safetensors", data)
...     os.environ["HF_ENDPOINT"] = hub.url

Downloads are here, uploads in ``zoo.testing.hub_uploads``. Set ``HF_HUB_DISABLE_XET=1``: transfers by Xet are not spoken.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from zoo.testing.hub_uploads import Repository, Uploads

_RESOLVE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)")
_PORTAL = b"<!doctype html><title>Welcome to the hotel</title>"


@dataclass(frozen=True)
class Request:
    """What a client asked for. ``headers`` have lower-case names."""

    method: str
    path: str
    headers: Mapping[str, str]


class LoopbackHub:
    """Serves ``/{repo}/resolve/{revision}/{file}``, and the same files at ``/mirror/{file}`` and ``/mirror/{sha256}``.

    Takes uploads of whoever sends ``token``. Faults are switched by attributes, at any time; ``down``, ``cuts`` and
    ``stalls`` count down with each request they spoil. As a proxy it answers for every host.
    """

    def __init__(self) -> None:
        self.gated = False  # 401 with the Hub's code for it
        self.token = ""  # if set: 401 without this token
        self.read_only = False  # 403 for whoever wants to write
        self.limited = False  # 429 for uploads
        self.down = 0  # so many requests are answered by 500
        self.cuts = 0  # so many transfers break off in the middle
        self.stalls = 0  # so many downloads go silent in the middle
        self.drips = 0.0  # seconds between the bytes of a download
        self.sips = 0.0  # seconds between the bytes that it takes of an upload
        self.promises = False  # "100 Continue" again and again, and no answer
        self.wrong = False  # as many bytes as promised, but others
        self.endless = False  # downloads that do not end, at least not before ten times their size
        self.portal = False  # a web page in place of everything, as in a hotel's network
        self.xet = False  # offers downloads by Xet, and has nothing there
        self.redirect = False  # downloads happen on another host, as from the Hub's content network
        self.loop = False  # downloads are redirected to themselves
        self.requests: list[Request] = []
        self.files: dict[tuple[str, str, str], bytes] = {}  # by repository, revision and name
        self.repositories: dict[str, Repository] = {}
        self.blobs: dict[str, bytes] = {}  # large files by SHA-256, uploaded and not yet part of a commit
        self.closing = threading.Event()
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
        """Publish a file at a commit, which is then the newest of the repository; returns its SHA-256."""
        self.files[repo, revision, file] = data
        self.repositories.setdefault(repo, Repository()).head = revision
        return hashlib.sha256(data).hexdigest()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Handler(Uploads, BaseHTTPRequestHandler):
    hub: LoopbackHub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: Any) -> None:
        """Silence."""

    def _answer(self) -> None:
        hub, path = self.hub, unquote(urlsplit(self.path).path)  # to a proxy the path comes with scheme and host
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.body()
        hub.requests.append(Request(self.command, path, headers))
        if hub.down > 0:
            hub.down -= 1
            self.send(500)
        elif hub.promises and self.command == "GET":
            self._promise()
        elif hub.portal:
            self.send(200, {"Content-Type": "text/html"}, _PORTAL)
        elif path.startswith(("/mirror/", "/content/")):
            wanted = path.rsplit("/", 1)[1]
            found = [d for (_, _, name), d in hub.files.items() if wanted in (name, hashlib.sha256(d).hexdigest())]
            self._deliver(found[0], headers) if found else self.send(404)
        elif path == "/xet-token":
            names = ("Cas-Url", "Access-Token", "Token-Expiration")
            self.send(
                200, {f"X-Xet-{name}": value for name, value in zip(names, (f"{hub.url}/xet", "none", "9999999999"))}
            )
        elif hub.gated and not path.startswith("/api/"):  # everybody may read about it
            self.send(401, {"X-Error-Code": "GatedRepo"})
        elif self.is_upload(path):
            self.upload(path, headers, body)
        elif hub.token and headers.get("authorization") != f"Bearer {hub.token}":
            self.send(401, {"X-Error-Code": "RepoNotFound"})
        elif match := _RESOLVE.fullmatch(path):
            self._resolve(match["repo"], match["revision"], match["file"], headers)
        else:
            self.send(404)

    def _resolve(self, repo: str, revision: str, file: str, headers: Mapping[str, str]) -> None:
        known = self.hub.files
        if repo in self.hub.repositories:
            revision = self.hub.repositories[repo].commit(revision)
        if not any(r == repo for r, _, _ in known):
            self.send(401, {"X-Error-Code": "RepoNotFound"})
        elif not any((r, v) == (repo, revision) for r, v, _ in known):
            self.send(404, {"X-Error-Code": "RevisionNotFound"})
        elif (data := known.get((repo, revision, file))) is None:
            self.send(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": revision})
        else:
            digest = hashlib.sha256(data).hexdigest()
            linked = {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(data)), "X-Repo-Commit": revision}
            if self.hub.xet:
                linked |= {"X-Xet-Hash": digest, "X-Xet-Refresh-Route": f"{self.hub.url}/xet-token"}
            if self.hub.redirect:
                other = f"http://localhost:{self.hub.port}/content/{digest}"
                self.send(302, {**linked, "Location": other})
            else:
                self._deliver(data, headers, {**linked, "ETag": f'"{digest}"'})

    def _deliver(self, data: bytes, asked: Mapping[str, str], headers: Mapping[str, str] | None = None) -> None:
        if self.hub.wrong:
            data = bytes(byte ^ 0xFF for byte in data)
        extra = {**(headers or {}), "Accept-Ranges": "bytes"}
        status, start = 200, 0
        if span := re.fullmatch(r"bytes=(\d+)-(\d*)", asked.get("range", "")):
            status, start, length = 206, int(span[1]), len(data)
            data = data[: int(span[2]) + 1] if span[2] else data
            extra["Content-Range"] = f"bytes {start}-{len(data) - 1}/{length}"
        if self.hub.loop and self.command == "GET":
            self.send(302, {"Location": self.path})
        elif self.hub.endless and self.command == "GET":
            self._without_end(data, extra)
        else:
            self.send(status, extra, data[start:])

    def _promise(self) -> None:
        self.close_connection = True
        with suppress(OSError):  # the client has had enough
            while not self.hub.closing.is_set():
                self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)

    def _without_end(self, data: bytes, headers: Mapping[str, str]) -> None:
        self.close_connection = True
        self.send_response(200)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        with suppress(OSError):  # the client has had enough
            for _ in range(10):
                self.wfile.write(data)

    def send(self, status: int, headers: Mapping[str, str] | None = None, body: bytes = b"") -> None:
        """One answer, whole unless a fault is to spoil it."""
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        download = self.command == "GET" and body and not self.path.startswith("/api/")
        if download and self.hub.cuts > 0:
            self.hub.cuts -= 1
            body = body[: len(body) // 2]
            self.close_connection = True
        elif download and self.hub.stalls > 0:
            self.hub.stalls -= 1
            self.wfile.write(body[: len(body) // 2])
            self.hub.closing.wait()
            return
        try:
            while download and body and self.hub.drips and not self.hub.closing.wait(self.hub.drips):
                self.wfile.write(body[:1])
                body = body[1:]
            self.wfile.write(body)
        except OSError:  # a client that was killed
            self.close_connection = True
