"""What the service sends: the answer as JSON or as a zip file, and the page that lists the endpoints."""

from __future__ import annotations

import base64
import io
import json
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import numpy as np
from PIL import Image

from coseg.imaging.draw import label_picture
from coseg.inference.cosegmentation import (
    Cosegmentation,
    Segment,
    common_scores,
    common_sentence,
    for_json,
    image_scores,
    label_map,
    segment_scores,
)
from coseg.serve.jobs import Limits

if TYPE_CHECKING:
    from coseg.inference.named_objects import NamedObjects

Form = Literal["json", "zip"]

PAIR = {"a": "image", "b": "image"}
GROUP = {"images": "images"}
"""The fields of the forms: with one file, or with several."""

_COMPRESSION = 1
"""Of PNG, as of the masks of `coseg-predict`."""


class Picture(NamedTuple):
    """A picture of an answer.

    Attributes:
        scores: the part of the answer that it belongs to.
        key: under which it is there.
        file: its name in a zip file.
        make: it, as PNG.
    """

    scores: dict[str, Any]
    key: str
    file: str
    make: Callable[[], bytes]


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
    pictures = [
        Picture(image, "mask", f"{_stem(k, segment)}_mask.png", partial(mask_png, segment))
        for k, (segment, image) in enumerate(zip(segments, answer["images"], strict=True))
    ]
    return _packed(answer, pictures, form, check)


def encode_objects(result: NamedObjects, model: Answering, form: Form, check: Callable[[], None]) -> tuple[bytes, str]:
    """As `encode_answer`, of several named objects: of each image a label map, and of each object in it a mask."""
    images: list[dict[str, Any]] = []
    pictures = []
    for k in range(result.images):
        segments = result.segments(k)
        height, width = segments[0].size
        objects = {name: segment_scores(segment) for name, segment in zip(result.names, segments, strict=True)}
        image = {"file": segments[0].name, "width": width, "height": height, "objects": objects}
        images.append(image if segments[0].note is None else {**image, "note": segments[0].note})
        stem = _stem(k, segments[0])
        pictures.append(Picture(images[-1], "labels", f"{stem}_labels.png", partial(labels_png, segments)))
        for n, (name, segment) in enumerate(zip(result.names, segments, strict=True), start=1):
            file = f"{stem}_{n}_{_plain(name)}_mask.png"
            pictures.append(Picture(objects[name], "mask", file, partial(mask_png, segment)))
    answer = {
        "model": model.source,
        "objects": result.scores(range(1, result.images + 1)),
        "sentence": " ".join(result.sentences()),
        "threshold": result.segments(0)[0].threshold,
        "images": images,
    }
    return _packed(answer, pictures, form, check)


def _packed(
    answer: dict[str, Any], pictures: Sequence[Picture], form: Form, check: Callable[[], None]
) -> tuple[bytes, str]:
    """The body with the pictures made one by one, and its media type."""
    if form == "json":
        for picture in pictures:
            check()
            picture.scores[picture.key] = base64.b64encode(picture.make()).decode()
        return _json(answer), "application/json"
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", zipfile.ZIP_STORED) as archive:  # PNG is compressed already
        for picture in pictures:
            check()
            picture.scores[picture.key] = picture.file
            archive.writestr(picture.file, picture.make())
        archive.writestr("result.json", _json(answer))
    return body.getvalue(), "application/zip"


def _stem(k: int, segment: Segment) -> str:
    return f"{k + 1:02d}_{_plain(Path(segment.name).stem)}"


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]", "_", name)[:60]


def labels_png(segments: Sequence[Segment]) -> bytes:
    """The label map of an image as a PNG with a palette: n on the n-th object, 0 elsewhere."""
    body = io.BytesIO()
    label_picture(label_map(segments), len(segments)).save(body, "PNG", compress_level=_COMPRESSION)
    return body.getvalue()


def mask_png(segment: Segment) -> bytes:
    """The mask at the size of the original as a grey PNG: 255 is the object."""
    mask = segment.mask()
    body = io.BytesIO()
    Image.fromarray(mask.view(np.uint8) * np.uint8(255)).save(body, "PNG", compress_level=_COMPRESSION)
    return body.getvalue()


def described_body(fields: Mapping[str, str]) -> dict[str, Any]:
    """The form of an endpoint for its OpenAPI description.

    Args:
        fields: what each of them holds: an ``image``, ``images``, ``regions`` (masks as files, or numbers as text) or
            ``texts``, which may be left out.
    """
    file, text = {"type": "string", "format": "binary"}, {"type": "string"}
    items: dict[str, dict[str, Any]] = {"images": file, "regions": {"anyOf": [file, text]}, "texts": text}
    properties = {
        name: file if sort == "image" else {"type": "array", "items": items[sort]} for name, sort in fields.items()
    }
    required = [name for name, sort in fields.items() if sort != "texts"]
    schema = {"type": "object", "required": required, "properties": properties}
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
    schema = about["requestBody"]["content"]["multipart/form-data"]["schema"]
    fields = ""
    files: list[str] = []
    for name, field in schema["properties"].items():
        items = field.get("items", field)
        sorts = [choice.get("format", "text") for choice in items.get("anyOf", [items])]
        many = " multiple" if field["type"] == "array" and sorts == ["binary"] else ""
        required = " required" if name in schema["required"] and len(sorts) == 1 else ""
        for sort in sorts:
            label = f"{name}, x,y or x,y,width,height" if sort == "text" and len(sorts) > 1 else name
            form = f'type="file"{many}' if sort == "binary" else 'type="text"'
            fields += f'<label>{label} <input {form} name="{name}"{required}></label>'
        if sorts[0] == "binary":
            stems = ("a", "b") if many and not files else (name,)
            files += [f"-F {name}=@{stem}.{'png' if len(sorts) > 1 else 'jpg'}" for stem in stems]
    return (
        f'<form method="post" enctype="multipart/form-data" action="{path}?format=zip">{fields}'
        "<button>Send</button></form>"
        f"<pre>curl {' '.join(files)} ADDRESS{path}</pre>"
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
