"""The loopback Hub's API: what repositories are and hold, large files by Git LFS' basic transfer, commits."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qs, urlsplit

import yaml

if TYPE_CHECKING:
    from email.message import Message
    from io import BufferedIOBase

_REPO = r"(?P<repo>[^/]+/[^/]+)"
_KIND = "(?:models|spaces)"
_LARGE = (".safetensors", ".bin")  # what the Hub's default .gitattributes puts into large file storage
_LICENCES = {
    "mit",
    "apache-2.0",
    "bsd",
    "cc-by-4.0",
    "cc-by-nc-4.0",
    "cc0-1.0",
    "other",
    "unknown",
}  # some of the Hub's


@dataclass
class Repository:
    """``head`` is the newest commit, "" for a repository in which nothing lies yet; ``refs`` are other branches and tags.
    Spaces are called ``spaces/USER/NAME``."""

    private: bool = False
    head: str = ""
    refs: dict[str, str] = field(default_factory=dict)

    def commit(self, revision: str) -> str:
        """What a branch or tag leads to; a commit is itself."""
        return self.head if revision == "main" else self.refs.get(revision, revision)


class Store(Protocol):
    """What uploads see of a hub: its faults, and where things are put."""

    token: str
    gated: bool
    limited: bool
    read_only: bool
    cuts: int
    sips: float
    closing: threading.Event
    files: dict[tuple[str, str, str], bytes]
    repositories: dict[str, Repository]
    blobs: dict[str, bytes]

    @property
    def url(self) -> str: ...
    def add(self, repo: str, revision: str, file: str, data: bytes) -> str: ...


class Uploads:
    """What ``create_repo``, ``create_commit``, ``model_info`` and ``list_models`` ask for. Mixed into the handler of ``LoopbackHub``."""

    if TYPE_CHECKING:
        hub: Store
        command: str
        path: str
        headers: Message
        rfile: BufferedIOBase
        close_connection: bool
        send: Callable[..., None]

    def is_upload(self, path: str) -> bool:
        return path.startswith(("/api/", "/lfs/")) or ".git/info/lfs/" in path

    def upload(self, path: str, headers: Mapping[str, str], body: bytes) -> None:
        found = [
            (call, match)
            for kind, pattern, call in _ROUTES
            if (match := re.fullmatch(pattern, path)) and kind == self.command
        ]
        if not found:
            return self.send(404)
        hub, writes = self.hub, self.command == "POST" and "validate" not in path
        call, named = found[0][0], found[0][1].groupdict()
        space = path.startswith(("/api/spaces/", "/spaces/"))
        if (repo := named.get("repo")) and space:
            repo = named["repo"] = f"spaces/{repo}"
        if path.startswith("/lfs/"):  # the storage is another service, whose links carry their own permission
            call(self, body=body, **named)
        elif hub.token and headers.get("authorization") != f"Bearer {hub.token}":
            known = "authorization" not in headers and self.command == "GET"
            wrong = {"X-Error-Message": "Invalid credentials in Authorization header"}
            self.send(401, {"X-Error-Code": "RepoNotFound"} if known else wrong)
        elif writes and hub.limited:
            self.send(429, {"RateLimit": '"api";r=0;t=120'})
        elif writes and hub.read_only:
            self.send(403, {"X-Error-Message": "You don't have the rights to write here"})
        elif repo is not None and repo not in hub.repositories:
            self.send(404, {"X-Error-Code": "RepoNotFound"})
        else:
            call(self, body=body, **named)

    def _create(self, body: bytes) -> None:
        asked = json.loads(body)
        repo = f"{asked['organization']}/{asked['name']}"
        if asked.get("type") == "space":
            if not asked.get("sdk"):
                return self._json({"error": "a Space needs an sdk"}, 400)
            repo = f"spaces/{repo}"
        if repo in self.hub.repositories:
            return self._json({"error": "You already created this repo", "url": f"{self.hub.url}/{repo}"}, 409)
        private = asked.get("private") is True or asked.get("visibility") == "private"  # by version of the client
        self.hub.repositories[repo] = Repository(private)
        self._json({"url": f"{self.hub.url}/{repo}", "name": repo})

    def _info(self, body: bytes, repo: str, revision: str = "main") -> None:
        about = self.hub.repositories[repo]
        commit = about.commit(revision)
        if commit != about.head and not any((r, v) == (repo, commit) for r, v, _ in self.hub.files):
            return self.send(404, {"X-Error-Code": "RevisionNotFound"})
        self._json(self._facts(repo, commit))

    def _list(self, body: bytes) -> None:
        """Repositories with a tag, as ``filter`` wants it, and ``search`` in their names."""
        asked = parse_qs(urlsplit(self.path).query)
        found = [
            self._facts(repo, about.head)
            for repo, about in self.hub.repositories.items()
            if not repo.startswith("spaces/")
        ]
        self._json([
            facts
            for facts in found
            if {*asked.get("filter", ())} <= {*facts["tags"]} and asked.get("search", [""])[0] in facts["id"]
        ])  # fmt: skip

    def _facts(self, repo: str, commit: str) -> dict[str, Any]:
        """What the Hub says of a repository: by the front matter of its page, and its files."""
        files = {name: data for (r, v, name), data in self.hub.files.items() if (r, v) == (repo, commit)}
        found = re.match(r"---\n(.*?)\n---\n", files.get("README.md", b"").decode(), re.S)
        front = yaml.safe_load(found[1]) if found else {}
        siblings: list[dict[str, Any]] = []
        for name, data in files.items():
            large = name.endswith(_LARGE)
            lfs = {"lfs": {"sha256": _oid(data, True), "size": len(data), "pointerSize": 134}} if large else {}
            siblings.append({"rfilename": name, "size": len(data), "blobId": _oid(data, False), **lfs})
        licence = [f"license:{front['license']}"] if "license" in front else []
        return {
            "id": repo,
            "modelId": repo,
            "sha": commit or "0" * 40,
            "private": self.hub.repositories[repo].private,
            "gated": "auto" if self.hub.gated else False,
            "downloads": len(siblings),
            "lastModified": "2026-01-02T03:04:05.000Z",
            "tags": [*front.get("tags", ()), *licence],
            "siblings": siblings,
            **({"library_name": front["library_name"]} if "library_name" in front else {}),
        }

    def _check_page(self, body: bytes) -> None:
        front = re.match(r"---\n(.*?)\n---\n", json.loads(body)["content"], re.S)
        licence = re.search(r"^license: (.*)$", front[1], re.M) if front else None
        if licence and licence[1] not in _LICENCES:
            return self._json({"errors": [{"message": '"license" must be one of the known ones'}]}, 400)
        self._json({"errors": [], "warnings": []})

    def _preupload(self, body: bytes, repo: str, revision: str) -> None:
        files = []
        for asked in json.loads(body)["files"]:
            large = asked["path"].endswith(_LARGE)
            known = self.hub.files.get((repo, self.hub.repositories[repo].head, asked["path"]))
            mode = {"uploadMode": "lfs" if large else "regular", "shouldIgnore": False}
            files.append({"path": asked["path"], **mode, "oid": None if known is None else _oid(known, large)})
        self._json({"files": files})

    def _batch(self, body: bytes, repo: str) -> None:
        asked = json.loads(body)
        objects: list[dict[str, Any]] = []
        for item in asked["objects"]:
            there = item["oid"] in self.hub.blobs
            link = {"href": f"{self.hub.url}/lfs/{item['oid']}"}
            verify = {"href": f"{self.hub.url}/lfs/verify"}
            objects.append({**item, **({} if there else {"actions": {"upload": link, "verify": verify}})})
        self._json({"transfer": "basic", "objects": objects})

    def _store(self, body: bytes, oid: str) -> None:
        if self.hub.cuts > 0:
            self.hub.cuts -= 1
            self.close_connection = True  # without an answer
        elif hashlib.sha256(body).hexdigest() != oid:
            self.send(400)
        else:
            self.hub.blobs[oid] = body
            self.send(200)

    def _verify(self, body: bytes) -> None:
        asked = json.loads(body)
        self.send(200 if len(self.hub.blobs.get(asked["oid"], b"")) == asked["size"] else 404)

    def _commit(self, body: bytes, repo: str, revision: str) -> None:
        about = self.hub.repositories[repo]
        files = {name: data for (r, v, name), data in self.hub.files.items() if (r, v) == (repo, about.head)}
        for line in body.splitlines():
            value = (item := json.loads(line))["value"]
            if item["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif item["key"] == "lfsFile":
                if value["oid"] not in self.hub.blobs:
                    return self._json({"error": "a large file was not uploaded"}, 400)
                files[value["path"]] = self.hub.blobs[value["oid"]]
        tree = "".join(f"{name} {hashlib.sha256(data).hexdigest()}\n" for name, data in sorted(files.items()))
        about.head = hashlib.sha1(f"{about.head}\n{tree}".encode(), usedforsecurity=False).hexdigest()
        for name, data in files.items():
            self.hub.add(repo, about.head, name, data)
        url = f"https://huggingface.co/{repo}/commit/{about.head}"  # the client puts its own endpoint there
        self._json({"success": True, "commitOid": about.head, "commitUrl": url})

    def _json(self, data: object, status: int = 200) -> None:
        self.send(status, {"Content-Type": "application/json"}, json.dumps(data).encode())

    def body(self) -> bytes:
        """What came with the request."""
        if self.headers.get("Transfer-Encoding", "") != "chunked":
            length = int(self.headers.get("Content-Length", 0))
            first = b""
            while self.hub.sips and len(first) < length and not self.hub.closing.wait(self.hub.sips):
                first += self.rfile.read(1)
            return first + self.rfile.read(length - len(first))
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)


def _oid(data: bytes, large: bool) -> str:
    """The name of a file's content: SHA-256 in large file storage, else git's."""
    if large:
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


_ROUTES: tuple[tuple[str, str, Callable[..., None]], ...] = (
    ("POST", r"/api/repos/create", Uploads._create),
    ("POST", r"/api/validate-yaml", Uploads._check_page),
    ("GET", r"/api/models", Uploads._list),
    ("GET", rf"/api/{_KIND}/{_REPO}", Uploads._info),
    ("GET", rf"/api/{_KIND}/{_REPO}/revision/(?P<revision>.+)", Uploads._info),
    ("POST", rf"/api/{_KIND}/{_REPO}/preupload/(?P<revision>[^/]+)", Uploads._preupload),
    ("POST", rf"(?:/spaces)?/{_REPO}\.git/info/lfs/objects/batch", Uploads._batch),
    ("POST", r"/lfs/verify", Uploads._verify),
    ("PUT", r"/lfs/(?P<oid>[0-9a-f]{64})", Uploads._store),
    ("POST", rf"/api/{_KIND}/{_REPO}/commit/(?P<revision>[^/]+)", Uploads._commit),
)
