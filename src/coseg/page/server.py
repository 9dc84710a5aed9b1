"""Serve the page on a port, and remove its files when it stops. Called by ``coseg-demo``."""

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
from coseg.page.visitors import Quota, Visitors

if TYPE_CHECKING:
    import gradio as gr

    from coseg.inference.segmenter import CoSegmenter

CONNECTIONS = 256
"""Largest number of connections of all visitors together; further ones are refused."""

_PREFIX = "coseg-page-"
_LOCK = ".lock"

LOOPBACK = "127.0.0.1"


def free_port(host: str, port: int) -> int:
    """Check that `port` is free; 0: choose a free one.

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
    """Check for gradio without importing it, which takes seconds.

    Raises:
        CosegError: gradio is not installed.
    """
    if importlib.util.find_spec("gradio") is None:
        raise CosegError("The page needs gradio, which is not installed: pip install 'coseg[demo]'.")


def prepare_gradio(cache: Path) -> None:
    """Switch off the reports of gradio, and put its files into `cache`; called before its first import."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ["GRADIO_TEMP_DIR"] = str(cache)
    # gradio sends requests to its own server at the start, which must not go to a proxy.
    for variable in ("no_proxy", "NO_PROXY"):
        hosts = os.environ.get(variable, "").split(",")
        os.environ[variable] = ",".join(dict.fromkeys([*filter(None, hosts), LOOPBACK, "localhost"]))


@contextmanager
def page_folder() -> Iterator[Path]:
    """A temporary folder of this process, removed at the end; first those of killed pages are removed."""
    remove_folders_of_killed_pages()
    with tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{os.getpid()}-", ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()  # only its owner can read it, as all folders of `tempfile`
        with (folder / _LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # the system releases it however the process ends
            yield folder


def remove_folders_of_killed_pages() -> None:
    """Remove the folders of pages that no longer run."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):  # of another user, or just being removed
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            lock = folder / _LOCK
            if not lock.is_file():
                if time.time() - folder.stat().st_mtime > 3600:  # else it may be just being created
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
    """Serve the page until the block ends; the value is its address.

    Uploads and files made from them are in a temporary folder, which is removed at the end. Files of closed tabs, and
    those older than `coseg.page.visitors.AGE`, are removed before.

    Args:
        segmenter: of the photographs.
        model: the source of its network, shown on the page.
        host: the address to listen at.
        port: 0: a free one.
        allowed_hosts: further host names of the page.
        quota: limits of the uploads.

    Raises:
        CosegError: gradio is missing; the port is in use; the host is none of this machine's.
    """
    require_gradio()
    port = free_port(host, port)
    with page_folder() as folder:
        app, page, visitors = make_app(segmenter, model, folder, Names(host, port, allowed_hosts), quota)
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
        threads.append(threading.Thread(target=_remove_idle, args=(visitors, stopped), daemon=True))
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
) -> tuple[Guard, gr.Blocks, Visitors]:
    """The page as an ASGI app, its widgets, and its visitors; its files are in `folder`."""
    cache, examples = folder / "cache", folder / "examples"
    cache.mkdir(mode=0o700)
    prepare_gradio(cache)
    import gradio
    from fastapi import FastAPI

    from coseg.page.calls import Calls
    from coseg.page.examples import draw_examples
    from coseg.page.layout import CSS, build, theme

    visitors = Visitors(cache, quota)
    page = build(segmenter, model, draw_examples(examples), cache, visitors)
    page.state_session_capacity = 50
    app = gradio.mount_gradio_app(
        FastAPI(openapi_url=None),
        page,
        path="/",
        server_name=names.host,
        server_port=names.port,
        footer_links=[],
        run_history=False,
        allowed_paths=[str(examples)],
        show_error=False,
        max_file_size=visitors.quota.file_bytes,
        ssr_mode=False,
        enable_monitoring=False,
        theme=theme(),
        css=CSS,
    )
    return Guard(Calls(app, page, visitors, [cache, examples]), names), page, visitors


def _remove_idle(visitors: Visitors, stopped: threading.Event) -> None:
    while not stopped.wait(60):
        visitors.remove_idle()


def _in_address(host: str) -> str:
    if host in ("0.0.0.0", "::"):
        return LOOPBACK
    return f"[{host}]" if ":" in host else host
