"""A model without a network, the service around it, and pictures as files."""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image
from starlette.testclient import TestClient

from coseg.inference.cosegmentation import Cosegmentation, Segment
from coseg.inference.photographs import Photograph, load_photograph
from coseg.serve.jobs import Jobs


@dataclass
class FakeModel:
    """The probability is the red channel; computing waits while `hold` is cleared."""

    source: str = "a fake"
    calibration: None = None
    common: float = 0.9
    hold: threading.Event = field(default_factory=threading.Event)
    began: threading.Event = field(default_factory=threading.Event)
    fails: bool = False

    def __post_init__(self) -> None:
        self.hold.set()

    def encode(self, image: Any, name: str = "image 1") -> Photograph:
        self.began.set()
        assert self.hold.wait(60)
        if self.fails:
            raise ZeroDivisionError("secret")
        return load_photograph(image, 32, name)

    def cosegment(self, encoded: Sequence[Photograph]) -> Cosegmentation:
        return Cosegmentation(
            tuple(
                Segment(image.name, image.size, (image.pixels[..., 0] / 255).astype(np.float16), belongs=0.9)
                for image in encoded
            ),
            self.common,
        )


@dataclass
class Service:
    """The app with its parts, and a client."""

    client: TestClient
    model: FakeModel
    jobs: Jobs

    def post(self, path: str, files: list[tuple[str, tuple[str, bytes]]], **options: Any) -> Any:
        return self.client.post(path, files=files, **options)


def picture(width: int = 40, height: int = 30, left: int = 10, form: str = "PNG") -> bytes:
    """A red square, 10 x 10 from (`left`, 5), on black, as a file."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[5:15, left : left + 10, 0] = 255
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form)
    return file.getvalue()


PAIR = [("a", ("a.png", picture())), ("b", ("b.png", picture(left=20)))]
