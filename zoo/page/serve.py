"""The page on a port: who may ask for what, from where, and how much of it."""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from zoo.errors import UsageError

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

MEGABYTES, MEGAPIXELS = 32, 50
"""What one picture may have, unless told otherwise."""

SAID = 2_000_000
"""Bytes of a request that is no upload: what was turned and typed."""

DRAINED = 2**27
"""Bytes of a request that is refused, after which nobody listens any more."""

ROOM = 4 * 2**30
"""Bytes of the folder of a run; a page that many use does not fill the disk."""

POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors {frames}"
)
"""For the browser: nothing comes from another host, and nothing goes to one."""

_OF_FILES = "default-src 'none'; style-src 'unsafe-inline'; sandbox"  # what visitors uploaded runs no script

_OPEN = (  # all that the page itself asks for; Gradio answers at many more
    "/", "/config", "/theme.css", "/favicon.ico", "/manifest.json", "/robots.txt", "/login", "/login_check", "/logout",
    "/gradio_api/queue/join", "/gradio_api/queue/data", "/gradio_api/upload", "/gradio_api/upload_progress",
    "/gradio_api/startup-events", "/gradio_api/login_check", "/gradio_api/cancel", "/gradio_api/reset",
    "/gradio_api/theme.css", "/gradio_api/app_id", "/gradio_api/token", "/gradio_api/user",
)  # fmt: skip
_BELOW = ("/assets/", "/static/", "/svelte/", "/gradio_api/heartbeat/", "/gradio_api/file=")

log = logging.getLogger(__name__)


@dataclass
class _Body:
    """What a request brings. Who is answered before all of it is there has the line cut, and may never read why."""

    asked: Receive
    over: bool = False

    async def receive(self) -> MutableMapping[str, Any]:
        message = await self.asked()
        self.over = message["type"] != "http.request" or not message.get("more_body", False)
        return message

    async def whole(self, most: int) -> bytes | None:
        """All of it; None for more than ``most`` bytes."""
        parts, length = [], 0
        while not self.over and length <= most:
            parts.append((await self.receive()).get("body", b""))
            length += len(parts[-1])
        return b"".join(parts) if length <= most else None

    async def drain(self) -> None:
        """Take in the rest and forget it, up to what is too much even for that."""
        left = DRAINED
        while not self.over and left > 0:
            left -= len((await self.receive()).get("body", b""))


@dataclass
class Guard:
    """In front of Gradio: what the page does not need is not there, and no other page of the browser gets in."""

    app: Callable[[Scope, Receive, Send], Awaitable[None]]
    folder: Path
    loopback: bool  # whoever asks has to ask for this machine by its own name
    frames: str = "'none'"  # which sites may show the page within theirs

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http":  # no web sockets
            return
        path = str(scope["path"])
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        body = _Body(receive)
        if fault := self._fault(path, str(scope["method"]), headers):
            await body.drain()
            return await _refuse(send, *fault)
        asked: Receive = body.receive
        if (
            path == "/gradio_api/queue/join"
        ):  # Gradio looks whether a file was uploaded in apps that it launches itself alone
            said = await body.whole(SAID)
            if said is None or not _uploaded(said, self.folder / "uploads"):
                await body.drain()
                return await _refuse(send, 403, "That file was not uploaded here.")
            asked = _again(said, body.receive)
        policy = _OF_FILES if path.startswith("/gradio_api/file=") else POLICY.format(frames=self.frames)
        more = {
            "content-security-policy": policy, "x-content-type-options": "nosniff", "referrer-policy": "no-referrer",
            "permissions-policy": "camera=(self), microphone=(), geolocation=()",
        }  # fmt: skip

        async def told(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                if message["status"] >= 400:
                    await body.drain()
                kept = [(name, value) for name, value in message["headers"] if name.lower().decode() not in more]
                message["headers"] = [*kept, *((name.encode(), value.encode()) for name, value in more.items())]
            await send(message)

        await self.app(scope, asked, told)

    def _fault(self, path: str, method: str, headers: MutableMapping[str, str]) -> tuple[int, str] | None:
        host = headers.get("host", "")
        if self.loopback and not is_loopback(urlsplit(f"//{host}").hostname or ""):
            return 421, "This page is for the machine that it runs on."
        origin = headers.get("origin")
        own = (host, headers.get("x-forwarded-host", host))  # the other behind a proxy: no other site can send it
        if method not in ("GET", "HEAD") and origin and urlsplit(origin).netloc not in own:
            return 403, "Another page asks."
        if path not in _OPEN and not path.startswith(_BELOW):
            return 404, "There is nothing here."
        if path == "/gradio_api/upload":
            return (507, "There is no room for more pictures.") if _size(self.folder) > ROOM else None
        size = headers.get("content-length", "0")
        if "transfer-encoding" in headers or not size.isdecimal() or int(size) > SAID:
            return 413, "That is too much."
        return None


def _again(said: bytes, then: Receive) -> Receive:
    """What hands on a body that was read, and ``then`` what comes."""
    left = [said]

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": left.pop(), "more_body": False} if left else await then()

    return receive


def _uploaded(said: bytes, folder: Path) -> bool:
    """Do all files that a request names lie in the folder of uploads? A visitor may name any file of this machine."""
    try:
        asked = [json.loads(said)]
    except (ValueError, RecursionError):
        return False
    place = folder.resolve()
    while asked:
        one = asked.pop()
        if isinstance(one, list):
            asked += one
        elif isinstance(one, dict):
            asked += one.values()
            named = one.get("path")
            if isinstance(named, str) and not _is_below(named, place):
                return False
    return True


def _is_below(name: str, place: Path) -> bool:
    try:
        return Path(name).resolve().is_relative_to(place)
    except (OSError, ValueError, RuntimeError):  # a zero byte, or links in a circle
        return False


async def _refuse(send: Send, status: int, text: str) -> None:
    body = text.encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def is_loopback(name: str) -> bool:
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@contextmanager
def folder_of_run() -> Iterator[Path]:
    """Where uploads and results are, gone with all of them at the end."""
    folder = Path(tempfile.mkdtemp(prefix="zoo-page-"))
    before = os.environ.get("GRADIO_TEMP_DIR")
    os.environ["GRADIO_TEMP_DIR"] = str(folder / "uploads")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.environ.pop("GRADIO_TEMP_DIR")
        if before is not None:
            os.environ["GRADIO_TEMP_DIR"] = before


def accounts(auth: str) -> list[tuple[str, str]]:
    """``NAME:PASSWORD``, or the path of a file with a line of these for each visitor. UsageError for anything else."""
    path = Path(auth)
    try:
        lines = path.read_text(encoding="utf-8").split("\n") if path.is_file() else [auth]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read", "give a text file with lines NAME:PASSWORD") from error
    found = [
        (name.strip(), colon, word.strip())
        for name, colon, word in (one.partition(":") for one in lines if one.strip())
    ]
    if not found or not all(name and colon and word for name, colon, word in found):
        raise UsageError("--auth is not NAME:PASSWORD", "give that, or a file with a line of it for each visitor")
    return [(name, word) for name, _, word in found]


def serve(
    names: Sequence[str] = (),
    *,
    host: str = "127.0.0.1",
    port: int = 7860,
    auth: str | None = None,
    megabytes: float = MEGABYTES,
    megapixels: float = MEGAPIXELS,
    frames: str = "'none'",
    ready: Callable[[str, list[str]], None] = lambda address, notes: None,
) -> None:
    """Serve the page of these models, or of all that are installed, until the process is asked to end.

    ``ready`` is called with the address and with what there is to say. UsageError for a port that is taken.
    """
    gradio()
    with folder_of_run() as folder:
        import uvicorn
        from fastapi import FastAPI
        from gradio import mount_gradio_app

        from zoo.page import look, shown
        from zoo.page.app import build

        models, notes = ([shown.one(name) for name in names], []) if names else shown.installed()
        users = accounts(auth) if auth else None
        page = build(models, folder, megapixels * 1e6, is_loopback(host))
        page.queue(default_concurrency_limit=None, max_size=200, api_open=False)
        app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
        mount_gradio_app(
            app, page, "", auth=users, auth_message="This page asks who you are.", allowed_paths=[], show_error=False,
            max_file_size=round(megabytes * 1e6), ssr_mode=False, enable_monitoring=False, pwa=False, mcp_server=False,
            footer_links=[], run_history=False, theme=look.theme(), css=look.css(models), head=look.HEAD,
        )  # fmt: skip
        guard = Guard(app, folder, is_loopback(host), frames)
        settings = uvicorn.Config(
            guard, host, port, log_level="warning", access_log=False, server_header=False, ws="none",
            timeout_graceful_shutdown=1,
        )  # fmt: skip
        server = uvicorn.Server(settings)
        listener = _listening(host, port)
        address = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
        ready(address, notes)
        server.run([listener])


def gradio() -> None:
    """UsageError if the extra is missing. What Gradio would tell others of itself is switched off before it wakes."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        import gradio  # noqa: F401
    except ImportError as error:
        raise UsageError("a page needs Gradio, which is not installed", "pip install 'zoo-core[page]'") from error


def _listening(host: str, port: int) -> Any:
    import socket

    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        hint = "give another --port, or 0 for any that is free" if error.errno == 98 else "check --host and --port"
        raise UsageError(f"cannot listen at {host}:{port}: {error.strerror or error}", hint) from error
