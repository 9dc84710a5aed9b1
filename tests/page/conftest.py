"""A segmenter without a network, and pictures whose masks are known."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from starlette.testclient import TestClient

from coseg.inference.cosegmentation import Cosegmentation, Segment
from coseg.inference.named_objects import NamedObjects
from coseg.inference.photographs import Photograph, load_photograph
from coseg.models.cross_correlation import CrossCorrelationNetwork
from coseg.page.server import make_app, prepare_gradio
from coseg.page.visitors import Quota, Visitors
from coseg.serve.guard import Names


@dataclass
class FakeSegmenter:
    """What the page uses of a `CoSegmenter`: the probability is the red channel, the features are the colours."""

    common: float = 0.9
    repeated: tuple[tuple[int, int], ...] = ()
    threshold: float = 0.5
    device: str = "cpu"
    size: int | None = 32
    size_note: str | None = None
    calibration: None = None
    asked: list[str] = field(default_factory=list)
    belongs: dict[str, float] = field(default_factory=dict)
    network: Any = field(default_factory=lambda: CrossCorrelationNetwork.__new__(CrossCorrelationNetwork))

    def exemplars(self, objects: Mapping[str, Sequence[tuple[Photograph, Any]]]) -> FakeObjects:
        self.asked.append("exemplars")
        return FakeObjects(
            {
                name: FakeExemplars(self, [image.pixels[_pixel(image, place)] for image, place in shown], shown)
                for name, shown in objects.items()
            }
        )

    def encode(self, image: Any) -> Photograph:
        self.asked.append("encode")
        return load_photograph(image, 32)

    def cosegment(self, encoded: Sequence[Photograph], progress: Any = None) -> Cosegmentation:
        self.asked.append("cosegment")
        for k in range(len(encoded)):
            progress(len(encoded) + k + 1, 2 * len(encoded))
        segments = [self.segment(each, (each.pixels[..., 0] / 255).astype(np.float16)) for each in encoded]
        return Cosegmentation(tuple(segments), self.common, self.repeated)

    def segment(self, image: Photograph, probability: Any, threshold: float | None = None) -> Segment:
        limit = self.threshold if threshold is None else threshold
        return Segment(image.name, image.size, probability, limit, belongs=self.belongs.get(image.name, math.nan))

    def model_scores(self, source: str, count: int = 2) -> dict[str, Any]:
        return {"model": source, "size": self.size, "threshold": self.threshold, "calibration": None}

    def response(self, a: Photograph, b: Photograph, y: float, x: float) -> NDArray[np.float32]:
        self.asked.append("response")
        height, width = a.pixels.shape[:2]
        vector = a.pixels[min(int(y * height), height - 1), min(int(x * width), width - 1)].astype(float)
        others = b.pixels.astype(float)
        return (others @ vector / (np.linalg.norm(others, axis=-1) * np.linalg.norm(vector))).astype(np.float32)


@dataclass
class FakeObjects:
    """Several objects by name."""

    searches: dict[str, FakeExemplars]

    def segment_encoded(self, image: Photograph) -> list[Segment]:
        return [search.segment_encoded(image) for search in self.searches.values()]

    def gathered(self, encoded: Sequence[Photograph], results: Sequence[Sequence[Segment]]) -> NamedObjects:
        assert len(encoded) == len(results)
        return NamedObjects(
            {
                name: Cosegmentation(tuple(segments[n] for segments in results), exemplars=len(search.shown))
                for n, (name, search) in enumerate(self.searches.items())
            }
        )


@dataclass
class FakeExemplars:
    """The object is what has a colour that was shown; where `belongs` is low there is none."""

    segmenter: FakeSegmenter
    colours: list[NDArray[np.uint8]]
    shown: Sequence[tuple[Photograph, Any]]

    @property
    def regions(self) -> list[NDArray[np.uint8]]:
        return [self._alike(image).astype(np.uint8) for image, _ in self.shown]

    def segment_encoded(self, image: Photograph) -> Segment:
        alike = self._alike(image) & (self.segmenter.belongs.get(image.name, 1) > 0.3)
        return self.segmenter.segment(image, alike.astype(np.float16), 0.4)

    def _alike(self, image: Photograph) -> NDArray[np.bool_]:
        return np.any([(image.pixels == colour).all(-1) for colour in self.colours], axis=0)


def _pixel(image: Photograph, place: Sequence[float]) -> tuple[int, int]:
    """Of a point, or of the middle of a rectangle, in pixels of the original."""
    x, y, width, height = (*place, 0, 0)[:4]
    rows, columns = image.pixels.shape[:2]
    return int((y + height / 2) / image.size[0] * rows), int((x + width / 2) / image.size[1] * columns)


@pytest.fixture
def segmenter() -> FakeSegmenter:
    return FakeSegmenter()


@pytest.fixture(scope="session")
def half_red() -> Callable[..., Path]:
    """``half_red(path, width, height, level)``: draw a picture, its left half red (`level` of 255), the right blue."""

    def draw(path: Path, width: int = 90, height: int = 60, level: int = 200) -> Path:
        pixels = np.zeros((height, width, 3), np.uint8)
        pixels[:, : width // 2, 0] = level
        pixels[:, width // 2 :, 2] = 200
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
        return path

    return draw


PORT = 7860


HOME = f"http://127.0.0.1:{PORT}"


def keep_environment(patch: pytest.MonkeyPatch) -> None:
    """Let the variables that `prepare_gradio` sets be as they were when `patch` ends."""
    for name in ("GRADIO_TEMP_DIR", "GRADIO_ANALYTICS_ENABLED", "HF_HUB_DISABLE_TELEMETRY", "no_proxy", "NO_PROXY"):
        patch.setenv(name, "")


@pytest.fixture
def gradio_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gradio")
    keep_environment(monkeypatch)
    prepare_gradio(tmp_path)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TestClient, Any, Visitors]]:
    quota = Quota(file_bytes=1000, visitor_bytes=5000, visitor_files=3)
    folder = tmp_path_factory.mktemp("page")
    with pytest.MonkeyPatch.context() as patch:
        keep_environment(patch)
        app, page, visitors = make_app(_Segmenter(), "fake", folder, Names("127.0.0.1", PORT), quota)  # type: ignore
        with TestClient(app, base_url=HOME, raise_server_exceptions=True) as opened:
            yield opened, page, visitors


class _Segmenter:
    threshold, device, size, size_note, calibration, network = 0.5, "cpu", 32, None, None, None
