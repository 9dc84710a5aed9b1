"""Which paths and methods the page answers, and how it refuses: what `coseg.serve.guard` is given for the page.

`coseg.page.calls` then checks what the requests contain.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from coseg.serve.guard import SAFE, Replies, refuse

_SERVED = re.compile(
    r"/(|config/?|theme\.css|favicon\.ico|robots\.txt|manifest\.json|pwa_icon(/\d+)?|(assets|static|svelte)/.+)"
    r"|/gradio_api/(info/?|app_id/?|user/?|startup-events|theme\.css|heartbeat/\w+|queue/(join|data)|cancel|reset/?"
    r"|upload|upload_progress|file=.+)"
)
"""The routes of gradio that the page uses: none that fetches from other servers, records or runs code."""


def wrong_path(method: str, path: str) -> tuple[int, str] | None:
    """The status and the sentence for what the page does not use; None: it does."""
    if not _SERVED.fullmatch(path) or (path.startswith("/gradio_api/file=") and _elsewhere(path)):
        return 404, "The page has nothing there."
    if method not in (*SAFE, "POST", "OPTIONS"):
        return 405, "The page has no such method."
    return None


PAGE = Replies("page", "coseg-demo", refuse, (400, "The request is not one that the page makes."), wrong_path)
"""Sentences are plain text, which gradio shows."""


def _elsewhere(path: str) -> bool:
    """Whether the address of a file would be fetched from another machine."""
    name = unquote(path.removeprefix("/gradio_api/file="))
    return re.match(r"\s*[a-zA-Z][a-zA-Z0-9+.-]*:/", name) is not None or name.startswith(("//", "\\\\"))
