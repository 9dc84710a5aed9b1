"""Graphs of 8-bit whole numbers for CPUs, by onnxruntime's static quantisation, and the photographs to calibrate it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coseg.data.catalog import Catalog
from coseg.errors import CosegError
from coseg.export.formats import require_packages
from coseg.export.graphs import Tensors
from coseg.export.runtime import GraphNetwork
from coseg.hub.load import Pretrained
from coseg.imaging.read import SUFFIXES
from coseg.inference.photographs import load_photograph

_LONGEST = 1024
"""Longest side of images in pixels, for a network of any input size whose settings have no size."""

Picture = Path | NDArray[np.uint8]

LEAST = 2
"""Number of images that a calibration needs: each is the partner of the image before it."""

QUANTISED = ["Conv", "Relu", "MaxPool"]
"""Operators in 8 bits. Pooling to kernels, matching and enlarging stay in float: they take little of the time."""


def folder_images(folder: Path, count: int) -> list[Picture]:
    """At most `count` photographs of a folder and its subfolders, at even steps through their sorted paths.

    Raises:
        CosegError: the folder does not exist, or has no photograph.
    """
    if not folder.is_dir():
        raise CosegError(f"There is no folder {folder}: --calibrate takes a folder of photographs, or dataset=...")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not paths:
        raise CosegError(f"{folder} holds no photographs ({', '.join(sorted(SUFFIXES))}): give another to --calibrate.")
    return [paths[k] for k in _evenly(len(paths), count)]


def catalog_images(catalog: Catalog, count: int) -> Iterator[Picture]:
    """At most `count` images of a catalog, at even steps through its order."""
    return (catalog.image(k) for k in _evenly(len(catalog), count))


def resized(pictures: Iterable[Picture], model: Pretrained, size: int | None = None) -> list[Tensor]:
    """Images uint8 (1, 3, H, W) as a server gives them to a model's `encode`, at `size` or the model's own.

    Raises:
        CosegError: a file is no photograph.
    """
    size = model.settings.get("size") if size is None else size
    square = model.network.input_size
    images = []
    for picture in pictures:
        longest = (size or _LONGEST) if square is None else None
        pixels = load_photograph(picture, longest).pixels
        image = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))[None]
        images.append(image if square is None else _square(image, size or square))
    return images


def _square(image: Tensor, side: int) -> Tensor:
    small: Any = torch.nn.functional.interpolate(
        image.float(), (side, side), mode="bilinear", align_corners=False, antialias=True
    )
    return small.clamp(0, 255).round().to(torch.uint8)


def _evenly(total: int, count: int) -> list[int]:
    return sorted({k * total // count for k in range(count)}) if total > count else list(range(total))


def quantise(folder: Path, network: GraphNetwork, images: Sequence[Tensor]) -> None:
    """Write ``encode.int8.onnx`` and ``cosegment.int8.onnx`` beside the graphs in `folder`.

    Activations are unsigned; their ranges are the minimum and maximum over `images`. Weights have a scale for each
    output channel and 7 bits: with 8, sums of products saturate on CPUs without VNNI instructions. The last
    convolution, to the logits, stays in float.

    Args:
        folder: holds ``encode.onnx`` and ``cosegment.onnx``.
        network: these graphs, from `load_graphs`.
        images: uint8 (1, 3, H, W), at the size of later use.

    Raises:
        CosegError: there are fewer than `LEAST` images.
    """
    require_packages("onnx", "onnxruntime")
    if len(images) < LEAST:
        raise CosegError(f"A calibration needs at least {LEAST} images, better a hundred, but there are {len(images)}.")
    _quantise(folder, "encode", ([image] for image in _prepared(network, images)))
    _quantise(folder, "cosegment", _pairs(network, images))


def _prepared(network: GraphNetwork, images: Sequence[Tensor]) -> Iterator[Tensor]:
    return (network.to_uint8(image) for image in images)


def _pairs(network: GraphNetwork, images: Sequence[Tensor]) -> Iterator[Tensors]:
    """Inputs of `cosegment`: the features of each image, with the kernels of the image before it."""
    last = network.encode(images[-1])
    for image in images:
        encoded = network.encode(image)
        yield *encoded[: network.maps], *last[network.maps :]
        last = encoded


def _quantise(folder: Path, name: str, inputs: Iterator[Sequence[Tensor]]) -> None:
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    source, prepared = folder / f"{name}.onnx", folder / f"{name}.prepared.onnx"
    quant_pre_process(source, prepared, skip_symbolic_shape=True)
    model = onnx.load(prepared)
    names = [graph_input.name for graph_input in model.graph.input]
    kept = [] if name == "encode" else [[node.name for node in model.graph.node if node.op_type == "Conv"][-1]]

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> dict[str, NDArray[Any]] | None:
            tensors = next(inputs, None)
            if tensors is None:
                return None
            return {key: tensor.contiguous().numpy() for key, tensor in zip(names, tensors, strict=True)}

    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # on the root logger it recommends the step that was just done
    try:
        with torch.no_grad():
            quantize_static(
                prepared,
                folder / f"{name}.int8.onnx",
                Reader(),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=QUANTISED,
                per_channel=True,
                reduce_range=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=kept,
            )
    finally:
        root.setLevel(level)
        prepared.unlink(missing_ok=True)
