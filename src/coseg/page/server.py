"""The page on a port: started, kept until it is stopped, and everything removed afterwards."""

from __future__ import annotations

import errno
import fcntl
import importlib.util
import os
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from coseg.errors import CosegError
from coseg.page.guard import Guard, Names
from coseg.page.visitors import Quota, Visits

if TYPE_CHECKING:
    import gradio as gr

    from coseg.inference.segmenter import CoSegmenter

CONNECTIONS = 256
"""Of all visitors together; further ones are told to come back."""

_PREFIX = "coseg-page-"
_LOCK = ".lock"

LOOPBACK = "127.0.0.1"


def free_port(host: str, port: int) -> int:
    """`port`, or one that is free where it is 0.

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
                f"The page cannot be served at {host} ({error.strerror}): --host must be an address of this machine, "
                f"{LOOPBACK} for itself or 0.0.0.0 for its network."
            ) from None
        raise CosegError(
            f"Port {port} is in use, perhaps by a page that runs already: choose another with --port, or a free one "
            "with --port 0."
        ) from None


def require_gradio() -> None:
    """Tell at once when gradio is not there, without the seconds that its import takes.

    Raises:
        CosegError: gradio is not installed.
    """
    if importlib.util.find_spec("gradio") is None:
        raise CosegError("The page needs gradio, which is not installed: pip install 'coseg[demo]'.")


def prepare_gradio(cache: Path) -> None:
    """Let gradio report to nobody and keep its files in `cache`; before its first import."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ["GRADIO_TEMP_DIR"] = str(cache)
    # gradio asks its own server whether it is there, which a proxy could not answer.
    for variable in ("no_proxy", "NO_PROXY"):
        hosts = os.environ.get(variable, "").split(",")
        os.environ[variable] = ",".join(dict.fromkeys([*filter(None, hosts), LOOPBACK, "localhost"]))


@contextmanager
def own_folder() -> Iterator[Path]:
    """A folder of this process alone, which is removed at the end; those of pages that were killed go before."""
    remove_dead()
    with tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{os.getpid()}-", ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()  # for its owner only, as all that `tempfile` makes
        with (folder / _LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # which the system gives back whatever happens to the process
            yield folder


def remove_dead() -> None:
    """Remove the folders of pages that do not run any more."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):  # another user's, or one that goes at this moment
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            lock = folder / _LOCK
            if not lock.is_file():
                if time.time() - folder.stat().st_mtime > 3600:  # or it is being made
                    shutil.rmtree(folder, ignore_errors=True)
                continue
            with lock.open("r+") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def serving(
    segmenter: CoSegmenter,
    model: str,
    host: str = LOOPBACK,
    port: int = 0,
    allowed_hosts: Iterable[str] = (),
    quota: Quota | None = None,
) -> Iterator[str]:
    """Serve the page until the block ends; its address.

    What visitors upload and what is made of it lies in a temporary folder, which is removed at the end; what a visitor
    left, and what is older than `visits.AGE`, is removed before.

    Args:
        segmenter: what co-segments.
        model: where its network came from.
        host: the address to listen at.
        port: 0 for a free one.
        allowed_hosts: further names by which the page may be asked for.
        quota: what uploads may take.

    Raises:
        CosegError: gradio is missing; the port is in use; the host is none of this machine's.
    """
    require_gradio()
    port = free_port(host, port)
    with own_folder() as folder:
        app, page, visits = make_app(segmenter, model, folder, Names(host, port, allowed_hosts), quota)
        import uvicorn

        server = uvicorn.Server(
            uvicorn.Config(
                app,
                host=host.strip("[]"),
                port=port,
                log_level="warning",
                ws="none",
                limit_concurrency=CONNECTIONS,
                timeout_graceful_shutdown=3,
                server_header=False,
            )
        )
        threads = [threading.Thread(target=server.run, daemon=True)]
        stopped = threading.Event()
        threads.append(threading.Thread(target=_sweep, args=(visits, stopped), daemon=True))
        for thread in threads:
            thread.start()
        try:
            while not server.started:
                if not threads[0].is_alive():
                    raise CosegError(f"The page cannot be served at {host}, port {port}: choose another with --port.")
                time.sleep(0.01)
            yield f"http://{_in_address(host)}:{port}/"
        finally:
            stopped.set()
            page.close(verbose=False)
            server.should_exit = True
            for thread in threads:
                thread.join(timeout=10)


def make_app(
    segmenter: CoSegmenter, model: str, folder: Path, names: Names, quota: Quota | None = None
) -> tuple[Guard, gr.Blocks, Visits]:
    """The page as an ASGI app, its widgets, and what its visitors hold; its files lie in `folder`."""
    cache, drawn = folder / "cache", folder / "examples"
    cache.mkdir(mode=0o700)
    prepare_gradio(cache)
    import gradio
    from fastapi import FastAPI

    from coseg.page.calls import Calls
    from coseg.page.examples import draw_examples
    from coseg.page.layout import build
    from coseg.page.style import CSS, theme

    visits = Visits(cache, quota)
    page = build(segmenter, model, draw_examples(drawn), cache, visits)
    page.state_session_capacity = 50
    app = gradio.mount_gradio_app(
        FastAPI(openapi_url=None),
        page,
        path="/",
        server_name=names.host,
        server_port=names.port,
        footer_links=[],
        run_history=False,
        allowed_paths=[str(drawn)],
        show_error=False,
        max_file_size=visits.quota.file_bytes,
        ssr_mode=False,
        enable_monitoring=False,
        theme=theme(),
        css=CSS,
    )
    return Guard(Calls(app, page, visits, [cache, drawn]), names), page, visits


def _sweep(visits: Visits, stopped: threading.Event) -> None:
    while not stopped.wait(60):
        visits.sweep()


def _in_address(host: str) -> str:
    if host in ("0.0.0.0", "::"):
        return LOOPBACK
    return f"[{host}]" if ":" in host else host
