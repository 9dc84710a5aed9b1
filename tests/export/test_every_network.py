"""Each network and each encoder through both exporters: the graphs in their runtimes against the network."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from test_graphs import NETWORKS, spread_statistics

from coseg.export.check import TOLERANCE, compare, require_close, sizes_of
from coseg.export.formats import traced, write_onnx, write_torch
from coseg.export.graphs import graphs_of
from coseg.export.runtime import load_graphs
from coseg.models.cross_correlation import CrossCorrelationNetwork
from coseg.models.encoder import Encoder
from coseg.models.encoders.convnext import ConvNeXtEncoder
from coseg.models.encoders.resnet import ResNetEncoder
from coseg.models.encoders.vgg16 import VGG16Encoder
from coseg.models.network import CosegNetwork


def with_encoder(encoder: Encoder) -> CosegNetwork:
    return CrossCorrelationNetwork(encoder, kernel_sizes=[3])


CASES: dict[str, Callable[[], CosegNetwork]] = {
    **NETWORKS,
    "resnet": lambda: with_encoder(ResNetEncoder(blocks=(1, 1, 1, 1), width=0.125)),
    "convnext": lambda: with_encoder(ConvNeXtEncoder(blocks=(1, 1, 1, 1), width=0.125)),
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
