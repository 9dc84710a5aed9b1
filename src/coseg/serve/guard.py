"""Which requests a server answers: those to its own host names, and from its own origin.

A plain ASGI wrapper, the outermost one, of the page (`coseg.page.server`) and the service (`coseg.serve.app`). Any web
page in a browser can send requests to them. So a page of another site must not reach them: neither by a host name that
resolves to this machine (DNS rebinding), nor by a cross-origin request.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import re
import socket
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "::1")

SAFE = ("GET", "HEAD")
"""Methods that change nothing."""

_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"frame-ancestors 'self'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"same-origin"),
)

log = logging.getLogger(__name__)


async def refuse(send: Send, status: int, sentence: str) -> None:
    """Answer with a sentence as plain text, and close the connection."""
    body = sentence.encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, (b"connection", b"close")]})
    await send({"type": "http.response.body", "body": body})


async def refuse_call(send: Send, status: int, sentence: str) -> None:
    """Answer with a sentence as JSON."""
    body = json.dumps({"detail": sentence, "error": sentence}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Names:
    """The host names of a server.

    Args:
        host: the address that it listens at.
        port: its port.
        allowed: further names, accepted with any port: a proxy in front of the server has its own port.
    """

    def __init__(self, host: str, port: int, allowed: Iterable[str] = ()) -> None:
        self.host, self.port = host, port
        self._allowed = {name.lower() for name in allowed}
        self._local = host in LOOPBACK_NAMES
        self._names = {*LOOPBACK_NAMES, host.lower()} - {"0.0.0.0", "::"}
        if not self._local:
            self._names |= {socket.gethostname().lower(), socket.getfqdn().lower()}

    def allow(self, host: str) -> bool:
        """Whether a ``Host`` header names this server.

        A server that other machines can reach accepts any IP address: DNS rebinding needs a name.
        """
        parted = _parted(host)
        if parted is None:
            return False
        name, port = parted
        if name in self._allowed:
            return True
        return (port or 80) == self.port and (name in self._names or (not self._local and _is_address(name)))


class Replies(NamedTuple):
    """How a guard refuses.

    Attributes:
        server: what it guards, in sentences.
        command: that starts it.
        refuse: sends a status and a sentence.
        failed: the status and the sentence where the app raises an error.
        wrong: of the method and the path of a request, the status and the sentence that refuse it; None: it is allowed.
    """

    server: str
    command: str
    refuse: Callable[[Send, int, str], Awaitable[None]]
    failed: tuple[int, str]
    wrong: Callable[[str, str], tuple[int, str] | None] = lambda method, path: None


class Guard:
    """Wraps an app: refuses requests to other names and from other sites, and keeps tracebacks out of the log."""

    def __init__(self, app: App, names: Names, replies: Replies) -> None:
        self._app, self._names, self._replies = app, names, replies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # there are no websockets
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        wrong = self._wrong(scope)
        if wrong is not None:
            await self._replies.refuse(send, *wrong)
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
                await refuse_call(send, *self._replies.failed)
            elif not ended:
                await send({"type": "http.response.body", "body": b""})

    def _wrong(self, scope: Scope) -> tuple[int, str] | None:
        headers: dict[bytes, list[str]] = {}
        for key, value in scope["headers"]:
            headers.setdefault(key.lower(), []).append(value.decode("latin-1"))
        hosts = headers.get(b"host", [])
        server, command = self._replies.server, self._replies.command
        if len(hosts) != 1 or not self._names.allow(hosts[0]):
            return 403, (
                f"This {server} does not answer to that host name: use the address that {command} prints, or start it "
                "with --allowed-host NAME."
            )
        method, path = scope["method"], scope["path"]
        origins = headers.get(b"origin") or (headers.get(b"referer", []) if method not in SAFE else [])
        site = headers.get(b"sec-fetch-site", ["none"])[0]
        navigates = method == "GET" and path == "/" and headers.get(b"sec-fetch-mode", [""])[0] == "navigate"
        foreign = site in ("cross-site", "same-site") and not navigates
        if foreign or any(not _same(origin, hosts[0]) for origin in origins):
            return 403, f"This {server} answers only to itself, not to pages of other sites."
        return self._replies.wrong(method, path)


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
