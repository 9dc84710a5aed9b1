"""What the service sends: the answer as JSON or as a zip file, and the page that lists the endpoints."""

from __future__ import annotations

import base64
import io
import json
import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from PIL import Image

from coseg.inference.cosegmentation import (
    Cosegmentation,
    Segment,
    common_scores,
    common_sentence,
    for_json,
    image_scores,
)
from coseg.serve.jobs import Limits

Form = Literal["json", "zip"]

PAIR = {"a": "image", "b": "image"}
GROUP = {"images": "images"}
"""The fields of the forms: with one file, or with several."""

_COMPRESSION = 1
"""Of PNG, as of the masks of `coseg-predict`."""


class Answering(Protocol):
    """What an answer reports of the model."""

    source: str
    calibration: Any


def encode_answer(
    result: Cosegmentation, model: Answering, form: Form, threshold: float | None, check: Callable[[], None]
) -> tuple[bytes, str]:
    """The body of an answer and its media type.

    JSON holds the masks in base64; a zip file holds them as files, and ``result.json`` with the rest. One mask at a
    time is in memory at full size.

    Args:
        result: to send.
        model: that computed it.
        form: of the body.
        threshold: of the masks; None: of the model.
        check: is called before each mask, and raises an error where nobody waits any longer.
    """
    segments = tuple(
        segment if threshold is None else replace(segment, threshold=threshold) for segment in result.segments
    )
    result = replace(result, segments=segments)
    answer: dict[str, Any] = {
        "model": model.source,
        **common_scores(result),
        "sentence": common_sentence(result, model.calibration),
        "threshold": segments[0].threshold,
        "images": [_image(segment) for segment in segments],
    }
    if result.repeated:
        answer["repeated"] = [[first + 1, later + 1] for first, later in result.repeated]
    body = io.BytesIO()
    if form == "json":
        for segment, image in zip(segments, answer["images"], strict=True):
            check()
            image["mask"] = base64.b64encode(mask_png(segment)).decode()
        return _json(answer), "application/json"
    with zipfile.ZipFile(body, "w", zipfile.ZIP_STORED) as archive:  # PNG is compressed already
        for k, (segment, image) in enumerate(zip(segments, answer["images"], strict=True)):
            check()
            image["mask"] = f"{k + 1:02d}_{re.sub(r'[^A-Za-z0-9.-]', '_', Path(segment.name).stem)[:60]}_mask.png"
            archive.writestr(image["mask"], mask_png(segment))
        archive.writestr("result.json", _json(answer))
    return body.getvalue(), "application/zip"


def mask_png(segment: Segment) -> bytes:
    """The mask at the size of the original as a grey PNG: 255 is the object."""
    mask = segment.mask()
    body = io.BytesIO()
    Image.fromarray(mask.view(np.uint8) * np.uint8(255)).save(body, "PNG", compress_level=_COMPRESSION)
    return body.getvalue()


def described_body(fields: Mapping[str, str]) -> dict[str, Any]:
    """The form of an endpoint for its OpenAPI description."""
    file = {"type": "string", "format": "binary"}
    properties = {
        name: file if number == "image" else {"type": "array", "items": file} for name, number in fields.items()
    }
    schema = {"type": "object", "required": list(fields), "properties": properties}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


def overview(description: Mapping[str, Any], model: str, limits: Limits) -> str:
    """The page of the service: its endpoints with a form to try each, and its limits. It loads nothing.

    Args:
        description: of the endpoints, in OpenAPI.
        model: its name.
        limits: of the service.
    """
    parts = []
    for path, methods in description["paths"].items():
        for method, about in methods.items():
            text = (
                f"<h2>{method.upper()} {escape(path)}</h2><p>{escape(about.get('description') or about['summary'])}</p>"
            )
            parts.append(text + (_tried(path, about) if method == "post" else f'<p><a href="{path}">{path}</a></p>'))
    bounds = (
        f"{limits.images} images, {limits.request_bytes // 2**20} MB a request, {limits.megapixels:g} megapixels an "
        f"image, {limits.workers + limits.waiting} requests at once, {limits.seconds} seconds."
    )
    return _PAGE.format(model=escape(model), bounds=bounds, parts="".join(parts))


def _tried(path: str, about: Mapping[str, Any]) -> str:
    properties = about["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    several = {name: " multiple" if schema["type"] == "array" else "" for name, schema in properties.items()}
    fields = "".join(
        f'<label>{name} <input type="file" name="{name}"{many} required></label>' for name, many in several.items()
    )
    files = " ".join(
        f"-F {name}=@{file}"
        for name, many in several.items()
        for file in (("a.jpg", "b.jpg") if many else (f"{name}.jpg",))
    )
    return (
        f'<form method="post" enctype="multipart/form-data" action="{path}?format=zip">{fields}'
        "<button>Send</button></form>"
        f"<pre>curl {files} ADDRESS{path}</pre>"
    )


def _image(segment: Segment) -> dict[str, Any]:
    scores = image_scores(Path(segment.name), segment)
    return {**scores, **({} if segment.note is None else {"note": segment.note})}


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(for_json(dict(value)), ensure_ascii=False).encode()


_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>coseg-serve</title>
<meta name="viewport" content="width=device-width">
<style>body{{font:16px/1.5 sans-serif;max-width:44rem;margin:2rem auto;padding:0 1rem}}
pre{{overflow:auto;background:#eee;padding:.5rem}}label{{display:block;margin:.3rem 0}}</style>
<h1>coseg-serve</h1><p>Serves {model}. Limits: {bounds}</p>{parts}
<p>For programs: <a href="/openapi.json">openapi.json</a></p></html>
"""
