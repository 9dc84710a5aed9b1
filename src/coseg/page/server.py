"""Serve the page on a port, and remove its files when it stops. Called by ``coseg-demo``."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from coseg.errors import CosegError
from coseg.page.guard import PAGE
from coseg.page.visitors import Quota, Visitors
from coseg.serve.guard import Guard, Names
from coseg.serve.server import LOOPBACK, address_of, free_port, listening

if TYPE_CHECKING:
    import gradio as gr

    from coseg.inference.segmenter import CoSegmenter

_PREFIX = "coseg-page-"
_LOCK = ".lock"


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
        stopped = threading.Event()
        remover = threading.Thread(target=_remove_idle, args=(visitors, stopped), daemon=True)
        with listening(app, host, port, "page", grace=3):
            remover.start()
            try:
                yield address_of(host, port)
            finally:
                stopped.set()
                page.close(verbose=False)
        remover.join(timeout=10)


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
    from coseg.page.events import build
    from coseg.page.examples import draw_examples
    from coseg.page.layout import CSS, HEAD, theme

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
        head=HEAD,
    )
    return Guard(Calls(app, page, visitors, [cache, examples]), names, PAGE), page, visitors


def _remove_idle(visitors: Visitors, stopped: threading.Event) -> None:
    while not stopped.wait(60):
        visitors.remove_idle()
