"""Check what a browser sends to the page before gradio reads it: arguments of calls, sizes of uploads.

A plain ASGI wrapper between `coseg.serve.guard` and gradio; `coseg.page.server` builds all three.
"""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Sequence
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from secrets import token_urlsafe
from typing import TYPE_CHECKING, Any

from coseg.page.results import PageResult
from coseg.page.visitors import Visitors
from coseg.serve.guard import App, Message, Receive, Scope, Send, refuse, refuse_call

if TYPE_CHECKING:
    import gradio as gr

COOKIE = "coseg_visitor"
MOST_JSON = 2**20
"""Largest size of a call in bytes: the names of fifty files take 20 kB."""

MOST_LETTERS = 200
"""Of a text: names of objects are shorter."""

UPLOADS = 8
"""Largest number of uploads at the same time."""

_SPARE = 256 * 2**20  # bytes of the disk that stay free
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,64}")
_HEARTBEAT = "/gradio_api/heartbeat/"
_UPLOAD, _JOIN = "/gradio_api/upload", "/gradio_api/queue/join"


class WrongCallError(ValueError):
    """A call that the page itself never sends."""


def visitor_of(cookies: str, client: str | None) -> str:
    """The visitor of a request: the value of its cookie, or its address where it has none."""
    try:
        morsel = SimpleCookie(cookies).get(COOKIE)
    except CookieError:
        morsel = None
    return morsel.value if morsel is not None and _TOKEN.fullmatch(morsel.value) else f"at {client}"


class Calls:
    """Wraps the app of gradio.

    Args:
        app: of gradio.
        page: the widgets that it serves.
        visitors: the results and uploads.
        folders: calls may only name files in these.
    """

    def __init__(self, app: App, page: gr.Blocks, visitors: Visitors, folders: Sequence[Path]) -> None:
        self._app, self._page, self._visitors = app, page, visitors
        self._folders = [folder.resolve() for folder in folders]
        self._uploading = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = dict(scope["headers"])
            if scope["method"] == "POST" and scope["path"] == _UPLOAD:
                await self._upload(scope, receive, send, headers)
                return
            if scope["method"] == "POST":
                await self._call(scope, receive, send, headers)
                return
            if scope["path"].startswith(_HEARTBEAT):  # open as long as the tab is
                tab = scope["path"].removeprefix(_HEARTBEAT)
                visitor = _visitor(scope, headers)
                self._visitors.open_tab(tab, visitor)
                try:
                    await self._app(scope, receive, send)
                finally:
                    self._visitors.close_tab(tab, visitor)
                return
            if scope["path"] == "/" and b"%s=" % COOKIE.encode() not in headers.get(b"cookie", b""):
                send = _with_cookie(send)
        await self._app(scope, receive, send)

    async def _call(self, scope: Scope, receive: Receive, send: Send, headers: dict[bytes, bytes]) -> None:
        if not headers.get(b"content-type", b"").startswith(b"application/json"):
            await refuse_call(send, 415, "The page takes JSON.")
            return
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            if len(body) > MOST_JSON:
                await refuse_call(send, 413, f"The page takes calls of {MOST_JSON:,} bytes.")
                return
            if not message.get("more_body", False):
                break
        try:
            call = json.loads(body, parse_constant=_no_number)
            if not isinstance(call, dict):
                raise WrongCallError("it is no object")
            if scope["path"] == _JOIN:
                call = self.checked(call)
        except RecursionError:
            await refuse_call(send, 400, "The call is nested too deeply.")
            return
        except ValueError as error:
            await refuse_call(send, 400, f"The call is not one that the page makes: {error}.")
            return
        body = json.dumps(call).encode()
        headers_kept = [item for item in scope["headers"] if item[0] != b"content-length"]
        scope = {**scope, "headers": [*headers_kept, (b"content-length", str(len(body)).encode())]}
        replayed = False

        async def replay() -> Message:
            nonlocal replayed
            if replayed:
                return await receive()
            replayed = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, replay, send)

    def checked(self, call: dict[str, Any]) -> dict[str, Any]:
        """A call of a function of the page, reduced to what the page itself sends.

        Raises:
            WrongCallError: its tab, its function, or the number, type or value of an argument is wrong.
        """
        import gradio as gr

        tab, index, data = call.get("session_hash"), call.get("fn_index"), call.get("data")
        if not isinstance(tab, str) or not _TOKEN.fullmatch(tab):
            raise WrongCallError("its tab has no name")
        if type(index) is not int or index not in self._page.fns or self._page.fns[index].fn is None:
            raise WrongCallError("there is no such function")
        function = self._page.fns[index]
        if not isinstance(data, list) or len(data) != len(function.inputs):
            raise WrongCallError(f"the function takes {len(function.inputs)} arguments")
        arguments = []
        for component, value in zip(function.inputs, data, strict=True):
            if isinstance(component, gr.State):
                value = None  # only the state on the server is used
            elif isinstance(component, gr.File):
                value = self._files(value)
            elif isinstance(component, gr.Slider):
                value = _between(value, component.minimum, component.maximum)
            elif isinstance(component, gr.Radio):
                if value not in [choice[1] for choice in component.choices]:
                    raise WrongCallError("it chooses what the page does not offer")
            elif isinstance(component, gr.Textbox):
                if not isinstance(value, str) or len(value) > MOST_LETTERS:
                    raise WrongCallError(f"a text is a line of up to {MOST_LETTERS} letters")
            else:
                raise WrongCallError("an argument has no type that the page takes")
            arguments.append(value)
        event, trigger = call.get("event_data"), call.get("trigger_id")
        selected = [
            self._page.blocks[place] for place, name in function.targets if name == "select" and place is not None
        ]
        if selected:
            on_picture = isinstance(selected[0], gr.Image)
            chosen = _point(event) if on_picture else _photograph(event, self._visitors.result(tab))
            event = {"index": chosen, "value": None, "selected": True}
        else:
            event = None
        if trigger is not None and type(trigger) is not int:
            raise WrongCallError("its trigger is no number")
        checked = {"data": arguments, "fn_index": index, "session_hash": tab, "event_data": event}
        return {**checked, "trigger_id": trigger}

    def _files(self, value: Any) -> list[dict[str, Any]] | None:
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise WrongCallError("files are a list")
        return [self._file(item) for item in value]

    def _file(self, item: dict[str, Any]) -> dict[str, Any]:
        path, name = item.get("path"), item.get("orig_name")
        if not isinstance(path, str) or "\0" in path or not (name is None or isinstance(name, str)):
            raise WrongCallError("a file has no path")
        try:
            place = Path(path)
            within = place.is_absolute() and any(place.resolve().is_relative_to(folder) for folder in self._folders)
            exists = within and place.is_file()
        except (OSError, RuntimeError):
            within = exists = False
        if not within:
            raise WrongCallError("a file was not dropped on the page")
        if not exists:
            raise WrongCallError(
                "a photograph was removed in the meantime, as all uploads are: drop the photographs again"
            )
        # Without its URL, which may lead to another machine: the page reads local files only.
        return {"path": path, "orig_name": name, "meta": {"_type": "gradio.FileData"}}

    async def _upload(self, scope: Scope, receive: Receive, send: Send, headers: dict[bytes, bytes]) -> None:
        length = headers.get(b"content-length", b"")
        if not length.isdigit() or len(length) > 15:
            await refuse(send, 411, "An upload says how long it is.")
            return
        size = int(length)
        visitor = _visitor(scope, headers)
        if self._uploading >= UPLOADS:
            await refuse(send, 503, "The page takes other uploads: try again in a moment.")
            return
        if shutil.disk_usage(self._visitors.folder).free < size + _SPARE:
            await refuse(send, 413, "The disk of the machine that serves this page is full.")
            return
        wrong = self._visitors.start_upload(visitor, size)
        if wrong is not None:
            await refuse(send, 413, wrong)
            return
        self._uploading += 1
        answers: list[Message] = []
        received: list[Path] = []

        async def hold(message: Message) -> None:
            answers.append(message)

        try:
            await self._app(scope, receive, hold)
            if answers and answers[0]["status"] == 200:
                received = [Path(path) for path in json.loads(b"".join(part.get("body", b"") for part in answers[1:]))]
        finally:
            self._uploading -= 1
            wrong = self._visitors.finish_upload(visitor, size, received)
            if not self._uploading:
                for left in self._visitors.folder.glob("tmp*"):  # of an interrupted upload
                    if left.is_file():
                        left.unlink(missing_ok=True)
        if wrong is not None:
            await refuse(send, 413, wrong)
            return
        for message in answers:
            await send(message)


def _visitor(scope: Scope, headers: dict[bytes, bytes]) -> str:
    return visitor_of(headers.get(b"cookie", b"").decode("latin-1"), (scope.get("client") or (None,))[0])


def _with_cookie(send: Send) -> Send:
    async def answer(message: Message) -> None:
        if message["type"] == "http.response.start":
            cookie = f"{COOKIE}={token_urlsafe(24)}; Path=/; HttpOnly; SameSite=Strict"
            message["headers"] = [*message.get("headers", ()), (b"set-cookie", cookie.encode())]
        await send(message)

    return answer


def _no_number(name: str) -> float:
    raise WrongCallError(f"{name} is no number")


def _between(value: Any, low: float, high: float) -> float:
    if type(value) not in (int, float) or not math.isfinite(value) or not low <= value <= high:
        raise WrongCallError(f"it takes a number from {low} to {high}")
    return float(value)


def _point(event: Any) -> list[float]:
    index = event.get("index") if isinstance(event, dict) else None
    if not isinstance(index, list) or len(index) != 2:
        raise WrongCallError("a click has a place")
    return [_between(value, -1, 1e6) for value in index]


def _photograph(event: Any, result: PageResult | None) -> int:
    index = event.get("index") if isinstance(event, dict) else None
    if type(index) is not int or result is None or not 0 <= index < len(result.names):
        raise WrongCallError("it chooses a photograph that is not on the page (any more)")
    return index
