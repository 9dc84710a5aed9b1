"""Graphs of 8-bit whole numbers for CPUs, by onnxruntime's static quantisation."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from coseg.errors import CosegError
from coseg.export.formats import require_packages
from coseg.export.graphs import Tensors
from coseg.export.runtime import GraphNetwork

LEAST = 2
"""Images that a calibration needs: each is the partner of the one before it."""

QUANTISED = ["Conv", "Relu", "MaxPool"]
"""Operators. Pooling to kernels, matching and enlarging stay in float: they are a small part of the time."""


def quantise(folder: Path, network: GraphNetwork, images: Sequence[Tensor]) -> None:
    """Write ``encode.int8.onnx`` and ``cosegment.int8.onnx`` beside the graphs in `folder`.

    Values are unsigned, their ranges the smallest and largest that occur with `images`. Weights have a scale for each
    output channel and 7 bits: with 8, sums of products saturate on CPUs without VNNI instructions. The last
    convolution, to the logits, stays as it is.

    Args:
        folder: holds ``encode.onnx`` and ``cosegment.onnx``.
        network: these graphs, as `load_graphs` gives them.
        images: uint8 (1, 3, H, W), as the network will see them.

    Raises:
        CosegError: there are fewer than `LEAST` images.
    """
    require_packages("onnx", "onnxruntime")
    if len(images) < LEAST:
        raise CosegError(f"A calibration needs at least {LEAST} images, better a hundred, but there are {len(images)}.")
    _quantise(folder, "encode", ([image] for image in _prepared(network, images)))
    _quantise(folder, "cosegment", _pairs(network, images))


def _prepared(network: GraphNetwork, images: Sequence[Tensor]) -> Iterator[Tensor]:
    return (network.in_bytes(image) for image in images)


def _pairs(network: GraphNetwork, images: Sequence[Tensor]) -> Iterator[Tensors]:
    """What `cosegment` gets: the features of each image, with the kernels of the one before it."""
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
    names = [each.name for each in model.graph.input]
    kept = [] if name == "encode" else [[node.name for node in model.graph.node if node.op_type == "Conv"][-1]]

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> dict[str, NDArray[Any]] | None:
            tensors = next(inputs, None)
            if tensors is None:
                return None
            return {key: tensor.contiguous().numpy() for key, tensor in zip(names, tensors, strict=True)}

    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it advises, on the root logger, what was just done
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
