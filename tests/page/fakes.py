"""A segmenter without a network: an image's probability is its red channel, its features are its colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from coseg.inference.photographs import Photograph, load_photograph
from coseg.inference.segment import Cosegmentation, Segment


class Colours(NamedTuple):
    """What the fake calls features: the photograph itself."""

    photograph: Photograph


@dataclass
class FakeSegmenter:
    """The interface of `CoSegmenter` that the page uses; `asked` counts the calls."""

    common: float = 0.9
    threshold: float = 0.5
    device: str = "cpu"
    asked: list[str] = field(default_factory=list)

    def encode(self, image: Any) -> Colours:
        self.asked.append("encode")
        return Colours(load_photograph(image, 32))

    def cosegment(self, encoded: Sequence[Colours]) -> Cosegmentation:
        self.asked.append("cosegment")
        segments = [
            Segment(each.name, each.size, (each.pixels[..., 0] / 255).astype(np.float16), self.threshold)
            for each in (colours.photograph for colours in encoded)
        ]
        return Cosegmentation(tuple(segments), self.common)

    def response(self, a: Colours, b: Colours, y: float, x: float) -> NDArray[np.float32]:
        self.asked.append("response")
        height, width = a.photograph.pixels.shape[:2]
        vector = a.photograph.pixels[min(int(y * height), height - 1), min(int(x * width), width - 1)].astype(float)
        others = b.photograph.pixels.astype(float)
        norms = np.linalg.norm(others, axis=-1) * np.linalg.norm(vector) + 1e-9
        return (others @ vector / norms).astype(np.float32)


def half_red(path: Path, width: int = 90, height: int = 60, level: int = 180) -> Path:
    """A picture whose left half is red (`level` of 255), its right half blue."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2, 0] = level
    pixels[:, width // 2 :, 2] = 200
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path
