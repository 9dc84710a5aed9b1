"""Each network and each encoder through both exporters: the graphs in their runtimes against the network."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from test_graphs import NETWORKS, spread_statistics

from coseg.export.formats import traced, write_onnx, write_torch
from coseg.export.graphs import graphs_of
from coseg.export.runtime import TOLERANCE, compare, load_graphs, require_close, sizes_of
from coseg.models.base import CosegNetwork
from coseg.models.cross_correlation import CrossCorrelationNetwork
from coseg.models.encoders.base import Encoder
from coseg.models.encoders.timm import TimmEncoder
from coseg.models.encoders.vgg import VGG16Encoder


def with_encoder(encoder: Encoder) -> CosegNetwork:
    return CrossCorrelationNetwork(encoder, kernel_sizes=[3])


CASES: dict[str, Callable[[], CosegNetwork]] = {
    **NETWORKS,
    "resnet": lambda: with_encoder(TimmEncoder("resnet18", [1, 2, 3, 4], output_stride=16)),
    "convnext": lambda: with_encoder(TimmEncoder("test_convnext", [0, 1, 2])),
    "dilated": lambda: with_encoder(VGG16Encoder(width=0.125, stride=8, batch_norm=False)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_graphs_are_the_network(name: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    network = spread_statistics(CASES[name]())
    graphs = graphs_of(network)
    programs = traced(graphs)
    write_onnx(programs, graphs, tmp_path)
    write_torch(programs, tmp_path)
    free = copy.deepcopy(network)
    if graphs.size is None:
        free.input_size = None
    for form in ("onnx", "torch"):
        exported = load_graphs(tmp_path, form, len(graphs.features), free.input_size, threads=1)
        assert require_close(compare(free, exported, sizes_of(graphs.stride, graphs.size)), form) <= TOLERANCE
