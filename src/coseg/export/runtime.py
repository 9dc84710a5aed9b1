"""Exported graphs in their own runtimes: loaded as a network, and compared with the network that they are made from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from coseg.errors import CosegError
from coseg.export.formats import SUFFIXES, require_packages
from coseg.export.graphs import Tensors
from coseg.models.base import CosegNetwork, Size

Graph = Callable[..., Tensors]
"""Tensors in, tensors out, in the order of the file."""

TOLERANCE = 1e-4
"""Largest accepted difference of a logit, in float32."""


class GraphNetwork(CosegNetwork):
    """Both graphs as a network that another runtime computes. Images are rounded to uint8 first.

    Args:
        encode: the graph from images to features and kernels.
        cosegment: the graph from features and kernels to logits.
        maps: the number of features among the outputs of `encode`; the rest are kernels.
        input_size: see `CosegNetwork`.
        single: the graphs take one image at a time.
    """

    def __init__(
        self, encode: Graph, cosegment: Graph, maps: int, input_size: int | None, single: bool = False
    ) -> None:
        super().__init__(input_size)
        self.single = single
        self.graph_of_images = encode
        self.graph_of_maps = cosegment
        self.maps = maps

    def encode(self, images: Tensor) -> Tensors:
        """Features and kernels."""
        return self.graph_of_images(self.to_uint8(images))

    def encode_pairs(self, images_a: Tensor, images_b: Tensor) -> tuple[Tensors, Tensors]:
        """See the base class; apart, where the graphs take one image."""
        return (
            (self.encode(images_a), self.encode(images_b)) if self.single else super().encode_pairs(images_a, images_b)
        )

    def to_uint8(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) as uint8 for the graph, resized to the input size if the network has one."""
        return (self.resize(images) * 255).round().to(torch.uint8)

    def cosegment(self, features_a: Tensors, features_b: Tensors, size_a: Size, size_b: Size) -> tuple[Tensor, Tensor]:
        return self._one(features_a, features_b, size_a), self._one(features_b, features_a, size_b)

    def _one(self, features: Tensors, partner: Tensors, size: Size) -> Tensor:
        (logits,) = self.graph_of_maps(*features[: self.maps], *partner[self.maps :])
        return self.restore(logits, size)


def load_graphs(
    folder: Path, form: str, maps: int, input_size: int | None, threads: int = 0, single: bool = False
) -> GraphNetwork:
    """Load the graphs that `write_onnx`, `write_torch` or `quantise` wrote.

    Args:
        folder: of the files.
        form: ``onnx``, ``torch`` or ``int8``.
        maps: see `GraphNetwork`.
        input_size: see `CosegNetwork`.
        threads: of onnxruntime; 0: one for each core.
        single: see `GraphNetwork`.
    """
    suffix = ".int8.onnx" if form == "int8" else SUFFIXES[form]
    load = _torch_graph if form == "torch" else _onnx_graph
    encode, cosegment = (load(folder / f"{name}{suffix}", threads) for name in ("encode", "cosegment"))
    return GraphNetwork(encode, cosegment, maps, input_size, single)


def _onnx_graph(path: Path, threads: int) -> Graph:
    require_packages("onnxruntime")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    runtime = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [graph_input.name for graph_input in runtime.get_inputs()]

    def run(*inputs: Tensor) -> Tensors:
        arrays = {name: tensor.contiguous().numpy() for name, tensor in zip(names, inputs, strict=True)}
        return tuple(torch.from_numpy(array) for array in runtime.run(None, arrays))

    return run


def _torch_graph(path: Path, threads: int) -> Graph:
    module = torch.export.load(path).module()

    def run(*inputs: Tensor) -> Tensors:
        with torch.no_grad():
            outputs = module(*inputs)
        return (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)

    return run


def sizes_of(stride: int, size: int | None) -> list[Size]:
    """Sizes of images for `compare`: small, wide and high ones, and some that are no multiples of the stride.

    For graphs of one `size`: that size.
    """
    if size is not None:
        return [(size, size)]
    return [(4 * stride, 4 * stride), (stride + 1, 6 * stride + 3), (7 * stride - 1, 3 * stride)]


def compare(
    network: CosegNetwork, exported: CosegNetwork, sizes: Sequence[Size], most: int = 3
) -> list[tuple[str, float]]:
    """The largest difference of a logit for each two sizes, with 1 to `most` pairs in a batch in turn.

    Args:
        network: in evaluation mode, float32, on the CPU, without an input size where `exported` has none.
        exported: the graphs.
        sizes: of the images.
        most: pairs in a batch.

    Returns:
        For each comparison its description and the difference.
    """
    differences = []
    choices = list(product(sizes, repeat=2))
    for number in range(max(3, len(choices))):
        size_a, size_b = choices[number % len(choices)]
        batch = 1 + number % most
        images = [_images(number, batch, size_a), _images(100 + number, batch, size_b)]
        with torch.no_grad():
            logits = network(*images), exported(*images)
        worst = max(float((mine - theirs).abs().max()) for mine, theirs in zip(*logits, strict=True))
        differences.append((f"{batch} of {_words(size_a)} with {_words(size_b)}", worst))
    return differences


def require_close(differences: list[tuple[str, float]], what: str) -> float:
    """The largest of the `differences` from `compare`; `what` is named in the error.

    Raises:
        CosegError: it is above `TOLERANCE`, or not a number.
    """
    worst, where = max(
        ((difference if difference == difference else torch.inf, name) for name, difference in differences)
    )
    if worst > TOLERANCE:
        raise CosegError(
            f"What was exported as {what} differs from the network by {worst:.2g} in a logit ({where} pixels), more "
            f"than {TOLERANCE:.0e}: nothing was written. Choose another --format, and report it with the network's "
            "configuration."
        )
    return worst


def _images(seed: int, batch: int, size: Size) -> Tensor:
    """Smooth colours with noise, uint8 (B, 3, H, W): more like photographs than noise alone."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(batch, 3, 4, 4, generator=generator)
    smooth = F.interpolate(coarse, size, mode="bilinear", align_corners=False)
    noise = 0.1 * torch.randn(batch, 3, *size, generator=generator)
    return ((smooth + noise).clamp(0, 1) * 255).round().to(torch.uint8)


def _words(size: Size) -> str:
    return f"{size[0]} x {size[1]}"
