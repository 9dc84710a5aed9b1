"""The photographs of a request: a multipart body within its bounds, in temporary files that the system removes.

Up to 1 MB of each file is in memory, the rest of it in a temporary file without a name, which is gone with the process.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

from starlette.datastructures import FormData, UploadFile
from starlette.requests import ClientDisconnect, Request

from coseg.inference.photographs import header_size
from coseg.serve.guard import Message, Receive
from coseg.serve.jobs import Gone, Limits, Refused

_NAME = 100  # characters of a file's name that are kept
_DRAIN_SECONDS = 5
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Upload:
    """A file that was sent, with the name that its sender gave it: a binary file object for `load_photograph`."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file, self.name = file, name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self._file, attribute)


async def receive_form(
    request: Request, body: Body, fields: Sequence[str], limits: Limits, files: int | None = None, texts: int = 4
) -> FormData:
    """The form of a request, which is to be closed.

    Args:
        request: whose body was not read.
        body: of it.
        fields: the names of the form's fields, for the message.
        limits: of the number and bytes of the files, and of the time.
        files: at most; None: as many as images.
        texts: fields without a file at most.

    Raises:
        Refused: the body is not such a form, exceeds the limits, or does not arrive in time.
        Gone: the client closed the connection.
    """
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        names = " and ".join(f"'{name}'" for name in fields)
        raise Refused(415, f"Send the images as multipart/form-data, as files in {names}: curl -F {fields[0]}=@a.jpg …")
    check_length(request, limits)
    most = {"max_files": limits.images if files is None else files, "max_fields": texts}
    return await _form(request, body, limits, most)


async def receive_uploads(request: Request, body: Body, fields: Sequence[str], limits: Limits) -> list[Upload]:
    """The files of a request, in the order of `fields` and then in their own; a body with other fields is refused.

    Raises:
        Refused: see `receive_form`.
        Gone: the client closed the connection.
    """
    form = await receive_form(request, body, fields, limits)
    try:
        return _files(form, fields, limits)
    except Refused:
        await form.close()
        raise


def check_length(request: Request, limits: Limits) -> None:
    """Refuse a body that says to be too large.

    Raises:
        Refused: it does.
    """
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and (len(length) > 15 or int(length) > limits.request_bytes):
        raise _too_large(limits)


class Body:
    """The messages of a request's body, counted: called as `receive` of ASGI.

    Attributes:
        received: bytes so far.
        ended: all of it was received, or the client has closed the connection.
    """

    def __init__(self, receive: Receive, limits: Limits) -> None:
        self._receive, self._limits = receive, limits
        self.received, self.ended = 0, False

    async def __call__(self) -> Message:
        """The next message.

        Raises:
            Refused: the body is larger than the limit.
        """
        message = await self._next()
        if self.received > self._limits.request_bytes:
            raise _too_large(self._limits)
        return message

    async def drain(self) -> None:
        """Throw away what still comes, for a few seconds: its sender reads the answer, not of a broken connection."""
        try:
            async with asyncio.timeout(_DRAIN_SECONDS):
                while not self.ended:
                    await self._next()
        except TimeoutError:
            return

    async def _next(self) -> Message:
        message = await self._receive()
        self.received += len(message.get("body", b""))
        self.ended = message["type"] == "http.disconnect" or not message.get("more_body", False)
        return message


def require_pixels(uploads: Sequence[Upload], limits: Limits) -> None:
    """Refuse images of too many pixels, by their headers, before one is decoded.

    Raises:
        Refused: an image is larger than the limit.
        CosegError: a file is not an image.
    """
    for upload in uploads:
        width, height = header_size(upload, upload.name)  # type: ignore[arg-type]
        if width * height > limits.megapixels * 1e6:
            raise Refused(
                413,
                f"{upload.name} has {width:,} x {height:,} pixels, {width * height / 1e6:,.0f} megapixels: more than "
                f"the {limits.megapixels:g} that this service accepts. Make it smaller.",
            )


async def _form(request: Request, body: Body, limits: Limits, most: dict[str, int]) -> FormData:
    try:
        async with asyncio.timeout(limits.upload_seconds):
            return await Request(request.scope, body).form(max_part_size=1024, **most)
    except TimeoutError:
        raise Refused(408, f"The images did not arrive within {limits.upload_seconds} seconds.") from None
    except ClientDisconnect:
        raise Gone from None
    except OSError as error:
        if error.errno in _FULL:
            raise Refused(503, "The disk of the service is full: try again later.", 60) from None
        raise


def _files(form: FormData, fields: Sequence[str], limits: Limits) -> list[Upload]:
    names = " and ".join(f"'{name}'" for name in fields)
    for key, value in form.multi_items():
        if key not in fields:
            raise Refused(422, f"There is no field '{key[:_NAME]}' here: send the images as files in {names}.")
        if not isinstance(value, UploadFile):
            raise Refused(422, f"The field '{key}' is text, but must be a file: curl -F {key}=@photograph.jpg.")
    files = [file for name in fields for file in form.getlist(name) if isinstance(file, UploadFile)]
    if len(files) > limits.images:
        raise Refused(413, f"There are {len(files)} images: more than the {limits.images} that are accepted at once.")
    return uploads_of(files)


def uploads_of(files: Sequence[Any]) -> list[Upload]:
    """The files of a form, with their names.

    Raises:
        Refused: one is empty.
    """
    empty = next((k for k, file in enumerate(files) if not file.size), None)
    if empty is not None:
        raise Refused(422, f"{_name(files[empty], empty)} is empty.")
    return [Upload(file.file, _name(file, k)) for k, file in enumerate(files)]


def _name(file: UploadFile, k: int) -> str:
    name = Path((file.filename or "").replace("\\", "/")).name
    return "".join(letter for letter in name if letter.isprintable())[-_NAME:] or f"image {k + 1}"


def _too_large(limits: Limits) -> Refused:
    return Refused(413, f"The request has more than {limits.request_bytes // 2**20} MB: send fewer images, or as JPEG.")
