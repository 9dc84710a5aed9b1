"""Listen at a port: for the page, and for the service of ``coseg-serve``, which finishes what it computes and stops."""

from __future__ import annotations

import errno
import importlib.util
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from coseg.errors import CosegError
from coseg.serve.guard import App, Guard, Names, Replies, refuse_call

if TYPE_CHECKING:
    from coseg.serve.app import Model
    from coseg.serve.jobs import Limits

LOOPBACK = "127.0.0.1"

CONNECTIONS = 256
"""Largest number of connections of all clients together; further ones are refused."""

SERVICE = Replies("service", "coseg-serve", refuse_call, (500, "The service failed at this request: see its log."))


def free_port(host: str, port: int, server: str = "page") -> int:
    """Check that `port` is free; 0: choose a free one. `server` is its name in messages.

    Raises:
        CosegError: the port is in use or not allowed, or the host is none of this machine's.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            return int(probe.getsockname()[1])
    except PermissionError:
        raise CosegError(f"Port {port} is not for every user: choose one from 1024 on, --port 7860, say.") from None
    except OSError as error:
        if isinstance(error, socket.gaierror) or error.errno != errno.EADDRINUSE:
            raise CosegError(
                f"The {server} cannot be served at {host} ({error.strerror}): --host must be an address of this "
                f"machine, {LOOPBACK} for itself or 0.0.0.0 for its network."
            ) from None
        raise CosegError(
            f"Port {port} is in use, perhaps by a {server} that runs already: choose another with --port, or a free "
            "one with --port 0."
        ) from None


def address_of(host: str, port: int) -> str:
    """The address at which a browser of this machine reaches it."""
    if host in ("0.0.0.0", "::"):
        host = LOOPBACK
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


@contextmanager
def listening(app: App, host: str, port: int, server: str, grace: int) -> Iterator[Any]:
    """Serve an ASGI app in a thread until the block ends; the value is the server of uvicorn.

    Args:
        app: of the page or of the service.
        host: the address to listen at.
        port: a free one.
        server: its name in messages.
        grace: seconds that requests have to end, after the block.

    Raises:
        CosegError: it cannot listen.
    """
    import uvicorn

    config = uvicorn.Config(
        app,
        host=host.strip("[]"),
        port=port,
        log_level="warning",
        ws="none",
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=grace,
        server_header=False,
    )
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    try:
        while not running.started:
            if not thread.is_alive():
                raise CosegError(f"The {server} cannot be served at {host}, port {port}: choose another with --port.")
            time.sleep(0.01)
        yield running
    finally:
        running.should_exit = True
        thread.join(timeout=grace + 7)


def require_fastapi() -> None:
    """Check for what the service needs beside coseg, without importing it.

    Raises:
        CosegError: it is not installed.
    """
    missing = [name for name in ("fastapi", "uvicorn", "python_multipart") if importlib.util.find_spec(name) is None]
    if missing:
        raise CosegError(f"The service needs {', '.join(missing)}: pip install 'coseg[serve]'.")


@contextmanager
def serving(
    model: Model, limits: Limits, host: str = LOOPBACK, port: int = 0, allowed_hosts: Iterable[str] = ()
) -> Iterator[str]:
    """Serve the model until the block ends; the value is the address.

    Then waiting requests are refused, and those that are computed are finished, for as long as a request may take.

    Args:
        model: of the photographs.
        limits: of uploads, memory and time.
        host: the address to listen at.
        port: 0: a free one.
        allowed_hosts: further host names of the service.

    Raises:
        CosegError: a package is missing; the port is in use; the host is none of this machine's.
    """
    require_fastapi()
    port = free_port(host, port, "service")
    from coseg.serve.app import make_app
    from coseg.serve.jobs import Jobs

    jobs = Jobs(limits)
    app = Guard(make_app(model, jobs), Names(host, port, allowed_hosts), SERVICE)
    with listening(app, host, port, "service", limits.seconds):
        try:
            yield address_of(host, port)
        finally:
            jobs.stop()
