"""Exported graphs in their own runtimes, as a network: what the checks and the scores of int8 run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from coseg.export.formats import SUFFIXES, require_packages
from coseg.export.graphs import Tensors
from coseg.models.network import CosegNetwork, Size

Graph = Callable[..., Tensors]
"""Tensors in, tensors out, in the order of the file."""


class GraphNetwork(CosegNetwork):
    """Both graphs as a network whose parts are run by another runtime. Images are rounded to uint8 on their way in.

    Args:
        encode: the graph of this name.
        cosegment: likewise.
        maps: how many of the outputs of `encode` are features; the rest are kernels.
        input_size: see `CosegNetwork`.
    """

    def __init__(self, encode: Graph, cosegment: Graph, maps: int, input_size: int | None) -> None:
        super().__init__(input_size)
        self.graph_of_images = encode
        self.graph_of_maps = cosegment
        self.maps = maps

    def encode(self, images: Tensor) -> Tensors:
        """Features and kernels."""
        return self.graph_of_images(self.in_bytes(images))

    def in_bytes(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) as the graph takes them, resized if there is an input size: uint8."""
        return (self.resize(images) * 255).round().to(torch.uint8)

    def cosegment(self, features_a: Tensors, features_b: Tensors, size_a: Size, size_b: Size) -> tuple[Tensor, Tensor]:
        return self._one(features_a, features_b, size_a), self._one(features_b, features_a, size_b)

    def _one(self, own: Tensors, partner: Tensors, size: Size) -> Tensor:
        (logits,) = self.graph_of_maps(*own[: self.maps], *partner[self.maps :])
        return self.restore(logits, size)


def load_graphs(folder: Path, form: str, maps: int, input_size: int | None, threads: int = 0) -> GraphNetwork:
    """The graphs that `write_onnx`, `write_torch` or `quantise` wrote.

    Args:
        folder: where.
        form: ``onnx``, ``torch`` or ``int8``.
        maps: see `GraphNetwork`.
        input_size: see `CosegNetwork`.
        threads: of onnxruntime; 0: as many as there are cores.
    """
    suffix = ".int8.onnx" if form == "int8" else SUFFIXES[form]
    load = _torch_graph if form == "torch" else _onnx_graph
    encode, cosegment = (load(folder / f"{name}{suffix}", threads) for name in ("encode", "cosegment"))
    return GraphNetwork(encode, cosegment, maps, input_size)


def _onnx_graph(path: Path, threads: int) -> Graph:
    require_packages("onnxruntime")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]

    def run(*inputs: Tensor) -> Tensors:
        arrays = {name: tensor.contiguous().numpy() for name, tensor in zip(names, inputs, strict=True)}
        return tuple(torch.from_numpy(array) for array in session.run(None, arrays))

    return run


def _torch_graph(path: Path, threads: int) -> Graph:
    module = torch.export.load(path).module()

    def run(*inputs: Tensor) -> Tensors:
        with torch.no_grad():
            outputs = module(*inputs)
        return (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)

    return run
