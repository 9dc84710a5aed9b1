"""The page on a port: started, kept until it is stopped, and everything removed afterwards."""

from __future__ import annotations

import errno
import importlib.util
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from coseg.errors import CosegError

if TYPE_CHECKING:
    from coseg.inference.segmenter import CoSegmenter

MOST_BYTES = 50 * 2**20
"""Size of a file that the page takes, at most."""

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
def serving(
    segmenter: CoSegmenter, model: str, host: str = LOOPBACK, port: int = 0, most_bytes: int = MOST_BYTES
) -> Iterator[str]:
    """Serve the page until the block ends; its address.

    What visitors upload and what is made of it lies in a temporary folder, which is removed at the end; files older
    than `layout.AGE` are removed before.

    Args:
        segmenter: what co-segments.
        model: where its network came from.
        host: the address to listen at.
        port: 0 for a free one.
        most_bytes: size of an uploaded file, at most.

    Raises:
        CosegError: gradio is missing; the port is in use; the host is none of this machine's.
    """
    require_gradio()
    port = free_port(host, port)
    with tempfile.TemporaryDirectory(prefix="coseg-page-", ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()
        cache = folder / "cache"
        cache.mkdir()
        prepare_gradio(cache)
        from coseg.page.examples import draw_examples
        from coseg.page.layout import build
        from coseg.page.style import CSS, theme

        drawn = folder / "examples"
        page = build(segmenter, model, draw_examples(drawn), cache)
        try:
            page.launch(
                server_name=host,
                server_port=port,
                prevent_thread_lock=True,
                share=False,
                quiet=True,
                inbrowser=False,
                inline=False,
                ssr_mode=False,
                enable_monitoring=False,
                run_history=False,
                footer_links=[],
                max_file_size=most_bytes,
                allowed_paths=[str(drawn)],
                state_session_capacity=50,
                theme=theme(),
                css=CSS,
            )
            yield f"http://{_in_address(host)}:{port}/"
        except OSError as error:
            raise CosegError(f"The page cannot be served at {host}, port {port}: {error}") from error
        finally:
            page.close(verbose=False)


def _in_address(host: str) -> str:
    if host in ("0.0.0.0", "::"):
        return LOOPBACK
    return f"[{host}]" if ":" in host else host
