"""Which requests the page answers: those to its own host names, from its own origin, and for paths that it serves.

A plain ASGI wrapper, the outermost one. Any web page in a browser can send requests to this one. So a page of another
site must not reach it: neither by a host name that resolves to this machine (DNS rebinding), nor by a cross-origin
request. `coseg.page.calls` then checks what the requests contain.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import re
import socket
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import unquote, urlsplit

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "::1")

_SERVED = re.compile(
    r"/(|config/?|theme\.css|favicon\.ico|robots\.txt|manifest\.json|pwa_icon(/\d+)?|(assets|static|svelte)/.+)"
    r"|/gradio_api/(info/?|app_id/?|user/?|startup-events|theme\.css|heartbeat/\w+|queue/(join|data)|cancel|reset/?"
    r"|upload|upload_progress|file=.+)"
)
"""The routes of gradio that the page uses: none that fetches from other servers, records or runs code."""

_SAFE = ("GET", "HEAD")
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"frame-ancestors 'self'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"same-origin"),
)

log = logging.getLogger(__name__)


async def refuse(send: Send, status: int, sentence: str) -> None:
    """Answer with a sentence as plain text, which gradio shows."""
    body = sentence.encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, (b"connection", b"close")]})
    await send({"type": "http.response.body", "body": body})


async def refuse_call(send: Send, status: int, sentence: str) -> None:
    """Answer with a sentence as JSON, which gradio's clients read."""
    body = json.dumps({"detail": sentence, "error": sentence}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Names:
    """The host names of the page.

    Args:
        host: the address that it listens at.
        port: its port.
        allowed: further names, accepted with any port: a proxy in front of the page has its own port.
    """

    def __init__(self, host: str, port: int, allowed: Iterable[str] = ()) -> None:
        self.host, self.port = host, port
        self._allowed = {name.lower() for name in allowed}
        self._local = host in LOOPBACK_NAMES
        self._names = {*LOOPBACK_NAMES, host.lower()} - {"0.0.0.0", "::"}
        if not self._local:
            self._names |= {socket.gethostname().lower(), socket.getfqdn().lower()}

    def allow(self, host: str) -> bool:
        """Whether a ``Host`` header names this page.

        A page that other machines can reach accepts any IP address: DNS rebinding needs a name.
        """
        parted = _parted(host)
        if parted is None:
            return False
        name, port = parted
        if name in self._allowed:
            return True
        return (port or 80) == self.port and (name in self._names or (not self._local and _is_address(name)))


def _parted(host: str) -> tuple[str, int | None] | None:
    match = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::(\d{1,5}))?", host)
    return None if match is None else (match[1].strip("[]").lower().rstrip("."), int(match[2]) if match[2] else None)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _same(url: str, host: str) -> bool:
    """Whether `url` has the origin of `host`, the value of a header."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    theirs, ours = _parted(parts.netloc), _parted(host)
    if parts.scheme not in ("http", "https") or theirs is None or ours is None:
        return False
    default = {"http": 80, "https": 443}[parts.scheme]
    return theirs[0] == ours[0] and (theirs[1] or default) == (ours[1] or default)


class Guard:
    """Wraps the page: refuses all requests but its own, and keeps tracebacks out of the log."""

    def __init__(self, app: App, names: Names) -> None:
        self._app, self._names = app, names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # the page has no websockets
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        wrong = self._wrong(scope)
        if wrong is not None:
            await refuse(send, *wrong)
            return
        started = ended = False

        async def answer(message: Message) -> None:
            nonlocal started, ended
            if message["type"] == "http.response.body":
                ended = not message.get("more_body", False)
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        try:
            await self._app(scope, receive, answer)
        except Exception as error:
            log.warning("%s %s failed: %s", scope["method"], scope["path"][:200], type(error).__name__)
            log.debug("with", exc_info=True)
            if not started:
                await refuse_call(send, 400, "The request is not one that the page makes.")
            elif not ended:
                await send({"type": "http.response.body", "body": b""})

    def _wrong(self, scope: Scope) -> tuple[int, str] | None:
        headers: dict[bytes, list[str]] = {}
        for key, value in scope["headers"]:
            headers.setdefault(key.lower(), []).append(value.decode("latin-1"))
        hosts = headers.get(b"host", [])
        if len(hosts) != 1 or not self._names.allow(hosts[0]):
            return 403, (
                "This page does not answer to that host name: use the address that coseg-demo prints, or start it with "
                "--allowed-host NAME."
            )
        method, path = scope["method"], scope["path"]
        origins = headers.get(b"origin") or (headers.get(b"referer", []) if method not in _SAFE else [])
        site = headers.get(b"sec-fetch-site", ["none"])[0]
        navigates = method == "GET" and path == "/" and headers.get(b"sec-fetch-mode", [""])[0] == "navigate"
        foreign = site in ("cross-site", "same-site") and not navigates
        if foreign or any(not _same(origin, hosts[0]) for origin in origins):
            return 403, "This page answers only to itself, not to pages of other sites."
        if not _SERVED.fullmatch(path) or (path.startswith("/gradio_api/file=") and _elsewhere(path)):
            return 404, "The page has nothing there."
        if method not in (*_SAFE, "POST", "OPTIONS"):
            return 405, "The page has no such method."
        return None


def _elsewhere(path: str) -> bool:
    """Whether the address of a file would be fetched from another machine."""
    name = unquote(path.removeprefix("/gradio_api/file="))
    return re.match(r"\s*[a-zA-Z][a-zA-Z0-9+.-]*:/", name) is not None or name.startswith(("//", "\\\\"))
