"""The endpoints of the service: a pair, a group, exemplars; health, metrics and the page that describes them.

`make_app` makes the ASGI app; `coseg.serve.server` runs it behind `coseg.serve.guard`. A further endpoint is one more
route that calls `_Service.answer` with what it receives and computes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Annotated, Any, Literal, Protocol

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from coseg.errors import CosegError
from coseg.inference.cosegmentation import Cosegmentation
from coseg.run_dir import coseg_version
from coseg.serve.answers import GROUP, PAIR, Form, described_body, encode_answer, encode_objects, overview
from coseg.serve.exemplar import FIELDS, NO_EXEMPLARS, UNNAMED, find, search_of
from coseg.serve.jobs import Gone, Job, Jobs, Refused, Slot
from coseg.serve.metrics import Measured
from coseg.serve.uploads import Body, Upload, receive_form, receive_uploads, require_pixels

log = logging.getLogger(__name__)

_PIECE = 2**16  # bytes of an answer that are sent at once

Format = Annotated[
    Literal["json", "zip"] | None, Query(description="Of the answer; else what Accept names, else json.")
]
Threshold = Annotated[
    float | None, Query(ge=0, le=1, description="Pixels with a larger probability are foreground; else the model's.")
]

Everywhere = Annotated[bool, Query(description="The objects are in every image, so no mask is emptied.")]

Computing = Callable[[Job, Form], tuple[bytes, str]]
"""Computes the body of an answer and its media type, in a thread."""

Receiving = Callable[[Request, Body], Awaitable[tuple[list[Upload], Computing]]]
"""Receives the files of a request, and what is to be done with them."""


class Model(Protocol):
    """What the service needs of a model: `coseg.inference.segmenter.CoSegmenter`, `coseg.serve.graphs.GraphModel`."""

    source: str
    calibration: Any

    def encode(self, image: Any, name: str = ...) -> Any:
        """An image after the encoder."""

    def cosegment(self, encoded: Sequence[Any]) -> Cosegmentation:
        """The masks of encoded images, two or more."""


class _Service:
    def __init__(self, model: Model, jobs: Jobs) -> None:
        self._model, self._jobs = model, jobs

    async def answer(self, request: Request, receive: Receiving, form: str | None) -> Response:
        """Receive, compute and answer, within the limits.

        Raises:
            Refused: the request is refused.
            CosegError: an image can't be used.
        """
        received = Body(request.receive, self._jobs.limits)
        try:
            return await self._answer(request, received, receive, form)
        except Refused:
            if "expect" not in request.headers:  # else it is not sent before a 100 Continue
                await received.drain()
            raise

    async def _answer(self, request: Request, received: Body, receive: Receiving, form: str | None) -> Response:
        slot = self._jobs.take()
        try:
            uploads, compute = await receive(request, received)
            chosen: Form = "zip" if (form or _accepted(request)) == "zip" else "json"
            body, media = await self._jobs.run(
                slot, lambda job: compute(job, chosen), _closed(request), lambda: _close(uploads)
            )
        except BaseException:
            slot.release()
            raise
        return _Answer(body, media, slot, self._jobs.limits.seconds)

    def images(self, fields: Sequence[str], least: int, most: int, threshold: float | None) -> Receiving:
        """Receive a pair or a group, which is co-segmented."""

        async def receive(request: Request, received: Body) -> tuple[list[Upload], Computing]:
            uploads = await receive_uploads(request, received, fields, self._jobs.limits)
            if not least <= len(uploads) <= most:
                _close(uploads)
                count = f"{least}" if least == most else f"{least} to {most}"
                raise Refused(422, f"There {_are(len(uploads))}, but this endpoint takes {count}.")

            def compute(job: Job, form: Form) -> tuple[bytes, str]:
                result = self._compute(uploads, job)
                job.check()
                return encode_answer(result, self._model, form, threshold, job.check)

            return uploads, compute

        return receive

    def exemplars(self, everywhere: bool, threshold: float | None) -> Receiving:
        """Receive exemplars, and images in which their objects are searched for."""

        async def receive(request: Request, received: Body) -> tuple[list[Upload], Computing]:
            if not hasattr(self._model, "exemplars"):
                raise Refused(422, NO_EXEMPLARS)
            limits = self._jobs.limits
            form = await receive_form(request, received, list(FIELDS), limits, 2 * limits.images, 4 * limits.images)
            try:
                search = search_of(form, limits)
            except Refused:
                await form.close()
                raise

            def compute(job: Job, form: Form) -> tuple[bytes, str]:
                model: Any = self._model
                result = find(model, search, job, limits, everywhere, threshold)
                job.check()
                if search.named:
                    return encode_objects(result, self._model, form, job.check)
                return encode_answer(result[UNNAMED], self._model, form, None, job.check)

            return search.uploads, compute

        return receive

    def _compute(self, uploads: Sequence[Upload], job: Job) -> Cosegmentation:
        """In a thread: one image is decoded at a time."""
        require_pixels(uploads, self._jobs.limits)
        encoded = []
        for k, upload in enumerate(uploads):
            job.check()
            encoded.append(self._model.encode(upload, f"image {k + 1}"))
        job.check()
        return self._model.cosegment(encoded)


class _Answer(Response):
    """A body that gives its slot back when it is sent, or when its reader takes too long."""

    def __init__(self, body: bytes, media: str, slot: Slot, seconds: int) -> None:
        super().__init__(body, media_type=media)
        self._slot, self._seconds = slot, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                body = memoryview(self.body)
                for start in range(0, len(body), _PIECE):  # the server takes all it is given, and waits before the next
                    last = start + _PIECE >= len(body)
                    piece = bytes(body[start : start + _PIECE])
                    await send({"type": "http.response.body", "body": piece, "more_body": not last})
        except TimeoutError:
            log.warning("%s: the answer was not read within %s seconds", scope["path"], self._seconds)
        finally:
            self._slot.release()


def make_app(model: Model, jobs: Jobs) -> Measured:
    """The service as an ASGI app, measured."""
    limits = jobs.limits
    app = FastAPI(title="coseg", version=coseg_version(), description=_DESCRIPTION, docs_url=None, redoc_url=None)
    service = _Service(model, jobs)

    @app.post(
        "/pair", openapi_extra=described_body(PAIR), responses=_REFUSALS, summary="What two images have in common"
    )
    async def pair(request: Request, format: Format = None, threshold: Threshold = None) -> Response:
        """The masks of two images, in the fields a and b, and how likely they have an object in common."""
        return await service.answer(request, service.images(list(PAIR), 2, 2, threshold), format)

    @app.post(
        "/group", openapi_extra=described_body(GROUP), responses=_REFUSALS, summary="What several images have in common"
    )
    async def group(request: Request, format: Format = None, threshold: Threshold = None) -> Response:
        """The masks of a group of images, all in the field images, and which of them do not seem to belong."""
        return await service.answer(request, service.images(list(GROUP), 2, limits.images, threshold), format)

    @app.post(
        "/exemplar",
        openapi_extra=described_body(FIELDS),
        responses=_REFUSALS,
        summary="Where what you show is",
    )
    async def exemplar(
        request: Request, format: Format = None, threshold: Threshold = None, everywhere: Everywhere = False
    ) -> Response:
        """The masks of one or several objects in the field images, each shown by photographs in the field exemplar.

        For each exemplar, in their order, the field object has a mask as file, x,y,width,height of a rectangle or x,y
        of a point, in pixels. The field name tells several objects apart: one for each exemplar. Exported graphs can't.
        """
        return await service.answer(request, service.exemplars(everywhere, threshold), format)

    @app.get("/health", summary="Whether the service accepts requests")
    async def health() -> Response:
        status = "stopping" if jobs.stopping else "busy" if jobs.taken >= jobs.slots else "ok"
        waiting = max(0, jobs.taken - jobs.running)
        about = {"status": status, "model": model.source, "coseg": coseg_version()}
        return JSONResponse(
            {**about, "running": jobs.running, "waiting": waiting}, status_code=503 if jobs.stopping else 200
        )

    measured = Measured(app, jobs, [route.path for route in app.routes if hasattr(route, "path")])

    @app.get("/metrics", summary="Counts, times, the queue and memory, as Prometheus reads them")
    async def metrics() -> Response:
        return Response(measured.text(), media_type="text/plain; version=0.0.4")

    measured.paths.add("/metrics")

    @app.get("/", include_in_schema=False)
    @app.get("/docs", include_in_schema=False)
    async def page() -> Response:
        return HTMLResponse(overview(app.openapi(), model.source, limits))

    measured.paths |= {"/", "/docs"}
    _handle_errors(app)
    return measured


_DESCRIPTION = "Photographs in; out come masks of what they have in common, or of what you show, and how likely it is."

_REFUSALS: dict[int | str, dict[str, Any]] = {
    408: {"description": "The upload takes too long."},
    413: {"description": "Too many bytes, images or pixels."},
    422: {"description": "An image or a parameter that can't be used."},
    503: {"description": "Busy or stopping; Retry-After says when to try again."},
    504: {"description": "The computation takes too long."},
}


def _handle_errors(app: FastAPI) -> None:
    """Every error becomes a sentence as JSON; a traceback goes to the log at most."""

    async def refused(_: Request, error: Exception) -> Response:
        assert isinstance(error, Refused)
        headers = {"connection": "close"}
        if error.retry_after is not None:
            headers["retry-after"] = str(error.retry_after)
        return _sentence(error.status, error.sentence, headers)

    async def unusable(_: Request, error: Exception) -> Response:
        return _sentence(422, str(error))

    async def invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        wrong = error.errors()[0]
        return _sentence(422, f"The parameter {wrong['loc'][-1]} is wrong: {wrong['msg']}.")

    async def of_http(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        detail = {404: "There is nothing here: GET / lists what there is.", 405: "There is no such method here."}
        return _sentence(error.status_code, detail.get(error.status_code, str(error.detail)), error.headers)

    async def gone(_: Request, error: Exception) -> Response:
        return _sentence(499, "The client closed the connection.")  # read by the metrics alone

    async def lacking(_: Request, error: Exception) -> Response:
        return _sentence(503, "The service has too little memory for this request.", {"retry-after": "60"})

    async def failed(request: Request, error: Exception) -> Response:
        log.error("%s failed", request.url.path, exc_info=error)
        return _sentence(500, "The service failed at this request: see its log.")

    handlers: dict[type[Exception], Callable[[Request, Exception], Awaitable[Response]]] = {
        Refused: refused,
        CosegError: unusable,
        RequestValidationError: invalid,
        HTTPException: of_http,
        Gone: gone,
        MemoryError: lacking,
        Exception: failed,
    }
    for error_class, handler in handlers.items():
        app.add_exception_handler(error_class, handler)  # type: ignore[arg-type]


def _sentence(status: int, text: str, headers: Any = None) -> Response:
    return JSONResponse({"detail": text}, status_code=status, headers=headers)


def _accepted(request: Request) -> Literal["json", "zip"]:
    accept = request.headers.get("accept", "").lower()
    return "zip" if "application/zip" in accept and "application/json" not in accept else "json"


def _are(count: int) -> str:
    return "is 1 image" if count == 1 else f"are {count or 'no'} images"


def _close(uploads: Sequence[Upload]) -> None:
    for upload in uploads:
        with suppress(OSError):
            upload.close()


async def _closed(request: Request) -> None:
    """Return when the client has closed the connection, after its body was read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
