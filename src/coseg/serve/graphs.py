"""An exported model under ONNX Runtime alone: what `coseg-export` wrote, as a model of the service. Without torch."""

from __future__ import annotations

import hashlib
import importlib.util
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from coseg.errors import CosegError, checked_threshold
from coseg.files.plain_data import read_json
from coseg.imaging.read import exposure_note
from coseg.inference.cosegmentation import Cosegmentation, Segment
from coseg.inference.photographs import LONGEST, WORKING, Source, in_srgb, load_photograph

Arrays = tuple[NDArray[Any], ...]

_EXPORT = "give the folder that coseg-export wrote"
_POSITIONS = 2048
"""Of all partners together, when kernels are joined, see ``docs/export.md``."""

_MOST_SIDE = 8192


class EncodedGraph(NamedTuple):
    """An image after the graph ``encode``.

    Attributes:
        name: of the image.
        size: (H, W) of the original.
        working: (h, w) of its probability.
        graph_size: (h, w) at which it was encoded.
        features: for its own logits.
        kernels: for those of its partners.
        digest: of its pixels, equal for equal pictures.
        note: a defect of the photograph, see `Segment`.
    """

    name: str
    size: tuple[int, int]
    working: tuple[int, int]
    graph_size: tuple[int, int]
    features: Arrays
    kernels: Arrays
    digest: bytes
    note: str | None


class GraphModel:
    """Segments photographs by the graphs in a folder, with nearly the masks of `CoSegmenter`.

    The graphs take bytes: where an image is resized to a square, its pixels are rounded to whole numbers, which the
    network's own are not. Nothing else differs.

    The graphs hold no calibration: `Cosegmentation.common` is nan. Groups are segmented as ``graphs.group`` in
    ``config.json`` says; a program that takes one image of fixed size serves groups as well, by the mean of the logits
    of an image with each of the others.

    Args:
        folder: with ``config.json``, ``encode.onnx`` and ``cosegment.onnx``.
        threads: of ONNX Runtime; 0: one for each core.
        int8: take the quantised graphs.
        keep_islands: do not remove small islands and strips from the masks.

    Raises:
        CosegError: the folder holds no such export, or onnxruntime is not installed.
    """

    calibration = None

    def __init__(self, folder: Path, threads: int = 0, int8: bool = False, keep_islands: bool = False) -> None:
        if importlib.util.find_spec("onnxruntime") is None:
            raise CosegError("Exported graphs need onnxruntime, which is not installed: pip install onnxruntime.")
        self.source = f"the graphs in {folder.name}"
        self.keep_islands = keep_islands
        config = _config(folder)
        graphs = config["graphs"]
        self.size: int | None = config["size"]
        self.threshold = checked_threshold(config.get("threshold", 0.5), "threshold in config.json")
        self.square = graphs["resize"] == "square"
        self.group: str | None = graphs["group"]
        self._count = len(graphs["features"])
        self._inputs: list[str] = graphs["inputs"]["cosegment"]
        suffix = ".int8.onnx" if int8 else ".onnx"
        self._encode, self._cosegment = (
            _opened(folder / f"{name}{suffix}", threads) for name in ("encode", "cosegment")
        )

    def encode(self, image: Source, name: str = "image 1") -> EncodedGraph:
        """Run the graph ``encode`` on an image.

        Raises:
            CosegError: it is not an image.
        """
        size = self.size if self.size is not None else LONGEST
        photograph = in_srgb(load_photograph(image, max(WORKING, 2 * size) if self.square else size, name))
        pixels = photograph.pixels
        working = pixels.shape[0], pixels.shape[1]
        digest = hashlib.blake2b(f"{working} ".encode() + pixels.tobytes(), digest_size=16).digest()
        note = exposure_note(pixels)
        if self.square:
            pixels = np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.BILINEAR))
        outputs = self._encode.run(None, {"images": np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])})
        features, kernels = tuple(outputs[: self._count]), tuple(outputs[self._count :])
        graph_size = pixels.shape[0], pixels.shape[1]
        return EncodedGraph(photograph.name, photograph.size, working, graph_size, features, kernels, digest, note)

    def cosegment(self, encoded: Sequence[EncodedGraph]) -> Cosegmentation:
        """Segment what encoded images have in common, two or more.

        Raises:
            CosegError: the graphs give numbers that are not finite, or can't join these images.
        """
        segments = []
        for k, image in enumerate(encoded):
            partners = [*encoded[:k], *encoded[k + 1 :]]
            margin = self._margin(image, partners)
            if not np.isfinite(margin).all():
                raise CosegError(f"{self.source} give numbers that are not finite: export the model again.")
            height, width = image.working
            if margin.shape != image.working:
                margin = np.asarray(cv2.resize(margin, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
            probability = (0.5 + 0.5 * np.tanh(margin / 2)).astype(np.float16)
            segments.append(Segment(image.name, image.size, probability, self.threshold, image.note, self.keep_islands))
        first: dict[bytes, int] = {}
        repeated = tuple(
            (first[image.digest], k) for k, image in enumerate(encoded) if first.setdefault(image.digest, k) != k
        )
        return Cosegmentation(tuple(segments), math.nan, repeated, self.size)

    def _margin(self, image: EncodedGraph, partners: Sequence[EncodedGraph]) -> NDArray[np.float32]:
        """The logit of the common object less that of the background, float32 (h, w), at `graph_size`."""
        if len(partners) == 1 or not image.kernels:
            return self._run(image, partners[0].kernels)
        if self.group == "mean":
            kernels = [np.asarray(np.mean(arrays, axis=0, dtype=np.float32)) for arrays in _by_name(partners)]
            return self._run(image, kernels)
        if self.group == "join":
            return self._run(image, self._joined(partners))
        return np.mean([self._run(image, partner.kernels) for partner in partners], axis=0, dtype=np.float32)

    def _run(self, image: EncodedGraph, kernels: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        height, width = image.graph_size
        inputs = dict(zip(self._inputs, (*image.features, *kernels), strict=True))
        logits = self._cosegment.run(None, inputs)[0][0, :, :height, :width]
        margin: NDArray[np.float32] = logits[1] - logits[0]
        return margin

    def _joined(self, partners: Sequence[EncodedGraph]) -> list[NDArray[Any]]:
        """The kernels (1, 1, C, P) of all partners as (1, N, C, P); many positions as means of the cells of a grid."""
        most = _POSITIONS // len(partners)
        joined = []
        for arrays in _by_name(partners):
            pooled = [
                _pooled(array, _grid(partner, array.shape[-1]), most)
                for array, partner in zip(arrays, partners, strict=True)
            ]
            if len({array.shape for array in pooled}) > 1:
                raise CosegError(
                    "The exported graphs take groups of images of one size alone: send images of one size, or pairs."
                )
            joined.append(np.concatenate(pooled, axis=1))
        return joined


def _config(folder: Path) -> dict[str, Any]:
    """``config.json`` with the keys that are used here, checked.

    Raises:
        CosegError: it is missing, or not as `coseg-export` writes it.
    """
    path = folder / "config.json"
    try:
        config = read_json(path, _EXPORT)
    except OSError as error:
        raise CosegError(f"{path} cannot be read ({error.strerror or error}): {_EXPORT}.") from None
    graphs = config.get("graphs") if isinstance(config, dict) else None
    if not isinstance(graphs, dict):
        raise CosegError(f"{path} describes no graphs: {_EXPORT}, with --format onnx.")
    inputs = graphs.get("inputs")
    names: list[Any] = [graphs.get("features"), graphs.get("kernels")]
    names.append(inputs.get("cosegment") if isinstance(inputs, dict) else None)
    size = config.get("size")
    lists = all(isinstance(part, list) and all(isinstance(name, str) for name in part) for part in names)
    whole = size is None or (type(size) is int and 1 <= size <= _MOST_SIDE)
    if (
        not lists
        or not whole
        or graphs.get("resize") not in ("square", "longest")
        or (graphs["resize"] == "square" and size is None)
        or graphs.get("group") not in (None, "mean", "join")
        or names[2] != [*names[0], *names[1]]
    ):
        raise CosegError(f"{path} is not as coseg-export writes it: export the model again.")
    return config


def _opened(path: Path, threads: int) -> Any:
    import onnxruntime

    if not path.is_file():
        raise CosegError(f"{path} is missing: {_EXPORT}, with --format onnx.")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    options.enable_cpu_mem_arena = False  # which grows to the largest batch and stays
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its own classes, which have no common base
        first = str(error).strip().partition("\n")[0][:200]
        raise CosegError(f"{path} cannot be loaded ({first}): {_EXPORT}.") from None


def _by_name(partners: Sequence[EncodedGraph]) -> list[tuple[NDArray[Any], ...]]:
    """For each kernel of the graphs, those of all partners."""
    return list(zip(*(partner.kernels for partner in partners), strict=True))


def _grid(image: EncodedGraph, positions: int) -> tuple[int, int]:
    """The rows and columns of as many positions: of the map among the features that has them."""
    for array in image.features:
        if array.ndim == 4 and array.shape[2] * array.shape[3] == positions:
            return array.shape[2], array.shape[3]
    return 1, positions


def _pooled(kernels: NDArray[Any], grid: tuple[int, int], most: int) -> NDArray[np.float32]:
    """(1, 1, C, P) as at most `most` positions: the means of the cells of a square grid, as adaptive pooling does."""
    if kernels.shape[-1] <= most:
        return kernels
    side = max(1, math.isqrt(most))
    maps = kernels.reshape(kernels.shape[2], grid[0], grid[1])
    rows, columns = (_cells(length, side) for length in grid)
    return np.asarray((rows @ maps @ columns.T).reshape(1, 1, kernels.shape[2], side * side), np.float32)


def _cells(length: int, count: int) -> NDArray[np.float32]:
    """Weights (count, length) of the means over cells that overlap where `length` is no multiple."""
    weights = np.zeros((count, length), np.float32)
    for k in range(count):
        start, stop = k * length // count, -(-(k + 1) * length // count)
        weights[k, start:stop] = 1 / (stop - start)
    return weights
